// SPDX-License-Identifier: GPL-3.0-or-later
// The clauses of OIDC 3.1.3.7: each vector is signed with a good key, so only its claims can refuse it.
#include "tests/unit/oidc/tokens.h"

#include "base/encode.h"
#include "base/limits.h"

static const char es256[] = "{\"alg\":\"ES256\",\"kid\":\"k\"}";

static enum err_code sign_and_login(struct arena *a, struct str payload)
{
    return test_login_token(a, test_token(a, KEY_P256, "ES256", es256, payload), test_jwks_of(a, KEY_P256));
}

static void test_claim_vectors(void **state)
{
    (void)state;
    test_vectors("id_token", 125, sign_and_login);
}

// Replaces @ID_TOKEN@ in a vector by a good token.
static enum err_code answer_login(struct arena *a, struct str text)
{
    struct str token = test_token(a, KEY_P256, "ES256", es256, STR(PAYLOAD)), mark = STR("@ID_TOKEN@");
    size_t at = str_search(text, mark);
    struct sbuf b;
    struct identity id;
    sbuf_init(&b, a, 1 << 20);
    sbuf_add(&b, str_take(text, at));
    if (at < text.n) sbuf_add(&b, token);
    if (at < text.n) sbuf_add(&b, str_skip(text, at + mark.n));
    return test_login(a, sbuf_str(&b), test_jwks_of(a, KEY_P256), &id);
}

static void test_token_response_vectors(void **state)
{
    (void)state;
    test_vectors("token_response", 30, answer_login);
}

static void error_detail(struct arena *a, const char *answer, struct err *ret)
{
    struct oidc_client client = test_client();
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct identity id;
    struct oidc_tokens tokens;
    assert_false(oidc_login_verify(a, &client, &expect, str_c(answer), STR("{}"), &id, &tokens, ret));
    assert_code(ret->code, ERR_OIDC_TOKEN_RESPONSE);
}

// The endpoint's error code is for the log; free text from outside is not.
static void test_error_detail_is_one_word(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct err err;
    char text[66];
    memset(text, 'x', 65);
    text[65] = '\0';
    error_detail(a, "{\"error\":\"invalid_grant\"}", &err);
    assert_non_null(strstr(err.detail, "invalid_grant"));
    error_detail(a, "{\"error\":\"no\\nforged line\"}", &err);
    assert_null(strstr(err.detail, "forged"));
    error_detail(a, arena_printf(a, "{\"error\":\"%s\"}", text).p, &err);
    assert_null(strstr(err.detail, "xxx"));
    error_detail(a, arena_printf(a, "{\"error\":\"%s\"}", text + 1).p, &err);
    assert_non_null(strstr(err.detail, "xxx"));
    arena_free(a);
}

static void test_answers_are_bounded(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    char *pad = arena_alloc(a, LIMIT_JSON_BYTES);
    memset(pad, ' ', LIMIT_JSON_BYTES);
    struct str good = test_answer(a, test_token(a, KEY_P256, "ES256", es256, STR(PAYLOAD)));
    size_t room = LIMIT_JSON_BYTES - good.n;
    struct identity id;
    struct str fits = arena_printf(a, "%.*s%s", (int)room, pad, good.p);
    assert_code(test_login(a, fits, test_jwks_of(a, KEY_P256), &id), ERR_NONE);
    struct str over = arena_printf(a, " %s", fits.p);
    assert_code(test_login(a, over, test_jwks_of(a, KEY_P256), &id), ERR_OIDC_TOKEN_RESPONSE);
    arena_free(a);
}

static void test_long_tokens_are_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    char *pad = arena_alloc(a, LIMIT_JWT_BYTES);
    memset(pad, ' ', LIMIT_JWT_BYTES);
    // Spaces after the object: valid JSON, so that nothing but the length can be refused.
    struct str payload = arena_printf(a, "%s%.*s", PAYLOAD, LIMIT_JWT_BYTES * 3 / 4, pad);
    assert_code(sign_and_login(a, payload), ERR_OIDC_ID_TOKEN);
    payload = arena_printf(a, "%s%.*s", PAYLOAD, LIMIT_JWT_BYTES * 3 / 4 - 1024, pad);
    assert_code(sign_and_login(a, payload), ERR_NONE);
    arena_free(a);
}

static struct str at_hash(struct arena *a, const char *digest)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    size_t n = 0;
    assert_int_equal(EVP_Q_digest(NULL, digest, NULL, ACCESS_TOKEN, strlen(ACCESS_TOKEN), md, &n), 1);
    return encode_base64url(a, (struct str){ (char *)md, n / 2 });
}

static enum err_code login_with_at_hash(struct arena *a, enum test_key key, const char *alg,
                                        const char *digest)
{
    struct str payload =
        arena_printf(a, "%.*s,\"at_hash\":\"%s\"}", (int)strlen(PAYLOAD) - 1, PAYLOAD, at_hash(a, digest).p);
    struct str header = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"k\"}", alg);
    return test_login_token(a, test_token(a, key, alg, header.p, payload), test_jwks_of(a, key));
}

