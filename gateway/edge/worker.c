// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/conn.h"
#include "gateway/edge/h2.h"
#include "gateway/edge/upstream.h"
#include "gateway/relay/hub.h"

enum {
    ACCEPT_BATCH = 32,
    ACCEPT_PAUSE_MS = 500,
    KEPT_BUFFERS = 64,
    UPSTREAM_BUFFER_BYTES = LIMIT_RESPONSE_HEAD_BYTES
};

static bool listen_all(struct worker *w)
{
    bool ok = true;
    // Level-triggered and exclusive: one worker wakes for one connection.
    for (size_t i = 0; i < w->shared->config->nlisteners; i++)
        ok = loop_add(&w->loop, &w->accepts[i].io, EPOLLIN | EPOLLEXCLUSIVE) && ok;
    return ok;
}

static void listen_none(struct worker *w)
{
    for (size_t i = 0; i < w->shared->config->nlisteners; i++) loop_remove(&w->loop, &w->accepts[i].io);
}

static void listen_again(struct timer *t)
{
    listen_all(container_of(t, struct worker, accept_pause));
}

// The connection stays in the queue, so the listener would be ready again at once and for ever: waiting a
// moment leaves the processor to the connections that may end.
static void pause_accepting(struct worker *w)
{
    log_message(LOG_ERROR, "accept", "%s", strerror(errno));
    listen_none(w);
    timer_set(&w->loop, &w->accept_pause, ACCEPT_PAUSE_MS);
}

static bool out_of_resources(int failure)
{
    return failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM;
}

static void accept_ready(struct io *io, uint32_t events)
{
    (void)events;
    struct accept_io *a = container_of(io, struct accept_io, io);
    for (int i = 0; i < ACCEPT_BATCH && !a->worker->draining; i++) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof peer;
        int fd = accept4(io->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (out_of_resources(errno)) pause_accepting(a->worker);
            return;
        }
        conn_open(a->worker, a->listener, fd, (struct sockaddr *)&peer);
    }
}

static bool add_listeners(struct worker *w)
{
    const struct shared *s = w->shared;
    w->accepts = calloc(s->config->nlisteners, sizeof *w->accepts);
    if (!w->accepts) return false;
    w->accept_pause.fire = listen_again;
    for (size_t i = 0; i < s->config->nlisteners; i++)
        w->accepts[i] = (struct accept_io){ { s->listen_fds[i], accept_ready }, w, i };
    return listen_all(w);
}

static bool make_pools(struct worker *w)
{
    const struct route_table *routes = &w->shared->config->routes;
    w->pools = calloc(routes->n, sizeof *w->pools);
    if (!w->pools && routes->n) return false;
    for (size_t i = 0; i < routes->n; i++) {
        const struct route_target *t = routes->v[i].target;
        w->pools[t->index] = calloc(t->nbackends ? t->nbackends : 1, sizeof **w->pools);
        if (!w->pools[t->index]) return false;
    }
    return true;
}

static bool make_queues(struct worker *w)
{
    const struct route_table *routes = &w->shared->config->routes;
    w->queues = calloc(routes->n ? routes->n : 1, sizeof *w->queues);
    if (!w->queues) return false;
    for (size_t i = 0; i < routes->n; i++)
        backend_queue_init(&w->queues[routes->v[i].target->index], w, routes->v[i].target);
    return true;
}

bool worker_init(struct worker *w, const struct shared *shared, unsigned number, struct err *err)
{
    w->shared = shared;
    w->number = number;
    buffer_pool_init(&w->in_buffers, CONN_IN_BYTES, KEPT_BUFFERS);
    buffer_pool_init(&w->out_buffers, CONN_OUT_BYTES, KEPT_BUFFERS);
    buffer_pool_init(&w->upstream_buffers, UPSTREAM_BUFFER_BYTES, KEPT_BUFFERS);
    if (!crypto_random(w->random, sizeof w->random)) return err_set(err, ERR_CRYPTO, "no random bytes");
    w->reader = store_reader_new(shared->store, err);
    if (!w->reader) return false;
    w->h2 = h2_worker_new((size_t)shared->config->max_connections);
    if (!w->h2) return err_set(err, ERR_NO_MEMORY, "HTTP/2");
    if (!loop_init(&w->loop)) return err_set(err, ERR_INTERNAL, "event loop: %s", strerror(errno));
    refusal_log_init(&w->refusals, &w->loop);
    if (shared->relay && !(w->relay = relay_worker_new(w, shared->relay)))
        return err_set(err, ERR_NO_MEMORY, "relay");
    bool made = make_pools(w) && make_queues(w) && (number > 0 || health_start(w)) && add_listeners(w);
    if (!made) return err_set(err, ERR_INTERNAL, "worker: %s", strerror(errno));
    return true;
}

