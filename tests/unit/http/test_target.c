// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/target.h"

struct row {
    struct str input, a, b;
    bool accepted;
};

static bool next_row(struct arena *a, struct str *rest, struct row *ret)
{
    struct str line, kind;
    if (!vector_line(rest, &line)) return false;
    *ret = (struct row){ 0 };
    str_cut(&line, '\t', &ret->input);
    assert_true(str_cut(&line, '\t', &kind));
    assert_true(str_cut(&line, '\t', &ret->a));
    ret->b = line;
    ret->accepted = str_eq(kind, STR("=>"));
    assert_true(ret->accepted || str_eq(kind, STR("!!")));
    ret->input = vector_unescape(a, ret->input);
    return true;
}

static void check_target(struct arena *a, const struct row *row)
{
    struct http_target t, again;
    struct err err;
    char *copy = malloc(row->input.n + 1); // exact, so that a sanitizer sees each byte read too many
    char *exact = row->input.n ? realloc(copy, row->input.n) : copy;
    memcpy(exact, row->input.p, row->input.n);
    bool ok = http_target_parse(a, (struct str){ exact, row->input.n }, &t, &err);
    if (ok != row->accepted) fail_msg("'%.*s': %s", STR_FMT(row->input), ok ? "accepted" : err.detail);
    if (!ok) assert_refusal(&err, row->a, row->b.p ? row->b : STR(""), row->input);
    if (ok) {
        if (!str_eq(t.path, row->a) || !str_eq(t.query, row->b) || !t.query.p != !row->b.p)
            fail_msg("'%.*s' gives '%.*s' '%.*s'", STR_FMT(row->input), STR_FMT(t.path), STR_FMT(t.query));
        // One spelling for one path: the canonical one stays as it is.
        assert_true(http_target_parse(a, t.path, &again, &err));
        assert_true(str_eq(again.path, t.path));
    }
    free(exact);
}

static void test_target_vectors(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    struct str rest = vector_file(a, "targets.txt");
    struct row row;
    size_t n = 0;
    for (; next_row(a, &rest, &row); n++) check_target(a, &row);
    assert_true(n > 80);
    arena_free(a);
}

static void test_host_vectors(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    struct str rest = vector_file(a, "hosts.txt");
    struct row row;
    while (next_row(a, &rest, &row)) {
        struct str host = STR("untouched");
        uint16_t port = 7;
        struct err err;
        bool ok = http_host_parse(a, row.input, &host, &port, &err);
        if (ok != row.accepted) fail_msg("'%.*s': %s", STR_FMT(row.input), ok ? "accepted" : err.detail);
        if (!ok) assert_refusal(&err, row.a, STR(""), row.input);
        if (!ok) assert_str(host, "untouched");
        if (ok && (!str_eq(host, row.a) || !str_eq(arena_printf(a, "%u", port), row.b)))
            fail_msg("'%.*s' gives '%.*s' %u", STR_FMT(row.input), STR_FMT(host), port);
    }
    arena_free(a);
}

// --- docs/paths.md: its tables are tests, so that the page and the code cannot disagree

enum { CELLS = 6 };

// "| a | b |" -> cells without the space around them; "\\|" is a bar within one.
static size_t split_row(struct arena *a, struct str line, struct str cell[CELLS])
{
    size_t n = 0;
    char *out = arena_alloc(a, line.n + 1);
    struct str text = { out, 0 };
    for (size_t i = 1; i < line.n; i++) {
        bool bar = line.p[i] == '\\' && i + 1 < line.n && line.p[i + 1] == '|';
        if (line.p[i] == '|') {
            assert_true(n < CELLS);
            cell[n++] = str_trim(text);
            text = (struct str){ out + i, 0 };
        } else {
            out[text.p - out + (ptrdiff_t)text.n] = line.p[i + bar];
            text.n++;
            i += bar;
        }
    }
    return n;
}

// The next `...` of a cell, with its \xNN resolved.
static bool next_code(struct arena *a, struct str *cell, struct str *ret)
{
    size_t open = str_find(*cell, '`');
    if (open == cell->n) return false;
    *cell = str_skip(*cell, open + 1);
    size_t close = str_find(*cell, '`');
    *ret = vector_unescape(a, str_take(*cell, close));
    *cell = str_skip(*cell, close + 1);
    return true;
}

static struct str code_of(struct arena *a, struct str cell)
{
    struct str code = STR_NONE;
    next_code(a, &cell, &code);
    return code;
}

static void target_becomes(struct arena *a, struct str input, struct str want)
{
    struct http_target t;
    struct err err;
    if (!http_target_parse(a, input, &t, &err)) fail_msg("'%.*s': %s", STR_FMT(input), err.detail);
    if (!str_eq(t.path, want.p ? want : input))
        fail_msg("'%.*s' gives '%.*s'", STR_FMT(input), STR_FMT(t.path));
}

