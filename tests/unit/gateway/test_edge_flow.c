// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes in both directions, and the end of a worker: slow readers hold the backend back, nothing is lost or
// doubled, draining loses no request.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 3 * 1024 * 1024 };

// Every four bytes say where they are, so that a lost or doubled piece shows.
static char *pattern(void)
{
    static char p[BIG];
    for (uint32_t i = 0; i < BIG / 4; i++) memcpy(p + (size_t)i * 4, &i, 4);
    return p;
}

struct sending {
    int fd;
    int framing; // 0: length, 1: chunks, 2: close
};

static void *send_big(void *arg)
{
    const struct sending *s = arg;
    static const char *const heads[] = { "Content-Length: 3145728\r\n", "Transfer-Encoding: chunked\r\n",
                                         "" };
    char line[128];
    snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\n%s\r\n", heads[s->framing]);
    backend_send(s->fd, line);
    size_t step = s->framing == 1 ? 65521 : BIG;
    for (size_t at = 0; at < BIG; at += step) {
        size_t n = BIG - at < step ? BIG - at : step;
        snprintf(line, sizeof line, "%zx\r\n", n);
        if (s->framing == 1) backend_send(s->fd, line);
        backend_send_n(s->fd, pattern() + at, n);
        if (s->framing == 1) backend_send(s->fd, "\r\n");
    }
    if (s->framing == 1) backend_send(s->fd, "0\r\n\r\n");
    if (s->framing == 2) shutdown(s->fd, SHUT_WR);
    return NULL;
}

// Removes the chunked coding in place; returns the length of what is left.
static size_t unchunk(char *p)
{
    char *out = p, *in = p;
    for (;;) {
        char *end;
        size_t n = strtoul(in, &end, 16);
        assert_true(end != in && end[0] == '\r' && end[1] == '\n');
        if (n == 0) return (size_t)(out - p);
        memmove(out, end + 2, n);
        out += n;
        in = end + 2 + n + 2;
    }
}

static void expect_pattern(struct client *c, bool chunked)
{
    char *body = strstr(c->in, "\r\n\r\n") + 4;
    size_t n = chunked ? unchunk(body) : c->n - (size_t)(body - c->in);
    assert_int_equal(n, BIG);
    assert_memory_equal(body, pattern(), BIG);
}

static void test_big_answers_to_slow_readers(void **state)
{
    struct edge *e = *state;
    for (int framing = 0; framing < 3; framing++) {
        struct client c;
        client_open_small(e, &c);
        client_send(&c, "GET / HTTP/1.1\r\n" HOST_APP "Connection: close\r\n\r\n");
        struct sending s = { backend_accept(e, RIG_WAIT_MS), framing };
        backend_await(s.fd, "\r\n\r\n");
        pthread_t t;
        pthread_create(&t, NULL, send_big, &s);
        usleep(100 * 1000);
        client_read_to_end(&c);
        pthread_join(t, NULL);
        assert_true(c.close_notify);
        expect_pattern(&c, framing != 0);
        client_close(&c);
        close(s.fd);
    }
}

// A pause longer than the backend's time but shorter than the client's.
static void test_a_reader_may_pause(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open_small(e, &c);
    client_send(&c, "GET / HTTP/1.1\r\n" HOST_APP "Connection: close\r\n\r\n");
    struct sending s = { backend_accept(e, RIG_WAIT_MS), 0 };
    backend_await(s.fd, "\r\n\r\n");
    pthread_t t;
    pthread_create(&t, NULL, send_big, &s);
    usleep(1500 * 1000);
    client_read_to_end(&c);
    pthread_join(t, NULL);
    expect_pattern(&c, false);
    client_close(&c);
    close(s.fd);
}

