// SPDX-License-Identifier: GPL-3.0-or-later
// Key sets: which key counts for a token, and which keys never count.
#include "tests/unit/oidc/tokens.h"

#include "base/encode.h"
#include "base/limits.h"

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

static void test_kid(void **state)
{
    struct arena *a = *state;
    struct str other = test_jwk(a, KEY_RSA_OTHER, "k1", NULL), ours = test_jwk(a, KEY_RSA, "k2", NULL);
    struct str both[] = { other, ours };
    struct str jwks = test_jwks(a, both, 2);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"k2\"}", jwks), ERR_NONE);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"k1\"}", jwks),
                ERR_OIDC_SIGNATURE);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"k3\"}", jwks),
                ERR_OIDC_UNKNOWN_KEY);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"K2\"}", jwks),
                ERR_OIDC_UNKNOWN_KEY);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"\"}", jwks),
                ERR_OIDC_UNKNOWN_KEY);
    // Without kid: the keys of the type are tried, and a set that does not have the key may be stale.
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\"}", jwks), ERR_NONE);
    assert_code(login_with(a, KEY_P256, "ES256", "{\"alg\":\"ES256\"}", jwks), ERR_OIDC_UNKNOWN_KEY);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\"}", one_key(a, other)),
                ERR_OIDC_UNKNOWN_KEY);
    // A key without kid is not the key of any kid.
    struct str nameless = one_key(a, test_jwk(a, KEY_RSA, NULL, NULL));
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\",\"kid\":\"k\"}", nameless),
                ERR_OIDC_UNKNOWN_KEY);
    assert_code(login_with(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\"}", nameless), ERR_NONE);
}

static void test_one_key_for_a_kid(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"RS256\",\"kid\":\"k\"}";
    struct str twice[] = { test_jwk(a, KEY_RSA, "k", NULL), test_jwk(a, KEY_RSA_OTHER, "k", NULL) };
    assert_code(login_with(a, KEY_RSA, "RS256", header, test_jwks(a, twice, 2)), ERR_OIDC_JWKS);
    // RFC 7517 section 4.5: keys of different types or uses may share one.
    struct str shared[] = { test_jwk(a, KEY_P256, "k", NULL), test_jwk(a, KEY_RSA, "k", NULL),
                            test_jwk(a, KEY_RSA_OTHER, "k", "\"use\":\"enc\"") };
    assert_code(login_with(a, KEY_RSA, "RS256", header, test_jwks(a, shared, 3)), ERR_NONE);
}

static void test_members_that_forbid_a_key(void **state)
{
    struct arena *a = *state;
    const char *header = "{\"alg\":\"RS256\",\"kid\":\"k\"}", *nameless = "{\"alg\":\"RS256\"}";
    static const char *const good[] = { "\"use\":\"sig\"", "\"alg\":\"RS256\"", "\"key_ops\":[\"verify\"]",
                                        "\"key_ops\":[\"sign\",\"verify\"],\"use\":\"sig\"",
                                        "\"x5c\":[\"x\"]" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct str jwks = one_key(a, test_jwk(a, KEY_RSA, "k", good[i]));
        assert_code(login_with(a, KEY_RSA, "RS256", header, jwks), ERR_NONE);
    }
    static const char *const bad[] = {
        "\"use\":\"enc\"",   "\"use\":\"\"",           "\"use\":null",           "\"use\":[\"sig\"]",
        "\"alg\":\"RS512\"", "\"alg\":\"PS256\"",      "\"alg\":null",           "\"alg\":\"rs256\"",
        "\"key_ops\":[]",    "\"key_ops\":[\"sign\"]", "\"key_ops\":\"verify\"", "\"key_ops\":null",
        "\"d\":\"AQAB\"",    "\"p\":\"AQAB\"",         "\"dq\":\"AQAB\"",        "\"d\":null",
        "\"k\":\"AQAB\"",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str jwks = one_key(a, test_jwk(a, KEY_RSA, "k", bad[i]));
        struct err err = { 0 };
        assert_code(login_with(a, KEY_RSA, "RS256", header, jwks), ERR_OIDC_ALGORITHM);
        assert_code(login_with(a, KEY_RSA, "RS256", nameless, jwks), ERR_OIDC_UNKNOWN_KEY);
        if (strstr(bad[i], "\"alg\":\"RS512\"") || strstr(bad[i], "PS256")) continue; // good for those
        assert_false(oidc_jwks_check(a, jwks, &err));
        assert_code(err.code, ERR_OIDC_JWKS);
    }
}

