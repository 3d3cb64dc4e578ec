// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: bodies in both directions, and whoever is slow makes the other side wait.
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/edge/h2.h"
#include "gateway/edge/upstream.h"

enum { BIG = 3 * 1024 * 1024 };

static char *pattern(void)
{
    static char p[BIG];
    for (uint32_t i = 0; i < BIG / 4; i++) memcpy(p + (size_t)i * 4, &i, 4);
    return p;
}

static uint32_t sum_of(const char *p, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum = sum * 31 + (uint8_t)p[i];
    return sum;
}

static void *send_big(void *arg)
{
    int fd = *(int *)arg;
    backend_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n");
    backend_send_n(fd, pattern(), BIG);
    return NULL;
}

static void test_a_big_answer(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    pthread_create(&t, NULL, send_big, &b);
    h2_until_closed(&c, id);
    pthread_join(t, NULL);
    assert_int_equal(h2_seen(&c, id)->bytes, BIG);
    assert_true(h2_seen(&c, id)->sum == sum_of(pattern(), BIG));
    h2_close(&c);
    close(b);
}

// Both take turns: neither has to wait for the other's end.
static void test_two_big_answers_share_the_connection(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t[2];
    int b[2];
    int32_t id[2];
    h2_open(e, &c, 65535);
    for (int i = 0; i < 2; i++) {
        id[i] = h2_get(&c, "/");
        b[i] = backend_accept(e, RIG_WAIT_MS);
        backend_await(b[i], "\r\n\r\n");
        pthread_create(&t[i], NULL, send_big, &b[i]);
    }
    while (!h2_seen(&c, id[0])->closed || !h2_seen(&c, id[1])->closed) {
        size_t bytes[2] = { h2_seen(&c, id[0])->bytes, h2_seen(&c, id[1])->bytes };
        h2_exchange(&c, 20);
        size_t more[2] = { h2_seen(&c, id[0])->bytes - bytes[0], h2_seen(&c, id[1])->bytes - bytes[1] };
        if (more[0] + more[1] == 0) fail_msg("nothing comes any more after %zu and %zu", bytes[0], bytes[1]);
        for (int i = 0; i < 2; i++) {
            if (more[i] && !h2_seen(&c, id[i])->closed)
                nghttp2_session_consume_stream(c.session, id[i], more[i]);
            nghttp2_session_consume_connection(c.session, more[i]);
        }
        // The backends are threads: exactly the same is not to be expected.
        for (int i = 0; i < 2; i++)
            if (h2_seen(&c, id[i])->closed && h2_seen(&c, id[1 - i])->bytes < BIG / 2)
                fail_msg("%zu and %zu bytes", h2_seen(&c, id[0])->bytes, h2_seen(&c, id[1])->bytes);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
        assert_true(h2_seen(&c, id[i])->sum == sum_of(pattern(), BIG));
        close(b[i]);
    }
    h2_close(&c);
}

// A client that gives no window: the backend is held back, the stream is cut off, the connection goes on.
static void test_a_stream_that_nobody_reads_is_reset(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static char zeros[64 * 1024];
    h2_open(e, &c, 10000);
    int32_t id = h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    size_t sent = 0;
    struct timeval brief = { .tv_usec = 300000 };
    setsockopt(b, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
    while (send(b, zeros, sizeof zeros, MSG_NOSIGNAL) > 0 && sent < 1000000000) sent += sizeof zeros;
    assert_true(sent < 20000000); // the backend was held back
    int32_t other = h2_request(&c, "HEAD", "/.sallyport/x", NULL, false);
    h2_until_closed(&c, other);
    assert_int_equal(h2_seen(&c, other)->status, 404);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->bytes, 10000);
    assert_int_equal(h2_seen(&c, id)->error, NGHTTP2_CANCEL);
    edge_expect_log(e, "\"bytes\":10000", "http.timeout");
    assert_true(backend_is_closed(b));
    other = h2_request(&c, "HEAD", "/.sallyport/x", NULL, false);
    h2_until_closed(&c, other);
    assert_int_equal(h2_seen(&c, other)->status, 404);
    h2_close(&c);
    close(b);
}

static size_t held; // bytes of answers that wait for the client

static void count_held(struct worker *w)
{
    held = 0;
    const struct h2 *h = w->conns->h2;
    for (struct h2_link *l = h->streams.next; l != &h->streams; l = l->next) {
        const struct exchange *x = container_of(l, struct h2_stream, all)->x;
        if (x && x->upstream) held += buffer_used(&x->upstream->in);
    }
}

