// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the whole body of a request to one of our own endpoints.
#pragma once

#include "gateway/edge/exchange.h"

struct whole_body_reader {
    // The whole body has arrived, in the exchange's arena.
    void (*done)(struct exchange *x, struct str body, void *context);
    // There is none: x->err says why (ERR_TOO_LARGE: more than `max`). Has to answer. NULL: answer_error.
    void (*failed)(struct exchange *x, void *context);
    void *context;
};
void whole_body_read(struct exchange *x, size_t max, const struct whole_body_reader *reader);
