// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/url.h"
#include "base/wire.h"

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static void test_cut_gives_empty_parts(void **state)
{
    (void)state;
    struct str rest = STR("a,,b"), part;
    assert_true(str_cut(&rest, ',', &part));
    assert_str(part, "a");
    assert_true(str_cut(&rest, ',', &part));
    assert_str(part, "");
    assert_true(str_cut(&rest, ',', &part));
    assert_str(part, "b");
    assert_false(str_cut(&rest, ',', &part));
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const printable[] = { "",         "plain ~",      "B\xC3\xB6hm",
                                             "\xC2\xA0", "\xE2\x82\xAC", "\xF0\x9F\x98\x80" };
    static const char *const controls[] = { "\t",         "a\n",         "\x7F",    "\xC2\x80",
                                            "x\xC2\x85y", "\xC2\x9B[1m", "\xC2\x9F" };
    static const char *const broken[] = {
        "\x80",         "\xC3",     "\xC0\xAF",         "\xC1\x81",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF",         "\xC3\x28"
    };
    for (size_t i = 0; i < sizeof printable / sizeof *printable; i++)
        assert_true(str_is_utf8(str_c(printable[i]), true));
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        assert_true(str_is_utf8(str_c(controls[i]), false));
        assert_false(str_is_utf8(str_c(controls[i]), true));
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_false(str_is_utf8(str_c(broken[i]), false));
    assert_false(str_is_utf8(STR("a\0b"), true));
}

static void test_arena_is_bounded_and_sticky(void **state)
{
    (void)state;
    struct arena *a = arena_new(1000);
    assert_non_null(arena_alloc(a, 900));
    assert_null(arena_alloc(a, 200));
    assert_null(arena_alloc(a, 1));
    assert_true(arena_failed(a));
    arena_clear(a);
    assert_non_null(arena_alloc(a, 200));
    arena_free(a);
}

static void test_wire_refuses_damage(void **state)
{
    (void)state;
    struct arena *a = arena_new(10000);
    struct wire_writer w;
    wire_init(&w, a, 1000);
    wire_put(&w, 7, STR("seven"));
    wire_put_int(&w, 9, -2);
    struct str m = wire_done(&w), v;
    int64_t n;
    assert_true(wire_find(m, 7, &v));
    assert_str(v, "seven");
    assert_true(wire_find_int(m, 9, &n));
    assert_int_equal(n, -2);
    assert_false(wire_find(m, 8, &v));
    for (size_t cut = 1; cut < 11; cut++) {
        struct str rest = str_take(m, cut);
        struct wire_field f;
        assert_int_equal(wire_next(&rest, &f), WIRE_BAD);
    }
    arena_free(a);
}