static void host_becomes(struct arena *a, struct str input, struct str want, struct str want_port)
{
    struct str host;
    uint16_t port;
    struct err err;
    if (!http_host_parse(a, input, &host, &port, &err)) fail_msg("'%.*s': %s", STR_FMT(input), err.detail);
    if (!str_eq(host, want) || !str_eq(arena_printf(a, "%u", port), want_port))
        fail_msg("'%.*s' gives '%.*s' %u", STR_FMT(input), STR_FMT(host), port);
}

static void is_refused(struct arena *a, struct str input, struct str reason, struct str detail)
{
    struct http_target t;
    struct str host;
    uint16_t port;
    struct err err = { 0 };
    bool is_host = str_eq(reason, STR("http.host"));
    bool ok = is_host ? http_host_parse(a, input, &host, &port, &err) : http_target_parse(a, input, &t, &err);
    if (ok) fail_msg("'%.*s' is accepted", STR_FMT(input));
    assert_refusal(&err, reason, detail, input);
}

static void check_documented(struct arena *a, struct str header, struct str cell[CELLS], struct str input)
{
    if (str_eq(header, STR("| received | becomes | why |")))
        target_becomes(a, input, code_of(a, cell[1]));
    else if (str_eq(header, STR("| received | becomes | port |")))
        host_becomes(a, input, code_of(a, cell[1]), cell[2]);
    else if (str_eq(header, STR("| received | reason | detail in the log | what it is used for |")))
        is_refused(a, input, code_of(a, cell[1]), cell[2]);
    else if (str_eq(header, STR("| received | reason | why |")))
        is_refused(a, input, code_of(a, cell[1]), STR(""));
    else
        fail_msg("an unknown table: %.*s", STR_FMT(header));
}

static void test_documented_tables(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    struct str rest = vector_file(a, "../../../docs/paths.md"), line, header = STR_NONE, input;
    size_t n = 0;
    while (str_cut(&rest, '\n', &line)) {
        struct str cell[CELLS];
        if (!str_starts(line, STR("|")) || !header.p)
            header = str_starts(line, STR("| received |")) ? line : STR_NONE;
        if (!header.p || line.p == header.p || str_starts(line, STR("|--"))) continue;
        assert_true(split_row(a, line, cell) >= 3);
        struct str inputs = cell[0];
        for (; next_code(a, &inputs, &input); n++) check_documented(a, header, cell, input);
    }
    assert_true(n > 100);
    arena_free(a);
}

// %XX of every byte, and every byte itself, in the middle of a segment.
static void test_every_byte(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    const char *refused_escapes = "/\\%;", *refused_bytes = "\\;#";
    for (int c = 0; c < 256; c++) {
        struct http_target t;
        struct err err;
        bool control = c < 0x20 || c == 0x7F || c >= 0x80; // a single byte above 0x7F is not UTF-8
        bool escaped = http_target_parse(a, arena_printf(a, "/a%%%02xb", c), &t, &err);
        assert_int_equal(escaped, !control && !strchr(refused_escapes, c));
        char raw[] = "/axb";
        raw[2] = (char)c;
        bool plain = http_target_parse(a, (struct str){ raw, 4 }, &t, &err);
        assert_int_equal(plain, !control && c != ' ' && c != '%' && !strchr(refused_bytes, c));
    }
    arena_free(a);
}

static void test_long_targets(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    char *p = arena_alloc(a, LIMIT_TARGET_BYTES + 1);
    memset(p, '|', LIMIT_TARGET_BYTES + 1); // grows to three bytes each
    p[0] = '/';
    struct http_target t;
    struct err err;
    assert_true(http_target_parse(a, (struct str){ p, LIMIT_TARGET_BYTES }, &t, &err));
    assert_int_equal(t.path.n, 3 * LIMIT_TARGET_BYTES - 2);
    assert_false(http_target_parse(a, (struct str){ p, LIMIT_TARGET_BYTES + 1 }, &t, &err));
    assert_int_equal(err.code, ERR_HTTP_TARGET_TOO_LONG);
    arena_free(a);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    struct arena *big = arena_new(1024 * 1024);
    char *p = arena_alloc(big, 10000);
    memset(p, 'a', 10000);
    memcpy(p, "/%41", 4);
    for (long n = 1; n < 6; n++) {
        struct arena *a = arena_new(1024 * 1024);
        struct http_target t;
        struct err err = { 0 };
        mem_fail_at(n);
        bool ok = http_target_parse(a, (struct str){ p, 10000 }, &t, &err);
        assert_int_equal(ok, !mem_failed());
        assert_int_equal(err.code, ok ? ERR_NONE : ERR_NO_MEMORY);
        mem_fail_at(0);
        arena_free(a);
    }
    struct arena *small = arena_new(8);
    struct str host;
    uint16_t port;
    struct err err;
    assert_false(http_host_parse(small, STR("a.example"), &host, &port, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
    arena_free(small);
    arena_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_vectors),    cmocka_unit_test(test_host_vectors),
        cmocka_unit_test(test_documented_tables), cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_long_targets),      cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests_name("http target", tests, NULL, NULL);
}
