// SPDX-License-Identifier: GPL-3.0-or-later
// XML Encryption made with OpenSSL, so that each byte can be wrong: all of it must end in the same error.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "base/mem.h"
#include "idp_double.h"
#include "saml/decrypt.h"
#include "saml/names.h"

enum { ARENA = 64 << 20 };

static struct arena *arena;
static struct saml_client client;
static struct str key_pem;

static int start(void **state)
{
    struct err err = { 0 };
    (void)state;
    if (!saml_init(&err)) return 1;
    double_start();
    arena = arena_new(ARENA);
    client = double_client();
    key_pem = double_key_pem(arena, KEY_SP);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(arena);
    double_stop();
    saml_done();
    return 0;
}

// How one message is made; what is left out has a good value.
struct making {
    const char *cipher, *cipher_uri; // AES-256-GCM
    const char *key_uri;             // xmlenc11#rsa-oaep
    const char *digest, *mgf;        // by OpenSSL's names, of the encryption: SHA256
    const char *parameters;          // children of the key's EncryptionMethod, as declared
    size_t cek;                      // length of the content key: that of the cipher
    int flip;                        // byte of the ciphertext to spoil, from its end: 0 none
    int pad;                         // CBC: the last byte; 0: right
    bool pkcs1, beside;
    int strangers; // keys for others before ours
    enum double_key key;
    struct str plain;
};

#define DIGEST_256 "<ds:DigestMethod Algorithm=\"" NS_XENC "sha256\"/>"
#define MGF_256 "<e:MGF xmlns:e=\"" NS_XENC11 "\" Algorithm=\"" NS_XENC11 "mgf1sha256\"/>"

static struct str wrap_key(const struct making *m, const uint8_t *cek, size_t n, enum double_key to)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, double_key(to), NULL);
    unsigned char *out = arena_alloc(arena, 512);
    size_t len = 512;
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, m->pkcs1 ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING) ==
                1);
    if (!m->pkcs1) {
        EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, m->digest ? m->digest : "SHA256", NULL);
        EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, m->mgf ? m->mgf : "SHA256", NULL);
    }
    assert_int_equal(EVP_PKEY_encrypt(ctx, out, &len, cek, n), 1);
    EVP_PKEY_CTX_free(ctx);
    return (struct str){ (char *)out, len };
}

static struct str padded(const struct making *m, size_t block)
{
    size_t pad = block - m->plain.n % block;
    char *p = arena_alloc(arena, m->plain.n + pad);
    memcpy(p, m->plain.p, m->plain.n);
    p[m->plain.n + pad - 1] = (char)(m->pad ? m->pad : (int)pad);
    return (struct str){ p, m->plain.n + pad };
}

static struct str encrypt(const struct making *m, const uint8_t *cek)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, m->cipher ? m->cipher : "AES-256-GCM", NULL);
    bool gcm = EVP_CIPHER_get_mode(cipher) == EVP_CIPH_GCM_MODE;
    struct str plain = gcm ? m->plain : padded(m, 16);
    int iv = gcm ? 12 : 16, n = 0, tail = 0;
    unsigned char *out = arena_alloc(arena, plain.n + 64);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, cek, out, NULL), 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    assert_int_equal(EVP_EncryptUpdate(ctx, out + iv, &n, (const unsigned char *)plain.p, (int)plain.n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + iv + n, &tail), 1);
    size_t total = (size_t)(iv + n + tail);
    if (gcm) {
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + total);
        total += 16;
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    if (m->flip) out[total - (size_t)m->flip] ^= 1;
    return (struct str){ (char *)out, total };
}

static struct str key_element(const struct making *m, const uint8_t *cek, size_t n, enum double_key to)
{
    return arena_printf(
        arena,
        "<x:EncryptedKey><x:EncryptionMethod Algorithm=\"%s\">%s</x:EncryptionMethod><x:CipherData>"
        "<x:CipherValue>%s</x:CipherValue></x:CipherData></x:EncryptedKey>",
        m->key_uri ? m->key_uri : NS_XENC11 "rsa-oaep", m->parameters ? m->parameters : DIGEST_256 MGF_256,
        encode_base64(arena, wrap_key(m, cek, n, to)).p);
}

static struct str make(const struct making *m)
{
    uint8_t cek[64] = { 1, 2, 3 };
    size_t n = m->cek ? m->cek : 32;
    struct str keys = key_element(m, cek, n, m->key ? m->key : KEY_SP);
    for (int i = 0; i < m->strangers; i++)
        keys = arena_printf(arena, "%s%s", key_element(m, cek, n, KEY_STRANGER).p, keys.p);
    return arena_printf(
        arena,
        "<saml:EncryptedAssertion xmlns:saml=\"" NS_ASSERTION "\" xmlns:x=\"" NS_XENC "\" xmlns:ds=\"" NS_DSIG
        "\"><x:EncryptedData><x:EncryptionMethod Algorithm=\"%s\"/>"
        "<ds:KeyInfo>%s</ds:KeyInfo><x:CipherData><x:CipherValue>%s</x:CipherValue></x:CipherData>"
        "</x:EncryptedData>%s</saml:EncryptedAssertion>",
        m->cipher_uri ? m->cipher_uri : NS_XENC11 "aes256-gcm", m->beside ? "" : keys.p,
        encode_base64(arena, encrypt(m, cek)).p, m->beside ? keys.p : "");
}

