// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "gateway/store/session.h"

static struct arena *arena;
static struct session_keys keys;
static uint8_t id[SESSION_ID_BYTES];

static int setup(void **state)
{
    (void)state;
    uint8_t master[SEAL_KEY_BYTES];
    memset(master, 7, sizeof master);
    memset(id, 0xA5, sizeof id);
    arena = arena_new(1024 * 1024);
    return arena && session_keys_derive(master, &keys) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static enum err_code check(struct str host, struct str cookie)
{
    struct err err = { 0 };
    uint8_t got[SESSION_ID_BYTES] = { 0 }, untouched[SESSION_ID_BYTES] = { 0 };
    if (session_cookie_check(arena, &keys, host, cookie, got, &err)) {
        assert_memory_equal(got, id, sizeof id);
        return ERR_NONE;
    }
    assert_memory_equal(got, untouched, sizeof got);
    return err.code;
}

static void test_cookie_opens_on_its_host_only(void **state)
{
    (void)state;
    struct str cookie = session_cookie_make(arena, &keys, STR("a.example.com"), id, 1700000000);
    assert_non_null(cookie.p);
    assert_int_equal(check(STR("a.example.com"), cookie), ERR_NONE);
    // CVE-2017-6807: a session made on one site was good on every other one of the same server.
    assert_int_equal(check(STR("b.example.com"), cookie), ERR_SESSION_COOKIE);
    assert_int_equal(check(STR("a.example.co"), cookie), ERR_SESSION_COOKIE);
    assert_int_equal(check(STR(""), cookie), ERR_SESSION_COOKIE);
}

static void test_cookie_says_nothing(void **state)
{
    (void)state;
    struct str one = session_cookie_make(arena, &keys, STR("a"), id, 1);
    struct str two = session_cookie_make(arena, &keys, STR("a"), id, 2);
    assert_false(str_eq(one, two));
    for (size_t i = 0; i < one.n; i++)
        assert_true(ascii_is_alnum(one.p[i]) || one.p[i] == '-' || one.p[i] == '_');
}

static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct str cookie = session_cookie_make(arena, &keys, STR("a.example.com"), id, 1700000000), raw;
    assert_true(decode_base64url(arena, cookie, &raw));
    for (size_t bit = 0; bit < raw.n * 8; bit++) {
        char *bytes = arena_alloc(arena, raw.n);
        memcpy(bytes, raw.p, raw.n);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        struct str bad = encode_base64url(arena, (struct str){ bytes, raw.n });
        assert_int_equal(check(STR("a.example.com"), bad), ERR_SESSION_COOKIE);
        arena_clear(arena);
        cookie = session_cookie_make(arena, &keys, STR("a.example.com"), id, 1700000000);
        assert_true(decode_base64url(arena, cookie, &raw));
    }
}

static void test_every_changed_character_is_refused(void **state)
{
    (void)state;
    struct str cookie = session_cookie_make(arena, &keys, STR("a"), id, 1700000000);
    for (size_t i = 0; i < cookie.n; i++) {
        // One spelling for one value: other trailing bits of the last character do not pass either.
        for (const char *c = "AB_-9 =;\"\\\x80"; *c; c++) {
            if (cookie.p[i] == *c) continue;
            char text[256];
            memcpy(text, cookie.p, cookie.n);
            text[i] = *c;
            assert_int_equal(check(STR("a"), (struct str){ text, cookie.n }), ERR_SESSION_COOKIE);
        }
    }
}

static void test_truncated_and_longer_cookies_are_refused(void **state)
{
    (void)state;
    struct str cookie = session_cookie_make(arena, &keys, STR("a"), id, 1700000000);
    for (size_t n = 0; n < cookie.n; n++)
        assert_int_equal(check(STR("a"), str_take(cookie, n)), ERR_SESSION_COOKIE);
    assert_int_equal(check(STR("a"), arena_printf(arena, "%.*sA", STR_FMT(cookie))), ERR_SESSION_COOKIE);
    assert_int_equal(check(STR("a"), arena_printf(arena, "%.*s=", STR_FMT(cookie))), ERR_SESSION_COOKIE);
    assert_int_equal(check(STR("a"), STR_NONE), ERR_SESSION_COOKIE);
    char *big = arena_alloc(arena, 100000);
    memset(big, 'A', 100000);
    assert_int_equal(check(STR("a"), (struct str){ big, 100000 }), ERR_SESSION_COOKIE);
}

static void test_other_key_is_refused(void **state)
{
    (void)state;
    struct session_keys other = keys;
    other.cookie[0] ^= 1; // the same key id, another key
    assert_int_equal(check(STR("a"), session_cookie_make(arena, &other, STR("a"), id, 1)),
                     ERR_SESSION_COOKIE);
    other = keys;
    other.cookie_id[3] ^= 1; // the same key under another name
    assert_int_equal(check(STR("a"), session_cookie_make(arena, &other, STR("a"), id, 1)),
                     ERR_SESSION_COOKIE);
}

