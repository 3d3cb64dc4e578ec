// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/keys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <xmlsec/openssl/evp.h>

#include "base/encode.h"

static void release_pkey(void *pkey)
{
    EVP_PKEY_free(pkey);
}

static void release_xmlsec(void *key)
{
    xmlSecKeyDestroy(key);
}

// NIST SP 800-131A: RSA of 2048 bits and more, P-256 and larger. An upper bound, because verifying with a
// huge modulus costs seconds.
static bool is_strong(EVP_PKEY *pkey)
{
    char group[32];
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA: return EVP_PKEY_get_bits(pkey) >= 2048 && EVP_PKEY_get_bits(pkey) <= 8192;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
               (!strcmp(group, "prime256v1") || !strcmp(group, "secp384r1") || !strcmp(group, "secp521r1"));
    default: return false;
    }
}

static xmlSecKeyPtr xmlsec_key(EVP_PKEY *pkey)
{
    xmlSecKeyPtr key = xmlSecKeyCreate();
    if (!key || EVP_PKEY_up_ref(pkey) != 1) {
        xmlSecKeyDestroy(key);
        return NULL;
    }
    xmlSecKeyDataPtr data = xmlSecOpenSSLEvpKeyAdopt(pkey);
    if (!data) {
        EVP_PKEY_free(pkey);
        xmlSecKeyDestroy(key);
        return NULL;
    }
    if (xmlSecKeySetValue(key, data) < 0) {
        xmlSecKeyDataDestroy(data);
        xmlSecKeyDestroy(key);
        return NULL;
    }
    return key;
}

static bool add_key(struct arena *a, struct key_set *keys, EVP_PKEY *pkey, struct str der, struct err *err)
{
    xmlSecKeyPtr key = xmlsec_key(pkey);
    if (!key) return err_set(err, ERR_NO_MEMORY, "signing key");
    if (!arena_defer(a, release_xmlsec, key)) return err_set(err, ERR_NO_MEMORY, "signing key");
    struct str copy = arena_str(a, der);
    if (!copy.p) return err_set(err, ERR_NO_MEMORY, "signing key");
    keys->v[keys->n++] = (struct signing_key){ pkey, key, copy };
    return true;
}

static bool is_known(const struct key_set *keys, EVP_PKEY *pkey)
{
    for (size_t i = 0; i < keys->n; i++)
        if (EVP_PKEY_eq(keys->v[i].pkey, pkey) == 1) return true;
    return false;
}

bool keys_add_certificate(struct arena *a, struct key_set *keys, struct str der, struct err *err)
{
    const unsigned char *p = (const unsigned char *)der.p;
    X509 *cert = d2i_X509(NULL, &p, (long)der.n);
    bool whole = cert && p == (const unsigned char *)der.p + der.n;
    EVP_PKEY *pkey = whole ? X509_get_pubkey(cert) : NULL;
    X509_free(cert);
    ERR_clear_error();
    if (!pkey) return err_set(err, ERR_SAML_METADATA, "a certificate is damaged");
    if (!arena_defer(a, release_pkey, pkey)) return err_set(err, ERR_NO_MEMORY, "signing key");
    if (!is_strong(pkey) || is_known(keys, pkey)) return true;
    if (keys->n == KEYS_MAX) return err_set(err, ERR_SAML_METADATA, "more than %d signing keys", KEYS_MAX);
    return add_key(a, keys, pkey, der, err);
}

static bool add_x509(struct arena *a, struct key_set *keys, X509 *cert, struct err *err)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);
    bool ok = n > 0 ? keys_add_certificate(a, keys, (struct str){ (char *)der, (size_t)n }, err)
                    : err_set(err, ERR_NO_MEMORY, "certificate");
    OPENSSL_free(der);
    return ok;
}

bool keys_add_pem(struct arena *a, struct key_set *keys, struct str pem, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio) return err_set(err, ERR_NO_MEMORY, "certificate");
    bool ok = true;
    X509 *cert;
    while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        ok = add_x509(a, keys, cert, err);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (!ok) return false;
    return keys->n ? true : err_set(err, ERR_SAML_METADATA, "no usable key in the configured certificate");
}

// A protected key must not make OpenSSL ask the terminal.
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

EVP_PKEY *keys_private(struct arena *a, struct str pem)
{
    BIO *bio = pem.p ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return pkey && arena_defer(a, release_pkey, pkey) ? pkey : NULL;
}

struct str keys_certificate_base64(struct arena *a, struct str pem)
{
    BIO *bio = pem.p ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    unsigned char *der = NULL;
    int n = cert ? i2d_X509(cert, &der) : 0;
    struct str text = n > 0 ? encode_base64(a, (struct str){ (char *)der, (size_t)n }) : STR_NONE;
    OPENSSL_free(der);
    X509_free(cert);
    BIO_free(bio);
    ERR_clear_error();
    return text;
}
