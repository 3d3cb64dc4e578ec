// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "http/rewrite.h"

static struct arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_new(1 << 20);
    return a ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want))) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want ? want : "(absent)");
}

static void test_paths_to_backends(void **state)
{
    (void)state;
    static const char *const rows[][4] = {
        // path, prefix, in its place, what the backend is asked for
        { "/wiki", "/wiki", "/", "/" },
        { "/wiki/", "/wiki", "/", "/" },
        { "/wiki/a", "/wiki", "/", "/a" },
        { "/wiki/a/", "/wiki", "/", "/a/" },
        { "/wiki/wiki", "/wiki", "/", "/wiki" },
        { "/a/b/c", "/a/b", "/", "/c" },
        { "/wiki", "/wiki", "/app", "/app" },
        { "/wiki/", "/wiki", "/app", "/app/" },
        { "/wiki/a", "/wiki", "/app", "/app/a" },
        { "/", "/", "/app", "/app/" },
        { "/a", "/", "/app", "/app/a" },
        { "/a", "/", "/", "/a" },
        // Not under the prefix: a route never gives such a path, and it must not be guessed at.
        { "/wikis", "/wiki", "/", NULL },
        { "/w", "/wiki", "/", NULL },
        { "*", "/", "/", NULL },
        { "*", "/", "/app", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_str(http_rewrite_path(a, str_c(rows[i][0]), str_c(rows[i][1]), str_c(rows[i][2])), rows[i][3]);
}

// What policy saw and what the backend gets must not differ in more than the prefix.
static void test_forwarded_paths_are_canonical(void **state)
{
    (void)state;
    static const char *const paths[] = { "/", "/p", "/p/", "/p/a", "/p/a/b/", "/p/a%20", "/p/a%3Fb" };
    static const char *const prefixes[] = { "/", "/p" };
    static const char *const replacements[] = { "/", "/app", "/app/v%20" };
    for (size_t i = 0; i < 7 * 2 * 3; i++) {
        struct str path = str_c(paths[i / 6]), prefix = str_c(prefixes[i / 3 % 2]);
        struct str got = http_rewrite_path(a, path, prefix, str_c(replacements[i % 3]));
        struct http_target t;
        struct err err = { 0 };
        if (!got.p) continue;
        if (!http_target_parse(a, got, &t, &err)) fail_msg("%.*s: %s", STR_FMT(got), err.detail);
        assert_str(t.path, got.p);
        assert_null(t.query.p);
    }
}

static void assert_redirect(const char *to, const char *path, const char *query, const char *prefix,
                            const char *want)
{
    struct http_target target = { str_c(path), str_c(query) };
    assert_str(http_redirect_location(a, str_c(to), &target, str_c(prefix)), want);
}

static void test_redirects_keep_the_path(void **state)
{
    (void)state;
    assert_redirect("https://new.example.com", "/a/b", NULL, "/", "https://new.example.com/a/b");
    assert_redirect("https://new.example.com/", "/a", NULL, "/", "https://new.example.com/a");
    assert_redirect("https://new.example.com/x", "/a", NULL, "/", "https://new.example.com/x/a");
    assert_redirect("https://new.example.com/x/", "/old/a", NULL, "/old", "https://new.example.com/x/a");
    assert_redirect("https://new.example.com/x", "/old", NULL, "/old", "https://new.example.com/x");
    assert_redirect("https://new.example.com/x/", "/old", NULL, "/old", "https://new.example.com/x/");
    // What is appended cannot become part of the host.
    assert_redirect("https://new.example.com", "/old.evil.example", NULL, "/old", NULL);
    assert_redirect("/new", "/old/a", NULL, "/old", "/new/a");
    assert_redirect("/", "/old/a", NULL, "/old", "/a");
    assert_redirect("/", "/old", NULL, "/old", "/");
    assert_redirect("/new", "*", NULL, "/", NULL);
}

static void test_redirects_keep_both_queries(void **state)
{
    (void)state;
    assert_redirect("/new", "/old/a", "q=1", "/old", "/new/a?q=1");
    assert_redirect("/new?own=1", "/old/a", "q=1", "/old", "/new/a?own=1&q=1");
    assert_redirect("/new?own=1", "/old/a", NULL, "/old", "/new/a?own=1");
    assert_redirect("/new?own=1", "/old/a", "", "/old", "/new/a?own=1");
    assert_redirect("/new?", "/old/a", "q=1", "/old", "/new/a?q=1");
    assert_redirect("/new?", "/old/a", NULL, "/old", "/new/a");
    assert_redirect("https://n.example/x?own=1#top", "/old/a", "q=?", "/old",
                    "https://n.example/x/a?own=1&q=?#top");
    assert_redirect("https://n.example/#/x?y", "/old/a", "q", "/old", "https://n.example/a?q#/x?y");
}

static void test_redirects_without_the_path(void **state)
{
    (void)state;
    assert_redirect("https://n.example/x?own=1#top", "/old/a", "q=1", NULL, "https://n.example/x?own=1#top");
    assert_redirect("/new/", "/old/a", "q=1", NULL, "/new/");
}

static const struct http_public told_own_host = {
    .host = STR_INIT("app.internal"),
    .port = 3000,
    .origin = STR_INIT("https://wiki.example.com"),
    .prefix = STR_INIT("/wiki"),
};

static void assert_public(const struct http_public *p, const char *location, const char *want)
{
    assert_str(http_public_location(a, p, str_c(location)), want ? want : location);
}

static void test_the_backends_host_becomes_the_public_one(void **state)
{
    (void)state;
    const struct http_public *p = &told_own_host;
    assert_public(p, "http://app.internal:3000/a?b#c", "https://wiki.example.com/a?b#c");
    assert_public(p, "https://app.internal:3000/a", "https://wiki.example.com/a"); // X-Forwarded-Proto
    assert_public(p, "HTTP://APP.internal:3000/A", "https://wiki.example.com/A");
    assert_public(p, "//app.internal:3000/a", "https://wiki.example.com/a");
    assert_public(p, "http://app.internal:3000", "https://wiki.example.com/");
    assert_public(p, "http://app.internal:3000?q", "https://wiki.example.com/?q");
    assert_public(p, "http://app.internal:3000#f", "https://wiki.example.com/#f");
}

static void test_other_locations_are_left_alone(void **state)
{
    (void)state;
    static const char *const others[] = {
        "http://app.internal/a",
        "http://app.internal:3001/a",
        "https://idp.example.com/login",
        "https://wiki.example.com/a",
        "http://app.internal.evil:3000/a",
        "http://u@app.internal:3000/a",
        "/a",
        "a",
        "../a",
        "?q",
        "",
        "mailto:x@app.internal",
        "ftp://app.internal:3000/a",
        "http:/app.internal:3000/a",

        "http://[app.internal]/a",
        "//app.internal:3000\\@evil/a",
        "http://app.internal:3000/a b",
        "/\tb",
        "http://xapp.internal:3000/a",
    };
    struct http_public stripped = told_own_host;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_public(&told_own_host, others[i], NULL);
    // With the browser's own Host the backend's name may well be another site.
    stripped.host = STR_NONE;
    assert_public(&stripped, "http://app.internal:3000/a", NULL);
}

static void test_usual_ports_may_be_left_out(void **state)
{
    (void)state;
    struct http_public p = told_own_host;
    p.port = 80;
    assert_public(&p, "http://app.internal/a", "https://wiki.example.com/a");
    assert_public(&p, "https://app.internal/a", "https://wiki.example.com/a");
    assert_public(&p, "http://app.internal:80/a", "https://wiki.example.com/a");
    assert_public(&p, "http://app.internal:443/a", NULL);
    p.port = 443;
    assert_public(&p, "https://app.internal:443/a", "https://wiki.example.com/a");
    assert_public(&p, "//app.internal/a", "https://wiki.example.com/a");
}

static void test_paths_come_under_the_public_prefix(void **state)
{
    (void)state;
    struct http_public p = told_own_host;
    p.host = STR_NONE;
    p.backend_prefix = STR("/"); // strip_prefix
    assert_public(&p, "/", "/wiki/");
    assert_public(&p, "/a?b=/c#/d", "/wiki/a?b=/c#/d");
    assert_public(&p, "/wikis", "/wiki/wikis");
    assert_public(&p, "/wiki", NULL); // the application knows X-Forwarded-Prefix
    assert_public(&p, "/wiki?q", NULL);
    assert_public(&p, "/wiki/a", NULL);
    assert_public(&p, "https://wiki.example.com/a", "https://wiki.example.com/wiki/a");
    assert_public(&p, "https://wiki.example.com", "https://wiki.example.com/wiki/");
    assert_public(&p, "https://wiki.example.com/wiki/a", NULL);
    assert_public(&p, "https://other.example.com/a", NULL);
    assert_public(&p, "a", NULL);
    p.backend_prefix = STR("/app"); // rewrite
    assert_public(&p, "/app", "/wiki");
    assert_public(&p, "/app/a", "/wiki/a");
    assert_public(&p, "/apps", NULL);
    assert_public(&p, "/a", NULL);
    assert_public(&p, "/wiki/a", NULL);
    p.host = told_own_host.host;
    assert_public(&p, "http://app.internal:3000/app/a", "https://wiki.example.com/wiki/a");
    assert_public(&p, "http://app.internal:3000/b", "https://wiki.example.com/b");
    p.prefix = STR("/");
    assert_public(&p, "/app/a", "/a");
    assert_public(&p, "/app", "/");
    assert_public(&p, "/a", NULL);
}

// A path at the application must not become another host for the browser.
static void test_no_path_becomes_a_host(void **state)
{
    (void)state;
    struct http_public p = told_own_host;
    p.prefix = STR("/");
    p.backend_prefix = STR("/app");
    assert_public(&p, "/app//evil.example", NULL);
    assert_public(&p, "/app/\\evil.example", NULL);
    assert_public(&p, "/app/\t/evil.example", NULL);
    assert_public(&p, "//app//evil.example", NULL);
    assert_public(&p, "https://wiki.example.com/app//evil.example", NULL);
}

static void test_without_memory_nothing_is_made_up(void **state)
{
    (void)state;
    struct arena *small = arena_new(8);
    struct http_target target = { STR("/wiki/0123456789"), STR_NONE };
    assert_null(http_rewrite_path(small, target.path, STR("/wiki"), STR("/app")).p);
    assert_null(http_redirect_location(small, STR("/new"), &target, STR("/wiki")).p);
    assert_null(http_public_location(small, &told_own_host, STR("http://app.internal:3000/abcdefgh")).p);
    arena_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_to_backends),
        cmocka_unit_test(test_forwarded_paths_are_canonical),
        cmocka_unit_test(test_redirects_keep_the_path),
        cmocka_unit_test(test_redirects_keep_both_queries),
        cmocka_unit_test(test_redirects_without_the_path),
        cmocka_unit_test(test_the_backends_host_becomes_the_public_one),
        cmocka_unit_test(test_other_locations_are_left_alone),
        cmocka_unit_test(test_usual_ports_may_be_left_out),
        cmocka_unit_test(test_paths_come_under_the_public_prefix),
        cmocka_unit_test(test_no_path_becomes_a_host),
        cmocka_unit_test(test_without_memory_nothing_is_made_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
