// SPDX-License-Identifier: GPL-3.0-or-later
// Headers and signatures: what a token must survive before one claim of it is read.
#include "tests/unit/oidc/tokens.h"

#include <cjose/cjose.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/encode.h"

static int setup(void **state)
{
    *state = arena_new(16 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static enum err_code login_with(struct arena *a, enum test_key key, const char *alg, const char *header,
                                struct str jwks)
{
    return test_login_token(a, test_token(a, key, alg, header, STR(PAYLOAD)), jwks);
}

static struct str one_key(struct arena *a, struct str jwk)
{
    return test_jwks(a, &jwk, 1);
}

static const struct {
    const char *name;
    enum test_key key;
} algorithms[] = {
    { "RS256", KEY_RSA },  { "RS384", KEY_RSA },     { "RS512", KEY_RSA },  { "PS256", KEY_RSA },
    { "PS384", KEY_RSA },  { "PS512", KEY_RSA },     { "ES256", KEY_P256 }, { "ES384", KEY_P384 },
    { "ES512", KEY_P521 }, { "EdDSA", KEY_ED25519 },
};
enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms, CJOSE_ALGORITHMS = 9 };

static void test_names(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        unsigned bit = oidc_alg_by_name(str_c(algorithms[i].name));
        assert_true(bit && !(bit & seen));
        seen |= bit;
    }
    static const char *const not_ours[] = { "none",   "None", "NONE",   "HS256",   "HS384", "HS512", "rs256",
                                            "RS256 ", "RS1",  "ES256K", "EdDSA\n", "",      "RS2" };
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++)
        assert_int_equal(oidc_alg_by_name(str_c(not_ours[i])), 0);
    assert_int_equal(oidc_alg_by_name(STR_NONE), 0);
    assert_int_equal(oidc_alg_by_name((struct str){ "RS256\0", 6 }), 0);
}

static void test_each_algorithm_verifies(void **state)
{
    struct arena *a = *state;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        struct str header =
            arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\",\"typ\":\"jwt\"}", algorithms[i].name);
        struct str jwks = test_jwks_of(a, algorithms[i].key);
        assert_code(login_with(a, algorithms[i].key, algorithms[i].name, header.p, jwks), ERR_NONE);
    }
}

// The key of the test in cjose's hands: private, from OpenSSL's numbers.
static cjose_jwk_t *cjose_key(enum test_key which, const char **ret_public)
{
    cjose_err err = { 0 };
    cjose_jwk_t *jwk = which == KEY_RSA    ? cjose_jwk_create_RSA_random(2048, NULL, 0, &err)
                       : which == KEY_P256 ? cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &err)
                       : which == KEY_P384 ? cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_384, &err)
                                           : cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_521, &err);
    assert_non_null(jwk);
    assert_true(cjose_jwk_set_kid(jwk, "k", 1, &err));
    *ret_public = cjose_jwk_to_json(jwk, false, &err);
    assert_non_null(*ret_public);
    return jwk;
}

static void test_tokens_of_cjose_verify(void **state)
{
    struct arena *a = *state;
    for (size_t i = 0; i < CJOSE_ALGORITHMS; i++) {
        cjose_err err = { 0 };
        const char *public, *text;
        cjose_jwk_t *jwk = cjose_key(algorithms[i].key, &public);
        cjose_header_t *header = cjose_header_new(&err);
        assert_true(cjose_header_set(header, CJOSE_HDR_ALG, algorithms[i].name, &err));
        assert_true(cjose_header_set(header, CJOSE_HDR_KID, "k", &err));
        cjose_jws_t *jws = cjose_jws_sign(jwk, header, (const uint8_t *)PAYLOAD, strlen(PAYLOAD), &err);
        assert_non_null(jws);
        assert_true(cjose_jws_export(jws, &text, &err));
        struct str token = arena_str_c(a, text), jwks = one_key(a, str_c(public));
        assert_code(test_login_token(a, token, jwks), ERR_NONE);
        // And a stranger's key of the same name does not.
        enum test_key other = algorithms[i].key == KEY_RSA ? KEY_RSA_OTHER : algorithms[i].key;
        assert_code(test_login_token(a, token, test_jwks_of(a, other)), ERR_OIDC_SIGNATURE);
        cjose_jws_release(jws);
        cjose_header_release(header);
        cjose_jwk_release(jwk);
        free((char *)public);
    }
}

