// SPDX-License-Identifier: GPL-3.0-or-later
// Every allocation of ours and of libxml2 (xmlsec's too) fails once: nothing crashes, and no login comes out
// that is not the right one. lasso is left out: glib ends the process when memory is short, the supervisor
// starts another.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libxml/xmlmemory.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"
#include "idp_double.h"
#include "saml/names.h"

enum { ARENA = 64 << 20 };

static struct arena *arena;
static struct saml_sp sp;
static struct saml_client client;
static struct saml_idp *idp;
static struct err err;

// xmlsec and libxml2 lose some of their own memory when an allocation fails while they verify; whole stacks
// tell those leaks from ours, and take their time.
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}
const char *__lsan_default_suppressions(void)
{
    return "leak:xmlSecDSigCtxVerify\nleak:xmlSecDSigCtxCreate\n";
}
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
static long step = 11;
#else
static long step = 1;
#endif

static int start(void **state)
{
    struct saml_idp_info info;
    (void)state;
    if (getenv("SAML_FAILURE_STEP")) step = atol(getenv("SAML_FAILURE_STEP"));
    xmlMemSetup(mem_free, mem_alloc, mem_realloc, mem_strdup);
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

static void check_login(const struct saml_login *l)
{
    assert_true(str_eq_c(l->identity.subject, "alice-id"));
    assert_int_equal(l->identity.groups.n, 2);
    assert_int_equal(l->identity.nclaims, 4);
}

// Runs with the n-th allocation failing; false when there was no n-th.
static bool fails_at(long n, struct str text)
{
    struct saml_expect expect = { STR(REQUEST_ID), NOW };
    struct saml_login login;
    mem_fail_at(n);
    struct arena *a = arena_new(ARENA);
    err = (struct err){ 0 };
    bool ok = a && saml_response_verify(a, &sp, &client, idp, &expect, text, &login, &err);
    bool happened = mem_failed();
    mem_fail_at(0);
    if (ok) check_login(&login);
    if (a && !ok) assert_int_not_equal(err.code, ERR_NONE);
    arena_free(a);
    return happened;
}

static void run(const struct recipe *r)
{
    struct str text = encode_base64(arena, double_response(arena, r));
    long n = 1;
    while (fails_at(n, text)) n += step;
    assert_true(n > 100);
}

static void test_signed_assertion(void **state)
{
    (void)state;
    run(&(struct recipe){ .sign_assertion = true });
}

static void test_encrypted_in_signed_response(void **state)
{
    (void)state;
    run(&(struct recipe){ .sign_response = true, .data_cipher = NS_XENC11 "aes256-gcm" });
}

// A condition that got lost must not pass as one that is not there.
static void test_refusals_stay_refusals(void **state)
{
    (void)state;
    struct recipe r = {
        .sign_assertion = true,
        .before = { { STR("</saml:AudienceRestriction>"),
                      STR("</saml:AudienceRestriction><saml:AudienceRestriction><saml:Audience>x"
                          "</saml:Audience></saml:AudienceRestriction>") } },
        .nbefore = 1
    };
    struct str text = encode_base64(arena, double_response(arena, &r));
    struct saml_expect expect = { STR(REQUEST_ID), NOW };
    struct saml_login login;
    bool happened = true;
    for (long n = 1; happened; n += step) {
        mem_fail_at(n);
        struct arena *a = arena_new(ARENA);
        assert_false(a && saml_response_verify(a, &sp, &client, idp, &expect, text, &login, &err));
        happened = mem_failed();
        mem_fail_at(0);
        arena_free(a);
    }
}

static void test_metadata(void **state)
{
    (void)state;
    struct recipe r = { .key = KEY_STRANGER };
    struct str sig = double_signature_template(arena, "_md", &r);
    struct str xml = double_replace(arena, double_metadata(arena), STR("<md:IDPSSODescriptor"),
                                    arena_printf(arena, "%.*s<md:IDPSSODescriptor", STR_FMT(sig)), true);
    struct saml_client c = client;
    xml = double_sign(arena, xml, "_md", &r);
    c.metadata_certificate_pem = double_certificate_pem(arena, KEY_STRANGER);
    bool happened = true;
    for (long n = 1; happened; n += step) {
        struct saml_idp_info info;
        struct saml_idp *out;
        mem_fail_at(n);
        struct arena *a = arena_new(ARENA);
        err = (struct err){ 0 };
        bool ok = a && saml_idp_parse(a, xml, &c, NOW, &out, &info, &err);
        happened = mem_failed();
        mem_fail_at(0);
        if (ok) assert_int_equal(info.signing_keys, 4);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed_assertion),
        cmocka_unit_test(test_encrypted_in_signed_response),
        cmocka_unit_test(test_refusals_stay_refusals),
        cmocka_unit_test(test_metadata),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
