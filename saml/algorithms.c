// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/algorithms.h"

#include <openssl/evp.h>

#include "saml/names.h"

#define RSA(uri, md, strength)                                                                               \
    {                                                                                                        \
        ALG_USE_SIGNATURE, uri, md, NULL, EVP_PKEY_RSA, strength                                             \
    }
#define EC(uri, md)                                                                                          \
    {                                                                                                        \
        ALG_USE_SIGNATURE, uri, md, NULL, EVP_PKEY_EC, ALG_STRONG                                            \
    }
#define DIGEST(use, uri, md, strength)                                                                       \
    {                                                                                                        \
        use, uri, md, NULL, 0, strength                                                                      \
    }
#define PLAIN(use, uri)                                                                                      \
    {                                                                                                        \
        use, uri, NULL, NULL, 0, ALG_STRONG                                                                  \
    }
#define DATA(uri, cipher, strength)                                                                          \
    {                                                                                                        \
        ALG_USE_DATA, uri, NULL, cipher, 0, strength                                                         \
    }

// Not here on purpose: HMAC (a public key would serve as the secret), DSA, MD5, RSA 1.5 key transport
// (Bleichenbacher), 3DES, XPath, XSLT, and canonicalisation with comments. SHA-1 inside RSA-OAEP is not weak:
// it needs no collision resistance there, and OAEP-MGF1P means it by default.
static const struct algorithm table[] = {
    PLAIN(ALG_USE_C14N, NS_EXC_C14N),
    PLAIN(ALG_USE_C14N, ALG_C14N),
    RSA(ALG_RSA_SHA256, "SHA256", ALG_STRONG),
    RSA(ALG_MORE "rsa-sha384", "SHA384", ALG_STRONG),
    RSA(ALG_MORE "rsa-sha512", "SHA512", ALG_STRONG),
    EC(ALG_MORE "ecdsa-sha256", "SHA256"),
    EC(ALG_MORE "ecdsa-sha384", "SHA384"),
    EC(ALG_MORE "ecdsa-sha512", "SHA512"),
    RSA(ALG_RSA_SHA1, "SHA1", ALG_NEEDS_SHA1),
    DIGEST(ALG_USE_DIGEST, NS_XENC "sha256", "SHA256", ALG_STRONG),
    DIGEST(ALG_USE_DIGEST, ALG_MORE "sha384", "SHA384", ALG_STRONG),
    DIGEST(ALG_USE_DIGEST, NS_XENC "sha512", "SHA512", ALG_STRONG),
    DIGEST(ALG_USE_DIGEST, ALG_SHA1, "SHA1", ALG_NEEDS_SHA1),
    PLAIN(ALG_USE_TRANSFORM, ALG_ENVELOPED),
    PLAIN(ALG_USE_TRANSFORM, NS_EXC_C14N),
    PLAIN(ALG_USE_TRANSFORM, ALG_C14N),
    DATA(NS_XENC11 "aes256-gcm", "AES-256-GCM", ALG_STRONG),
    DATA(NS_XENC11 "aes192-gcm", "AES-192-GCM", ALG_STRONG),
    DATA(NS_XENC11 "aes128-gcm", "AES-128-GCM", ALG_STRONG),
    DATA(NS_XENC "aes256-cbc", "AES-256-CBC", ALG_NEEDS_CBC),
    DATA(NS_XENC "aes192-cbc", "AES-192-CBC", ALG_NEEDS_CBC),
    DATA(NS_XENC "aes128-cbc", "AES-128-CBC", ALG_NEEDS_CBC),
    PLAIN(ALG_USE_KEY, NS_XENC "rsa-oaep-mgf1p"),
    PLAIN(ALG_USE_KEY, NS_XENC11 "rsa-oaep"),
    DIGEST(ALG_USE_OAEP_DIGEST, ALG_SHA1, "SHA1", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_DIGEST, NS_XENC "sha256", "SHA256", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_DIGEST, ALG_MORE "sha384", "SHA384", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_DIGEST, NS_XENC "sha512", "SHA512", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_MGF, NS_XENC11 "mgf1sha1", "SHA1", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_MGF, NS_XENC11 "mgf1sha256", "SHA256", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_MGF, NS_XENC11 "mgf1sha384", "SHA384", ALG_STRONG),
    DIGEST(ALG_USE_OAEP_MGF, NS_XENC11 "mgf1sha512", "SHA512", ALG_STRONG),
};
enum { TABLE = sizeof table / sizeof table[0] };