static void test_algorithm_is_pinned(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct identity id;
    struct oidc_tokens tokens;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        struct err err = { 0 };
        struct str header = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\"}", algorithms[i].name);
        struct str token = test_token(a, algorithms[i].key, algorithms[i].name, header.p, STR(PAYLOAD));
        struct str answer = test_answer(a, token), jwks = test_jwks_of(a, algorithms[i].key);
        client.algorithms = ~oidc_alg_by_name(str_c(algorithms[i].name));
        assert_false(oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, &err));
        assert_code(err.code, ERR_OIDC_ALGORITHM);
        client.algorithms = oidc_alg_by_name(str_c(algorithms[i].name));
        assert_true(oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, &err));
    }
}

static void test_none_is_refused(void **state)
{
    struct arena *a = *state;
    static const char *const headers[] = { "{\"alg\":\"none\"}",    "{\"alg\":\"None\"}",
                                           "{\"alg\":\"nOnE\"}",    "{\"alg\":\"\"}",
                                           "{\"alg\":null}",        "{}",
                                           "{\"alg\":[\"ES256\"]}", "{\"alg\":0}" };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct str token = test_compact(a, str_c(headers[i]), STR(PAYLOAD), STR(""));
        assert_code(test_login_token(a, token, test_jwks_of(a, KEY_P256)), ERR_OIDC_ALGORITHM);
        assert_code(test_login_token(a, token, STR("{\"keys\":[]}")), ERR_OIDC_ALGORITHM);
    }
}

static struct str public_pem(struct arena *a, enum test_key which)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p;
    assert_int_equal(PEM_write_bio_PUBKEY(out, test_key(which)), 1);
    long n = BIO_get_mem_data(out, &p);
    struct str pem = arena_str(a, (struct str){ p, (size_t)n });
    BIO_free(out);
    return pem;
}

static struct str hmac_token(struct arena *a, const char *header, struct str secret)
{
    unsigned char mac[32];
    unsigned int n = sizeof mac;
    struct str head = str_c(header), t = test_compact(a, head, STR(PAYLOAD), STR(""));
    HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)t.p, t.n - 1, mac, &n);
    return test_compact(a, head, STR(PAYLOAD), (struct str){ (char *)mac, n });
}

// The classic: the public key, which everybody has, as the secret of an HMAC.
static void test_hmac_is_refused(void **state)
{
    struct arena *a = *state;
    struct str pem = public_pem(a, KEY_RSA), jwks = test_jwks_of(a, KEY_RSA);
    static const char *const headers[] = { "{\"alg\":\"HS256\",\"kid\":\"k\"}", "{\"alg\":\"HS256\"}" };
    for (size_t i = 0; i < 2; i++)
        assert_code(test_login_token(a, hmac_token(a, headers[i], pem), jwks), ERR_OIDC_ALGORITHM);
    // Even a provider that publishes a symmetric key gets no HMAC, under whatever name.
    struct str oct = one_key(a, STR("{\"kty\":\"oct\",\"kid\":\"k\",\"k\":\"c2VjcmV0\"}"));
    assert_code(test_login_token(a, hmac_token(a, headers[0], STR("secret")), oct), ERR_OIDC_ALGORITHM);
    struct str lie = hmac_token(a, "{\"alg\":\"RS256\",\"kid\":\"k\"}", STR("secret"));
    assert_code(test_login_token(a, lie, oct), ERR_OIDC_ALGORITHM);
}

