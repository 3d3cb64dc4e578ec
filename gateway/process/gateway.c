// SPDX-License-Identifier: GPL-3.0-or-later
// The gateway process: puts the threads together, waits for SIGTERM, drains.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/admission.h"
#include "gateway/edge/worker.h"
#include "gateway/ops/ops.h"
#include "gateway/process/control.h"
#include "gateway/process/processes.h"
#include "gateway/relay/devices.h"
#include "gateway/relay/hub.h"

struct gateway {
    const struct gateway_setup *setup;
    struct arena *arena;
    struct shared shared;
    struct worker *workers;
    size_t nworkers;
    const struct worker_metrics **metrics;
    struct ops *ops;
    struct devices_watch *devices;
    bool draining;
};

static bool make_tls(struct gateway *g, struct err *err)
{
    static const char *const alpn[] = { "h2", "http/1.1", "http/1.0" };
    const struct config *c = g->setup->config;
    g->shared.tls = arena_array(g->arena, c->nlisteners, sizeof *g->shared.tls);
    if (!g->shared.tls) return err_set(err, ERR_NO_MEMORY, "TLS");
    for (size_t i = 0; i < c->nlisteners; i++) {
        const struct listener *l = &c->listeners[i];
        if (!l->tls) continue;
        g->shared.tls[i] = tls_server_new(l->certificates, l->ncertificates, alpn, 3, err);
        if (!g->shared.tls[i]) return false;
    }
    return true;
}

static bool has_saml(const struct config *c)
{
    for (size_t i = 0; i < c->nproviders; i++)
        if (c->providers[i].protocol == PROTOCOL_SAML) return true;
    return false;
}

// What the descriptors carry, when that is less than what the configuration allows: running out of them would
// hit backends and the store as well as clients.
static int64_t connection_limit(const struct config *c)
{
    struct rlimit r;
    int64_t max = c->max_connections;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return max;
    int64_t carried = admission_for_descriptors((int64_t)r.rlim_cur);
    if (max > 0 && max <= carried) return max;
    if (max > 0)
        log_message(
            LOG_WARN, "limits.connections",
            "%lld connections are allowed, but %llu open files (LimitNOFILE, ulimit -n) carry only %lld",
            (long long)max, (unsigned long long)r.rlim_cur, (long long)carried);
    return carried;
}

static bool make_relay(struct gateway *g, struct err *err)
{
    const struct config *c = g->setup->config;
    struct device_table *table;
    struct err why = { 0 };
    // A damaged file costs the boards, not the applications: the thread that watches it logs what is wrong,
    // and takes it up when it is mended.
    if (!devices_read(c->state_dir, &table, &why) && !device_table_parse(STR(""), &table, err)) return false;
    g->shared.relay = relay_hub_new(table);
    return g->shared.relay || err_set(err, ERR_NO_MEMORY, "relay");
}

static void devices_changed(void *context, struct device_table *table)
{
    relay_hub_devices(context, table);
}

static bool make_shared(struct gateway *g, struct err *err)
{
    const struct config *c = g->setup->config;
    struct shared *s = &g->shared;
    s->config = c;
    s->listen_fds = g->setup->listen_fds;
    s->login_origin = config_origin(g->arena, c, c->login_host);
    if (!session_keys_derive(g->setup->keys->master, &s->keys))
        return err_set(err, ERR_CRYPTO, "deriving keys");
    s->admission = admission_new(connection_limit(c), c->max_connections_per_address, err);
    if (!s->admission || !make_tls(g, err)) return false;
    if (has_saml(c)) {
        struct saml_sp sp = config_saml_sp(g->arena, c, g->setup->keys);
        s->saml_metadata = saml_sp_metadata(g->arena, &sp, err);
        if (!s->saml_metadata.p) return false;
    }
    s->store = store_open(c->store_path, c->store_size, s->keys.record, err);
    if (!s->store) return false;
    s->backends = backends_new(c, err);
    s->resolver = s->backends ? resolver_start(c, err) : NULL;
    if (!s->resolver) return false;
    if (config_has_pico(c) && !make_relay(g, err)) return false;
    s->idp = idp_start(c, g->setup->keys, g->setup->control, err);
    return s->idp != NULL;
}

