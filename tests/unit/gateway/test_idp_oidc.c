// SPDX-License-Identifier: GPL-3.0-or-later
// OpenID Connect logins through the login thread, with real verifiers, against a scripted provider: what it
// believes and how often it asks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idp_rig.h"

// ---- OpenID Connect

static void test_oidc_login(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&world.r, &l, IDP_START, OIDC, NULL);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_NONE);
    assert_true(str_search(l.job.redirect_url, STR("/authorize?")) < l.job.redirect_url.n);
    assert_true(str_search(l.job.redirect_url, STR("code_challenge=")) < l.job.redirect_url.n);
    login_free(&l);
    login_begin(&world.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    if (l.job.err.code != ERR_NONE) fail_msg("%s: %s", err_name(l.job.err.code), l.job.err.detail);
    assert_true(str_eq_c(l.job.identity.provider, "op"));
    assert_true(str_eq_c(l.job.identity.subject, "ann"));
    assert_true(str_eq_c(l.job.identity.email, "ann@example.com"));
    assert_true(l.job.id_token.n > 100);
    login_free(&l);
    assert_true(web_last_request_has(&world.d, "POST /token "));
    assert_true(web_last_request_has(&world.d, "Authorization: Basic "));
    assert_true(rig_status(&world.r, OIDC).ready);
    assert_false(rig_status(&world.r, OIDC).from_disk);
}

// RFC 8414 section 3.3 / Discovery 4.3: or another provider could answer for this one.
static void test_discovery_of_another_issuer(void **state)
{
    (void)state;
    char *text = op_discovery(&world.r, "http://127.0.0.1:1");
    web_set(&world.d, DISCOVERY, 200, "application/json", text);
    free(text);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&world.r, OIDC).error, "oidc.discovery"));
    assert_int_equal(web_hits(&world.d, "/jwks"), 0);
}

// A good document, only too large.
static void test_oversized_discovery(void **state)
{
    (void)state;
    char *good = op_discovery(&world.r, world.r.issuer), *big = malloc(LIMIT_JSON_BYTES + 1000);
    memset(big, ' ', LIMIT_JSON_BYTES + 1000);
    strcpy(big + LIMIT_JSON_BYTES + 999 - strlen(good), good);
    web_set(&world.d, DISCOVERY, 200, "application/json", big);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&world.r, OIDC).error, "too large"));
    free(good);
    free(big);
}

// The redirect leads to a document that would be believed.
static void test_redirects_are_not_followed(void **state)
{
    (void)state;
    char *text = op_discovery(&world.r, world.r.issuer);
    web_set(&world.d, "/elsewhere", 200, "application/json", text);
    web_set_redirect(&world.d, DISCOVERY, "/elsewhere");
    free(text);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&world.d, "/elsewhere"), 0);
    assert_non_null(strstr(rig_status(&world.r, OIDC).error, "redirect"));
}

// Plain http is for this machine only. The name would lead to a server that answers well (see /etc/hosts of
// nobody).
static void test_plain_http_elsewhere_is_refused(void **state)
{
    (void)state;
    snprintf(world.r.issuer, sizeof world.r.issuer, "http://127.0.0.1.example.com:%d", world.d.port);
    world.r.providers[OIDC].oidc.issuer = str_c(world.r.issuer);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&world.r, OIDC).error, "loopback"));
}

static void test_slow_provider_delays_nobody_else(void **state)
{
    (void)state;
    static struct http_double other;
    web_start(&other);
    web_set_slow(&other, DISCOVERY, 30000);
    snprintf(world.r.issuer, sizeof world.r.issuer, "http://127.0.0.1:%d", other.port);
    world.r.providers[OIDC].oidc.issuer = str_c(world.r.issuer);
    rig_run(&world.r, RIG_VERIFIERS);
    int64_t begun = now_ms();
    struct login slow;
    login_begin(&world.r, &slow, IDP_START, OIDC, NULL);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_true(now_ms() - begun < 5000);
    login_wait(&slow);
    assert_int_equal(slow.job.err.code, ERR_LOGIN_UNAVAILABLE);
    assert_in_range(now_ms() - begun, LIMIT_BACKCHANNEL_SECONDS * 1000 - 500,
                    LIMIT_BACKCHANNEL_SECONDS * 1000 + 4000);
    login_free(&slow);
    web_stop(&other);
}

// New keys are looked for once; a flood of unknown key ids does not become a flood of fetches, and opens
// nothing.
static void test_unknown_key_refetches_once(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000));
    assert_int_equal(web_hits(&world.d, "/jwks"), 1);
    op_script(&world.r, &world.d, "k2"); // the provider has a new key
    assert_int_equal(rig_finish_code(&world.r), ERR_NONE);
    assert_int_equal(web_hits(&world.d, "/jwks"), 2);
    op_script(&world.r, &world.d, "k3"); // and another one at once
    assert_int_equal(rig_finish_code(&world.r), ERR_OIDC_UNKNOWN_KEY);
    assert_int_equal(rig_finish_code(&world.r), ERR_OIDC_UNKNOWN_KEY);
    assert_int_equal(web_hits(&world.d, "/jwks"), 2);
}