// alg, kty and crv must agree; where the signature itself would be good, only this check stands in the way.
static void test_key_must_fit_the_algorithm(void **state)
{
    struct arena *a = *state;
    static const struct {
        const char *claimed, *signed_as;
        enum test_key key;
    } rows[] = {
        { "ES256", "ES256", KEY_P384 },    { "ES256", "ES256", KEY_P521 }, { "ES384", "ES384", KEY_P256 },
        { "ES512", "ES512", KEY_P256 },    { "ES512", "ES512", KEY_P384 }, { "ES256", "RS256", KEY_RSA },
        { "RS256", "ES256", KEY_P256 },    { "EdDSA", "ES256", KEY_P256 }, { "ES256", "EdDSA", KEY_ED25519 },
        { "RS256", "EdDSA", KEY_ED25519 }, { "EdDSA", "RS256", KEY_RSA },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str with_kid = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\"}", rows[i].claimed);
        struct str without = arena_printf(a, "{\"alg\":\"%s\"}", rows[i].claimed);
        struct str jwks = test_jwks_of(a, rows[i].key);
        assert_code(login_with(a, rows[i].key, rows[i].signed_as, with_kid.p, jwks), ERR_OIDC_ALGORITHM);
        assert_code(login_with(a, rows[i].key, rows[i].signed_as, without.p, jwks), ERR_OIDC_UNKNOWN_KEY);
    }
}

static void test_padding_and_hash_are_those_of_the_header(void **state)
{
    struct arena *a = *state;
    static const char *const rows[][2] = { { "RS256", "PS256" },
                                           { "PS256", "RS256" },
                                           { "RS256", "RS512" },
                                           { "RS512", "RS256" },
                                           { "PS256", "PS384" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str header = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\"}", rows[i][0]);
        assert_code(login_with(a, KEY_RSA, rows[i][1], header.p, test_jwks_of(a, KEY_RSA)),
                    ERR_OIDC_SIGNATURE);
    }
    struct str header = STR("{\"alg\":\"ES256\",\"kid\":\"k\"}");
    assert_code(login_with(a, KEY_P256, "ES384", header.p, test_jwks_of(a, KEY_P256)), ERR_OIDC_SIGNATURE);
}

static void test_other_keys_do_not_verify(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"RS256\",\"kid\":\"k\"}";
    assert_code(login_with(a, KEY_RSA_OTHER, "RS256", header, test_jwks_of(a, KEY_RSA)), ERR_OIDC_SIGNATURE);
    // A key inside the token is never looked at.
    struct str inside =
        arena_printf(a, "{\"alg\":\"RS256\",\"kid\":\"k\",\"jwk\":%s,\"jku\":\"https://e.example\"}",
                     test_jwk(a, KEY_RSA_OTHER, "k", NULL).p);
    assert_code(login_with(a, KEY_RSA_OTHER, "RS256", inside.p, test_jwks_of(a, KEY_RSA)),
                ERR_OIDC_SIGNATURE);
}

// The token with its signature replaced.
static struct str resigned(struct arena *a, struct str token, struct str signature)
{
    size_t dot = token.n;
    while (token.p[dot - 1] != '.') dot--;
    return arena_printf(a, "%.*s%s", (int)dot, token.p, encode_base64url(a, signature).p);
}

static struct str signature_of(struct arena *a, struct str token)
{
    size_t dot = token.n;
    struct str bytes;
    while (token.p[dot - 1] != '.') dot--;
    assert_true(decode_base64url(a, str_skip(token, dot), &bytes));
    return bytes;
}

static void test_signature_length_is_exact(void **state)
{
    struct arena *a = *state;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        struct str header = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\"}", algorithms[i].name);
        struct str token = test_token(a, algorithms[i].key, algorithms[i].name, header.p, STR(PAYLOAD));
        struct str good = signature_of(a, token), jwks = test_jwks_of(a, algorithms[i].key);
        struct str zero = { arena_alloc(a, 600), good.n + 1 };
        memcpy((char *)zero.p + 1, good.p, good.n);
        struct str after = { arena_alloc(a, 600), good.n + 1 };
        memcpy((char *)after.p, good.p, good.n);
        assert_code(test_login_token(a, resigned(a, token, good), jwks), ERR_NONE);
        assert_code(test_login_token(a, resigned(a, token, zero), jwks), ERR_OIDC_SIGNATURE);
        assert_code(test_login_token(a, resigned(a, token, after), jwks), ERR_OIDC_SIGNATURE);
        assert_code(test_login_token(a, resigned(a, token, str_take(good, good.n - 1)), jwks),
                    ERR_OIDC_SIGNATURE);
        assert_code(test_login_token(a, resigned(a, token, STR("")), jwks), ERR_OIDC_SIGNATURE);
    }
}