static bool may_use(const struct algorithm *alg, const struct saml_client *client)
{
    switch (alg->strength) {
    case ALG_STRONG: return true;
    case ALG_NEEDS_SHA1: return client->allow_sha1;
    case ALG_NEEDS_CBC: return client->allow_cbc;
    }
    return false;
}

const struct algorithm *algorithm_find(enum alg_use use, struct str uri, const struct saml_client *client)
{
    for (size_t i = 0; i < TABLE; i++)
        if (table[i].use == use && str_eq_c(uri, table[i].uri))
            return may_use(&table[i], client) ? &table[i] : NULL;
    return NULL;
}

const struct algorithm *algorithm_of(struct arena *a, const xmlNode *element, enum alg_use use,
                                     const struct saml_client *client, struct err *err)
{
    struct str uri = xml_attr(a, element, "Algorithm");
    const struct algorithm *alg = algorithm_find(use, uri, client);
    if (!alg)
        err_set(err, ERR_SAML_ALGORITHM, "%s '%.*s' is not allowed", (const char *)element->name,
                STR_FMT(uri));
    return alg;
}

// What the Algorithm attribute of this element means; false when it means nothing to us.
static bool use_of(const xmlNode *e, enum alg_use *ret)
{
    const xmlNode *up = e->parent;
    if (xml_is(e, NS_DSIG, "CanonicalizationMethod"))
        *ret = ALG_USE_C14N;
    else if (xml_is(e, NS_DSIG, "SignatureMethod"))
        *ret = ALG_USE_SIGNATURE;
    else if (xml_is(e, NS_DSIG, "Transform"))
        *ret = ALG_USE_TRANSFORM;
    else if (xml_is(e, NS_DSIG, "DigestMethod") && xml_is(up, NS_DSIG, "Reference"))
        *ret = ALG_USE_DIGEST;
    else if (xml_is(e, NS_DSIG, "DigestMethod") && xml_is(up, NS_XENC, "EncryptionMethod"))
        *ret = ALG_USE_OAEP_DIGEST;
    else if (xml_is(e, NS_XENC11, "MGF"))
        *ret = ALG_USE_OAEP_MGF;
    else if (xml_is(e, NS_XENC, "EncryptionMethod") && xml_is(up, NS_XENC, "EncryptedData"))
        *ret = ALG_USE_DATA;
    else if (xml_is(e, NS_XENC, "EncryptionMethod") && xml_is(up, NS_XENC, "EncryptedKey"))
        *ret = ALG_USE_KEY;
    else
        return false;
    return true;
}

bool algorithms_check(struct arena *a, xmlNodePtr root, const struct saml_client *client, struct err *err)
{
    for (xmlNodePtr e = root; e; e = xml_walk(e, root)) {
        if (!xml_attr_node(e, "Algorithm")) continue;
        enum alg_use use = ALG_USE_C14N;
        if (!use_of(e, &use))
            return err_set(err, ERR_SAML_ALGORITHM, "an Algorithm attribute on <%.60s>",
                           (const char *)e->name);
        if (!algorithm_of(a, e, use, client, err)) return false;
    }
    return true;
}

const char *algorithm_strong(enum alg_use use, size_t n)
{
    for (size_t i = 0; i < TABLE; i++)
        if (table[i].use == use && table[i].strength == ALG_STRONG && n-- == 0) return table[i].uri;
    return NULL;
}
