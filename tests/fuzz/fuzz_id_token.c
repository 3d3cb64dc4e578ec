// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a token endpoint's answer, and a token, and the claims of a token whose signature is taken for
// granted.
#include "base/limits.h"
#include "oidc/claims.h"
#include "oidc/id_token.h"
#include "oidc/jose.h"
#include "oidc/json.h"
#include "tests/fuzz/fuzz_oidc.h"

static const struct oidc_expect expect = { STR_INIT("n-0S6_WzA2Mj"), 1700000000 };
static const struct str jwks = STR_INIT(
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":\"is8q09Y3wNBpoOtk7LSUD_M9oS48ccTvte8drzL5x5s\","
    "\"y\":\"mWzBZnctMyb1JIqBkfozdTfrNXlbGtUjqTg2W3DsU3U\"}]}");

// Nobody can sign for the keys above, so nothing may pass.
static void try_login(struct arena *a, struct str input)
{
    struct oidc_client client = fuzz_client();
    struct identity id;
    struct oidc_tokens tokens;
    struct err err = { 0 };
    bool ok = oidc_login_verify(a, &client, &expect, input, jwks, &id, &tokens, &err);
    assert(!ok && err.code != ERR_NONE);
}

static void try_token(struct arena *a, struct str input)
{
    struct jws t;
    struct str payload;
    struct err err = { 0 };
    if (!jws_parse(a, input, ~0u, &t, &err)) {
        assert(err.code != ERR_NONE);
        return;
    }
    assert(t.alg && str_find(t.signing_input, '.') < t.signing_input.n);
    // The one signature that exists for these keys is that of RFC 8037 appendix A.4.
    if (jws_verify(a, &t, jwks, &payload, &err)) assert(str_eq_c(payload, "Example of Ed25519 signing"));
}

static void try_claims(struct arena *a, struct str input)
{
    struct oidc_client client = fuzz_client();
    struct claim_mapping m = claims_mapping(&client.mapping);
    struct err err = { 0 };
    json_t *json;
    struct claims c;
    if (!oidc_json_object(a, input, LIMIT_JWT_BYTES, ERR_OIDC_ID_TOKEN, &json, &err)) return;
    struct id_token t = {
        a, &client, &expect, oidc_alg_at(0), STR("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), json
    };
    if (!id_token_check(&t, &err) || !claims_from_json(a, json, &m, CLAIMS_ID_TOKEN, &c, &err)) return;
    assert(str_eq_c(oidc_json_member(json, "iss"), FUZZ_ISSUER));
    struct identity id = { .claims = c.v,
                           .nclaims = c.n,
                           .subject =
                               claims_first(&(struct identity){ .claims = c.v, .nclaims = c.n }, m.subject) };
    if (claims_map(a, &m, false, &id, &err)) fuzz_assert_identity(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct arena *, struct str) = { try_login, try_token, try_claims };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        struct arena *a = arena_new(4 << 20);
        if (a) tries[i](a, (struct str){ (const char *)data, size });
        arena_free(a);
    }
    return 0;
}