static void test_a_reader_that_stops_is_cut_off(void **state)
{
    struct edge *e = *state;
    struct client c;
    static char zeros[64 * 1024];
    client_open_small(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    size_t sent = 0;
    while (send(b, zeros, sizeof zeros, MSG_NOSIGNAL) > 0 && sent < 1000000000) sent += sizeof zeros;
    assert_true(sent < 50000000); // the backend was held back
    edge_expect_log(e, "\"event\":\"access\"", "http.timeout");
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    close(b);
}

static void *upload(void *arg)
{
    struct client *c = arg;
    size_t step = 50021;
    char line[32];
    for (size_t at = 0; at < BIG; at += step) {
        size_t n = BIG - at < step ? BIG - at : step;
        snprintf(line, sizeof line, "%zx\r\n", n);
        client_send(c, line);
        client_send_n(c, pattern() + at, n);
        client_send(c, "\r\n");
    }
    client_send(c, "0\r\n\r\n");
    return NULL;
}

static void test_a_big_upload_to_a_slow_backend(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Transfer-Encoding: chunked\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    pthread_t t;
    pthread_create(&t, NULL, upload, &c);
    usleep(300 * 1000);
    char *in = (char *)backend_await(b, "\r\n0\r\n\r\n");
    pthread_join(t, NULL);
    char *body = strstr(in, "\r\n\r\n") + 4;
    assert_int_equal(unchunk(body), BIG);
    assert_memory_equal(body, pattern(), BIG);
    backend_send(b, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200");
    client_close(&c);
    close(b);
}

static void *echo(void *arg)
{
    int fd = *(int *)arg;
    static char buf[16384];
    ssize_t got;
    while ((got = recv(fd, buf, sizeof buf, 0)) > 0) {
        backend_send_n(fd, buf, (size_t)got);
        if (memmem(buf, (size_t)got, "\r\n0\r\n\r\n", 7)) break;
    }
    return NULL;
}

// A backend that stops reading in the middle of an upload is not waited for for ever: what is left of the
// body is with us, so the clock that runs is the backend's.
static void test_a_backend_that_stops_reading(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 33554432\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    for (int i = 0; i < 32 && client_try_send_n(&c, pattern(), 1024 * 1024); i++) continue;
    client_expect(&c, "HTTP/1.1 504 ");
    edge_expect_log(e, "proxy.timeout", "\"status\":504");
    client_close(&c);
    close(b);
}

// The answer begins before the upload has ended, and both go on.
static void test_both_directions_at_once(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Transfer-Encoding: chunked\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    pthread_t t;
    pthread_create(&t, NULL, echo, &b);
    size_t step = 30011;
    char line[32];
    for (size_t at = 0; at < BIG; at += step) {
        size_t n = BIG - at < step ? BIG - at : step;
        snprintf(line, sizeof line, "%zx\r\n", n);
        client_send(&c, line);
        client_send_n(&c, pattern() + at, n);
        client_send(&c, "\r\n");
        client_await_bytes(&c, at > 100000 ? at - 100000 : 0); // who only sends would wait for itself
    }
    client_send(&c, "0\r\n\r\n");
    client_expect(&c, "\r\n0\r\n\r\n");
    expect_pattern(&c, true);
    client_close(&c);
    pthread_join(t, NULL);
    close(b);
}

// --- the end of a worker: each of these has one of its own

static void test_drain_finishes_what_is_under_way(void **state)
{
    struct edge *e = *state;
    struct client busy, idle;
    client_open(e, &idle);
    client_send(&idle, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    client_expect(&idle, "}\n");
    client_open(e, &busy);
    client_send(&busy, GET_APP GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    edge_drain(e);
    client_read_to_end(&idle);
    assert_false(edge_ended(e, 100));
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    client_read_to_end(&busy);
    assert_non_null(strstr(busy.in, "Connection: close\r\n"));
    assert_int_equal(client_count(&busy, "HTTP/1.1 "), 1); // not the second one
    client_close(&busy);
    client_close(&idle);
    assert_true(edge_ended(e, 3000));
    close(b);
}

static void hold_the_loop(struct worker *w)
{
    (void)w;
    usleep(200 * 1000);
}

static void *hold(void *arg)
{
    edge_on_thread(arg, hold_the_loop);
    return NULL;
}

// The request has arrived on a kept connection but was not read yet when draining begins.
static void test_drain_answers_what_has_arrived(void **state)
{
    struct edge *e = *state;
    struct client c;
    pthread_t t;
    client_open(e, &c);
    client_send(&c, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    client_expect(&c, "}\n");
    client_forget(&c);
    pthread_create(&t, NULL, hold, e);
    usleep(50 * 1000);
    edge_drain(e);
    client_send(&c, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    pthread_join(t, NULL);
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 404"));
    client_close(&c);
    assert_true(edge_ended(e, 3000));
}

static void test_drain_waits_a_moment_for_a_first_request(void **state)
{
    struct edge *e = *state;
    struct client c, silent;
    client_open(e, &c);
    client_open(e, &silent);
    edge_drain(e);
    usleep(300 * 1000);
    client_send(&c, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 404"));
    client_close(&c);
    assert_true(edge_ended(e, 2000));
    client_read_to_end(&silent);
    client_close(&silent);
}

static void test_stopped_in_the_middle(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    worker_stop(e->worker);
    assert_true(edge_ended(e, 3000));
    worker_close(e->worker); // what is left is closed and logged
    edge_expect_log(e, "\"event\":\"access\"", "draining");
    assert_true(backend_is_closed(b));
    client_read_to_end(&c);
    client_close(&c);
    close(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, edge_setup, edge_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_big_answers_to_slow_readers),
        T(test_a_reader_may_pause),
        T(test_a_reader_that_stops_is_cut_off),
        T(test_a_big_upload_to_a_slow_backend),
        T(test_a_backend_that_stops_reading),
        T(test_both_directions_at_once),
        T(test_drain_finishes_what_is_under_way),
        T(test_drain_answers_what_has_arrived),
        T(test_drain_waits_a_moment_for_a_first_request),
        T(test_stopped_in_the_middle),
    };
    return cmocka_run_group_tests_name("edge: flow", tests, NULL, NULL);
}
