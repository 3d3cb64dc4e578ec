// SPDX-License-Identifier: GPL-3.0-or-later
// Connections to backends: one non-blocking socket each, with or without TLS, kept alive in a pool per worker
// and backend. What the bytes mean is the business of whoever uses the connection: the proxy, or a check of
// the backend's health.
//
//   upstream.c          bytes, events, the pool
//   upstream_connect.c  addresses, sockets, the handshake
#pragma once

#include <openssl/ssl.h>

#include "gateway/edge/backend.h"
#include "gateway/edge/exchange.h"
#include "gateway/edge/tls_socket.h"
#include "http/body.h"

enum { UPSTREAM_INTERIM = 64 }; // 1xx answers before the final one

// CONNECTING includes the TLS handshake.
enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE };

struct upstream;

// What happens to a connection, for its user. Each may close it.
struct upstream_user {
    void (*connected)(struct upstream *u);
    void (*run)(struct upstream *u);                           // something may have become possible
    void (*failed)(struct upstream *u, const struct err *why); // it could not be made
    void (*timeout)(struct upstream *u);
};

struct upstream {
    struct io io;
    struct timer timer;
    struct worker *worker;
    struct upstream *next; // in the pool
    struct upstream_pool *pool;
    const struct route_target *target;
    const struct backend *backend;
    const struct upstream_user *user;
    enum upstream_state state;
    SSL *ssl; // NULL: plain
    struct tls_socket socket;
    unsigned long tls_error; // what OpenSSL said when it failed for good
    bool readable, writable;
    bool eof;     // the backend will send no more
    bool hung_up; // the end of its stream has been announced, maybe behind bytes that are still unread
    bool broken;  // error in either direction
    bool reused;  // it has carried an exchange before: the backend may have closed it in the meantime
    bool closed;
    bool slot;           // counts among the backend's connections
    bool parked;         // a unix socket whose queue was full: connect is tried again
    size_t address;      // which of the backend's it was connected to
    unsigned generation; // of the backend's addresses
    bool addresses_left; // there are others that this exchange has not tried
    int64_t connect_by;  // ms
    struct buffer in, out;
    struct exchange *x; // NULL while idle, and for checks
    void *owner;        // of a check

    // The exchange at work (gateway/proxy*.c)
    int64_t since; // ms: when it began
    size_t scanned;
    bool request_done; // all of it is in `out`
    int interim;       // answers with 1xx so far
    size_t burst;      // bytes that may still be moved before the others have their turn
    bool got_bytes;    // anything of the answer has arrived
    bool head_done;    // its head was passed on
    bool keep;         // the connection may be used again
    int framing;       // enum http_framing of the answer
    int64_t left;      // of a body with Content-Length
    struct chunked chunked;
    bool body_done;
    bool stream; // a tunnel or an event stream: silence is no failure for a long time
};

// A connection to backend x->backend of the route, for x: an idle one, or (`fresh`, or none idle) a new one
// that is being connected. It takes over x->slot. NULL: x->err says why.
struct upstream *upstream_get(struct exchange *x, bool fresh);

// A new connection to one of the addresses from *addresses_tried on, which is moved behind it.
struct upstream_plan {
    struct worker *worker;
    const struct route_target *target;
    const struct backend *backend;
    const struct upstream_user *user;
    size_t *addresses_tried;
    int64_t ms; // for everything until `connected`
};
struct upstream *upstream_connect(const struct upstream_plan *plan, struct err *err);
// The loop's event, or the timer's, for a connection that is being made.
void upstream_go_on_connecting(struct upstream *u);
bool upstream_unpark(struct upstream *u); // false: it has failed and may be gone

// Reads what is there, at most `max` bytes of it. False when nothing was added.
bool upstream_fill(struct upstream *u, size_t max);
// Sends what is in `out`. True when it is empty.
bool upstream_flush(struct upstream *u);
// Sends bytes that are nobody's yet, past `out`, which must be empty. Returns how many were taken.
size_t upstream_send(struct upstream *u, struct str data);
// Why the connection ended in the middle, `when` in words: proxy.tls or proxy.reset.
void upstream_why_broken(const struct upstream *u, const char *when, struct err *err);
// The exchange is over: back into the pool when it may be used again, else closed. Detaches u->x.
void upstream_release(struct upstream *u);
void upstream_close(struct upstream *u);
// Between the files of upstream: without a socket yet; what a failed SSL_* call means.
struct upstream *upstream_new(const struct upstream_plan *plan);
void upstream_note_tls(struct upstream *u, int result);

// Implemented by the proxy.
extern const struct upstream_user proxy_user;
