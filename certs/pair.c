// SPDX-License-Identifier: GPL-3.0-or-later
// Loading a certificate chain with its key. One check, one function; each says what to do.
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/limits.h"
#include "certs/certs.h"
#include "certs/x509.h"

struct loading {
    const char *cert_path, *key_path;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    int64_t now;
};

static X509 *leaf(const struct loading *l)
{
    return sk_X509_value(l->chain, 0);
}

// Curves that browsers and OpenSSL's default groups agree on.
static bool check_ec_key(const struct loading *l, struct err *err)
{
    char curve[80] = "unknown";
    EVP_PKEY_get_group_name(l->key, curve, sizeof curve, NULL);
    static const char *const known[] = { "prime256v1", "secp384r1", "secp521r1" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(curve, known[i]) == 0) return true;
    return err_set(err, ERR_CERT_KEY, "%s: curve %s; P-256, P-384 or P-521 is needed", l->key_path, curve);
}

static bool check_key_type(const struct loading *l, struct err *err)
{
    int bits = EVP_PKEY_get_bits(l->key);
    switch (EVP_PKEY_get_base_id(l->key)) {
    case EVP_PKEY_RSA:
        if (bits >= 2048) return true;
        return err_set(err, ERR_CERT_KEY, "%s: an RSA key of %d bits; at least 2048 are needed", l->key_path,
                       bits);
    case EVP_PKEY_EC: return check_ec_key(l, err);
    default:
        return err_set(err, ERR_CERT_KEY, "%s: a key of type %s; RSA or EC (P-256) is needed", l->key_path,
                       EVP_PKEY_get0_type_name(l->key) ? EVP_PKEY_get0_type_name(l->key) : "unknown");
    }
}

static bool check_match(const struct loading *l, struct err *err)
{
    int n = sk_X509_num(l->chain), at = -1;
    for (int i = n - 1; i >= 0; i--)
        if (X509_check_private_key(sk_X509_value(l->chain, i), l->key) == 1) at = i;
    ERR_clear_error();
    if (at == 0) return true;
    if (at > 0)
        return err_set(err, ERR_CERT_MISMATCH,
                       "%s: the key %s belongs to certificate %d of the file; the server's own certificate "
                       "must come first",
                       l->cert_path, l->key_path, at + 1);
    return err_set(err, ERR_CERT_MISMATCH, "%s does not belong to the certificate %s", l->key_path,
                   l->cert_path);
}

static bool asn1_time(const ASN1_TIME *t, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1) return false;
    *ret = (int64_t)timegm(&tm);
    return true;
}

static bool check_time_of(const struct loading *l, int i, struct err *err)
{
    X509 *cert = sk_X509_value(l->chain, i);
    int64_t from, until;
    if (!asn1_time(X509_get0_notBefore(cert), &from) || !asn1_time(X509_get0_notAfter(cert), &until))
        return err_set(err, ERR_CERT, "%s: certificate %d has no readable times", l->cert_path, i + 1);
    if (l->now < from)
        return err_set(err, ERR_CERT_NOT_YET_VALID,
                       "%s: certificate %d is valid from %lld seconds in the future; is the clock right?",
                       l->cert_path, i + 1, (long long)(from - l->now));
    if (l->now > until)
        return err_set(err, ERR_CERT_EXPIRED, "%s: certificate %d expired %lld hours ago", l->cert_path,
                       i + 1, (long long)(l->now - until) / 3600);
    return true;
}

static bool check_times(const struct loading *l, struct err *err)
{
    for (int i = 0; i < sk_X509_num(l->chain); i++)
        if (!check_time_of(l, i, err)) return false;
    return true;
}

// RFC 5246 7.4.2: "Each following certificate MUST directly certify the one preceding it."
static bool check_order(const struct loading *l, struct err *err)
{
    for (int i = 0; i + 1 < sk_X509_num(l->chain); i++) {
        int r = X509_check_issued(sk_X509_value(l->chain, i + 1), sk_X509_value(l->chain, i));
        if (r != X509_V_OK)
            return err_set(err, ERR_CERT,
                           "%s: certificate %d did not issue certificate %d (%s): the chain is out of order "
                           "or incomplete",
                           l->cert_path, i + 2, i + 1, X509_verify_cert_error_string(r));
    }
    return true;
}

