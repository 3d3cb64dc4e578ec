// SPDX-License-Identifier: GPL-3.0-or-later
// The login thread with real verifiers against a scripted identity provider: what it believes, how often it
// asks, what happens when the provider or a verifier is not there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/log.h"
#include "gateway/processes.h"
#include "idp_rig.h"
#include "tests/unit/saml/idp_double.h"

enum { PORT = 22000, OIDC = 0, SAML = 1 };
#define DISCOVERY "/.well-known/openid-configuration"

struct world {
    struct http_double d;
    struct rig r;
};
static struct world w;

static int setup(void **state)
{
    (void)state;
    web_start(&w.d, PORT);
    rig_init(&w.r, PORT);
    op_script(&w.r, &w.d, "k1");
    char *metadata = saml_metadata(&w.r, NULL);
    web_set(&w.d, "/metadata", 200, "application/xml", metadata);
    free(metadata);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_done(&w.r);
    web_stop(&w.d);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- OpenID Connect

static void test_oidc_login(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&w.r, &l, IDP_START, OIDC, NULL);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_NONE);
    assert_true(str_search(l.job.redirect_url, STR("/authorize?")) < l.job.redirect_url.n);
    assert_true(str_search(l.job.redirect_url, STR("code_challenge=")) < l.job.redirect_url.n);
    login_free(&l);
    login_begin(&w.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    if (l.job.err.code != ERR_NONE) fail_msg("%s: %s", err_name(l.job.err.code), l.job.err.detail);
    assert_true(str_eq_c(l.job.identity.provider, "op"));
    assert_true(str_eq_c(l.job.identity.subject, "ann"));
    assert_true(str_eq_c(l.job.identity.email, "ann@example.com"));
    assert_true(l.job.id_token.n > 100);
    login_free(&l);
    assert_true(web_last_request_has(&w.d, "POST /token "));
    assert_true(web_last_request_has(&w.d, "Authorization: Basic "));
    assert_true(rig_status(&w.r, OIDC).ready);
    assert_false(rig_status(&w.r, OIDC).from_disk);
}

// RFC 8414 section 3.3 / Discovery 4.3: or another provider could answer for this one.
static void test_discovery_of_another_issuer(void **state)
{
    (void)state;
    char *text = op_discovery(&w.r, "http://127.0.0.1:1");
    web_set(&w.d, DISCOVERY, 200, "application/json", text);
    free(text);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&w.r, OIDC).error, "oidc.discovery"));
    assert_int_equal(web_hits(&w.d, "/jwks"), 0);
}

// A good document, only too large.
static void test_oversized_discovery(void **state)
{
    (void)state;
    char *good = op_discovery(&w.r, w.r.issuer), *big = malloc(LIMIT_JSON_BYTES + 1000);
    memset(big, ' ', LIMIT_JSON_BYTES + 1000);
    strcpy(big + LIMIT_JSON_BYTES + 999 - strlen(good), good);
    web_set(&w.d, DISCOVERY, 200, "application/json", big);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&w.r, OIDC).error, "too large"));
    free(good);
    free(big);
}

// The redirect leads to a document that would be believed.
static void test_redirects_are_not_followed(void **state)
{
    (void)state;
    char *text = op_discovery(&w.r, w.r.issuer);
    web_set(&w.d, "/elsewhere", 200, "application/json", text);
    web_set_redirect(&w.d, DISCOVERY, "/elsewhere");
    free(text);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&w.d, "/elsewhere"), 0);
    assert_non_null(strstr(rig_status(&w.r, OIDC).error, "redirect"));
}

// Plain http is for this machine only. The name would lead to a server that answers well (see /etc/hosts of
// nobody).
static void test_plain_http_elsewhere_is_refused(void **state)
{
    (void)state;
    strcpy(w.r.issuer, "http://127.0.0.1.example.com:22000");
    w.r.providers[OIDC].oidc.issuer = str_c(w.r.issuer);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_non_null(strstr(rig_status(&w.r, OIDC).error, "loopback"));
}

