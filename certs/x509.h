// SPDX-License-Identifier: GPL-3.0-or-later
// Inside certs/ only: OpenSSL objects to and from PEM, and making certificates.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "base/err.h"

static inline void x509_cleanup(X509 **p)
{
    X509_free(*p);
}
static inline void pkey_cleanup(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}
static inline void chain_cleanup(STACK_OF(X509) * *p)
{
    sk_X509_pop_free(*p, X509_free);
}
#define AUTO_X509 __attribute__((cleanup(x509_cleanup)))
#define AUTO_PKEY __attribute__((cleanup(pkey_cleanup)))
#define AUTO_CHAIN __attribute__((cleanup(chain_cleanup)))

// Why OpenSSL failed last, in its words; empties the thread's error queue, which would else confuse the next
// SSL_get_error.
const char *openssl_reason(void);

// All certificates of a PEM text, in order, at least one. NULL and ERR_CERT otherwise; the caller frees.
STACK_OF(X509) * x509_parse_chain(struct str pem, const char *path, struct err *err);
// The private key of a PEM text. NULL and ERR_CERT_KEY otherwise. Never asks for a passphrase.
EVP_PKEY *pkey_parse(struct str pem, const char *path, struct err *err);

struct str x509_pem(struct arena *a, X509 *cert);    // absent on failure
struct str pkey_pem(struct arena *a, EVP_PKEY *key); // PKCS #8, not encrypted; absent on failure

struct x509_plan {
    const char *common_name; // cut to 64 bytes (X.520 ub-common-name)
    int64_t not_before, not_after;
    EVP_PKEY *key; // whose certificate it becomes
    X509 *issuer;  // NULL: self-signed
    EVP_PKEY *issuer_key;
    const char *basic_constraints, *key_usage,
        *extended_key_usage; // in OpenSSL's notation; the last may be NULL
    struct strlist hosts;    // subjectAltName: DNS names, one left-most "*." allowed, and IP addresses
};
// A version 3 certificate with a random serial, SHA-256 signature and key identifiers. NULL when a host is
// not valid or OpenSSL fails.
X509 *x509_make(const struct x509_plan *plan);
EVP_PKEY *pkey_make_p256(void);
EVP_PKEY *pkey_make_rsa(unsigned bits);
