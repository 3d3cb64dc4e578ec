// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: clients and backends that do anything at any time. In the end nothing is left of them.
// STRESS_SEED and STRESS_SECONDS (environment) repeat a run and make it longer.
#include "gateway/edge/h2.h"
#include "h2_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 3, BACKENDS = 256, REQUESTS = 400, STEPS = 1500, SECONDS = 3 };

static char bytes[256 * 1024];

// xorshift: the same everywhere for the same seed.
static uint32_t dice(uint32_t *state, uint32_t sides)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state % sides;
}

// --- backends

static _Atomic bool over;

static void say(int fd, const char *p, size_t n)
{
    ssize_t done = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)done;
}

// One move of a backend. False: it has closed the connection.
static bool move_backend(int fd, uint32_t *r)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
        "nonsense\r\n\r\n",
    };
    const char *head;
    switch (dice(r, 12)) {
    case 0: return false;
    case 1:
    case 2:
    case 3:
    case 4:
        head = heads[dice(r, sizeof heads / sizeof *heads)];
        say(fd, head, strlen(head));
        return true;
    case 5: say(fd, "\r\n0\r\n\r\n", 7); return true;
    case 6:
    case 7: say(fd, bytes, dice(r, sizeof bytes)); return true;
    case 8: return true;
    default: {
        static char sink[64 * 1024];
        return recv(fd, sink, sizeof sink, MSG_DONTWAIT) != 0;
    }
    }
}

static void *run_backends(void *arg)
{
    struct edge *e = arg;
    uint32_t r = 4711;
    int fd[BACKENDS];
    size_t n = 0;
    while (!over) {
        struct pollfd p = { e->backend_fd, POLLIN, 0 };
        int new = n < BACKENDS &&poll(&p, 1, 0) == 1 ? accept(e->backend_fd, NULL, NULL) : -1;
        if (new >= 0) fd[n++] = new;
        if (n == 0 || dice(&r, 20) == 0) usleep(500);
        size_t i = n ? dice(&r, (uint32_t)n) : 0;
        if (n && !move_backend(fd[i], &r)) {
            close(fd[i]);
            fd[i] = fd[--n];
        }
    }
    while (n) close(fd[--n]);
    return NULL;
}

// --- clients

static int32_t any_stream(const int *requests, uint32_t *r)
{
    return (int32_t)(2 * dice(r, (uint32_t)*requests + 2) + 1);
}

static void request_something(struct h2_client *c, int *requests, uint32_t *r)
{
    static const char *const paths[] = { "/", "/.sallyport/x", "/.sallyport/login", "/a?b", "//", "/%2e%2e" };
    static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE" };
    static const char *const fields[][2] = { { NULL },
                                             { "content-length: 5", NULL },
                                             { "content-length: 0", NULL },
                                             { "expect: 100-continue", NULL },
                                             { "connection: close", NULL },
                                             { "accept: text/html", NULL },
                                             { "content-length: 60000", NULL } };
    static const char *const login[] = {
        ":method",           "GET",    ":scheme",   "https", ":authority", "login.example.com", ":path",
        "/.sallyport/login", "accept", "text/html", NULL
    };
    if (*requests >= REQUESTS) return;
    ++*requests;
    c->body = bytes;
    c->body_n = dice(r, 3) ? dice(r, sizeof bytes) : dice(r, 10);
    c->body_at = 0;
    c->body_open = dice(r, 4) == 0;
    if (dice(r, 6) == 0)
        (dice(r, 2) ? h2_request_raw : h2_request_raw_body)(c, login);
    else
        h2_request(c, methods[dice(r, 6)], paths[dice(r, 6)], fields[dice(r, 7)], dice(r, 2));
}

static void settings(struct h2_client *c, uint32_t *r)
{
    static const uint32_t windows[] = { 0, 1, 100, 65535, 1024 * 1024 };
    nghttp2_settings_entry s[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, windows[dice(r, 5)] },
                                   { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, dice(r, 8192) },
                                   { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384 + dice(r, 100000) } };
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, s, 1 + dice(r, 3));
}