static enum err_code check_set(struct arena *a, struct str jwks)
{
    struct err err = { 0 };
    bool ok = oidc_jwks_check(a, jwks, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    return err.code;
}

static void test_weak_rsa_keys_are_passed_over(void **state)
{
    struct arena *a = *state;
    struct str small = test_jwks_of(a, KEY_RSA_SMALL);
    assert_code(check_set(a, small), ERR_OIDC_JWKS);
    assert_code(login_with(a, KEY_RSA_SMALL, "RS256", "{\"alg\":\"RS256\",\"kid\":\"k\"}", small),
                ERR_OIDC_JWKS);
    assert_code(login_with(a, KEY_RSA_SMALL, "RS256", "{\"alg\":\"RS256\"}", small), ERR_OIDC_UNKNOWN_KEY);
}

static struct str rsa_jwks(struct arena *a, size_t bytes, unsigned char last, const char *e)
{
    char *n = arena_alloc(a, bytes);
    memset(n, 0xC5, bytes);
    n[bytes - 1] = (char)last;
    struct str text = encode_base64url(a, (struct str){ n, bytes });
    return arena_printf(a, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"n\":\"%s\",\"e\":\"%s\"}]}", text.p,
                        e);
}

static void test_rsa_numbers_have_bounds(void **state)
{
    struct arena *a = *state;
    assert_code(check_set(a, rsa_jwks(a, 256, 1, "AQAB")), ERR_NONE);
    assert_code(check_set(a, rsa_jwks(a, 256, 1, "Aw")), ERR_NONE);
    assert_code(check_set(a, rsa_jwks(a, 2048, 1, "AQAB")), ERR_NONE);
    assert_code(check_set(a, rsa_jwks(a, 256, 1, "gAAAAAAAAAE")), ERR_NONE);
    assert_code(check_set(a, rsa_jwks(a, 255, 1, "AQAB")), ERR_OIDC_JWKS);
    assert_code(check_set(a, rsa_jwks(a, 2049, 1, "AQAB")), ERR_OIDC_JWKS);
    assert_code(check_set(a, rsa_jwks(a, 256, 2, "AQAB")), ERR_OIDC_JWKS); // even
    static const char *const exponents[] = {
        "AQ", "Ag", "AA", "", "AQAC", "AQAAAAAAAAAB", "AQAB=", "AQA", "!"
    };
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++)
        assert_code(check_set(a, rsa_jwks(a, 256, 1, exponents[i])), ERR_OIDC_JWKS);
}

// e = 1: the padded hash itself would be its signature.
static void test_exponent_one_forges_nothing(void **state)
{
    struct arena *a = *state;
    struct str jwks = rsa_jwks(a, 256, 1, "AQ");
    unsigned char em[256], md[32];
    static const unsigned char info[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                          0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
    struct str header = STR("{\"alg\":\"RS256\",\"kid\":\"k\"}"),
               t = test_compact(a, header, STR(PAYLOAD), STR(""));
    size_t n = 0;
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, t.p, t.n - 1, md, &n), 1);
    memset(em, 0xFF, sizeof em);
    em[0] = 0;
    em[1] = 1;
    em[256 - 32 - sizeof info - 1] = 0;
    memcpy(em + 256 - 32 - sizeof info, info, sizeof info);
    memcpy(em + 256 - 32, md, 32);
    struct str forged = test_compact(a, header, STR(PAYLOAD), (struct str){ (char *)em, 256 });
    assert_code(test_login_token(a, forged, jwks), ERR_OIDC_JWKS);
}

