// SPDX-License-Identifier: GPL-3.0-or-later
// Several backends of a route, on unix sockets: who gets a request, who is out of service and comes back.
#include "unix_backend.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char routes[] =
    "  - { host: unix.example.com, backends: [ 'unix:a.sock' ], policy: public }\n"
    "  - { host: gone.example.com, backends: [ 'unix:gone.sock' ], policy: public }\n"
    "  - { host: full.example.com, backends: [ 'unix:full.sock' ], policy: public }\n"
    "  - { host: turn.example.com, backends: [ 'unix:a.sock', 'unix:b.sock' ], policy: public }\n"
    "  - { host: least.example.com, backends: [ 'unix:a.sock', 'unix:b.sock' ], policy: public, balance: "
    "least_connections }\n"
    "  - { host: eject.example.com, backends: [ 'unix:a.sock', 'unix:b.sock' ], policy: public, eject: { "
    "failures: 2, for: 1s } }\n"
    "  - { host: alone.example.com, backends: [ 'unix:a.sock' ], policy: public, eject: { failures: 1, for: "
    "1h } }\n"
    "  - { host: row.example.com, backends: [ 'unix:a.sock' ], policy: public, eject: { failures: 2, for: 1h "
    "} }\n"
    "  - { host: away.example.com, backends: [ 'unix:gone.sock', 'unix:b.sock' ], policy: public, eject: { "
    "failures: 1, for: 1h } }\n";

static int a_fd, b_fd, full_fd;

static void make_sockets(struct edge *e)
{
    a_fd = unix_listen(e, "a.sock", 64);
    b_fd = unix_listen(e, "b.sock", 64);
    full_fd = unix_listen(e, "full.sock", 0);
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
    close(full_fd);
    return edge_teardown(state);
}

// --- unix sockets

static void test_a_unix_socket(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = unix_ask(e, &c, GET("unix"), a_fd);
    for (int i = 0; i < 3; i++) {
        backend_send(b, OK_EMPTY);
        client_expect(&c, "Content-Length: 0\r\n");
        client_forget(&c);
        client_send(&c, GET("unix"));
        backend_await(b, "\r\n\r\n"); // kept alive
    }
    unix_answer(&c, b);
}

static void test_a_unix_socket_that_is_not_there(void **state)
{
    struct edge *e = *state;
    expect_status(e, GET("gone"), "HTTP/1.1 502", "proxy.connect");
    edge_expect_log(e, "gone.sock: No such file or directory", "\"status\":502");
}

// Nobody accepts, and the queue of the socket is full: connecting waits for its time, not for ever, and goes
// on as soon as there is room.
static void test_a_unix_socket_with_a_full_queue(void **state)
{
    struct edge *e = *state;
    struct client first, second, third;
    client_open(e, &first);
    client_send(&first, GET("full"));
    usleep(50 * 1000);
    client_open(e, &second);
    client_send(&second, GET("full"));
    usleep(150 * 1000);
    int b = unix_take(full_fd), b2 = unix_take(full_fd);
    backend_await(b2, "\r\n\r\n");
    unix_answer(&second, b2);
    unix_answer(&first, b);
    int idle = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/full.sock", e->dir);
    assert_int_equal(connect(idle, (struct sockaddr *)&a, sizeof a), 0);
    client_open(e, &third);
    client_send(&third, GET("full"));
    client_expect(&third, "HTTP/1.1 504");
    edge_expect_log(e, "\"event\":\"access\"", "proxy.connect_timeout");
    client_close(&third);
    close(idle);
    for (int fd; (fd = unix_take_some(full_fd, 0)) >= 0;) close(fd);
}

// --- choice

static void test_in_turn(void **state)
{
    struct edge *e = *state;
    struct client c[4];
    int b[4], n = 0;
    for (int i = 0; i < 4; i++) {
        client_open(e, &c[i]);
        client_send(&c[i], GET("turn"));
        usleep(10 * 1000);
    }
    for (int i = 0; i < 2; i++) b[n++] = unix_take(a_fd);
    for (int i = 0; i < 2; i++) b[n++] = unix_take(b_fd);
    for (int i = 0; i < 4; i++) {
        backend_await(b[i], "\r\n\r\n");
        backend_send(b[i], "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        close(b[i]);
    }
    for (int i = 0; i < 4; i++) {
        client_expect(&c[i], "HTTP/1.1 200");
        client_close(&c[i]);
    }
}

// One backend keeps its request: all others go to the other one, although it was not its turn.
static void test_the_fewest_connections(void **state)
{
    struct edge *e = *state;
    struct client slow, c;
    client_open(e, &slow);
    client_send(&slow, GET("least"));
    struct pollfd p[2] = { { a_fd, POLLIN, 0 }, { b_fd, POLLIN, 0 } };
    assert_true(poll(p, 2, RIG_WAIT_MS) == 1);
    int busy = p[0].revents ? a_fd : b_fd, free_fd = p[0].revents ? b_fd : a_fd, slow_fd = unix_take(busy);
    backend_await(slow_fd, "\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        int b = unix_ask(e, &c, GET("least"), free_fd);
        unix_answer(&c, b);
    }
    unix_answer(&slow, slow_fd);
}

// --- ejection

// A request that the backend breaks off.
static void break_off(struct edge *e, const char *request, int fd)
{
    struct client c;
    int b = unix_ask(e, &c, request, fd);
    close(b);
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
}

static void test_out_after_failures_and_back(void **state)
{
    struct edge *e = *state;
    struct client c;
    struct pollfd p[2] = { { a_fd, POLLIN, 0 }, { b_fd, POLLIN, 0 } };
    int failures = 0;
    while (failures < 2) { // a fails twice, b answers in between: its answers do not help a
        client_open(e, &c);
        client_send(&c, GET("eject"));
        assert_int_equal(poll(p, 2, RIG_WAIT_MS), 1);
        int b = unix_take(p[0].revents ? a_fd : b_fd);
        backend_await(b, "\r\n\r\n");
        if (!p[0].revents) {
            unix_answer(&c, b);
            continue;
        }
        failures++;
        close(b);
        client_expect(&c, "HTTP/1.1 502");
        client_close(&c);
    }
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "a.sock");
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "\"reason\":\"proxy.reset\"");
    for (int i = 0; i < 4; i++) {
        int b = unix_ask(e, &c, GET("eject"), b_fd);
        unix_answer(&c, b);
    }
    assert_int_equal(unix_take_some(a_fd, 0), -1);
    usleep(1100 * 1000);
    // One request only is risked; while it waits for its answer, the others go elsewhere.
    struct client trial;
    client_open(e, &trial);
    client_send(&trial, GET("eject"));
    int on_trial = unix_take_some(a_fd, 200);
    if (on_trial < 0) { // it was b's turn
        int b = unix_take(b_fd);
        backend_await(b, "\r\n\r\n");
        unix_answer(&trial, b);
        on_trial = unix_ask(e, &trial, GET("eject"), a_fd);
    }
    for (int i = 0; i < 3; i++) {
        int b = unix_ask(e, &c, GET("eject"), b_fd);
        unix_answer(&c, b);
    }
    assert_int_equal(edge_log_lines(e, "backend.returned"), 0);
    unix_answer(&trial, on_trial);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 1);
}

