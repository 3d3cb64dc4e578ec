// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include <xmlsec/keysmngr.h>
#include <xmlsec/openssl/app.h>
#include <xmlsec/openssl/crypto.h>
#include <xmlsec/openssl/evp.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmlenc.h>
#include <xmlsec/xmltree.h>

#include "base/encode.h"
#include "idp_double.h"
#include "saml/names.h"

static EVP_PKEY *keys[KEYS];
static X509 *certificates[KEYS];

static EVP_PKEY *make_key(enum double_key k)
{
    switch (k) {
    case KEY_EC: return EVP_EC_gen("P-256");
    case KEY_EC_384: return EVP_EC_gen("P-384");
    case KEY_WEAK: return EVP_RSA_gen(1024);
    case KEY_HMAC: return NULL;
    default: return EVP_RSA_gen(2048);
    }
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    // Expired on purpose: in metadata a certificate is the envelope of a key.
    ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 2000000);
    ASN1_TIME_set(X509_getm_notAfter(cert), NOW - 1000000);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"double", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

void double_start(void)
{
    for (int k = 0; k < KEYS; k++) {
        keys[k] = make_key((enum double_key)k);
        certificates[k] = keys[k] ? make_certificate(keys[k]) : NULL;
    }
}

void double_stop(void)
{
    for (int k = 0; k < KEYS; k++) {
        EVP_PKEY_free(keys[k]);
        X509_free(certificates[k]);
    }
}

EVP_PKEY *double_key(enum double_key k)
{
    return keys[k];
}

static struct str bio_text(struct arena *a, BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    struct str s = arena_str(a, (struct str){ p, (size_t)n });
    BIO_free(bio);
    return s;
}

struct str double_certificate(struct arena *a, enum double_key k)
{
    BIO *bio = BIO_new(BIO_s_mem());
    i2d_X509_bio(bio, certificates[k]);
    return encode_base64(a, bio_text(a, bio));
}

struct str double_certificate_pem(struct arena *a, enum double_key k)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificates[k]);
    return bio_text(a, bio);
}

struct str double_key_pem(struct arena *a, enum double_key k)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, keys[k], NULL, NULL, 0, NULL, NULL);
    return bio_text(a, bio);
}

static struct str public_pem(struct arena *a, enum double_key k)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, keys[k]);
    return bio_text(a, bio);
}

// --- metadata

struct str double_metadata(struct arena *a)
{
    struct sbuf b;
    sbuf_init(&b, a, 1 << 20);
    sbuf_add_c(&b, "<md:EntityDescriptor xmlns:md=\"" NS_METADATA "\" ID=\"_md\" entityID=\"" IDP_ENTITY "\">"
                   "<md:IDPSSODescriptor protocolSupportEnumeration=\"" NS_PROTOCOL "\">");
    for (int k = KEY_RSA; k <= KEY_EC_384; k++) {
        sbuf_add_c(&b, "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo xmlns:ds=\"" NS_DSIG "\"><ds:X509Data>"
                       "<ds:X509Certificate>\n");
        sbuf_add(&b, double_certificate(a, (enum double_key)k));
        sbuf_add_c(&b, "\n</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>");
    }
    sbuf_add_c(&b, "<md:SingleSignOnService Binding=\"" SAML_BINDING_POST
                   "\" Location=\"https://idp.example.com/post\"/>"
                   "<md:SingleSignOnService Binding=\"" SAML_BINDING_REDIRECT "\" Location=\"" IDP_SSO "\"/>"
                   "</md:IDPSSODescriptor></md:EntityDescriptor>");
    return sbuf_str(&b);
}

// --- text

struct str double_replace(struct arena *a, struct str text, struct str find, struct str replace, bool must)
{
    size_t at = str_search(text, find);
    if (at == text.n && must) fail_msg("the text to change was not found: %.*s", STR_FMT(find));
    if (at == text.n) return text;
    struct sbuf b;
    sbuf_init(&b, a, 1 << 24);
    sbuf_add(&b, str_take(text, at));
    sbuf_add(&b, replace);
    sbuf_add(&b, str_skip(text, at + find.n));
    return sbuf_str(&b);
}