static bool start_workers(struct gateway *g, struct err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = g->setup->config->workers ? g->setup->config->workers : cores > 0 ? (size_t)cores : 1;
    g->workers = calloc(n, sizeof *g->workers);
    g->metrics = calloc(n, sizeof *g->metrics);
    if (!g->workers || !g->metrics) return err_set(err, ERR_NO_MEMORY, "workers");
    for (size_t i = 0; i < n; i++) {
        if (!worker_init(&g->workers[i], &g->shared, (unsigned)i, err)) return false;
        g->metrics[i] = &g->workers[i].metrics;
    }
    struct relay_hub *relay = g->shared.relay;
    if (relay) relay_hub_connect(relay, g->workers, n);
    for (size_t i = 0; i < n; i++) {
        if (!worker_start(&g->workers[i])) return err_set(err, ERR_INTERNAL, "worker thread");
        g->nworkers++;
    }
    if (relay) g->devices = devices_watch_start(g->setup->config->state_dir, devices_changed, relay, err);
    return !relay || g->devices;
}

static bool start_ops(struct gateway *g, struct err *err)
{
    if (g->setup->operations_fd < 0) return true;
    struct ops_setup setup = { .config = g->setup->config,
                               .idp = g->shared.idp,
                               .store = g->shared.store,
                               .listen_fd = g->setup->operations_fd,
                               .workers = g->metrics,
                               .nworkers = g->nworkers,
                               .backends = g->shared.backends->v,
                               .boards = g->shared.relay ? relay_hub_presence(g->shared.relay) : NULL,
                               .draining = &g->draining };
    g->ops = ops_start(&setup, err);
    return g->ops != NULL;
}

// Joins the workers; those that have not drained when the time is over are stopped.
static void join_workers(struct gateway *g)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += g->setup->config->timeout_drain;
    for (size_t i = 0; i < g->nworkers; i++) {
        if (pthread_timedjoin_np(g->workers[i].thread, NULL, &until) == 0) continue;
        log_message(LOG_WARN, "gateway.cut_off",
                    "worker %zu still had connections when timeouts.drain was over", i);
        worker_stop(&g->workers[i]);
        pthread_join(g->workers[i].thread, NULL);
    }
}

static void shut_down(struct gateway *g)
{
    join_workers(g);
    devices_watch_stop(g->devices);
    for (size_t i = 0; i < g->nworkers; i++) worker_close(&g->workers[i]);
    ops_stop(g->ops);
    idp_stop(g->shared.idp);
    store_close(g->shared.store);
    // A call may still be on its way to a board and back, between workers that have ended.
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < g->nworkers; i++) worker_settle(&g->workers[i]);
    for (size_t i = 0; i < g->nworkers; i++) worker_done(&g->workers[i]);
    relay_hub_free(g->shared.relay);
    resolver_stop(g->shared.resolver);
    backends_free(g->shared.backends);
    for (size_t i = 0; i < g->setup->config->nlisteners; i++) tls_server_free(g->shared.tls[i]);
    admission_free(g->shared.admission);
    free(g->workers);
    free(g->metrics);
    arena_free(g->arena);
}

// A connection is a descriptor, a proxied one two: as many as the system lets us have.
static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0)
        log_message(LOG_WARN, "gateway.start", "descriptor limit: %s", strerror(errno));
}

int gateway_run(const struct gateway_setup *setup)
{
    raise_descriptor_limit();
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); // inherited by every thread: only sigwait takes them
    signal(SIGPIPE, SIG_IGN);
    struct gateway g = { .setup = setup, .arena = arena_new(LIMIT_SAML_METADATA_BYTES) };
    struct err err = { 0 };
    if (!g.arena || !make_shared(&g, &err) || !start_workers(&g, &err) || !start_ops(&g, &err)) {
        log_failure(LOG_ERROR, "gateway.start", &err);
        return 1; // the process ends: the system takes everything back
    }
    control_ready(setup->control);
    log_message(LOG_INFO, "gateway.ready", "%zu workers", g.nworkers);
    int which;
    do {
        errno = 0;
    } while (sigwait(&stop, &which) != 0 ||
             which == SIGINT); // Ctrl-C reaches the supervisor, which sends SIGTERM
    __atomic_store_n(&g.draining, true, __ATOMIC_RELEASE);
    if (g.ops) ops_quiesce(g.ops); // a successor may share its socket and is the one to ask now
    for (size_t i = 0; i < g.nworkers; i++) worker_drain(&g.workers[i]);
    log_message(LOG_INFO, "gateway.drain", "finishing the requests under way");
    shut_down(&g);
    log_message(LOG_INFO, "gateway.stop", "bye");
    return 0;
}
