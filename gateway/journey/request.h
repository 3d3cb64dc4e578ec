// SPDX-License-Identifier: GPL-3.0-or-later
// The journey of a request: see the array at the top of request.c.
#pragma once

#include "gateway/edge/exchange.h"

enum phase_result {
    PHASE_NEXT, // go on with the next phase
    PHASE_WAIT, // somebody else will answer later
    PHASE_DONE, // answered; the exchange may be gone
};

struct phase {
    const char *name;
    enum phase_result (*run)(struct exchange *x);
};
extern const struct phase request_phases[];
extern const size_t request_phase_count;