static void test_slow_provider_delays_nobody_else(void **state)
{
    (void)state;
    static struct http_double other;
    web_start(&other, PORT + 1);
    web_set_slow(&other, DISCOVERY, 30000);
    strcpy(w.r.issuer, "http://127.0.0.1:22001");
    w.r.providers[OIDC].oidc.issuer = str_c(w.r.issuer);
    rig_run(&w.r, RIG_VERIFIERS);
    int64_t begun = now_ms();
    struct login slow;
    login_begin(&w.r, &slow, IDP_START, OIDC, NULL);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
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
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000));
    assert_int_equal(web_hits(&w.d, "/jwks"), 1);
    op_script(&w.r, &w.d, "k2"); // the provider has a new key
    assert_int_equal(rig_finish_code(&w.r), ERR_NONE);
    assert_int_equal(web_hits(&w.d, "/jwks"), 2);
    op_script(&w.r, &w.d, "k3"); // and another one at once
    assert_int_equal(rig_finish_code(&w.r), ERR_OIDC_UNKNOWN_KEY);
    assert_int_equal(rig_finish_code(&w.r), ERR_OIDC_UNKNOWN_KEY);
    assert_int_equal(web_hits(&w.d, "/jwks"), 2);
}

static void test_bad_keys_change_nothing(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000));
    char *tokens = op_token_answer(&w.r, "unknown", "planted-nonce");
    web_set(&w.d, "/token", 200, "application/json", tokens);
    web_set(&w.d, "/jwks", 200, "application/json", "{\"keys\":[]}");
    free(tokens);
    assert_int_equal(rig_finish_code(&w.r), ERR_OIDC_UNKNOWN_KEY);
    op_script(&w.r, &w.d, "k1");
    assert_int_equal(rig_finish_code(&w.r), ERR_NONE);
}

static void test_state_of_another_login(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&w.r, &l, IDP_FINISH, OIDC, "state=another&code=planted-code");
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_STATE);
    assert_int_equal(web_hits(&w.d, "/token"), 0);
    login_free(&l);
}

static void assert_token_refusal(int status, const char *type, const char *body, const char *detail)
{
    struct login l;
    web_set(&w.d, "/token", status, type, body);
    login_begin(&w.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_OIDC_TOKEN_RESPONSE);
    if (!strstr(l.job.err.detail, detail)) fail_msg("detail: %s", l.job.err.detail);
    login_free(&l);
}

static void test_token_endpoint_refusals(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_token_refusal(400, "application/json", "{\"error\":\"invalid_grant\"}", "invalid_grant");
    assert_token_refusal(400, "application/json", "{\"error\":\"a\\r\\nforged log line\"}",
                         "without a reason");
    assert_token_refusal(400, "application/json", "{\"error\":\"x\",\"error\":\"y\"}", "without a reason");
    assert_token_refusal(500, "application/json", "not json", "without a reason");
    char *good = op_token_answer(&w.r, "k1", "planted-nonce");
    assert_token_refusal(200, "text/html", good, "not in JSON");
    assert_token_refusal(200, "application/jsonp", good, "not in JSON");
    assert_token_refusal(400, "application/json", good, "without a reason"); // good tokens on an error answer
    free(good);
}

static enum err_code userinfo_code(int status, const char *type, const char *body, const char *email)
{
    struct login l;
    web_set(&w.d, "/userinfo", status, type, body);
    login_begin(&w.r, &l, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    login_wait(&l);
    enum err_code code = l.job.err.code;
    if (code == ERR_NONE) assert_true(str_eq_c(l.job.identity.email, email));
    login_free(&l);
    return code;
}

static void test_userinfo(void **state)
{
    (void)state;
    w.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&w.r, RIG_VERIFIERS);
    const char *json = "{\"sub\":\"ann\",\"department\":\"it\"}",
               *other = "{\"sub\":\"bob\",\"department\":\"it\"}";
    assert_int_equal(userinfo_code(200, "application/json", json, "ann@example.com"), ERR_NONE);
    assert_true(web_last_request_has(&w.d, "Authorization: Bearer planted-access-token\r\n"));
    assert_int_equal(userinfo_code(200, "application/json", other, NULL), ERR_OIDC_USERINFO);
    assert_int_equal(userinfo_code(200, "application/jwt", json, NULL), ERR_OIDC_USERINFO);
    assert_int_equal(userinfo_code(401, "application/json", json, NULL), ERR_OIDC_USERINFO);
}

