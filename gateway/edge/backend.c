// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/backend.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/edge/exchange.h"
#include "gateway/edge/worker.h"

static bool add_tls(struct backends *b, const struct route_target *t, struct err *err)
{
    bool needed = false;
    for (size_t i = 0; i < t->nbackends; i++) needed = needed || t->backends[i].tls;
    if (!needed) return true;
    struct tls_client_plan plan = { .ca_pem = t->tls.ca_pem,
                                    .verify = t->tls.verify,
                                    .cert_path = t->tls.cert_path,
                                    .key_path = t->tls.key_path,
                                    .cert_pem = t->tls.cert_pem,
                                    .key_pem = t->tls.key_pem };
    b->targets[t->index].tls = tls_client_new(&plan, err);
    return b->targets[t->index].tls != NULL;
}

struct backends *backends_new(const struct config *c, struct err *err)
{
    struct backends *b = calloc(1, sizeof *b);
    size_t bytes = (c->nbackends + 1) * sizeof *b->v;
    if (b) b->v = aligned_alloc(alignof(struct backend_state), bytes);
    if (b) b->targets = calloc(c->routes.n + 1, sizeof *b->targets);
    if (!b || !b->v || !b->targets) {
        err_set(err, ERR_NO_MEMORY, "backends");
        backends_free(b);
        return NULL;
    }
    memset(b->v, 0, bytes);
    b->nbackends = c->nbackends;
    b->ntargets = c->routes.n;
    for (size_t i = 0; i < c->routes.n; i++) {
        if (add_tls(b, c->routes.v[i].target, err)) continue;
        backends_free(b);
        return NULL;
    }
    return b;
}

void backends_free(struct backends *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->ntargets; i++) tls_client_free(b->targets[i].tls);
    free(b->targets);
    free(b->v);
    free(b);
}

static struct backend_state *state_of(const struct worker *w, const struct backend *b)
{
    return &w->shared->backends->v[b->index];
}

// --- choice

// Whether connections to these backends have to be counted.
static bool counts_connections(const struct route_target *t)
{
    return t->max_connections > 0 || t->balance == BALANCE_LEAST_CONNECTIONS;
}

static bool was_tried(const struct exchange *x, size_t k)
{
    return x->tried && (x->tried[k / 8] & (1 << k % 8));
}

void backend_tried(struct exchange *x)
{
    size_t n = x->route->target->nbackends;
    if (!x->tried) x->tried = arena_alloc(x->arena, (n + 7) / 8);
    x->ntried = x->tried ? x->ntried + 1 : n; // nothing to remember it with: no further try
    if (x->tried) x->tried[x->backend / 8] |= (uint8_t)(1 << x->backend % 8);
}

struct pick {
    size_t best;
    bool found;      // best is in service and has room
    bool full;       // some are in service but have no room
    int64_t load;    // connections of best
    size_t fallback; // the one that comes back first
    int64_t fallback_at;
};

// Those that active checks call unhealthy come after all that are only ejected: something has looked at them.
static int64_t back_at(const struct backend_state *s)
{
    int64_t until = atomic_load_explicit(&s->out_until, memory_order_relaxed);
    return atomic_load_explicit(&s->unhealthy, memory_order_relaxed) ? INT64_MAX / 2 + until : until;
}

static void consider(struct pick *p, const struct exchange *x, size_t k)
{
    const struct route_target *t = x->route->target;
    const struct backend_state *s = state_of(x->worker, &t->backends[k]);
    int64_t at = back_at(s);
    if (at > x->worker->loop.now_ms) {
        if (at < p->fallback_at) p->fallback = k, p->fallback_at = at;
        return;
    }
    int64_t load = counts_connections(t) ? atomic_load(&s->connections) : 0;
    if (t->max_connections > 0 && load >= t->max_connections) {
        p->full = true;
        return;
    }
    if (p->found && (t->balance == BALANCE_ROUND_ROBIN || load >= p->load)) return;
    p->best = k;
    p->load = load;
    p->found = true;
}

static bool take_slot(const struct route_target *t, struct backend_state *s)
{
    if (t->max_connections == 0) {
        atomic_fetch_add(&s->connections, 1);
        return true;
    }
    int64_t n = atomic_load(&s->connections);
    while (n < t->max_connections)
        if (atomic_compare_exchange_weak(&s->connections, &n, n + 1)) return true;
    return false;
}

