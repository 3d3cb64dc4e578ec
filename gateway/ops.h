// SPDX-License-Identifier: GPL-3.0-or-later
// The operations listener: libmicrohttpd on a loopback address or a unix socket, in a thread of its own. Health, readiness,
// Prometheus metrics, and the admin API (identity providers' state, sessions: list and revoke). Never reachable from the
// public edge; an address that is not loopback is a configuration error.
#pragma once

#include "gateway/idp.h"
#include "gateway/metrics.h"
#include "gateway/store.h"

struct ops_setup {
    const struct config *config;
    struct idp *idp;
    struct store *store;
    int listen_fd;
    const struct worker_metrics *const *workers; // one per worker, read without locks
    size_t nworkers;
    const bool *draining; // atomic: /readyz answers 503 then
};
struct ops;
struct ops *ops_start(const struct ops_setup *setup, struct err *err);
void ops_stop(struct ops *o);