// RFC 5280 4.2.1.12: with an extended key usage, serverAuth must be in it.
static bool check_purpose(const struct loading *l, struct err *err)
{
    if (X509_check_purpose(leaf(l), X509_PURPOSE_SSL_SERVER, 0) == 1) return true;
    return err_set(err, ERR_CERT,
                   "%s: the certificate is not for servers (its key usage or extended key usage forbids it)",
                   l->cert_path);
}

static bool add_name(struct arena *a, const ASN1_IA5STRING *name, struct strlist *names)
{
    struct str raw = { (const char *)ASN1_STRING_get0_data(name), (size_t)ASN1_STRING_length(name) };
    char *p = arena_alloc(a, raw.n + 1);
    if (!p) return false;
    for (size_t i = 0; i < raw.n; i++) p[i] = ascii_lower(raw.p[i]);
    names->v[names->n++] = (struct str){ p, raw.n };
    return true;
}

// Browsers look at subjectAltName alone (RFC 9525 section 2); a certificate without one works nowhere.
static bool read_names(struct arena *a, const struct loading *l, struct strlist *ret, struct err *err)
{
    GENERAL_NAMES *alt = X509_get_ext_d2i(leaf(l), NID_subject_alt_name, NULL, NULL);
    int n = alt ? sk_GENERAL_NAME_num(alt) : 0, addresses = 0;
    struct strlist names = { arena_array(a, (size_t)n + 1, sizeof(struct str)), 0 };
    bool ok = names.v != NULL;
    for (int i = 0; ok && i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);
        if (g->type == GEN_IPADD) addresses++;
        if (g->type == GEN_DNS) ok = add_name(a, g->d.dNSName, &names);
    }
    GENERAL_NAMES_free(alt);
    ERR_clear_error();
    if (!ok) return err_set(err, ERR_NO_MEMORY, "%s", l->cert_path);
    if (names.n == 0 && addresses == 0)
        return err_set(err, ERR_CERT,
                       "%s: the certificate names no host (subjectAltName); browsers ignore the common name",
                       l->cert_path);
    *ret = names;
    return true;
}

static bool check_all(const struct loading *l, struct err *err)
{
    return check_key_type(l, err) && check_match(l, err) && check_times(l, err) && check_order(l, err) &&
           check_purpose(l, err);
}

// Parses and checks what was read into `pair`.
static bool pair_check(struct arena *a, int64_t now, struct cert_pair *pair, struct err *err)
{
    const char *cert_path = pair->cert_path.p, *key_path = pair->key_path.p;
    AUTO_CHAIN STACK_OF(X509) *chain = x509_parse_chain(pair->chain_pem, cert_path, err);
    if (!chain) return false;
    AUTO_PKEY EVP_PKEY *key = pkey_parse(pair->key_pem, key_path, err);
    if (!key) return false;
    struct loading l = { cert_path, key_path, chain, key, now };
    return check_all(&l, err) && read_names(a, &l, &pair->names, err) &&
           (asn1_time(X509_get0_notAfter(leaf(&l)), &pair->not_after) ||
            err_set(err, ERR_CERT, "%s", cert_path));
}

bool cert_pair_load(struct arena *a, const char *cert_path, const char *key_path, int64_t now,
                    struct cert_pair *ret, struct err *err)
{
    struct cert_pair pair = { .cert_path = arena_str_c(a, cert_path), .key_path = arena_str_c(a, key_path) };
    if (!pair.cert_path.p || !pair.key_path.p) return err_set(err, ERR_NO_MEMORY, "%s", cert_path);
    if (!file_read(a, cert_path, LIMIT_PEM_BYTES, &pair.chain_pem, err) ||
        !file_read_private(a, key_path, LIMIT_PEM_BYTES, &pair.key_pem, err) ||
        !pair_check(a, now, &pair, err))
        return false;
    *ret = pair;
    return true;
}

// RFC 9525 6.3: "*" stands for exactly one whole left-most label.
static bool name_matches(struct str name, struct str host)
{
    if (str_eq_nocase(name, host)) return true;
    if (!str_starts(name, STR("*."))) return false;
    size_t dot = str_find(host, '.');
    return dot > 0 && dot < host.n && str_eq_nocase(str_skip(name, 1), str_skip(host, dot));
}

bool cert_pair_covers(const struct cert_pair *pair, struct str host)
{
    for (size_t i = 0; i < pair->names.n; i++)
        if (name_matches(pair->names.v[i], host)) return true;
    return false;
}
