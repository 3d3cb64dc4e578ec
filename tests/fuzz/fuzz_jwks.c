// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a key set: checked, and asked for a key for one token of each algorithm with a signature of
// zeros.
#include <string.h>

#include "base/encode.h"
#include "oidc/jose.h"
#include "tests/fuzz/fuzz_oidc.h"

static void try_algorithm(struct arena *a, const struct oidc_alg_info *alg, struct str kid, struct str jwks)
{
    static const char zeros[256];
    struct jws t = {
        .signing_input = STR("e30.e30"),
        .raw_payload = STR("e30"),
        .signature = { zeros, alg->signature ? alg->signature : sizeof zeros },
        .alg = alg,
        .kid = kid,
    };
    struct str payload;
    struct err err = { 0 };
    bool ok = jws_verify(a, &t, jwks, &payload, &err);
    // A degenerate Ed25519 key (a point of small order) verifies such a signature; no other key may.
    assert(ok ? alg->bit == OIDC_EDDSA : err.code != ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str jwks = { (const char *)data, size };
    const struct oidc_alg_info *alg;
    struct err err = { 0 };
    struct arena *a = arena_new(8 << 20);
    if (!a) return 0;
    bool ok = oidc_jwks_check(a, jwks, &err);
    assert(ok == (err.code == ERR_NONE));
    for (size_t i = 0; (alg = oidc_alg_at(i)); i++) {
        try_algorithm(a, alg, STR("k"), jwks);
        try_algorithm(a, alg, STR_NONE, jwks);
    }
    arena_free(a);
    return 0;
}
