// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "idp_double.h"
#include "saml/names.h"
#include "vectors.h"

enum { ARENA = 64 << 20 };

static int start(void **state)
{
    struct err err = { 0 };
    (void)state;
    if (!saml_init(&err)) return 1;
    double_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    double_stop();
    saml_done();
    return 0;
}

static struct saml_idp_info info;
static struct err err;

static enum err_code parse(struct arena *a, struct str xml, const struct saml_client *client)
{
    struct saml_idp *idp;
    err = (struct err){ 0 };
    return saml_idp_parse(a, xml, client, NOW, &idp, &info, &err) ? ERR_NONE : err.code;
}

static void test_good(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_client client = double_client();
    assert_int_equal(parse(a, double_metadata(a), &client), ERR_NONE);
    assert_true(str_eq_c(info.entity_id, IDP_ENTITY));
    assert_true(str_eq_c(info.sso_redirect_url, IDP_SSO));
    assert_int_equal(info.valid_until, 0);
    assert_int_equal(info.signing_keys, 4);
    client.entity_id = STR_NONE;
    assert_int_equal(parse(a, double_metadata(a), &client), ERR_NONE);
    arena_free(a);
}

// --- vectors: "before" edits of the double's metadata, {weak} {sp} {rsa} being certificates

static size_t bad_vectors;

static struct str with_certificates(struct arena *a, struct str text)
{
    text = double_replace(a, text, STR("{weak}"), double_certificate(a, KEY_WEAK), false);
    text = double_replace(a, text, STR("{sp}"), double_certificate(a, KEY_SP), false);
    return double_replace(a, text, STR("{rsa}"), double_certificate(a, KEY_RSA), false);
}

static void run_vector(const struct vector *v)
{
    struct arena *a = arena_new(ARENA);
    struct str xml = double_metadata(a), find, replace, want = vector_get(v, "expect"),
               entity = vector_get(v, "entity");
    struct saml_client client = double_client();
    if (entity.p) client.entity_id = str_eq_c(entity, "none") ? STR_NONE : entity;
    for (int k = KEY_RSA; k <= KEY_EC_384; k++) // short texts to find
        xml = double_replace(a, xml, double_certificate(a, (enum double_key)k),
                             k ? STR("{sp}") : STR("{rsa}"), true);
    for (size_t i = 0; vector_edit(v, "before", i, &find, &replace); i++)
        xml = double_replace(a, xml, find, replace, true);
    for (int i = 0; i < 8; i++) xml = with_certificates(a, xml);
    enum err_code got = parse(a, xml, &client);
    uint64_t keys = 0, until = 0;
    struct str want_keys = vector_get(v, "signing_keys"), want_until = vector_get(v, "valid_until");
    bool ok = str_eq_c(want, got ? err_name(got) : "ok");
    if (want_keys.p) ok = ok && str_to_u64(want_keys, 100, &keys) && keys == info.signing_keys;
    if (want_until.p)
        ok = ok && str_to_u64(want_until, UINT32_MAX, &until) && until == (uint64_t)info.valid_until;
    if (!ok) {
        bad_vectors++;
        print_error("'%.*s': got %s (%s), %zu keys, until %lld; want %.*s\n", STR_FMT(vector_get(v, "name")),
                    got ? err_name(got) : "ok", err.detail, info.signing_keys, (long long)info.valid_until,
                    STR_FMT(want));
    }
    arena_free(a);
}

static void test_vectors(void **state)
{
    (void)state;
    assert_true(vectors_each(VECTOR_DIR "/metadata.vec", run_vector) > 20);
    assert_int_equal(bad_vectors, 0);
}

// --- signed metadata

static struct str signed_metadata(struct arena *a, const struct recipe *r)
{
    struct str sig = double_signature_template(a, "_md", r);
    struct str xml = double_replace(a, double_metadata(a), STR("<md:IDPSSODescriptor"),
                                    arena_printf(a, "%.*s<md:IDPSSODescriptor", STR_FMT(sig)), true);
    return double_sign(a, xml, "_md", r);
}

static void test_signed(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_client client = double_client();
    struct recipe r = { .key = KEY_STRANGER };
    struct str xml = signed_metadata(a, &r);
    assert_int_equal(parse(a, xml, &client), ERR_NONE);
    client.metadata_certificate_pem = double_certificate_pem(a, KEY_STRANGER);
    if (parse(a, xml, &client)) fail_msg("%s", err.detail);
    struct str changed =
        double_replace(a, xml, STR("https://idp.example.com/sso"), STR("https://evil.example.com/sso"), true);
    assert_int_equal(parse(a, changed, &client), ERR_SAML_METADATA_SIGNATURE);
    assert_int_equal(parse(a, double_metadata(a), &client), ERR_SAML_METADATA_SIGNATURE);
    // The signature does not cover itself: things can be put into it.
    struct str object = STR("</ds:SignatureValue><ds:Object/>");
    changed = double_replace(a, xml, STR("</ds:SignatureValue>"), object, true);
    assert_int_equal(parse(a, changed, &client), ERR_SAML_METADATA_SIGNATURE);
    client.metadata_certificate_pem = double_certificate_pem(a, KEY_RSA);
    assert_int_equal(parse(a, xml, &client), ERR_SAML_METADATA_SIGNATURE);
    client.metadata_certificate_pem = double_certificate_pem(a, KEY_WEAK);
    assert_int_equal(parse(a, xml, &client), ERR_SAML_METADATA_SIGNATURE);
    client.metadata_certificate_pem = STR("nothing");
    assert_int_equal(parse(a, xml, &client), ERR_SAML_METADATA_SIGNATURE);
    client.metadata_certificate_pem = STR("");
    assert_int_equal(parse(a, xml, &client), ERR_SAML_METADATA_SIGNATURE);
    arena_free(a);
}

// The signed entity inside of an unsigned group with another one.
static void test_wrapped(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_client client = double_client();
    struct recipe r = { .key = KEY_STRANGER };
    client.metadata_certificate_pem = double_certificate_pem(a, KEY_STRANGER);
    struct str xml =
        arena_printf(a, "<md:EntitiesDescriptor xmlns:md=\"" NS_METADATA "\">%.*s</md:EntitiesDescriptor>",
                     STR_FMT(signed_metadata(a, &r)));
    assert_int_equal(parse(a, xml, &client), ERR_SAML_METADATA_SIGNATURE);
    client.metadata_certificate_pem = STR_NONE;
    assert_int_equal(parse(a, xml, &client), ERR_NONE);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_signed),
        cmocka_unit_test(test_wrapped),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
