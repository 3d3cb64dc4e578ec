// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: nothing waits for an event that does not come. The client here says no word more than it has to.
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

static char zeros[8 * 1024 * 1024];

// --- room in the connection's buffer

static void sleep_well(struct worker *w)
{
    (void)w;
    usleep(300 * 1000);
}

// What is sent meanwhile is read in one go.
static void *keep_busy(void *e)
{
    edge_on_thread(e, sleep_well);
    return NULL;
}

enum { ANSWERS = 5, LARGE_HEAD = 40 * 1000 };

static bool all_closed(struct h2_client *c)
{
    for (int i = 0; i < ANSWERS; i++)
        if (!h2_seen(c, 2 * i + 1)->closed) return false;
    return true;
}

// Far more heads than there is room for, and no body among them that would make room.
static void test_many_heads_at_once(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t;
    int b[ANSWERS];
    static char head[LARGE_HEAD + 100] = "HTTP/1.1 204 No Content\r\nX-Large: ";
    size_t n = strlen(head);
    memset(head + n, '~', LARGE_HEAD - n);
    strcpy(head + LARGE_HEAD, "\r\n\r\n");
    h2_open(e, &c, 0);
    for (int i = 0; i < ANSWERS; i++) {
        h2_get(&c, "/");
        b[i] = backend_accept(e, RIG_WAIT_MS);
        backend_await(b[i], "\r\n\r\n");
    }
    h2_exchange(&c, 50);
    pthread_create(&t, NULL, keep_busy, e);
    usleep(50 * 1000);
    for (int i = 0; i < ANSWERS; i++) backend_send(b[i], head);
    pthread_join(t, NULL);
    h2_until(&c, all_closed);
    for (int i = 0; i < ANSWERS; i++) {
        assert_int_equal(h2_seen(&c, 2 * i + 1)->status, 204);
        close(b[i]);
    }
    h2_close(&c);
}

static int answer_with(struct edge *e, struct h2_client *c, int32_t *ret_id, size_t n)
{
    char head[128];
    *ret_id = h2_get(c, "/");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    backend_send(b, head);
    backend_send_n(b, zeros, n);
    return b;
}

// Two answers wait for the connection's window. When it opens, the first one fills the buffer with its end;
// the second one has to get its turn although nothing more comes from the client.
static void test_two_that_wait(void **state)
{
    enum { WINDOW = 65535, FIRST = WINDOW + 45000, SECOND = 60000 };
    struct edge *e = *state;
    struct h2_client c;
    int32_t id[2];
    h2_open(e, &c, 1024 * 1024);
    int first = answer_with(e, &c, &id[0], FIRST);
    assert_true(h2_until_bytes(&c, id[0], WINDOW));
    int second = answer_with(e, &c, &id[1], SECOND);
    h2_until_status(&c, id[1]);
    h2_exchange(&c, 100);
    nghttp2_submit_window_update(c.session, NGHTTP2_FLAG_NONE, 0, 1024 * 1024);
    h2_until_closed(&c, id[0]);
    h2_until_closed(&c, id[1]);
    assert_int_equal(h2_seen(&c, id[0])->bytes, FIRST);
    assert_int_equal(h2_seen(&c, id[1])->bytes, SECOND);
    assert_int_equal(h2_seen(&c, id[1])->error, NGHTTP2_NO_ERROR);
    h2_close(&c);
    close(first);
    close(second);
}

// --- the connection's window

static const char *const login[] = {
    ":method",           "GET",    ":scheme",   "https", ":authority", "login.example.com", ":path",
    "/.sallyport/login", "accept", "text/html", NULL
};

static void *swallow(void *arg)
{
    static char buf[256 * 1024];
    const int *task = arg;
    size_t n = 0;
    ssize_t got;
    while (n < (size_t)task[1] && (got = recv(task[0], buf, sizeof buf, 0)) > 0) n += (size_t)got;
    backend_send(task[0], OK_EMPTY);
    return NULL;
}

enum { UPLOADS = 16, UPLOAD = 3 * 1024 * 1024 };

