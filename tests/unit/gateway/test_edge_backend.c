// SPDX-License-Identifier: GPL-3.0-or-later
// What backends can do to the edge: answers that are cut off, too long, too early, or none at all.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GET_AND_CLOSE "GET / HTTP/1.1\r\n" HOST_APP "Connection: close\r\n\r\n"

static void expect_refusal(struct edge *e, const char *answer, const char *status, const char *reason)
{
    struct client c;
    int b = ask_and_answer(e, &c, GET_AND_CLOSE, answer);
    close(b);
    client_read_to_end(&c);
    if (!strstr(c.in, status)) fail_msg("no '%s' after '%s': '%.400s'", status, answer, c.in);
    edge_expect_log(e, "\"event\":\"access\"", reason);
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    edge_test_begin((void **)&e);
}

static void test_answers_that_are_none(void **state)
{
    struct edge *e = *state;
    expect_refusal(e, "", "HTTP/1.1 502", "proxy.reset");
    expect_refusal(e, "HTTP/1.1 20", "HTTP/1.1 502", "proxy.reset");
    expect_refusal(e, "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 502", "upstream.head");
    expect_refusal(e, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 502",
                   "upstream.head");
    expect_refusal(e, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   "HTTP/1.1 502", "upstream.head");
    expect_refusal(e, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 502",
                   "upstream.head");
    expect_refusal(e, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "HTTP/1.1 502", "upstream.head");
}

static void test_a_reset_instead_of_an_answer(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "");
    backend_reset(b);
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
}

static void test_a_head_without_end(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\n");
    char *line = malloc(70000);
    memset(line, 'x', 70000);
    memcpy(line, "X-Long: ", 8);
    backend_send_n(b, line, 70000);
    free(line);
    client_expect(&c, "HTTP/1.1 502");
    client_close(&c);
    close(b);
}

// As large as a head may be: it goes through whole, in front of a body.
static void test_the_largest_head(void **state)
{
    struct edge *e = *state;
    struct client c;
    char *head = calloc(1, LIMIT_RESPONSE_HEAD_BYTES + 16);
    size_t n = (size_t)sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n");
    while (n < LIMIT_RESPONSE_HEAD_BYTES - 4200) {
        n += (size_t)sprintf(head + n, "X-Field: ");
        memset(head + n, 'v', 4000);
        n += 4000;
        n += (size_t)sprintf(head + n, "\r\n");
    }
    sprintf(head + n, "\r\nend");
    int b = ask_and_answer(e, &c, GET_APP, head);
    client_expect(&c, "\r\n\r\nend");
    assert_int_equal(client_count(&c, "X-Field: "),
                     client_count(&(struct client){ .in = head }, "X-Field: "));
    free(head);
    client_close(&c);
    close(b);
}

// However the bytes were put together on their way: a busy machine reads several at once.
static void expect_chunks(const struct client *c, const char *data)
{
    const char *at = strstr(c->in, "\r\n\r\n");
    size_t left = strlen(data);
    assert_non_null(at);
    for (at += 4; left > 0;) {
        char *end;
        size_t n = strtoul(at, &end, 16);
        assert_in_range(n, 1, left);
        assert_memory_equal(end, "\r\n", 2);
        assert_memory_equal(end + 2, data, n);
        assert_memory_equal(end + 2 + n, "\r\n", 2);
        at = end + 4 + n;
        data += n;
        left -= n;
    }
    assert_string_equal(at, "0\r\n\r\n");
}

static void test_an_answer_byte_by_byte(void **state)
{
    struct edge *e = *state;
    struct client c;
    static const char answer[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "4;x\r\nwxyz\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n";
    int b = ask_and_answer(e, &c, GET_APP, "");
    for (size_t i = 0; i < sizeof answer - 1; i++) {
        backend_send_n(b, answer + i, 1);
        usleep(300);
    }
    client_expect(&c, "\r\n0\r\n\r\n");
    expect_chunks(&c, "wxyz!");
    client_close(&c);
    close(b);
}

static void expect_cut_off(struct edge *e, const char *answer, const char *reason)
{
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, answer);
    client_expect(&c, "part");
    close(b);
    client_read_to_end(&c);
    assert_false(c.close_notify); // the client must notice
    assert_null(strstr(c.in, "\r\n0\r\n\r\n"));
    edge_expect_log(e, "\"event\":\"access\"", reason);
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    edge_test_begin((void **)&e);
}

