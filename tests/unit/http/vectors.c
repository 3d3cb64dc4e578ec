// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>

void assert_str_at(struct str got, const char *want, const char *file, int line)
{
    if (str_eq_c(got, want)) return;
    print_error("%s:%d: got '%.*s', want '%s'\n", file, line, STR_FMT(got), want);
    _fail(file, line);
}

struct str vector_file(struct arena *a, const char *path)
{
    struct str full = arena_printf(a, "%s/%s", VECTORS, path);
    FILE *f = fopen(full.p, "rb");
    if (!f) fail_msg("cannot open %s", full.p);
    static char buf[256 * 1024];
    size_t n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    assert_true(n > 0 && n < sizeof buf);
    return arena_str(a, (struct str){ buf, n });
}

bool vector_line(struct str *rest, struct str *ret)
{
    while (str_cut(rest, '\n', ret))
        if (ret->n && ret->p[0] != '#') return true;
    return false;
}

struct str vector_unescape(struct arena *a, struct str text)
{
    char *out = arena_alloc(a, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool escape = i + 3 < text.n && text.p[i] == '\\' && text.p[i + 1] == 'x';
        char digits[3] = { escape ? text.p[i + 2] : '0', escape ? text.p[i + 3] : '0', '\0' };
        out[n++] = escape ? (char)strtol(digits, NULL, 16) : text.p[i];
        if (escape) i += 3;
    }
    return (struct str){ out, n };
}

void assert_refusal(const struct err *err, struct str reason, struct str detail, struct str what)
{
    struct str got = str_c(err->detail);
    if (!str_eq_c(reason, err_name(err->code)) || str_search(got, detail) + detail.n > got.n)
        fail_msg("%.*s: got %s '%s', want %.*s '%.*s'", STR_FMT(what), err_name(err->code), err->detail,
                 STR_FMT(reason), STR_FMT(detail));
}
