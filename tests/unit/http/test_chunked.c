// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/body.h"

struct outcome {
    enum chunked_step step;
    size_t used;
    char data[4096];
    size_t n;
    struct err err;
};

// Decodes `bytes` fed in pieces of `piece` bytes, each in memory of its own, so that a sanitizer sees each
// byte read too many.
static struct outcome decode(struct str bytes, size_t piece)
{
    static struct outcome o;
    struct chunked c;
    chunked_init(&c);
    o = (struct outcome){ .step = CHUNKED_MORE };
    while (o.step == CHUNKED_MORE && o.used < bytes.n) {
        size_t n = bytes.n - o.used < piece ? bytes.n - o.used : piece, at = 0;
        char *copy = malloc(n);
        memcpy(copy, bytes.p + o.used, n);
        do {
            size_t used;
            struct str data;
            o.step = chunked_decode(&c, copy + at, n - at, &used, &data, &o.err);
            at += used;
            if (o.step != CHUNKED_DATA) continue;
            assert_true(data.n > 0 && o.n + data.n <= sizeof o.data);
            memcpy(o.data + o.n, data.p, data.n);
            o.n += data.n;
        } while (o.step == CHUNKED_DATA);
        o.used += at;
        free(copy);
    }
    return o;
}

static void accepts(struct str bytes, const char *body, size_t used)
{
    for (size_t piece = 1; piece <= bytes.n; piece++) {
        struct outcome o = decode(bytes, piece);
        if (o.step != CHUNKED_DONE)
            fail_msg("'%.*s' by %zu: %d %s", STR_FMT(bytes), piece, o.step, o.err.detail);
        assert_str(((struct str){ o.data, o.n }), body);
        assert_int_equal(o.used, used);
    }
    // Not one byte too early.
    for (size_t n = 0; n < used; n++)
        assert_int_equal(decode(str_take(bytes, n), bytes.n).step, CHUNKED_MORE);
}

static void refuses(struct str bytes, const char *detail)
{
    for (size_t piece = 1; piece <= bytes.n; piece++) {
        struct outcome o = decode(bytes, piece);
        if (o.step != CHUNKED_BAD) fail_msg("'%.*s' by %zu: %d", STR_FMT(bytes), piece, o.step);
        assert_refusal(&o.err, STR("http.chunk"), str_c(detail), bytes);
    }
}

#define ACCEPTS(bytes, body) accepts(STR(bytes), body, sizeof bytes - 1)
#define REFUSES(bytes, detail) refuses(STR(bytes), detail)

