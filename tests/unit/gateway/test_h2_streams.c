// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: requests and answers, several at once, and what happens when one of them breaks off.
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

static void expect_text(struct h2_client *c, int32_t id, const char *text)
{
    if (!strstr(h2_seen(c, id)->fields, text)) fail_msg("no '%s' in '%s'", text, h2_seen(c, id)->fields);
}

static void expect_no_text(struct h2_client *c, int32_t id, const char *text)
{
    if (strstr(h2_seen(c, id)->fields, text)) fail_msg("'%s' in '%s'", text, h2_seen(c, id)->fields);
}

static void test_a_request_and_its_answer(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    const char *fields[] = {
        "cookie: a=1", "cookie: b=2", "x-a: b", "remote-user: root", "te: trailers", NULL
    };
    int32_t id = h2_request(&c, "GET", "/x?y=1", fields, false);
    int b = backend_accept(e, RIG_WAIT_MS);
    const char *head = backend_await(b, "\r\n\r\n");
    assert_non_null(strstr(head, "GET /x?y=1 HTTP/1.1\r\nHost: app.example.com\r\n"));
    assert_non_null(strstr(head, "Cookie: a=1; b=2\r\n"));
    assert_non_null(strstr(head, "x-a: b\r\n"));
    assert_null(strcasestr(head, "\r\nremote-user:"));
    assert_null(strcasestr(head, "\r\nte:"));
    assert_null(strcasestr(head, "transfer-encoding"));
    backend_send(
        b, "HTTP/1.1 201 Created\r\nContent-Length: 4\r\nX-Mixed-Case: Yes\r\nConnection: x-gone, close\r\n"
           "Keep-Alive: 5\r\nX-Gone: 1\r\nUpgrade: h3\r\n\r\nbody");
    h2_until_closed(&c, id);
    assert_int_equal(nghttp2_session_get_remote_settings(c.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
                     e->config->max_streams);
    struct h2_seen *seen = h2_seen(&c, id);
    assert_int_equal(seen->status, 201);
    assert_string_equal(seen->body, "body");
    assert_true(seen->end);
    assert_int_equal(seen->error, 0);
    expect_text(&c, id, "content-length: 4\n");
    expect_text(&c, id, "x-mixed-case: Yes\n");
    expect_no_text(&c, id, "connection:");
    expect_no_text(&c, id, "keep-alive:");
    expect_no_text(&c, id, "x-gone:");
    expect_no_text(&c, id, "upgrade:");
    expect_no_text(&c, id, "transfer-encoding:");
    edge_expect_log(e, "\"event\":\"access\"", "\"protocol\":\"HTTP/2.0\"");
    h2_close(&c);
    close(b);
}

// Answered in another order than asked.
static void test_many_at_once(void **state)
{
    enum { N = 40 };
    struct edge *e = *state;
    struct h2_client c;
    int32_t ids[N];
    int backends[N];
    h2_open(e, &c, 0);
    for (int i = 0; i < N; i++) {
        char path[16];
        snprintf(path, sizeof path, "/%d", i);
        ids[i] = h2_get(&c, path);
        backends[i] = backend_accept(e, RIG_WAIT_MS);
    }
    for (int i = N - 1; i >= 0; i--) {
        char answer[128];
        const char *head = backend_await(backends[i], "\r\n\r\n");
        int which = atoi(head + strlen("GET /"));
        assert_in_range(which, 0, N - 1);
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%03d\r\n0\r\n\r\n", which);
        backend_send(backends[i], answer);
    }
    for (int i = 0; i < N; i++) {
        h2_until_closed(&c, ids[i]);
        assert_int_equal(h2_seen(&c, ids[i])->status, 200);
        assert_int_equal(atoi(h2_seen(&c, ids[i])->body), i);
        expect_no_text(&c, ids[i], "transfer-encoding");
        close(backends[i]);
    }
    assert_int_equal(edge_access_lines(e), N);
    h2_close(&c);
}

static void test_answers_without_a_body(void **state)
{
    static const struct {
        const char *method, *answer, *length;
        int status;
    } cases[] = {
        { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "content-length: 1000\n", 200 },
        { "GET", "HTTP/1.1 204 No Content\r\n\r\n", NULL, 204 },
        { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", "content-length: 77\n", 304 },
        { "GET", OK_EMPTY, "content-length: 0\n", 200 },
        { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL, 200 },
    };
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t id = h2_request(&c, cases[i].method, "/", NULL, false);
        int b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "\r\n\r\n");
        backend_send(b, cases[i].answer);
        h2_until_closed(&c, id);
        assert_int_equal(h2_seen(&c, id)->status, cases[i].status);
        assert_int_equal(h2_seen(&c, id)->bytes, 0);
        assert_int_equal(h2_seen(&c, id)->error, 0);
        if (cases[i].length)
            expect_text(&c, id, cases[i].length);
        else
            expect_no_text(&c, id, "content-length");
        close(b);
    }
    h2_close(&c);
}

static void test_own_pages(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t page = h2_get(&c, "/.sallyport/x");
    int32_t head = h2_request(&c, "HEAD", "/.sallyport/x", NULL, false);
    h2_until_closed(&c, page);
    h2_until_closed(&c, head);
    assert_int_equal(h2_seen(&c, page)->status, 404);
    assert_true(h2_seen(&c, page)->bytes > 10);
    assert_int_equal(h2_seen(&c, head)->status, 404);
    assert_int_equal(h2_seen(&c, head)->bytes, 0);
    h2_close(&c);
}

