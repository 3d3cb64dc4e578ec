// SPDX-License-Identifier: GPL-3.0-or-later
// Backends that may have one connection each: who waits for it, in which order, and for how long.
#include "unix_backend.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char routes[] =
    "  - { host: queue.example.com, backends: [ 'unix:a.sock' ], policy: public, limits: { connections: 1, "
    "queue: 2, queue_wait: 1s } }\n"
    "  - { host: noqueue.example.com, backends: [ 'unix:a.sock', 'unix:b.sock' ], policy: public, limits: { "
    "connections: 1, queue: 0 } }\n";

static int a_fd, b_fd;

static void make_sockets(struct edge *e)
{
    a_fd = unix_listen(e, "a.sock", 64);
    b_fd = unix_listen(e, "b.sock", 64);
}

static int setup(void **state)
{
    edge_routes = routes;
    edge_prepare = make_sockets;
    return edge_setup(state);
}

static int teardown(void **state)
{
    close(a_fd);
    close(b_fd);
    return edge_teardown(state);
}

static void test_the_queue_is_served_in_order(void **state)
{
    struct edge *e = *state;
    struct client first, second, third;
    int b = unix_ask(e, &first, GET_PATH("queue", "/1"), a_fd);
    client_open(e, &second);
    client_send(&second, GET_PATH("queue", "/2"));
    usleep(50 * 1000);
    client_open(e, &third);
    client_send(&third, "POST /3 HTTP/1.1\r\nHost: queue.example.com\r\nContent-Length: 4\r\n\r\nbody");
    usleep(50 * 1000);
    assert_int_equal(unix_take_some(a_fd, 100), -1);
    backend_send(b, OK_EMPTY);
    client_expect(&first, "HTTP/1.1 200");
    assert_non_null(strstr(backend_await(b, "\r\n\r\n"), "GET /2 ")); // on the same connection
    backend_send(b, OK_EMPTY);
    client_expect(&second, "HTTP/1.1 200");
    const char *in = backend_await(b, "body");
    assert_non_null(strstr(in, "POST /3 "));
    unix_answer(&third, b);
    client_close(&first);
    client_close(&second);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// At once, and not when somebody looks the next time.
static void test_whoever_releases_wakes(void **state)
{
    struct edge *e = *state;
    struct client first, waiting;
    int64_t best = BACKEND_TICK_MS;
    for (int i = 0; i < 6; i++) {
        int b = unix_ask(e, &first, GET("queue"), a_fd);
        client_open(e, &waiting);
        usleep(20 * 1000);
        client_send(&waiting, GET("queue"));
        usleep(5 * 1000); // the next look is 45 ms away
        int64_t begin = now_ms();
        backend_send(b, OK_EMPTY);
        backend_await(b, "\r\n\r\n");
        if (now_ms() - begin < best) best = now_ms() - begin;
        unix_answer(&waiting, b);
        client_close(&first);
    }
    assert_true(best < BACKEND_TICK_MS / 2);
}

static void test_a_full_queue(void **state)
{
    struct edge *e = *state;
    struct client first, waiting[2], left;
    int b = unix_ask(e, &first, GET("queue"), a_fd);
    client_open(e, &left);
    client_send(&left, GET_PATH("queue", "/left"));
    client_open(e, &waiting[0]);
    usleep(30 * 1000);
    client_send(&waiting[0], GET_PATH("queue", "/0"));
    usleep(30 * 1000);
    expect_status(e, GET("queue"), "HTTP/1.1 503", "proxy.queue_full");
    client_reset(&left); // whoever leaves makes room
    usleep(100 * 1000);
    client_open(e, &waiting[1]);
    client_send(&waiting[1], GET_PATH("queue", "/1"));
    usleep(50 * 1000);
    unix_answer(&first, b);
    for (int i = 0; i < 2; i++) {
        b = unix_take(a_fd);
        const char *in = backend_await(b, "\r\n\r\n");
        assert_null(strstr(in, "/left"));
        assert_non_null(strstr(in, i ? "GET /1 " : "GET /0 "));
        unix_answer(&waiting[i], b);
    }
}

static void test_waiting_has_an_end(void **state)
{
    struct edge *e = *state;
    struct client first, second, third;
    int b = unix_ask(e, &first, "GET / HTTP/1.1\r\nHost: queue.example.com\r\n\r\n", a_fd);
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
    client_expect(&first, "begin");
    client_open(e, &second);
    client_send(&second, GET("queue"));
    for (int i = 0; i < 6; i++) { // the first one goes on slowly
        usleep(250 * 1000);
        backend_send(b, ".");
    }
    client_expect(&second, "HTTP/1.1 503");
    edge_expect_log(e, "\"event\":\"access\"", "proxy.queue_timeout");
    client_close(&second);
    client_reset(&first); // its connection is closed, and that makes room, too
    assert_true(backend_is_closed(b));
    close(b);
    b = unix_ask(e, &third, GET("queue"), a_fd);
    unix_answer(&third, b);
}

static void test_no_queue(void **state)
{
    struct edge *e = *state;
    struct client first, second;
    client_open(e, &first);
    client_send(&first, GET("noqueue"));
    client_open(e, &second);
    client_send(&second, GET("noqueue"));
    int a = unix_take(a_fd), b = unix_take(b_fd); // one connection each
    backend_await(a, "\r\n\r\n");
    backend_await(b, "\r\n\r\n");
    expect_status(e, GET("noqueue"), "HTTP/1.1 503", "proxy.queue_full");
    for (int i = 0; i < 2; i++)
        backend_send(i ? a : b, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    client_expect(&first, "HTTP/1.1 200");
    client_expect(&second, "HTTP/1.1 200");
    client_close(&first);
    client_close(&second);
    close(a);
    close(b);
}

// Runs on the worker's thread: whatever arrives now is read in one and the same round.
static void hold_the_loop(struct worker *w)
{
    (void)w;
    usleep(300 * 1000);
}

static void *hold(void *arg)
{
    edge_on_thread(arg, hold_the_loop);
    return NULL;
}

// The connection becomes free and a new request comes in the same round, before whoever waits could be told.
static void test_nobody_overtakes(void **state)
{
    struct edge *e = *state;
    struct client first, waiting, late;
    pthread_t t;
    int b = unix_ask(e, &first, GET_PATH("queue", "/first"), a_fd);
    client_open(e, &waiting);
    client_send(&waiting, GET_PATH("queue", "/waiting"));
    client_open(e, &late);
    usleep(100 * 1000);
    pthread_create(&t, NULL, hold, e);
    usleep(100 * 1000);
    backend_send(b, OK_EMPTY);
    usleep(50 * 1000);
    client_send(&late, GET_PATH("queue", "/late"));
    pthread_join(t, NULL);
    assert_non_null(strstr(backend_await(b, "\r\n\r\n"), "GET /waiting "));
    backend_send(b, OK_EMPTY);
    assert_non_null(strstr(backend_await(b, "\r\n\r\n"), "GET /late "));
    client_close(&first);
    client_close(&waiting);
    unix_answer(&late, b);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_the_queue_is_served_in_order),
        T(test_whoever_releases_wakes),
        T(test_a_full_queue),
        T(test_waiting_has_an_end),
        T(test_no_queue),
        T(test_nobody_overtakes),
    };
    return cmocka_run_group_tests_name("edge: waiting for a backend", tests, setup, teardown);
}
