// SPDX-License-Identifier: GPL-3.0-or-later
// The strict HTTP/1.1 head parser (RFC 9112) for requests and for backends' answers. Pure: it looks at a buffer and
// points into it. Whatever two parsers could read differently is refused by name, never repaired.
#pragma once

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum http_parse { HTTP_DONE, HTTP_MORE, HTTP_BAD };

// Header fields that the gateway itself looks at, resolved once while parsing (http/fields.h has the table).
enum field_id {
    FIELD_OTHER = 0,
#define FIELD(id, name, flags) id,
#include "http/fields.def"
#undef FIELD
    FIELD_COUNT
};

struct http_field {
    struct str name;  // as received
    struct str value; // without surrounding whitespace
    enum field_id id;
    bool removed;     // a phase took it out; whoever forwards or reads skips it
};

struct http_fields {
    struct http_field v[LIMIT_HEADERS];
    size_t n;
};

struct http_request_head {
    struct str method;      // token, case kept
    struct str target;      // as received: origin-form, absolute-form, or "*" (OPTIONS only)
    struct str host;        // value of Host, or the authority of absolute-form (which must equal Host)
    struct str path_query;  // origin-form part of the target ("*" for OPTIONS *)
    int minor;              // HTTP/1.minor: 0 or 1
    struct http_fields fields;
    int64_t content_length; // -1: none
    bool chunked;
    bool keep_alive;        // by version and Connection
    bool expect_continue;
    bool upgrade;           // Connection: upgrade together with an Upgrade field
    size_t bytes;           // length of the head in the buffer, final CRLF included
};

// Parses the request head at the beginning of buf[0..len). HTTP_MORE: not complete yet (never when len reaches
// LIMIT_HEAD_BYTES: that is ERR_HTTP_HEADERS_TOO_LARGE). HTTP_BAD: err says why; the connection must be closed after the
// answer. `scanned` remembers between calls how far the end of the head was looked for, so that byte-wise senders cost
// linear time; start with 0 for each new head.
enum http_parse http_request_parse(const char *buf, size_t len, size_t *scanned, struct http_request_head *ret,
                                   struct err *err);

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

// The same for an answer. ERR_UPSTREAM_HEAD with a detail for everything wrong. Status 100..599.
enum http_parse http_response_parse(const char *buf, size_t len, size_t *scanned, struct http_response_head *ret,
                                    struct err *err);

// How an answer's body ends (RFC 9112 section 6.3), given the request's method.
enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };
enum http_framing http_response_framing(const struct http_response_head *head, struct str request_method);

bool http_is_token(struct str s);                // RFC 9110 section 5.6.2, not empty
bool http_is_field_value(struct str s);          // visible, SP, HTAB, obs-text; no control bytes
enum field_id http_field_id(struct str name);    // ignoring case; '_' counts as '-' for identity fields only
// First live field with this id, or NULL.
const struct http_field *http_fields_get(const struct http_fields *f, enum field_id id);
struct str http_fields_value(const struct http_fields *f, enum field_id id); // absent when missing
// Marks every field with this id as removed.
void http_fields_remove(struct http_fields *f, enum field_id id);
// Appends; false when there are LIMIT_HEADERS already.
bool http_fields_add(struct http_fields *f, enum field_id id, struct str name, struct str value);
const char *http_status_text(int status); // reason phrase, "Unknown" when not registered
