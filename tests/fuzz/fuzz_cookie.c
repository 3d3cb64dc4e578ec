// SPDX-License-Identifier: GPL-3.0-or-later
// Cookies: after the strip no reader finds ours; the others keep their order and value. The input is one
// Cookie field per line.
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/cookie.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

#define OURS STR("__Host-sp")

static struct http_fields fields, before;

static void fill(struct str text)
{
    struct str line;
    fields.n = 0;
    while (fields.n < 8 && str_cut(&text, '\n', &line))
        http_fields_add(&fields, FIELD_COOKIE, STR("Cookie"), line);
}

static struct str skip_marks(struct str s)
{
    while (s.n && s.p[0] && strchr(" \t\"'=", s.p[0])) s = str_skip(s, 1);
    return s;
}

static bool is_ours(struct cookie c)
{
    struct str name = skip_marks(c.name);
    return str_starts_nocase(name.n ? name : skip_marks(c.value), OURS);
}

// The pairs of `before` that are not ours are those that are left, one by one.
static void check_order(void)
{
    struct cookie_iter old = { .fields = &before }, new = { .fields = &fields };
    struct cookie was, is;
    while (cookie_next(&old, &was)) {
        if (is_ours(was)) continue;
        CHECK(cookie_next(&new, &is) && str_eq(was.name, is.name) && str_eq(was.value, is.value));
    }
    CHECK(old.too_many || !cookie_next(&new, &is));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena *a = arena_new(4 * 1024 * 1024);
    fill(text);
    before = fields;
    cookie_get(&fields, STR("__Host-sp"));
    bool sets = cookie_sets_prefix(text, OURS);
    CHECK(!sets || size >= OURS.n);
    if (cookie_strip(a, &fields, OURS)) {
        struct cookie_iter it = { .fields = &fields };
        struct cookie c;
        while (cookie_next(&it, &c)) CHECK(!is_ours(c));
        CHECK(!cookie_get(&fields, STR("__Host-sp")).p);
        check_order();
    }
    arena_free(a);
    return 0;
}
