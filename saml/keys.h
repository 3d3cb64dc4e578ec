// SPDX-License-Identifier: GPL-3.0-or-later
// Public keys that may sign: taken from metadata or from the operator, never from a message.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <xmlsec/keys.h>
#include <xmlsec/xmlsec.h>

#include "base/arena.h"
#include "base/err.h"

enum { KEYS_MAX = 16 };

struct signing_key {
    EVP_PKEY *pkey;
    xmlSecKeyPtr xmlsec;
    struct str certificate; // DER
};
struct key_set {
    struct signing_key v[KEYS_MAX];
    size_t n;
};

// Adds the key of a DER certificate; handles are released with the arena. The certificate is only an
// envelope: its dates and issuer do not matter (metadata IOP profile 2.6.1). A key that is too weak or of
// another kind is left out (true). ERR_SAML_METADATA for damage or too many keys, ERR_NO_MEMORY.
bool keys_add_certificate(struct arena *a, struct key_set *keys, struct str der, struct err *err);
// The same for every certificate of a PEM text; at least one usable key is demanded.
bool keys_add_pem(struct arena *a, struct key_set *keys, struct str pem, struct err *err);

// Our own: the private key, or the certificate as base64 DER. NULL and absent when unusable.
EVP_PKEY *keys_private(struct arena *a, struct str pem);
struct str keys_certificate_base64(struct arena *a, struct str pem);
