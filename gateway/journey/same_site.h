// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a request that changes something was made by one of this host's own pages.
#pragma once

#include "gateway/edge/exchange.h"

// The session cookie is SameSite=Lax, so another site's form does not bring it along; this refuses the rest,
// by Sec-Fetch-Site (W3C Fetch Metadata) and Origin. A client that sends neither is no browser.
bool same_site_is(const struct exchange *x);
