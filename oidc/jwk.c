// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "oidc/json.h"
#include "oidc/oidc.h"

enum { RSA_MIN_BITS = 2048, RSA_MAX_BITS = 16384, RSA_MAX_EXPONENT_BITS = 64 };

bool jwks_parse(struct arena *a, struct str text, const json_t **ret_keys, struct err *err)
{
    json_t *set;
    if (!oidc_json_object(a, text, LIMIT_JSON_BYTES, ERR_OIDC_JWKS, &set, err)) return false;
    const json_t *keys = json_object_get(set, "keys");
    if (!json_is_array(keys)) return err_set(err, ERR_OIDC_JWKS, "the key set has no array `keys`");
    if (json_array_size(keys) > LIMIT_JWKS_KEYS)
        return err_set(err, ERR_OIDC_JWKS, "the key set has more than %d keys", LIMIT_JWKS_KEYS);
    *ret_keys = keys;
    return true;
}

static bool member_is(const json_t *key, const char *name, const char *want)
{
    return str_eq_c(oidc_json_member(key, name), want);
}

// RFC 7518 sections 6.2.2, 6.3.2, 6.4, RFC 8037 section 2. A key whose private half is public proves nothing.
static bool has_private_member(const json_t *key)
{
    static const char *const names[] = { "d", "p", "q", "dp", "dq", "qi", "oth", "k" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_object_get(key, names[i])) return true;
    return false;
}

// Each member is optional; one that is there must allow what we do with the key (RFC 7517 sections 4.2
// to 4.4).
static bool allows_verify(const json_t *key)
{
    const json_t *use = json_object_get(key, "use"), *ops = json_object_get(key, "key_ops");
    if (use && !member_is(key, "use", "sig")) return false;
    return !ops || oidc_json_array_has(ops, STR("verify"));
}

static bool alg_agrees(const json_t *key, const struct oidc_alg_info *alg)
{
    return !json_object_get(key, "alg") || member_is(key, "alg", alg->name);
}

const char *jwk_unfit(const json_t *key, const struct oidc_alg_info *alg)
{
    if (!json_is_object(key)) return "it is not an object";
    if (!member_is(key, "kty", alg->kty)) return "its kty is of another algorithm";
    if (alg->crv && !member_is(key, "crv", alg->crv)) return "its curve is of another algorithm";
    if (!allows_verify(key)) return "it is not for verifying signatures";
    if (!alg_agrees(key, alg)) return "its alg is another one";
    if (has_private_member(key)) return "it holds private members";
    return NULL;
}

static bool member_bytes(struct arena *a, const json_t *key, const char *name, struct str *ret)
{
    struct str text = oidc_json_member(key, name);
    return text.n && decode_base64url(a, text, ret);
}

static BIGNUM *member_number(struct arena *a, const json_t *key, const char *name)
{
    struct str bytes;
    if (!member_bytes(a, key, name, &bytes)) return NULL;
    return BN_bin2bn((const unsigned char *)bytes.p, (int)bytes.n, NULL);
}

static EVP_PKEY *key_from_params(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

// A modulus below 2048 bits can be factored or soon will be; e = 1 makes every message its own signature; the
// upper bounds keep one verification cheap.
static bool rsa_is_sound(const BIGNUM *n, const BIGNUM *e)
{
    int bits = BN_num_bits(n);
    if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS || !BN_is_odd(n)) return false;
    return BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= RSA_MAX_EXPONENT_BITS;
}

static EVP_PKEY *rsa_key(struct arena *a, const json_t *jwk)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = member_number(a, jwk, "n"), *e = member_number(a, jwk, "e");
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (n && e && build && rsa_is_sound(n, e) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        key = key_from_params("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

// RFC 7518 section 6.2.1.2: coordinates have the full length of the field. OpenSSL refuses points off the
// curve.
static EVP_PKEY *ec_key(struct arena *a, const json_t *jwk, const struct oidc_alg_info *alg)
{
    struct str x, y;
    if (!member_bytes(a, jwk, "x", &x) || !member_bytes(a, jwk, "y", &y)) return NULL;
    if (x.n != alg->coordinate || y.n != alg->coordinate) return NULL;
    unsigned char point[1 + 2 * 66] = { POINT_CONVERSION_UNCOMPRESSED };
    memcpy(point + 1, x.p, x.n);
    memcpy(point + 1 + x.n, y.p, y.n);
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, alg->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + x.n + y.n) == 1)
        key = key_from_params("EC", build);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static EVP_PKEY *okp_key(struct arena *a, const json_t *jwk, const struct oidc_alg_info *alg)
{
    struct str x;
    if (!member_bytes(a, jwk, "x", &x) || x.n != alg->coordinate) return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)x.p, x.n);
}

static void key_release(void *object)
{
    EVP_PKEY_free(object);
}

EVP_PKEY *jwk_key(struct arena *a, const json_t *key, const struct oidc_alg_info *alg)
{
    EVP_PKEY *made = NULL;
    switch (alg->scheme) {
    case OIDC_SCHEME_PKCS1:
    case OIDC_SCHEME_PSS: made = rsa_key(a, key); break;
    case OIDC_SCHEME_ECDSA: made = ec_key(a, key, alg); break;
    case OIDC_SCHEME_EDDSA: made = okp_key(a, key, alg); break;
    }
    ERR_clear_error();
    return made && arena_defer(a, key_release, made) ? made : NULL;
}

static bool key_is_usable(struct arena *a, const json_t *key)
{
    const struct oidc_alg_info *alg;
    for (size_t i = 0; (alg = oidc_alg_at(i)); i++)
        if (!jwk_unfit(key, alg)) return jwk_key(a, key, alg) != NULL;
    return false;
}

bool oidc_jwks_check(struct arena *a, struct str json, struct err *err)
{
    const json_t *keys;
    if (!jwks_parse(a, json, &keys, err)) return false;
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (key_is_usable(a, json_array_get(keys, i))) return true;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading a key set");
    return err_set(err, ERR_OIDC_JWKS, "none of the %zu keys can verify signatures", json_array_size(keys));
}
