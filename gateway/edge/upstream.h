// SPDX-License-Identifier: GPL-3.0-or-later
// Connections to backends: one non-blocking socket each, kept alive in a pool per worker and backend. What
// the bytes mean is the proxy's business.
#pragma once

#include "gateway/edge/exchange.h"
#include "http/body.h"

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE };

struct upstream {
    struct io io;
    struct timer timer;
    struct worker *worker;
    struct upstream *next; // in the pool
    struct upstream_pool *pool;
    const struct backend *backend;
    enum upstream_state state;
    bool readable, writable;
    bool eof;     // the backend will send no more
    bool hung_up; // the end of its stream has been announced, maybe behind bytes that are still unread
    bool broken;  // error in either direction
    bool reused;  // it has carried an exchange before: the backend may have closed it in the meantime
    bool closed;
    size_t address;      // which of the backend's it was connected to
    bool addresses_left; // there are others that this exchange has not tried
    struct buffer in, out;
    struct exchange *x; // NULL while idle

    // The exchange at work (gateway/proxy*.c)
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

// Chooses x->backend: in turn, those that could not be connected to a moment ago last.
void upstream_choose(struct exchange *x);
void upstream_avoid(const struct upstream *u);
// A connection to backend x->backend of the route, for x: an idle one, or (`fresh`, or none idle) a new one
// that is being connected. NULL: x->err says why.
struct upstream *upstream_get(struct exchange *x, bool fresh);
// Reads what is there. False when nothing was added.
bool upstream_fill(struct upstream *u);
// Sends what is in `out`. True when it is empty.
bool upstream_flush(struct upstream *u);
// The exchange is over: back into the pool when it may be used again, else closed. Detaches u->x.
void upstream_release(struct upstream *u);
void upstream_close(struct upstream *u);

// Called by upstream.c, implemented by the proxy: something may have become possible; the connection failed;
// time is up.
void proxy_run(struct upstream *u);
void proxy_connect_failed(struct upstream *u, const char *why);
void proxy_timeout(struct upstream *u);
