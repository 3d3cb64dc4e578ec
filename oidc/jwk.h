// SPDX-License-Identifier: GPL-3.0-or-later
// Public keys of a provider: a JWK set (RFC 7517). Keys that cannot or must not verify signatures are passed
// over, as section 5 asks: unknown types, encryption keys, weak keys, and keys whose private half was
// published.
#pragma once

#include <jansson.h>
#include <openssl/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "oidc/alg.h"

// The array `keys` of the set `text`. ERR_OIDC_JWKS.
bool jwks_parse(struct arena *a, struct str text, const json_t **ret_keys, struct err *err);
// Why `key` cannot verify `alg` (type, curve, use, key_ops, alg, private members), NULL when it can.
const char *jwk_unfit(const json_t *key, const struct oidc_alg_info *alg);
// The key itself, owned by the arena. NULL: its numbers are malformed or weak, or no memory.
EVP_PKEY *jwk_key(struct arena *a, const json_t *key, const struct oidc_alg_info *alg);
