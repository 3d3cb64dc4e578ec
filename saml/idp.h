// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of struct saml_idp, for this folder.
#pragma once

#include "saml/keys.h"
#include "saml/saml.h"

struct lasso_cache; // request.c: what lasso keeps of us and this provider, made at the first request

struct saml_idp {
    struct str entity_id, sso_redirect_url;
    int64_t valid_until; // 0: not limited
    struct key_set keys;
    struct lasso_cache *lasso;
};

// The cache and its release, for metadata.c.
struct lasso_cache *lasso_cache_new(struct arena *a);

// False and ERR_SAML_METADATA_EXPIRED when the metadata is too old to trust its keys.
bool saml_idp_check_age(const struct saml_idp *idp, int64_t now, struct err *err);
