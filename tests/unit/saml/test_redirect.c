// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ecdsa.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/encode.h"
#include "base/limits.h"
#include "idp_double.h"
#include "saml/names.h"

enum { ARENA = 64 << 20 };

static struct arena *arena;
static struct saml_client client;
static struct saml_idp *idp;
static struct saml_redirect got;
static struct err err;

static int start(void **state)
{
    struct saml_idp_info info;
    (void)state;
    if (!saml_init(&err)) return 1;
    double_start();
    arena = arena_new(ARENA);
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

static struct str deflated(struct str text)
{
    z_stream z = { 0 };
    size_t room = text.n + 1000;
    char *out = arena_alloc(arena, room);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text.p;
    z.avail_in = (uInt)text.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return (struct str){ out, z.total_out };
}

enum ecdsa_form { FORM_DER, FORM_RAW };

static struct str raw_signature(struct str der, size_t half)
{
    const unsigned char *p = (const unsigned char *)der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    unsigned char *out = arena_alloc(arena, 2 * half);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half);
    ECDSA_SIG_free(sig);
    return (struct str){ (char *)out, 2 * half };
}

static struct str sign(struct str octets, enum double_key k, const char *digest, enum ecdsa_form form)
{
    unsigned char *out = arena_alloc(arena, 1024);
    size_t n = 1024;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, double_key(k), NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, out, &n, (const unsigned char *)octets.p, octets.n), 1);
    EVP_MD_CTX_free(ctx);
    struct str sig = { (char *)out, n };
    return form == FORM_RAW ? raw_signature(sig, (size_t)(EVP_PKEY_get_bits(double_key(k)) + 7) / 8) : sig;
}

static struct str part(const char *name, struct str value)
{
    return arena_printf(arena, "%s=%.*s", name, STR_FMT(encode_percent(arena, value)));
}

static struct str message(const char *name, struct str xml)
{
    return part(name, encode_base64(arena, deflated(xml)));
}

static struct str join(struct str a, struct str b)
{
    return arena_printf(arena, "%.*s&%.*s", STR_FMT(a), STR_FMT(b));
}

static struct str signed_query(struct str unsigned_part, const char *alg, enum double_key k,
                               const char *digest, enum ecdsa_form form)
{
    struct str q = join(unsigned_part, part("SigAlg", str_c(alg)));
    return join(q, part("Signature", encode_base64(arena, sign(q, k, digest, form))));
}

static struct str rsa_query(struct str unsigned_part)
{
    return signed_query(unsigned_part, ALG_RSA_SHA256, KEY_RSA, "SHA256", FORM_DER);
}

static enum err_code verify(struct str query)
{
    err = (struct err){ 0 };
    return saml_redirect_verify(arena, query, &client, idp, &got, &err) ? ERR_NONE : err.code;
}

#define REQUEST STR("<samlp:LogoutRequest xmlns:samlp=\"" NS_PROTOCOL "\" ID=\"_1\"/>")
#define OTHER STR("<samlp:LogoutRequest xmlns:samlp=\"" NS_PROTOCOL "\" ID=\"_2\"/>")

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(verify(rsa_query(message("SAMLRequest", REQUEST))), ERR_NONE);
    assert_false(got.is_response);
    assert_true(str_eq(got.message, REQUEST));
    assert_null(got.relay_state.p);
    struct str q = join(message("SAMLResponse", OTHER), part("RelayState", STR("a b&c=d")));
    assert_int_equal(verify(rsa_query(q)), ERR_NONE);
    assert_true(got.is_response);
    assert_true(str_eq_c(got.relay_state, "a b&c=d"));
    // Parameters that are not ours do not disturb; the order of ours does not matter.
    q = rsa_query(join(message("SAMLRequest", REQUEST), part("RelayState", STR("x"))));
    size_t amp = str_find(q, '&');
    q = arena_printf(arena, "a=1&%.*s&%.*s", STR_FMT(str_skip(q, amp + 1)), STR_FMT(str_take(q, amp)));
    assert_int_equal(verify(q), ERR_NONE);
}

