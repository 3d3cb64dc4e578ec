// SPDX-License-Identifier: GPL-3.0-or-later
// Claims: from JSON to the flat list of names and values that an identity keeps, and from that list to its
// fields.
#pragma once

#include <jansson.h>

#include "oidc/oidc.h"

enum claims_source { CLAIMS_ID_TOKEN, CLAIMS_USERINFO };

struct claims {
    struct claim *v;
    size_t n;
    bool groups_overage; // `_claim_names` says that the groups are elsewhere
};

// `m` with the usual names for every list that is empty.
struct claim_mapping claims_mapping(const struct claim_mapping *m);
// Flattens `object`. Claims of the protocol itself are left out; a mapped name with dots that is no member
// becomes a claim of that name when nested objects lead to it ("realm_access.roles"). ERR_OIDC_CLAIM: too
// many, or an e-mail address or subject that cannot be shown.
bool claims_from_json(struct arena *a, const json_t *object, const struct claim_mapping *m,
                      enum claims_source source, struct claims *ret, struct err *err);
// Fills email, username, name, groups and sid of `id` from id->claims. ERR_OIDC_CLAIM: not an e-mail address.
bool claims_map(struct arena *a, const struct claim_mapping *m, bool trust_email, struct identity *id,
                struct err *err);
// The first value of the first claim in `names` that has a non-empty one; absent when there is none.
struct str claims_first(const struct identity *id, struct strlist names);