// "ok", or the one error there is.
static enum err_code result(struct making m, const char *what)
{
    struct err err = { 0 };
    if (!m.plain.p) m.plain = STR("<saml:Assertion>text</saml:Assertion>");
    xmlDocPtr doc = xml_parse(arena, make(&m), 1 << 20, &err);
    if (!doc) fail_msg("%s: %s", what, err.detail);
    xmlNodePtr element = NULL;
    bool ok = decrypt_element(arena, xmlDocGetRootElement(doc), key_pem, &client, &element, &err);
    if (ok) {
        assert_true(xml_is(element, NS_ASSERTION, "Assertion"));
        assert_true(str_eq_c(xml_text(arena, element), "text"));
        return ERR_NONE;
    }
    if (err.code != ERR_SAML_DECRYPT || strcmp(err.detail, "the encrypted part cannot be read with our key"))
        fail_msg("%s: %s (%s)", what, err_name(err.code), err.detail);
    return err.code;
}

#define OPENS(...) assert_int_equal(result((struct making){ __VA_ARGS__ }, #__VA_ARGS__), ERR_NONE)
#define REFUSED(...) assert_int_equal(result((struct making){ __VA_ARGS__ }, #__VA_ARGS__), ERR_SAML_DECRYPT)

static void test_key_transport(void **state)
{
    (void)state;
    OPENS(.digest = "SHA256");
    OPENS(.digest = "SHA512", .mgf = "SHA1",
          .parameters = "<ds:DigestMethod Algorithm=\"" NS_XENC "sha512\"/>");
    OPENS(.digest = "SHA1", .mgf = "SHA1", .parameters = "");
    OPENS(.digest = "SHA1", .mgf = "SHA1", .parameters = "", .key_uri = NS_XENC "rsa-oaep-mgf1p");
    OPENS(.digest = "SHA256", .mgf = "SHA1", .parameters = DIGEST_256, .key_uri = NS_XENC "rsa-oaep-mgf1p");
    OPENS(.beside = true);
    OPENS(.strangers = 7);
    REFUSED(.strangers = 8); // each costs an RSA operation, so there is an end to it
    REFUSED(.key = KEY_STRANGER);
    REFUSED(.digest = "SHA1");
    REFUSED(.mgf = "SHA1");
    REFUSED(.parameters = DIGEST_256);
    // mgf1p has no other mask function than MGF1 with SHA-1.
    REFUSED(.key_uri = NS_XENC "rsa-oaep-mgf1p");
    REFUSED(.parameters = DIGEST_256 MGF_256 "<x:OAEPparams>AAAA</x:OAEPparams>");
    REFUSED(.pkcs1 = true, .key_uri = NS_XENC "rsa-1_5", .parameters = "");
    REFUSED(.pkcs1 = true);
}

// A longer key would be cut by the cipher, a shorter one filled with what lay in memory.
static void test_key_length(void **state)
{
    (void)state;
    REFUSED(.cek = 16);
    REFUSED(.cek = 31);
    REFUSED(.cek = 33);
    REFUSED(.cek = 64);
    OPENS(.cipher = "AES-128-GCM", .cipher_uri = NS_XENC11 "aes128-gcm", .cek = 16);
    REFUSED(.cipher = "AES-128-GCM", .cipher_uri = NS_XENC11 "aes128-gcm", .cek = 32);
}

static void test_gcm_is_authenticated(void **state)
{
    (void)state;
    for (int i = 1; i < 12 + 37 + 16; i++) REFUSED(.flip = i);
}

static void test_cbc_padding(void **state)
{
    (void)state;
#define CBC .cipher = "AES-256-CBC", .cipher_uri = NS_XENC "aes256-cbc"
    REFUSED(CBC);
    client.allow_cbc = true;
    OPENS(CBC);
    OPENS(CBC, .plain = STR("<saml:Assertion>text</saml:Assertion> \n      \n   "));
    // Blanks at the end, so that what is left would still be XML.
    struct str blanks = STR("<saml:Assertion>text</saml:Assertion>                                        ");
    OPENS(CBC, .plain = blanks);
    REFUSED(CBC, .plain = blanks, .pad = 17);
    REFUSED(CBC, .pad = 17);
    REFUSED(CBC, .pad = 255);
    REFUSED(CBC, .pad = 16);
    client.allow_cbc = false;
}

static void test_plain_text(void **state)
{
    (void)state;
    OPENS(.plain = STR("<?xml version=\"1.0\"?>\n<saml:Assertion>text</saml:Assertion>"));
    OPENS(.plain = STR("<a:Assertion xmlns:a=\"" NS_ASSERTION "\">text</a:Assertion>"));
    REFUSED(.plain = STR(""));
    REFUSED(.plain = STR("text"));
    REFUSED(.plain = STR("<saml:Assertion>text</saml:Assertion><saml:Assertion/>"));
    REFUSED(.plain = STR("</plaintext><plaintext><saml:Assertion/>"));
    REFUSED(.plain = STR("<!DOCTYPE a><saml:Assertion>text</saml:Assertion>"));
    REFUSED(.plain = STR("<saml:Assertion>te\0xt</saml:Assertion>"));
    REFUSED(.plain = STR("<other:Assertion>text</other:Assertion>"));
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    struct making m = { .plain = STR("<saml:Assertion>text</saml:Assertion>") };
    struct str text = make(&m);
    bool happened = true;
    for (long n = 1; happened; n++) {
        struct err err = { 0 };
        xmlNodePtr element = NULL;
        struct arena *a = arena_new(ARENA);
        xmlDocPtr doc = xml_parse(a, text, 1 << 20, &err);
        mem_fail_at(n);
        bool ok = decrypt_element(a, xmlDocGetRootElement(doc), key_pem, &client, &element, &err);
        happened = mem_failed();
        mem_fail_at(0);
        assert_true(ok == (element != NULL));
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_transport),        cmocka_unit_test(test_key_length),
        cmocka_unit_test(test_gcm_is_authenticated), cmocka_unit_test(test_cbc_padding),
        cmocka_unit_test(test_plain_text),           cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