static void test_bodies(void **state)
{
    (void)state;
    ACCEPTS("0\r\n\r\n", "");
    ACCEPTS("5\r\nhello\r\n0\r\n\r\n", "hello");
    ACCEPTS("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world");
    ACCEPTS("A\r\n0123456789\r\n0\r\n\r\n", "0123456789");
    ACCEPTS("9\r\n\r\n0\r\n\r\n12\r\n0\r\n\r\n", "\r\n0\r\n\r\n12");
    ACCEPTS("00000005\r\nhello\r\n000\r\n\r\n", "hello");
    ACCEPTS("5;a=b;c=\"d;\xe9\"\r\nhello\r\n0;x\r\n\r\n", "hello");
    ACCEPTS("0\r\nX-A: 1\r\nX-B:\t2\r\n\r\n", "");
    accepts(STR("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), "x", 11);
}

static void test_sizes(void **state)
{
    (void)state;
    REFUSES("\r\n", "without a size");
    REFUSES(";a\r\n", "without a size");
    REFUSES("5\r\nhello\r\n\r\n\r\n", "without a size");
    REFUSES(" 5\r\nhello\r\n0\r\n\r\n", "without a size");
    REFUSES("+5\r\nhello\r\n0\r\n\r\n", "without a size");
    REFUSES("-5\r\nhello\r\n0\r\n\r\n", "without a size");
    REFUSES("0x5\r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5 \r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5\t;a\r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5 ;a\r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5_0\r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5\0\r\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5g\r\nhello\r\n0\r\n\r\n", "else than digits");
    // 2^64 + 5 is 5 for who lets it overflow; 2^63 is negative for some.
    REFUSES("10000000000000005\r\nhello\r\n0\r\n\r\n", "larger than 2^62");
    REFUSES("8000000000000000\r\nhello\r\n0\r\n\r\n", "larger than 2^62");
    REFUSES("4000000000000001\r\nhello\r\n0\r\n\r\n", "larger than 2^62");
    REFUSES("FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", "larger than 2^62");
    REFUSES("00000000000000005\r\nhello\r\n0\r\n\r\n", "more than 16 digits");
    assert_int_equal(decode(STR("4000000000000000\r\nx"), 30).step, CHUNKED_MORE);
}

static void test_line_ends(void **state)
{
    (void)state;
    REFUSES("5\nhello\r\n0\r\n\r\n", "else than digits");
    REFUSES("5\rhello\r\n0\r\n\r\n", "CR without LF");
    REFUSES("5\r\r\nhello\r\n0\r\n\r\n", "CR without LF");
    REFUSES("5\r\nhello\n0\r\n\r\n", "not CR LF");
    REFUSES("5\r\nhello0\r\n\r\n", "not CR LF");
    REFUSES("5\r\nhello!\r\n0\r\n\r\n", "not CR LF");
    REFUSES("5\r\nhello\r0\r\n\r\n", "not CR LF");
    REFUSES("5\r\nhel\r\n0\r\n\r\n", "not CR LF");
    REFUSES("0\n\n", "else than digits");
    REFUSES("0\r\n\n", "no header line");
    REFUSES("0\r\n\rX", "not CR LF");
    REFUSES("0\r\n\r\r\n", "not CR LF");
}

// A line end inside an extension ends the line for parsers that look for LF, or for CR, only.
static void test_extensions(void **state)
{
    (void)state;
    REFUSES("5;a\nhello\r\n0\r\n\r\n", "control byte in a chunk extension");
    REFUSES("2;\nxx\r\n4c\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", "control byte in a chunk extension");
    REFUSES("5;a\0\r\nhello\r\n0\r\n\r\n", "control byte in a chunk extension");
    REFUSES("5;a\x7f\r\nhello\r\n0\r\n\r\n", "control byte in a chunk extension");
    REFUSES("5;a\rX\r\nhello\r\n0\r\n\r\n", "CR without LF");
    REFUSES("5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "not CR LF");
}

static void test_trailers(void **state)
{
    (void)state;
    REFUSES("0\r\nX-A: 1\n\r\n", "control byte in a trailer");
    REFUSES("0\r\nX-A: 1\rX\r\n\r\n", "not CR LF");
    REFUSES("0\r\nX-A: \0\r\n\r\n", "control byte in a trailer");
    REFUSES("0\r\n X-A: 1\r\n\r\n", "no header line");
    REFUSES("0\r\nX-A: 1\r\n 2\r\n\r\n", "no header line");
    REFUSES("0\r\nX-A : 1\r\n\r\n", "no header line");
    REFUSES("0\r\n: 1\r\n\r\n", "no header line");
    REFUSES("0\r\nX-A\r\n\r\n", "no header line");
    REFUSES("0\r\nGET / HTTP/1.1\r\n\r\n", "no header line");
}

static struct str filled(struct arena *a, const char *before, size_t n, const char *after)
{
    struct sbuf b;
    sbuf_init(&b, a, 100000);
    sbuf_add_c(&b, before);
    while (n--) sbuf_add_c(&b, "x");
    sbuf_add_c(&b, after);
    return sbuf_str(&b);
}

static void test_lines_are_bounded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    const char *end = "\r\n0\r\n\r\n";
    assert_int_equal(decode(filled(a, "0;", LIMIT_CHUNK_LINE_BYTES - 2, "\r\n\r\n"), 9999).step,
                     CHUNKED_DONE);
    assert_int_equal(decode(filled(a, "0;", LIMIT_CHUNK_LINE_BYTES - 1, "\r\n\r\n"), 9999).step, CHUNKED_BAD);
    assert_int_equal(decode(filled(a, "0\r\nA:", LIMIT_TRAILER_BYTES - 5, "\r\n\r\n"), 99999).step,
                     CHUNKED_DONE);
    assert_int_equal(decode(filled(a, "0\r\nA:", LIMIT_TRAILER_BYTES - 4, "\r\n\r\n"), 99999).step,
                     CHUNKED_BAD);
    // The bound is per line: many chunks are fine.
    struct sbuf many;
    sbuf_init(&many, a, 100000);
    for (int i = 0; i < 2000; i++) sbuf_add_c(&many, "1;a\r\nx\r\n");
    sbuf_add_c(&many, end + 2);
    assert_int_equal(decode(sbuf_str(&many), 99999).step, CHUNKED_DONE);
    arena_free(a);
}

static void test_end_and_failure_are_final(void **state)
{
    (void)state;
    struct chunked c;
    struct str data;
    struct err err;
    size_t used;
    chunked_init(&c);
    assert_int_equal(chunked_decode(&c, "0\r\n\r\n", 5, &used, &data, &err), CHUNKED_DONE);
    assert_int_equal(chunked_decode(&c, "5\r\n", 3, &used, &data, &err), CHUNKED_DONE);
    assert_int_equal(used, 0);
    chunked_init(&c);
    assert_int_equal(chunked_decode(&c, "x", 1, &used, &data, &err), CHUNKED_BAD);
    assert_int_equal(chunked_decode(&c, "0\r\n\r\n", 5, &used, &data, &err), CHUNKED_BAD);
    assert_int_equal(used, 0);
}

static void test_chunk_heads(void **state)
{
    (void)state;
    char buf[20];
    assert_str(((struct str){ buf, chunked_head(buf, 1) }), "1\r\n");
    assert_str(((struct str){ buf, chunked_head(buf, 65536) }), "10000\r\n");
    assert_str(((struct str){ buf, chunked_head(buf, SIZE_MAX) }), "ffffffffffffffff\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_lines_are_bounded),
        cmocka_unit_test(test_end_and_failure_are_final),
        cmocka_unit_test(test_chunk_heads),
    };
    return cmocka_run_group_tests_name("http chunked", tests, NULL, NULL);
}
