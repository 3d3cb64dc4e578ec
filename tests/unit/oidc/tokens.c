// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/oidc/tokens.h"

#include <dirent.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <stdio.h>

#include "base/encode.h"

static EVP_PKEY *keys[KEY_COUNT];

static EVP_PKEY *make_key(enum test_key which)
{
    switch (which) {
    case KEY_RSA:
    case KEY_RSA_OTHER: return EVP_RSA_gen(2048);
    case KEY_RSA_SMALL: return EVP_RSA_gen(1024);
    case KEY_P256: return EVP_EC_gen("P-256");
    case KEY_P384: return EVP_EC_gen("P-384");
    case KEY_P521: return EVP_EC_gen("P-521");
    case KEY_ED25519: return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case KEY_COUNT: break;
    }
    return NULL;
}

EVP_PKEY *test_key(enum test_key which)
{
    if (!keys[which]) keys[which] = make_key(which);
    assert_non_null(keys[which]);
    return keys[which];
}

void test_keys_free(void)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        EVP_PKEY_free(keys[i]);
        keys[i] = NULL;
    }
}

static struct str number(struct arena *a, EVP_PKEY *key, const char *name, int length)
{
    BIGNUM *n = NULL;
    unsigned char buf[512];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
    int bytes = length ? BN_bn2binpad(n, buf, length) : BN_bn2bin(n, buf);
    BN_free(n);
    assert_true(bytes > 0);
    return encode_base64url(a, (struct str){ (char *)buf, (size_t)bytes });
}

static struct str ec_jwk(struct arena *a, EVP_PKEY *key, const char *crv, int length)
{
    struct str x = number(a, key, OSSL_PKEY_PARAM_EC_PUB_X, length);
    struct str y = number(a, key, OSSL_PKEY_PARAM_EC_PUB_Y, length);
    return arena_printf(a, "\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"", crv, x.p, y.p);
}

static struct str jwk_members(struct arena *a, enum test_key which)
{
    EVP_PKEY *key = test_key(which);
    unsigned char raw[32];
    size_t n = sizeof raw;
    if (which == KEY_P256) return ec_jwk(a, key, "P-256", 32);
    if (which == KEY_P384) return ec_jwk(a, key, "P-384", 48);
    if (which == KEY_P521) return ec_jwk(a, key, "P-521", 66);
    if (which == KEY_ED25519) {
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &n), 1);
        struct str x = encode_base64url(a, (struct str){ (char *)raw, n });
        return arena_printf(a, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"", x.p);
    }
    struct str mod = number(a, key, OSSL_PKEY_PARAM_RSA_N, 0), e = number(a, key, OSSL_PKEY_PARAM_RSA_E, 0);
    return arena_printf(a, "\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"", mod.p, e.p);
}

struct str test_jwk(struct arena *a, enum test_key which, const char *kid, const char *extra)
{
    struct str name = kid ? arena_printf(a, ",\"kid\":\"%s\"", kid) : STR("");
    return arena_printf(a, "{%s%s%s%s}", jwk_members(a, which).p, name.p, extra ? "," : "",
                        extra ? extra : "");
}

struct str test_jwks(struct arena *a, const struct str *jwk, size_t count)
{
    struct sbuf b;
    sbuf_init(&b, a, 200000);
    sbuf_add_c(&b, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) sbuf_addf(&b, "%s%.*s", i ? "," : "", STR_FMT(jwk[i]));
    sbuf_add_c(&b, "]}");
    return sbuf_str(&b);
}

struct str test_jwks_of(struct arena *a, enum test_key which)
{
    struct str jwk = test_jwk(a, which, "k", NULL);
    return test_jwks(a, &jwk, 1);
}

static struct str ecdsa_raw(struct arena *a, struct str der, int half)
{
    const unsigned char *in = (const unsigned char *)der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &in, (long)der.n);
    assert_non_null(sig);
    unsigned char *out = arena_alloc(a, 2 * (size_t)half);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half);
    ECDSA_SIG_free(sig);
    return (struct str){ (char *)out, 2 * (size_t)half };
}

