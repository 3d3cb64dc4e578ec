// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "gateway/edge/loop.h"

struct probe {
    struct timer timer;
    struct mail mail;
    struct io io;
    struct loop *loop;
    int fired;
    struct probe *other;
};

static void fired(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    p->fired++;
    if (p->other) timer_clear(p->loop, &p->other->timer);
    p->loop->stop = true;
}

static void test_timer_fires_after_its_time(void **state)
{
    (void)state;
    struct loop l;
    assert_true(loop_init(&l));
    struct probe p = { .timer.fire = fired, .loop = &l };
    int64_t start = l.now_ms;
    timer_set(&l, &p.timer, 120);
    loop_run(&l, NULL);
    assert_int_equal(p.fired, 1);
    assert_in_range(l.now_ms - start, 120, 1000);
    assert_int_equal(l.ntimers, 0);
    loop_done(&l);
}

static void test_a_timer_may_clear_another_that_is_due(void **state)
{
    (void)state;
    struct loop l;
    assert_true(loop_init(&l));
    struct probe b = { .timer.fire = fired, .loop = &l },
                 a = { .timer.fire = fired, .loop = &l, .other = &b };
    timer_set(&l, &a.timer, 60);
    timer_set(&l, &b.timer, 60);
    loop_run(&l, NULL);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    loop_done(&l);
}

static void test_setting_again_replaces(void **state)
{
    (void)state;
    struct loop l;
    assert_true(loop_init(&l));
    struct probe p = { .timer.fire = fired, .loop = &l };
    timer_set(&l, &p.timer, WHEEL_SLOTS * WHEEL_TICK_MS * 3); // beyond one turn of the wheel
    timer_set(&l, &p.timer, 10);
    assert_int_equal(l.ntimers, 1);
    loop_run(&l, NULL);
    assert_int_equal(p.fired, 1);
    loop_done(&l);
}

static void delivered(struct mail *m)
{
    struct probe *p = container_of(m, struct probe, mail);
    p->fired = ++p->other->fired;
    if (p->other->fired == 2) p->loop->stop = true;
}

static void *post_two(void *arg)
{
    struct probe *p = arg;
    mailbox_post(&p[0].loop->mailbox, &p[0].mail);
    mailbox_post(&p[1].loop->mailbox, &p[1].mail);
    return NULL;
}

static void test_mail_arrives_in_order_and_wakes_the_loop(void **state)
{
    (void)state;
    struct loop l;
    assert_true(loop_init(&l));
    struct probe count = { 0 };
    struct probe p[2] = { { .mail.deliver = delivered, .loop = &l, .other = &count },
                          { .mail.deliver = delivered, .loop = &l, .other = &count } };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_two, p), 0);
    loop_run(&l, NULL);
    pthread_join(thread, NULL);
    assert_int_equal(p[0].fired, 1);
    assert_int_equal(p[1].fired, 2);
    loop_done(&l);
}

static void ready(struct io *io, uint32_t events)
{
    (void)events;
    struct probe *p = container_of(io, struct probe, io);
    p->fired++;
    loop_remove(p->loop, &p->other->io); // its event may be in the same round already
    p->loop->stop = true;
}

static void test_a_removed_descriptor_gets_no_event_of_the_same_round(void **state)
{
    (void)state;
    struct loop l;
    int a[2], b[2];
    assert_true(loop_init(&l));
    assert_int_equal(pipe(a) | pipe(b), 0);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    struct probe p = { .io = { a[0], ready }, .loop = &l },
                 q = { .io = { b[0], ready }, .loop = &l, .other = &p };
    p.other = &q;
    assert_true(loop_add(&l, &p.io, EPOLLIN | EPOLLET) && loop_add(&l, &q.io, EPOLLIN | EPOLLET));
    loop_run(&l, NULL);
    assert_int_equal(p.fired + q.fired, 1);
    loop_done(&l);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void again(struct io *io, uint32_t events)
{
    struct probe *p = container_of(io, struct probe, io);
    if (events) assert_int_equal(p->fired, 0);
    p->fired++;
    p->loop->stop = p->fired == 3 || p->other;
    assert_true(loop_again(p->loop, io) && loop_again(p->loop, io)); // twice is once
}

// Without a new event, once a round; others get their turn in between.
static void test_who_asks_gets_another_turn(void **state)
{
    (void)state;
    struct loop l;
    int a[2], b[2];
    assert_true(loop_init(&l));
    assert_int_equal(pipe(a) | pipe(b), 0);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    struct probe p = { .io = { a[0], again }, .loop = &l }, q = { .io = { b[0], again }, .loop = &l };
    assert_true(loop_add(&l, &p.io, EPOLLIN | EPOLLET) && loop_add(&l, &q.io, EPOLLIN | EPOLLET));
    loop_run(&l, NULL);
    assert_int_equal(p.fired, 3);
    assert_int_equal(q.fired, 3);
    loop_remove(&l, &p.io); // removed in the meantime: not called again
    q.other = &p;
    l.stop = false;
    loop_run(&l, NULL);
    assert_int_equal(p.fired, 3);
    assert_int_equal(q.fired, 4);
    loop_done(&l);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void test_only_so_many_can_be_put_off(void **state)
{
    (void)state;
    struct loop l;
    assert_true(loop_init(&l));
    struct io many[LOOP_AGAIN + 1];
    for (int i = 0; i < LOOP_AGAIN; i++) assert_true(loop_again(&l, &many[i]));
    assert_false(loop_again(&l, &many[LOOP_AGAIN]));
    loop_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_fires_after_its_time),
        cmocka_unit_test(test_a_timer_may_clear_another_that_is_due),
        cmocka_unit_test(test_setting_again_replaces),
        cmocka_unit_test(test_mail_arrives_in_order_and_wakes_the_loop),
        cmocka_unit_test(test_a_removed_descriptor_gets_no_event_of_the_same_round),
        cmocka_unit_test(test_who_asks_gets_another_turn),
        cmocka_unit_test(test_only_so_many_can_be_put_off),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
