// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/cookie.h"

#include <string.h>

#include "base/limits.h"

// The next live Cookie field at or after *i.
static const struct http_field *next_field(const struct http_fields *f, size_t *i)
{
    for (; *i < f->n; ++*i)
        if (f->v[*i].id == FIELD_COOKIE && !f->v[*i].removed) return &f->v[(*i)++];
    return NULL;
}

static bool next_piece(struct cookie_iter *it, struct str *ret)
{
    while (!str_cut(&it->rest, ';', ret)) {
        const struct http_field *f = next_field(it->fields, &it->field);
        if (!f) return false;
        it->rest = f->value;
    }
    return true;
}

bool cookie_next(struct cookie_iter *it, struct cookie *ret)
{
    struct str piece;
    while (next_piece(it, &piece)) {
        piece = str_trim(piece);
        if (piece.n == 0) continue;
        it->too_many = it->count == LIMIT_COOKIES;
        if (it->too_many) return false;
        it->count++;
        // RFC 6265bis section 5.6: without '=' the name is empty and all of it is the value.
        size_t eq = str_find(piece, '=');
        bool named = eq < piece.n;
        ret->name = named ? str_trim(str_take(piece, eq)) : str_take(piece, 0);
        ret->value = named ? str_trim(str_skip(piece, eq + 1)) : piece;
        return true;
    }
    return false;
}

bool cookie_count_ok(const struct http_fields *f, struct err *err)
{
    struct cookie_iter it = { .fields = f };
    struct str piece;
    for (size_t n = 0; next_piece(&it, &piece);) {
        if (str_trim(piece).n == 0 || ++n <= LIMIT_COOKIES) continue;
        return err_set(err, ERR_HTTP_HEADERS_TOO_LARGE, "more than %d cookies", LIMIT_COOKIES);
    }
    return true;
}

struct str cookie_get(const struct http_fields *f, struct str name)
{
    struct cookie_iter it = { .fields = f };
    struct cookie c;
    struct str found = STR_NONE;
    while (cookie_next(&it, &c)) {
        if (!str_eq(c.name, name)) continue;
        if (found.p && !str_eq(found, c.value)) return STR_NONE;
        found = c.value;
    }
    // Past the limit there may be another one.
    return it.too_many ? STR_NONE : found;
}

// Whether a cookie pair is, for any reader, one with this prefix. Readers skip leading whitespace, quotes,
// and the '=' that some browsers send before a value without a name.
static bool pair_has_prefix(struct str pair, struct str prefix)
{
    while (pair.n && strchr(" \t\"'=", pair.p[0]) && pair.p[0]) pair = str_skip(pair, 1);
    return str_starts_nocase(pair, prefix);
}

static bool value_has_prefix(struct str value, struct str prefix)
{
    struct str rest = value, piece;
    while (str_cut(&rest, ';', &piece))
        if (pair_has_prefix(piece, prefix)) return true;
    return false;
}

static bool strip_value(struct arena *a, struct str *value, struct str prefix)
{
    char *out = arena_alloc(a, 2 * value->n + 1); // "a;b" becomes "a; b"
    if (!out) return false;
    size_t n = 0;
    struct str rest = *value, piece;
    while (str_cut(&rest, ';', &piece)) {
        piece = str_trim(piece);
        if (piece.n == 0 || pair_has_prefix(piece, prefix)) continue;
        if (n) out[n++] = ';';
        if (n) out[n++] = ' ';
        memcpy(out + n, piece.p, piece.n);
        n += piece.n;
    }
    *value = (struct str){ out, n };
    return true;
}

bool cookie_strip(struct arena *a, struct http_fields *f, struct str prefix)
{
    for (size_t i = 0; i < f->n; i++) {
        struct http_field *field = &f->v[i];
        if (field->id != FIELD_COOKIE || field->removed || !value_has_prefix(field->value, prefix)) continue;
        if (!strip_value(a, &field->value, prefix)) return false;
        field->removed = field->value.n == 0;
    }
    return true;
}

// RFC 6265bis section 4.1.1: cookie-octet; what we make ourselves has no quotes.
static bool is_cookie_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c >= 0x7F || c == '"' || c == ',' || c == ';' || c == '\\') return false;
    }
    return true;
}

struct str cookie_set(struct arena *a, struct str name, struct str value, enum cookie_same_site same_site,
                      int64_t max_age)
{
    static const char *const words[] = { "Lax", "None", "Strict" };
    if (!http_is_token(name) || !is_cookie_value(value)) return STR_NONE;
    const char *word = words[same_site];
    if (max_age < 0)
        return arena_printf(a, "%.*s=%.*s; Path=/; Secure; HttpOnly; SameSite=%s", STR_FMT(name),
                            STR_FMT(value), word);
    return arena_printf(a, "%.*s=%.*s; Path=/; Secure; HttpOnly; SameSite=%s; Max-Age=%lld", STR_FMT(name),
                        STR_FMT(value), word, (long long)max_age);
}

bool cookie_sets_prefix(struct str set_cookie, struct str prefix)
{
    return pair_has_prefix(set_cookie, prefix);
}