static void test_keys_differ_by_purpose_and_master(void **state)
{
    (void)state;
    struct session_keys other;
    uint8_t master[SEAL_KEY_BYTES];
    memset(master, 8, sizeof master);
    assert_true(session_keys_derive(master, &other));
    assert_memory_not_equal(keys.cookie, keys.record, SEAL_KEY_BYTES);
    assert_memory_not_equal(keys.cookie, keys.state, SEAL_KEY_BYTES);
    assert_memory_not_equal(keys.record, keys.state, SEAL_KEY_BYTES);
    assert_memory_not_equal(keys.cookie, other.cookie, SEAL_KEY_BYTES);
    assert_memory_not_equal(keys.cookie_id, other.cookie_id, SESSION_KEY_ID_BYTES);
}

static struct session sample(void)
{
    static struct str groups[] = { STR_INIT("staff"), STR_INIT("makers") };
    return (struct session){
        .identity = { .provider = STR("corp"),
                      .subject = STR("s-1"),
                      .email = STR("ann@example.com"),
                      .username = STR("ann"),
                      .groups = { groups, 2 },
                      .groups_known = true,
                      .not_after = 5000 },
        .created = 1000,
        .last_seen = 1100,
        .expires = 4000,
        .id_token = STR("a.b.c"),
    };
}

static void test_record_round_trip(void **state)
{
    (void)state;
    struct session s = sample(), got;
    memcpy(s.id, id, sizeof id);
    struct err err;
    struct str bytes = session_encode(arena, &s);
    assert_non_null(bytes.p);
    assert_true(session_decode(arena, bytes, &got, &err));
    assert_true(str_eq(got.identity.email, s.identity.email) &&
                str_eq(got.identity.subject, s.identity.subject));
    assert_int_equal(got.identity.groups.n, 2);
    assert_true(str_eq(got.identity.groups.v[1], STR("makers")));
    assert_true(got.created == 1000 && got.last_seen == 1100 && got.expires == 4000);
    assert_true(str_eq(got.id_token, STR("a.b.c")));
    // Whoever can read the record still has no cookie.
    assert_int_equal(str_search(bytes, (struct str){ (const char *)id, sizeof id }), bytes.n);
}

static void test_cut_record_is_refused(void **state)
{
    (void)state;
    struct session s = sample();
    s.id_token = STR_NONE; // then every field is needed
    struct str bytes = session_encode(arena, &s);
    for (size_t n = 0; n < bytes.n; n++) {
        struct session got;
        struct err err = { 0 };
        assert_false(session_decode(arena, str_take(bytes, n), &got, &err));
        assert_int_equal(err.code, ERR_SESSION_RECORD);
    }
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct session s = sample(), got;
        struct err err = { 0 };
        mem_fail_at(n);
        struct arena *a = arena_new(1024 * 1024);
        struct str cookie = a ? session_cookie_make(a, &keys, STR("a"), id, 1) : STR_NONE;
        uint8_t back[SESSION_ID_BYTES];
        bool ok = cookie.p && session_cookie_check(a, &keys, STR("a"), cookie, back, &err);
        struct str bytes = ok ? session_encode(a, &s) : STR_NONE;
        ok = bytes.p && session_decode(a, bytes, &got, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        assert_true(ok != failed);
        arena_free(a);
        if (!failed) return;
    }
}

static enum err_code alive(int64_t idle, int64_t now)
{
    struct session s = sample();
    struct err err = { 0 };
    return session_alive(&s, idle, now, &err) ? ERR_NONE : err.code;
}

static void test_session_ends_when_idle_or_over(void **state)
{
    (void)state;
    assert_int_equal(alive(600, 1100), ERR_NONE);
    assert_int_equal(alive(600, 1700), ERR_NONE);
    assert_int_equal(alive(600, 1701), ERR_SESSION_EXPIRED);
    assert_int_equal(alive(100000, 3999), ERR_NONE);
    assert_int_equal(alive(100000, 4000), ERR_SESSION_EXPIRED);
    assert_int_equal(alive(600, 1000), ERR_NONE); // a clock that went back a little
    struct session s = sample();
    struct err err;
    s.last_seen = INT64_MIN; // no overflow in the difference
    s.expires = 9000;
    assert_false(session_alive(&s, 600, 4999, &err));
    s.last_seen = 4999;
    assert_true(session_alive(&s, 600, 4999, &err));
    assert_false(session_alive(&s, 600, 5000, &err)); // SessionNotOnOrAfter
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookie_opens_on_its_host_only),
        cmocka_unit_test(test_cookie_says_nothing),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_truncated_and_longer_cookies_are_refused),
        cmocka_unit_test(test_other_key_is_refused),
        cmocka_unit_test(test_keys_differ_by_purpose_and_master),
        cmocka_unit_test(test_record_round_trip),
        cmocka_unit_test(test_cut_record_is_refused),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_session_ends_when_idle_or_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
