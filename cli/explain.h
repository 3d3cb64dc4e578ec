// SPDX-License-Identifier: GPL-3.0-or-later
// Between the parts of `sallyport explain`.
#pragma once

#include "cli/cli.h"
#include "http/target.h"

struct question {
    const char *method;
    struct str host;
    struct http_target target;
    const struct route *route; // whose policy is asked; NULL: none
    struct identity identity;
    bool logged_in;
    struct ip_address address; // unknown unless it is given
};

// --- boards (explain_pico.c)

// The route that has the boards which this is about: calls, their page, or where boards connect. NULL: this
// is about something else.
const struct route *explain_pico_route(const struct config *c, struct str host, struct str path);
// What happens at an address that explain_pico_route knows.
void explain_pico(struct sbuf *b, struct arena *a, const struct question *q, enum verdict *ret_verdict);