// P-256 numbers padded to 66 bytes mean the same to a lenient reader; so do DER and zeros on both halves.
static void test_ecdsa_has_one_spelling(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"ES256\",\"kid\":\"k\"}";
    struct str token = test_token(a, KEY_P256, "ES256", header, STR(PAYLOAD)), good = signature_of(a, token);
    struct str jwks = test_jwks_of(a, KEY_P256);
    char wide[66] = { 0 }, zeros[64] = { 0 };
    memcpy(wide + 1, good.p, 32);
    memcpy(wide + 34, good.p + 32, 32);
    assert_code(test_login_token(a, resigned(a, token, (struct str){ wide, 66 }), jwks), ERR_OIDC_SIGNATURE);
    // CVE-2022-21449: r = s = 0.
    assert_code(test_login_token(a, resigned(a, token, (struct str){ zeros, 64 }), jwks), ERR_OIDC_SIGNATURE);
    struct str der = { arena_alloc(a, 80), 0 };
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t n = 80, end = token.n - encode_base64url(a, good).n - 1;
    EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, test_key(KEY_P256), NULL);
    assert_int_equal(EVP_DigestSign(md, (unsigned char *)der.p, &n, (const unsigned char *)token.p, end), 1);
    EVP_MD_CTX_free(md);
    der.n = n;
    assert_code(test_login_token(a, resigned(a, token, der), jwks), ERR_OIDC_SIGNATURE);
}

static void test_every_changed_character_is_noticed(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"ES256\",\"kid\":\"k\"}";
    struct str token = test_token(a, KEY_P256, "ES256", header, STR(PAYLOAD)),
               jwks = test_jwks_of(a, KEY_P256);
    char *copy = (char *)arena_str(a, token).p;
    for (size_t i = 0; i < token.n; i++) {
        struct arena *one = arena_new(1 << 20);
        char old = copy[i];
        copy[i] = old == 'A' ? 'B' : 'A';
        assert_int_not_equal(test_login_token(one, (struct str){ copy, token.n }, jwks), ERR_NONE);
        copy[i] = old;
        arena_free(one);
    }
}

static void test_shape_of_the_token(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"ES256\",\"kid\":\"k\"}";
    struct str t = test_token(a, KEY_P256, "ES256", header, STR(PAYLOAD)), jwks = test_jwks_of(a, KEY_P256);
    static const char *const after_signature[] = { "=junk", "=", "==", "%3D", " ", "\\n", "A", "+", "/" };
    for (size_t i = 0; i < sizeof after_signature / sizeof *after_signature; i++) {
        struct str bad = arena_printf(a, "%s%s", t.p, after_signature[i]);
        assert_code(test_login_token(a, bad, jwks), ERR_OIDC_SIGNATURE);
    }
    static const char *const formats[] = { "%s.", ".%s", "%s.AA", "%s.AA.BB", " %s", "=%s" };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct sbuf b;
        size_t at = (size_t)(strstr(formats[i], "%s") - formats[i]);
        sbuf_init(&b, a, 4096);
        sbuf_add(&b, str_take(str_c(formats[i]), at));
        sbuf_add(&b, t);
        sbuf_add_c(&b, formats[i] + at + 2);
        assert_code(test_login_token(a, sbuf_str(&b), jwks), ERR_OIDC_ID_TOKEN);
    }
    static const char *const shapes[] = { "x", ".", "..", "a.b", "....", "e30", "e30.e30" };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_int_not_equal(test_login_token(a, str_c(shapes[i]), jwks), ERR_NONE);
}

