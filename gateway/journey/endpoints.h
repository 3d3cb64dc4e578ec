// SPDX-License-Identifier: GPL-3.0-or-later
// The gateway's own endpoints under /.sallyport/: which there are, on which host, with which methods. One
// table.
#pragma once

#include "gateway/edge/exchange.h"

void endpoints_serve(struct exchange *x);
