// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: how connections end, by themselves, by the clock, and with the worker.
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

static void expect_goaway(struct h2_client *c, uint32_t error)
{
    size_t n;
    const uint8_t *goaway = h2_await_frame(c, NGHTTP2_GOAWAY, &n);
    assert_non_null(goaway);
    assert_int_equal(goaway[7], error);
    while (h2_await_frame(c, 0xff, &n)) {
    }
    assert_true(c->ended);
}

static void test_a_preface_that_never_comes(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c); // without a request it is as silent
    expect_goaway(&c, NGHTTP2_NO_ERROR);
    h2_close(&c);
    assert_int_equal(edge_access_lines(e), 0);
}

static void test_another_protocol(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    h2_frame(&c, 0x47, 0x45, 0x54202f20, "HTTP/1.1\r\n\r\n", 12);
    h2_close(&c);
    static const char text[] = "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n";
    h2_open_raw(e, &c);
    SSL_write(c.ssl, text, sizeof text - 1);
    size_t n;
    while (h2_await_frame(&c, 0xff, &n)) {
    }
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http2.protocol");
    h2_close(&c);
}

static void test_an_idle_connection_ends(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    h2_until_ended(&c);
    assert_int_equal(c.goaways, 1);
    assert_int_equal(c.goaway_error, NGHTTP2_NO_ERROR);
    assert_int_equal(c.goaway_last, id);
    h2_close(&c);
}

static void test_a_head_that_comes_slowly(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82", 1);
    for (int i = 0; i < 6 && !c.ended; i++) { // each byte in time, the whole not
        usleep(250 * 1000);
        h2_frame(&c, NGHTTP2_CONTINUATION, 0, 1, i ? "" : "\x87", i ? 0 : 1);
    }
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http.timeout");
    expect_goaway(&c, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(edge_access_lines(e), 0);
    h2_close(&c);
}

static void test_frames_that_make_no_sense(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_DATA, 0, 0, "x", 1); // DATA on stream 0
    expect_goaway(&c, NGHTTP2_PROTOCOL_ERROR);
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http2.protocol");
    h2_close(&c);
}

static void test_a_broken_header_block(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, 1,
             "\xff\xff\xff\xff\xff", 5);
    expect_goaway(&c, NGHTTP2_COMPRESSION_ERROR);
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http2.protocol");
    h2_close(&c);
}

static void test_more_than_the_window(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static const char post[] = "\x83\x87\x84\x01\x0f"
                               "app.example.com";
    static char data[16384];
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, post, sizeof post - 1);
    int b = backend_accept(e, RIG_WAIT_MS); // takes what its socket takes, then nothing
    int small = 4096;
    setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 1000 && !c.ended; i++) h2_frame(&c, NGHTTP2_DATA, 0, 1, data, sizeof data);
    edge_expect_log(e, "\"event\":\"access\"", "FLOW_CONTROL_ERROR");
    assert_true(backend_is_closed(b));
    h2_close(&c);
    close(b);
}

// The answer is over, but there is no window for its end: the stream stays, the connection does not.
static void test_an_end_that_cannot_be_said(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 4);
    int32_t id = h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    edge_expect_log(e, "\"event\":\"access\"", "\"bytes\":4");
    usleep(4500 * 1000); // idle, and the time for last words
    h2_until_ended(&c);
    assert_int_equal(h2_seen(&c, id)->bytes, 4);
    assert_false(h2_seen(&c, id)->end);
    h2_close(&c);
    close(b);
}

// The client's own goodbye: what is under way is finished.
static void test_the_client_says_goodbye(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    nghttp2_submit_goaway(c.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    h2_exchange(&c, 50);
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    h2_until_closed(&c, id);
    assert_string_equal(h2_seen(&c, id)->body, "last");
    h2_until_ended(&c);
    h2_close(&c);
    close(b);
}

// --- the end of a worker: each of these has one of its own

static bool got_goaway(struct h2_client *c)
{
    return c->goaways > 0;
}

static bool got_both(struct h2_client *c)
{
    return c->goaways > 1;
}

static void test_drain_finishes_what_is_under_way(void **state)
{
    struct edge *e = *state;
    struct h2_client busy, idle;
    h2_open(e, &idle, 0);
    h2_open(e, &busy, 0);
    int32_t id = h2_get(&busy, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    edge_drain(e);
    h2_until(&busy, got_goaway);
    assert_int_equal(busy.goaway_last, 0x7fffffff); // first only: send no more
    h2_until(&busy, got_both);
    assert_int_equal(busy.goaway_last, id);
    assert_int_equal(busy.goaway_error, NGHTTP2_NO_ERROR);
    h2_until_ended(&idle);
    assert_false(edge_ended(e, 100));
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    h2_until_closed(&busy, id);
    assert_string_equal(h2_seen(&busy, id)->body, "last");
    h2_until_ended(&busy);
    h2_close(&busy);
    h2_close(&idle);
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

// Sent before the client could know: it is answered.
static void test_drain_answers_what_is_on_its_way(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    pthread_create(&t, NULL, hold, e);
    usleep(50 * 1000);
    edge_drain(e);
    id = h2_get(&c, "/.sallyport/x");
    pthread_join(t, NULL);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 404);
    h2_until_ended(&c);
    assert_true(edge_ended(e, 3000));
    h2_close(&c);
}

static void test_drain_does_not_wait_for_the_silent(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    edge_drain(e);
    assert_true(edge_ended(e, 4000));
    h2_close(&c);
}

static void test_stopped_in_the_middle(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    worker_stop(e->worker);
    assert_true(edge_ended(e, 3000));
    worker_close(e->worker); // what is left is closed and logged
    edge_expect_log(e, "\"event\":\"access\"", "draining");
    assert_true(backend_is_closed(b));
    h2_close(&c);
    close(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, edge_setup, edge_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_preface_that_never_comes),
        T(test_another_protocol),
        T(test_an_idle_connection_ends),
        T(test_a_head_that_comes_slowly),
        T(test_frames_that_make_no_sense),
        T(test_a_broken_header_block),
        T(test_more_than_the_window),
        T(test_an_end_that_cannot_be_said),
        T(test_the_client_says_goodbye),
        T(test_drain_finishes_what_is_under_way),
        T(test_drain_answers_what_is_on_its_way),
        T(test_drain_does_not_wait_for_the_silent),
        T(test_stopped_in_the_middle),
    };
    return cmocka_run_group_tests_name("HTTP/2: the end", tests, NULL, NULL);
}
