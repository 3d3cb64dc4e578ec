// SPDX-License-Identifier: GPL-3.0-or-later
// Every allocation fails once, those of the JSON library included: no crash, no leak, no result, and the
// right reason.
#include "tests/unit/oidc/tokens.h"

#include "base/mem.h"

static struct str token_answer, keys, unnamed_answer, unnamed_keys;
static const struct str discovery =
    STR_INIT("{\"issuer\":\"" ISSUER "\",\"authorization_endpoint\":\"" ISSUER
             "/a\",\"token_endpoint\":\"" ISSUER "/t\","
             "\"jwks_uri\":\"" ISSUER "/j\",\"userinfo_endpoint\":\"" ISSUER "/u\","
             "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\"],"
             "\"id_token_signing_alg_values_supported\":[\"ES256\"]}");
static struct str nested[] = { STR_INIT("realm_access.roles") };

static struct oidc_client client_with_mapping(void)
{
    struct oidc_client client = test_client();
    client.mapping.groups = (struct strlist){ nested, 1 };
    return client;
}

static bool login_both(struct arena *a, struct str answer, struct str jwks, struct err *err)
{
    struct oidc_client client = client_with_mapping();
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct identity id = { .subject = STR("before") };
    struct oidc_tokens tokens = { 0 };
    bool ok = oidc_login_verify(a, &client, &expect, answer, jwks, &id, &tokens, err);
    assert_int_equal(ok, !str_eq_c(id.subject, "before"));
    assert_int_equal(ok, tokens.id_token.p != NULL);
    if (!ok) return false;
    assert_int_equal(id.groups.n, 2);
    struct identity before = id;
    ok = oidc_userinfo_merge(a, &client,
                             STR("{\"sub\":\"248289761001\",\"n\":[1.5,2],\"email\":\"b@X.org\"}"), &id, err);
    if (!ok) assert_memory_equal(&before, &id, sizeof id);
    if (ok) assert_str(id.email, "b@x.org");
    return ok;
}

static bool run_login(struct arena *a, struct err *err)
{
    return login_both(a, token_answer, keys, err);
}

static bool run_unnamed_login(struct arena *a, struct err *err)
{
    return login_both(a, unnamed_answer, unnamed_keys, err);
}

static bool run_discovery(struct arena *a, struct err *err)
{
    struct oidc_client client = test_client();
    struct oidc_provider p = { 0 };
    bool ok = oidc_discovery_parse(a, discovery, &client, &p, err);
    assert_int_equal(ok, p.jwks_uri.p != NULL);
    return ok;
}

static bool run_jwks(struct arena *a, struct err *err)
{
    return oidc_jwks_check(a, keys, err);
}

static bool run_callback(struct arena *a, struct err *err)
{
    struct oidc_client client = test_client();
    struct oidc_provider p = { .iss_parameter_supported = true };
    struct oidc_callback c = { 0 };
    struct str s = STR_NONE, query = STR("state=abc&code=xyz&iss=https%3A%2F%2Fidp.example.com");
    bool ok = oidc_callback_state(a, query, &s, err) && oidc_callback_parse(a, query, &client, &p, &c, err);
    assert_int_equal(ok, c.code.p != NULL);
    return ok;
}

static bool run_requests(struct arena *a, struct err *err)
{
    struct oidc_client client = test_client();
    struct oidc_provider p = { .authorization_endpoint = STR(ISSUER "/a") };
    struct oidc_login login = { STR("s"), STR("n"), STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
                                STR("r") };
    struct oidc_token_request r = { 0 };
    if (!oidc_discovery_url(a, client.issuer).p) return err_set(err, ERR_NO_MEMORY, "no URL");
    if (!oidc_authorization_url(a, &client, &p, &login).p) return err_set(err, ERR_NO_MEMORY, "no URL");
    if (!oidc_token_request(a, &client, &login, STR("c"), &r, err)) return false;
    assert_true(r.body.p && r.authorization.p);
    client.token_auth = OIDC_AUTH_POST;
    return oidc_token_request(a, &client, &login, STR("c"), &r, err);
}

static void every_allocation_fails_once(bool (*run)(struct arena *, struct err *))
{
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        struct arena *a = arena_new(1 << 20);
        bool ok = a && run(a, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        arena_free(a);
        if (!failed) {
            assert_true(ok);
            print_message("%ld allocations\n", n - 1);
            assert_true(n > 2);
            return;
        }
        assert_false(ok);
        if (a) assert_code(err.code, ERR_NO_MEMORY);
    }
}

// The same with the arena's own limit.
static void every_limit_is_survived(bool (*run)(struct arena *, struct err *))
{
    size_t failures = 0;
    for (size_t limit = 16; limit <= 200000; limit += limit < 8192 ? 16 : 4096) {
        struct err err = { 0 };
        struct arena *a = arena_new(limit);
        if (!run(a, &err)) {
            assert_code(err.code, ERR_NO_MEMORY);
            failures++;
        }
        arena_free(a);
    }
    assert_true(failures > 0);
}

#define MEMORY_TEST(name, run)                                                                               \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        every_allocation_fails_once(run);                                                                    \
        every_limit_is_survived(run);                                                                        \
    }
MEMORY_TEST(memory_of_login, run_login)
MEMORY_TEST(memory_of_unnamed_login, run_unnamed_login)
MEMORY_TEST(memory_of_discovery, run_discovery)
MEMORY_TEST(memory_of_jwks, run_jwks)
MEMORY_TEST(memory_of_callback, run_callback)
MEMORY_TEST(memory_of_requests, run_requests)

static void make_inputs(struct arena *a)
{
    struct str payload =
        STR("{\"iss\":\"" ISSUER "\",\"sub\":\"248289761001\",\"aud\":[\"" CLIENT_ID "\"],"
            "\"exp\":1700000300,\"iat\":1700000000,\"nonce\":\"" NONCE "\",\"r\":0.5,\"i\":7,"
            "\"at_hash\":\"77QmUPtjPfzWtF2AnpK9RQ\",\"realm_access\":{\"roles\":[\"a\",\"b\"]}}");
    struct str jwk[] = { test_jwk(a, KEY_P256, "k", NULL), test_jwk(a, KEY_RSA, "r", NULL) };
    keys = test_jwks(a, jwk, 2);
    token_answer =
        test_answer(a, test_token(a, KEY_P256, "ES256", "{\"alg\":\"ES256\",\"kid\":\"k\"}", payload));
    struct str two[] = { test_jwk(a, KEY_RSA_OTHER, "x", NULL), test_jwk(a, KEY_RSA, NULL, NULL) };
    unnamed_keys = test_jwks(a, two, 2);
    unnamed_answer = test_answer(a, test_token(a, KEY_RSA, "RS256", "{\"alg\":\"RS256\"}", payload));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_login),     cmocka_unit_test(memory_of_unnamed_login),
        cmocka_unit_test(memory_of_discovery), cmocka_unit_test(memory_of_jwks),
        cmocka_unit_test(memory_of_callback),  cmocka_unit_test(memory_of_requests),
    };
    struct arena *a = arena_new(1 << 20);
    make_inputs(a);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(a);
    test_keys_free();
    return failed;
}
