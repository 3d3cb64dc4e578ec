// SPDX-License-Identifier: GPL-3.0-or-later
// Our own metadata and requests, and that lasso lives with them; and that it cannot end the process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <lasso/lasso.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/url.h"
#include "idp_double.h"
#include "saml/lasso_log.h"
#include "saml/names.h"
#include "saml/xml.h"

enum { ARENA = 64 << 20 };

static struct arena *arena;
static struct saml_sp sp;
static struct saml_client client;
static struct saml_idp *idp;

static int start(void **state)
{
    struct saml_idp_info info;
    struct err err = { 0 };
    (void)state;
    setenv("LASSO_FLAG", "no-verify-signature", 1);
    if (!saml_init(&err)) return 1;
    double_start();
    arena = arena_new(ARENA);
    double_sp(arena, &sp);
    client = double_client();
    return saml_idp_parse(arena, double_metadata(arena), &client, NOW, &idp, &info, &err) ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    arena_free(arena);
    double_stop();
    saml_done();
    return 0;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static void test_environment_is_forgotten(void **state)
{
    (void)state;
    assert_null(getenv("LASSO_FLAG"));
}

// Without our lasso_log this message ends the process with SIGTRAP: the test would not fail but die.
static void test_lasso_cannot_kill(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct str metadata = saml_sp_metadata(arena, &sp, &err);
    LassoServer *server = lasso_server_new_from_buffers(metadata.p, sp.key_pem.p, NULL, sp.certificate_pem.p);
    assert_non_null(server);
    unsigned long before = lasso_log_calls();
    LassoLogout *logout = lasso_logout_new(server);
    struct str message =
        encode_base64(arena, STR("<samlp:LogoutRequest xmlns:samlp=\"" NS_PROTOCOL "\" ID=\"x\"/>"));
    char *copy = strdup(message.p);
    assert_int_not_equal(lasso_logout_process_request_msg(logout, copy), 0);
    assert_true(lasso_log_calls() > before);
    free(copy);
    g_object_unref(logout);
    g_object_unref(server);
}

// --- our metadata

static const xmlNode *must(const xmlNode *n)
{
    assert_non_null(n);
    return n;
}

static const xmlNode *root_of(struct str xml)
{
    struct err err = { 0 };
    xmlDocPtr doc = xml_parse(arena, xml, 1 << 20, &err);
    if (!doc) fail_msg("%s", err.detail);
    return xmlDocGetRootElement(doc);
}

static void test_metadata_says_what_we_do(void **state)
{
    (void)state;
    struct err err = { 0 };
    const xmlNode *root = root_of(saml_sp_metadata(arena, &sp, &err));
    assert_str(xml_attr(arena, root, "entityID"), SP_ENTITY);
    const xmlNode *role = must(xml_only(root, NS_METADATA, "SPSSODescriptor"));
    assert_str(xml_attr(arena, role, "AuthnRequestsSigned"), "true");
    assert_str(xml_attr(arena, role, "WantAssertionsSigned"), "true");
    // metadata 2.4.2, 2.4.4: keys, then name formats, then consumers.
    int stage = 0;
    static const char *const order[] = { "KeyDescriptor", "NameIDFormat", "AssertionConsumerService" };
    for (const xmlNode *e = xml_first(role); e; e = xml_following(e)) {
        while (stage < 3 && !xml_is(e, NS_METADATA, order[stage])) stage++;
        assert_true(stage < 3);
    }
    assert_int_equal(xml_count(role, NS_METADATA, "AssertionConsumerService"), 2);
    const xmlNode *acs = xml_child(role, NS_METADATA, "AssertionConsumerService");
    assert_str(xml_attr(arena, acs, "Location"), SP_ACS);
    assert_str(xml_attr(arena, acs, "Binding"), SAML_BINDING_POST);
    assert_str(xml_attr(arena, acs, "index"), "0");
    assert_str(xml_attr(arena, acs, "isDefault"), "true");
    acs = xml_again(acs);
    assert_str(xml_attr(arena, acs, "Location"), SP_BASE "/other/acs");
    assert_null(xml_attr(arena, acs, "isDefault").p);
    const xmlNode *key = xml_again(must(xml_child(role, NS_METADATA, "KeyDescriptor")));
    assert_str(xml_attr(arena, key, "use"), "encryption");
    assert_int_equal(xml_count(key, NS_METADATA, "EncryptionMethod"), 5);
    for (const xmlNode *m = xml_child(key, NS_METADATA, "EncryptionMethod"); m; m = xml_again(m))
        assert_true(str_search(xml_attr(arena, m, "Algorithm"), STR("cbc")) ==
                    xml_attr(arena, m, "Algorithm").n);
    assert_non_null(xml_only(root, NS_METADATA, "Organization"));
}

static void test_metadata_escapes(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct saml_sp other = sp;
    other.entity_id = STR("https://x.example/?a=1&b=\"<>");
    other.organization = STR("Tom & Jerry <Ltd>");
    const xmlNode *root = root_of(saml_sp_metadata(arena, &other, &err));
    assert_str(xml_attr(arena, root, "entityID"), "https://x.example/?a=1&b=\"<>");
    const xmlNode *org = xml_only(root, NS_METADATA, "Organization");
    assert_str(xml_text(arena, xml_child(org, NS_METADATA, "OrganizationName")), "Tom & Jerry <Ltd>");
}

static void test_metadata_needs_a_certificate(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct saml_sp other = sp;
    other.certificate_pem = STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_null(saml_sp_metadata(arena, &other, &err).p);
    assert_int_equal(err.code, ERR_SAML_METADATA);
}

static void test_lasso_reads_our_metadata(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct str metadata = saml_sp_metadata(arena, &sp, &err);
    LassoServer *server = lasso_server_new_from_buffers(metadata.p, sp.key_pem.p, NULL, sp.certificate_pem.p);
    assert_non_null(server);
    assert_int_equal(
        lasso_server_add_provider_from_buffer(server, LASSO_PROVIDER_ROLE_SP, metadata.p, NULL, NULL), 0);
    g_object_unref(server);
}

// --- requests

static struct str request_url(const struct saml_client *c, struct str relay_state)
{
    struct err err = { 0 };
    struct str url = saml_authn_request_url(arena, &sp, c, idp, STR(REQUEST_ID), relay_state, NOW, &err);
    if (!url.p) fail_msg("%s", err.detail);
    return url;
}

// The provider's side: our key verifies the query, and the message comes out.
static struct saml_redirect read_request(struct str url)
{
    struct arena *a = arena;
    struct saml_idp *us;
    struct saml_idp_info info;
    struct err err = { 0 };
    struct saml_client as_idp = { .provider = STR("x") };
    struct str md = double_replace(a, double_metadata(a), double_certificate(a, KEY_RSA),
                                   double_certificate(a, KEY_SP), true);
    assert_true(saml_idp_parse(a, md, &as_idp, NOW, &us, &info, &err));
    struct str prefix = STR(IDP_SSO "&");
    assert_true(str_starts(url, prefix));
    struct saml_redirect r;
    if (!saml_redirect_verify(a, str_skip(url, prefix.n), &as_idp, us, &r, &err)) fail_msg("%s", err.detail);
    assert_false(r.is_response);
    return r;
}

static void test_request(void **state)
{
    (void)state;
    struct str classes[] = { STR("urn:x:mfa"), STR("urn:x:second") };
    struct saml_client c = client;
    c.name_id_format = STR(SAML_FORMAT_PERSISTENT);
    c.authn_context = (struct strlist){ classes, 2 };
    c.force_authn = true;
    struct str url = request_url(&c, STR("state & more"));
    assert_true(
        str_search(url, STR("SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256")) <
        url.n);
    struct saml_redirect r = read_request(url);
    assert_str(r.relay_state, "state & more");
    const xmlNode *root = root_of(r.message);
    assert_true(xml_is(root, NS_PROTOCOL, "AuthnRequest"));
    assert_str(xml_attr(arena, root, "ID"), REQUEST_ID);
    assert_str(xml_attr(arena, root, "Version"), "2.0");
    assert_str(xml_attr(arena, root, "IssueInstant"), "2026-01-15T12:00:00Z");
    assert_str(xml_attr(arena, root, "Destination"), IDP_SSO);
    assert_str(xml_attr(arena, root, "AssertionConsumerServiceURL"), SP_ACS);
    assert_str(xml_attr(arena, root, "ProtocolBinding"), SAML_BINDING_POST);
    assert_str(xml_attr(arena, root, "ForceAuthn"), "true");
    assert_null(xml_attr(arena, root, "AssertionConsumerServiceIndex").p);
    assert_str(xml_value(arena, xml_only(root, NS_ASSERTION, "Issuer")), SP_ENTITY);
    const xmlNode *policy = must(xml_only(root, NS_PROTOCOL, "NameIDPolicy"));
    assert_str(xml_attr(arena, policy, "Format"), SAML_FORMAT_PERSISTENT);
    assert_str(xml_attr(arena, policy, "AllowCreate"), "true");
    const xmlNode *context = must(xml_only(root, NS_PROTOCOL, "RequestedAuthnContext"));
    assert_str(xml_attr(arena, context, "Comparison"), "exact");
    const xmlNode *class = must(xml_child(context, NS_ASSERTION, "AuthnContextClassRef"));
    assert_str(xml_value(arena, class), "urn:x:mfa");
    assert_str(xml_value(arena, must(xml_again(class))), "urn:x:second");
}

static void test_plain_request(void **state)
{
    (void)state;
    struct saml_redirect r = read_request(request_url(&client, STR_NONE));
    assert_null(r.relay_state.p);
    const xmlNode *root = root_of(r.message);
    assert_null(xml_only(root, NS_PROTOCOL, "RequestedAuthnContext"));
    struct str force = xml_attr(arena, root, "ForceAuthn");
    assert_true(!force.p || str_eq_c(force, "false"));
    const xmlNode *policy = xml_only(root, NS_PROTOCOL, "NameIDPolicy");
    assert_null(xml_attr(arena, policy, "Format").p);
}

static void test_request_refusals(void **state)
{
    (void)state;
    struct err err = { 0 };
    char long_state[81];
    memset(long_state, 'x', sizeof long_state);
    struct str state_81 = { long_state, 81 };
    assert_null(saml_authn_request_url(arena, &sp, &client, idp, STR(REQUEST_ID), state_81, NOW, &err).p);
    assert_int_equal(err.code, ERR_SAML_REQUEST);
    assert_non_null(request_url(&client, str_take(state_81, 80)).p);
    struct saml_sp broken = sp;
    broken.key_pem = STR("no key");
    broken.entity_id = STR("https://elsewhere.example/");
    assert_null(saml_authn_request_url(arena, &broken, &client, idp, STR(REQUEST_ID), STR_NONE, NOW, &err).p);
    assert_int_equal(err.code, ERR_SAML_REQUEST);
    assert_non_null(request_url(&client, STR_NONE).p);
}

// A new key of ours must not be ignored because an old server object is at hand.
static void test_request_follows_our_key(void **state)
{
    (void)state;
    struct err err = { 0 };
    request_url(&client, STR_NONE);
    struct saml_sp other = sp;
    other.key_pem = double_key_pem(arena, KEY_RSA);
    other.certificate_pem = double_certificate_pem(arena, KEY_RSA);
    struct str url =
        saml_authn_request_url(arena, &other, &client, idp, STR(REQUEST_ID), STR_NONE, NOW, &err);
    struct saml_redirect r;
    assert_true(saml_redirect_verify(arena, str_skip(url, sizeof IDP_SSO), &client, idp, &r, &err));
    url = request_url(&client, STR_NONE);
    assert_false(saml_redirect_verify(arena, str_skip(url, sizeof IDP_SSO), &client, idp, &r, &err));
    assert_int_equal(err.code, ERR_SAML_SIGNATURE);
}

// A verifier may open nothing. lasso reads the system's CA certificates whenever it makes a server, and glibc
// looks for the time zone: both must do without.
static int without_files(void)
{
    static const int refused[] = { SCMP_SYS(open),       SCMP_SYS(openat),  SCMP_SYS(stat),
                                   SCMP_SYS(newfstatat), SCMP_SYS(access),  SCMP_SYS(socket),
                                   SCMP_SYS(connect),    SCMP_SYS(readlink) };
    struct saml_idp *fresh;
    struct saml_idp_info info;
    struct err err = { 0 };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0) != 0) return 2;
    if (seccomp_load(filter) != 0) return 3;
    if (open("/dev/null", O_RDONLY) >= 0) return 4;
    if (!saml_idp_parse(arena, double_metadata(arena), &client, NOW, &fresh, &info, &err)) return 5;
    if (!saml_authn_request_url(arena, &sp, &client, fresh, STR(REQUEST_ID), STR_NONE, NOW, &err).p) return 6;
    struct recipe r = { .sign_assertion = true, .data_cipher = NS_XENC11 "aes256-gcm" };
    struct saml_expect expect = { STR(REQUEST_ID), NOW };
    struct saml_login login;
    struct str text = encode_base64(arena, double_response(arena, &r));
    return saml_response_verify(arena, &sp, &client, fresh, &expect, text, &login, &err) ? 0 : 7;
}

static void test_works_without_files(void **state)
{
    int status;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(without_files());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_is_forgotten),
        cmocka_unit_test(test_lasso_cannot_kill),
        cmocka_unit_test(test_metadata_says_what_we_do),
        cmocka_unit_test(test_metadata_escapes),
        cmocka_unit_test(test_metadata_needs_a_certificate),
        cmocka_unit_test(test_lasso_reads_our_metadata),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_plain_request),
        cmocka_unit_test(test_request_refusals),
        cmocka_unit_test(test_request_follows_our_key),
        cmocka_unit_test(test_works_without_files),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
