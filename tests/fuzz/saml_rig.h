// SPDX-License-Identifier: GPL-3.0-or-later
// What the SAML fuzzers share: keys made at start and a provider whose signatures nobody can make, so that a
// message that is accepted is a finding.
#pragma once

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/encode.h"
#include "saml/saml.h"

enum { FUZZ_ARENA = 64 << 20, FUZZ_NOW = 1768478400 };

static struct arena *rig_arena;
static struct saml_sp rig_sp;
static struct saml_client rig_client;
static struct saml_idp *rig_idp;
static struct str rig_metadata, rig_certificate_pem;

static inline void rig_must(bool ok)
{
    if (!ok) abort();
}

static inline X509 *rig_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    ASN1_TIME_set(X509_getm_notBefore(cert), FUZZ_NOW);
    ASN1_TIME_set(X509_getm_notAfter(cert), FUZZ_NOW);
    X509_set_pubkey(cert, key);
    rig_must(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static inline struct str rig_bio(BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    struct str s = arena_str(rig_arena, (struct str){ p, (size_t)n });
    BIO_free(bio);
    return s;
}

static inline struct str rig_pem(X509 *cert, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    rig_must((cert ? PEM_write_bio_X509(bio, cert)
                   : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) == 1);
    return rig_bio(bio);
}

static inline struct str rig_make_metadata(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    i2d_X509_bio(bio, cert);
    return arena_printf(
        rig_arena,
        "<EntityDescriptor xmlns='urn:oasis:names:tc:SAML:2.0:metadata' entityID='https://idp/'>"
        "<IDPSSODescriptor protocolSupportEnumeration='urn:oasis:names:tc:SAML:2.0:protocol'>"
        "<KeyDescriptor><KeyInfo xmlns='http://www.w3.org/2000/09/xmldsig#'><X509Data>"
        "<X509Certificate>%s</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
        "<SingleSignOnService Binding='urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect' "
        "Location='https://idp/sso'/></IDPSSODescriptor></EntityDescriptor>",
        encode_base64(rig_arena, rig_bio(bio)).p);
}

static inline void rig_start(void)
{
    static struct str providers[] = { STR_INIT("corp") };
    struct err err = { 0 };
    struct saml_idp_info info;
    if (rig_arena) return;
    rig_must(saml_init(&err));
    rig_arena = arena_new(FUZZ_ARENA);
    EVP_PKEY *ours = EVP_RSA_gen(2048), *theirs = EVP_EC_gen("P-256");
    X509 *our_cert = rig_certificate(ours), *their_cert = rig_certificate(theirs);
    rig_sp = (struct saml_sp){ .entity_id = STR("https://sp/"),
                               .key_pem = rig_pem(NULL, ours),
                               .certificate_pem = rig_pem(our_cert, NULL),
                               .base_url = STR("https://sp/saml"),
                               .providers = { providers, 1 } };
    rig_client = (struct saml_client){
        .provider = STR("corp"), .allow_cbc = true, .allow_sha1 = true, .clock_skew = 60
    };
    rig_certificate_pem = rig_pem(their_cert, NULL);
    rig_metadata = rig_make_metadata(their_cert);
    rig_must(saml_idp_parse(rig_arena, rig_metadata, &rig_client, FUZZ_NOW, &rig_idp, &info, &err));
    X509_free(our_cert);
    X509_free(their_cert);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(theirs);
}
