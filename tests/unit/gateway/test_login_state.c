// SPDX-License-Identifier: GPL-3.0-or-later
// The sealed login cookies: each thing that an attacker could change is changed once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gateway/journey/login_state.h"

enum { NOW = 1000000 };

static struct session_keys keys(void)
{
    struct session_keys k;
    uint8_t master[SEAL_KEY_BYTES] = { 7 };
    assert_true(session_keys_derive(master, &k));
    return k;
}

static struct login_state fresh(struct arena *a, int64_t created)
{
    struct login_state s = { .provider = STR("corp"),
                             .target = STR("https://wiki.example.com/x"),
                             .created = created };
    assert_true(login_state_new(a, &s));
    return s;
}

static struct http_fields *cookie_fields(struct arena *a, struct str name, struct str value)
{
    struct http_fields *f = arena_alloc(a, sizeof *f);
    http_fields_add(f, FIELD_COOKIE, STR("Cookie"),
                    arena_printf(a, "%.*s=%.*s", STR_FMT(name), STR_FMT(value)));
    return f;
}

static bool opens(struct arena *a, const struct session_keys *k, const struct http_fields *f,
                  struct str state, struct str provider, int64_t now)
{
    struct login_state s;
    struct err err = { 0 };
    bool ok = login_state_open(a, k, f, state, provider, now, &s, &err);
    if (!ok) assert_int_equal(err.code, ERR_LOGIN_STATE);
    if (ok) assert_true(str_eq_c(s.target, "https://wiki.example.com/x"));
    return ok;
}

static void test_opens_in_the_browser_that_started_it(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct session_keys k = keys();
    struct login_state s = fresh(a, NOW);
    struct str name = login_state_cookie_name(a, s.state), value = login_state_seal(a, &k, &s);
    struct http_fields *f = cookie_fields(a, name, value);
    assert_true(opens(a, &k, f, s.state, STR("corp"), NOW + LIMIT_LOGIN_SECONDS));
    arena_free(a);
}

static void test_refuses_other_browser_provider_state_and_age(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct session_keys k = keys();
    struct login_state s = fresh(a, NOW), other = fresh(a, NOW);
    struct str name = login_state_cookie_name(a, s.state), value = login_state_seal(a, &k, &s);
    struct http_fields *f = cookie_fields(a, name, value), none = { .n = 0 };
    assert_false(opens(a, &k, &none, s.state, STR("corp"), NOW)); // login CSRF: a browser without the cookie
    assert_false(opens(a, &k, f, s.state, STR("google"), NOW));   // mix-up: started at another provider
    assert_false(opens(a, &k, f, other.state, STR("corp"), NOW));
    assert_false(opens(a, &k, f, s.state, STR("corp"), NOW + LIMIT_LOGIN_SECONDS + 1));
    assert_false(opens(a, &k, f, STR(""), STR("corp"), NOW));
    assert_false(opens(a, &k, f, STR("../../../../../../../../../../../../../../."), STR("corp"), NOW));
    // The same first characters, so the same cookie name, but another state.
    struct str near = arena_str(a, s.state);
    ((char *)(uintptr_t)near.p)[42] = near.p[42] == 'A' ? 'B' : 'A';
    assert_false(opens(a, &k, f, near, STR("corp"), NOW));
    // A cookie moved to another login's name does not open there.
    struct http_fields *moved = cookie_fields(a, login_state_cookie_name(a, other.state), value);
    assert_false(opens(a, &k, moved, other.state, STR("corp"), NOW));
    arena_free(a);
}

// What a SAML answer cannot bring along comes back from the cookie, and only what was put there.
static void test_remembers_the_session_that_it_replaces(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct session_keys k = keys();
    struct login_state s = fresh(a, NOW), got;
    struct err err;
    s.replaces = (struct str){ "\0id of the session before: 32 by", SESSION_ID_BYTES };
    struct http_fields *f =
        cookie_fields(a, login_state_cookie_name(a, s.state), login_state_seal(a, &k, &s));
    assert_true(login_state_open(a, &k, f, s.state, STR("corp"), NOW, &got, &err));
    assert_true(str_eq(got.replaces, s.replaces));
    s = fresh(a, NOW);
    f = cookie_fields(a, login_state_cookie_name(a, s.state), login_state_seal(a, &k, &s));
    assert_true(login_state_open(a, &k, f, s.state, STR("corp"), NOW, &got, &err));
    assert_null(got.replaces.p);
    arena_free(a);
}