static struct str apply(struct arena *a, struct str text, const struct edit *edits, size_t n)
{
    for (size_t i = 0; i < n; i++) text = double_replace(a, text, edits[i].find, edits[i].replace, true);
    return text;
}

struct str double_signature_template(struct arena *a, const char *id, const struct recipe *r)
{
    return arena_printf(
        a,
        "<ds:Signature xmlns:ds=\"" NS_DSIG
        "\"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm=\"" NS_EXC_C14N
        "\"/><ds:SignatureMethod Algorithm=\"%s\"/><ds:Reference URI=\"#%s\"><ds:Transforms><ds:Transform "
        "Algorithm=\"" ALG_ENVELOPED "\"/><ds:Transform Algorithm=\"" NS_EXC_C14N
        "\"/></ds:Transforms><ds:DigestMethod "
        "Algorithm=\"%s\"/><ds:DigestValue></ds:DigestValue></ds:Reference>%s"
        "</ds:SignedInfo><ds:SignatureValue></ds:SignatureValue></ds:Signature>",
        r->signature ? r->signature : ALG_RSA_SHA256, id, r->digest ? r->digest : NS_XENC "sha256",
        r->extra_reference ? r->extra_reference : "");
}

static const char assertion_head[] =
    "<saml:Assertion xmlns:saml=\"" NS_ASSERTION "\" ID=\"_assertion\" Version=\"2.0\" "
    "IssueInstant=\"2026-01-15T12:00:00Z\"><saml:Issuer>" IDP_ENTITY "</saml:Issuer>";
static const char assertion_tail[] =
    "<saml:Subject><saml:NameID Format=\"" SAML_FORMAT_PERSISTENT "\">alice-id</saml:NameID>"
    "<saml:SubjectConfirmation Method=\"" SAML_METHOD_BEARER "\"><saml:SubjectConfirmationData "
    "InResponseTo=\"" REQUEST_ID "\" Recipient=\"" SP_ACS "\" NotOnOrAfter=\"2026-01-15T12:05:00Z\"/>"
    "</saml:SubjectConfirmation></saml:Subject>"
    "<saml:Conditions NotBefore=\"2026-01-15T11:59:00Z\" NotOnOrAfter=\"2026-01-15T12:10:00.5Z\">"
    "<saml:AudienceRestriction><saml:Audience>" SP_ENTITY
    "</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
    "<saml:AuthnStatement AuthnInstant=\"2026-01-15T11:58:00Z\" SessionIndex=\"_session1\" "
    "SessionNotOnOrAfter=\"2026-01-15T20:00:00Z\"><saml:AuthnContext><saml:AuthnContextClassRef>"
    "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></"
    "saml:AuthnContext>"
    "</saml:AuthnStatement><saml:AttributeStatement>"
    "<saml:Attribute Name=\"urn:oid:0.9.2342.19200300.100.1.1\" FriendlyName=\"uid\"><saml:AttributeValue "
    "xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
    "xsi:type=\"xs:string\">alice</saml:AttributeValue></saml:Attribute>"
    "<saml:Attribute "
    "Name=\"mail\"><saml:AttributeValue>Alice@Example.COM</saml:AttributeValue></saml:Attribute>"
    "<saml:Attribute Name=\"displayName\"><saml:AttributeValue>Alice "
    "Zo\xc3\xab</saml:AttributeValue></saml:Attribute>"
    "<saml:Attribute "
    "Name=\"groups\"><saml:AttributeValue>staff</saml:AttributeValue><saml:AttributeValue>wiki"
    "</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>";
static const char response_head[] =
    "<samlp:Response xmlns:samlp=\"" NS_PROTOCOL "\" xmlns:saml=\"" NS_ASSERTION
    "\" ID=\"_response\" Version=\"2.0\" "
    "IssueInstant=\"2026-01-15T12:00:00Z\" Destination=\"" SP_ACS "\" InResponseTo=\"" REQUEST_ID "\">"
    "<saml:Issuer>" IDP_ENTITY "</saml:Issuer>";
