// SPDX-License-Identifier: GPL-3.0-or-later
// The strict HTTP/1.1 head parser (RFC 9112) for requests and for backends' answers. Pure: it looks at a
// buffer and points into it. Whatever two parsers could read differently is refused by name, never repaired.
#pragma once

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum http_parse { HTTP_DONE, HTTP_MORE, HTTP_BAD };

// What a field of http/fields.def means for the gateway: bits, to be tested against a set of them.
enum field_flag {
    FLAG_PLAIN = 0,
    FLAG_HOP = 1 << 0,
    FLAG_IDENTITY = 1 << 1,
    FLAG_FORWARDING = 1 << 2,
    FLAG_SECURE = 1 << 3,
    FLAG_DISCLOSING = 1 << 4,
};

// Header fields that the gateway itself looks at, resolved once while parsing (http/fields.def has the
// table).
enum field_id {
    FIELD_OTHER = 0,
#define FIELD(id, name, flags) id,
#include "http/fields.def"
    FIELD_COUNT
};

struct http_field {
    struct str name;  // as received
    struct str value; // without surrounding whitespace
    enum field_id id;
    bool removed; // a phase took it out; whoever forwards or reads skips it
};

// Large, so never cleared as a whole: only v[0..n) means anything. A received head may have LIMIT_HEADERS
// fields; the rest is room for those that the gateway adds, so that a client cannot leave no place for them.
struct http_fields {
    struct http_field v[LIMIT_HEADERS + LIMIT_HEADERS_ADDED];
    size_t n;
};

struct http_request_head {
    struct str method;     // token, case kept; never CONNECT
    struct str target;     // as received: origin-form, absolute-form, or "*" (OPTIONS only)
    struct str host;       // value of the one Host field, not empty, its bytes possible in a host and port;
                           // absolute-form must have the same authority. http_host_parse makes it canonical
    struct str path_query; // origin-form part of the target ("*" for OPTIONS *)
    int minor;             // HTTP/1.minor: 0 or 1
    struct http_fields fields;
    int64_t content_length; // -1: none
    bool chunked;
    bool keep_alive; // by version and Connection
    bool expect_continue;
    bool upgrade; // Connection: upgrade together with an Upgrade field
    size_t bytes; // length of the head in the buffer, final CRLF included
};

// Parses the request head at the beginning of buf[0..len). HTTP_MORE: not complete yet (never when len
// reaches LIMIT_HEAD_BYTES: that is ERR_HTTP_HEADERS_TOO_LARGE). HTTP_BAD: err says why; the connection must
// be closed after the answer. `scanned` remembers between calls how far the end of the head was looked for,
// so that byte-wise senders cost linear time; start with 0 for each new head. *ret means nothing unless
// HTTP_DONE is returned.
//
// One empty line before the request line is skipped (RFC 9112 section 2.2: old browsers end a POST body with
// one too many); a second one is refused.
enum http_parse http_request_parse(const char *buf, size_t len, size_t *scanned,
                                   struct http_request_head *ret, struct err *err);

struct http_response_head {
    int status;
    struct str reason;
    int minor;
    struct http_fields fields;
    int64_t content_length; // -1: none
    bool chunked;
    bool keep_alive;
    size_t bytes;
};

// The same for an answer of at most LIMIT_RESPONSE_HEAD_BYTES. ERR_UPSTREAM_HEAD with a detail for everything
// wrong. Status 100..599; 1xx heads are parsed like others. A reason phrase may be missing, and values may
// have bytes above 0x7F. keep_alive is false when a status that has no body (1xx, 204) announces one: then
// nobody knows where the next begins.
enum http_parse http_response_parse(const char *buf, size_t len, size_t *scanned,
                                    struct http_response_head *ret, struct err *err);

// How an answer's body ends (RFC 9112 section 6.3), given the request's method.
enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };
enum http_framing http_response_framing(const struct http_response_head *head, struct str request_method);

bool http_is_token(struct str s);       // RFC 9110 section 5.6.2, not empty
bool http_is_field_value(struct str s); // visible, SP, HTAB, obs-text; no control bytes
// Ignoring case; '_' counts as '-' for identity fields only. Names without an entry give FIELD_OTHER.
enum field_id http_field_id(struct str name);
struct str http_field_name(enum field_id id); // canonical; empty for FIELD_OTHER and FIELD_OTHER_IDENTITY
unsigned http_field_flags(enum field_id id);  // enum field_flag
// First live field with this id, or NULL.
const struct http_field *http_fields_get(const struct http_fields *f, enum field_id id);
struct str http_fields_value(const struct http_fields *f, enum field_id id); // absent when missing
// Marks every field with this id as removed.
void http_fields_remove(struct http_fields *f, enum field_id id);
// Appends, borrowing name and value (not checked); false when there is no room left. What must arrive
// (identity) may then not be forwarded at all. http_fields_set does the same with the canonical name,
// removing what was there.
bool http_fields_add(struct http_fields *f, enum field_id id, struct str name, struct str value);
bool http_fields_set(struct http_fields *f, enum field_id id, struct str value);
// Whether a value of Content-Type names this media type, with whatever parameters (RFC 9110 section 8.3.1).
bool http_media_type_is(struct str value, const char *type);
const char *http_status_text(int status); // reason phrase, "Unknown" when not registered
