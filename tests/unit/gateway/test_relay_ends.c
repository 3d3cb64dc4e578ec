// SPDX-License-Identifier: GPL-3.0-or-later
// How links change and end: bytes that are left for later, functions that come later, keys that change, a
// later login, the end in the middle of something, the end of a worker.
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "gateway/relay/private.h"

static struct board_peer boards[3];

static void on_worker(size_t i, void (*call)(struct worker *w))
{
    struct edge e = { .worker = &relay_rig.e->worker[i] };
    edge_on_thread(&e, call);
}

static void ask_for_echo(struct board_peer *b)
{
    board_send(b, "{\"type\":\"CALL\",\"id\":\"e1\",\"command\":\"anvil.private.echo\",\"kwargs\":{},"
                  "\"args\":[\"e\"]}");
}

// --- what is left for the next round

static void widen(struct worker *w)
{
    int bytes = 400 * 1024;
    for (struct conn *c = w->conns; c; c = c->next)
        setsockopt(c->io.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

// More than a board may have read in one round; what comes last is waited for.
static void send_much(struct board_peer *b)
{
    static char text[60 * 1024];
    int n = snprintf(text, sizeof text, "{\"type\":\"nothing\",\"x\":\"");
    memset(text + n, 'x', sizeof text - 16 - (size_t)n);
    strcpy(text + sizeof text - 16, "\"}");
    for (int i = 0; i < 4; i++) board_send(b, text);
    ask_for_echo(b);
}

// Everything is there when the worker wakes up: more from a board than it reads at once, and a call to it. No
// event tells of the rest.
static void test_a_call_does_not_make_the_rest_forgotten(void **state)
{
    (void)state;
    struct client c;
    char text[1024];
    bool called = false, echoed = false;
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    client_open(&relay_rig.at[0], &c);
    client_send(&c, "GET /.sallyport/pico/x HTTP/1.1\r\nHost: pico.example.com\r\n\r\n");
    client_expect(&c, "\r\n\r\n{");
    on_worker(0, widen);
    relay_nap(0, 300);
    usleep(50 * 1000);
    send_much(&boards[0]);
    snprintf(text, sizeof text,
             "POST /.sallyport/pico/board-0/flash HTTP/1.1\r\nHost: pico.example.com\r\n%sContent-Type: "
             "application/json\r\nContent-Length: 2\r\n\r\n{}",
             relay_rig.cookie);
    client_send(&c, text);
    while (!called || !echoed) {
        const char *heard = board_next(&boards[0]);
        if (!heard) fail_msg("%s, %s", called ? "a call" : "no call", echoed ? "an echo" : "no echo");
        if (strstr(heard, "\"CALL\"")) called = true;
        if (strstr(heard, "\"id\":\"e1\"")) echoed = true;
    }
    board_hang_up(&boards[0]);
    client_expect(&c, "\"type\":\"pico.lost\"");
    client_close(&c);
    relay_await(0, 0, "flash", false);
}

// The same, with TLS that breaks behind it: no event tells of that either.
static void test_a_connection_that_breaks_in_the_rest(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64];
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(1, 0, "flash", true);
    call_begin(&c, 1, "board-0", "flash", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    on_worker(0, widen);
    relay_nap(0, 300);
    usleep(50 * 1000);
    send_much(&boards[0]);
    assert_true(send(boards[0].fd, "no TLS at all", 13, MSG_NOSIGNAL) == 13);
    relay_expect_answer(&c, "502 ", "\"type\":\"pico.lost\"");
    relay_await(1, 0, "flash", false);
    board_hang_up(&boards[0]);
}

// --- what an idle link costs

static _Atomic unsigned links, with_buffers;

static void look_at_buffers(struct worker *w)
{
    unsigned n = 0, with = 0;
    for (struct conn *c = w->conns; c; c = c->next) {
        if (c->protocol != &h1_protocol || !c->h1.tunnel) continue;
        n++;
        with += c->in.p || c->out.p;
    }
    links = n;
    with_buffers = with;
}

static void tick_all(struct worker *w)
{
    for (struct uplink *u = w->relay->uplinks; u; u = u->next) timer_set(&w->loop, &u->timer, 0);
}

static void test_idle_links_hold_no_buffers(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        board_connect(&boards[i], 0, i, "flash");
        relay_await(0, i, "flash", true);
    }
    relay_expect_works(&boards[1], 1, "board-1", "flash");
    ask_for_echo(&boards[2]);
    assert_non_null(board_next(&boards[2]));
    on_worker(0, tick_all);
    usleep(200 * 1000); // the ticks have come
    on_worker(0, look_at_buffers);
    assert_int_equal(links, 3);
    assert_int_equal(with_buffers, 0);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%d", i);
        relay_expect_works(&boards[i], 2, name, "flash");
        board_hang_up(&boards[i]);
        relay_await(0, i, "flash", false);
    }
}