// What a hostile provider could put into the header of the next request.
static void test_access_token_cannot_inject_headers(void **state)
{
    (void)state;
    const char *const hostile[] = { "a\\r\\nX-Injected: 1", "a b", "a\\u0000", "\xc3\xa4", "" };
    w.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&w.r, RIG_VERIFIERS);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char *good = op_token_answer(&w.r, "k1", "planted-nonce"), *bad,
             *rest = strstr(good, "\",\"token_type\"");
        assert_true(asprintf(&bad, "{\"access_token\":\"%s%s", hostile[i], rest) > 0);
        web_set(&w.d, "/token", 200, "application/json", bad);
        enum err_code code = rig_finish_code(&w.r);
        assert_true(code == ERR_OIDC_USERINFO || code == ERR_OIDC_TOKEN_RESPONSE);
        free(good);
        free(bad);
    }
    assert_int_equal(web_hits(&w.d, "/userinfo"), 0);
}

// ---- SAML

// A response for this moment, in base64, signed with that key.
static char *response_now(struct arena *a, enum double_key key, char times[7][32])
{
    static const struct {
        const char *in_template;
        int offset;
    } at[7] = { { "2026-01-15T12:00:00Z", 0 },     { "2026-01-15T12:00:00Z", 0 },
                { "2026-01-15T12:05:00Z", 300 },   { "2026-01-15T11:59:00Z", -60 },
                { "2026-01-15T12:10:00.5Z", 600 }, { "2026-01-15T11:58:00Z", -120 },
                { "2026-01-15T20:00:00Z", 28800 } };
    struct recipe r = { .sign_response = true, .key = key, .nbefore = 7 };
    for (int i = 0; i < 7; i++) {
        time_t t = time(NULL) + at[i].offset;
        strftime(times[i], 32, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
        r.before[i] = (struct edit){ str_c(at[i].in_template), str_c(times[i]) };
    }
    return (char *)(uintptr_t)encode_base64(a, double_response(a, &r)).p;
}

static void assert_saml_finish(enum double_key key, enum err_code code)
{
    struct arena *a = arena_new(1 << 22);
    char times[7][32];
    struct login l;
    login_begin(&w.r, &l, IDP_FINISH, SAML, response_now(a, key, times));
    login_wait(&l);
    if (l.job.err.code != code) fail_msg("%s: %s", err_name(l.job.err.code), l.job.err.detail);
    if (code == ERR_NONE) {
        assert_true(str_eq_c(l.job.identity.provider, "corp") && l.job.identity.subject.n > 0);
        assert_true(str_eq_c(l.job.assertion_id, "_assertion") && l.job.replay_until > time(NULL));
    }
    login_free(&l);
    arena_free(a);
}

// The provider changed its key: its metadata is looked at again, once a minute at most, and who is still
// unknown stays out.
static void test_saml_login_and_new_keys(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, SAML, true, 5000));
    web_set(&w.d, "/metadata", 200, "application/xml", double_metadata(w.r.arena).p);
    assert_saml_finish(KEY_RSA, ERR_NONE);
    assert_int_equal(web_hits(&w.d, "/metadata"), 2);
    assert_saml_finish(KEY_RSA_NEXT, ERR_NONE);
    assert_saml_finish(KEY_STRANGER, ERR_SAML_SIGNATURE);
    assert_int_equal(web_hits(&w.d, "/metadata"), 2);
}

static void test_saml_finish_without_a_response(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&w.r, &l, IDP_FINISH, SAML, NULL);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_SAML_ENCODING);
    login_free(&l);
}

// ---- availability

static void test_provider_that_comes_up(void **state)
{
    (void)state;
    web_set(&w.d, DISCOVERY, 503, "text/plain", "");
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    int hits = web_hits(&w.d, DISCOVERY);
    for (int i = 0; i < 20; i++) assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&w.d, DISCOVERY), hits); // visitors do not make a flood
    op_script(&w.r, &w.d, "k1");
    usleep(5100 * 1000);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_NONE);
    assert_int_equal(rig_finish_code(&w.r), ERR_NONE);
}

