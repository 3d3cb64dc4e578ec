// SPDX-License-Identifier: GPL-3.0-or-later
// A small identity provider for tests: makes keys when it starts, writes responses from one template, and can
// be told to change any text of it before or after signing. It signs and encrypts with xmlsec, as a provider
// would.
#pragma once

#include <openssl/evp.h>

#include "base/arena.h"
#include "saml/saml.h"

#define SP_ENTITY "https://login.example.com/.sallyport/saml/metadata"
#define SP_BASE "https://login.example.com/.sallyport/saml"
#define SP_ACS SP_BASE "/corp/acs"
#define IDP_ENTITY "https://idp.example.com/"
#define IDP_SSO "https://idp.example.com/sso?tenant=1"
#define REQUEST_ID "_0123456789abcdef0123456789abcdef01234567"
enum { NOW = 1768478400 }; // 2026-01-15T12:00:00Z

enum double_key { KEY_RSA, KEY_RSA_NEXT, KEY_EC, KEY_EC_384, KEY_STRANGER, KEY_SP, KEY_WEAK, KEY_HMAC, KEYS };

struct edit {
    struct str find, replace;
};

struct recipe {
    bool sign_response, sign_assertion;
    enum double_key key;
    const char *signature, *digest;             // algorithm URIs, NULL: SHA-256
    const char *data_cipher;                    // EncryptedAssertion with this cipher; NULL: plain
    const char *key_cipher;                     // NULL: rsa-oaep-mgf1p
    const char *extra_reference;                // put beside the Reference
    struct edit before[8], after[8], inside[8]; // inside: in the signed assertion before it is encrypted
    size_t nbefore, nafter, ninside;
};

void double_start(void);
void double_stop(void);
EVP_PKEY *double_key(enum double_key k);
struct str double_certificate(struct arena *a, enum double_key k); // base64 DER
struct str double_certificate_pem(struct arena *a, enum double_key k);
struct str double_key_pem(struct arena *a, enum double_key k);

// Metadata with signing keys KEY_RSA, KEY_RSA_NEXT, KEY_EC, KEY_EC_384.
struct str double_metadata(struct arena *a);
// The XML of a response; fails the test when an edit finds nothing to change.
struct str double_response(struct arena *a, const struct recipe *r);
// Signs the element with this ID, which must hold a signature template.
struct str double_sign(struct arena *a, struct str xml, const char *id, const struct recipe *r);
struct str double_signature_template(struct arena *a, const char *id, const struct recipe *r);
// xmlenc of `plain` for KEY_SP as an EncryptedData element.
struct str double_encrypt(struct arena *a, struct str plain, const struct recipe *r);
struct str double_replace(struct arena *a, struct str text, struct str find, struct str replace, bool must);

void double_sp(struct arena *a, struct saml_sp *sp);
struct saml_client double_client(void);