// --- functions and keys

static void test_functions_that_come_later(void **state)
{
    (void)state;
    board_connect(&boards[0], 1, 0, "first");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "first", true);
    relay_expect_works(&boards[0], 2, "board-0", "first");
    board_send(&boards[0], "{\"type\":\"REGISTER\",\"name\":\"second\"}");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "second", true);
    relay_expect_works(&boards[0], 2, "board-0", "second");
    relay_expect_works(&boards[0], 0, "board-0", "first");
    board_hang_up(&boards[0]);
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "second", false);
}

// Board-0 as the file may have it, alone.
static struct device_table *table_of(const char *name, const char *key, struct strlist functions)
{
    struct device d = { .id = STR("0000000000000001"),
                        .name = str_c(name),
                        .created = 1,
                        .functions = functions,
                        .any_function = functions.n == 0,
                        .nkeys = 1 };
    struct device_table *t = NULL;
    struct err err = { 0 };
    struct arena *a = arena_new(1 << 20);
    d.keys[0].created = 1;
    assert_true(crypto_sha256(str_c(key), d.keys[0].hash));
    struct str text = device_table_text(a, &d, 1);
    if (!text.p || !device_table_parse(text, &t, &err)) fail_msg("%s", err.detail);
    arena_free(a);
    return t;
}

static void take(struct device_table *t)
{
    relay_hub_devices(relay_rig.e->shared.relay, t);
}

static void test_the_file_changes(void **state)
{
    (void)state;
    struct str ab[] = { STR_INIT("a"), STR_INIT("b") }, ba[] = { STR_INIT("b"), STR_INIT("a") },
               ac[] = { STR_INIT("a"), STR_INIT("c") };
    take(table_of("board-0", "key-0", (struct strlist){ ab, 2 }));
    board_connect(&boards[0], 1, 0, "a b c");
    edge_expect_log(relay_rig.e, "pico.name_refused", "\"function\":\"c\"");
    relay_await(0, 0, "b", true);
    take(table_of("board-0", "key-0", (struct strlist){ ba, 2 })); // the same in another order
    relay_expect_works(&boards[0], 0, "board-0", "b");
    take(table_of("lamp", "key-0", (struct strlist){ ab, 2 })); // another name is no reason to part
    relay_expect_works(&boards[0], 0, "lamp", "a");
    take(table_of("board-0", "key-0", (struct strlist){ ac, 2 }));
    edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", "connects anew");
    assert_true(board_is_closed(&boards[0]));
    board_hang_up(&boards[0]);
    board_connect(&boards[0], 1, 0, "a b c");
    relay_await(0, 0, "c", true);
    relay_expect_works(&boards[0], 0, "board-0", "c");
    take(table_of("board-0", "another key", (struct strlist){ ac, 2 }));
    edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", "the key was rotated");
    assert_true(board_is_closed(&boards[0]));
    board_hang_up(&boards[0]);
    assert_false(board_try_connect(&boards[0], 1, 0, "a")); // with the old key
    board_hang_up(&boards[0]);
    take(relay_table(0));
    relay_await(0, 0, "c", false);
}

// --- a later login