// The last character of a segment may carry unused bits: `...Q` and `...R` decode to the same bytes.
static void test_noncanonical_base64_is_refused(void **state)
{
    struct arena *a = *state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *header = "{\"alg\":\"ES256\",\"kid\":\"k\"}";
    struct str t = test_token(a, KEY_P256, "ES256", header, STR(PAYLOAD)), jwks = test_jwks_of(a, KEY_P256);
    char *last = (char *)t.p + t.n - 1; // 64 bytes: 4 of its bits are unused
    *last = alphabet[strchr(alphabet, *last) - alphabet + 1];
    assert_code(test_login_token(a, t, jwks), ERR_OIDC_SIGNATURE);
    // The same for the payload, correctly signed over its odd spelling.
    struct str payload = STR(PAYLOAD " "), input = test_compact(a, str_c(header), payload, STR(""));
    while (payload.n % 3 != 1) {
        payload = arena_printf(a, "%s ", payload.p);
        input = test_compact(a, str_c(header), payload, STR(""));
    }
    last = (char *)input.p + input.n - 2;
    *last = alphabet[strchr(alphabet, *last) - alphabet + 1];
    input.n--;
    struct str sig = encode_base64url(a, test_signature(a, KEY_P256, "ES256", input));
    struct str token = arena_printf(a, "%.*s.%s", STR_FMT(input), sig.p);
    assert_code(test_login_token(a, token, jwks), ERR_OIDC_ID_TOKEN);
}

static void test_headers_that_are_refused(void **state)
{
    struct arena *a = *state;
    struct str jwks = test_jwks_of(a, KEY_P256);
    static const char *const good[] = {
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"Jwt\"}",
        "{\"alg\":\"ES256\"}",
        "{\"x5t\":\"abc\",\"alg\":\"ES256\"}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_code(login_with(a, KEY_P256, "ES256", good[i], jwks), ERR_NONE);
    static const char *const bad[] = {
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"crit\":[\"b64\"],\"b64\":true}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"crit\":[]}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"crit\":null}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"logout+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":null}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":[\"JWT\"]}",
        "{\"alg\":\"ES256\",\"kid\":[\"k\"]}",
        "{\"alg\":\"ES256\",\"kid\":null}",
        "{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"k\"}",
        "{\"alg\":\"ES256\",\"kid\":\"x\",\"kid\":\"k\"}",
        "{\"alg\":\"ES256\",\"\\u0061lg\":\"ES256\",\"kid\":\"k\"}",
        "[{\"alg\":\"ES256\",\"kid\":\"k\"}]",
        "\"ES256\"",
        "",
        "{\"alg\":\"ES256\",\"kid\":\"k\"}x",
        "{\"alg\":\"ES256\",\"kid\":\"k\"}{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(login_with(a, KEY_P256, "ES256", bad[i], jwks), ERR_OIDC_ID_TOKEN);
}

// RFC 8037 appendix A.4 and A.5: a known Ed25519 key and signature.
static void test_ed25519_known_answer(void **state)
{
    struct arena *a = *state;
    struct str jwks = STR("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                          "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}");
    struct str token =
        STR("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    // Verified, and only then refused: its payload is the text "Example of Ed25519 signing".
    assert_code(test_login_token(a, token, jwks), ERR_OIDC_ID_TOKEN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_each_algorithm_verifies),
        TEST(test_tokens_of_cjose_verify),
        TEST(test_algorithm_is_pinned),
        TEST(test_none_is_refused),
        TEST(test_hmac_is_refused),
        TEST(test_key_must_fit_the_algorithm),
        TEST(test_padding_and_hash_are_those_of_the_header),
        TEST(test_other_keys_do_not_verify),
        TEST(test_signature_length_is_exact),
        TEST(test_ecdsa_has_one_spelling),
        TEST(test_every_changed_character_is_noticed),
        TEST(test_shape_of_the_token),
        TEST(test_noncanonical_base64_is_refused),
        TEST(test_headers_that_are_refused),
        TEST(test_ed25519_known_answer),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_keys_free();
    return failed;
}
