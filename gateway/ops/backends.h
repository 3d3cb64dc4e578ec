// SPDX-License-Identifier: GPL-3.0-or-later
// What the workers and the operations thread share of one backend. Written by workers, read by anybody,
// without a lock.
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct backend_state {
    // Read with every request, written when something goes wrong.
    alignas(64) _Atomic unsigned failures; // in a row
    _Atomic int64_t out_until;             // ms of the monotonic clock; 0: in service
    _Atomic int64_t out_since;
    _Atomic bool out;       // ejected, and nothing has been answered since
    _Atomic bool unhealthy; // as active checks see it
    // Written with every request of a target whose connections are counted.
    alignas(64) _Atomic int64_t connections; // busy or being made, of all workers
};

static inline bool backend_is_up(const struct backend_state *s)
{
    return !atomic_load_explicit(&s->out, memory_order_relaxed) &&
           !atomic_load_explicit(&s->unhealthy, memory_order_relaxed);
}