static void provider_goes_away(void)
{
    web_set(&w.d, DISCOVERY, 503, "text/plain", "");
    web_set(&w.d, "/jwks", 503, "text/plain", "");
    web_set(&w.d, "/metadata", 503, "text/plain", "");
}

static void test_last_good_copies(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000) && rig_wait_ready(&w.r, SAML, true, 5000));
    rig_halt(&w.r);
    provider_goes_away();
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_NONE);
    assert_int_equal(rig_finish_code(&w.r), ERR_NONE);
    assert_true(rig_status(&w.r, OIDC).from_disk && rig_status(&w.r, SAML).from_disk);
    struct stat st;
    char path[128];
    snprintf(path, sizeof path, "%s/idp/op.jwks.json", w.r.state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

// The same key in the configuration, another provider behind it: the old one's keys must not be believed.
static void test_copy_of_another_source(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, SAML, true, 5000) && rig_wait_ready(&w.r, OIDC, true, 5000));
    rig_halt(&w.r);
    provider_goes_away();
    strcat(w.r.metadata_url, "-of-another");
    w.r.providers[SAML].metadata = str_c(w.r.metadata_url);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
}

static void overwrite(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/idp/%s", w.r.state, name);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void test_copies_are_checked_anew(void **state)
{
    (void)state;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&w.r, SAML, true, 5000) && rig_wait_ready(&w.r, OIDC, true, 5000));
    rig_halt(&w.r);
    provider_goes_away();
    char *expired = saml_metadata(&w.r, "2020-01-01T00:00:00Z"), *text;
    assert_true(asprintf(&text, "sallyport copy of %s\n%s", w.r.metadata_url, expired) > 0);
    overwrite("corp.metadata.xml", text);
    overwrite("op.discovery.json", "damaged");
    free(expired);
    free(text);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(rig_start_code(&w.r, OIDC), ERR_LOGIN_UNAVAILABLE);
}

static void test_metadata_is_enforced_until_it_expires(void **state)
{
    (void)state;
    char until[32];
    time_t at = time(NULL) + 3;
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime(&at));
    char *metadata = saml_metadata(&w.r, until);
    web_set(&w.d, "/metadata", 200, "application/xml", metadata);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_int_equal(rig_status(&w.r, SAML).valid_until, at);
    sleep(4);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
    free(metadata);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

// A file is read again when it changes; a bad one changes nothing.
static void test_metadata_from_a_file(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/metadata.xml", w.r.state);
    w.r.providers[SAML].metadata = str_c(path);
    w.r.providers[SAML].metadata_is_url = false;
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
    char *metadata = saml_metadata(&w.r, NULL);
    write_file(path, metadata);
    assert_true(rig_wait_ready(&w.r, SAML, true, 12000));
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    write_file(path, "<broken");
    for (int i = 0; i < 600 && !rig_status(&w.r, SAML).error[0]; i++) usleep(20000);
    assert_non_null(strstr(rig_status(&w.r, SAML).error, "saml."));
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_int_equal(web_hits(&w.d, "/metadata"), 0);
    free(metadata);
}

// As large as it may be, from the network and from the state directory.
static void test_large_metadata(void **state)
{
    (void)state;
    char *metadata = saml_metadata(&w.r, NULL), *end = strstr(metadata, "</md:EntityDescriptor>");
    size_t n = LIMIT_SAML_METADATA_BYTES - 10, head = (size_t)(end - metadata), tail = strlen(end);
    char *large = malloc(n + 1);
    memset(large, ' ', n);
    memcpy(large, metadata, head);
    memcpy(large + n - tail, end, tail + 1);
    web_set(&w.d, "/metadata", 200, "application/xml", large);
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    rig_halt(&w.r);
    provider_goes_away();
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_true(rig_status(&w.r, SAML).from_disk);
    free(metadata);
    free(large);
}

// ---- TLS

struct tls_world {
    struct http_double d;
    char dir[64], ca[96];
};

