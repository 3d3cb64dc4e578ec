// SPDX-License-Identifier: GPL-3.0-or-later
// What clients can do to the edge: odd splits, pipelines, bodies that break off, half-closed connections.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_a_request_and_its_answer(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    const char *head = backend_await(b, "\r\n\r\n");
    assert_non_null(strstr(head, "GET / HTTP/1.1\r\nHost: app.example.com\r\n"));
    assert_non_null(strstr(head, "X-Forwarded-For: 127.0.0.1\r\n"));
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    client_expect(&c, "\r\n\r\nhello");
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    close(b);
}

static void test_the_backend_sees_the_one_spelling_of_the_host(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET / HTTP/1.1\r\nHost: APP.example.com:8443\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    const char *head = backend_await(b, "\r\n\r\n");
    assert_non_null(strstr(head, "\r\nHost: app.example.com:8443\r\n"));
    assert_non_null(strstr(head, "\r\nX-Forwarded-Host: app.example.com:8443\r\n"));
    assert_null(strstr(head, "APP"));
    client_close(&c);
    close(b);
}

static const char upload[] = "POST /u HTTP/1.1\r\n" HOST_APP "Transfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n" GET_APP;

// The decoder, the window behind the head and the next request meet at every byte.
static void test_every_split_of_a_chunked_upload(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = -1;
    client_open(e, &c);
    for (size_t split = 1; split < sizeof upload - 1; split++) {
        client_send_n(&c, upload, split);
        usleep(300);
        client_send_n(&c, upload + split, sizeof upload - 1 - split);
        if (b < 0) b = backend_accept(e, RIG_WAIT_MS);
        assert_non_null(strstr(backend_await(b, "\r\n0\r\n\r\n"), "/u HTTP/1.1"));
        backend_send(b, OK_EMPTY);
        assert_non_null(strstr(backend_await(b, "\r\n\r\n"), "GET / HTTP/1.1"));
        backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
        client_expect(&c, "next");
        assert_int_equal(client_count(&c, "HTTP/1.1 200 OK"), 2);
        client_forget(&c);
    }
    client_close(&c);
    close(b);
}

static void test_a_request_byte_by_byte(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    for (size_t i = 0; i < sizeof upload - 1; i++) client_send_n(&c, upload + i, 1);
    int b = backend_accept(e, RIG_WAIT_MS);
    char body[64] = "";
    const char *got = strstr(backend_await(b, "\r\n0\r\n\r\n"), "\r\n\r\n") + 4;
    unsigned size;
    for (int used; sscanf(got, "%x\r\n%n", &size, &used) == 1 && size; got += used + (int)size + 2)
        strncat(body, got + used, size);
    assert_string_equal(body, "abc0123456789");
    backend_send(b, OK_EMPTY);
    backend_await(b, "\r\n\r\n");
    backend_send(b, OK_EMPTY);
    client_close(&c);
    close(b);
}

