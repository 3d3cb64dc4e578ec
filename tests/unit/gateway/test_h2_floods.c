// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: what a client may cost beside its requests is bounded, and whoever is merely busy does not meet the
// bounds.
#include "gateway/edge/h2.h"
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

// --- the buckets, without a connection

static void test_bursts_are_allowed_and_floods_are_not(void **state)
{
    (void)state;
    struct h2_guard g = { 0 };
    int n = 0;
    while (h2_guard_frame(&g, 1000)) n++;
    assert_int_equal(n, LIMIT_H2_FRAMES_BURST);
    n = 0;
    while (h2_guard_frame(&g, 2000)) n++;
    assert_in_range(n, LIMIT_H2_FRAMES_PER_SECOND - 2, LIMIT_H2_FRAMES_PER_SECOND);
    n = 0;
    while (h2_guard_reset(&g, 1000)) n++;
    assert_int_equal(n, LIMIT_H2_RESETS_BURST);
}

static void test_a_steady_client_never_overflows(void **state)
{
    (void)state;
    struct h2_guard g = { 0 };
    for (int64_t ms = 0; ms < 100000; ms += 1000 / LIMIT_H2_FRAMES_PER_SECOND)
        assert_true(h2_guard_frame(&g, ms));
}

// A download at any speed brings window updates with it; one byte at a time earns none.
static void test_bodies_earn_frames(void **state)
{
    (void)state;
    struct h2_guard g = { 0 };
    for (int i = 0; i < 100000; i++) {
        h2_guard_moved(&g, LIMIT_H2_FRAME_PER_BYTES);
        assert_true(h2_guard_frame(&g, 1));
    }
    int n = 0;
    for (; h2_guard_frame(&g, 1); n++) h2_guard_moved(&g, 1);
    assert_true(n < LIMIT_H2_FRAMES_BURST + 3);
}

// --- connections

static void expect_calm(struct edge *e, struct h2_client *c, const char *detail)
{
    size_t n;
    const uint8_t *goaway = h2_await_frame(c, NGHTTP2_GOAWAY, &n);
    assert_non_null(goaway);
    assert_int_equal(goaway[7], NGHTTP2_ENHANCE_YOUR_CALM);
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http2.flood");
    edge_expect_log(e, "\"event\":\"http2.connection\"", detail);
    assert_int_equal(edge_log_lines(e, "http2.connection"), 1);
    while (h2_await_frame(c, 0xff, &n)) {
    }
    assert_true(c->ended);
    h2_close(c);
}

static void flood(struct edge *e, uint8_t type, uint32_t id, const char *payload, size_t n)
{
    struct h2_client c;
    h2_open_raw(e, &c);
    for (int i = 0; i < LIMIT_H2_FRAMES_BURST + 1000 && !c.ended; i++) h2_frame(&c, type, 0, id, payload, n);
    expect_calm(e, &c, "frames that bring nothing");
}

static void test_settings(void **state)
{
    flood(*state, NGHTTP2_SETTINGS, 0, NULL, 0);
}

static void test_pings(void **state)
{
    flood(*state, NGHTTP2_PING, 0, "12345678", 8);
}

static void test_priorities(void **state)
{
    flood(*state, NGHTTP2_PRIORITY, 5, "\0\0\0\0\x10", 5);
}

static void test_window_updates(void **state)
{
    flood(*state, NGHTTP2_WINDOW_UPDATE, 0, "\0\0\0\1", 4);
}

static void test_unknown_frames(void **state)
{
    flood(*state, 0xEE, 0, "", 0);
}

static void test_empty_data(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static const char post[] = "\x83\x87\x84\x01\x0f"
                               "app.example.com";
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, post, sizeof post - 1);
    int b = backend_accept(e, RIG_WAIT_MS);
    // padding alone is as empty
    for (int i = 0; i < 2 * LIMIT_H2_FRAMES_BURST && !c.ended; i++)
        h2_frame(&c, NGHTTP2_DATA, i % 2 ? NGHTTP2_FLAG_PADDED : 0, 1, "\3\0\0\0", i % 2 ? 4 : 0);
    expect_calm(e, &c, "frames that bring nothing");
    edge_expect_log(e, "\"event\":\"access\"", "http2.flood");
    assert_true(backend_is_closed(b));
    close(b);
}

static const char get[] = "\x82\x87\x84\x01\x0f"
                          "app.example.com";

static int count_backends(struct edge *e)
{
    int n = 0;
    for (int b; (b = backend_accept(e, 100)) >= 0; n++) close(b);
    return n;
}

// CVE-2023-44487. What is cancelled in the same breath never reaches a backend.
static void test_rapid_reset(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    for (uint32_t i = 0; i < 2 * LIMIT_H2_RESETS_BURST && !c.ended; i++) {
        h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2 * i + 1, get,
                 sizeof get - 1);
        h2_frame(&c, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
    }
    expect_calm(e, &c, "the client has broken off");
    assert_true(count_backends(e) <= LIMIT_H2_RESETS_BURST + 1);
}

// CVE-2025-8671: the client makes the gateway reset the streams, here by a window that overflows.
static void test_resets_that_the_client_provokes(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    for (uint32_t i = 0; i < 2 * LIMIT_H2_RESETS_BURST && !c.ended; i++) {
        h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, get, sizeof get - 1);
        h2_frame(&c, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
    }
    expect_calm(e, &c, "the gateway has broken off");
    assert_true(count_backends(e) <= LIMIT_H2_RESETS_BURST + 1);
}

static void test_wrong_requests_without_end(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    // content-length: 5 and no body
    static const char wrong[] = "\x82\x87\x84\x01\x0f"
                                "app.example.com\x0f\x0d\x01"
                                "5";
    h2_open_raw(e, &c);
    for (uint32_t i = 0; i < 2 * LIMIT_H2_RESETS_BURST && !c.ended; i++)
        h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2 * i + 1, wrong,
                 sizeof wrong - 1);
    expect_calm(e, &c, "the gateway has broken off");
}

static void test_continuations(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, get, sizeof get - 1);
    for (int i = 0; i < 100 && !c.ended; i++) h2_frame(&c, NGHTTP2_CONTINUATION, 0, 1, "", 0);
    edge_expect_log(e, "\"event\":\"http2.connection\"", "http2.flood");
    size_t n;
    while (h2_await_frame(&c, 0xff, &n)) {
    }
    h2_close(&c);
}

static void test_a_client_that_is_busy_is_no_flood(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    for (int i = 0; i < H2_STREAMS - 10; i++) {
        int32_t id = h2_get(&c, "/.sallyport/x");
        nghttp2_submit_ping(c.session, NGHTTP2_FLAG_NONE, NULL);
        nghttp2_submit_window_update(c.session, NGHTTP2_FLAG_NONE, 0, 1);
        h2_until_closed(&c, id);
        assert_int_equal(h2_seen(&c, id)->status, 404);
    }
    assert_int_equal(c.goaways, 0);
    h2_close(&c);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bursts_are_allowed_and_floods_are_not),
        cmocka_unit_test(test_a_steady_client_never_overflows),
        cmocka_unit_test(test_bodies_earn_frames),
        T(test_settings),
        T(test_pings),
        T(test_priorities),
        T(test_window_updates),
        T(test_unknown_frames),
        T(test_empty_data),
        T(test_rapid_reset),
        T(test_resets_that_the_client_provokes),
        T(test_wrong_requests_without_end),
        T(test_continuations),
        T(test_a_client_that_is_busy_is_no_flood),
    };
    return cmocka_run_group_tests_name("HTTP/2: floods", tests, edge_setup, edge_teardown);
}