static void test_at_hash_follows_the_algorithm(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    static const struct {
        enum test_key key;
        const char *alg, *digest;
    } rows[] = {
        { KEY_RSA, "RS256", "SHA256" },  { KEY_RSA, "RS384", "SHA384" },  { KEY_RSA, "PS512", "SHA512" },
        { KEY_P384, "ES384", "SHA384" }, { KEY_P521, "ES512", "SHA512" }, { KEY_ED25519, "EdDSA", "SHA512" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *other = strcmp(rows[i].digest, "SHA256") == 0 ? "SHA512" : "SHA256";
        assert_code(login_with_at_hash(a, rows[i].key, rows[i].alg, rows[i].digest), ERR_NONE);
        assert_code(login_with_at_hash(a, rows[i].key, rows[i].alg, other), ERR_OIDC_AT_HASH);
    }
    arena_free(a);
}

// An at_hash without an access token binds nothing that we could check.
static void test_at_hash_needs_an_access_token(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    unsigned char md[EVP_MAX_MD_SIZE];
    size_t n = 0;
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, "", 0, md, &n), 1);
    struct str of_nothing = encode_base64url(a, (struct str){ (char *)md, n / 2 });
    struct str payload =
        arena_printf(a, "%.*s,\"at_hash\":\"%s\"}", (int)strlen(PAYLOAD) - 1, PAYLOAD, of_nothing.p);
    struct str token = test_token(a, KEY_P256, "ES256", es256, payload);
    struct identity id;
    struct str answer = arena_printf(a, "{\"id_token\":\"%s\"}", token.p);
    assert_code(test_login(a, answer, test_jwks_of(a, KEY_P256), &id), ERR_OIDC_AT_HASH);
    arena_free(a);
}

// A caller that forgot the nonce must not turn the check off.
static void test_an_empty_expectation_accepts_nothing(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    struct str payload = STR("{\"iss\":\"" ISSUER "\",\"sub\":\"1\",\"aud\":\"\",\"exp\":1700000300,"
                             "\"iat\":1700000000,\"nonce\":\"\"}");
    struct str answer = test_answer(a, test_token(a, KEY_P256, "ES256", es256, payload));
    struct str jwks = test_jwks_of(a, KEY_P256);
    struct oidc_client client = test_client();
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct identity id;
    struct oidc_tokens tokens;
    struct err err = { 0 };
    client.client_id = STR("");
    assert_false(oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, &err));
    assert_code(err.code, ERR_OIDC_AUDIENCE);
    payload = STR("{\"iss\":\"" ISSUER "\",\"sub\":\"1\",\"aud\":\"app\",\"exp\":1700000300,"
                  "\"iat\":1700000000,\"nonce\":\"\"}");
    answer = test_answer(a, test_token(a, KEY_P256, "ES256", es256, payload));
    client = test_client();
    expect.nonce = STR("");
    assert_false(oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, &err));
    assert_code(err.code, ERR_OIDC_NONCE);
    expect.nonce = STR_NONE;
    assert_false(oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, &err));
    assert_code(err.code, ERR_OIDC_NONCE);
    arena_free(a);
}

// Expired and badly signed: the answer must be about the signature, so that nobody learns about unsigned
// claims.
static void test_signature_comes_before_claims(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    struct str payload = STR("{\"iss\":\"https://evil.example.com\",\"exp\":1}");
    struct str token = test_token(a, KEY_P256, "ES256", es256, payload);
    char *p = (char *)token.p;
    size_t last_dot = token.n;
    while (p[last_dot - 1] != '.') last_dot--;
    p[last_dot + 4] = p[last_dot + 4] == 'A' ? 'B' : 'A';
    assert_code(test_login_token(a, token, test_jwks_of(a, KEY_P256)), ERR_OIDC_SIGNATURE);
    // Not even the payload's encoding is looked at.
    struct str junk = arena_printf(a, "%.*s.!!!.AAAA", (int)str_find(token, '.'), token.p);
    assert_code(test_login_token(a, junk, test_jwks_of(a, KEY_P256)), ERR_OIDC_SIGNATURE);
    arena_free(a);
}

static void test_results_are_untouched_on_failure(void **state)
{
    (void)state;
    struct arena *a = arena_new(4 << 20);
    struct oidc_client client = test_client();
    struct oidc_expect expect = { STR(NONCE), 4000000000 };
    struct identity id = { .subject = STR("before") };
    struct oidc_tokens tokens = { STR("t"), STR("u") };
    struct err err = { 0 };
    struct str answer = test_answer(a, test_token(a, KEY_P256, "ES256", es256, STR(PAYLOAD)));
    assert_false(
        oidc_login_verify(a, &client, &expect, answer, test_jwks_of(a, KEY_P256), &id, &tokens, &err));
    assert_code(err.code, ERR_OIDC_EXPIRED);
    assert_str(id.subject, "before");
    assert_str(tokens.access_token, "t");
    assert_str(tokens.id_token, "u");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim_vectors),
        cmocka_unit_test(test_token_response_vectors),
        cmocka_unit_test(test_error_detail_is_one_word),
        cmocka_unit_test(test_answers_are_bounded),
        cmocka_unit_test(test_long_tokens_are_refused),
        cmocka_unit_test(test_at_hash_follows_the_algorithm),
        cmocka_unit_test(test_at_hash_needs_an_access_token),
        cmocka_unit_test(test_an_empty_expectation_accepts_nothing),
        cmocka_unit_test(test_signature_comes_before_claims),
        cmocka_unit_test(test_results_are_untouched_on_failure),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_keys_free();
    return failed;
}
