// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "vectors.h"

static struct str read_all(const char *path)
{
    static char buf[1 << 18];
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("cannot read %s", path);
    size_t n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    assert_true(n > 0 && n < sizeof buf);
    return (struct str){ buf, n };
}

struct str vector_get(const struct vector *v, const char *key)
{
    for (size_t i = 0; i < v->n; i++)
        if (str_eq_c(v->keys[i], key)) return v->values[i];
    return STR_NONE;
}

bool vector_edit(const struct vector *v, const char *key, size_t n, struct str *ret_find,
                 struct str *ret_replace)
{
    for (size_t i = 0; i < v->n; i++) {
        if (!str_eq_c(v->keys[i], key) || n-- > 0) continue;
        struct str arrow = STR(" ==>"), value = v->values[i];
        size_t at = str_search(value, arrow);
        if (at == value.n) fail_msg("no arrow in: %.*s", STR_FMT(value));
        *ret_find = str_take(value, at);
        *ret_replace = str_skip(value, at + arrow.n);
        if (ret_replace->n) *ret_replace = str_skip(*ret_replace, 1);
        return true;
    }
    return false;
}

static void add_line(struct vector *v, struct str line)
{
    size_t colon = str_find(line, ':');
    if (colon + 2 > line.n || v->n == 24) fail_msg("bad line: %.*s", STR_FMT(line));
    v->keys[v->n] = str_take(line, colon);
    v->values[v->n++] = str_skip(line, colon + 2);
}

static size_t finish(struct vector *v, void (*run)(const struct vector *))
{
    if (v->n == 0) return 0;
    if (!vector_get(v, "name").n || !vector_get(v, "expect").n)
        fail_msg("an entry without name or expectation");
    run(v);
    v->n = 0;
    return 1;
}

size_t vectors_each(const char *path, void (*run)(const struct vector *))
{
    struct str rest = read_all(path), line;
    struct vector v = { .n = 0 };
    size_t count = 0;
    while (str_cut(&rest, '\n', &line)) {
        if (line.n == 0)
            count += finish(&v, run);
        else if (line.p[0] != '#')
            add_line(&v, line);
    }
    return count + finish(&v, run);
}