static void test_bad_keys_change_nothing(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000));
    char *tokens = op_token_answer(&world.r, "unknown", "planted-nonce");
    web_set(&world.d, "/token", 200, "application/json", tokens);
    web_set(&world.d, "/jwks", 200, "application/json", "{\"keys\":[]}");
    free(tokens);
    assert_int_equal(rig_finish_code(&world.r), ERR_OIDC_UNKNOWN_KEY);
    op_script(&world.r, &world.d, "k1");
    assert_int_equal(rig_finish_code(&world.r), ERR_NONE);
}

static void test_state_of_another_login(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&world.r, &l, IDP_FINISH, OIDC, "state=another&code=planted-code");
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_STATE);
    assert_int_equal(web_hits(&world.d, "/token"), 0);
    login_free(&l);
}

static void assert_token_refusal(int status, const char *type, const char *body, const char *detail)
{
    struct login l;
    web_set(&world.d, "/token", status, type, body);
    login_begin(&world.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_OIDC_TOKEN_RESPONSE);
    if (!strstr(l.job.err.detail, detail)) fail_msg("detail: %s", l.job.err.detail);
    login_free(&l);
}

static void test_token_endpoint_refusals(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_token_refusal(400, "application/json", "{\"error\":\"invalid_grant\"}", "invalid_grant");
    assert_token_refusal(400, "application/json", "{\"error\":\"a\\r\\nforged log line\"}",
                         "without a reason");
    assert_token_refusal(400, "application/json", "{\"error\":\"x\",\"error\":\"y\"}", "without a reason");
    assert_token_refusal(500, "application/json", "not json", "without a reason");
    char *good = op_token_answer(&world.r, "k1", "planted-nonce");
    assert_token_refusal(200, "text/html", good, "not in JSON");
    assert_token_refusal(200, "application/jsonp", good, "not in JSON");
    assert_token_refusal(400, "application/json", good, "without a reason"); // good tokens on an error answer
    free(good);
}

static enum err_code userinfo_code(int status, const char *type, const char *body, const char *email)
{
    struct login l;
    web_set(&world.d, "/userinfo", status, type, body);
    login_begin(&world.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    enum err_code code = l.job.err.code;
    if (code == ERR_NONE) assert_true(str_eq_c(l.job.identity.email, email));
    login_free(&l);
    return code;
}

static void test_userinfo(void **state)
{
    (void)state;
    world.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&world.r, RIG_VERIFIERS);
    const char *json = "{\"sub\":\"ann\",\"department\":\"it\"}",
               *other = "{\"sub\":\"bob\",\"department\":\"it\"}";
    assert_int_equal(userinfo_code(200, "application/json", json, "ann@example.com"), ERR_NONE);
    assert_true(web_last_request_has(&world.d, "Authorization: Bearer planted-access-token\r\n"));
    assert_int_equal(userinfo_code(200, "application/json", other, NULL), ERR_OIDC_USERINFO);
    assert_int_equal(userinfo_code(200, "application/jwt", json, NULL), ERR_OIDC_USERINFO);
    assert_int_equal(userinfo_code(401, "application/json", json, NULL), ERR_OIDC_USERINFO);
}

// What a hostile provider could put into the header of the next request.
static void test_access_token_cannot_inject_headers(void **state)
{
    (void)state;
    const char *const hostile[] = { "a\\r\\nX-Injected: 1", "a b", "a\\u0000", "\xc3\xa4", "" };
    world.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&world.r, RIG_VERIFIERS);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char *good = op_token_answer(&world.r, "k1", "planted-nonce"), *bad,
             *rest = strstr(good, "\",\"token_type\"");
        assert_true(asprintf(&bad, "{\"access_token\":\"%s%s", hostile[i], rest) > 0);
        web_set(&world.d, "/token", 200, "application/json", bad);
        enum err_code code = rig_finish_code(&world.r);
        assert_true(code == ERR_OIDC_USERINFO || code == ERR_OIDC_TOKEN_RESPONSE);
        free(good);
        free(bad);
    }
    assert_int_equal(web_hits(&world.d, "/userinfo"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(oidc_login),
        T(discovery_of_another_issuer),
        T(oversized_discovery),
        T(redirects_are_not_followed),
        T(plain_http_elsewhere_is_refused),
        T(slow_provider_delays_nobody_else),
        T(unknown_key_refetches_once),
        T(bad_keys_change_nothing),
        T(state_of_another_login),
        T(token_endpoint_refusals),
        T(userinfo),
        T(access_token_cannot_inject_headers),
    };
    return world_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
