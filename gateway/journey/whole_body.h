// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the whole body of a request to one of our own endpoints.
#pragma once

#include "gateway/edge/exchange.h"

// Calls done(x, body, context) when the whole body has arrived, in the exchange's arena; answers by itself
// when it is larger than `max` or its framing is wrong.
void whole_body_read(struct exchange *x, size_t max,
                     void (*done)(struct exchange *x, struct str body, void *context), void *context);
