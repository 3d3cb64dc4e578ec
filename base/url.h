// SPDX-License-Identifier: GPL-3.0-or-later
// Absolute http(s) URLs, strictly (RFC 3986 with the stricter reading wherever browsers and servers differ):
// visible ASCII only, no backslash, no userinfo, a lower-case DNS name or an IP literal in its one usual
// spelling.
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct url {
    bool https;
    struct str host; // lower case, no trailing dot; IPv6 without brackets
    bool ipv6;
    uint16_t port;       // explicit or the scheme's default
    struct str path;     // begins with '/', "/" when absent
    struct str query;    // without '?', absent when there is none
    struct str fragment; // without '#', absent when there is none
};

// Parses `text`; results live in the arena. ERR_URL with the reason otherwise.
bool url_parse(struct arena *a, struct str text, struct url *ret, struct err *err);
// The one canonical spelling: default ports left out.
struct str url_format(struct arena *a, const struct url *u);
// scheme://host[:port] of `u` (RFC 6454).
struct str url_origin(struct arena *a, const struct url *u);
// `url` with `name=value` (percent-encoded) added to its query.
struct str url_with_param(struct arena *a, struct str url, const char *name, struct str value);
// A host name as in RFC 9110 Host, without port: lower-cased into the arena, one trailing dot removed, labels
// of letters, digits, '-' and '_', at most 253 bytes; or an IPv4 address in dotted decimal; or IPv6 (no
// brackets here). Numeric spellings of IPv4 that browsers accept but servers read differently (decimal,
// octal, hex) are refused.
bool host_canonical(struct arena *a, struct str raw, struct str *ret, bool *ret_ipv6);
// A name that always means this machine (RFC 6761 section 6.3): localhost and everything below it.
bool host_is_localhost(struct str host);
// "host", "host:port", "[v6]", "[v6]:port". *ret_port is 0 when there is none.
bool authority_parse(struct arena *a, struct str raw, struct str *ret_host, bool *ret_ipv6,
                     uint16_t *ret_port);

// application/x-www-form-urlencoded pairs (WHATWG URL, section 5.1), decoded, in order. At most `max` pairs,
// refused beyond. Empty pieces ("a=1&&b=2") are skipped. False: a malformed escape or too many.
struct form_field {
    struct str name, value;
};
struct form {
    struct form_field *v;
    size_t n;
};
bool form_parse(struct arena *a, struct str text, size_t max, struct form *ret);
// The value of `name` when it occurs exactly once. FORM_MISSING and FORM_DUPLICATE leave *ret untouched.
enum form_get { FORM_OK, FORM_MISSING, FORM_DUPLICATE };
enum form_get form_get(const struct form *f, const char *name, struct str *ret);
