// SPDX-License-Identifier: GPL-3.0-or-later
// Where a login may lead: every open redirect that other gateways have paid for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/journey/return_url.h"

static struct route routes[] = { { .host = STR_INIT("wiki.example.com"), .path = STR_INIT("/") } };

static const char *check(struct arena *a, const char *raw, size_t n)
{
    struct config c = { .login_host = STR("login.example.com"), .public_port = 443, .routes = { routes, 1 } };
    struct url u;
    struct str text;
    struct err err = { 0 };
    if (return_url_check(a, &c, (struct str){ raw, n }, &u, &text, &err)) return text.p;
    assert_int_equal(err.code, ERR_LOGIN_TARGET);
    return NULL;
}

static void test_accepts_our_hosts_in_one_spelling(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "https://wiki.example.com/a?b=c#d", "https://wiki.example.com/a?b=c" },
        { "https://WIKI.example.com:443/a", "https://wiki.example.com/a" },
        { "https://wiki.example.com./a/./b/../c", "https://wiki.example.com/a/c" },
        { "https://login.example.com", "https://login.example.com/" },
    };
    struct arena *a = arena_new(1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str raw = str_c(rows[i][0]);
        const char *got = check(a, raw.p, raw.n);
        assert_non_null(got);
        assert_string_equal(got, rows[i][1]);
    }
    arena_free(a);
}

static void test_refuses_every_other_place(void **state)
{
    (void)state;
    static const struct str rows[] = {
        STR_INIT(""),
        STR_INIT("/"),
        STR_INIT("//evil.com"),
        STR_INIT("///evil.com"),
        STR_INIT("/\\evil.com"),
        STR_INIT("\\/evil.com"),
        STR_INIT("/ /evil.com"),
        STR_INIT("/\t/evil.com"),
        STR_INIT("/\v/evil.com"),
        STR_INIT("/\n/evil.com"),
        STR_INIT("/\r\\evil.com"),
        STR_INIT("/./\\evil.com"),
        STR_INIT("/%09/evil.com"),
        STR_INIT("/%5cevil.com"),
        STR_INIT("/%2f%2fevil.com"),
        STR_INIT("https:/evil.com"),
        STR_INIT("https:evil.com"),
        STR_INIT("https://wiki.example.com@evil.com"),
        STR_INIT("https://evil.com\\@wiki.example.com"),
        STR_INIT("https://wiki.example.com.evil.com"),
        STR_INIT("https://evil-wiki.example.com"),
        STR_INIT("https://wiki.example.com:8443/"),
        STR_INIT("https://wiki.example.com:/"),
        STR_INIT("http://wiki.example.com/"),
        STR_INIT("https://2130706433/"),
        STR_INIT("https://0x7f000001/"),
        STR_INIT("https://0177.0.0.1/"),
        STR_INIT("javascript:alert(1)"),
        STR_INIT("https://wiki.example.com\0.evil.com/"),
        STR_INIT("https://wiki.example.com/\0"),
        STR_INIT("https://wiki.example.com/%2e%2e/x"),
        STR_INIT("https://wiki.example.com/a//b"),
        STR_INIT("https://wiki.example.com/%2fevil"),
        STR_INIT(" https://wiki.example.com/"),
        STR_INIT("https://wiki.example.com /"),
        STR_INIT("https://"),
        STR_INIT("data:text/html,x"),
        STR_INIT("https://[::1]/"),
        STR_INIT("https://wiki.example.com%2eevil.com/"),
        STR_INIT("https://evil.com#@wiki.example.com"),
        STR_INIT("https://evil.com?wiki.example.com"),
    };
    struct arena *a = arena_new(1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (check(a, rows[i].p, rows[i].n)) fail_msg("accepted '%.*s'", STR_FMT(rows[i]));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_our_hosts_in_one_spelling),
        cmocka_unit_test(test_refuses_every_other_place),
    };
    return cmocka_run_group_tests_name("return_url", tests, NULL, NULL);
}
