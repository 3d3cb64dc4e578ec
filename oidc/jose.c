// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/jose.h"

#include "base/encode.h"
#include "base/limits.h"
#include "oidc/json.h"

// RFC 7515 section 7.1: BASE64URL(header) . BASE64URL(payload) . BASE64URL(signature).
static bool split_three(struct str token, struct str ret[3], struct err *err)
{
    size_t n = 0;
    struct str rest = token, part;
    while (str_cut(&rest, '.', &part)) {
        if (n < 3) ret[n] = part;
        n++;
    }
    if (n == 5) return err_set(err, ERR_OIDC_ID_TOKEN, "the ID token is encrypted, which is not supported");
    if (n != 3) return err_set(err, ERR_OIDC_ID_TOKEN, "the ID token has %zu parts instead of 3", n);
    return true;
}

// RFC 8725 section 3.1: only what the operator allows. The token's word counts for nothing more than the
// choice among those; so `none`, and HMAC keyed with a public key, have nowhere to enter.
static bool header_alg(const json_t *header, unsigned algorithms, const struct oidc_alg_info **ret,
                       struct err *err)
{
    struct str name = oidc_json_member(header, "alg");
    if (!name.p) return err_set(err, ERR_OIDC_ALGORITHM, "the header has no alg");
    const struct oidc_alg_info *alg = oidc_alg_find(name);
    if (!alg || !(alg->bit & algorithms))
        return err_set(err, ERR_OIDC_ALGORITHM, "alg '%.*s' is not allowed for this provider", STR_FMT(name));
    *ret = alg;
    return true;
}

// RFC 7515 section 4.1.11: a critical extension that is not understood makes the token invalid. We understand
// none.
static bool header_crit(const json_t *header, struct err *err)
{
    if (!json_object_get(header, "crit")) return true;
    return err_set(err, ERR_OIDC_ID_TOKEN, "the header has crit, and no extension is supported");
}

// RFC 8725 section 3.11: another kind of token (at+jwt, logout+jwt) must not pass for an ID token.
static bool header_typ(const json_t *header, struct err *err)
{
    const json_t *typ = json_object_get(header, "typ");
    if (!typ || str_eq_nocase(oidc_json_str(typ), STR("JWT"))) return true;
    return err_set(err, ERR_OIDC_ID_TOKEN, "the header's typ is not JWT");
}

// RFC 7515 section 4.1.4: a case-sensitive string.
static bool header_kid(const json_t *header, struct str *ret, struct err *err)
{
    const json_t *kid = json_object_get(header, "kid");
    if (kid && !json_is_string(kid))
        return err_set(err, ERR_OIDC_ID_TOKEN, "the header's kid is not a string");
    *ret = oidc_json_str(kid);
    return true;
}

static bool decode_header(struct arena *a, struct str raw, json_t **ret, struct err *err)
{
    struct str text;
    if (!decode_base64url(a, raw, &text)) {
        if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "decoding a token");
        return err_set(err, ERR_OIDC_ID_TOKEN, "the header is not base64url");
    }
    return oidc_json_object(a, text, LIMIT_JWT_BYTES, ERR_OIDC_ID_TOKEN, ret, err);
}

// Decoded strictly: `token=junk` and other spellings of the same bits are no signature.
static bool decode_signature(struct arena *a, struct str raw, struct str *ret, struct err *err)
{
    if (decode_base64url(a, raw, ret)) return true;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "decoding a token");
    return err_set(err, ERR_OIDC_SIGNATURE, "the signature is not base64url");
}

bool jws_parse(struct arena *a, struct str token, unsigned algorithms, struct jws *ret, struct err *err)
{
    struct str part[3];
    struct jws t = { 0 };
    json_t *header;
    if (token.n > LIMIT_JWT_BYTES)
        return err_set(err, ERR_OIDC_ID_TOKEN, "the ID token has %zu bytes", token.n);
    if (!split_three(token, part, err) || !decode_header(a, part[0], &header, err)) return false;
    if (!header_alg(header, algorithms, &t.alg, err) || !header_crit(header, err) ||
        !header_typ(header, err) || !header_kid(header, &t.kid, err) ||
        !decode_signature(a, part[2], &t.signature, err))
        return false;
    t.signing_input = str_take(token, part[0].n + 1 + part[1].n);
    t.raw_payload = part[1];
    *ret = t;
    return true;
}
