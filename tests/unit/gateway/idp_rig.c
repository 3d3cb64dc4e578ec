// SPDX-License-Identifier: GPL-3.0-or-later
#include "idp_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/log.h"
#include "child.h"
#include "gateway/process/processes.h"
#include "idp_double.h"

static struct str names_sub[] = { STR_INIT("sub") }, names_email[] = { STR_INIT("email") };

static void init_oidc(struct rig *r)
{
    struct provider *p = &r->providers[0];
    *p = (struct provider){ .key = STR("op"), .label = STR("OP"), .protocol = PROTOCOL_OIDC, .index = 0 };
    p->oidc = (struct oidc_client){ .provider = STR("op"),
                                    .issuer = str_c(r->issuer),
                                    .client_id = STR("client"),
                                    .client_secret = STR("planted-client-secret"),
                                    .token_auth = OIDC_AUTH_BASIC,
                                    .algorithms = OIDC_ES256,
                                    .clock_skew = 60,
                                    .mapping = { .subject = { names_sub, 1 }, .email = { names_email, 1 } } };
}

static void init_saml(struct rig *r)
{
    struct provider *p = &r->providers[1];
    *p = (struct provider){ .key = STR("corp"),
                            .label = STR("Corp"),
                            .protocol = PROTOCOL_SAML,
                            .index = 1,
                            .metadata = str_c(r->metadata_url),
                            .metadata_is_url = true,
                            .metadata_refresh = 3600 };
    p->saml = (struct saml_client){ .provider = STR("corp"), .clock_skew = 60 };
}

void rig_init(struct rig *r, int port)
{
    struct err err = { 0 };
    *r = (struct rig){ .arena = arena_new(1 << 22), .control = -1 };
    strcpy(r->state, "/tmp/sallyport-test-idp-XXXXXX");
    assert_non_null(mkdtemp(r->state));
    snprintf(r->issuer, sizeof r->issuer, "http://127.0.0.1:%d", port);
    snprintf(r->metadata_url, sizeof r->metadata_url, "http://127.0.0.1:%d/metadata", port);
    init_oidc(r);
    init_saml(r);
    r->config =
        (struct config){ .login_host = STR("login.example.com"),
                         .public_port = 443,
                         .providers = r->providers,
                         .nproviders = 2,
                         .state_dir = str_c(r->state),
                         .verifiers = RIG_VERIFIERS,
                         .saml_entity_id = STR("https://login.example.com/.sallyport/saml/metadata") };
    if (!state_keys_load(r->arena, r->state, "login.example.com", time(NULL), &r->keys, &err))
        fail_msg("%s", err.detail);
}

void rig_attach(struct rig *r, unsigned slot)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = { "test", "verifier", NULL };
        child_without_leak_check();
        dup2(pair[1], 3);
        execv("/proc/self/exe", argv);
        _exit(1);
    }
    r->verifiers[slot] = pid;
    assert_true(
        control_send(r->control, &(struct control_message){ CONTROL_VERIFIER, slot, ++r->serial }, pair[0]));
    close(pair[0]);
    close(pair[1]);
}

void rig_run(struct rig *r, unsigned verifiers)
{
    int pair[2];
    struct err err = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    r->control = pair[0];
    r->idp = idp_start(&r->config, &r->keys, pair[1], &err);
    if (!r->idp) fail_msg("%s", err.detail);
    for (unsigned i = 0; i < verifiers; i++) rig_attach(r, i);
}