static void test_an_answer_that_is_cut_off_stays_cut_off(void **state)
{
    struct edge *e = *state;
    expect_cut_off(e, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart", "proxy.reset");
    expect_cut_off(e, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\npart", "proxy.reset");
    expect_cut_off(e, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "proxy.reset");
    expect_cut_off(e, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
                   "upstream.head");
}

static void test_a_body_that_ends_with_the_connection(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\n\r\nwhole");
    close(b);
    client_expect(&c, "\r\n0\r\n\r\n");
    assert_non_null(strstr(c.in, "whole"));
    client_close(&c);
}

static void test_answers_without_a_body(void **state)
{
    struct edge *e = *state;
    static const char *const answers[] = {
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nEVIL",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct client c;
        int b = ask_and_answer(e, &c, GET_APP GET_APP, answers[i]);
        assert_true(backend_is_closed(b)); // nobody knows what comes next on this connection
        close(b);
        b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "\r\n\r\n");
        backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
        client_expect(&c, "good");
        assert_null(strstr(c.in, "EVIL"));
        client_close(&c);
        close(b);
    }
}

static void test_head_has_the_length_and_no_body(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, "HEAD / HTTP/1.1\r\n" HOST_APP "\r\n" GET_APP,
                           "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    client_expect(&c, "Content-Length: 4\r\n");
    backend_await(b, "\r\n\r\n"); // the same connection
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    client_expect(&c, "\r\n\r\ngood");
    client_close(&c);
    close(b);
}

static void test_interim_answers(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP,
                           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    client_expect(&c, "\r\n\r\nlast");
    assert_int_equal(client_count(&c, "HTTP/1.1 "), 1);
    client_close(&c);
    close(b);
}

// Interim answers fill the buffer up to its end: the next head must still find room.
static void test_interim_answers_of_a_buffer_s_length(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "");
    char *all = calloc(1, 256 * 1024);
    size_t n = 0;
    for (int i = 0; i < 40; i++) {
        n += (size_t)sprintf(all + n, "HTTP/1.1 103 Early Hints\r\nLink: ");
        memset(all + n, 'l', 3333);
        n += 3333;
        n += (size_t)sprintf(all + n, "\r\n\r\n");
    }
    sprintf(all + n, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    backend_send(b, all);
    client_expect(&c, "\r\n\r\nlast");
    free(all);
    client_close(&c);
    close(b);
}

static void test_a_storm_of_interim_answers(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "");
    for (int i = 0; i < 100; i++) backend_send(b, "HTTP/1.1 102 Processing\r\n\r\n");
    client_expect(&c, "HTTP/1.1 502");
    assert_true(backend_is_closed(b));
    client_close(&c);
    close(b);
}

static void test_no_answer_in_time(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "");
    client_expect(&c, "HTTP/1.1 504");
    assert_true(backend_is_closed(b));
    edge_expect_log(e, "\"event\":\"access\"", "proxy.timeout");
    client_close(&c);
    close(b);
}

static void test_an_answer_that_stalls(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client_read_to_end(&c);
    assert_false(c.close_notify);
    edge_expect_log(e, "\"event\":\"access\"", "proxy.timeout");
    client_close(&c);
    close(b);
}

// The answer comes before the upload is over: it is passed on, and the connection ends with it.
static void test_an_early_answer(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 1000000\r\n\r\nstart");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "start");
    backend_send(b, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    client_expect(&c, "Connection: close\r\n");
    client_expect(&c, "\r\n\r\nbig");
    assert_true(backend_is_closed(b));
    client_close(&c);
    close(b);
}

static void test_an_upload_that_the_backend_does_not_take(void **state)
{
    struct edge *e = *state;
    struct client c;
    static char zeros[256 * 1024];
    struct timeval t = { .tv_usec = 200 * 1000 };
    int b = ask_and_answer(e, &c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 100000000\r\n\r\n", "");
    setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    size_t sent = 0;
    while (sent < 100000000 && client_try_send_n(&c, zeros, sizeof zeros)) sent += sizeof zeros;
    assert_true(sent < 50000000); // held back, not hoarded
    edge_expect_log(e, "\"event\":\"access\"", "proxy.timeout");
    client_close(&c);
    close(b);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_answers_that_are_none),
        T(test_a_reset_instead_of_an_answer),
        T(test_a_head_without_end),
        T(test_the_largest_head),
        T(test_an_answer_byte_by_byte),
        T(test_an_answer_that_is_cut_off_stays_cut_off),
        T(test_a_body_that_ends_with_the_connection),
        T(test_answers_without_a_body),
        T(test_head_has_the_length_and_no_body),
        T(test_interim_answers),
        T(test_interim_answers_of_a_buffer_s_length),
        T(test_a_storm_of_interim_answers),
        T(test_no_answer_in_time),
        T(test_an_answer_that_stalls),
        T(test_an_early_answer),
        T(test_an_upload_that_the_backend_does_not_take),
    };
    return cmocka_run_group_tests_name("edge: backends", tests, edge_setup, edge_teardown);
}
