// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/exchange.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_EXCHANGES = 64 };

// Everything but the two big field arrays, whose counts are enough to empty them.
static void reset(struct exchange *x)
{
    struct arena *arena = x->arena;
    struct worker *worker = x->worker;
    memset(x, 0, offsetof(struct exchange, req));
    memset((char *)x + offsetof(struct exchange, target), 0,
           offsetof(struct exchange, answer) - offsetof(struct exchange, target));
    memset((char *)x + offsetof(struct exchange, length), 0, sizeof *x - offsetof(struct exchange, length));
    x->answer.n = 0;
    x->req.fields.n = 0;
    x->arena = arena;
    x->worker = worker;
}

static struct exchange *take(struct worker *w)
{
    struct exchange *x = w->free_exchanges;
    if (x) {
        w->free_exchanges = x->next_free;
        w->nfree_exchanges--;
        return x;
    }
    x = calloc(1, sizeof *x);
    struct arena *arena = x ? arena_new(LIMIT_EXCHANGE_ARENA) : NULL;
    if (!arena) {
        free(x);
        return NULL;
    }
    x->arena = arena;
    x->worker = w;
    return x;
}

static void give_back(struct exchange *x)
{
    struct worker *w = x->worker;
    session_cache_release(x->kept_session);
    x->kept_session = NULL;
    arena_clear(x->arena);
    if (w->nfree_exchanges >= KEPT_EXCHANGES) {
        arena_free(x->arena);
        loop_defer_free(&w->loop, x);
        return;
    }
    x->next_free = w->free_exchanges;
    w->free_exchanges = x;
    w->nfree_exchanges++;
}

struct exchange *exchange_new(struct worker *w, const struct engine *engine, void *stream)
{
    struct exchange *x = take(w);
    if (!x) return NULL;
    reset(x);
    x->engine = engine;
    x->stream = stream;
    x->length = -1;
    x->started_ms = w->loop.now_ms;
    worker_request_id(w, x->request_id);
    return x;
}

bool exchange_release(struct exchange *x)
{
    x->engine = NULL;
    x->stream = NULL;
    timer_clear(&x->worker->loop, &x->watch);
    if (x->on_gone) x->on_gone(x);
    x->on_gone = NULL;
    if (x->jobs) return false;
    give_back(x);
    return true;
}

bool exchange_job_done(struct exchange *x)
{
    x->jobs--;
    if (x->engine) return true;
    if (x->jobs) return false;
    if (x->on_orphan) x->on_orphan(x);
    give_back(x);
    return false;
}