static void test_fifty_pipelined_requests(void **state)
{
    struct edge *e = *state;
    struct client c;
    char all[50 * 64] = "";
    for (int i = 0; i < 49; i++) strcat(all, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    strcat(all, "GET /.sallyport/x HTTP/1.0\r\n" HOST_APP "\r\n");
    client_open(e, &c);
    client_send(&c, all);
    client_read_to_end(&c);
    assert_int_equal(client_count(&c, "HTTP/1.1 404"), 50);
    assert_int_equal(edge_access_lines(e), 50);
    client_close(&c);
}

// More than any buffer holds, in one go, while the answers are not read.
static void test_a_pipeline_longer_than_the_buffers(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    for (int i = 0; i < 2000; i++) client_send(&c, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
    client_send(&c, "GET /.sallyport/y HTTP/1.1\r\n" HOST_APP "Connection: close\r\n\r\n");
    client_read_to_end(&c);
    assert_int_equal(client_count(&c, "HTTP/1.1 404"), 2001);
    client_close(&c);
}

static void test_continue_is_sent_when_the_backend_wants_the_body(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    client_expect(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    client_send(&c, "body");
    assert_null(strstr(backend_await(b, "\r\n\r\nbody"), "Expect"));
    backend_send(b, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    client_expect(&c, "done");
    assert_int_equal(client_count(&c, "100 Continue"), 1);
    client_close(&c);
    close(b);
}

static void test_no_continue_for_a_refused_request(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\nHost: staff.example.com\r\nContent-Length: 4\r\n"
                    "Expect: 100-continue\r\n\r\n");
    client_read_to_end(&c);
    assert_int_equal(client_count(&c, "100 Continue"), 0);
    assert_non_null(strstr(c.in, "HTTP/1.1 401"));
    assert_non_null(strstr(c.in, "Connection: close"));
    client_close(&c);
}

// Who is refused while sending much goes on sending for a while: a reset would take the answer away.
static void test_a_refusal_arrives_during_a_long_upload(void **state)
{
    struct edge *e = *state;
    struct client c;
    static char zeros[64 * 1024];
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\nHost: staff.example.com\r\nContent-Length: 8388608\r\n\r\n");
    for (int i = 0; i < 8388608 / (int)sizeof zeros; i++) client_send_n(&c, zeros, sizeof zeros);
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 401"));
    assert_true(c.close_notify);
    client_close(&c);
}

// The decoder refuses in the middle: the backend must see a broken body, the client a 400.
static void test_a_chunk_that_is_none(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "abc\r\n");
    client_send(&c, "3 \r\ndef\r\n0\r\n\r\n" GET_APP);
    assert_true(backend_is_closed(b));
    client_read_to_end(&c);
    assert_int_equal(client_count(&c, "HTTP/1.1 "), 1);
    assert_non_null(strstr(c.in, "HTTP/1.1 400"));
    edge_expect_log(e, "\"event\":\"access\"", "http.chunk");
    assert_int_equal(backend_accept(e, 100), -1); // what followed was no request
    client_close(&c);
    close(b);
}

// close_notify and FIN while the body is missing: nobody waits for the rest until a timer ends it.
static void test_a_body_that_breaks_off(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 100\r\n\r\nonly this");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "only this");
    int64_t begin = time(NULL);
    SSL_shutdown(c.ssl);
    shutdown(c.fd, SHUT_WR);
    assert_true(backend_is_closed(b));
    assert_true(time(NULL) - begin <= 1);
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 400"));
    edge_expect_log(e, "\"event\":\"access\"", "client.gone");
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    close(b);
}

static void test_half_closed_after_the_request(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    SSL_shutdown(c.ssl);
    shutdown(c.fd, SHUT_WR);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf");
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "half"));
    client_close(&c);
    close(b);
}

static void test_half_a_head_and_the_end(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET / HTTP/1.1\r\nHost: app");
    int64_t begin = time(NULL);
    SSL_shutdown(c.ssl);
    shutdown(c.fd, SHUT_WR);
    client_read_to_end(&c);
    assert_true(time(NULL) - begin <= 1); // and not after the time for heads
    assert_int_equal(c.n, 0);
    client_close(&c);
}

static void test_a_client_that_goes_away_frees_the_backend(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    client_reset(&c);
    assert_true(backend_is_closed(b));
    edge_expect_log(e, "\"event\":\"access\"", "client.gone");
    close(b);
}

// As a process that is killed does: FIN, but no close_notify.
static void test_a_client_that_is_cut_off_frees_the_backend(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    assert_true(backend_is_closed(b));
    edge_expect_log(e, "\"event\":\"access\"", "client.gone");
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
    close(b);
}

static void test_an_upload_that_stalls_is_answered(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\n" HOST_APP "Content-Length: 100\r\n\r\nonly this");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "only this");
    client_read_to_end(&c); // after the idle time, which is longer than the backend's
    assert_non_null(strstr(c.in, "HTTP/1.1 408"));
    edge_expect_log(e, "\"event\":\"access\"", "http.timeout");
    client_close(&c);
    close(b);
}

