// SPDX-License-Identifier: GPL-3.0-or-later
// What all workers together know of the backends: who is in service, how many connections each has, and who
// waits for one. Atomics alone, no lock: a worker never waits for another.
//
//   backend.c         state, choice, passive ejection
//   backend_queue.c   requests that wait for a connection
//   backend_health.c  active checks
#pragma once

#include <stdatomic.h>

#include "gateway/config/config.h"
#include "gateway/edge/loop.h"
#include "gateway/ops/backends.h"

struct exchange;
struct worker;

enum {
    BACKEND_AVOID_MS = 5 * 1000, // after a connection could not be made, even if `eject` says later or never
    BACKEND_TICK_MS = 50,        // how often a queue looks by itself whether it can go on
};

struct target_state {
    struct tls_client *tls;                 // NULL: no https:// backend
    _Atomic int64_t waiting;                // requests in the queues of all workers
    _Atomic uint64_t tickets;               // numbers drawn in them so far: the lowest one has waited longest
    _Atomic(struct backend_queue *) queues; // of all workers
};

struct backends {
    struct backend_state *v;      // by backend.index
    struct target_state *targets; // by route_target.index
    size_t nbackends, ntargets;
};
// ERR_NO_MEMORY, ERR_CERT*.
struct backends *backends_new(const struct config *c, struct err *err);
void backends_free(struct backends *b); // after the last worker; NULL is accepted

// --- choice

enum backend_choice {
    BACKEND_CHOSEN, // x->backend, and x->slot when its connections are counted
    BACKEND_FULL,   // all that are in service have as many connections as they may
    BACKEND_NONE,   // all have been tried for this exchange
};
enum backend_choice backend_choose(struct exchange *x);
// For a target whose connections are counted: one less. Wakes who waits.
void backend_slot_release(struct worker *w, const struct route_target *t, const struct backend *b);

// --- passive ejection

// An exchange that began at `since` (ms of the loop) was answered by the backend.
void backend_answered(struct worker *w, const struct backend *b, int64_t since);
// It failed as `why` says; `connecting`: no connection could be made, so the next one should try elsewhere.
void backend_failed(struct worker *w, const struct route_target *t, const struct backend *b,
                    const struct err *why, bool connecting);
// x tries this one no more.
void backend_tried(struct exchange *x);

// --- the queue: one per worker and target

struct backend_waiter {
    struct backend_waiter *prev, *next;
    struct exchange *x;
    struct timer timer;
    uint64_t ticket;
};

struct backend_queue {
    struct worker *worker;
    const struct route_target *target;
    struct backend_queue *other; // the next in target_state.queues
    struct backend_waiter *first, *last;
    _Atomic uint64_t front; // ticket of the first; 0: nobody waits here
    _Atomic bool posted;    // `wake` is on its way
    struct mail wake;
    struct timer tick;
    size_t turn; // of round-robin, of this worker
};
void backend_queue_init(struct backend_queue *q, struct worker *w, const struct route_target *t);
// x waits until it is its turn, and then goes on with proxy_resume; x->err and false: no room. While it waits
// x->work is its place, which on_gone has to give up with backend_queue_leave.
bool backend_queue_enter(struct exchange *x);
void backend_queue_leave(struct exchange *x);
// A connection may have become free: wakes the queue whose first request has waited longest.
void backend_queue_wake(struct worker *w, const struct route_target *t);

// Implemented by the proxy: its turn has come (x->backend is chosen), or x->err says that it has not.
void proxy_resume(struct exchange *x, bool turn);

// --- active checks, all from one worker's loop

struct health_probe;
bool health_start(struct worker *w); // false: out of memory
void health_stop(struct worker *w);  // the last verdicts stay
