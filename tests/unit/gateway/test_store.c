// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store_rig.h"

static void test_session_is_found(void **state)
{
    struct fixture *f = *state;
    struct session s = rig_session(1, STR("ann@example.com"), STR("s-1"), LATER), got;
    struct err err;
    s.id_token = STR("x.y.z");
    struct store_op op = { .kind = STORE_SESSION_CREATE, .arena = f->arena, .now = NOW, .session = s };
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_true(store_session(f->reader, f->arena, s.id, &got, &err));
    assert_memory_equal(got.id, s.id, sizeof s.id);
    assert_true(str_eq(got.identity.email, STR("ann@example.com")) && str_eq(got.id_token, STR("x.y.z")));
    assert_true(got.created == NOW && got.expires == LATER);
    assert_int_equal(rig_look(f, 2), ERR_SESSION_UNKNOWN);
}

static void test_touch_moves_last_seen_forward_only(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct session s = rig_session(1, STR_NONE, STR_NONE, 0), got;
    struct err err;
    struct store_op op = { .kind = STORE_SESSION_TOUCH, .arena = f->arena, .now = NOW + 50 };
    memcpy(op.id, s.id, sizeof s.id);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op.now = NOW + 20;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_true(store_session(f->reader, f->arena, s.id, &got, &err));
    assert_int_equal(got.last_seen, NOW + 50);
    assert_int_equal(got.expires, LATER);
    // A touch under way does not bring a signed-out session back.
    op.kind = STORE_SESSION_DELETE;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op.kind = STORE_SESSION_TOUCH;
    op.now = NOW + 90;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
}

static void test_replay_is_refused_and_creates_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_op op = rig_login(f, 1, STR("saml:corp:_1"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op = rig_login(f, 2, STR("saml:corp:_1"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(rig_look(f, 2), ERR_SESSION_UNKNOWN);
    // A refused login uses none of its other keys up, and none of its keys twice.
    op = rig_login(f, 3, STR("saml:corp:_2"), LATER);
    op.replay[1].key = STR("saml:corp:_1");
    op.nreplay = 2;
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    op.replay[1].key = STR("saml:corp:_2");
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    op.nreplay = 1;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    // It is remembered across a restart.
    rig_close(f);
    rig_open(f, MAP);
    op = rig_login(f, 4, STR("saml:corp:_2"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(rig_count(f), 2);
}

// Why a login was refused goes to the log, its state does not.
static void test_replay_is_told_without_the_state(void **state)
{
    struct fixture *f = *state;
    struct store_op op = rig_login(f, 1, STR("state:planted-secret"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op = rig_login(f, 2, STR("state:planted-secret"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_null(strstr(op.err.detail, "planted"));
    assert_non_null(strstr(op.err.detail, "state"));
}

static void test_replay_key_is_remembered_until_its_time(void **state)
{
    struct fixture *f = *state;
    struct store_op op = rig_login(f, 1, STR("k"), LATER);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op = rig_login(f, 2, STR("k"), LATER + 100);
    op.now = LATER;
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    op.now = LATER + 1;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    op = rig_login(f, 3, STR("k"), LATER + 100);
    op.now = LATER + 2;
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    rig_close(f);
    assert_int_equal(rig_raw_entries(f, "replay"), 1);
    assert_int_equal(rig_raw_entries(f, "expiry"), 3); // two sessions, one key
}

static void test_replaced_session_is_gone(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct session old = rig_session(1, STR_NONE, STR_NONE, 0);
    struct store_op op = rig_login(f, 2, STR("k"), LATER);
    op.replaces = old.id;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
    assert_int_equal(rig_look(f, 2), ERR_NONE);
    // A refused login leaves the old session alone.
    struct session now = rig_session(2, STR_NONE, STR_NONE, 0);
    op = rig_login(f, 3, STR("k"), LATER);
    op.replaces = now.id;
    assert_int_equal(rig_run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(rig_look(f, 2), ERR_NONE);
    // A planted id is not taken over (GHSA-f24x-5g9q-753f).
    op = rig_login(f, 2, STR("k2"), LATER);
    op.replaces = now.id;
    assert_int_equal(rig_run(f->store, &op), ERR_STORE_EXISTS);
}

static void test_ticket_is_good_once_and_in_time(void **state)
{
    struct fixture *f = *state;
    struct str value;
    assert_int_equal(rig_ticket(f, STORE_TICKET_PUT, STR("t1"), LATER, NULL), ERR_NONE);
    assert_int_equal(rig_ticket(f, STORE_TICKET_PUT, STR("t1"), LATER, NULL), ERR_STORE_EXISTS);
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR("t2"), NOW, &value), ERR_LOGIN_TICKET);
    assert_null(value.p);
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR("t1"), NOW, &value), ERR_NONE);
    assert_true(str_eq(value, STR("session id and host")));
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR("t1"), NOW, &value), ERR_LOGIN_TICKET);
    assert_null(value.p);
    assert_int_equal(rig_ticket(f, STORE_TICKET_PUT, STR("t3"), LATER, NULL), ERR_NONE);
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR("t3"), LATER, &value), ERR_LOGIN_TICKET);
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR("t3"), NOW, &value),
                     ERR_LOGIN_TICKET); // too late is gone
    assert_int_equal(rig_ticket(f, STORE_TICKET_TAKE, STR(""), NOW, &value), ERR_LOGIN_TICKET);
    rig_close(f);
    assert_int_equal(rig_raw_entries(f, "tickets"), 0);
    assert_int_equal(rig_raw_entries(f, "expiry"), 0);
}

