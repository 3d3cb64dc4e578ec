// SPDX-License-Identifier: GPL-3.0-or-later
// The signature algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1) as one table: name, the only key type
// and curve that fit, digest, length of a signature. What is not in the table does not exist here: `none` and
// HS* are not.
#pragma once

#include "base/str.h"

enum oidc_scheme { OIDC_SCHEME_PKCS1, OIDC_SCHEME_PSS, OIDC_SCHEME_ECDSA, OIDC_SCHEME_EDDSA };

struct oidc_alg_info {
    unsigned bit; // enum oidc_alg
    enum oidc_scheme scheme;
    const char *name;
    const char *kty, *crv; // crv: NULL for RSA
    const char *group;     // OpenSSL's name of the curve
    const char *digest;    // also the hash of at_hash (OIDC 3.1.3.6)
    size_t coordinate;     // bytes of one EC coordinate, or of an OKP public key
    size_t signature;      // bytes; 0: as long as the RSA modulus
};

const struct oidc_alg_info *oidc_alg_find(struct str name);
// Entries 0, 1, ... of the table, NULL at its end.
const struct oidc_alg_info *oidc_alg_at(size_t i);
