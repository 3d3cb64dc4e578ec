// SPDX-License-Identifier: GPL-3.0-or-later
// Log lines about connections that were not taken: one at once, then at most one for each address in some
// seconds, with the number of those that were not worth a line. Somebody who opens connections as fast as
// they are closed must not fill the disk. Belongs to one worker.
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "gateway/edge/loop.h"

enum { REFUSALS_KEPT = 8, REFUSAL_MS = 10 * 1000 };

struct refusal {
    struct ip_address who; // unknown: of many addresses
    enum err_code code;
    int64_t until; // ms; 0: not used
    uint64_t more; // since the last line
};

struct refusal_log {
    struct loop *loop;
    struct timer timer;
    struct refusal v[REFUSALS_KEPT + 1]; // the last one stands for all who found no place
};

void refusal_log_init(struct refusal_log *r, struct loop *l);
void refusal_log_add(struct refusal_log *r, const struct ip_address *who, const struct err *why);
// Writes the numbers that have not been written yet.
void refusal_log_done(struct refusal_log *r);