static void test_a_head_that_stalls_is_answered(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET / HTTP/1.1\r\n");
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 408"));
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
}

static void test_garbage_is_refused_with_one_line(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "\x16\x03\x01 what\r\n\r\n" GET_APP);
    client_read_to_end(&c);
    assert_non_null(strstr(c.in, "HTTP/1.1 400"));
    assert_int_equal(client_count(&c, "HTTP/1.1 "), 1);
    edge_expect_log(e, "\"event\":\"access\"", "http.request_line");
    assert_int_equal(edge_access_lines(e), 1);
    client_close(&c);
}

static void leave_an_error_behind(struct worker *w)
{
    (void)w;
    ERR_raise(ERR_LIB_USER, 1); // any use of OpenSSL that fails leaves this
}

// SSL_get_error looks at the thread's error queue: a leftover must not read as this connection's failure.
static void test_failures_elsewhere_do_not_break_connections(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    for (int i = 0; i < 3; i++) {
        edge_on_thread(e, leave_an_error_behind);
        client_send(&c, "GET /.sallyport/x HTTP/1.1\r\n" HOST_APP "\r\n");
        client_expect(&c, "HTTP/1.1 404");
        client_expect(&c, "}\n");
        client_forget(&c);
    }
    client_close(&c);
}

static void test_http_1_0(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET / HTTP/1.0\r\n" HOST_APP "Connection: keep-alive\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "GET / HTTP/1.1\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n");
    client_read_to_end(&c); // no chunks for HTTP/1.0: the body ends with the connection
    assert_true(c.close_notify);
    assert_non_null(strstr(c.in, "\r\n\r\nabcd"));
    assert_null(strstr(c.in, "chunked"));
    client_close(&c);
    close(b);
}

// A browser at a host that is not served gets a page with its style sheet, and nothing else there.
static void test_the_page_of_a_wrong_host_has_its_style(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, "GET /.sallyport/assets/style.css HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
    client_expect(&c, "HTTP/1.1 200 OK");
    client_expect(&c, "text/css");
    client_forget(&c);
    client_close(&c);
    static const char *const others[] = {
        "GET /.sallyport/assets/none.css HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
        "POST /.sallyport/assets/style.css HTTP/1.1\r\nHost: other.example.com\r\nContent-Length: 0\r\n\r\n",
        "GET /.sallyport/login HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
        "GET /.sallyport/assets/../login HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        client_open(e, &c);
        client_send(&c, others[i]);
        client_expect(&c, "HTTP/1.1 421 ");
        client_close(&c);
    }
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_request_and_its_answer),
        T(test_the_backend_sees_the_one_spelling_of_the_host),
        T(test_every_split_of_a_chunked_upload),
        T(test_a_request_byte_by_byte),
        T(test_fifty_pipelined_requests),
        T(test_a_pipeline_longer_than_the_buffers),
        T(test_continue_is_sent_when_the_backend_wants_the_body),
        T(test_no_continue_for_a_refused_request),
        T(test_a_refusal_arrives_during_a_long_upload),
        T(test_a_chunk_that_is_none),
        T(test_a_body_that_breaks_off),
        T(test_half_closed_after_the_request),
        T(test_half_a_head_and_the_end),
        T(test_a_client_that_goes_away_frees_the_backend),
        T(test_a_client_that_is_cut_off_frees_the_backend),
        T(test_an_upload_that_stalls_is_answered),
        T(test_a_head_that_stalls_is_answered),
        T(test_garbage_is_refused_with_one_line),
        T(test_failures_elsewhere_do_not_break_connections),
        T(test_http_1_0),
        T(test_the_page_of_a_wrong_host_has_its_style),
    };
    return cmocka_run_group_tests_name("edge: requests", tests, edge_setup, edge_teardown);
}