static void wait_for_sweep(struct fixture *f, size_t left)
{
    for (int i = 0; i < 500 && rig_count(f) != left; i++) usleep(10000);
    assert_int_equal(rig_count(f), left);
}

static void test_what_has_ended_is_swept(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 700; i++)
        assert_int_equal(rig_create(f, i, STR("a@b.c"), STR("s"), NOW + i), ERR_NONE);
    assert_int_equal(rig_create(f, 900, STR("a@b.c"), STR("s"), LATER), ERR_NONE);
    struct store_op op = rig_login(f, 901, STR("old"), NOW);
    assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    assert_int_equal(rig_ticket(f, STORE_TICKET_PUT, STR("t"), NOW, NULL), ERR_NONE);
    rig_close(f);
    rig_open(f, MAP); // sweeps at the start, in slices
    wait_for_sweep(f, 2);
    assert_int_equal(rig_look(f, 900), ERR_NONE);
    rig_close(f);
    assert_int_equal(rig_raw_entries(f, "by_user"), 4);
    assert_int_equal(rig_raw_entries(f, "replay"), 0);
    assert_int_equal(rig_raw_entries(f, "tickets"), 0);
    assert_int_equal(rig_raw_entries(f, "expiry"), 2);
}

static size_t revoke_all(struct fixture *f, struct str key)
{
    struct store_op op = { .kind = STORE_SESSIONS_REVOKE, .arena = f->arena, .key = key, .now = NOW };
    rig_run(f->store, &op);
    return op.ret_count;
}

static void test_revoke_by_person_and_handle(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(rig_create_plain(f, i), ERR_NONE);
    assert_int_equal(rig_create(f, 10, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    assert_int_equal(rig_create(f, 11, STR_NONE, STR("S-1"), LATER), ERR_NONE);
    assert_int_equal(rig_create(f, 12, STR_NONE, STR("s-2"), LATER), ERR_NONE);
    assert_int_equal(revoke_all(f, STR("")), 0);
    assert_int_equal(revoke_all(f, STR("ann@example.co")), 0);
    assert_int_equal(rig_count(f), 8);
    assert_int_equal(revoke_all(f, STR("Ann@Example.com")), 5);
    assert_int_equal(rig_look(f, 3), ERR_SESSION_UNKNOWN);
    assert_int_equal(rig_look(f, 11), ERR_NONE); // subjects are compared exactly
    assert_int_equal(revoke_all(f, STR("s-2")), 2);
    struct session_summary *v;
    size_t n;
    struct err err;
    assert_true(store_list(f->reader, f->arena, STR_NONE, 10, &v, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(revoke_all(f, v[0].handle), 1);
    assert_int_equal(revoke_all(f, v[0].handle), 0);
    rig_close(f);
    assert_int_equal(rig_raw_entries(f, "by_user"), 0);
    assert_int_equal(rig_raw_entries(f, "expiry"), 0);
}

static void test_list_of_all_and_of_one(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 600; i++) assert_int_equal(rig_create_plain(f, i), ERR_NONE);
    assert_int_equal(rig_create(f, 1000, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    // The e-mail address of one is the subject of another; one is found twice but listed once.
    assert_int_equal(rig_create(f, 1001, STR("bob@example.com"), STR("bob@example.com"), LATER), ERR_NONE);
    struct session_summary *v;
    size_t n;
    struct err err;
    assert_true(store_list(f->reader, f->arena, STR_NONE, 10000, &v, &n, &err));
    assert_int_equal(n, 602);
    for (size_t i = 1; i < n; i++) assert_true(str_cmp(v[i - 1].handle, v[i].handle) < 0);
    assert_true(store_list(f->reader, f->arena, STR("BOB@example.com"), 100, &v, &n, &err));
    assert_int_equal(n, 2);
    assert_true(store_list(f->reader, f->arena, STR("bob@example.com"), 100, &v, &n, &err));
    assert_int_equal(n, 2);
    assert_true(str_eq(v[0].user, STR("bob@example.com")) && str_eq(v[0].provider, STR("corp")));
    assert_true(store_list(f->reader, f->arena, STR("ann@example.com"), 300, &v, &n, &err));
    assert_int_equal(n, 300);
    assert_true(store_list(f->reader, f->arena, STR("nobody"), 300, &v, &n, &err));
    assert_int_equal(n, 0);
    struct arena *small = arena_new(1024);
    assert_false(store_list(f->reader, small, STR_NONE, 10000, &v, &n, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
    arena_free(small);
}

static void test_too_large_session_is_refused_alone(void **state)
{
    struct fixture *f = *state;
    struct store_op op = rig_login(f, 1, STR("k"), LATER);
    char *big = arena_alloc(f->arena, 200000);
    op.session.id_token = (struct str){ big, 200000 };
    assert_int_equal(rig_run(f->store, &op), ERR_TOO_LARGE);
    op.session.id_token = STR_NONE;
    assert_int_equal(rig_run(f->store, &op), ERR_NONE); // its replay key was not used up
}

int main(void)
{
    log_to_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_session_is_found),
        TEST(test_touch_moves_last_seen_forward_only),
        TEST(test_replay_is_refused_and_creates_nothing),
        TEST(test_replay_is_told_without_the_state),
        TEST(test_replay_key_is_remembered_until_its_time),
        TEST(test_replaced_session_is_gone),
        TEST(test_ticket_is_good_once_and_in_time),
        TEST(test_what_has_ended_is_swept),
        TEST(test_revoke_by_person_and_handle),
        TEST(test_list_of_all_and_of_one),
        TEST(test_too_large_session_is_refused_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
