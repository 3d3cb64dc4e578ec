// SPDX-License-Identifier: GPL-3.0-or-later
// Counts failures by who made them (an address, the beginning of a key), in a fixed table: the oldest entries
// give way, so that memory does not grow with the number of enemies. Belongs to one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { THROTTLE_ENTRIES = 4096, THROTTLE_WAYS = 4 };

struct throttle {
    uint64_t seed; // secret: nobody can choose whom they share an entry with
    unsigned max;  // failures within `window_ms`
    int64_t window_ms;
    struct throttle_entry {
        uint64_t who;
        int64_t since_ms;
        unsigned count;
    } v[THROTTLE_ENTRIES];
};

void throttle_init(struct throttle *t, uint64_t seed, unsigned max, int64_t window_ms);
void throttle_failed(struct throttle *t, struct str who, int64_t now_ms);
bool throttle_refuses(const struct throttle *t, struct str who, int64_t now_ms);