// Many streams that nobody reads: of each, hardly more than its head is fetched from the backend.
static void test_streams_that_nobody_reads_hold_little(void **state)
{
    struct edge *e = *state;
    enum { STREAMS = 20 };
    static char zeros[128 * 1024];
    struct h2_client c;
    int b[STREAMS];
    h2_open(e, &c, 1000);
    for (int i = 0; i < STREAMS; i++) {
        h2_get(&c, "/");
        b[i] = backend_accept(e, RIG_WAIT_MS);
        backend_await(b[i], "\r\n\r\n");
        backend_send(b[i], "HTTP/1.1 200 OK\r\nContent-Length: 131072\r\n\r\n");
        backend_send_n(b[i], zeros, sizeof zeros);
    }
    usleep(200 * 1000);
    edge_on_thread(e, count_held);
    assert_in_range(held, STREAMS, STREAMS * 4096);
    h2_close(&c);
    for (int i = 0; i < STREAMS; i++) close(b[i]);
}

// A client that reads nothing at all: nothing is read from it either, and in the end it is cut off.
static void test_a_connection_that_nobody_reads_is_cut_off(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static char zeros[64 * 1024];
    h2_open(e, &c, 0x7fffffff);
    nghttp2_session_set_local_window_size(c.session, NGHTTP2_FLAG_NONE, 0, 0x7fffffff);
    h2_exchange(&c, 50);
    h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    size_t sent = 0;
    while (send(b, zeros, sizeof zeros, MSG_NOSIGNAL) > 0 && sent < 1000000000) sent += sizeof zeros;
    assert_true(sent < 50000000);
    edge_expect_log(e, "\"event\":\"access\"", "http.timeout");
    assert_true(backend_is_closed(b));
    h2_close(&c);
    close(b);
}

static void *swallow(void *arg)
{
    int fd = *(int *)arg;
    static char buf[8 * BIG];
    size_t n = 0;
    usleep(300 * 1000); // the windows are full by then
    for (ssize_t got; (got = recv(fd, buf + n, sizeof buf - n, 0)) > 0;) {
        n += (size_t)got;
        if (memmem(buf + n - (size_t)got, (size_t)got, "\r\n0\r\n\r\n", 7)) break;
        char *body = memmem(buf, n, "\r\n\r\n", 4);
        if (body && memmem(buf, n, "Content-Length", 14) && buf + n - body == BIG + 4) break;
    }
    backend_send(fd, OK_EMPTY);
    return NULL;
}