// A backend whose time out is over gets one request to show that it works; the others wait for its outcome.
static bool claim_trial(const struct exchange *x, const struct route_target *t, struct backend_state *s)
{
    int64_t until = atomic_load_explicit(&s->out_until, memory_order_relaxed), now = x->worker->loop.now_ms;
    if (until == 0) return true;
    if (until > now) return false;
    int64_t ms = atomic_load(&s->out) ? t->eject.seconds * 1000 : BACKEND_AVOID_MS;
    return atomic_compare_exchange_strong(&s->out_until, &until, now + ms);
}

// Another worker may be faster: then we look again. `trial`: not a last resort.
static bool claim(struct exchange *x, size_t k, bool trial)
{
    const struct route_target *t = x->route->target;
    struct backend_state *s = state_of(x->worker, &t->backends[k]);
    if (counts_connections(t) && !take_slot(t, s)) return false;
    x->slot = counts_connections(t);
    if (!trial || claim_trial(x, t, s)) {
        x->backend = k;
        return true;
    }
    if (x->slot) backend_slot_release(x->worker, t, &t->backends[k]);
    x->slot = false;
    return false;
}

// In turn, or the one with the fewest connections, among those in service. When all are out, the one that is
// due soonest is tried all the same: a request never fails while a backend may work.
static enum backend_choice pick_and_claim(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    size_t n = t->nbackends, first = x->worker->queues[t->index].turn++;
    for (size_t again = 0; again <= 2 * n; again++) {
        struct pick p = { .fallback_at = INT64_MAX };
        for (size_t i = 0; i < n; i++)
            if (!was_tried(x, (first + i) % n)) consider(&p, x, (first + i) % n);
        if (!p.found && p.full) return BACKEND_FULL;
        if (!p.found && p.fallback_at == INT64_MAX) return BACKEND_NONE;
        if (claim(x, p.found ? p.best : p.fallback, p.found)) return BACKEND_CHOSEN;
        if (!p.found) return BACKEND_FULL;
    }
    return BACKEND_FULL;
}

enum backend_choice backend_choose(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    if (x->ntried >= t->nbackends) return BACKEND_NONE;
    x->addresses_tried = 0;
    // Nobody overtakes those who wait.
    if (t->max_connections > 0 && !x->work &&
        atomic_load(&x->worker->shared->backends->targets[t->index].waiting) > 0)
        return BACKEND_FULL;
    return pick_and_claim(x);
}

void backend_slot_release(struct worker *w, const struct route_target *t, const struct backend *b)
{
    atomic_fetch_sub(&state_of(w, b)->connections, 1);
    if (t->max_connections > 0) backend_queue_wake(w, t);
}

// --- passive ejection

static void log_backend(enum log_level level, const struct backend *b, const struct err *why, int64_t seconds)
{
    struct log_line l;
    if (why)
        log_begin(&l, level, "backend.ejected");
    else
        log_begin(&l, level, "backend.returned");
    log_str(&l, "upstream", b->authority);
    if (why) log_int(&l, "seconds", seconds);
    if (why) log_err(&l, why);
    log_end(&l);
}

void backend_failed(struct worker *w, const struct route_target *t, const struct backend *b,
                    const struct err *why, bool connecting)
{
    struct backend_state *s = state_of(w, b);
    unsigned n = atomic_fetch_add(&s->failures, 1) + 1;
    bool eject = t->eject.failures > 0 && n >= t->eject.failures;
    int64_t ms = eject ? t->eject.seconds * 1000 : connecting ? BACKEND_AVOID_MS : 0;
    if (ms == 0) return;
    atomic_store(&s->out_since, w->loop.now_ms);
    atomic_store(&s->out_until, w->loop.now_ms + ms);
    if (!eject || atomic_exchange(&s->out, true)) return;
    metric_add(&w->metrics.backend_ejections_total, 1);
    log_backend(LOG_WARN, b, why, t->eject.seconds);
}

// The usual case costs two reads. An answer to a request from before the failures says nothing about now.
void backend_answered(struct worker *w, const struct backend *b, int64_t since)
{
    struct backend_state *s = state_of(w, b);
    if (atomic_load_explicit(&s->failures, memory_order_relaxed) == 0 &&
        atomic_load_explicit(&s->out_until, memory_order_relaxed) == 0)
        return;
    if (atomic_load(&s->out_until) != 0 && since < atomic_load(&s->out_since)) return;
    atomic_store(&s->failures, 0);
    atomic_store(&s->out_until, 0);
    if (atomic_exchange(&s->out, false)) log_backend(LOG_INFO, b, NULL, 0);
}