static void test_seal_refuses_every_flipped_bit(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY_BYTES] = { 1 }, box[3 + SEAL_OVERHEAD], plain[3];
    assert_true(crypto_seal(key, STR("purpose"), STR("abc"), box));
    struct str s = { (char *)box, sizeof box };
    assert_true(crypto_open(key, STR("purpose"), s, plain));
    assert_memory_equal(plain, "abc", 3);
    assert_false(crypto_open(key, STR("other"), s, plain));
    for (size_t i = 0; i < sizeof box * 8; i++) {
        box[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(crypto_open(key, STR("purpose"), s, plain));
        box[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

static void test_hmac_parts_cannot_be_shifted(void **state)
{
    (void)state;
    uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
    assert_true(crypto_hmac_sha256(STR("k"), (struct str[]){ STR("ab"), STR("c") }, 2, x));
    assert_true(crypto_hmac_sha256(STR("k"), (struct str[]){ STR("a"), STR("bc") }, 2, y));
    assert_memory_not_equal(x, y, sizeof x);
}

static void test_encodings(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    struct str out;
    assert_str(encode_base64(a, STR("fo")), "Zm8=");
    assert_str(encode_base64url(a, STR("\xfb\xff")), "-_8");
    assert_true(decode_base64url(a, STR("-_8"), &out));
    assert_str(out, "\xfb\xff");
    assert_false(decode_base64url(a, STR("-_9"), &out)); // trailing bits
    assert_false(decode_base64url(a, STR("-_8="), &out));
    assert_false(decode_base64url(a, STR("A"), &out));
    assert_true(decode_base64(a, STR("Zm8=\r\n"), true, &out));
    assert_str(out, "fo");
    assert_false(decode_base64(a, STR("Zm8=\n"), false, &out));
    assert_false(decode_base64(a, STR("Zm8"), false, &out));
    assert_str(encode_html(a, STR("<a href=\"'&'\">")), "&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;");
    assert_str(encode_json(a, STR("a\"\xff<\n")), "\"a\\u0022\\ufffd\\u003c\\u000a\"");
    assert_true(decode_percent(a, STR("a%2Fb+c"), true, &out));
    assert_str(out, "a/b c");
    assert_false(decode_percent(a, STR("%2"), true, &out));
    assert_false(decode_percent(a, STR("%zz"), true, &out));
    arena_free(a);
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; // out NULL: refused
    } rows[] = {
        { "https://Example.COM", "https://example.com/" },
        { "https://example.com:443/a?b=c#d", "https://example.com/a?b=c#d" },
        { "http://[::1]:8080/x", "http://[::1]:8080/x" },
        { "https://example.com./", "https://example.com/" },
        { "https://127.0.0.1/", "https://127.0.0.1/" },
        { "//h", NULL },
        { "/\\h", NULL },
        { "https:/h", NULL },
        { "https:h", NULL },
        { "https://", NULL },
        { "https://ok@h/", NULL },
        { "https://h\\@ok/", NULL },
        { "https://h /", NULL },
        { "https://h\t/", NULL },
        { "https://2130706433/", NULL },
        { "https://0x7f.1/", NULL },
        { "https://0177.0.0.1/", NULL },
        { "https://h:0/", NULL },
        { "https://h:65536/", NULL },
        { "https://h:/", NULL },
        { "https://h:1x/", NULL },
        { "javascript:alert(1)", NULL },
        { "https://h/%zz", NULL },
        { "https://h/%", NULL },
        { "https://-h/", NULL },
        { "https://a..b/", NULL },
        { "https://[::1/", NULL },
        { "https://::1/", NULL },
        { "ftp://h/", NULL },
        { "https://\xc3\xa9/", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_new(10000);
        struct url u;
        struct err err;
        bool ok = url_parse(a, str_c(rows[i].in), &u, &err);
        if (ok != (rows[i].out != NULL)) fail_msg("%s: %s", rows[i].in, ok ? "accepted" : err.detail);
        if (ok) assert_str(url_format(a, &u), rows[i].out);
        arena_free(a);
    }
}

static void test_url_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (long n = 1; n < 20; n++) {
        mem_fail_at(n);
        struct arena *a = arena_new(100000);
        struct url u;
        struct err err;
        if (a) {
            bool ok = url_parse(a, STR("https://example.com:8443/path?query#fragment"), &u, &err);
            assert_true(ok || mem_failed());
        }
        arena_free(a);
        mem_fail_at(0);
    }
}

static void test_forms(void **state)
{
    (void)state;
    struct arena *a = arena_new(10000);
    struct form f;
    struct str v;
    assert_true(form_parse(a, STR("a=1&b=2&&a=3&c"), 8, &f));
    assert_int_equal(f.n, 4);
    assert_int_equal(form_get(&f, "a", &v), FORM_DUPLICATE);
    assert_int_equal(form_get(&f, "b", &v), FORM_OK);
    assert_str(v, "2");
    assert_int_equal(form_get(&f, "x", &v), FORM_MISSING);
    assert_true(form_parse(a, STR(""), 8, &f));
    assert_false(form_parse(a, STR("a&b&c"), 2, &f));
    assert_false(form_parse(a, STR("a=%f"), 2, &f));
    arena_free(a);
}

static void test_int_as_text(void **state)
{
    (void)state;
    char buf[STR_INT_BYTES];
    assert_true(str_eq_c(str_of_int(0, buf), "0"));
    assert_true(str_eq_c(str_of_int(-1, buf), "-1"));
    assert_true(str_eq_c(str_of_int(1024, buf), "1024"));
    assert_true(str_eq_c(str_of_int(INT64_MAX, buf), "9223372036854775807"));
    assert_true(str_eq_c(str_of_int(INT64_MIN, buf), "-9223372036854775808"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int_as_text),
        cmocka_unit_test(test_cut_gives_empty_parts),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_arena_is_bounded_and_sticky),
        cmocka_unit_test(test_wire_refuses_damage),
        cmocka_unit_test(test_seal_refuses_every_flipped_bit),
        cmocka_unit_test(test_hmac_parts_cannot_be_shifted),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_url_survives_every_failed_allocation),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