static void test_failures_in_a_row(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (int i = 0; i < 3; i++) {
        break_off(e, GET("row"), a_fd);
        int b = unix_ask(e, &c, GET("row"), a_fd);
        unix_answer(&c, b);
    }
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 0);
    break_off(e, GET("row"), a_fd);
    break_off(e, GET("row"), a_fd);
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "a.sock");
}

static void test_the_only_backend_is_tried_all_the_same(void **state)
{
    struct edge *e = *state;
    struct client c;
    break_off(e, GET("alone"), a_fd);
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "a.sock");
    int b = unix_ask(e, &c, GET("alone"), a_fd);
    unix_answer(&c, b);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
}

static void test_silence_and_nonsense_are_failures(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = unix_ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 hello\r\n\r\n");
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
    close(b);
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "upstream.head");
    b = unix_ask(e, &c, GET("alone"), a_fd);
    unix_answer(&c, b);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
    edge_test_begin(state);
    b = unix_ask(e, &c, GET("alone"), a_fd);
    client_expect(&c, "HTTP/1.1 504");
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "proxy.timeout");
    client_close(&c);
    close(b);
    b = unix_ask(e, &c, GET("alone"), a_fd);
    unix_answer(&c, b);
}

// Status codes are the application's words, a broken body may be its answer's fault, and a client that leaves
// is nobody's failure but its own.
static void test_what_is_no_failure(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = unix_ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    client_expect(&c, "HTTP/1.1 500");
    client_close(&c);
    close(b);
    b = unix_ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
    client_expect(&c, "part");
    close(b);
    client_read_to_end(&c);
    client_close(&c);
    b = unix_ask(e, &c, GET("alone"), a_fd);
    client_reset(&c);
    assert_true(backend_is_closed(b));
    close(b);
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 0);
}

// The backend closes the connection because the body does not come.
static void test_slow_clients_eject_nobody(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\nHost: alone.example.com\r\nContent-Length: 10\r\n\r\npart");
    int b = unix_take(a_fd);
    backend_await(b, "part");
    close(b);
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 0);
}

// The dead one costs one attempt, not one of each request.
static void test_a_dead_backend_is_left_alone(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (int i = 0; i < 6; i++) {
        int b = unix_ask(e, &c, GET("away"), b_fd);
        unix_answer(&c, b);
    }
    assert_int_equal(edge_log_lines(e, "\"event\":\"proxy.backend\""), 1);
    assert_int_equal(edge_log_lines(e, "\"event\":\"backend.ejected\""), 1);
}

// While the last request is finished, connections that nobody uses are not held.
static void test_a_drained_worker_keeps_no_connection(void **state)
{
    struct edge *e = *state;
    struct client c, slow;
    int idle = unix_ask(e, &c, GET("unix"), a_fd);
    backend_send(idle, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200");
    int busy = unix_ask(e, &slow, GET("alone"), a_fd);
    edge_drain(e);
    assert_true(backend_is_closed(idle));
    assert_false(edge_ended(e, 100));
    backend_send(busy, OK_EMPTY);
    client_expect(&slow, "HTTP/1.1 200");
    assert_true(backend_is_closed(busy));
    client_close(&c);
    client_close(&slow);
    close(idle);
    close(busy);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_unix_socket),
        T(test_a_unix_socket_that_is_not_there),
        T(test_a_unix_socket_with_a_full_queue),
        T(test_in_turn),
        T(test_the_fewest_connections),
        T(test_out_after_failures_and_back),
        T(test_failures_in_a_row),
        T(test_the_only_backend_is_tried_all_the_same),
        T(test_silence_and_nonsense_are_failures),
        T(test_what_is_no_failure),
        T(test_slow_clients_eject_nobody),
        T(test_a_dead_backend_is_left_alone),
        T(test_a_drained_worker_keeps_no_connection), // the last one
    };
    return cmocka_run_group_tests_name("edge: choice of backends", tests, setup, teardown);
}
