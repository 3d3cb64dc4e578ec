// SPDX-License-Identifier: GPL-3.0-or-later
// Connections to backends that are used again, closed too early, or cannot be made: no visitor gets another's
// answer, and no request is sent twice that must not be.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Bytes behind the end of an answer, in the same packet, a moment later, and just behind a full buffer: never
// the beginning of the next visitor's answer.
static void test_bytes_behind_the_end(void **state)
{
    struct edge *e = *state;
    static const char evil[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    for (int way = 0; way < 3; way++) {
        struct client c;
        size_t body = way == 2 ? 3 * LIMIT_RESPONSE_HEAD_BYTES : 4;
        char head[64], *answer = calloc(1, body + 256);
        int n = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", way == 2 ? body - 45 : body);
        memset(answer, 'a', body);
        memcpy(answer, head, (size_t)n);
        size_t end = way == 2 ? (size_t)n + body - 45 : (size_t)n + body;
        memset(answer + n, 'a', end - (size_t)n);
        if (way != 1) strcpy(answer + end, evil);
        client_open(e, &c);
        client_send(&c, GET_APP);
        int b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "\r\n\r\n");
        backend_send_n(b, answer, end + (way != 1 ? sizeof evil - 1 : 0));
        client_expect(&c, "aaaa");
        if (way == 1) {
            usleep(50 * 1000);
            backend_send(b, evil);
        }
        client_send(&c, GET_APP);
        int other = backend_accept(e, RIG_WAIT_MS);
        assert_true(other >= 0);
        backend_await(other, "\r\n\r\n");
        backend_send(other, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
        client_expect(&c, "good");
        assert_null(strstr(c.in, "EVIL"));
        client_close(&c);
        close(b);
        close(other);
        free(answer);
    }
}

// A backend that leaves the body of a GET unread would take it for the next request, and its answer to that
// would reach the next visitor. A body that a method is made for is read.
static void test_unexpected_bodies_end_the_connection(void **state)
{
    struct edge *e = *state;
    static const char *const methods[] = { "GET", "HEAD", "DELETE", "OPTIONS", "POST" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct client c;
        char request[256];
        snprintf(request, sizeof request, "%s / HTTP/1.1\r\n" HOST_APP "Content-Length: 4\r\n\r\nbody",
                 methods[i]);
        int b = ask_and_answer(e, &c, request, OK_EMPTY);
        client_expect(&c, "\r\n\r\n");
        client_send(&c, GET_APP);
        bool kept = strcmp(methods[i], "POST") == 0;
        int next = kept ? b : backend_accept(e, RIG_WAIT_MS);
        backend_await(next, "\r\n\r\n");
        if (!kept) assert_true(backend_is_closed(b));
        backend_send(next, OK_EMPTY);
        client_close(&c);
        close(b);
        if (!kept) close(next);
    }
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

// The next request and the stray bytes become known in the same round, the request first: only looking before
// the connection is used tells them apart.
static void test_stray_bytes_in_the_round_of_the_next_request(void **state)
{
    struct edge *e = *state;
    struct client c;
    pthread_t t;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    client_expect(&c, "first");
    usleep(50 * 1000);
    pthread_create(&t, NULL, hold, e);
    usleep(100 * 1000);
    client_send(&c, GET_APP);
    usleep(50 * 1000);
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL");
    pthread_join(t, NULL);
    int other = backend_accept(e, 1000);
    if (other >= 0) {
        backend_await(other, "\r\n\r\n");
        backend_send(other, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    }
    client_expect(&c, "\r\n\r\ngood");
    assert_null(strstr(c.in, "EVIL"));
    client_close(&c);
    close(b);
    close(other);
}

// Closed between two requests: a GET goes to a new connection, nobody notices.
static void test_a_kept_connection_that_was_closed(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    client_expect(&c, "first");
    for (int i = 0; i < 5; i++) {
        close(b);
        client_send(&c, i % 2 ? "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 1\r\n\r\nx" : GET_APP);
        b = backend_accept(e, RIG_WAIT_MS);
        assert_true(b >= 0);
        backend_await(b, "\r\n\r\n");
        backend_send(b, OK_EMPTY);
        client_expect(&c, "Content-Length: 0\r\n");
        client_forget(&c);
    }
    client_close(&c);
    close(b);
}

// Closed when the request is already on its way.
static void test_a_swallowed_request_is_sent_again(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    client_expect(&c, "first");
    client_send(&c, GET_APP);
    backend_await(b, "\r\n\r\n");
    close(b);
    b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
    client_expect(&c, "again");
    client_close(&c);
    close(b);
}

// Every one of these arrives on a kept connection, which the backend then closes, some after a part of an
// answer.
static void test_what_is_not_sent_again(void **state)
{
    struct edge *e = *state;
    static const struct {
        const char *request, *last, *part;
    } once[] = {
        { "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 4\r\n\r\nonce", "once", "" },
        { "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 0\r\n\r\n", "\r\n\r\n", "" },
        { "GET / HTTP/1.1\r\n" HOST_APP "Content-Length: 4\r\n\r\nonce", "once", "" },
        { "GET / HTTP/1.1\r\n" HOST_APP "Transfer-Encoding: chunked\r\n\r\n4\r\nonce\r\n0\r\n\r\n",
          "0\r\n\r\n", "" },
        { GET_APP, "\r\n\r\n", "H" },
        { GET_APP, "\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n" },
    };
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        struct client c;
        int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
        client_expect(&c, "first");
        client_send(&c, once[i].request);
        backend_await(b, once[i].last);
        backend_send(b, once[i].part);
        usleep(20 * 1000);
        close(b);
        client_expect(&c, "HTTP/1.1 502");
        assert_int_equal(backend_accept(e, 100), -1);
        client_close(&c);
    }
}

static void test_a_dead_backend(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET / HTTP/1.1\r\nHost: dead.example.com\r\n\r\n");
    client_expect(&c, "HTTP/1.1 502");
    edge_expect_log(e, "\"event\":\"access\"", "proxy.connect");
    client_close(&c);
}

static void test_another_backend_takes_over(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    int b = -1;
    for (int i = 0; i < 4; i++) {
        client_send(&c, "POST / HTTP/1.1\r\nHost: pair.example.com\r\nContent-Length: 4\r\n\r\nbody");
        if (b < 0) b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "body");
        backend_send(b, OK_EMPTY);
        client_expect(&c, "HTTP/1.1 200");
        client_expect(&c, "\r\n\r\n");
        client_forget(&c);
    }
    client_close(&c);
    close(b);
}

// "localhost" is ::1 and 127.0.0.1, and most applications listen on one of them.
static void test_another_address_of_the_backend(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (int i = 0; i < 2; i++) {
        client_open(e, &c);
        client_send(&c, "POST / HTTP/1.1\r\nHost: named.example.com\r\nContent-Length: 4\r\n\r\nbody");
        int b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "body");
        backend_send(b, OK_EMPTY);
        client_expect(&c, "HTTP/1.1 200");
        client_close(&c);
        close(b);
        usleep(20 * 1000);
    }
    edge_expect_log(e, "proxy.backend", "two.example.net");
    assert_int_equal(edge_log_lines(e, "proxy.backend"),
                     1); // the second time the address that worked came first
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_bytes_behind_the_end),
        T(test_unexpected_bodies_end_the_connection),
        T(test_stray_bytes_in_the_round_of_the_next_request),
        T(test_a_kept_connection_that_was_closed),
        T(test_a_swallowed_request_is_sent_again),
        T(test_what_is_not_sent_again),
        T(test_a_dead_backend),
        T(test_another_backend_takes_over),
        T(test_another_address_of_the_backend),
    };
    return cmocka_run_group_tests_name("edge: reuse", tests, edge_setup, edge_teardown);
}