void rig_halt(struct rig *r)
{
    idp_stop(r->idp);
    close(r->control);
    for (int i = 0; i < RIG_VERIFIERS; i++) {
        if (!r->verifiers[i]) continue;
        kill(r->verifiers[i], SIGCONT);    // a test that failed may have left it stopped
        waitpid(r->verifiers[i], NULL, 0); // it sees the end of the connection
        r->verifiers[i] = 0;
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void rig_remove(const char *dir)
{
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void rig_done(struct rig *r)
{
    rig_halt(r);
    rig_remove(r->state);
    arena_free(r->arena);
}

// ---- jobs

static void on_done(struct idp_job *job)
{
    struct login *l = job->context;
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

void login_begin(struct rig *r, struct login *l, enum idp_job_kind kind, size_t provider, const char *query)
{
    *l = (struct login){ .arena = arena_new(1 << 20),
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .cond = PTHREAD_COND_INITIALIZER };
    l->job = (struct idp_job){ .kind = kind,
                               .arena = l->arena,
                               .provider = &r->providers[provider],
                               .done = on_done,
                               .context = l,
                               .state = STR("planted-state"),
                               .nonce = STR("planted-nonce"),
                               .code_verifier = STR("planted-verifier-planted-verifier-planted-v"),
                               .redirect_uri = STR("https://login.example.com/.sallyport/oidc/op/callback"),
                               .request_id = STR("_0123456789abcdef0123456789abcdef01234567"),
                               .callback_query = str_c(query),
                               .saml_response = str_c(query) };
    if (!idp_submit(r->idp, &l->job)) l->ended = true;
}

void login_wait(struct login *l)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 40;
    pthread_mutex_lock(&l->lock);
    while (!l->ended)
        if (pthread_cond_timedwait(&l->cond, &l->lock, &until) != 0) fail_msg("a login never ended");
    pthread_mutex_unlock(&l->lock);
}

void login_free(struct login *l)
{
    arena_free(l->arena);
}

enum err_code rig_start_code(struct rig *r, size_t provider)
{
    struct login l;
    login_begin(r, &l, IDP_START, provider, NULL);
    login_wait(&l);
    enum err_code code = l.job.err.code;
    assert_true(code != ERR_NONE || l.job.redirect_url.n > 0);
    login_free(&l);
    return code;
}

enum err_code rig_finish_code(struct rig *r)
{
    struct login l;
    login_begin(r, &l, IDP_FINISH, 0, "state=planted-state&code=planted-code");
    login_wait(&l);
    enum err_code code = l.job.err.code;
    if (code == ERR_NONE) assert_true(str_eq_c(l.job.identity.subject, "ann"));
    login_free(&l);
    return code;
}

struct idp_status rig_status(struct rig *r, size_t provider)
{
    struct idp_status s;
    idp_status(r->idp, provider, &s);
    return s;
}

bool rig_wait_ready(struct rig *r, size_t provider, bool ready, int ms)
{
    for (; ms > 0; ms -= 20) {
        if (rig_status(r, provider).ready == ready) return true;
        usleep(20000);
    }
    return false;
}

// ---- what the OpenID provider says

char *op_discovery(const struct rig *r, const char *issuer)
{
    char *text;
    const char *at = r->issuer;
    int n = asprintf(
        &text,
        "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s/authorize\",\"token_endpoint\":\"%s/token\","
        "\"jwks_uri\":\"%s/jwks\",\"userinfo_endpoint\":\"%s/"
        "userinfo\",\"response_types_supported\":[\"code\"],"
        "\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\","
        "\"RS256\"],"
        "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\"]}",
        issuer, at, at, at, at);
    assert_true(n > 0);
    return text;
}

static struct {
    char kid[16];
    EVP_PKEY *key;
} keys[8];

static EVP_PKEY *key_named(const char *kid)
{
    for (int i = 0; i < 8; i++) {
        if (keys[i].key && strcmp(keys[i].kid, kid) != 0) continue;
        if (!keys[i].key) {
            snprintf(keys[i].kid, sizeof keys[i].kid, "%s", kid);
            keys[i].key = EVP_EC_gen("P-256");
        }
        return keys[i].key;
    }
    return NULL;
}

char *op_jwks(struct rig *r, const char *kid)
{
    unsigned char point[65];
    size_t n;
    char *text;
    assert_true(EVP_PKEY_get_octet_string_param(key_named(kid), OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
                                                &n) == 1 &&
                n == 65);
    struct str x = encode_base64url(r->arena, (struct str){ (char *)point + 1, 32 });
    struct str y = encode_base64url(r->arena, (struct str){ (char *)point + 33, 32 });
    assert_true(asprintf(&text,
                         "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\","
                         "\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}]}",
                         kid, x.p, y.p) > 0);
    return text;
}

// ES256: r and s, 32 bytes each (RFC 7518 section 3.4).
static struct str sign(struct rig *r, const char *kid, struct str input)
{
    unsigned char der[128], raw[64];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key_named(kid)) == 1);
    assert_true(EVP_DigestSign(ctx, der, &n, (const unsigned char *)input.p, input.n) == 1);
    EVP_MD_CTX_free(ctx);
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    assert_non_null(sig);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
    ECDSA_SIG_free(sig);
    return encode_base64url(r->arena, (struct str){ (char *)raw, 64 });
}

char *op_token_answer(struct rig *r, const char *kid, const char *nonce)
{
    long long now = time(NULL);
    struct str head = arena_printf(r->arena, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    struct str claims =
        arena_printf(r->arena,
                     "{\"iss\":\"%s\",\"aud\":\"client\",\"sub\":\"ann\",\"email\":\"ann@example.com\","
                     "\"email_verified\":true,\"iat\":%lld,\"exp\":%lld,\"nonce\":\"%s\"}",
                     r->issuer, now, now + 300, nonce);
    struct str input = arena_printf(r->arena, "%s.%s", encode_base64url(r->arena, head).p,
                                    encode_base64url(r->arena, claims).p);
    char *text;
    assert_true(asprintf(&text,
                         "{\"access_token\":\"planted-access-token\",\"token_type\":\"Bearer\",\"expires_"
                         "in\":60,\"id_token\":\"%s.%s\"}",
                         input.p, sign(r, kid, input).p) > 0);
    return text;
}

void op_script(struct rig *r, struct http_double *d, const char *kid)
{
    char *discovery = op_discovery(r, r->issuer), *jwks = op_jwks(r, kid),
         *tokens = op_token_answer(r, kid, "planted-nonce");
    web_set(d, "/.well-known/openid-configuration", 200, "application/json", discovery);
    web_set(d, "/jwks", 200, "application/json", jwks);
    web_set(d, "/token", 200, "application/json; charset=utf-8", tokens);
    web_set(d, "/userinfo", 200, "application/json",
            "{\"sub\":\"ann\",\"email\":\"ann@userinfo.example\",\"email_verified\":true}");
    free(discovery);
    free(jwks);
    free(tokens);
}

char *saml_metadata(struct rig *r, const char *valid_until)
{
    char *text, certificate[8192] = "";
    for (struct str rest = r->keys.saml_certificate_pem, line; str_cut(&rest, '\n', &line);)
        if (!str_starts(line, STR("-----"))) strncat(certificate, line.p, line.n);
    assert_true(
        asprintf(
            &text,
            "<?xml version=\"1.0\"?><md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" "
            "entityID=\"https://idp.example.com/\"%s%s%s><md:IDPSSODescriptor "
            "protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><md:KeyDescriptor "
            "use=\"signing\">"
            "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data><ds:X509Certificate>%s"
            "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService "
            "Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" "
            "Location=\"https://idp.example.com/sso\"/>"
            "</md:IDPSSODescriptor></md:EntityDescriptor>",
            valid_until ? " validUntil=\"" : "", valid_until ? valid_until : "", valid_until ? "\"" : "",
            certificate) > 0);
    return text;
}

// ---- the world of a test

struct world world;

int world_setup(void **state)
{
    (void)state;
    web_start(&world.d);
    rig_init(&world.r, world.d.port);
    op_script(&world.r, &world.d, "k1");
    char *metadata = saml_metadata(&world.r, NULL);
    web_set(&world.d, "/metadata", 200, "application/xml", metadata);
    free(metadata);
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    rig_done(&world.r);
    web_stop(&world.d);
    return 0;
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int world_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
    if (argc > 1 && strcmp(argv[1], "verifier") == 0) return verifier_run();
    // The environment must not choose what is between us and the identity provider.
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("all_proxy", "http://127.0.0.1:9", 1);
    if (!getenv("SHOW_LOG")) log_init(LOG_ERROR, "test");
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    struct err err;
    if (!saml_init(&err)) return 1; // only for the SAML double; logins are checked in the verifiers
    double_start();
    int failed = _cmocka_run_group_tests("idp", tests, n, NULL, NULL);
    double_stop();
    saml_done();
    return failed;
}
