// SPDX-License-Identifier: GPL-3.0-or-later
// What goes out through the browser and to the token endpoint, and what comes back in the callback's query.
#include "tests/unit/oidc/tokens.h"

#include "base/encode.h"
#include "base/limits.h"
#include "base/url.h"

// RFC 7636 appendix B.
#define VERIFIER "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

static const struct oidc_login login = {
    .state = STR_INIT("st"),
    .nonce = STR_INIT("no"),
    .code_verifier = STR_INIT(VERIFIER),
    .redirect_uri = STR_INIT("https://login.example.com/.sallyport/oidc/corp/callback"),
};

static void assert_field(const struct form *f, const char *name, const char *want)
{
    struct str got;
    assert_int_equal(form_get(f, name, &got), FORM_OK);
    assert_str(got, want);
}

static struct form query_of(struct arena *a, struct str url)
{
    struct form f;
    assert_true(url.p);
    assert_true(form_parse(a, str_skip(url, str_find(url, '?') + 1), 20, &f));
    return f;
}

static void test_authorization_url(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct str scopes[] = { STR("openid"), STR("email&x=1"), STR("profile") };
    struct oidc_client client = test_client();
    struct oidc_provider p = { .authorization_endpoint = STR("https://idp.example.com/a") };
    client.client_id = STR("app&scope=admin");
    client.scopes = (struct strlist){ scopes, 3 };
    struct str url = oidc_authorization_url(a, &client, &p, &login);
    assert_true(str_starts(url, STR("https://idp.example.com/a?response_type=code&")));
    struct form f = query_of(a, url);
    assert_int_equal(f.n, 8);
    assert_field(&f, "response_type", "code");
    assert_field(&f, "client_id", "app&scope=admin");
    assert_field(&f, "redirect_uri", "https://login.example.com/.sallyport/oidc/corp/callback");
    assert_field(&f, "scope", "openid email&x=1 profile");
    assert_field(&f, "state", "st");
    assert_field(&f, "nonce", "no");
    assert_field(&f, "code_challenge", CHALLENGE);
    assert_field(&f, "code_challenge_method", "S256");
    arena_free(a);
}

static void test_authorization_url_keeps_the_endpoints_query(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct str scopes[] = { STR("email") };
    struct oidc_client client = test_client();
    struct oidc_provider p = { .authorization_endpoint = STR("https://idp.example.com/a?tenant=1") };
    client.scopes = (struct strlist){ scopes, 1 };
    struct form f = query_of(a, oidc_authorization_url(a, &client, &p, &login));
    assert_int_equal(f.n, 9);
    assert_field(&f, "tenant", "1");
    assert_field(&f, "scope", "openid email");
    arena_free(a);
}

static void test_no_request_without_its_protection(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p = { .authorization_endpoint = STR("https://idp.example.com/a") };
    struct oidc_login l = login;
    assert_non_null(oidc_authorization_url(a, &client, &p, &l).p);
    l.state = STR_NONE;
    assert_null(oidc_authorization_url(a, &client, &p, &l).p);
    l = login;
    l.nonce = STR("");
    assert_null(oidc_authorization_url(a, &client, &p, &l).p);
    l = login;
    l.code_verifier = STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOE/Xk"); // no unreserved character
    assert_null(oidc_authorization_url(a, &client, &p, &l).p);
    l.code_verifier = STR("short");
    assert_null(oidc_authorization_url(a, &client, &p, &l).p);
    arena_free(a);
}

static void test_token_request_basic(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_token_request r;
    struct err err = { 0 };
    struct str plain;
    client.client_id = STR("a:b");
    client.client_secret = STR("s%3A+/ \xC3\xA9");
    assert_true(oidc_token_request(a, &client, &login, STR("c&d=e"), &r, &err));
    assert_true(str_starts(r.authorization, STR("Basic ")));
    assert_true(decode_base64(a, str_skip(r.authorization, 6), false, &plain));
    assert_str(plain, "a%3Ab:s%253A%2B%2F%20%C3%A9"); // RFC 6749 section 2.3.1
    struct form f;
    assert_true(form_parse(a, r.body, 20, &f));
    assert_int_equal(f.n, 4);
    assert_field(&f, "grant_type", "authorization_code");
    assert_field(&f, "code", "c&d=e");
    assert_field(&f, "redirect_uri", "https://login.example.com/.sallyport/oidc/corp/callback");
    assert_field(&f, "code_verifier", VERIFIER);
    arena_free(a);
}

static void test_token_request_post(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_token_request r;
    struct err err = { 0 };
    client.token_auth = OIDC_AUTH_POST;
    client.client_secret = STR("s&grant_type=x");
    assert_true(oidc_token_request(a, &client, &login, STR("c"), &r, &err));
    assert_null(r.authorization.p);
    struct form f;
    assert_true(form_parse(a, r.body, 20, &f));
    assert_int_equal(f.n, 6);
    assert_field(&f, "client_id", "app");
    assert_field(&f, "client_secret", "s&grant_type=x");
    arena_free(a);
}

