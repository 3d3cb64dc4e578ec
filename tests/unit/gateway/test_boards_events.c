// SPDX-License-Identifier: GPL-3.0-or-later
// Streams of events: what a visitor is told of boards as it changes.
#include "boards_rig.h"

#include <stdio.h>

#include "base/mem.h"

#define LAMP_ON                                                                                              \
    "event: boards\ndata: {\"boards\":[{\"name\":\"lamp\",\"online\":true,\"functions\":["                   \
    "{\"name\":\"flash\",\"online\":true}]}]}\n\n"
#define LAMP_OFF                                                                                             \
    "event: boards\ndata: {\"boards\":[{\"name\":\"lamp\",\"online\":false,\"functions\":["                  \
    "{\"name\":\"flash\",\"online\":false}]}]}\n\n"

static struct client *listener(struct client *c)
{
    events_serve(&c->x, &route);
    return c;
}

static void change(void)
{
    assert_non_null(rig->watch);
    rig->watch->changed(rig->watch);
}

static void look(void)
{
    fire(&rig->events.looking);
}

static void assert_nobody_looks(void)
{
    assert_null(rig->events.looking.next);
}

static void test_the_first_event_comes_at_once(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash admin");
    struct client *c = listener(maker());
    assert_int_equal(c->x.status, 200);
    assert_int_equal(c->x.length, -1);
    assert_true(c->x.endless);
    assert_int_equal(rig->watched_sessions, 1);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/event-stream"));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_true(str_eq_c(field(c, "Strict-Transport-Security"), "max-age=31536000"));
    assert_true(field(c, "Date").n > 0);
    assert_in(c, LAMP_ON);
    assert_true(c->flushes > 0);
    assert_false(c->ended);
    assert_nobody_looks();
    client_free(c);
}

static void test_even_nothing_is_an_event(void **state)
{
    (void)state;
    struct client *c = listener(maker());
    assert_in(c, "event: boards\ndata: {\"boards\":[]}\n\n");
    client_free(c);
}

static void test_what_changes_is_told_once(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = listener(maker());
    forget(c);
    rig->boards[0].online = false;
    for (int i = 0; i < 10; i++) change();
    assert_in(c, ""); // soon, and not now
    look();
    assert_in(c, LAMP_OFF);
    assert_nobody_looks();
    client_free(c);
}

static void test_what_a_visitor_may_not_see_is_no_change(void **state)
{
    (void)state;
    add_board(0, "hidden", true, "flash");
    add_board(1, "lamp", true, "flash");
    struct client *c = listener(maker()), *staff = listener(client_of("bob", "staff"));
    forget(c);
    forget(staff);
    rig->boards[0].online = false;
    change();
    look();
    assert_int_equal(c->n, 0);
    add_board(1, "lamp", true, "flash admin");
    change();
    look();
    assert_int_equal(c->n, 0);
    assert_int_equal(count(staff, "event: boards"), 1);
    assert_int_equal(count(staff, "admin"), 1);
    client_free(c);
    client_free(staff);
}

static void test_a_change_and_back_is_none(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = listener(maker());
    forget(c);
    rig->boards[0].online = false;
    change();
    rig->boards[0].online = true;
    change();
    look();
    assert_int_equal(c->n, 0);
    client_free(c);
}

static void test_a_slow_reader_has_one_state_to_read(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = maker();
    c->room = 10;
    listener(c);
    assert_int_equal(c->n, 10);
    size_t decisions = rig->decisions;
    for (int i = 0; i < 100; i++) {
        rig->boards[0].online = i % 2;
        change();
        if (rig->events.looking.next) look();
    }
    rig->boards[0].online = false;
    assert_int_equal(c->n, 10);
    assert_int_equal(rig->decisions, decisions); // nobody composes what nobody takes
    fire(rig->ping);                             // nor is a ping put into the middle of it
    assert_int_equal(c->n, 10);
    c->room = 7;
    c->x.on_writable(&c->x);
    assert_int_equal(c->n, 17);
    c->room = SIZE_MAX;
    c->x.on_writable(&c->x);
    assert_in(c, LAMP_ON); // the one that had begun, whole
    look();
    assert_in(c, LAMP_ON LAMP_OFF); // and then the last
    assert_nobody_looks();
    c->x.on_writable(&c->x); // nothing is left
    assert_in(c, LAMP_ON LAMP_OFF);
    client_free(c);
}

static void test_a_slow_reader_may_leave(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = maker();
    c->room = 10;
    listener(c);
    change();
    client_free(c); // what it did not take is freed
    assert_null(rig->watch);
    assert_nobody_looks();
}

static void test_silence_is_broken_by_pings(void **state)
{
    (void)state;
    struct client *c = listener(maker());
    struct timer *ping = rig->ping;
    forget(c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ping->at, 20000);
        int flushes = c->flushes;
        fire(ping);
        assert_true(c->flushes > flushes);
    }
    assert_in(c, ": ping\n\n: ping\n\n: ping\n\n");
    client_free(c);
}

static void test_streams_of_one_visitor_are_limited(void **state)
{
    (void)state;
    struct client *v[LIMIT_PICO_EVENT_STREAMS_USER];
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS_USER; i++) v[i] = listener(maker());
    struct client *more = listener(maker());
    assert_int_equal(more->x.status, 503);
    assert_int_equal(more->x.err.code, ERR_PICO_STREAMS);
    assert_true(more->ended);
    client_free(more);
    // The same name at another provider is somebody else.
    struct client *other = maker();
    other->x.session.identity.provider = STR("google");
    assert_int_equal(listener(other)->x.status, 200);
    client_free(v[0]);
    more = listener(maker());
    assert_int_equal(more->x.status, 200);
    client_free(more);
    client_free(other);
    for (int i = 1; i < LIMIT_PICO_EVENT_STREAMS_USER; i++) client_free(v[i]);
}

