// SPDX-License-Identifier: GPL-3.0-or-later
// The allow list of algorithms: each URI belongs to one use. What is not in the table is refused; what is
// weak is allowed only to an operator who said so.
#pragma once

#include "saml/saml.h"
#include "saml/xml.h"

enum alg_use {
    ALG_USE_C14N,        // ds:CanonicalizationMethod
    ALG_USE_SIGNATURE,   // ds:SignatureMethod, SigAlg of the redirect binding
    ALG_USE_DIGEST,      // ds:DigestMethod of a ds:Reference
    ALG_USE_TRANSFORM,   // ds:Transform
    ALG_USE_DATA,        // xenc:EncryptionMethod of xenc:EncryptedData
    ALG_USE_KEY,         // xenc:EncryptionMethod of xenc:EncryptedKey
    ALG_USE_OAEP_DIGEST, // ds:DigestMethod of an xenc:EncryptionMethod
    ALG_USE_OAEP_MGF,    // xenc11:MGF
};

// What the algorithm is made of, by OpenSSL's names; NULL where it does not apply.
struct algorithm {
    enum alg_use use;
    const char *uri;
    const char *digest; // "SHA256"
    const char *cipher; // "AES-128-GCM"
    int key_type;       // EVP_PKEY_RSA, EVP_PKEY_EC, 0
    enum { ALG_STRONG, ALG_NEEDS_SHA1, ALG_NEEDS_CBC } strength;
};

// The entry for `uri` if the client may use it, else NULL.
const struct algorithm *algorithm_find(enum alg_use use, struct str uri, const struct saml_client *client);
// The same for the Algorithm attribute of `element`. NULL and ERR_SAML_ALGORITHM.
const struct algorithm *algorithm_of(struct arena *a, const xmlNode *element, enum alg_use use,
                                     const struct saml_client *client, struct err *err);
// Every Algorithm attribute below `root` stands on an element we know and names something allowed there.
bool algorithms_check(struct arena *a, xmlNodePtr root, const struct saml_client *client, struct err *err);
// The n-th URI that is accepted without the operator's leave for `use`; NULL after the last. For our
// metadata.
const char *algorithm_strong(enum alg_use use, size_t n);
