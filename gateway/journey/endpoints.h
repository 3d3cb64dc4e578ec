// SPDX-License-Identifier: GPL-3.0-or-later
// The gateway's own endpoints under /.sallyport/: which there are, on which host, with which methods. One
// table.
#pragma once

#include "gateway/edge/exchange.h"

void endpoints_serve(struct exchange *x);
// The style sheet and icon of our pages, for hosts that are not served too: they get a page that says so.
// False: the address is none of these, nothing was answered.
bool endpoints_serve_asset(struct exchange *x);