// Bodies that nobody has read yet close the connection's window. It opens again when they are thrown away,
// all or some of them.
static void uploads_broken_off(struct edge *e, int broken_off)
{
    struct h2_client c;
    pthread_t t;
    int32_t id[UPLOADS];
    edge_jobs.hold = true;
    h2_open(e, &c, 0);
    h2_exchange(&c, 50); // our windows are known
    c.body = zeros;
    c.body_n = sizeof zeros;
    c.body_open = true;
    for (int i = 0; i < UPLOADS; i++) id[i] = h2_request_raw_body(&c, login);
    h2_exchange(&c, 200);
    assert_int_equal(nghttp2_session_get_remote_window_size(c.session), 0);
    for (int i = 0; i < broken_off; i++)
        nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, id[i], NGHTTP2_CANCEL);
    h2_exchange(&c, 100);
    c.body_at = 0;
    c.body_n = UPLOAD;
    c.body_open = false;
    int32_t other = h2_request(&c, "POST", "/", (const char *[]){ "content-length: 3145728", NULL }, true);
    int task[2] = { backend_accept(e, RIG_WAIT_MS), UPLOAD };
    pthread_create(&t, NULL, swallow, task);
    h2_until_closed(&c, other);
    assert_int_equal(h2_seen(&c, other)->status, 200);
    pthread_join(t, NULL);
    edge_finish_jobs();
    edge_jobs.hold = false;
    h2_close(&c);
    close(task[0]);
}

static void test_all_uploads_broken_off(void **state)
{
    uploads_broken_off(*state, UPLOADS);
}

static void test_some_uploads_broken_off(void **state)
{
    uploads_broken_off(*state, UPLOADS - 6);
}

// Own pages do not wait for bodies: what still comes of them is not lost to the connection's window.
static void test_unread_bodies(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    h2_open(e, &c, 0);
    c.body = zeros;
    for (int i = 0; i < 40; i++) {
        c.body_at = 0;
        c.body_n = 200 * 1000;
        int32_t id = h2_request(&c, "POST", "/.sallyport/x", NULL, true);
        h2_until_closed(&c, id);
        assert_int_equal(h2_seen(&c, id)->status, 404);
    }
    h2_exchange(&c, 50);
    assert_in_range(nghttp2_session_get_remote_window_size(c.session), LIMIT_H2_CONN_WINDOW / 2,
                    LIMIT_H2_CONN_WINDOW);
    h2_close(&c);
}

// --- clocks

static void expect_alive(struct h2_client *c)
{
    size_t n;
    usleep(1400 * 1000); // longer than a head may take
    h2_frame(c, NGHTTP2_PING, 0, 0, "are you?", 8);
    const uint8_t *pong = h2_await_frame(c, NGHTTP2_PING, &n);
    assert_non_null(pong);
    assert_memory_equal(pong, "are you?", 8);
}

// The clock of a header block that was given up does not run on.
static void test_a_head_that_was_given_up(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static uint8_t head[16000];
    h2_open_raw(e, &c);
    size_t n = h2_hand_made_head(head);
    memset(head + n, 0x80 | 58, sizeof head - n); // user-agent, empty
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, head, sizeof head);
    assert_non_null(h2_await_frame(&c, NGHTTP2_RST_STREAM, &n));
    expect_alive(&c);
    h2_close(&c);
}

// Nor that of trailers whose stream has ended meanwhile.
static void test_trailers_behind_the_answer(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    static const char post[] = "\x83\x87\x84\x01\x0f"
                               "app.example.com";
    size_t n;
    h2_open_raw(e, &c);
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, post, sizeof post - 1);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    h2_frame(&c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x00\x01x", 3);
    usleep(50 * 1000);
    backend_send(b, OK_EMPTY);
    assert_non_null(h2_await_frame(&c, NGHTTP2_RST_STREAM, &n));
    h2_frame(&c, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, "\x01y", 2);
    expect_alive(&c);
    h2_close(&c);
    close(b);
}

// A stream that waits for the gateway is not the client's fault, although something was just put into the
// buffer of a connection that had nothing to say for long.
static void test_the_clock_of_one_that_waits(void **state)
{
    struct edge *e = *state;
    struct h2_client c;
    pthread_t t;
    edge_jobs.hold = true;
    h2_open(e, &c, 0);
    h2_exchange(&c, 100);
    int32_t id = h2_request_raw(&c, login);
    usleep(1850 * 1000);
    pthread_create(&t, NULL, keep_busy, e); // ... until the clock is due: it and the PING meet
    usleep(50 * 1000);
    nghttp2_submit_ping(c.session, NGHTTP2_FLAG_NONE, NULL);
    h2_exchange(&c, 500);
    pthread_join(t, NULL);
    assert_false(h2_seen(&c, id)->closed);
    edge_finish_jobs();
    edge_jobs.hold = false;
    h2_until_closed(&c, id);
    assert_int_equal(h2_seen(&c, id)->status, 503);
    h2_close(&c);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_many_heads_at_once),
        T(test_two_that_wait),
        T(test_all_uploads_broken_off),
        T(test_some_uploads_broken_off),
        T(test_unread_bodies),
        T(test_a_head_that_was_given_up),
        T(test_trailers_behind_the_answer),
        T(test_the_clock_of_one_that_waits),
    };
    return cmocka_run_group_tests_name("HTTP/2: stalls", tests, edge_setup, edge_teardown);
}
