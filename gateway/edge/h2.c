// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/conn.h"

static bool h2_start(struct conn *c)
{
    (void)c;
    return false; // not offered yet
}

const struct conn_protocol h2_protocol = { .start = h2_start };