static void test_refuses_every_changed_character(void **state)
{
    (void)state;
    struct arena *a = arena_new(64 << 20);
    struct session_keys k = keys();
    struct login_state s = fresh(a, NOW);
    struct str name = login_state_cookie_name(a, s.state), value = login_state_seal(a, &k, &s);
    for (size_t i = 0; i < value.n; i++) {
        struct str changed = arena_str(a, value);
        ((char *)(uintptr_t)changed.p)[i] = value.p[i] == 'A' ? 'B' : 'A';
        assert_false(opens(a, &k, cookie_fields(a, name, changed), s.state, STR("corp"), NOW));
    }
    arena_free(a);
}

static void test_keeps_at_most_seven(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 << 20);
    struct session_keys k = keys();
    struct http_fields *f = arena_alloc(a, sizeof *f);
    struct str oldest = STR_NONE;
    for (int i = 0; i < 9; i++) {
        struct login_state s = fresh(a, NOW + i);
        struct str name = login_state_cookie_name(a, s.state), value = login_state_seal(a, &k, &s);
        if (i == 0) oldest = name;
        http_fields_add(f, FIELD_COOKIE, STR("Cookie"),
                        arena_printf(a, "%.*s=%.*s", STR_FMT(name), STR_FMT(value)));
    }
    http_fields_add(f, FIELD_COOKIE, STR("Cookie"), STR(LOGIN_COOKIE_PREFIX "login-garbage=x"));
    struct strlist surplus = login_state_surplus(a, &k, f, NOW + 20);
    assert_int_equal(surplus.n, 9 + 1 - (LIMIT_LOGIN_COOKIES - 1));
    assert_true(strlist_has(surplus, oldest));
    assert_true(strlist_has(surplus, STR(LOGIN_COOKIE_PREFIX "login-garbage")));
    arena_free(a);
}

static void test_keeps_no_more_bytes_than_a_head_can_hold(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 << 20);
    struct session_keys k = keys();
    struct http_fields *f = arena_alloc(a, sizeof *f);
    char *big = arena_alloc(a, 2400);
    memset(big, 'x', 2400);
    struct str newest = STR_NONE;
    for (int i = 0; i < 6; i++) {
        struct login_state s = fresh(a, NOW + i);
        s.target = (struct str){ big, 2400 };
        newest = login_state_cookie_name(a, s.state);
        struct str value = login_state_seal(a, &k, &s);
        assert_non_null(value.p);
        http_fields_add(f, FIELD_COOKIE, STR("Cookie"),
                        arena_printf(a, "%.*s=%.*s", STR_FMT(newest), STR_FMT(value)));
    }
    struct strlist surplus = login_state_surplus(a, &k, f, NOW + 20);
    assert_int_equal(surplus.n, 4);
    assert_false(strlist_has(surplus, newest));
    arena_free(a);
}

static void test_a_target_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct session_keys k = keys();
    struct login_state s = fresh(a, NOW);
    char *big = arena_alloc(a, LIMIT_LOGIN_COOKIE_BYTES);
    memset(big, 'x', LIMIT_LOGIN_COOKIE_BYTES);
    s.target = (struct str){ big, LIMIT_LOGIN_COOKIE_BYTES };
    assert_null(login_state_seal(a, &k, &s).p);
    arena_free(a);
}

static void test_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct session_keys k = keys();
    struct arena *big = arena_new(1 << 20);
    struct login_state s = fresh(big, NOW);
    struct str name = login_state_cookie_name(big, s.state), value = login_state_seal(big, &k, &s);
    struct http_fields *f = cookie_fields(big, name, value);
    for (long n = 1; n < 12; n++) {
        mem_fail_at(n);
        struct arena *a = arena_new(1 << 20);
        if (a) {
            struct login_state got;
            struct err err = { 0 };
            bool ok = login_state_open(a, &k, f, s.state, STR("corp"), NOW, &got, &err);
            assert_true(ok || mem_failed());
            login_state_surplus(a, &k, f, NOW);
        }
        arena_free(a);
        mem_fail_at(0);
    }
    arena_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_in_the_browser_that_started_it),
        cmocka_unit_test(test_refuses_other_browser_provider_state_and_age),
        cmocka_unit_test(test_remembers_the_session_that_it_replaces),
        cmocka_unit_test(test_refuses_every_changed_character),
        cmocka_unit_test(test_keeps_at_most_seven),
        cmocka_unit_test(test_keeps_no_more_bytes_than_a_head_can_hold),
        cmocka_unit_test(test_a_target_that_does_not_fit_is_refused),
        cmocka_unit_test(test_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("login_state", tests, NULL, NULL);
}
