// SPDX-License-Identifier: GPL-3.0-or-later
// The operations listener: libmicrohttpd on a loopback address or a unix socket, in a thread of its own.
// Health, readiness, Prometheus metrics, and the admin API (identity providers' state, sessions: list and
// revoke). Never reachable from the public edge; an address that is not loopback is a configuration error.
#pragma once

#include "gateway/idp/idp.h"
#include "gateway/ops/backends.h"
#include "gateway/ops/metrics.h"
#include "gateway/store/store.h"

struct presence;

struct ops_setup {
    const struct config *config;
    struct idp *idp;
    struct store *store;
    int listen_fd;
    const struct worker_metrics *const *workers; // one per worker, read without locks
    size_t nworkers;
    const struct backend_state *backends; // by backend.index; NULL: not told
    struct presence *boards;              // NULL: no route has boards
    const bool *draining;                 // atomic: /readyz answers 503 then
};
// Binds the operations address: "unix:/path" (mode 0660; a socket file that nobody listens on any more is
// removed) or a loopback address with port. Returns the listening descriptor, -1 and ERR_CONFIG or ERR_FILE
// otherwise.
int ops_listen(struct str address, struct err *err);

struct ops;
// The descriptor stays the caller's: it goes on listening after ops_stop, for the next generation. `setup` is
// copied, what it points to must live until ops_stop.
struct ops *ops_start(const struct ops_setup *setup, struct err *err);
// Takes no new connections: for a generation that was replaced and drains, since its successor answers on the
// same socket.
void ops_quiesce(struct ops *o);
void ops_stop(struct ops *o); // connections under way are closed; NULL is accepted