static void test_a_later_login_on_the_same_worker(void **state)
{
    (void)state;
    struct client c, waits[5];
    char id[64], function[64];
    board_connect(&boards[0], 0, 0, "hold");
    relay_await(0, 0, "hold", true);
    for (int i = 0; i < 5; i++) call_begin(&waits[i], 0, "board-0", "hold", "{}"); // three at work at least
    for (int i = 0; i < 3; i++) assert_true(board_next_call(&boards[0], id, function));
    board_connect(&boards[1], 0, 0, "hold");
    for (int i = 0; i < 5; i++) relay_expect_answer(&waits[i], "502 ", "\"type\":\"pico.lost\"");
    assert_true(board_is_closed(&boards[0]));
    board_answer(&boards[0], id, "\"too late\"");
    relay_await(0, 0, "hold", true);
    relay_expect_works(&boards[1], 0, "board-0", "hold");
    board_hang_up(&boards[0]); // the old one's end says nothing about the new one
    usleep(100 * 1000);
    relay_expect_works(&boards[1], 1, "board-0", "hold");
    call_begin(&c, 2, "board-0", "hold", "{}");
    assert_true(board_next_call(&boards[1], id, function));
    board_hang_up(&boards[1]);
    relay_expect_answer(&c, "502 ", "\"type\":\"pico.lost\"");
    relay_await(0, 0, "hold", false);
}

// A board with its key in two hands: whoever came last has the link, whatever the order of the news.
static void test_logins_in_turn_on_all_workers(void **state)
{
    (void)state;
    board_connect(&boards[0], 0, 0, "hold");
    for (int i = 1; i < 12; i++) {
        board_connect(&boards[i % 2], (size_t)i % EDGE_WORKERS, 0, "hold");
        assert_true(board_is_closed(&boards[(i + 1) % 2]));
        board_hang_up(&boards[(i + 1) % 2]);
    }
    for (size_t i = 0; i < EDGE_WORKERS; i++) {
        relay_await(i, 0, "hold", true);
        relay_expect_works(&boards[1], i, "board-0", "hold");
    }
    board_hang_up(&boards[1]);
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "hold", false);
}

// --- the end, in the middle

static size_t add_frame(char *out, int opcode, const char *text)
{
    size_t n = strlen(text);
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | n);
    memset(out + 2, 0, 4);
    memcpy(out + 6, text, n);
    return n + 6;
}

enum bad { BAD_FRAME, GOODBYE, BROKEN };

// An answer and the link's end in one record, in this order or the other.
static void answer_and_end(bool answer_first, enum bad bad, const char *status)
{
    struct client c;
    char id[64], function[64], text[120], bytes[512];
    size_t n = 0;
    board_connect(&boards[0], 0, 0, "hold");
    relay_await(1, 0, "hold", true);
    call_begin(&c, 1, "board-0", "hold", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"response\":7}", id);
    if (answer_first) n += add_frame(bytes, 1, text);
    if (bad == BAD_FRAME) n += add_frame(bytes + n, 3, "");
    if (bad == GOODBYE) n += add_frame(bytes + n, 8, "");
    for (int i = 0; bad == BROKEN && i < 3; i++) n += add_frame(bytes + n, 1, "nan");
    if (!answer_first) n += add_frame(bytes + n, 1, text);
    board_send_raw(&boards[0], bytes, n);
    relay_expect_answer(&c, status, answer_first ? "{\"result\":7}" : "\"type\":\"pico.lost\"");
    assert_true(board_is_closed(&boards[0]));
    board_hang_up(&boards[0]);
    relay_await(0, 0, "hold", false);
}

static void test_an_answer_and_the_end(void **state)
{
    (void)state;
    for (int i = BAD_FRAME; i <= BROKEN; i++) {
        answer_and_end(true, (enum bad)i, "200 OK");
        answer_and_end(false, (enum bad)i, "502 ");
    }
}

