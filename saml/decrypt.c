// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/decrypt.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "base/limits.h"
#include "saml/algorithms.h"
#include "saml/keys.h"
#include "saml/names.h"

enum { GCM_IV = 12, GCM_TAG = 16, CBC_BLOCK = 16, MAX_KEYS = 8, MAX_RSA_BYTES = 1024, MAX_CEK = 32 };

// xmlenc 3.3: CipherData with a CipherValue. A CipherReference would make us fetch something: not followed.
static bool cipher_value(struct arena *a, const xmlNode *encrypted, struct str *ret)
{
    const xmlNode *data = xml_only(encrypted, NS_XENC, "CipherData");
    const xmlNode *value = xml_first(data);
    if (!xml_is(value, NS_XENC, "CipherValue") || xml_following(value)) return false;
    struct str text = xml_value(a, value);
    return text.p && decode_base64(a, text, true, ret);
}

// --- the content key (RFC 8017 7.1.2)

struct oaep {
    const char *digest, *mgf;
};

// xmlenc 5.5.2: rsa-oaep-mgf1p takes a digest (default SHA-1) and always MGF1 with SHA-1; xmlenc11#rsa-oaep
// takes both. A label (OAEPparams) is used by no product and not supported.
static bool oaep_parameters(struct arena *a, const xmlNode *method, const struct saml_client *client,
                            struct oaep *ret)
{
    struct err ignored = { 0 };
    const struct algorithm *alg = algorithm_of(a, method, ALG_USE_KEY, client, &ignored);
    struct oaep o = { "SHA1", "SHA1" };
    if (!alg) return false;
    for (const xmlNode *c = xml_first(method); c; c = xml_following(c)) {
        enum alg_use use = xml_is(c, NS_DSIG, "DigestMethod") ? ALG_USE_OAEP_DIGEST : ALG_USE_OAEP_MGF;
        if (use == ALG_USE_OAEP_MGF &&
            (!xml_is(c, NS_XENC11, "MGF") || !str_eq_c(str_c(alg->uri), NS_XENC11 "rsa-oaep")))
            return false;
        const struct algorithm *parameter = algorithm_of(a, c, use, client, &ignored);
        if (!parameter) return false;
        *(use == ALG_USE_OAEP_DIGEST ? &o.digest : &o.mgf) = parameter->digest;
    }
    *ret = o;
    return true;
}

static bool rsa_oaep(EVP_PKEY *key, const struct oaep *o, struct str box, uint8_t *out, size_t *ret_n)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t n = MAX_RSA_BYTES;
    bool ok = ctx && EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, o->digest, NULL) == 1 &&
              EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, o->mgf, NULL) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &n, (const unsigned char *)box.p, box.n) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (ok) *ret_n = n;
    return ok;
}

// Opens one EncryptedKey; only a key of the length that the content's cipher wants is a key.
static bool open_key(struct arena *a, const xmlNode *encrypted_key, EVP_PKEY *key,
                     const struct saml_client *client, size_t want, uint8_t ret_cek[MAX_CEK])
{
    const xmlNode *method = xml_only(encrypted_key, NS_XENC, "EncryptionMethod");
    struct oaep o;
    struct str box;
    uint8_t out[MAX_RSA_BYTES];
    size_t n = 0;
    if (!method || !oaep_parameters(a, method, client, &o) || !cipher_value(a, encrypted_key, &box))
        return false;
    bool ok = rsa_oaep(key, &o, box, out, &n) && n == want;
    for (size_t i = 0; ok && i < n; i++) ret_cek[i] = out[i];
    crypto_cleanse(out, sizeof out);
    return ok;
}

// SAML core 2.2.4: EncryptedKey stands in the KeyInfo of EncryptedData, or beside it; one for each reader.
static bool content_key(struct arena *a, const xmlNode *container, const xmlNode *data, EVP_PKEY *key,
                        const struct saml_client *client, size_t want, uint8_t ret_cek[MAX_CEK])
{
    const xmlNode *holders[] = { xml_only(data, NS_DSIG, "KeyInfo"), container };
    int tried = 0;
    for (size_t h = 0; h < 2; h++)
        for (const xmlNode *k = xml_child(holders[h], NS_XENC, "EncryptedKey"); k; k = xml_again(k))
            if (tried++ < MAX_KEYS && open_key(a, k, key, client, want, ret_cek)) return true;
    return false;
}

// --- the content

// xmlenc 5.2.4: IV, ciphertext, 16 bytes of tag.
static bool open_gcm(const EVP_CIPHER *cipher, const uint8_t *cek, struct str box, char *out, size_t *ret_n)
{
    if (box.n < GCM_IV + GCM_TAG) return false;
    const unsigned char *in = (const unsigned char *)box.p;
    int body = (int)(box.n - GCM_IV - GCM_TAG), n = 0, tail = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok =
        ctx && EVP_DecryptInit_ex2(ctx, cipher, cek, in, NULL) == 1 &&
        EVP_DecryptUpdate(ctx, (unsigned char *)out, &n, in + GCM_IV, body) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, (void *)(box.p + box.n - GCM_TAG)) == 1 &&
        EVP_DecryptFinal_ex(ctx, (unsigned char *)out + n, &tail) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok) *ret_n = (size_t)(n + tail);
    return ok;
}