static const char response_middle[] =
    "<samlp:Status><samlp:StatusCode Value=\"" SAML_STATUS_SUCCESS "\"/></samlp:Status>";

// --- signing

static xmlSecKeyPtr signing_key(struct arena *a, enum double_key k)
{
    xmlSecKeyPtr key = xmlSecKeyCreate();
    xmlSecKeyDataPtr data;
    if (k == KEY_HMAC) {
        struct str secret = public_pem(a, KEY_RSA);
        data = xmlSecKeyDataCreate(xmlSecOpenSSLKeyDataHmacId);
        assert_int_equal(
            xmlSecOpenSSLKeyDataHmacSet(data, (const xmlSecByte *)secret.p, (xmlSecSize)secret.n), 0);
    } else {
        EVP_PKEY_up_ref(keys[k]);
        data = xmlSecOpenSSLEvpKeyAdopt(keys[k]);
    }
    assert_non_null(data);
    assert_int_equal(xmlSecKeySetValue(key, data), 0);
    return key;
}

static xmlNodePtr node_with_id(xmlNodePtr n, const char *id)
{
    for (; n; n = n->next) {
        xmlChar *value = n->type == XML_ELEMENT_NODE ? xmlGetProp(n, BAD_CAST "ID") : NULL;
        bool hit = value && !strcmp((char *)value, id);
        xmlFree(value);
        xmlNodePtr below = hit ? n : node_with_id(n->children, id);
        if (below) return below;
    }
    return NULL;
}

static struct str dump_doc(struct arena *a, xmlDocPtr doc)
{
    xmlChar *text = NULL;
    int n = 0;
    xmlDocDumpMemory(doc, &text, &n);
    struct str s = { (char *)text, (size_t)n };
    // Without the declaration, so that the text can be put into other documents.
    size_t at = str_search(s, STR("?>\n"));
    s = arena_str(a, str_skip(s, at + 3));
    xmlFree(text);
    return s.p[s.n - 1] == '\n' ? str_take(s, s.n - 1) : s;
}

struct str double_sign(struct arena *a, struct str xml, const char *id, const struct recipe *r)
{
    static const xmlChar *const ids[] = { BAD_CAST "ID", NULL };
    xmlDocPtr doc = xmlReadMemory(xml.p, (int)xml.n, NULL, NULL, XML_PARSE_NONET);
    if (!doc) fail_msg("the template is no XML: %.*s", STR_FMT(xml));
    xmlSecAddIDs(doc, xmlDocGetRootElement(doc), (const xmlChar **)(uintptr_t)ids);
    xmlNodePtr element = node_with_id(xmlDocGetRootElement(doc), id);
    xmlNodePtr sig = NULL;
    for (xmlNodePtr c = element ? element->children : NULL; c && !sig; c = c->next)
        if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, "Signature")) sig = c;
    assert_non_null(sig);
    xmlSecDSigCtxPtr ctx = xmlSecDSigCtxCreate(NULL);
    ctx->signKey = signing_key(a, r->key);
    if (xmlSecDSigCtxSign(ctx, sig) != 0) fail_msg("signing failed: %.*s", STR_FMT(xml));
    xmlSecDSigCtxDestroy(ctx);
    struct str s = dump_doc(a, doc);
    xmlFreeDoc(doc);
    return s;
}

// --- encrypting

