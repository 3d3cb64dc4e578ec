// SPDX-License-Identifier: GPL-3.0-or-later
// Signatures: which key of the set verifies a token, and whether it does.
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/encode.h"
#include "oidc/jose.h"
#include "oidc/json.h"
#include "oidc/jwk.h"

// Every algorithm has exactly one length of signature: RFC 7518 sections 3.3 to 3.5, RFC 8032.
static bool signature_length_ok(const struct jws *t, const EVP_PKEY *key)
{
    size_t want = t->alg->signature;
    if (!want) want = (size_t)EVP_PKEY_get_size(key);
    return t->signature.n == want;
}

// RFC 7518 section 3.4: R and S side by side, each as long as the field; OpenSSL wants them in DER.
static struct str ecdsa_der(struct arena *a, struct str raw)
{
    struct str der = STR_NONE;
    const unsigned char *p = (const unsigned char *)raw.p;
    int half = (int)(raw.n / 2);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, half, NULL), *s = BN_bin2bn(p + half, half, NULL);
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL;
        int n = i2d_ECDSA_SIG(sig, NULL);
        unsigned char *out = n > 0 ? arena_alloc(a, (size_t)n) : NULL;
        if (out) {
            der = (struct str){ (char *)out, (size_t)n };
            i2d_ECDSA_SIG(sig, &out);
        }
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return der;
}

// RFC 7518 section 3.5: MGF1 with the same hash, and a salt as long as the hash.
static bool use_pss(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool evp_verify(const struct jws *t, EVP_PKEY *key, struct str signature)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL; // belongs to md
    const char *digest = t->alg->scheme == OIDC_SCHEME_EDDSA ? NULL : t->alg->digest;
    bool ok = md && EVP_DigestVerifyInit_ex(md, &ctx, digest, NULL, NULL, key, NULL) == 1 &&
              (t->alg->scheme != OIDC_SCHEME_PSS || use_pss(ctx)) &&
              EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n,
                               (const unsigned char *)t->signing_input.p, t->signing_input.n) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return ok;
}

static bool verify_with(struct arena *a, const struct jws *t, EVP_PKEY *key)
{
    if (!signature_length_ok(t, key)) return false;
    struct str signature = t->alg->scheme == OIDC_SCHEME_ECDSA ? ecdsa_der(a, t->signature) : t->signature;
    return signature.p && evp_verify(t, key, signature);
}

// The one key called `kid` among those that fit the algorithm. Two would make it a matter of order which one
// counts.
static bool key_of_kid(const struct jws *t, const json_t *keys, const json_t **ret, struct err *err)
{
    const json_t *hit = NULL;
    const char *why_not = NULL;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        if (!str_eq(oidc_json_member(key, "kid"), t->kid)) continue;
        const char *unfit = jwk_unfit(key, t->alg);
        if (unfit) {
            why_not = unfit;
            continue;
        }
        if (hit) return err_set(err, ERR_OIDC_JWKS, "several keys have the kid '%.*s'", STR_FMT(t->kid));
        hit = key;
    }
    if (!hit && why_not)
        return err_set(err, ERR_OIDC_ALGORITHM, "the key '%.*s' does not fit %s: %s", STR_FMT(t->kid),
                       t->alg->name, why_not);
    if (!hit) return err_set(err, ERR_OIDC_UNKNOWN_KEY, "no key has the kid '%.*s'", STR_FMT(t->kid));
    *ret = hit;
    return true;
}

static bool verify_named(struct arena *a, const struct jws *t, const json_t *keys, struct err *err)
{
    const json_t *jwk = NULL;
    if (!key_of_kid(t, keys, &jwk, err)) return false;
    EVP_PKEY *key = jwk_key(a, jwk, t->alg);
    if (key && verify_with(a, t, key)) return true;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "verifying a signature");
    if (!key) return err_set(err, ERR_OIDC_JWKS, "the key '%.*s' is malformed or too weak", STR_FMT(t->kid));
    return err_set(err, ERR_OIDC_SIGNATURE, "the signature does not verify with key '%.*s'", STR_FMT(t->kid));
}

// Without kid a stale key set cannot be told from a forgery: the caller is asked for fresh keys, and nothing
// passes.
static bool verify_unnamed(struct arena *a, const struct jws *t, const json_t *keys, struct err *err)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *jwk = json_array_get(keys, i);
        EVP_PKEY *key = jwk_unfit(jwk, t->alg) ? NULL : jwk_key(a, jwk, t->alg);
        if (key && verify_with(a, t, key)) return true;
    }
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "verifying a signature");
    return err_set(err, ERR_OIDC_UNKNOWN_KEY, "the token names no key and no %s key verifies it",
                   t->alg->name);
}

bool jws_verify(struct arena *a, const struct jws *t, struct str jwks, struct str *ret_payload,
                struct err *err)
{
    const json_t *keys;
    if (!jwks_parse(a, jwks, &keys, err)) return false;
    if (!(t->kid.p ? verify_named(a, t, keys, err) : verify_unnamed(a, t, keys, err))) return false;
    if (decode_base64url(a, t->raw_payload, ret_payload)) return true;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "decoding a token");
    return err_set(err, ERR_OIDC_ID_TOKEN, "the payload is not base64url");
}
