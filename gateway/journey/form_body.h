// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the body of a request to one of our own endpoints: at most LIMIT_FORM_BYTES of
// application/x-www-form-urlencoded.
#pragma once

#include "base/url.h"
#include "gateway/edge/exchange.h"

// Calls done(x, form) when the whole body has arrived; answers by itself when it is too large, no form, or
// malformed.
void form_body_read(struct exchange *x, void (*done)(struct exchange *x, const struct form *form));