static struct client *listener_number(int i)
{
    struct client *c = maker();
    c->x.session.identity.subject = arena_printf(c->x.arena, "u%d", i);
    return listener(c);
}

static void test_streams_of_a_worker_are_limited(void **state)
{
    (void)state;
    static struct client *v[LIMIT_PICO_EVENT_STREAMS];
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS; i++) {
        v[i] = listener_number(i);
        assert_int_equal(v[i]->x.status, 200);
    }
    struct client *more = listener_number(-1);
    assert_int_equal(more->x.status, 503);
    assert_int_equal(more->x.err.code, ERR_PICO_STREAMS);
    client_free(more);
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS; i++) client_free(v[i]);
}

// Many streams, many boards, and boards that come and go without pause: one look costs no more than its
// share, and everybody's turn comes.
static void test_looks_are_shared_out(void **state)
{
    (void)state;
    enum { STREAMS = 40, BOARDS = 500 };
    struct client *v[STREAMS];
    for (size_t i = 0; i < BOARDS; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, "flash water");
    }
    for (int i = 0; i < STREAMS; i++) {
        v[i] = listener_number(i);
        forget(v[i]);
    }
    int looks = 0;
    for (; looks < 100; looks++) {
        rig->boards[looks].online = false;
        change();
        size_t before = rig->decisions;
        look();
        assert_in_range(rig->decisions - before, 1, 4096 + 2 * BOARDS);
        int told = 0;
        for (int i = 0; i < STREAMS; i++) told += v[i]->n > 0;
        if (told == STREAMS) break;
    }
    assert_in_range(looks, 10, 14);
    while (rig->events.looking.next) look();
    for (int i = 0; i < STREAMS; i++) {
        forget(v[i]);
        client_free(v[i]);
    }
}

// A single look at very many boards takes its time; the next one comes the later.
static void test_an_expensive_look_is_followed_by_a_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < BOARDS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, "flash water reset admin");
    }
    struct client *c = listener(maker());
    rig->worker.loop.now_ms = 5000;
    change();
    assert_int_equal(rig->events.looking.at, 100);
    look();
    rig->worker.loop.now_ms = 5050;
    change();
    assert_int_equal(rig->events.looking.at, 450);
    rig->events.looking.next = NULL;
    rig->worker.loop.now_ms = 6000;
    change();
    assert_int_equal(rig->events.looking.at, 100);
    client_free(c);
}

static void test_leaving_while_others_are_looked_at(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *v[3];
    for (int i = 0; i < 3; i++) {
        v[i] = listener_number(i);
        forget(v[i]);
    }
    rig->boards[0].online = false;
    change();
    client_free(v[1]);
    look();
    assert_in(v[0], LAMP_OFF);
    assert_in(v[2], LAMP_OFF);
    client_free(v[2]);
    assert_non_null(rig->watch);
    client_free(v[0]);
    assert_null(rig->watch);
}

// Without memory for the next state, a stream ends, and the page comes back; the others go on.
static void test_without_memory_a_stream_ends(void **state)
{
    (void)state;
    bool failed = true;
    for (long n = 1; failed; n++) {
        add_board(0, "lamp", true, "flash");
        struct client *first = listener_number(1), *second = listener_number(2);
        rig->boards[0].online = false;
        first->room = second->room = 30; // so that something has to be kept as well
        forget(first);
        forget(second);
        change();
        mem_fail_at(n);
        look();
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(first->aborted + second->aborted, failed);
        assert_int_equal(rig->events.n, failed ? 1 : 2);
        client_free(first);
        client_free(second);
    }
}

static void test_a_stream_that_cannot_begin(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct client *c = maker();
        mem_fail_at(n);
        events_serve(&c->x, &route);
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rig->events.n, failed ? 0 : 1);
        assert_true(failed == (c->ended || c->aborted));
        client_free(c);
    }
}

static void test_draining_ends_all_and_lets_nobody_in(void **state)
{
    (void)state;
    struct client *a = listener_number(1), *b = listener_number(2);
    rig->worker.draining = true;
    events_drain(rig->worker.relay);
    assert_true(a->ended && b->ended);
    assert_int_equal(rig->events.n, 0);
    assert_null(rig->watch);
    struct client *late = listener_number(3);
    assert_int_equal(late->x.status, 503);
    assert_int_equal(late->x.err.code, ERR_DRAINING);
    client_free(a);
    client_free(b);
    client_free(late);
}

static void test_a_head_is_a_head(void **state)
{
    (void)state;
    struct client *c = maker();
    c->x.req.method = STR("HEAD");
    listener(c);
    assert_true(c->head && c->ended);
    assert_int_equal(c->n, 0);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/event-stream"));
    assert_int_equal(rig->events.n, 0);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_event_comes_at_once),
        TEST(test_even_nothing_is_an_event),
        TEST(test_what_changes_is_told_once),
        TEST(test_what_a_visitor_may_not_see_is_no_change),
        TEST(test_a_change_and_back_is_none),
        TEST(test_a_slow_reader_has_one_state_to_read),
        TEST(test_a_slow_reader_may_leave),
        TEST(test_silence_is_broken_by_pings),
        TEST(test_streams_of_one_visitor_are_limited),
        TEST(test_streams_of_a_worker_are_limited),
        TEST(test_looks_are_shared_out),
        TEST(test_an_expensive_look_is_followed_by_a_rest),
        TEST(test_leaving_while_others_are_looked_at),
        TEST(test_without_memory_a_stream_ends),
        TEST(test_a_stream_that_cannot_begin),
        TEST(test_draining_ends_all_and_lets_nobody_in),
        TEST(test_a_head_is_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