static void tls_start(struct tls_world *t, const char *host)
{
    struct err err = { 0 };
    struct str hosts[] = { str_c(host) };
    char cert[96], key[96];
    strcpy(t->dir, "/tmp/sallyport-test-tls-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    if (!cert_dev_ca(t->dir, &err) || !cert_dev_leaf(t->dir, "leaf", (struct strlist){ hosts, 1 }, &err))
        fail_msg("%s", err.detail);
    snprintf(t->ca, sizeof t->ca, "%s/ca.pem", t->dir);
    snprintf(cert, sizeof cert, "%s/leaf.pem", t->dir);
    snprintf(key, sizeof key, "%s/leaf.key", t->dir);
    web_start_tls(&t->d, PORT + 2, cert, key);
    snprintf(w.r.metadata_url, sizeof w.r.metadata_url, "https://localhost:%d/metadata", PORT + 2);
    w.r.providers[SAML].metadata = str_c(w.r.metadata_url);
    char *metadata = saml_metadata(&w.r, NULL);
    web_set(&t->d, "/metadata", 200, "application/xml", metadata);
    free(metadata);
}

static void tls_stop(struct tls_world *t)
{
    web_stop(&t->d);
    rig_remove(t->dir);
}

static void test_tls_with_the_configured_ca(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "localhost");
    struct err err;
    assert_true(file_read(w.r.arena, t.ca, 1 << 16, &w.r.providers[SAML].ca_pem, &err));
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    tls_stop(&t);
}

static void test_tls_of_an_unknown_ca_is_refused(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "localhost");
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&t.d, "/metadata"), 0);
    tls_stop(&t);
}

static void test_tls_of_another_host_is_refused(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "elsewhere.example.com");
    struct err err;
    assert_true(file_read(w.r.arena, t.ca, 1 << 16, &w.r.providers[SAML].ca_pem, &err));
    rig_run(&w.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&t.d, "/metadata"), 0);
    tls_stop(&t);
}

// ---- verifiers

static void wait_stopped(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

static void test_crash_costs_one_login(void **state)
{
    (void)state;
    rig_run(&w.r, 1);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000) && rig_wait_ready(&w.r, SAML, true, 5000));
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    struct login l;
    wait_stopped(w.r.verifiers[0]);
    login_begin(&w.r, &l, IDP_START, SAML, NULL);
    usleep(200 * 1000); // it has the message now
    kill(w.r.verifiers[0], SIGSEGV);
    kill(w.r.verifiers[0], SIGCONT);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_CRASHED);
    login_free(&l);
    waitpid(w.r.verifiers[0], NULL, 0);
    rig_attach(&w.r, 0); // knows nothing: is told our SP and the metadata anew
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_int_equal(web_hits(&w.d, "/metadata"), 1);
}

static void test_second_verifier_learns_the_metadata(void **state)
{
    (void)state;
    rig_run(&w.r, 1);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    rig_attach(&w.r, 1);
    struct login l[16];
    for (int i = 0; i < 16; i++) login_begin(&w.r, &l[i], IDP_START, SAML, NULL);
    for (int i = 0; i < 16; i++) {
        login_wait(&l[i]);
        assert_int_equal(l[i].job.err.code, ERR_NONE);
        login_free(&l[i]);
    }
}

static void test_hang_costs_one_login(void **state)
{
    (void)state;
    rig_run(&w.r, 2);
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000));
    struct login l;
    wait_stopped(w.r.verifiers[0]);
    int64_t begun = now_ms();
    login_begin(&w.r, &l, IDP_START, SAML, NULL);           // goes to the first free one: slot 0
    assert_int_equal(rig_start_code(&w.r, SAML), ERR_NONE); // slot 1 goes on
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_CRASHED);
    assert_in_range(now_ms() - begun, LIMIT_VERIFY_SECONDS * 1000, (LIMIT_VERIFY_SECONDS + 4) * 1000);
    login_free(&l);
    struct control_message m;
    int fd;
    assert_int_equal(control_receive(w.r.control, &m, &fd), CONTROL_GOT);
    assert_int_equal(m.kind, CONTROL_STUCK);
    assert_int_equal(m.slot, 0);
    assert_int_equal(m.serial, 1);
    kill(w.r.verifiers[0], SIGKILL);
}

static void test_no_verifier_at_all(void **state)
{
    (void)state;
    rig_run(&w.r, 0);
    int64_t begun = now_ms();
    assert_int_not_equal(rig_start_code(&w.r, SAML), ERR_NONE);
    assert_true(now_ms() - begun < 2 * LIMIT_BACKCHANNEL_SECONDS * 1000 + 1000);
}

