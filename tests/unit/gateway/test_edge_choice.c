// SPDX-License-Identifier: GPL-3.0-or-later
// Several backends of a route, on unix sockets: who gets a request, who is out of service and comes back, who
// has to wait.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define GET(host) "GET / HTTP/1.1\r\nHost: " host ".example.com\r\n\r\n"
#define GET_PATH(host, path) "GET " path " HTTP/1.1\r\nHost: " host ".example.com\r\n\r\n"

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
    "failures: 1, for: 1h } }\n"
    "  - { host: queue.example.com, backends: [ 'unix:a.sock' ], policy: public, limits: { connections: 1, "
    "queue: 2, queue_wait: 1s } }\n"
    "  - { host: noqueue.example.com, backends: [ 'unix:a.sock', 'unix:b.sock' ], policy: public, limits: { "
    "connections: 1, queue: 0 } }\n";

static int a_fd, b_fd, full_fd;

static int listen_unix(struct edge *e, const char *name, int backlog)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", e->dir, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void make_sockets(struct edge *e)
{
    a_fd = listen_unix(e, "a.sock", 64);
    b_fd = listen_unix(e, "b.sock", 64);
    full_fd = listen_unix(e, "full.sock", 0);
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

static int take_some(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    if (poll(&p, 1, ms) != 1) return -1;
    int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(got, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    return got;
}

static int take(int fd)
{
    int got = take_some(fd, RIG_WAIT_MS);
    if (got < 0) fail_msg("no connection came");
    return got;
}

// A new client's request, taken by the backend that listens on `fd` and left unanswered.
static int ask(struct edge *e, struct client *c, const char *request, int fd)
{
    client_open(e, c);
    client_send(c, request);
    int b = take(fd);
    backend_await(b, "\r\n\r\n");
    return b;
}

// The last answer on this connection.
static void answer(struct client *c, int b)
{
    backend_send(b, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    client_expect(c, "HTTP/1.1 200");
    client_close(c);
    close(b);
}

static void expect_status(struct edge *e, const char *request, const char *status, const char *reason)
{
    struct client c;
    client_open(e, &c);
    client_send(&c, request);
    client_expect(&c, status);
    edge_expect_log(e, "\"event\":\"access\"", reason);
    client_close(&c);
}

// --- unix sockets

static void test_a_unix_socket(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask(e, &c, GET("unix"), a_fd);
    for (int i = 0; i < 3; i++) {
        backend_send(b, OK_EMPTY);
        client_expect(&c, "Content-Length: 0\r\n");
        client_forget(&c);
        client_send(&c, GET("unix"));
        backend_await(b, "\r\n\r\n"); // kept alive
    }
    answer(&c, b);
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
    int b = take(full_fd), b2 = take(full_fd);
    backend_await(b2, "\r\n\r\n");
    answer(&second, b2);
    answer(&first, b);
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
    for (int fd; (fd = take_some(full_fd, 0)) >= 0;) close(fd);
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
    for (int i = 0; i < 2; i++) b[n++] = take(a_fd);
    for (int i = 0; i < 2; i++) b[n++] = take(b_fd);
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
    int busy = p[0].revents ? a_fd : b_fd, free_fd = p[0].revents ? b_fd : a_fd, slow_fd = take(busy);
    backend_await(slow_fd, "\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        int b = ask(e, &c, GET("least"), free_fd);
        answer(&c, b);
    }
    answer(&slow, slow_fd);
}

// --- ejection

// A request that the backend breaks off.
static void break_off(struct edge *e, const char *request, int fd)
{
    struct client c;
    int b = ask(e, &c, request, fd);
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
        int b = take(p[0].revents ? a_fd : b_fd);
        backend_await(b, "\r\n\r\n");
        if (!p[0].revents) {
            answer(&c, b);
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
        int b = ask(e, &c, GET("eject"), b_fd);
        answer(&c, b);
    }
    assert_int_equal(take_some(a_fd, 0), -1);
    usleep(1100 * 1000);
    // One request only is risked; while it waits for its answer, the others go elsewhere.
    struct client trial;
    client_open(e, &trial);
    client_send(&trial, GET("eject"));
    int on_trial = take_some(a_fd, 200);
    if (on_trial < 0) { // it was b's turn
        int b = take(b_fd);
        backend_await(b, "\r\n\r\n");
        answer(&trial, b);
        on_trial = ask(e, &trial, GET("eject"), a_fd);
    }
    for (int i = 0; i < 3; i++) {
        int b = ask(e, &c, GET("eject"), b_fd);
        answer(&c, b);
    }
    assert_int_equal(edge_log_lines(e, "backend.returned"), 0);
    answer(&trial, on_trial);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 1);
}

static void test_failures_in_a_row(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (int i = 0; i < 3; i++) {
        break_off(e, GET("row"), a_fd);
        int b = ask(e, &c, GET("row"), a_fd);
        answer(&c, b);
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
    int b = ask(e, &c, GET("alone"), a_fd);
    answer(&c, b);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
}

static void test_silence_and_nonsense_are_failures(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 hello\r\n\r\n");
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
    close(b);
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "upstream.head");
    b = ask(e, &c, GET("alone"), a_fd);
    answer(&c, b);
    edge_expect_log(e, "\"event\":\"backend.returned\"", "a.sock");
    edge_test_begin(state);
    b = ask(e, &c, GET("alone"), a_fd);
    client_expect(&c, "HTTP/1.1 504");
    edge_expect_log(e, "\"event\":\"backend.ejected\"", "proxy.timeout");
    client_close(&c);
    close(b);
    b = ask(e, &c, GET("alone"), a_fd);
    answer(&c, b);
}

// Status codes are the application's words, a broken body may be its answer's fault, and a client that leaves
// is nobody's failure but its own.
static void test_what_is_no_failure(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    client_expect(&c, "HTTP/1.1 500");
    client_close(&c);
    close(b);
    b = ask(e, &c, GET("alone"), a_fd);
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
    client_expect(&c, "part");
    close(b);
    client_read_to_end(&c);
    client_close(&c);
    b = ask(e, &c, GET("alone"), a_fd);
    client_reset(&c);
    assert_true(backend_is_closed(b));
    close(b);
    assert_int_equal(edge_log_lines(e, "backend.ejected"), 0);
}

// The dead one costs one attempt, not one of each request.
static void test_a_dead_backend_is_left_alone(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (int i = 0; i < 6; i++) {
        int b = ask(e, &c, GET("away"), b_fd);
        answer(&c, b);
    }
    assert_int_equal(edge_log_lines(e, "\"event\":\"proxy.backend\""), 1);
    assert_int_equal(edge_log_lines(e, "\"event\":\"backend.ejected\""), 1);
}

// --- limits

static void test_the_queue_is_served_in_order(void **state)
{
    struct edge *e = *state;
    struct client first, second, third;
    int b = ask(e, &first, GET_PATH("queue", "/1"), a_fd);
    client_open(e, &second);
    client_send(&second, GET_PATH("queue", "/2"));
    usleep(50 * 1000);
    client_open(e, &third);
    client_send(&third, "POST /3 HTTP/1.1\r\nHost: queue.example.com\r\nContent-Length: 4\r\n\r\nbody");
    usleep(50 * 1000);
    assert_int_equal(take_some(a_fd, 100), -1);
    backend_send(b, OK_EMPTY);
    client_expect(&first, "HTTP/1.1 200");
    assert_non_null(strstr(backend_await(b, "\r\n\r\n"), "GET /2 ")); // on the same connection
    backend_send(b, OK_EMPTY);
    client_expect(&second, "HTTP/1.1 200");
    const char *in = backend_await(b, "body");
    assert_non_null(strstr(in, "POST /3 "));
    answer(&third, b);
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
        int b = ask(e, &first, GET("queue"), a_fd);
        client_open(e, &waiting);
        usleep(20 * 1000);
        client_send(&waiting, GET("queue"));
        usleep(5 * 1000); // the next look is 45 ms away
        int64_t begin = now_ms();
        backend_send(b, OK_EMPTY);
        backend_await(b, "\r\n\r\n");
        if (now_ms() - begin < best) best = now_ms() - begin;
        answer(&waiting, b);
        client_close(&first);
    }
    assert_true(best < BACKEND_TICK_MS / 2);
}

static void test_a_full_queue(void **state)
{
    struct edge *e = *state;
    struct client first, waiting[2], left;
    int b = ask(e, &first, GET("queue"), a_fd);
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
    answer(&first, b);
    for (int i = 0; i < 2; i++) {
        b = take(a_fd);
        const char *in = backend_await(b, "\r\n\r\n");
        assert_null(strstr(in, "/left"));
        assert_non_null(strstr(in, i ? "GET /1 " : "GET /0 "));
        answer(&waiting[i], b);
    }
}

static void test_waiting_has_an_end(void **state)
{
    struct edge *e = *state;
    struct client first, second, third;
    int b = ask(e, &first, "GET / HTTP/1.1\r\nHost: queue.example.com\r\n\r\n", a_fd);
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
    b = ask(e, &third, GET("queue"), a_fd);
    answer(&third, b);
}

static void test_no_queue(void **state)
{
    struct edge *e = *state;
    struct client first, second;
    client_open(e, &first);
    client_send(&first, GET("noqueue"));
    client_open(e, &second);
    client_send(&second, GET("noqueue"));
    int a = take(a_fd), b = take(b_fd); // one connection each
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
    int b = ask(e, &first, GET_PATH("queue", "/first"), a_fd);
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
    answer(&late, b);
}

// While the last request is finished, connections that nobody uses are not held.
static void test_a_drained_worker_keeps_no_connection(void **state)
{
    struct edge *e = *state;
    struct client c, slow;
    int idle = ask(e, &c, GET("unix"), a_fd);
    backend_send(idle, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200");
    int busy = ask(e, &slow, GET("queue"), a_fd);
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
        T(test_a_dead_backend_is_left_alone),
        T(test_the_queue_is_served_in_order),
        T(test_whoever_releases_wakes),
        T(test_a_full_queue),
        T(test_waiting_has_an_end),
        T(test_no_queue),
        T(test_nobody_overtakes),
        T(test_a_drained_worker_keeps_no_connection), // the last one
    };
    return cmocka_run_group_tests_name("edge: choice of backends", tests, setup, teardown);
}
