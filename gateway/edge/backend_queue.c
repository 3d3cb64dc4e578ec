// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that wait because every backend of their route has as many connections as it may. Each worker has
// a queue of its own; tickets make one order of all of them. Whoever releases a connection wakes the queue
// with the lowest ticket, whichever worker it belongs to. A wake-up that is missed in a race costs one tick.
#include "gateway/edge/backend.h"
#include "gateway/edge/exchange.h"
#include "gateway/edge/worker.h"

static struct target_state *target_of(const struct backend_queue *q)
{
    return &q->worker->shared->backends->targets[q->target->index];
}

static struct backend_queue *queue_of(const struct exchange *x)
{
    return &x->worker->queues[x->route->target->index];
}

static void set_front(struct backend_queue *q)
{
    atomic_store(&q->front, q->first ? q->first->ticket : 0);
    if (!q->first)
        timer_clear(&q->worker->loop, &q->tick);
    else if (!q->tick.next)
        timer_set(&q->worker->loop, &q->tick, BACKEND_TICK_MS);
}

static struct backend_queue *longest_waiting(struct target_state *t)
{
    struct backend_queue *best = NULL;
    uint64_t lowest = 0;
    for (struct backend_queue *q = atomic_load(&t->queues); q; q = q->other) {
        uint64_t ticket = atomic_load(&q->front);
        if (ticket == 0 || (best && ticket >= lowest)) continue;
        best = q;
        lowest = ticket;
    }
    return best;
}

static void wake(struct backend_queue *q)
{
    if (!atomic_exchange(&q->posted, true)) mailbox_post(&q->worker->loop.mailbox, &q->wake);
}

void backend_queue_wake(struct worker *w, const struct route_target *t)
{
    struct target_state *s = &w->shared->backends->targets[t->index];
    if (atomic_load(&s->waiting) == 0) return;
    struct backend_queue *q = longest_waiting(s);
    if (q) wake(q);
}

static void serve(struct backend_queue *q)
{
    while (q->first) {
        struct backend_queue *older = longest_waiting(target_of(q));
        if (older && older != q) {
            wake(older);
            return;
        }
        struct exchange *x = q->first->x;
        enum backend_choice choice = backend_choose(x);
        if (choice == BACKEND_FULL) return;
        backend_queue_leave(x);
        proxy_resume(x, choice == BACKEND_CHOSEN);
    }
}

static void on_wake(struct mail *m)
{
    struct backend_queue *q = container_of(m, struct backend_queue, wake);
    atomic_store(&q->posted, false);
    serve(q);
}

// Backends also come back into service without a connection being released.
static void on_tick(struct timer *t)
{
    struct backend_queue *q = container_of(t, struct backend_queue, tick);
    serve(q);
    set_front(q);
}

static void on_timeout(struct timer *t)
{
    struct exchange *x = container_of(t, struct backend_waiter, timer)->x;
    backend_queue_leave(x);
    metric_add(&x->worker->metrics.proxy_queue_refused_total, 1);
    err_set(&x->err, ERR_PROXY_QUEUE_TIMEOUT, "waited %lld s for one of %lld connections to each backend",
            (long long)x->route->target->queue_timeout, (long long)x->route->target->max_connections);
    proxy_resume(x, false);
}

void backend_queue_init(struct backend_queue *q, struct worker *w, const struct route_target *t)
{
    struct target_state *s = &w->shared->backends->targets[t->index];
    q->worker = w;
    q->target = t;
    q->turn = w->number; // the first requests of the workers go to different backends
    q->wake.deliver = on_wake;
    q->tick.fire = on_tick;
    q->other = atomic_load(&s->queues); // workers are made one after the other, while the first ones run
    atomic_store(&s->queues, q);
}

// One more waits, unless that many do already.
static bool count_in(struct target_state *s, const struct route_target *t)
{
    int64_t n = atomic_load(&s->waiting);
    while (n < t->max_queue)
        if (atomic_compare_exchange_weak(&s->waiting, &n, n + 1)) return true;
    return false;
}

bool backend_queue_enter(struct exchange *x)
{
    struct backend_queue *q = queue_of(x);
    struct backend_waiter *w = arena_alloc(x->arena, sizeof *w);
    if (!w) return err_set(&x->err, ERR_NO_MEMORY, "a place in the queue");
    if (!count_in(target_of(q), q->target)) {
        metric_add(&x->worker->metrics.proxy_queue_refused_total, 1);
        return err_set(&x->err, ERR_PROXY_QUEUE_FULL,
                       "limits.queue is %lld, and so many requests wait already",
                       (long long)q->target->max_queue);
    }
    *w = (struct backend_waiter){ .prev = q->last, .x = x, .timer.fire = on_timeout };
    w->ticket = atomic_fetch_add(&target_of(q)->tickets, 1) + 1;
    if (q->last)
        q->last->next = w;
    else
        q->first = w;
    q->last = w;
    x->work = w;
    timer_set(&x->worker->loop, &w->timer, q->target->queue_timeout * 1000);
    set_front(q);
    metric_add(&x->worker->metrics.proxy_queued_total, 1);
    return true;
}

void backend_queue_leave(struct exchange *x)
{
    struct backend_queue *q = queue_of(x);
    struct backend_waiter *w = x->work;
    if (w->prev)
        w->prev->next = w->next;
    else
        q->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        q->last = w->prev;
    x->work = NULL;
    timer_clear(&x->worker->loop, &w->timer);
    atomic_fetch_sub(&target_of(q)->waiting, 1);
    set_front(q);
}