static void leave(int how)
{
    struct linger now = { .l_onoff = 1 };
    switch (how) {
    case 0: SSL_shutdown(boards[0].ssl); break;     // and goes on listening
    case 1: shutdown(boards[0].fd, SHUT_WR); break; // the same without a word
    case 2:                                         // RST
        setsockopt(boards[0].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(boards[0].fd);
        boards[0].fd = -1;
        break;
    default: board_hang_up(&boards[0]);
    }
}

static void test_boards_that_leave_in_mid_call(void **state)
{
    (void)state;
    struct client c, any;
    char id[64], function[64];
    for (int how = 0; how < 4; how++) {
        board_connect(&boards[0], 2, 0, "hold");
        relay_await(0, 0, "hold", true);
        call_begin(&c, 0, "board-0", "hold", "{}");
        call_begin(&any, 2, "any", "hold", "{}");
        assert_true(board_next_call(&boards[0], id, function));
        assert_true(board_next_call(&boards[0], id, function));
        leave(how);
        relay_expect_answer(&c, "502 ", "\"type\":\"pico.lost\"");
        relay_expect_answer(&any, "502 ", "\"type\":\"pico.lost\"");
        edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", "uplink.closed");
        if (how < 3) board_hang_up(&boards[0]);
        relay_await(0, 0, "hold", false);
        edge_test_begin((void **)&relay_rig.e);
    }
}

// --- the end of a worker

static void drain(size_t i)
{
    worker_drain(&relay_rig.e->worker[i]);
}

static void await_end(size_t i)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RIG_WAIT_MS / 1000;
    if (pthread_timedjoin_np(relay_rig.e->worker[i].thread, NULL, &until) != 0)
        fail_msg("worker %zu has not ended", i);
    relay_rig.running[i] = false;
}

// Calls under way are answered, then their link is closed; idle links are closed at once, and nobody waits.
static void test_a_worker_drains(void **state)
{
    (void)state;
    struct client c, second;
    char id[64], other[64], function[64];
    board_connect(&boards[0], 2, 0, "who");
    board_connect(&boards[1], 2, 1, "who");
    relay_await(0, 0, "who", true);
    relay_await(0, 1, "who", true);
    call_begin(&c, 0, "board-0", "who", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    call_begin(&second, 2, "board-0", "who", "{}");
    assert_true(board_next_call(&boards[0], other, function));
    drain(2);
    assert_true(board_is_closed(&boards[1]));
    board_hang_up(&boards[1]);
    relay_await(0, 1, "who", false);
    board_answer(&boards[0], id, "1");
    relay_expect_answer(&c, "200 OK", "{\"result\":1}");
    call_begin(&c, 0, "board-0", "who", "{}"); // one more, from a worker that goes on: not taken
    relay_expect_answer(&c, "503 ", "\"type\":\"pico.offline\"");
    board_answer(&boards[0], other, "2");
    relay_expect_answer(&second, "200 OK", "{\"result\":2}");
    assert_true(board_is_closed(&boards[0]));
    board_hang_up(&boards[0]);
    edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", "draining");
    await_end(2);
    relay_await(0, 0, "who", false);
}

// A worker that has ended without a word (it had no time any more) keeps nobody waiting for ever.
static void test_a_worker_that_says_nothing(void **state)
{
    (void)state;
    struct client c;
    board_connect(&boards[0], 1, 0, "hold");
    relay_await(0, 0, "hold", true);
    worker_stop(&relay_rig.e->worker[1]);
    await_end(1);
    call_begin(&c, 0, "board-0", "hold", "{}");
    for (int i = 0; i < 3 && !client_await(&c, "\r\n\r\n"); i++) continue;
    relay_expect_answer(&c, "504 ", "\"type\":\"pico.timeout\"");
    board_hang_up(&boards[0]);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_call_does_not_make_the_rest_forgotten),
        T(test_a_connection_that_breaks_in_the_rest),
        T(test_idle_links_hold_no_buffers),
        T(test_functions_that_come_later),
        T(test_the_file_changes),
        T(test_a_later_login_on_the_same_worker),
        T(test_logins_in_turn_on_all_workers),
        T(test_an_answer_and_the_end),
        T(test_boards_that_leave_in_mid_call),
        T(test_a_worker_drains),            // the last but one: it ends a worker,
        T(test_a_worker_that_says_nothing), // and so does this
    };
    return cmocka_run_group_tests_name("relay: how links end", tests, relay_setup, relay_teardown);
}
