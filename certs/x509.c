// SPDX-License-Identifier: GPL-3.0-or-later
#include "certs/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/url.h"

const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason ? reason : "no reason given";
}

static BIO *bio_of(struct str text)
{
    return text.n <= INT32_MAX ? BIO_new_mem_buf(text.p ? text.p : "", (int)text.n) : NULL;
}

// PEM_read_bio_X509 skips blocks of other kinds and ends with NO_START_LINE at the end of the text.
static bool at_end_of_pem(void)
{
    unsigned long e = ERR_peek_last_error();
    return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

static bool read_chain(BIO *bio, STACK_OF(X509) * chain, const char *path, struct err *err)
{
    ERR_clear_error();
    for (X509 *c; (c = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
        if (sk_X509_push(chain, c) > 0) continue;
        X509_free(c);
        return err_set(err, ERR_NO_MEMORY, "%s", path);
    }
    int n = sk_X509_num(chain);
    if (!at_end_of_pem())
        return err_set(err, ERR_CERT, "%s: certificate %d is damaged: %s", path, n + 1, openssl_reason());
    ERR_clear_error();
    if (n == 0)
        return err_set(err, ERR_CERT, "%s: holds no certificate (PEM, -----BEGIN CERTIFICATE-----)", path);
    return true;
}

STACK_OF(X509) * x509_parse_chain(struct str pem, const char *path, struct err *err)
{
    BIO *bio = bio_of(pem);
    STACK_OF(X509) *chain = sk_X509_new_null();
    bool ok = bio && chain ? read_chain(bio, chain, path, err) : err_set(err, ERR_NO_MEMORY, "%s", path);
    BIO_free(bio);
    if (ok) return chain;
    sk_X509_pop_free(chain, X509_free);
    return NULL;
}

// Without this OpenSSL would ask on the terminal.
static int no_passphrase(char *buf, int size, int rwflag, void *context)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)context = true;
    return -1;
}

EVP_PKEY *pkey_parse(struct str pem, const char *path, struct err *err)
{
    bool encrypted = false;
    BIO *bio = bio_of(pem);
    ERR_clear_error();
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted) : NULL;
    BIO_free(bio);
    if (key)
        ERR_clear_error();
    else if (encrypted)
        err_set(err, ERR_CERT_KEY,
                "%s: the key is encrypted; store it without a passphrase: openssl pkey -in %s", path, path);
    else if (str_search(pem, STR("PRIVATE KEY-----")) == pem.n) // OpenSSL's own reason is "unsupported"
        err_set(err, ERR_CERT_KEY, "%s: holds no private key (PEM, -----BEGIN PRIVATE KEY-----)", path);
    else
        err_set(err, ERR_CERT_KEY, "%s: the private key is damaged: %s", path, openssl_reason());
    ERR_clear_error();
    return key;
}

static struct str bio_take(struct arena *a, BIO *bio, bool ok)
{
    char *p = NULL;
    long n = ok ? BIO_get_mem_data(bio, &p) : 0;
    struct str copy = n > 0 ? arena_str(a, (struct str){ p, (size_t)n }) : STR_NONE;
    if (n > 0) OPENSSL_cleanse(p, (size_t)n);
    BIO_free(bio);
    return copy;
}

struct str x509_pem(struct arena *a, X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio_take(a, bio, bio && PEM_write_bio_X509(bio, cert) == 1);
}

struct str pkey_pem(struct arena *a, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    return bio_take(a, bio, bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
}

EVP_PKEY *pkey_make_p256(void)
{
    return EVP_EC_gen("P-256");
}

EVP_PKEY *pkey_make_rsa(unsigned bits)
{
    return EVP_RSA_gen(bits);
}

// RFC 5280 4.1.2.2: positive, at most 20 octets. 127 random bits cannot collide.
static bool set_serial(X509 *cert)
{
    BIGNUM *n = BN_new();
    bool ok = n && BN_rand(n, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_names(X509 *cert, const struct x509_plan *plan)
{
    size_t n = strnlen(plan->common_name, 64);
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)plan->common_name,
                                      (int)n, -1, 0) == 1 &&
           X509_set_issuer_name(cert, plan->issuer ? X509_get_subject_name(plan->issuer) : name) == 1;
}

static bool set_times(X509 *cert, const struct x509_plan *plan)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)plan->not_before) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)plan->not_after) != NULL;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_identifiers(X509 *cert, X509 *issuer)
{
    return add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
           (issuer == cert || add_extension(cert, issuer, NID_authority_key_identifier, "keyid:always"));
}

// One "DNS:..." or "IP:..." entry. Only canonical hosts are let through, so that a comma cannot add entries
// of its own.
static bool add_host(struct sbuf *b, struct arena *a, struct str host)
{
    bool wildcard = str_starts(host, STR("*.")), ipv6;
    struct str base;
    if (!host_canonical(a, wildcard ? str_skip(host, 2) : host, &base, &ipv6)) return false;
    char *address = base.p ? strndup(base.p, base.n) : NULL;
    ASN1_OCTET_STRING *ip = address ? a2i_IPADDRESS(address) : NULL;
    bool is_ip = ip != NULL, ok = address && !(wildcard && is_ip);
    ASN1_OCTET_STRING_free(ip);
    free(address);
    ERR_clear_error(); // a DNS name is no failure
    if (ok)
        sbuf_addf(b, "%s%s%s%.*s", b->n ? "," : "", is_ip ? "IP:" : "DNS:", wildcard ? "*." : "",
                  STR_FMT(base));
    return ok;
}

static bool add_hosts(X509 *cert, X509 *issuer, struct strlist hosts)
{
    if (hosts.n == 0) return true;
    struct arena *a = arena_new(256 * 1024);
    if (!a) return false;
    struct sbuf b;
    sbuf_init(&b, a, 64 * 1024);
    bool ok = true;
    for (size_t i = 0; ok && i < hosts.n; i++) ok = add_host(&b, a, hosts.v[i]);
    struct str names = sbuf_str(&b);
    ok = ok && names.p && add_extension(cert, issuer, NID_subject_alt_name, names.p);
    arena_free(a);
    return ok;
}

static bool add_extensions(X509 *cert, const struct x509_plan *plan)
{
    X509 *issuer = plan->issuer ? plan->issuer : cert;
    return add_extension(cert, issuer, NID_basic_constraints, plan->basic_constraints) &&
           add_extension(cert, issuer, NID_key_usage, plan->key_usage) &&
           (!plan->extended_key_usage ||
            add_extension(cert, issuer, NID_ext_key_usage, plan->extended_key_usage)) &&
           add_identifiers(cert, issuer) && add_hosts(cert, issuer, plan->hosts);
}

X509 *x509_make(const struct x509_plan *plan)
{
    X509 *cert = X509_new();
    EVP_PKEY *signer = plan->issuer ? plan->issuer_key : plan->key;
    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) && set_names(cert, plan) &&
        set_times(cert, plan) && X509_set_pubkey(cert, plan->key) == 1 && add_extensions(cert, plan) &&
        X509_sign(cert, signer, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}
