// SPDX-License-Identifier: GPL-3.0-or-later
// Where a login may lead. One strict parse, a comparison of scheme, host and port with the configured ones,
// and one canonical spelling; used on entry (the rd parameter) and again on use (redirect after the login).
#pragma once

#include "base/url.h"
#include "gateway/config/config.h"

// ERR_LOGIN_TARGET unless `raw` is https on the login host or a route's host, at the public port. *ret_text
// is the re-serialised URL, without fragment.
bool return_url_check(struct arena *a, const struct config *c, struct str raw, struct url *ret,
                      struct str *ret_text, struct err *err);