struct str double_encrypt(struct arena *a, struct str plain, const struct recipe *r)
{
    struct str tmpl = arena_printf(
        a,
        "<xenc:EncryptedData xmlns:xenc=\"" NS_XENC "\" Type=\"" NS_XENC "Element\"><xenc:EncryptionMethod "
        "Algorithm=\"%s\"/><ds:KeyInfo xmlns:ds=\"" NS_DSIG "\"><xenc:EncryptedKey><xenc:EncryptionMethod "
        "Algorithm=\"%s\"/><xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedKey></"
        "ds:KeyInfo>"
        "<xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedData>",
        r->data_cipher, r->key_cipher ? r->key_cipher : NS_XENC "rsa-oaep-mgf1p");
    xmlDocPtr doc = xmlReadMemory(tmpl.p, (int)tmpl.n, NULL, NULL, 0);
    xmlSecKeysMngrPtr manager = xmlSecKeysMngrCreate();
    xmlSecOpenSSLAppDefaultKeysMngrInit(manager);
    xmlSecOpenSSLAppDefaultKeysMngrAdoptKey(manager, signing_key(a, KEY_SP));
    xmlSecEncCtxPtr ctx = xmlSecEncCtxCreate(manager);
    int bits = strstr(r->data_cipher, "256") ? 256 : strstr(r->data_cipher, "192") ? 192 : 128;
    bool des = strstr(r->data_cipher, "des") != NULL;
    ctx->encKey = xmlSecKeyGenerateByName(BAD_CAST(des ? "des" : "aes"), (xmlSecSize)(des ? 192 : bits),
                                          xmlSecKeyDataTypeSession);
    assert_non_null(ctx->encKey);
    assert_int_equal(xmlSecEncCtxBinaryEncrypt(ctx, xmlDocGetRootElement(doc), (const xmlSecByte *)plain.p,
                                               (xmlSecSize)plain.n),
                     0);
    struct str s = dump_doc(a, doc);
    xmlSecEncCtxDestroy(ctx);
    xmlSecKeysMngrDestroy(manager);
    xmlFreeDoc(doc);
    return s;
}

// --- the response

static struct str assertion_text(struct arena *a, const struct recipe *r)
{
    struct str sig = r->sign_assertion ? double_signature_template(a, "_assertion", r) : STR("");
    return arena_printf(a, "%s%.*s%s", assertion_head, STR_FMT(sig), assertion_tail);
}

static struct str response_text(struct arena *a, const struct recipe *r, struct str assertion)
{
    struct str sig = r->sign_response ? double_signature_template(a, "_response", r) : STR("");
    return arena_printf(a, "%s%.*s%s%.*s</samlp:Response>", response_head, STR_FMT(sig), response_middle,
                        STR_FMT(assertion));
}

static struct str encrypted(struct arena *a, struct str assertion, const struct recipe *r)
{
    if (r->sign_assertion) assertion = double_sign(a, assertion, "_assertion", r);
    assertion = apply(a, assertion, r->inside, r->ninside);
    return arena_printf(a, "<saml:EncryptedAssertion>%.*s</saml:EncryptedAssertion>",
                        STR_FMT(double_encrypt(a, assertion, r)));
}

struct str double_response(struct arena *a, const struct recipe *r)
{
    struct str assertion = assertion_text(a, r), text;
    if (r->data_cipher) {
        assertion = encrypted(a, apply(a, assertion, r->before, r->nbefore), r);
        text = response_text(a, r, assertion);
    } else {
        text = apply(a, response_text(a, r, assertion), r->before, r->nbefore);
        if (r->sign_assertion) text = double_sign(a, text, "_assertion", r);
    }
    if (r->sign_response) text = double_sign(a, text, "_response", r);
    return apply(a, text, r->after, r->nafter);
}

// --- our side

void double_sp(struct arena *a, struct saml_sp *sp)
{
    static struct str providers[] = { STR_INIT("corp"), STR_INIT("other") };
    *sp = (struct saml_sp){
        .entity_id = STR(SP_ENTITY),
        .key_pem = double_key_pem(a, KEY_SP),
        .certificate_pem = double_certificate_pem(a, KEY_SP),
        .base_url = STR(SP_BASE),
        .providers = { providers, 2 },
    };
}

struct saml_client double_client(void)
{
    return (struct saml_client){ .provider = STR("corp"), .entity_id = STR(IDP_ENTITY), .clock_skew = 60 };
}
