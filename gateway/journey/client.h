// SPDX-License-Identifier: GPL-3.0-or-later
// Who the client is when trusted proxies stand in front of us.
#pragma once

#include "gateway/edge/exchange.h"

// Sets x->address, x->client and x->secure from what a trusted proxy says. From anybody else nothing is read.
// False: x->err says why the proxy cannot be understood.
bool client_find(struct exchange *x);
