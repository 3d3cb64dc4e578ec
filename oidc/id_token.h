// SPDX-License-Identifier: GPL-3.0-or-later
// The claims of an ID token whose signature has been verified: OIDC section 3.1.3.7, one clause after the
// other.
#pragma once

#include <jansson.h>

#include "oidc/alg.h"
#include "oidc/oidc.h"

struct id_token {
    struct arena *arena;
    const struct oidc_client *client;
    const struct oidc_expect *expect;
    const struct oidc_alg_info *alg; // of the verified signature
    struct str access_token;         // absent when there is none
    const json_t *claims;
};

bool id_token_check(const struct id_token *t, struct err *err);
// auth_time, or iat when the provider sends none. The token has been checked.
int64_t id_token_auth_time(const struct id_token *t);