struct str test_signature(struct arena *a, enum test_key which, const char *alg, struct str input)
{
    char digest[8];
    bool ed = strcmp(alg, "EdDSA") == 0;
    snprintf(digest, sizeof digest, "SHA%s", alg + 2);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    unsigned char sig[512];
    size_t n = sizeof sig;
    assert_int_equal(EVP_DigestSignInit_ex(md, &ctx, ed ? NULL : digest, NULL, NULL, test_key(which), NULL),
                     1);
    if (alg[0] == 'P') {
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
    }
    assert_int_equal(EVP_DigestSign(md, sig, &n, (const unsigned char *)input.p, input.n), 1);
    EVP_MD_CTX_free(md);
    struct str raw = arena_str(a, (struct str){ (char *)sig, n });
    if (which == KEY_P256) return ecdsa_raw(a, raw, 32);
    if (which == KEY_P384) return ecdsa_raw(a, raw, 48);
    if (which == KEY_P521) return ecdsa_raw(a, raw, 66);
    return raw;
}

static struct str signing_input(struct arena *a, struct str header, struct str payload)
{
    struct str h = encode_base64url(a, header), p = encode_base64url(a, payload);
    return arena_printf(a, "%s.%s", h.p, p.p);
}

struct str test_compact(struct arena *a, struct str header, struct str payload, struct str signature)
{
    struct str input = signing_input(a, header, payload), s = encode_base64url(a, signature);
    return arena_printf(a, "%s.%s", input.p, s.p);
}

struct str test_token(struct arena *a, enum test_key which, const char *alg, const char *header,
                      struct str payload)
{
    struct str head = str_c(header);
    return test_compact(a, head, payload, test_signature(a, which, alg, signing_input(a, head, payload)));
}

struct str test_answer(struct arena *a, struct str id_token)
{
    return arena_printf(a,
                        "{\"access_token\":\"" ACCESS_TOKEN "\",\"token_type\":\"Bearer\",\"expires_in\":300,"
                        "\"id_token\":\"%.*s\"}",
                        STR_FMT(id_token));
}

struct oidc_client test_client(void)
{
    return (struct oidc_client){
        .provider = STR("corp"),
        .issuer = STR(ISSUER),
        .client_id = STR(CLIENT_ID),
        .client_secret = STR("secret"),
        .algorithms = ~0u,
        .clock_skew = 60,
    };
}

enum err_code test_login(struct arena *a, struct str answer, struct str jwks, struct identity *ret)
{
    struct oidc_client client = test_client();
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct oidc_tokens tokens;
    struct err err = { 0 };
    bool ok = oidc_login_verify(a, &client, &expect, answer, jwks, ret, &tokens, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    if (ok) assert_true(str_eq_c(tokens.access_token, ACCESS_TOKEN) || !tokens.access_token.p);
    return err.code;
}

enum err_code test_login_token(struct arena *a, struct str token, struct str jwks)
{
    struct identity id;
    return test_login(a, test_answer(a, token), jwks, &id);
}

void assert_code(enum err_code got, enum err_code want)
{
    if (got != want) fail_msg("got %s, want %s", err_name(got), err_name(want));
}

void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static struct str read_file(struct arena *a, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *buf = arena_alloc(a, 300000);
    size_t n = fread(buf, 1, 300000, f);
    fclose(f);
    while (n && buf[n - 1] == '\n') n--; // editors end files with a line feed
    return (struct str){ buf, n };
}

static bool vector_is_right(const char *path, enum err_code want,
                            enum err_code (*run)(struct arena *, struct str))
{
    struct arena *a = arena_new(4 << 20);
    enum err_code got = run(a, read_file(a, path));
    if (got != want) print_error("%s: got %s, want %s\n", path, err_name(got), err_name(want));
    arena_free(a);
    return got == want;
}

static void run_directory(const char *dir, enum err_code want,
                          enum err_code (*run)(struct arena *, struct str), size_t *count, size_t *wrong)
{
    char path[2048];
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        *wrong += !vector_is_right(path, want, run);
        ++*count;
    }
    closedir(d);
}

void test_vectors(const char *part, size_t at_least, enum err_code (*run)(struct arena *a, struct str text))
{
    char dir[512], sub[1024];
    size_t count = 0, wrong = 0;
    snprintf(dir, sizeof dir, "%s/%s", VECTORS, part);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        enum err_code want = err_by_name(str_c(e->d_name));
        if (want == ERR_NONE && strcmp(e->d_name, "ok") != 0) fail_msg("%s is no error name", e->d_name);
        snprintf(sub, sizeof sub, "%s/%s", dir, e->d_name);
        run_directory(sub, want, run, &count, &wrong);
    }
    closedir(d);
    print_message("%zu vectors in %s\n", count, part);
    assert_int_equal(wrong, 0);
    assert_true(count >= at_least);
}
