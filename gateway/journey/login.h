// SPDX-License-Identifier: GPL-3.0-or-later
// Logins as the visitor's browser sees them: from the application to the login host, to the identity
// provider, back, and with a one-use ticket to the application. Every function answers the exchange, now or
// later.
//
//   app host                    login host                        identity provider
//   any page --login_require--> /.sallyport/login --start-------> authorization endpoint / SSO service
//                               oidc/<idp>/callback, saml/<idp>/acs <--- answer
//   /.sallyport/enter <--ticket-- session made, cookie set
#pragma once

#include "gateway/edge/exchange.h"

// The route wants a login: page navigations are sent to the login host, everything else gets 401 and JSON.
void login_require(struct exchange *x);
// GET /.sallyport/login
void login_begin(struct exchange *x);
// GET /.sallyport/oidc/<idp>/callback; POST /.sallyport/saml/<idp>/acs
void login_oidc_callback(struct exchange *x, const struct provider *p);
void login_saml_acs(struct exchange *x, const struct provider *p);
// GET /.sallyport/enter
void login_enter(struct exchange *x);
// POST /.sallyport/logout
void login_sign_out(struct exchange *x);
// The address where a login for `target` begins, for pages that offer another try; without a target: one for
// our own page.
struct str login_href(struct arena *a, struct str target, struct str binding);
// The redirect URI of an OpenID provider.
struct str login_redirect_uri(struct arena *a, const struct shared *s, const struct provider *p);