// ---- limits and ends

static void test_too_many_logins(void **state)
{
    (void)state;
    static struct login l[LIMIT_LOGINS_PENDING + 1];
    web_set_slow(&w.d, DISCOVERY, 1000);
    rig_run(&w.r, 1);
    for (int i = 0; i <= LIMIT_LOGINS_PENDING; i++) login_begin(&w.r, &l[i], IDP_START, OIDC, NULL);
    assert_int_equal(l[LIMIT_LOGINS_PENDING].job.err.code, ERR_LOGIN_BUSY);
    for (int i = 0; i <= LIMIT_LOGINS_PENDING; i++) {
        login_wait(&l[i]);
        if (i < LIMIT_LOGINS_PENDING) assert_int_equal(l[i].job.err.code, ERR_NONE);
        login_free(&l[i]);
    }
    assert_int_equal(web_hits(&w.d, DISCOVERY), 1);
}

static void test_stopping_ends_every_login(void **state)
{
    (void)state;
    struct login waiting, asking;
    rig_run(&w.r, 1);
    assert_true(rig_wait_ready(&w.r, OIDC, true, 5000));
    web_set_slow(&w.d, "/token", 8000);
    login_begin(&w.r, &asking, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    wait_stopped(w.r.verifiers[0]);
    login_begin(&w.r, &waiting, IDP_START, SAML, NULL);
    usleep(300 * 1000);
    kill(w.r.verifiers[0], SIGKILL);
    rig_halt(&w.r);
    assert_true(asking.ended && waiting.ended);
    assert_int_equal(asking.job.err.code, ERR_DRAINING);
    assert_int_not_equal(waiting.job.err.code, ERR_NONE);
    login_free(&asking);
    login_free(&waiting);
    rig_run(&w.r, 0); // for the teardown
}

// Everything that is secret in a login is planted above; debug logs of good and bad logins must not hold it.
static void test_logs_hold_no_secrets(void **state)
{
    (void)state;
    char path[] = "/tmp/sallyport-test-log-XXXXXX", *text = NULL;
    int fd = mkstemp(path);
    size_t size;
    log_to_fd(fd);
    log_init(LOG_DEBUG, "test");
    w.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&w.r, RIG_VERIFIERS);
    rig_start_code(&w.r, OIDC);
    rig_finish_code(&w.r);
    web_set(&w.d, "/token", 400, "application/json", "{\"error\":\"invalid_grant\"}");
    rig_finish_code(&w.r);
    rig_start_code(&w.r, SAML);
    log_init(LOG_ERROR, "test");
    log_to_fd(2);
    FILE *f = fopen(path, "r");
    assert_true(getdelim(&text, &size, 0, f) > 0);
    assert_non_null(strstr(text, "idp.refreshed")); // it is the log
    assert_null(strstr(text, "planted"));
    free(text);
    fclose(f);
    close(fd);
    unlink(path);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "verifier") == 0) return verifier_run();
    // The environment must not choose what is between us and the identity provider.
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("all_proxy", "http://127.0.0.1:9", 1);
    if (!getenv("SHOW_LOG")) log_init(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
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
        T(saml_login_and_new_keys),
        T(saml_finish_without_a_response),
        T(provider_that_comes_up),
        T(last_good_copies),
        T(copy_of_another_source),
        T(copies_are_checked_anew),
        T(metadata_is_enforced_until_it_expires),
        T(metadata_from_a_file),
        T(large_metadata),
        T(tls_with_the_configured_ca),
        T(tls_of_an_unknown_ca_is_refused),
        T(tls_of_another_host_is_refused),
        T(crash_costs_one_login),
        T(second_verifier_learns_the_metadata),
        T(hang_costs_one_login),
        T(no_verifier_at_all),
        T(too_many_logins),
        T(stopping_ends_every_login),
        T(logs_hold_no_secrets),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    struct err err;
    if (!saml_init(&err)) return 1; // only for the double; logins are checked in the verifiers
    double_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    double_stop();
    saml_done();
    return failed;
}