static void test_algorithms(void **state)
{
    (void)state;
    struct str m = message("SAMLRequest", REQUEST);
    assert_int_equal(verify(signed_query(m, ALG_MORE "rsa-sha512", KEY_RSA_NEXT, "SHA512", FORM_DER)),
                     ERR_NONE);
    assert_int_equal(verify(signed_query(m, ALG_RSA_SHA256, KEY_STRANGER, "SHA256", FORM_DER)),
                     ERR_SAML_SIGNATURE);
    assert_int_equal(verify(signed_query(m, ALG_RSA_SHA1, KEY_RSA, "SHA1", FORM_DER)), ERR_SAML_ALGORITHM);
    client.allow_sha1 = true;
    assert_int_equal(verify(signed_query(m, ALG_RSA_SHA1, KEY_RSA, "SHA1", FORM_DER)), ERR_NONE);
    client.allow_sha1 = false;
    assert_int_equal(verify(signed_query(m, ALG_MORE "rsa-sha384", KEY_RSA, "SHA256", FORM_DER)),
                     ERR_SAML_SIGNATURE);
    // A digest is not a signature algorithm, though it is in the same table.
    assert_int_equal(verify(signed_query(m, NS_XENC "sha256", KEY_RSA, "SHA256", FORM_DER)),
                     ERR_SAML_ALGORITHM);
    assert_int_equal(verify(signed_query(m, ALG_MORE "hmac-sha256", KEY_RSA, "SHA256", FORM_DER)),
                     ERR_SAML_ALGORITHM);
}

static void test_ecdsa_in_both_forms(void **state)
{
    (void)state;
    struct str m = message("SAMLRequest", REQUEST);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(verify(signed_query(m, ALG_MORE "ecdsa-sha256", KEY_EC, "SHA256", FORM_RAW)),
                         ERR_NONE);
        assert_int_equal(verify(signed_query(m, ALG_MORE "ecdsa-sha384", KEY_EC_384, "SHA384", FORM_RAW)),
                         ERR_NONE);
        assert_int_equal(verify(signed_query(m, ALG_MORE "ecdsa-sha256", KEY_EC, "SHA256", FORM_DER)),
                         ERR_NONE);
    }
    assert_int_equal(verify(signed_query(m, ALG_MORE "ecdsa-sha256", KEY_RSA, "SHA256", FORM_DER)),
                     ERR_SAML_SIGNATURE);
    assert_int_equal(verify(signed_query(m, ALG_RSA_SHA256, KEY_EC, "SHA256", FORM_DER)), ERR_SAML_SIGNATURE);
    // r = s = 0 verifies where nobody looks (CVE-2022-21449).
    struct str q = join(m, part("SigAlg", STR(ALG_MORE "ecdsa-sha256")));
    struct str zeros = { arena_alloc(arena, 64), 64 };
    assert_int_equal(verify(join(q, part("Signature", encode_base64(arena, zeros)))), ERR_SAML_SIGNATURE);
    assert_int_equal(verify(join(q, STR("Signature="))), ERR_SAML_SIGNATURE);
    assert_int_equal(verify(join(q, part("Signature", encode_base64(arena, str_take(zeros, 10))))),
                     ERR_SAML_SIGNATURE);
    // DER with something behind it is not DER.
    struct str der = sign(q, KEY_EC, "SHA256", FORM_DER);
    struct str longer = arena_str(arena, (struct str){ der.p, der.n + 1 });
    assert_int_equal(verify(join(q, part("Signature", encode_base64(arena, longer)))), ERR_SAML_SIGNATURE);
}

// Verified by one name, read by another: what lasso alone would fall for.
static void test_disguised_parameters(void **state)
{
    (void)state;
    struct str q = rsa_query(message("SAMLRequest", REQUEST)), other = message("SAMLRequest", OTHER);
    struct str disguised = double_replace(arena, other, STR("SAML"), STR("%53AML"), true);
    assert_int_equal(verify(join(q, disguised)), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(disguised, q)), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(q, other)), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(other, q)), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(q, message("SAMLResponse", OTHER))), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(arena_printf(arena, "%.*s;%.*s", STR_FMT(q), STR_FMT(other))),
                     ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(STR("Relay+State=x"), q)), ERR_SAML_REDIRECT_QUERY);
}