// The backend need not go on working, and the other streams do not notice.
static void test_a_cancelled_request_frees_its_backend(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t cancelled = h2_get(&c, "/a"), other;
    int a = backend_accept(e, RIG_WAIT_MS);
    backend_await(a, "\r\n\r\n");
    backend_send(a, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome");
    assert_true(h2_until_bytes(&c, cancelled, 4));
    other = h2_get(&c, "/b");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, cancelled, NGHTTP2_CANCEL);
    h2_exchange(&c, 50);
    assert_true(backend_is_closed(a));
    edge_expect_log(e, "\"path\":\"/a\"", "client.gone");
    backend_send(b, OK_EMPTY);
    h2_until_closed(&c, other);
    assert_int_equal(h2_seen(&c, other)->status, 200);
    h2_close(&c);
    close(a);
    close(b);
}

static void test_a_cancelled_request_that_was_not_answered(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/a");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    h2_exchange(&c, 50);
    assert_true(backend_is_closed(b));
    edge_expect_log(e, "\"status\":0", "client.gone");
    h2_close(&c);
    close(b);
}

static void test_the_client_goes_away(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    h2_get(&c, "/a");
    h2_get(&c, "/b");
    int a = backend_accept(e, RIG_WAIT_MS), b = backend_accept(e, RIG_WAIT_MS);
    backend_await(a, "\r\n\r\n");
    backend_await(b, "\r\n\r\n");
    h2_close(&c);
    assert_true(backend_is_closed(a));
    assert_true(backend_is_closed(b));
    edge_expect_log(e, "\"path\":\"/a\"", "client.gone");
    edge_expect_log(e, "\"path\":\"/b\"", "client.gone");
    assert_int_equal(edge_access_lines(e), 2);
    close(a);
    close(b);
}

// The client must not take half an answer for a whole one.
static void test_a_backend_breaks_off(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/a");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome");
    assert_true(h2_until_bytes(&c, id, 4));
    close(b);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->error, NGHTTP2_INTERNAL_ERROR);
    assert_false(h2_seen(&c, id)->end);
    edge_expect_log(e, "\"event\":\"access\"", "proxy.reset");
    id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 404);
    h2_close(&c);
}

static void test_a_backend_that_is_not_there(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    const char *fields[] = { ":method",          "GET",   ":scheme", "https", ":authority",
                             "dead.example.com", ":path", "/",       NULL };
    int32_t id = h2_request_raw(&c, fields);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 502);
    assert_int_equal(h2_seen(&c, id)->error, 0);
    h2_close(&c);
}

// More fields than one frame holds.
static void test_a_large_answer_head(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static char head[64 * 1024];
    char *p = head + sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n");
    for (int i = 0; i < 40; i++) p += sprintf(p, "X-%d: %01000d\r\n", i, i);
    strcpy(p, "\r\nok");
    h2_open(e, &c, 0);
    int32_t id = h2_get(&c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, head);
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 200);
    assert_string_equal(h2_seen(&c, id)->body, "ok");
    h2_close(&c);
    close(b);
}

static const char *const login[] = {
    ":method",           "GET",    ":scheme",   "https", ":authority", "login.example.com", ":path",
    "/.sallyport/login", "accept", "text/html", NULL
};

static void await_jobs(size_t n)
{
    for (int i = 0; i < 100 && edge_jobs.n < n; i++) usleep(10 * 1000);
    assert_int_equal(edge_jobs.n, n);
}

// A request that is broken off while another thread works for it counts until that is done: else a client
// could have any number of them at work.
static void test_work_that_outlives_its_request_counts(void **state)
{
    enum { N = 10 };
    struct edge *e = *state;
    struct h2_client c;
    int64_t before = e->config->max_streams;
    e->config->max_streams = N;
    edge_jobs.hold = true;
    h2_open(e, &c, 0);
    for (int i = 0; i < N; i++) {
        int32_t id = h2_request_raw(&c, login);
        await_jobs((size_t)i + 1);
        nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        h2_exchange(&c, 10);
    }
    int32_t id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->error, NGHTTP2_REFUSED_STREAM);
    edge_expect_log(e, "\"event\":\"http2.stream\"", "too many requests are at work");
    edge_finish_jobs();
    h2_exchange(&c, 50);
    id = h2_get(&c, "/.sallyport/x");
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 404);
    h2_close(&c);
    assert_int_equal(edge_log_lines(e, "client.gone"), N); // one line each
    edge_jobs.hold = false;
    e->config->max_streams = before;
}

static void test_work_that_outlives_its_connection(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    edge_jobs.hold = true;
    h2_open(e, &c, 0);
    h2_request_raw(&c, login);
    int32_t cancelled = h2_request_raw(&c, login);
    await_jobs(2);
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, cancelled, NGHTTP2_CANCEL);
    h2_exchange(&c, 50);
    h2_close(&c);
    usleep(100 * 1000);
    edge_finish_jobs();
    edge_jobs.hold = false;
    assert_int_equal(edge_access_lines(e), 2);
}

static void test_work_that_comes_back(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    edge_jobs.hold = true;
    h2_open(e, &c, 0);
    int32_t id = h2_request_raw(&c, login);
    await_jobs(1);
    edge_finish_jobs();
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 503);
    edge_jobs.hold = false;
    h2_close(&c);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_request_and_its_answer),
        T(test_many_at_once),
        T(test_answers_without_a_body),
        T(test_own_pages),
        T(test_a_cancelled_request_frees_its_backend),
        T(test_a_cancelled_request_that_was_not_answered),
        T(test_the_client_goes_away),
        T(test_a_backend_breaks_off),
        T(test_a_backend_that_is_not_there),
        T(test_a_large_answer_head),
        T(test_work_that_outlives_its_request_counts),
        T(test_work_that_outlives_its_connection),
        T(test_work_that_comes_back),
    };
    return cmocka_run_group_tests_name("HTTP/2: streams", tests, edge_setup, edge_teardown);
}
