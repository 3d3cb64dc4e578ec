// SPDX-License-Identifier: GPL-3.0-or-later
// WebSocket tunnels and event streams: who gets one, what travels in it, how it ends.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASK                                                                                                  \
    "GET /ws HTTP/1.1\r\n" HOST_APP "Connection: Upgrade\r\nUpgrade: websocket\r\n"                          \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
#define YES                                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                      \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-App: 1\r\n\r\n"

// Both ends of a tunnel.
static int open_tunnel(struct edge *e, struct client *c)
{
    int b = ask_and_answer(e, c, ASK "\r\n", YES);
    client_expect(c, "HTTP/1.1 101 ");
    client_expect(c, "\r\n\r\n");
    return b;
}

static void test_handshake_passes(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, ASK "Origin: https://app.example.com\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    const char *head = backend_await(b, "\r\n\r\n");
    assert_non_null(strstr(head, "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Protocol: chat\r\n"));
    assert_non_null(strstr(head, "\r\nX-Forwarded-Proto: https\r\n"));
    backend_send(b, YES);
    client_expect(&c, "\r\n\r\n");
    assert_non_null(strstr(c.in, "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(c.in, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(c.in, "\r\nX-App: 1\r\n"));
    assert_null(strstr(c.in, "Transfer-Encoding"));
    close(b);
    client_read_to_end(&c);
    client_close(&c);
    edge_expect_log(e, "\"status\":101", "\"path\":\"/ws\"");
}

// Bytes that look like HTTP are just bytes, whichever way they go and however they are cut.
static void test_bytes_travel_as_they_are(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = open_tunnel(e, &c);
    client_forget(&c);
    client_send(&c, GET_APP);
    backend_await(b, "\r\n\r\n");
    backend_send(b, "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    client_expect(&c, "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        client_forget(&c);
        client_send(&c, "ping;");
        backend_await(b, ";");
        backend_send(b, "pong;");
        client_expect(&c, "pong;");
    }
    assert_int_equal(edge_access_lines(e), 0);
    client_close(&c);
    assert_true(backend_is_closed(b));
    close(b);
    // What was said is nobody's business: the buffer of the request's head is the tunnel's now.
    edge_expect_log(e, "\"status\":101", "\"path\":\"/ws\"");
}

enum { BIG = 2 * 1024 * 1024 };
static char big[BIG];

static void *send_big(void *fd)
{
    backend_send_n(*(int *)fd, big, BIG);
    return NULL;
}

// Much more than all buffers, to a reader that begins late; and the other way meanwhile.
static void test_big_messages_both_ways(void **state)
{
    struct edge *e = *state;
    struct client c;
    for (size_t i = 0; i < BIG; i++) big[i] = (char)('a' + i % 23);
    client_open_small(e, &c);
    client_send(&c, ASK "\r\n");
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, YES);
    client_expect(&c, "HTTP/1.1 101 ");
    client_expect(&c, "\r\n\r\n");
    client_forget(&c);
    pthread_t thread;
    pthread_create(&thread, NULL, send_big, &b);
    usleep(200 * 1000);
    client_send(&c, "still heard;");
    backend_await(b, "still heard;");
    client_await_bytes(&c, BIG);
    assert_memory_equal(c.in, big, BIG);
    pthread_join(thread, NULL);
    close(b);
    client_close(&c);
}

// Longer silence than every timeout of ordinary requests (all of them are 1 or 2 seconds here).
static void test_silence_is_no_failure(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = open_tunnel(e, &c);
    usleep(3500 * 1000);
    client_send(&c, "hello;");
    backend_await(b, "hello;");
    backend_send(b, "hello yourself;");
    client_expect(&c, "hello yourself;");
    close(b);
    client_read_to_end(&c);
    client_close(&c);
}

static void test_backend_ends_it(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = open_tunnel(e, &c);
    backend_send(b, "last words");
    close(b);
    client_expect(&c, "last words");
    client_read_to_end(&c);
    assert_true(c.ended);
    client_close(&c);
}

static void expect_refusal(struct edge *e, const char *request, const char *status, const char *reason)
{
    struct client c;
    client_open(e, &c);
    client_send(&c, request);
    client_expect(&c, status);
    client_expect(&c, reason);
    assert_int_equal(backend_accept(e, 100), -1);
    client_close(&c);
    edge_expect_log(e, reason, "\"path\":\"/ws\"");
}

static void test_refused_handshakes(void **state)
{
    struct edge *e = *state;
    expect_refusal(e, ASK "Origin: https://evil.example\r\n\r\n", "HTTP/1.1 403 ", "websocket.origin");
    expect_refusal(e, ASK "Origin: null\r\n\r\n", "HTTP/1.1 403 ", "websocket.origin");
    expect_refusal(e,
                   "GET /ws HTTP/1.1\r\n" HOST_APP "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\n\r\n",
                   "HTTP/1.1 400 ", "websocket.handshake");
    expect_refusal(e,
                   "GET /ws HTTP/1.1\r\n" HOST_APP "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
                   "HTTP/1.1 426 ", "websocket.version");
    expect_refusal(e,
                   "GET /ws HTTP/1.1\r\nHost: staff.example.com\r\nConnection: Upgrade\r\n"
                   "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                   "Sec-WebSocket-Version: 13\r\n\r\n",
                   "HTTP/1.1 401 ", "policy.");
}

static void expect_bad_gateway(struct edge *e, const char *request, const char *answer)
{
    struct client c;
    int b = ask_and_answer(e, &c, request, answer);
    client_expect(&c, "HTTP/1.1 502 ");
    client_send(&c, "smuggled");
    assert_true(backend_is_closed(b));
    close(b);
    client_close(&c);
    edge_expect_log(e, "upstream.head", "101");
}

static void test_backends_that_do_not_switch_properly(void **state)
{
    struct edge *e = *state;
    expect_bad_gateway(e, GET_APP, YES);
    expect_bad_gateway(e, ASK "\r\n", "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    expect_bad_gateway(e, ASK "\r\n",
                       "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Accept: c3BQTE1CaVR4YVE5a1lHenpoWlJiSyt4T289\r\n\r\n");
    expect_bad_gateway(e, ASK "\r\n",
                       "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

// An application that says no has answered an ordinary request: what follows is the next one, and no tunnel.
static void test_backend_refuses(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, ASK "\r\n", "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno");
    client_expect(&c, "HTTP/1.1 426 ");
    client_expect(&c, "\r\n\r\nno");
    client_forget(&c);
    client_send(&c, GET_APP);
    const char *head = backend_await(b, "\r\n\r\n");
    assert_null(strstr(head, "pgrade"));
    assert_non_null(strstr(head, "X-Forwarded-For"));
    backend_send(b, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200 ");
    client_close(&c);
    close(b);
}

// ---- sessions

static struct session staff = {
    .identity = { .provider = STR_INIT("corp"), .subject = STR_INIT("ann"), .groups_known = true }
};

static void submit(struct edge *e, struct store_op *op)
{
    op->arena = arena_new(64 * 1024);
    store_submit(e->shared.store, op);
    usleep(300 * 1000); // committed
}

static void done(struct store_op *op)
{
    assert_int_equal(op->err.code, ERR_NONE);
    arena_free(op->arena);
}

static void log_in(struct edge *e, uint8_t number, char ret_cookie[256])
{
    static struct str groups[] = { STR_INIT("staff") };
    static struct store_op op;
    time_t now = time(NULL);
    staff.identity.groups = (struct strlist){ groups, 1 };
    staff.created = staff.last_seen = now;
    staff.expires = now + 3600;
    memset(staff.id, number, sizeof staff.id);
    op = (struct store_op){ .kind = STORE_SESSION_CREATE, .session = staff, .now = now, .done = done };
    submit(e, &op);
    struct arena *a = arena_new(4096);
    struct str value = session_cookie_make(a, &e->shared.keys, STR("staff.example.com"), staff.id, now);
    snprintf(ret_cookie, 256, "Cookie: " SESSION_COOKIE "=%.*s\r\n", STR_FMT(value));
    arena_free(a);
}

static void log_out(struct edge *e)
{
    static struct store_op op;
    op = (struct store_op){ .kind = STORE_SESSION_DELETE, .done = done };
    memcpy(op.id, staff.id, sizeof op.id);
    submit(e, &op);
}

static void expect_end_with_session(struct edge *e, const char *request, const char *answer,
                                    const char *first)
{
    struct client c;
    int b = ask_and_answer(e, &c, request, answer);
    client_expect(&c, first);
    usleep(2500 * 1000); // the session has been looked up again, and found
    client_forget(&c);
    backend_send(b, "data: two\n\n");
    client_expect(&c, "data: two\n\n");
    log_out(e);
    client_read_to_end(&c);
    assert_true(c.ended);
    assert_true(backend_is_closed(b));
    close(b);
    client_close(&c);
    edge_expect_log(e, "session.unknown", "staff.example.com");
}

static void test_tunnel_ends_with_its_session(void **state)
{
    char request[1024], cookie[256];
    log_in(*state, 1, cookie);
    snprintf(request, sizeof request,
             "GET /ws HTTP/1.1\r\nHost: staff.example.com\r\n%sConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             cookie);
    expect_end_with_session(*state, request, YES, "101");
}

static void test_event_stream_ends_with_its_session(void **state)
{
    char request[1024], cookie[256];
    log_in(*state, 2, cookie);
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: staff.example.com\r\n%s\r\n", cookie);
    expect_end_with_session(*state, request,
                            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n",
                            "data: one\n\n");
}

// The same silence on an ordinary answer is a failure of the backend.
static void test_event_stream_may_be_silent(void **state)
{
    struct edge *e = *state;
    static const char *const types[] = { "text/event-stream; charset=utf-8", "text/plain" };
    for (int i = 0; i < 2; i++) {
        struct client c;
        char answer[128];
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\ndata: one\n\n", types[i]);
        int b = ask_and_answer(e, &c, GET_APP, answer);
        client_expect(&c, "data: one\n\n");
        usleep(2500 * 1000);
        if (i == 0) {
            backend_send(b, "data: two\n\n");
            client_expect(&c, "data: two\n\n");
        } else {
            assert_true(backend_is_closed(b));
            client_read_to_end(&c);
        }
        close(b);
        client_close(&c);
    }
    edge_expect_log(e, "proxy.timeout", "app.example.com");
}

// Nothing has happened yet, so nothing is sent but the head.
static void test_event_stream_may_begin_with_silence(void **state)
{
    struct edge *e = *state;
    struct client c;
    int b = ask_and_answer(e, &c, GET_APP, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    client_expect(&c, "\r\n\r\n");
    usleep(2500 * 1000);
    backend_send(b, "data: one\n\n");
    client_expect(&c, "data: one\n\n");
    close(b);
    client_close(&c);
}

#define TEST(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handshake_passes),
        TEST(test_bytes_travel_as_they_are),
        TEST(test_big_messages_both_ways),
        TEST(test_silence_is_no_failure),
        TEST(test_backend_ends_it),
        TEST(test_refused_handshakes),
        TEST(test_backends_that_do_not_switch_properly),
        TEST(test_backend_refuses),
        TEST(test_tunnel_ends_with_its_session),
        TEST(test_event_stream_ends_with_its_session),
        TEST(test_event_stream_may_be_silent),
        TEST(test_event_stream_may_begin_with_silence),
    };
    return cmocka_run_group_tests_name("edge_tunnel", tests, edge_setup, edge_teardown);
}
