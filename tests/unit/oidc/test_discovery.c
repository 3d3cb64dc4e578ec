// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/oidc/tokens.h"

#include "base/limits.h"

static enum err_code discover(struct arena *a, struct str text)
{
    struct oidc_client client = test_client();
    struct oidc_provider p;
    struct err err = { 0 };
    client.algorithms = OIDC_RS256 | OIDC_ES256;
    bool ok = oidc_discovery_parse(a, text, &client, &p, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    return err.code;
}

static void test_discovery_vectors(void **state)
{
    (void)state;
    test_vectors("discovery", 40, discover);
}

// A discovery document with the given issuer, base of the endpoints and more members.
static struct str document(struct arena *a, const char *issuer, const char *base, const char *more)
{
    return arena_printf(a,
                        "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s/a\",\"token_endpoint\":\"%s/t\","
                        "\"jwks_uri\":\"%s/j\",\"id_token_signing_alg_values_supported\":[\"RS256\"]%s}",
                        issuer, base, base, base, more);
}

static enum err_code discover_http(struct arena *a, const char *issuer, const char *base)
{
    struct oidc_client client = test_client();
    struct oidc_provider p;
    struct err err = { 0 };
    client.issuer = str_c(issuer);
    bool ok = oidc_discovery_parse(a, document(a, issuer, base, ""), &client, &p, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    return err.code;
}

static void test_http_only_on_this_machine(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    assert_code(discover_http(a, "http://127.0.0.1:8080", "http://127.0.0.1:8080"), ERR_NONE);
    assert_code(discover_http(a, "http://idp.localhost", "http://localhost:81"), ERR_NONE);
    assert_code(discover_http(a, "http://[::1]", "http://[::1]"), ERR_NONE);
    assert_code(discover_http(a, "http://127.0.0.1", "https://idp.example.com"), ERR_NONE);
    static const char *const not_here[] = { "http://idp.example.com", "http://127.0.0.1.example.com",
                                            "http://128.0.0.1",       "http://localhost.example.com",
                                            "http://mylocalhost",     "http://[::2]",
                                            "http://0.0.0.0",         "http://[::ffff:10.0.0.1]" };
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++) {
        assert_code(discover_http(a, not_here[i], not_here[i]), ERR_OIDC_DISCOVERY);
        assert_code(discover_http(a, "http://127.0.0.1", not_here[i]), ERR_OIDC_DISCOVERY);
    }
    // An https issuer gets no http endpoint, and an http issuer elsewhere nothing, whatever its endpoints
    // are.
    assert_code(discover_http(a, "https://127.0.0.1", "http://127.0.0.1"), ERR_OIDC_DISCOVERY);
    assert_code(discover_http(a, "http://idp.example.com", "https://idp.example.com"), ERR_OIDC_DISCOVERY);
    assert_code(discover_http(a, "http://idp.example.com", "http://127.0.0.1"), ERR_OIDC_DISCOVERY);
    assert_code(discover_http(a, "ftp://idp.example.com", "https://idp.example.com"), ERR_OIDC_DISCOVERY);
    assert_code(
        discover_http(a, "http://127.0.0.1", "http://127.0.0.1.a-host-name-longer-than-an-address.example"),
        ERR_OIDC_DISCOVERY);
    assert_code(discover_http(a, "https://idp.example.com?x=1", "https://idp.example.com"),
                ERR_OIDC_DISCOVERY);
    assert_code(discover_http(a, "https://idp.example.com#x", "https://idp.example.com"), ERR_OIDC_DISCOVERY);
    arena_free(a);
}

static void test_values_are_read(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p;
    struct err err = { 0 };
    const char *more = ",\"userinfo_endpoint\":\"" ISSUER "/u\",\"end_session_endpoint\":\"" ISSUER "/e\","
                       "\"authorization_response_iss_parameter_supported\":true";
    assert_true(
        oidc_discovery_parse(a, document(a, ISSUER, "https://IDP.example.com:443", more), &client, &p, &err));
    assert_str(p.authorization_endpoint, ISSUER "/a");
    assert_str(p.token_endpoint, ISSUER "/t");
    assert_str(p.jwks_uri, ISSUER "/j");
    assert_str(p.userinfo_endpoint, ISSUER "/u");
    assert_str(p.end_session_endpoint, ISSUER "/e");
    assert_true(p.iss_parameter_supported);
    more = ",\"authorization_response_iss_parameter_supported\":\"true\"";
    assert_true(oidc_discovery_parse(a, document(a, ISSUER, ISSUER, more), &client, &p, &err));
    assert_false(p.iss_parameter_supported);
    assert_null(p.userinfo_endpoint.p);
    assert_null(p.end_session_endpoint.p);
    arena_free(a);
}

static void test_what_is_configured_must_be_offered(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p;
    struct err err = { 0 };
    struct str plain = document(a, ISSUER, ISSUER, "");
    client.token_auth = OIDC_AUTH_POST;
    assert_false(oidc_discovery_parse(a, plain, &client, &p, &err)); // the default is basic alone
    assert_code(err.code, ERR_OIDC_DISCOVERY);
    struct str post =
        document(a, ISSUER, ISSUER, ",\"token_endpoint_auth_methods_supported\":[\"client_secret_post\"]");
    assert_true(oidc_discovery_parse(a, post, &client, &p, &err));
    client = test_client();
    client.userinfo = true;
    assert_false(oidc_discovery_parse(a, plain, &client, &p, &err));
    assert_code(err.code, ERR_OIDC_DISCOVERY);
    client = test_client();
    client.algorithms = OIDC_ES256;
    assert_false(oidc_discovery_parse(a, plain, &client, &p, &err));
    client.algorithms = 0;
    assert_false(oidc_discovery_parse(a, plain, &client, &p, &err));
    arena_free(a);
}

static void test_size_is_bounded(void **state)
{
    (void)state;
    struct arena *a = arena_new(2 << 20);
    char *pad = arena_alloc(a, LIMIT_JSON_BYTES + 1);
    memset(pad, ' ', LIMIT_JSON_BYTES);
    struct str plain = document(a, ISSUER, ISSUER, "");
    assert_code(discover(a, arena_printf(a, "%s%.*s", plain.p, (int)(LIMIT_JSON_BYTES - plain.n), pad)),
                ERR_NONE);
    assert_code(discover(a, arena_printf(a, "%s%s", plain.p, pad)), ERR_OIDC_DISCOVERY);
    arena_free(a);
}

static void test_well_known_url(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    assert_str(oidc_discovery_url(a, STR("https://a.example")),
               "https://a.example/.well-known/openid-configuration");
    assert_str(oidc_discovery_url(a, STR("https://a.example/")),
               "https://a.example/.well-known/openid-configuration");
    assert_str(oidc_discovery_url(a, STR("https://a.example/realms/x")),
               "https://a.example/realms/x/.well-known/openid-configuration");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discovery_vectors), cmocka_unit_test(test_http_only_on_this_machine),
        cmocka_unit_test(test_values_are_read),   cmocka_unit_test(test_what_is_configured_must_be_offered),
        cmocka_unit_test(test_size_is_bounded),   cmocka_unit_test(test_well_known_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
