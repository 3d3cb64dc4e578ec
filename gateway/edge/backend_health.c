// SPDX-License-Identifier: GPL-3.0-or-later
// Active checks: `health.path` of every backend is asked for again and again, from the loop of the first
// worker, on a connection of its own each time. The verdict is what all workers read. A check is no traffic:
// it counts in no metric of requests and is not in the access log. When the worker drains, the checks end and
// the last verdicts stay: a successor has checks of its own.
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "gateway/edge/upstream.h"
#include "gateway/edge/worker.h"
#include "http/head.h"

struct health_probe {
    struct worker *worker;
    const struct route_target *target;
    const struct backend *backend;
    struct timer timer; // of the next check
    struct upstream *u; // the check under way
    size_t addresses_tried;
    int64_t deadline;   // ms
    unsigned good, bad; // in a row
};

static const struct upstream_user health_user;

static void note_change(struct health_probe *p, bool unhealthy, const struct err *why)
{
    struct log_line l;
    struct backend_state *s = &p->worker->shared->backends->v[p->backend->index];
    if (atomic_exchange(&s->unhealthy, unhealthy) == unhealthy) return;
    if (unhealthy)
        log_begin(&l, LOG_WARN, "backend.unhealthy");
    else
        log_begin(&l, LOG_INFO, "backend.healthy");
    log_str(&l, "upstream", p->backend->authority);
    if (unhealthy) log_err(&l, why);
    log_end(&l);
}

// `why` NULL: a good answer.
static void finish(struct health_probe *p, const struct err *why)
{
    const struct health_check *h = &p->target->health;
    if (p->u) upstream_close(p->u);
    p->u = NULL;
    timer_set(&p->worker->loop, &p->timer, h->interval * 1000);
    p->good = why ? 0 : p->good + 1;
    p->bad = why ? p->bad + 1 : 0;
    if (why) metric_add(&p->worker->metrics.backend_checks_failed_total, 1);
    if (p->bad >= h->fall) note_change(p, true, why);
    if (p->good >= h->rise) note_change(p, false, NULL);
}

static bool compose(struct upstream *u, const struct health_probe *p)
{
    // RFC 9110 section 7.2; a path is no authority
    struct str host = p->backend->unix_path.p ? p->backend->host : p->backend->authority;
    return buffer_append(&u->out, STR("GET ")) && buffer_append(&u->out, p->target->health.path) &&
           buffer_append(&u->out, STR(" HTTP/1.1\r\nHost: ")) && buffer_append(&u->out, host) &&
           buffer_append(&u->out, STR("\r\nUser-Agent: sallyport-health\r\nAccept: */*\r\n"
                                      "Connection: close\r\n\r\n"));
}

static void connect_probe(struct health_probe *p)
{
    struct err err = { 0 };
    int64_t left = p->deadline - p->worker->loop.now_ms;
    struct upstream_plan plan = { .worker = p->worker,
                                  .target = p->target,
                                  .backend = p->backend,
                                  .user = &health_user,
                                  .addresses_tried = &p->addresses_tried,
                                  .ms = left > 0 ? left : 0 };
    p->u = upstream_connect(&plan, &err);
    if (!p->u) {
        finish(p, &err);
        return;
    }
    p->u->owner = p;
    if (compose(p->u, p)) return;
    err_set(&err, ERR_NO_MEMORY, "a check of a backend's health");
    finish(p, &err);
}

static void begin_check(struct timer *t)
{
    struct health_probe *p = container_of(t, struct health_probe, timer);
    if (p->worker->draining) return;
    p->addresses_tried = 0;
    p->deadline = p->worker->loop.now_ms + p->target->health.timeout * 1000;
    connect_probe(p);
}

static void judge(struct health_probe *p, int status)
{
    struct err err = { 0 };
    bool good = status >= 200 && status < 400;
    if (!good) err_set(&err, ERR_UPSTREAM_HEAD, "it answered %d", status);
    finish(p, good ? NULL : &err);
}

static void health_run(struct upstream *u)
{
    struct health_probe *p = u->owner;
    struct http_response_head head;
    struct err err = { 0 };
    upstream_flush(u);
    for (;;) {
        buffer_compact(&u->in);
        upstream_fill(u, SIZE_MAX);
        struct str bytes = buffer_str(&u->in);
        enum http_parse parse =
            bytes.n ? http_response_parse(bytes.p, bytes.n, &u->scanned, &head, &err) : HTTP_MORE;
        if (parse == HTTP_MORE && !u->eof) return;
        if (parse == HTTP_MORE) upstream_why_broken(u, "before it answered", &err);
        if (parse != HTTP_DONE) {
            finish(p, &err);
            return;
        }
        if (head.status >= 200) break;
        // One after the other, as fast as they are read: no timer would ever be looked at again.
        if (++u->interim > UPSTREAM_INTERIM) {
            err_set(&err, ERR_UPSTREAM_HEAD, "more than %d interim answers", UPSTREAM_INTERIM);
            finish(p, &err);
            return;
        }
        u->scanned = 0;
        buffer_consume(&u->in, head.bytes);
    }
    judge(p, head.status);
}

static void health_failed(struct upstream *u, const struct err *why)
{
    struct health_probe *p = u->owner;
    if (!u->addresses_left || p->worker->loop.now_ms >= p->deadline) {
        finish(p, why);
        return;
    }
    upstream_close(u);
    connect_probe(p);
}

static void health_timeout(struct upstream *u)
{
    struct health_probe *p = u->owner;
    struct err err = { 0 };
    err_set(&err, u->state == UPSTREAM_CONNECTING ? ERR_PROXY_CONNECT_TIMEOUT : ERR_PROXY_TIMEOUT,
            "no answer to the check within %lld s", (long long)p->target->health.timeout);
    finish(p, &err);
}

static const struct upstream_user health_user = {
    .connected = health_run, .run = health_run, .failed = health_failed, .timeout = health_timeout
};

static size_t count_probes(const struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->routes.n; i++)
        if (c->routes.v[i].target->health.path.p) n += c->routes.v[i].target->nbackends;
    return n;
}

bool health_start(struct worker *w)
{
    const struct config *c = w->shared->config;
    size_t n = count_probes(c);
    if (n == 0) return true;
    w->probes = calloc(n, sizeof *w->probes);
    if (!w->probes) return false;
    for (size_t i = 0; i < c->routes.n; i++) {
        const struct route_target *t = c->routes.v[i].target;
        for (size_t k = 0; t->health.path.p && k < t->nbackends; k++) {
            struct health_probe *p = &w->probes[w->nprobes++];
            *p = (struct health_probe){ .worker = w, .target = t, .backend = &t->backends[k] };
            p->timer.fire = begin_check;
            timer_set(&w->loop, &p->timer, 0);
        }
    }
    return true;
}

void health_stop(struct worker *w)
{
    for (size_t i = 0; i < w->nprobes; i++) {
        timer_clear(&w->loop, &w->probes[i].timer);
        if (w->probes[i].u) upstream_close(w->probes[i].u);
    }
    free(w->probes);
    w->probes = NULL;
    w->nprobes = 0;
}