static void upload(struct edge *e, const char *const *fields, const char *framing)
{
    struct h2_client c;
    pthread_t t;
    h2_open(e, &c, 0);
    c.body = pattern();
    c.body_n = BIG;
    int32_t id = h2_request(&c, "POST", "/", fields, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    char start[4096] = "";
    recv(b, start, sizeof start - 1, MSG_PEEK);
    assert_non_null(strstr(start, framing));
    pthread_create(&t, NULL, swallow, &b);
    h2_until_closed(&c, id);
    pthread_join(t, NULL);
    assert_int_equal(h2_seen(&c, id)->status, 200);
    assert_int_equal(c.body_at, BIG);
    h2_close(&c);
    close(b);
}

static void test_uploads(void **state)
{
    const char *length[] = { "content-length: 3145728", NULL };
    upload(*state, length, "Content-Length: 3145728\r\n");
    upload(*state, NULL, "Transfer-Encoding: chunked\r\n");
}

static void test_an_upload_arrives_as_it_was_sent(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body = pattern();
    c.body_n = 100000;
    const char *length[] = { "content-length: 100000", NULL };
    int32_t id = h2_request(&c, "PUT", "/", length, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    h2_exchange(&c, 100);
    static char in[200000];
    size_t n = 0;
    char *body;
    while (!(body = memmem(in, n, "\r\n\r\n", 4)) || in + n < body + 4 + 100000) {
        ssize_t got = recv(b, in + n, sizeof in - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_memory_equal(body + 4, pattern(), 100000);
    backend_send(b, OK_EMPTY);
    h2_until_closed(&c, id);
    h2_close(&c);
    close(b);
}

// A backend that takes nothing: the client may send one window, and other uploads go on.
static void test_a_stalled_upload_stops_no_other(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t;
    h2_open(e, &c, 0);
    c.body = pattern();
    c.body_n = BIG;
    h2_request(&c, "POST", "/", NULL, true);
    int stalled = backend_accept(e, RIG_WAIT_MS);
    int small = 4096;
    setsockopt(stalled, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    h2_exchange(&c, 200);
    size_t taken = c.body_at;
    c.body_at = 0;
    c.body_n = BIG - taken;
    assert_true(taken < BIG);
    int32_t id = h2_request(&c, "POST", "/", NULL, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    c.body_at = 0;
    c.body_n = BIG;
    pthread_create(&t, NULL, swallow, &b);
    h2_until_closed(&c, id);
    pthread_join(t, NULL);
    assert_int_equal(h2_seen(&c, id)->status, 200);
    h2_close(&c);
    close(b);
    close(stalled);
}

// RFC 9113 section 8.1: the answer counts, and the connection goes on.
static void test_an_answer_before_the_body_has_come(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body = pattern();
    c.body_n = 1000;
    c.body_open = true;
    int32_t id = h2_request(&c, "POST", "/", NULL, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 413);
    assert_string_equal(h2_seen(&c, id)->body, "large");
    assert_true(h2_seen(&c, id)->end);
    assert_int_equal(h2_seen(&c, id)->error, NGHTTP2_NO_ERROR);
    edge_expect_log(e, "\"status\":413", "\"bytes\":5");
    int32_t other = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, other);
    assert_int_equal(h2_seen(&c, other)->status, 404);
    assert_int_equal(c.goaways, 0);
    h2_close(&c);
    close(b);
}

static void test_expect_continue(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body = "";
    c.body_open = true;
    const char *fields[] = { "expect: 100-continue", "content-length: 4", NULL };
    int32_t id = h2_request(&c, "POST", "/", fields, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    h2_exchange(&c, 100);
    assert_int_equal(h2_seen(&c, id)->interim, 1);
    assert_int_equal(h2_seen(&c, id)->status, 100);
    c.body = "body";
    c.body_n = 4;
    c.body_open = false;
    nghttp2_session_resume_data(c.session, id);
    h2_exchange(&c, 50);
    assert_null(strcasestr(backend_await(b, "body"), "\r\nexpect:"));
    backend_send(b, OK_EMPTY);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 200);
    assert_int_equal(h2_seen(&c, id)->interim, 1);
    h2_close(&c);
    close(b);
}

// An answer that needs no body asks for none.
static void test_no_continue_for_a_refusal(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body_open = true;
    const char *fields[] = {
        ":method", "POST",          ":scheme", "https",        ":authority", "app.example.com",
        ":path",   "/.sallyport/x", "expect",  "100-continue", NULL
    };
    int32_t id = h2_request_raw(&c, fields);
    h2_until_status(&c, id);
    assert_int_equal(h2_seen(&c, id)->interim, 0);
    h2_close(&c);
}

static void test_a_body_that_does_not_come(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body = "";
    c.body_open = true;
    int32_t id = h2_request(&c, "POST", "/", NULL, true);
    int b = backend_accept(e, RIG_WAIT_MS);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 408);
    edge_expect_log(e, "\"status\":408", "http.timeout");
    assert_true(backend_is_closed(b));
    h2_close(&c);
    close(b);
}

// nghttp2 resets the stream; the exchange learns of it and the log says why.
static void test_a_body_of_the_wrong_length(void **state)
{
    struct edge *e = *state;
    const char *lengths[] = { "content-length: 10", "content-length: 2" };
    for (int i = 0; i < 2; i++) {
        struct h2_client c;
        const char *fields[] = { lengths[i], NULL };
        h2_open(e, &c, 0);
        edge_test_begin(state);
        c.body = "body";
        c.body_n = 4;
        int32_t id = h2_request(&c, "POST", "/", fields, true);
        h2_until_closed(&c, id);
        assert_int_equal(h2_seen(&c, id)->error, NGHTTP2_PROTOCOL_ERROR);
        edge_expect_log(e, "\"event\":\"access\"", "http.content_length");
        assert_int_equal(edge_access_lines(e), 1);
        h2_close(&c);
    }
}

static ssize_t no_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
    (void)buf;
    (void)n;
    (void)source;
    (void)arg;
    nghttp2_nv nv = { (uint8_t *)"x-trailer", (uint8_t *)"1", 9, 1, 0 };
    *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(s, id, &nv, 1);
    return 0;
}

static void test_trailers_are_dropped(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    nghttp2_nv nv[] = { { (uint8_t *)":method", (uint8_t *)"POST", 7, 4, 0 },
                        { (uint8_t *)":scheme", (uint8_t *)"https", 7, 5, 0 },
                        { (uint8_t *)":authority", (uint8_t *)"app.example.com", 10, 15, 0 },
                        { (uint8_t *)":path", (uint8_t *)"/", 5, 1, 0 } };
    nghttp2_data_provider source = { .read_callback = no_body };
    int32_t id = nghttp2_submit_request(c.session, NULL, nv, 4, &source, NULL);
    h2_exchange(&c, 50);
    int b = backend_accept(e, RIG_WAIT_MS);
    assert_null(strstr(backend_await(b, "0\r\n\r\n"), "railer"));
    backend_send(b, OK_EMPTY);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 200);
    h2_close(&c);
    close(b);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_big_answer),
        T(test_two_big_answers_share_the_connection),
        T(test_a_stream_that_nobody_reads_is_reset),
        T(test_streams_that_nobody_reads_hold_little),
        T(test_a_connection_that_nobody_reads_is_cut_off),
        T(test_uploads),
        T(test_an_upload_arrives_as_it_was_sent),
        T(test_a_stalled_upload_stops_no_other),
        T(test_an_answer_before_the_body_has_come),
        T(test_expect_continue),
        T(test_no_continue_for_a_refusal),
        T(test_a_body_that_does_not_come),
        T(test_a_body_of_the_wrong_length),
        T(test_trailers_are_dropped),
    };
    return cmocka_run_group_tests_name("HTTP/2: bodies", tests, edge_setup, edge_teardown);
}
