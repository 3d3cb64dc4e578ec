// SPDX-License-Identifier: GPL-3.0-or-later
// One real worker on a loopback port, with a TLS client on one side and a hand-driven backend on the other:
// the test says byte by byte what either of them does.
#pragma once

#include <openssl/ssl.h>

#include "gateway/edge/conn.h"
#include "gateway/edge/worker.h"

enum { RIG_WAIT_MS = 5000, RIG_BYTES = 4 * 1024 * 1024 };

struct edge {
    char dir[64];
    struct arena *arena;
    struct config *config;
    struct shared shared;
    struct worker *worker;
    bool running;
    int listen_fd, backend_fd, log_fd;
    uint16_t port;
    long log_mark; // lines before this one belong to earlier tests
};
// Before edge_setup. More routes, as YAML; every '%' in it stands for the backend's port, every '!' for one
// where nobody listens. Files that they name are made by `edge_prepare`, in the directory of the
// configuration and of its authority (ca.pem, ca.key).
extern const char *edge_routes;
extern void (*edge_prepare)(struct edge *e);
// Between the loading of the configuration and the worker's start: for what the YAML above does not say. With
// listeners[0].tls taken away it is a plain listener.
extern void (*edge_tune)(struct config *c);
// Right before the worker is made: for what workers share. There is room for EDGE_WORKERS of them in a row.
enum { EDGE_WORKERS = 3 };
extern void (*edge_share)(struct edge *e);
int edge_setup(void **state);
int edge_teardown(void **state);
int edge_test_begin(void **state); // cmocka's per-test setup: forgets the log so far
// SIGTERM as the worker sees it. True when its thread has ended within `ms`.
void edge_drain(struct edge *e);
bool edge_ended(struct edge *e, int ms);
// Runs `call` on the worker's thread and waits for it.
void edge_on_thread(struct edge *e, void (*call)(struct worker *w));
// Waits until the log has a line with both texts; fails the test when none comes.
void edge_expect_log(struct edge *e, const char *a, const char *b);
// How often the text is in the log once all is quiet; how many access lines there are.
int edge_log_lines(struct edge *e, const char *text);
int edge_access_lines(struct edge *e);

// Jobs for the login thread, which there is none of here: refused, or held until the test lets them go.
enum { EDGE_JOBS = 64 };
extern struct edge_jobs {
    bool hold;
    struct idp_job *v[EDGE_JOBS];
    _Atomic size_t n;
} edge_jobs;
void edge_finish_jobs(void); // each fails

struct client {
    int fd;
    SSL *ssl;
    char *in; // everything received, NUL-terminated
    size_t n;
    bool ended;        // the server said close_notify or FIN
    bool close_notify; // with close_notify
};
void client_open(struct edge *e, struct client *c);
void client_open_small(struct edge *e, struct client *c); // a small receive window: a slow reader
void client_send(struct client *c, const char *text);
void client_send_n(struct client *c, const char *p, size_t n);
bool client_try_send_n(struct client *c, const char *p, size_t n);
// Reads until `text` has arrived. False: the connection ended, or nothing came for RIG_WAIT_MS.
bool client_await(struct client *c, const char *text);
void client_expect(struct client *c, const char *text); // fails the test when it does not come
void client_await_bytes(struct client *c, size_t n);
void client_read_to_end(struct client *c);
void client_forget(struct client *c); // what was received so far
int client_count(const struct client *c, const char *text);
void client_close(struct client *c);
void client_reset(struct client *c); // RST

// The next connection from the gateway. -1: none within `ms`.
int backend_accept(struct edge *e, int ms);
// Reads until `text` has come; returns what came (static buffer).
const char *backend_await(int fd, const char *text);
void backend_send(int fd, const char *text);
void backend_send_n(int fd, const char *p, size_t n);
// The client opens a connection and sends the request, the backend takes it and answers. Returns the
// backend's connection.
int ask_and_answer(struct edge *e, struct client *c, const char *request, const char *answer);
// The gateway has closed this connection within RIG_WAIT_MS.
bool backend_is_closed(int fd);
void backend_reset(int fd);

#define GET_APP "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"
#define HOST_APP "Host: app.example.com\r\n"
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
