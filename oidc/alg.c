// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/alg.h"

#include "oidc/oidc.h"

#define RSA_ALG(bit, scheme, name, digest)                                                                   \
    {                                                                                                        \
        bit, scheme, name, "RSA", NULL, NULL, digest, 0, 0                                                   \
    }
#define EC_ALG(bit, name, crv, digest, size)                                                                 \
    {                                                                                                        \
        bit, OIDC_SCHEME_ECDSA, name, "EC", crv, crv, digest, size, 2 * (size)                               \
    }

static const struct oidc_alg_info table[] = {
    RSA_ALG(OIDC_RS256, OIDC_SCHEME_PKCS1, "RS256", "SHA256"),
    RSA_ALG(OIDC_RS384, OIDC_SCHEME_PKCS1, "RS384", "SHA384"),
    RSA_ALG(OIDC_RS512, OIDC_SCHEME_PKCS1, "RS512", "SHA512"),
    RSA_ALG(OIDC_PS256, OIDC_SCHEME_PSS, "PS256", "SHA256"),
    RSA_ALG(OIDC_PS384, OIDC_SCHEME_PSS, "PS384", "SHA384"),
    RSA_ALG(OIDC_PS512, OIDC_SCHEME_PSS, "PS512", "SHA512"),
    EC_ALG(OIDC_ES256, "ES256", "P-256", "SHA256", 32),
    EC_ALG(OIDC_ES384, "ES384", "P-384", "SHA384", 48),
    EC_ALG(OIDC_ES512, "ES512", "P-521", "SHA512", 66),
    { OIDC_EDDSA, OIDC_SCHEME_EDDSA, "EdDSA", "OKP", "Ed25519", NULL, "SHA512", 32, 64 },
};

const struct oidc_alg_info *oidc_alg_at(size_t i)
{
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const struct oidc_alg_info *oidc_alg_find(struct str name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_eq_c(name, table[i].name)) return &table[i];
    return NULL;
}

unsigned oidc_alg_by_name(struct str name)
{
    const struct oidc_alg_info *alg = oidc_alg_find(name);
    return alg ? alg->bit : 0;
}