// A worker that drains needs them no more, and a backend may be waiting for them to end.
static void close_idle(struct worker *w)
{
    const struct route_table *routes = &w->shared->config->routes;
    for (size_t i = 0; i < routes->n; i++) {
        const struct route_target *t = routes->v[i].target;
        for (size_t k = 0; k < t->nbackends; k++)
            while (w->pools[t->index][k].idle) upstream_close(w->pools[t->index][k].idle);
    }
}

static void close_pools(struct worker *w)
{
    const struct route_table *routes = &w->shared->config->routes;
    close_idle(w);
    for (size_t i = 0; i < routes->n; i++) {
        const struct route_target *t = routes->v[i].target;
        for (size_t k = 0; k < t->nbackends; k++) SSL_SESSION_free(w->pools[t->index][k].session);
        free(w->pools[t->index]);
    }
    free(w->pools);
}

void worker_close(struct worker *w)
{
    while (w->conns) conn_close(w->conns);
    refusal_log_done(&w->refusals);
    health_stop(w);
    close_pools(w);
    session_cache_clear(&w->sessions);
    store_reader_free(w->reader);
    w->reader = NULL;
}

void worker_settle(struct worker *w)
{
    mailbox_deliver(&w->loop.mailbox);
}

void worker_done(struct worker *w)
{
    worker_settle(w);
    relay_worker_free(w->relay);
    loop_done(&w->loop);
    while (w->free_exchanges) {
        struct exchange *x = w->free_exchanges;
        w->free_exchanges = x->next_free;
        arena_free(x->arena);
        free(x);
    }
    buffer_pool_done(&w->in_buffers);
    buffer_pool_done(&w->out_buffers);
    buffer_pool_done(&w->upstream_buffers);
    h2_worker_free(w->h2);
    free(w->accepts);
    free(w->queues);
}

static void after_round(struct loop *l)
{
    h2_worker_flush(container_of(l, struct worker, loop)->h2);
    log_flush();
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    log_hold(true); // until the end of each round
    loop_run(&w->loop, after_round);
    log_hold(false);
    return NULL;
}

bool worker_start(struct worker *w)
{
    return pthread_create(&w->thread, NULL, worker_main, w) == 0;
}

void worker_conn_closed(struct worker *w)
{
    if (w->draining && w->nconns == 0) w->loop.stop = true;
}

static void drain(struct mail *m)
{
    struct worker *w = container_of(m, struct worker, drain_mail);
    w->draining = true;
    timer_clear(&w->loop, &w->accept_pause);
    listen_none(w);
    health_stop(w);
    close_idle(w);
    relay_worker_drain(w->relay);
    for (struct conn *c = w->conns, *next; c; c = next) {
        next = c->next;
        conn_drain(c);
    }
    if (w->nconns == 0) w->loop.stop = true;
}

void worker_drain(struct worker *w)
{
    w->drain_mail.deliver = drain;
    mailbox_post(&w->loop.mailbox, &w->drain_mail);
}

static void stop(struct mail *m)
{
    container_of(m, struct worker, stop_mail)->loop.stop = true;
}

void worker_stop(struct worker *w)
{
    w->stop_mail.deliver = stop;
    mailbox_post(&w->loop.mailbox, &w->stop_mail);
}

// xorshift128+: unique ids for the log, seeded from the system; never a secret.
static uint64_t next_random(struct worker *w)
{
    uint64_t a = w->random[0], b = w->random[1];
    w->random[0] = b;
    a ^= a << 23;
    w->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return w->random[1] + b;
}

void worker_request_id(struct worker *w, char ret[33])
{
    static const char digits[] = "0123456789abcdef";
    for (int half = 0; half < 2; half++) {
        uint64_t v = next_random(w);
        for (int i = 0; i < 16; i++, v >>= 4) *ret++ = digits[v & 15];
    }
    *ret = '\0';
}

struct str worker_date(struct worker *w)
{
    if (w->date_of != w->loop.now) {
        time_t now = (time_t)w->loop.now;
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(w->date, sizeof w->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        w->date_of = w->loop.now;
    }
    return str_c(w->date);
}