// xmlenc 5.2: the last byte says how many bytes of padding there are, the others of them may be anything.
static bool open_cbc(const EVP_CIPHER *cipher, const uint8_t *cek, struct str box, char *out, size_t *ret_n)
{
    if (box.n < 2 * CBC_BLOCK || box.n % CBC_BLOCK) return false;
    const unsigned char *in = (const unsigned char *)box.p;
    int n = 0, tail = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = ctx && EVP_DecryptInit_ex2(ctx, cipher, cek, in, NULL) == 1 &&
              EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
              EVP_DecryptUpdate(ctx, (unsigned char *)out, &n, in + CBC_BLOCK, (int)box.n - CBC_BLOCK) == 1 &&
              EVP_DecryptFinal_ex(ctx, (unsigned char *)out + n, &tail) == 1;
    EVP_CIPHER_CTX_free(ctx);
    size_t total = ok ? (size_t)(n + tail) : 0;
    size_t pad = total ? (uint8_t)out[total - 1] : 0;
    if (pad == 0 || pad > CBC_BLOCK) return false;
    *ret_n = total - pad;
    return true;
}

static bool open_content(struct arena *a, const xmlNode *container, const xmlNode *data, EVP_PKEY *key,
                         const struct saml_client *client, struct str *ret)
{
    struct err ignored = { 0 };
    const xmlNode *method = xml_only(data, NS_XENC, "EncryptionMethod");
    const struct algorithm *alg = method ? algorithm_of(a, method, ALG_USE_DATA, client, &ignored) : NULL;
    struct str box;
    uint8_t cek[MAX_CEK];
    if (!alg || !cipher_value(a, data, &box)) return false;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, alg->cipher, NULL);
    char *out = arena_alloc(a, box.n + CBC_BLOCK);
    size_t n = 0;
    bool ok =
        cipher && out &&
        content_key(a, container, data, key, client, (size_t)EVP_CIPHER_get_key_length(cipher), cek) &&
        (EVP_CIPHER_get_mode(cipher) == EVP_CIPH_GCM_MODE ? open_gcm : open_cbc)(cipher, cek, box, out, &n);
    EVP_CIPHER_free(cipher);
    crypto_cleanse(cek, sizeof cek);
    ERR_clear_error();
    if (ok) *ret = (struct str){ out, n };
    return ok;
}

// --- the plain text

// xmlenc 4.4.1: the plain text replaces EncryptedData, so it may use prefixes that are declared around it.
static void add_namespaces(struct arena *a, struct sbuf *b, const xmlNode *container)
{
    struct strlist seen = { arena_array(a, XML_MAX_ATTRIBUTES, sizeof(struct str)), 0 };
    for (const xmlNode *n = container; seen.v && n && n->type == XML_ELEMENT_NODE; n = n->parent)
        for (const xmlNs *ns = n->nsDef; ns; ns = ns->next) {
            struct str prefix = ns->prefix ? str_c((const char *)ns->prefix) : STR("");
            if (strlist_has(seen, prefix) || seen.n == XML_MAX_ATTRIBUTES) continue;
            seen.v[seen.n++] = prefix;
            sbuf_addf(b, " xmlns%s%.*s=\"", prefix.n ? ":" : "", STR_FMT(prefix));
            sbuf_add(b, xml_escape(a, str_c(ns->href ? (const char *)ns->href : "")));
            sbuf_add_c(b, "\"");
        }
}

// Some products encrypt a whole document, declaration included.
static struct str without_declaration(struct str plain)
{
    plain = xml_trim(plain);
    size_t end = str_search(plain, STR("?>"));
    if (!str_starts(plain, STR("<?xml ")) || end == plain.n) return plain;
    return xml_trim(str_skip(plain, end + 2));
}

static xmlNodePtr parse_in_context(struct arena *a, const xmlNode *container, struct str plain)
{
    struct err ignored = { 0 };
    struct sbuf b;
    sbuf_init(&b, a, LIMIT_SAML_MESSAGE_BYTES * 2);
    sbuf_add_c(&b, "<plaintext");
    add_namespaces(a, &b, container);
    sbuf_add_c(&b, ">");
    sbuf_add(&b, without_declaration(plain));
    sbuf_add_c(&b, "</plaintext>");
    struct str text = sbuf_str(&b);
    xmlDocPtr doc = text.p ? xml_parse(a, text, LIMIT_SAML_MESSAGE_BYTES * 2, &ignored) : NULL;
    xmlNodePtr only = doc ? xml_first(xmlDocGetRootElement(doc)) : NULL;
    return only && !xml_following(only) ? only : NULL;
}

bool decrypt_element(struct arena *a, const xmlNode *container, struct str key_pem,
                     const struct saml_client *client, xmlNodePtr *ret, struct err *err)
{
    EVP_PKEY *key = keys_private(a, key_pem);
    const xmlNode *data = xml_only(container, NS_XENC, "EncryptedData");
    struct str plain;
    xmlNodePtr element = NULL;
    if (key && data && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_size(key) <= MAX_RSA_BYTES &&
        open_content(a, container, data, key, client, &plain))
        element = parse_in_context(a, container, plain);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "decryption");
    if (!element) return err_set(err, ERR_SAML_DECRYPT, "the encrypted part cannot be read with our key");
    *ret = element;
    return true;
}