static void test_relay_state_is_signed(void **state)
{
    (void)state;
    struct str q = rsa_query(message("SAMLRequest", REQUEST));
    assert_int_equal(verify(join(STR("RelayState=evil"), q)), ERR_SAML_SIGNATURE);
    q = rsa_query(join(message("SAMLRequest", REQUEST), STR("RelayState=good")));
    assert_int_equal(verify(q), ERR_NONE);
    assert_int_equal(verify(double_replace(arena, q, STR("=good"), STR("=evil"), true)), ERR_SAML_SIGNATURE);
    assert_int_equal(verify(double_replace(arena, q, STR("&RelayState=good"), STR(""), true)),
                     ERR_SAML_SIGNATURE);
    assert_int_equal(verify(join(q, STR("RelayState=good"))), ERR_SAML_REDIRECT_QUERY);
    // The octets count, not what they decode to.
    assert_int_equal(verify(double_replace(arena, q, STR("=good"), STR("=%67ood"), true)),
                     ERR_SAML_SIGNATURE);
}

static void test_missing_parts(void **state)
{
    (void)state;
    struct str m = message("SAMLRequest", REQUEST), q = rsa_query(m);
    assert_int_equal(verify(m), ERR_SAML_UNSIGNED);
    assert_int_equal(verify(str_take(q, str_search(q, STR("&Signature=")))), ERR_SAML_UNSIGNED);
    assert_int_equal(verify(STR("")), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(rsa_query(STR("RelayState=x"))), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(q, STR("Signature"))), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(arena_printf(arena, "%.*s%%", STR_FMT(q))), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(arena_printf(arena, "%.*s!", STR_FMT(q))), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(join(q, part("SAMLEncoding", STR("urn:x:GZIP")))), ERR_SAML_REDIRECT_QUERY);
    struct str deflate =
        part("SAMLEncoding", STR("urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"));
    assert_int_equal(verify(join(q, deflate)), ERR_NONE);
}

static struct str packed(struct str box)
{
    return rsa_query(part("SAMLRequest", encode_base64(arena, box)));
}

static void test_inflate(void **state)
{
    (void)state;
    struct str box = deflated(REQUEST);
    assert_int_equal(verify(packed(box)), ERR_NONE);
    assert_int_equal(verify(packed(REQUEST)), ERR_SAML_REDIRECT_QUERY);
    assert_int_equal(verify(packed(str_take(box, box.n - 1))), ERR_SAML_REDIRECT_QUERY);
    struct str longer = arena_str(arena, (struct str){ box.p, box.n + 1 });
    assert_int_equal(verify(packed(longer)), ERR_SAML_REDIRECT_QUERY);
    struct str big = { arena_alloc(arena, LIMIT_SAML_MESSAGE_BYTES + 1), LIMIT_SAML_MESSAGE_BYTES };
    memset((char *)(uintptr_t)big.p, ' ', big.n + 1);
    assert_int_equal(verify(packed(deflated(big))), ERR_NONE);
    big.n++;
    assert_int_equal(verify(packed(deflated(big))), ERR_TOO_LARGE);
    assert_int_equal(verify(packed(deflated(STR("a\0b")))), ERR_SAML_ENCODING);
    assert_int_equal(verify(packed(deflated(STR("a\xff")))), ERR_SAML_ENCODING);
    struct str huge = { arena_alloc(arena, 2 * LIMIT_SAML_MESSAGE_BYTES + 1),
                        2 * LIMIT_SAML_MESSAGE_BYTES + 1 };
    assert_int_equal(verify(huge), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_ecdsa_in_both_forms),
        cmocka_unit_test(test_disguised_parameters),
        cmocka_unit_test(test_relay_state_is_signed),
        cmocka_unit_test(test_missing_parts),
        cmocka_unit_test(test_inflate),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