static void test_malformed_ec_and_okp_keys(void **state)
{
    struct arena *a = *state;
    struct str good = test_jwk(a, KEY_P256, "k", NULL);
    assert_code(check_set(a, one_key(a, good)), ERR_NONE);
    size_t x = str_search(good, STR("\"x\":\"")) + 5, y = str_search(good, STR("\"y\":\"")) + 5;
    struct str off = arena_str(a, good), same = arena_str(a, good);
    ((char *)off.p)[y] = off.p[y] == 'A' ? 'B' : 'A'; // off the curve
    assert_code(check_set(a, one_key(a, off)), ERR_OIDC_JWKS);
    memcpy((char *)same.p + y, same.p + x, 43);
    assert_code(check_set(a, one_key(a, same)), ERR_OIDC_JWKS);
    struct str wide = arena_printf(a, "%.*sAAAA%s", (int)x, good.p, good.p + x); // leading zeros
    assert_code(check_set(a, one_key(a, wide)), ERR_OIDC_JWKS);
    struct str huge = arena_printf(a, "%.*s%0800d%s", (int)x, good.p, 0, good.p + x);
    assert_code(check_set(a, one_key(a, huge)), ERR_OIDC_JWKS);
    static const char *const bad[] = {
        "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"\",\"y\":\"\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"RSA\",\"n\":1,\"e\":3}",
        "{\"kty\":\"unknown\"}",
        "{}",
        "[]",
        "null",
        "1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str with_good[] = { str_c(bad[i]), good };
        assert_code(check_set(a, one_key(a, str_c(bad[i]))), ERR_OIDC_JWKS);
        assert_code(check_set(a, test_jwks(a, with_good, 2)), ERR_NONE); // section 5: ignored
    }
}

static void test_sets_that_are_refused(void **state)
{
    struct arena *a = *state;
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"keys\":{}}",
        "{\"keys\":null}",
        "{\"keys\":[]}",
        "{\"keys\":\"x\"}",
        "{\"keys\":[],\"keys\":[]}",
        "<html>",
        "{\"keys\":[}",
        "{\"Keys\":[]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_code(check_set(a, str_c(bad[i])), ERR_OIDC_JWKS);
        enum err_code code =
            login_with(a, KEY_P256, "ES256", "{\"alg\":\"ES256\",\"kid\":\"k\"}", str_c(bad[i]));
        assert_true(code == ERR_OIDC_JWKS || code == ERR_OIDC_UNKNOWN_KEY);
    }
    struct str good = test_jwk(a, KEY_P256, "k", NULL);
    struct str doubled = arena_printf(a, "{\"keys\":[],\"keys\":[%s]}", good.p);
    assert_code(check_set(a, doubled), ERR_OIDC_JWKS);
    struct str many[LIMIT_JWKS_KEYS + 1];
    for (size_t i = 0; i <= LIMIT_JWKS_KEYS; i++) many[i] = good;
    assert_code(check_set(a, test_jwks(a, many, LIMIT_JWKS_KEYS)), ERR_NONE);
    assert_code(check_set(a, test_jwks(a, many, LIMIT_JWKS_KEYS + 1)), ERR_OIDC_JWKS);
    char *pad = arena_alloc(a, LIMIT_JSON_BYTES + 1);
    memset(pad, ' ', LIMIT_JSON_BYTES);
    assert_code(check_set(a, arena_printf(a, "%s%s", one_key(a, good).p, pad)), ERR_OIDC_JWKS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kid),
        TEST(test_one_key_for_a_kid),
        TEST(test_members_that_forbid_a_key),
        TEST(test_weak_rsa_keys_are_passed_over),
        TEST(test_rsa_numbers_have_bounds),
        TEST(test_exponent_one_forges_nothing),
        TEST(test_malformed_ec_and_okp_keys),
        TEST(test_sets_that_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_keys_free();
    return failed;
}
