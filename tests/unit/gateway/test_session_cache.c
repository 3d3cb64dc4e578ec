// SPDX-License-Identifier: GPL-3.0-or-later
// What is remembered of sessions must never outlive what the store says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/journey/session_cache.h"
#include "store_rig.h"

#define HOST STR("wiki.example.com")

static struct session_cache cache;
static struct session_keys keys;

static int setup(void **state)
{
    static const uint8_t master[SEAL_KEY_BYTES] = { 3 };
    assert_true(session_keys_derive(master, &keys));
    return rig_setup(state);
}

static int teardown(void **state)
{
    session_cache_clear(&cache);
    return rig_teardown(state);
}

static struct str cookie_of(struct fixture *f, uint32_t n)
{
    struct session s = rig_session(n, STR("a@example.com"), STR("s"), LATER);
    return session_cookie_make(f->arena, &keys, HOST, s.id, NOW);
}

static struct cached_session *get(struct fixture *f, struct str host, struct str cookie,
                                  enum err_code expected)
{
    struct err err = { 0 };
    struct cached_session *s = session_cache_get(&cache, f->reader, &keys, host, cookie, &err);
    assert_int_equal(s ? ERR_NONE : err.code, expected);
    return s;
}

static void touch(struct fixture *f, uint32_t n, int64_t now)
{
    struct session s = rig_session(n, STR("a@example.com"), STR("s"), LATER);
    struct store_op op = { .kind = STORE_SESSION_TOUCH, .now = now };
    memcpy(op.id, s.id, sizeof op.id);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
}

static void revoke(struct fixture *f, uint32_t n)
{
    struct session s = rig_session(n, STR("a@example.com"), STR("s"), LATER);
    struct store_op op = { .kind = STORE_SESSION_DELETE };
    memcpy(op.id, s.id, sizeof op.id);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
}

static void test_read_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create(f, 1, STR("ann@example.com"), STR("s-1"), LATER), ERR_NONE);
    struct cached_session *a = get(f, HOST, cookie_of(f, 1), ERR_NONE),
                          *b = get(f, HOST, cookie_of(f, 1), ERR_NONE);
    assert_ptr_equal(a, b);
    assert_true(str_eq_c(cached_session(a)->identity.email, "ann@example.com"));
    struct session s = rig_session(1, STR("ann@example.com"), STR("s-1"), LATER);
    assert_memory_equal(cached_session(a)->id, s.id, sizeof s.id);
    session_cache_release(a);
    session_cache_release(b);
}

static void test_a_changed_record_is_read_anew(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct cached_session *old = get(f, HOST, cookie_of(f, 1), ERR_NONE);
    touch(f, 1, NOW + 500);
    struct cached_session *now = get(f, HOST, cookie_of(f, 1), ERR_NONE);
    assert_int_equal(cached_session(now)->last_seen, NOW + 500);
    assert_int_not_equal(cached_session(old)->last_seen, NOW + 500); // still there for who holds it
    session_cache_release(old);
    session_cache_release(now);
}

static void test_a_revoked_session_is_unknown_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create(f, 1, STR("ann@example.com"), STR("s-1"), LATER), ERR_NONE);
    struct cached_session *held = get(f, HOST, cookie_of(f, 1), ERR_NONE);
    session_cache_release(get(f, HOST, cookie_of(f, 1), ERR_NONE));
    revoke(f, 1);
    get(f, HOST, cookie_of(f, 1), ERR_SESSION_UNKNOWN);
    get(f, HOST, cookie_of(f, 1), ERR_SESSION_UNKNOWN);
    assert_true(str_eq_c(cached_session(held)->identity.email, "ann@example.com"));
    session_cache_release(held);
}

// A remembered cookie is worth nothing on another host, and nothing that resembles it is worth anything.
static void test_only_the_very_cookie_on_its_host(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct str cookie = cookie_of(f, 1);
    session_cache_release(get(f, HOST, cookie, ERR_NONE));
    get(f, STR("other.example.com"), cookie, ERR_SESSION_COOKIE);
    get(f, STR("wiki.example.co"), cookie, ERR_SESSION_COOKIE);
    get(f, HOST, str_take(cookie, cookie.n - 1), ERR_SESSION_COOKIE);
    get(f, HOST, STR(""), ERR_SESSION_COOKIE);
    for (size_t i = 0; i < cookie.n; i++) {
        struct str copy = arena_str(f->arena, cookie);
        char *p = (char *)(uintptr_t)copy.p;
        p[i] = p[i] == 'A' ? 'B' : 'A';
        get(f, HOST, copy, ERR_SESSION_COOKIE);
    }
    session_cache_release(get(f, HOST, cookie, ERR_NONE));
}

static void test_many_sessions_push_each_other_out(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 64 };
    static struct cached_session *held[MANY];
    for (uint32_t n = 0; n < MANY; n++) {
        assert_int_equal(rig_create_plain(f, n), ERR_NONE);
        held[n] = get(f, HOST, cookie_of(f, n), ERR_NONE);
    }
    session_cache_clear(&cache);
    for (uint32_t n = 0; n < MANY; n++) {
        struct session s = rig_session(n, STR("a@example.com"), STR("s"), LATER);
        assert_memory_equal(cached_session(held[n])->id, s.id, sizeof s.id);
        session_cache_release(held[n]);
    }
    for (int round = 0; round < 2; round++)
        for (uint32_t n = 0; n < MANY; n++) {
            struct session s = rig_session(n, STR("a@example.com"), STR("s"), LATER);
            struct cached_session *c = get(f, HOST, cookie_of(f, n), ERR_NONE);
            assert_memory_equal(cached_session(c)->id, s.id, sizeof s.id);
            session_cache_release(c);
        }
}

static void test_every_allocation_fails_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct str cookie = cookie_of(f, 1);
    bool done = false;
    for (long n = 1; !done; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        struct cached_session *s = session_cache_get(&cache, f->reader, &keys, HOST, cookie, &err);
        done = !mem_failed();
        mem_fail_at(0);
        if (!s) assert_int_equal(err.code, ERR_NO_MEMORY);
        session_cache_release(s);
        session_cache_clear(&cache);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_read_once),
        T(test_a_changed_record_is_read_anew),
        T(test_a_revoked_session_is_unknown_at_once),
        T(test_only_the_very_cookie_on_its_host),
        T(test_many_sessions_push_each_other_out),
        T(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests_name("session cache", tests, NULL, NULL);
}
