// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store_rig.h"

struct taker {
    struct fixture *f;
    struct arena *arena;
    int won;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "t%d", i);
        struct store_op op = { .kind = STORE_TICKET_TAKE, .arena = t->arena, .key = str_c(key), .now = NOW };
        enum err_code code = rig_run(t->f->store, &op);
        if (code == ERR_NONE)
            t->won++;
        else if (code != ERR_LOGIN_TICKET)
            abort();
    }
    return NULL;
}

static void test_ticket_has_one_winner(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "t%d", i);
        assert_int_equal(rig_ticket(f, STORE_TICKET_PUT, str_c(key), LATER, NULL), ERR_NONE);
    }
    struct taker t[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (struct taker){ f, arena_new(1024 * 1024), 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &t[i]), 0);
    }
    int won = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        won += t[i].won;
        arena_free(t[i].arena);
    }
    assert_int_equal(won, 200);
}

static void test_reader_slots_run_out(void **state)
{
    struct fixture *f = *state;
    struct store_reader *readers[600];
    struct err err = { 0 };
    size_t n = 0;
    while (n < 600 && (readers[n] = store_reader_new(f->store, &err))) n++;
    assert_true(n >= 256 && n < 600);
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE); // who has a slot goes on
    assert_int_equal(rig_look(f, 1), ERR_NONE);
    for (size_t i = 0; i < n; i++) store_reader_free(readers[i]);
    struct store_reader *again = store_reader_new(f->store, &err);
    assert_non_null(again);
    store_reader_free(again);
}

static void test_no_memory_is_said(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct session s = rig_session(1, STR_NONE, STR_NONE, 0), got;
    for (size_t limit = 16;; limit += 16) {
        struct arena *a = arena_new(limit);
        struct err err = { 0 };
        bool ok = store_session(f->reader, a, s.id, &got, &err);
        if (!ok) assert_int_equal(err.code, ERR_NO_MEMORY);
        arena_free(a);
        if (ok) break;
    }
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        struct store_reader *r = store_reader_new(f->store, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed == !r);
        store_reader_free(r);
        if (!failed) break;
    }
    rig_close(f);
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        f->store = store_open(str_c(f->path), MAP, f->key, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed == !f->store);
        store_close(f->store);
        f->store = NULL;
        if (!failed) break;
    }
    rig_open(f, MAP);
}

struct traffic {
    struct fixture *f;
    uint32_t from;
    _Atomic bool *stop;
    long reads;
};

static void *read_on(void *arg)
{
    struct traffic *t = arg;
    struct err err;
    struct store_reader *r = store_reader_new(t->f->store, &err);
    struct arena *a = arena_new(1024 * 1024);
    while (!*t->stop) {
        struct session s = rig_session((uint32_t)(t->reads % 64), STR_NONE, STR_NONE, 0), got;
        arena_clear(a);
        if (store_session(r, a, s.id, &got, &err) && !str_eq(got.identity.subject, STR("s-1"))) abort();
        if (err.code == ERR_STORE || err.code == ERR_SESSION_RECORD) abort();
        t->reads++;
    }
    arena_free(a);
    store_reader_free(r);
    return NULL;
}

static void *write_on(void *arg)
{
    struct traffic *t = arg;
    struct arena *a = arena_new(1024 * 1024);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t n = t->from + i % 32;
        struct store_op op = { .kind = STORE_SESSION_CREATE,
                               .arena = a,
                               .now = NOW,
                               .session = rig_session(n, STR("ann@example.com"), STR("s-1"), LATER) };
        if (rig_run(t->f->store, &op) != ERR_NONE) abort();
        memcpy(op.id, op.session.id, sizeof op.id);
        op.kind = STORE_SESSION_TOUCH;
        if (rig_run(t->f->store, &op) != ERR_NONE) abort();
        op.kind = STORE_SESSION_DELETE;
        if (rig_run(t->f->store, &op) != ERR_NONE) abort();
        arena_clear(a);
    }
    arena_free(a);
    return NULL;
}

static void test_readers_and_writers_together(void **state)
{
    struct fixture *f = *state;
    _Atomic bool stop = false;
    struct traffic t[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = (struct traffic){ f, 32 * (i / 2), &stop, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? read_on : write_on, &t[i]), 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[2], NULL);
    stop = true;
    pthread_join(threads[1], NULL);
    pthread_join(threads[3], NULL);
    assert_int_equal(rig_count(f), 0);
    assert_true(t[1].reads > 0 && t[3].reads > 0);
}

static _Atomic int submitted_done;

static void count_done(struct store_op *op)
{
    if (op->err.code == ERR_NONE) submitted_done++;
}

static void test_close_waits_for_what_was_submitted(void **state)
{
    struct fixture *f = *state;
    static struct store_op ops[1500];
    submitted_done = 0;
    for (uint32_t i = 0; i < 1500; i++) {
        ops[i] = (struct store_op){ .kind = STORE_SESSION_CREATE,
                                    .arena = f->arena,
                                    .now = NOW,
                                    .done = count_done,
                                    .session = rig_session(i, STR("ann@example.com"), STR("s-1"), LATER) };
        store_submit(f->store, &ops[i]);
    }
    rig_close(f);
    assert_int_equal(submitted_done, 1500);
    rig_open(f, MAP);
    assert_int_equal(rig_count(f), 1500);
}

int main(void)
{
    log_to_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ticket_has_one_winner),
        TEST(test_reader_slots_run_out),
        TEST(test_no_memory_is_said),
        TEST(test_readers_and_writers_together),
        TEST(test_close_waits_for_what_was_submitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
