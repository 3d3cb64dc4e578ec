// SPDX-License-Identifier: GPL-3.0-or-later
// A worker: one thread with its own loop, client connections, upstream pools and store reader. Workers share
// nothing but immutable configuration, the listening sockets, the TLS contexts, atomics about the backends
// (gateway/edge/backend.h) and the two threads that they send jobs to.
#pragma once

#include "gateway/config/config.h"
#include "gateway/edge/backend.h"
#include "gateway/edge/buffer.h"
#include "gateway/edge/loop.h"
#include "gateway/edge/refusal_log.h"
#include "gateway/edge/resolver.h"
#include "gateway/idp/idp.h"
#include "gateway/journey/session_cache.h"
#include "gateway/ops/metrics.h"
#include "gateway/store/store.h"

// What all workers read and none writes.
struct shared {
    const struct config *config;
    struct session_keys keys;
    struct tls_server **tls; // one per config listener, NULL for plain ones
    const int *listen_fds;
    struct idp *idp;
    struct store *store;
    struct resolver *resolver;
    struct admission *admission;
    struct backends *backends;
    struct relay_hub *relay;  // NULL: no route has boards
    struct str login_origin;  // https://login.example.com[:port]
    struct str saml_metadata; // absent when no SAML provider is configured
};

struct admission;
struct conn;
struct relay_hub;
struct relay_worker;
struct upstream;

struct accept_io {
    struct io io;
    struct worker *worker;
    size_t listener;
};

struct upstream_pool {
    struct upstream *idle; // most recently used first
    unsigned nidle;
    size_t address;       // which of the backend's addresses worked last
    SSL_SESSION *session; // of TLS, to resume
};

struct worker {
    struct loop loop;
    const struct shared *shared;
    struct store_reader *reader;
    struct session_cache sessions;
    struct worker_metrics metrics;
    struct accept_io *accepts; // one per listener
    struct timer accept_pause; // set: no file descriptors are left, nothing is accepted for a moment
    struct buffer_pool in_buffers, out_buffers, upstream_buffers;
    struct h2_worker *h2; // what its HTTP/2 connections share
    struct exchange *free_exchanges;
    unsigned nfree_exchanges;
    struct upstream_pool **pools; // [route target index][backend index]
    struct backend_queue *queues; // [route target index]
    struct relay_worker *relay;   // NULL: no route has boards
    struct health_probe *probes;  // of the first worker
    size_t nprobes;
    struct refusal_log refusals; // of connections
    struct conn *conns;          // all client connections
    size_t nconns;
    bool draining;
    uint64_t random[2]; // for request ids: unique, not secret
    pthread_t thread;
    unsigned number;
    char date[32]; // IMF-fixdate of `date_of`
    int64_t date_of;
    struct mail drain_mail, stop_mail;
};

// Sets up everything but the thread. `w` must be zeroed. ERR_INTERNAL, ERR_STORE.
bool worker_init(struct worker *w, const struct shared *shared, unsigned number, struct err *err);
// After the thread has ended: closes connections and the store reader. Then the threads that workers send
// jobs to may be stopped, and only then worker_done takes in what still came back and frees the rest.
void worker_close(struct worker *w);
void worker_settle(struct worker *w); // takes in what came back after the end: its memory is released
void worker_done(struct worker *w);
bool worker_start(struct worker *w);
// Any thread: stop accepting, close idle connections, end the loop when the last request is answered.
void worker_drain(struct worker *w);
// Any thread: end the loop now.
void worker_stop(struct worker *w);
// A connection has gone: ends a draining loop when it was the last.
void worker_conn_closed(struct worker *w);
// The value of Date now (RFC 9110 section 5.6.7); valid until the loop's next round.
struct str worker_date(struct worker *w);
// 16 bytes, unique with overwhelming probability, as 32 hex digits and a NUL.
void worker_request_id(struct worker *w, char ret[33]);
