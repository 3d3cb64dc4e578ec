// SPDX-License-Identifier: GPL-3.0-or-later
// A signed token in compact form (RFC 7515 section 3.1), before its signature is verified: only the header
// has been read. There is no way to the payload but jws_verify.
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "oidc/alg.h"

struct jws {
    struct str signing_input;        // header.payload, as received
    struct str raw_payload;          // base64url, not to be read before the signature is verified
    struct str signature;            // bytes
    const struct oidc_alg_info *alg; // one of the allowed
    struct str kid;                  // absent when the header names none
};

// Splits `token` and checks its header; `algorithms` is the allowed mask. ERR_OIDC_ID_TOKEN,
// ERR_OIDC_ALGORITHM, ERR_OIDC_SIGNATURE (no valid base64url).
bool jws_parse(struct arena *a, struct str token, unsigned algorithms, struct jws *ret, struct err *err);
// Verifies the signature with the keys of the JWK set `jwks` and gives the payload's bytes. ERR_OIDC_JWKS,
// ERR_OIDC_UNKNOWN_KEY, ERR_OIDC_ALGORITHM (the key of that kid does not fit), ERR_OIDC_SIGNATURE.
bool jws_verify(struct arena *a, const struct jws *t, struct str jwks, struct str *ret_payload,
                struct err *err);