static void send_nonsense(struct h2_client *c, const int *requests, uint32_t *r)
{
    uint8_t payload[64];
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)dice(r, 256);
    uint32_t types = dice(r, 10) ? 5 : 256;
    h2_frame(c, (uint8_t)(dice(r, types) + (types == 5 ? 8 : 0)), (uint8_t)dice(r, 256),
             (uint32_t)any_stream(requests, r), payload, dice(r, 12));
}

static void finish_jobs(struct worker *w)
{
    (void)w;
    edge_finish_jobs();
}

static void step_client(struct edge *e, struct h2_client *c, int *requests, uint32_t *r)
{
    switch (dice(r, 12)) {
    case 0:
    case 1:
    case 2: request_something(c, requests, r); break;
    case 3:
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, any_stream(requests, r), dice(r, 14));
        break;
    case 4: settings(c, r); break;
    case 5: c->body_open = false; break;
    case 6:
        nghttp2_submit_window_update(c->session, NGHTTP2_FLAG_NONE, dice(r, 2) ? any_stream(requests, r) : 0,
                                     1 + (int32_t)dice(r, 200000));
        break;
    case 7: nghttp2_session_resume_data(c->session, any_stream(requests, r)); break;
    case 8:
        if (dice(r, 60) == 0) send_nonsense(c, requests, r);
        break;
    case 9:
        if (dice(r, 10) == 0) edge_on_thread(e, finish_jobs);
        break;
    case 10: nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL); break;
    default: h2_exchange(c, (int)dice(r, 4)); break;
    }
}

static void run_clients(struct edge *e, uint32_t *r)
{
    static struct h2_client c[CLIENTS];
    int requests[CLIENTS] = { 0 };
    for (int i = 0; i < CLIENTS; i++) h2_open(e, &c[i], dice(r, 2) ? (int)dice(r, 100000) + 1 : 0);
    for (int k = 0; k < STEPS; k++) {
        int i = (int)dice(r, CLIENTS);
        if (!c[i].ended) step_client(e, &c[i], &requests[i], r);
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (dice(r, 2)) h2_exchange(&c[i], 20);
        h2_close(&c[i]);
    }
}

// --- what is left

static unsigned conns, exchanges;
static bool dirty;

static void look(struct worker *w)
{
    conns = (unsigned)w->nconns;
    dirty = !h2_list_empty(&w->h2->dirty);
    exchanges = 0;
    for (const struct conn *c = w->conns; c; c = c->next)
        if (c->protocol == &h2_protocol) exchanges += c->h2->nexchanges;
}

static void expect_nothing_left(struct edge *e)
{
    for (int i = 0; i < 60; i++) {
        edge_on_thread(e, finish_jobs);
        edge_on_thread(e, look);
        if (conns == 0) break;
        usleep(100 * 1000);
    }
    assert_int_equal(conns, 0);
    assert_int_equal(exchanges, 0);
    assert_false(dirty);
}

static uint32_t from_environment(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static void test_anything_at_any_time(void **state)
{
    struct edge *e = *state;
    pthread_t t;
    uint32_t r = from_environment("STRESS_SEED", (uint32_t)time(NULL) | 1);
    time_t until = time(NULL) + from_environment("STRESS_SECONDS", SECONDS);
    print_message("STRESS_SEED=%u\n", r);
    memset(bytes, 'x', sizeof bytes);
    edge_jobs.hold = true;
    pthread_create(&t, NULL, run_backends, e);
    int rounds = 0;
    do {
        run_clients(e, &r);
        expect_nothing_left(e);
        rounds++;
    } while (time(NULL) < until);
    over = true;
    pthread_join(t, NULL);
    assert_true(edge_access_lines(e) > 0);
    print_message("%d rounds\n", rounds);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = { T(test_anything_at_any_time) };
    return cmocka_run_group_tests_name("HTTP/2: stress", tests, edge_setup, edge_teardown);
}