static void test_token_request_needs_everything(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_token_request r = { STR("before"), STR_NONE };
    struct oidc_login l = login;
    struct err err = { 0 };
    assert_false(oidc_token_request(a, &client, &login, STR(""), &r, &err));
    l.code_verifier = STR("short");
    assert_false(oidc_token_request(a, &client, &l, STR("c"), &r, &err));
    struct str huge = { arena_alloc(a, 65536), 65536 };
    memset((char *)huge.p, 'x', huge.n);
    assert_false(oidc_token_request(a, &client, &login, huge, &r, &err));
    assert_code(err.code, ERR_TOO_LARGE);
    client.client_secret = STR("");
    assert_false(oidc_token_request(a, &client, &login, STR("c"), &r, &err));
    assert_str(r.body, "before");
    arena_free(a);
}

static enum err_code callback(struct arena *a, struct str query)
{
    struct oidc_client client = test_client();
    struct oidc_provider p = { .iss_parameter_supported = true };
    struct oidc_callback c = { STR("before"), STR("before") };
    struct err err = { 0 };
    bool ok = oidc_callback_parse(a, query, &client, &p, &c, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    assert_str(c.state, ok ? "abc" : "before");
    assert_str(c.code, ok ? "xyz" : "before");
    return err.code;
}

static void test_callback_vectors(void **state)
{
    (void)state;
    test_vectors("callback", 30, callback);
}

static void test_iss_is_compared_even_when_not_announced(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p = { .iss_parameter_supported = false };
    struct oidc_callback c;
    struct err err = { 0 };
    assert_true(oidc_callback_parse(a, STR("state=abc&code=xyz"), &client, &p, &c, &err));
    assert_false(oidc_callback_parse(a, STR("state=abc&code=xyz&iss=https://evil.example.com"), &client, &p,
                                     &c, &err));
    assert_code(err.code, ERR_OIDC_ISSUER);
    arena_free(a);
}

static void test_state_first(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct str s = STR_NONE;
    struct err err = { 0 };
    assert_true(oidc_callback_state(a, STR("error=access_denied&state=a%62c"), &s, &err));
    assert_str(s, "abc");
    static const char *const bad[] = { "",        "code=x",      "state=a&state=b",
                                       "state=",  "state=%00",   "state=a%0ab",
                                       "state=%", "state=a%20b", "state=a%7fb" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(oidc_callback_state(a, str_c(bad[i]), &s, &err));
        assert_code(err.code, ERR_OIDC_CALLBACK);
    }
    assert_str(s, "abc");
    arena_free(a);
}

// The longest that pass; the vectors hold one more.
static void test_longest_values(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p = { 0 };
    struct oidc_callback c;
    struct err err = { 0 };
    char text[LIMIT_URL_BYTES + 1];
    memset(text, 'x', LIMIT_URL_BYTES);
    text[LIMIT_URL_BYTES] = '\0';
    struct str query = arena_printf(a, "state=%.256s&code=%s", text, text);
    assert_true(oidc_callback_parse(a, query, &client, &p, &c, &err));
    assert_int_equal(c.state.n, 256);
    assert_int_equal(c.code.n, LIMIT_URL_BYTES);
    assert_false(oidc_callback_parse(a, arena_printf(a, "state=s&error=%.64s", text), &client, &p, &c, &err));
    assert_non_null(strstr(err.detail, "xxx"));
    assert_false(oidc_callback_parse(a, arena_printf(a, "state=s&error=%.65s", text), &client, &p, &c, &err));
    assert_null(strstr(err.detail, "xxx"));
    arena_free(a);
}

// A provider's error text ends up in logs: it must not carry more than a code.
static void test_error_detail_is_one_word(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct oidc_client client = test_client();
    struct oidc_provider p = { 0 };
    struct oidc_callback c;
    struct err err = { 0 };
    assert_false(oidc_callback_parse(a, STR("state=abc&error=login_required"), &client, &p, &c, &err));
    assert_non_null(strstr(err.detail, "login_required"));
    assert_false(oidc_callback_parse(a, STR("state=abc&error=no%0Aforged+line"), &client, &p, &c, &err));
    assert_null(strstr(err.detail, "forged"));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authorization_url),
        cmocka_unit_test(test_authorization_url_keeps_the_endpoints_query),
        cmocka_unit_test(test_no_request_without_its_protection),
        cmocka_unit_test(test_token_request_basic),
        cmocka_unit_test(test_token_request_post),
        cmocka_unit_test(test_token_request_needs_everything),
        cmocka_unit_test(test_callback_vectors),
        cmocka_unit_test(test_iss_is_compared_even_when_not_announced),
        cmocka_unit_test(test_state_first),
        cmocka_unit_test(test_longest_values),
        cmocka_unit_test(test_error_detail_is_one_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
