// SPDX-License-Identifier: GPL-3.0-or-later
// Cookies (RFC 6265bis): reading ours, taking ours out before a backend sees the request, composing
// Set-Cookie.
#pragma once

#include "base/arena.h"
#include "http/head.h"

struct cookie {
    struct str name, value;
};
// Walks the pairs of all Cookie fields, at most LIMIT_COOKIES. Lenient as browsers are about what others set
// (pairs without '=', quotes, odd bytes), never out of bounds. Start with (struct cookie_iter){ .fields = f
// }.
struct cookie_iter {
    const struct http_fields *fields;
    size_t field;
    struct str rest;
    size_t count;
    bool too_many; // the walk ended at the limit
};
bool cookie_next(struct cookie_iter *it, struct cookie *ret);
// Whether there are at most LIMIT_COOKIES pairs. Beyond that cookie_get finds nothing, so whoever lets such a
// request in would send the visitor to the login again and again: ERR_HTTP_HEADERS_TOO_LARGE says what helps.
bool cookie_count_ok(const struct http_fields *f, struct err *err);
// The value of cookie `name`, when all of that name have the same one (two different values: absent, since a
// planted one could be either; more than LIMIT_COOKIES pairs: absent, since nobody knows what comes after).
struct str cookie_get(const struct http_fields *f, struct str name);
// Cookie field values without every pair whose name begins with `prefix` (ignoring case, quotes and
// surrounding space): rewritten in the arena; a field that becomes empty is removed. Not limited in number.
// False: out of memory (then nothing may be forwarded).
bool cookie_strip(struct arena *a, struct http_fields *f, struct str prefix);

enum cookie_same_site { SAME_SITE_LAX, SAME_SITE_NONE, SAME_SITE_STRICT };
// "name=value; Path=/; Secure; HttpOnly; SameSite=Lax[; Max-Age=n]"; max_age < 0: a session cookie; 0
// deletes. Absent when name or value could end the pair early, or out of memory.
struct str cookie_set(struct arena *a, struct str name, struct str value, enum cookie_same_site same_site,
                      int64_t max_age);
// Whether the Set-Cookie value of a backend would set one of our names (such a field is dropped).
// `=__Host-x=1`, a cookie without a name that is sent as if it had one, counts.
bool cookie_sets_prefix(struct str set_cookie, struct str prefix);
