// SPDX-License-Identifier: GPL-3.0-or-later
// A certification authority for the machine of one developer.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/limits.h"
#include "certs/certs.h"
#include "certs/x509.h"

enum { DAY = 24 * 3600, LEAF_DAYS = 825, CA_DAYS = 3650 };
static const char ca_name[] = "Sallyport development CA, do not trust elsewhere";

static bool dev_path(const char *dir, const char *name, const char *suffix, char ret[4096], struct err *err)
{
    int n = snprintf(ret, 4096, "%s/%s%s", dir, name, suffix);
    return (n > 0 && n < 4096) || err_set(err, ERR_FILE, "%s: the path is too long", dir);
}

// The key goes first: a certificate is only ever seen together with its key.
static bool write_pair(struct arena *a, const char *dir, const char *name, X509 *cert, EVP_PKEY *key,
                       struct err *err)
{
    char path[4096];
    struct str key_text = pkey_pem(a, key), cert_text = x509_pem(a, cert);
    if (!key_text.p || !cert_text.p)
        return err_set(err, ERR_CRYPTO, "%s/%s: %s", dir, name, openssl_reason());
    return dev_path(dir, name, ".key", path, err) && file_write(path, key_text, 0600, err) &&
           dev_path(dir, name, ".pem", path, err) && file_write(path, cert_text, 0644, err);
}

static bool make_ca(struct arena *a, const char *dir, struct err *err)
{
    AUTO_PKEY EVP_PKEY *key = pkey_make_p256();
    int64_t now = time(NULL);
    struct x509_plan plan = { .common_name = ca_name,
                              .not_before = now - 3600,
                              .not_after = now + (int64_t)CA_DAYS * DAY,
                              .key = key,
                              .basic_constraints = "critical,CA:TRUE,pathlen:0",
                              .key_usage = "critical,keyCertSign,cRLSign" };
    AUTO_X509 X509 *cert = key ? x509_make(&plan) : NULL;
    if (!cert)
        return err_set(err, ERR_CRYPTO, "%s: the development CA cannot be made: %s", dir, openssl_reason());
    return write_pair(a, dir, "ca", cert, key, err);
}

struct dev_ca {
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

static void dev_ca_done(struct dev_ca *ca)
{
    sk_X509_pop_free(ca->chain, X509_free);
    EVP_PKEY_free(ca->key);
}

static bool load_ca(struct arena *a, const char *dir, struct dev_ca *ca, struct err *err)
{
    char cert_path[4096], key_path[4096];
    struct str cert, key;
    if (!dev_path(dir, "ca", ".pem", cert_path, err) || !dev_path(dir, "ca", ".key", key_path, err) ||
        !file_read(a, cert_path, LIMIT_PEM_BYTES, &cert, err) ||
        !file_read_private(a, key_path, LIMIT_PEM_BYTES, &key, err) ||
        !(ca->chain = x509_parse_chain(cert, cert_path, err)) || !(ca->key = pkey_parse(key, key_path, err)))
        return false;
    if (X509_check_private_key(sk_X509_value(ca->chain, 0), ca->key) != 1)
        return err_set(err, ERR_CERT_MISMATCH, "%s does not belong to %s; remove both to make a new CA",
                       key_path, cert_path);
    if (X509_cmp_current_time(X509_get0_notAfter(sk_X509_value(ca->chain, 0))) <= 0)
        return err_set(err, ERR_CERT_EXPIRED, "%s has expired; remove it and %s to make a new CA", cert_path,
                       key_path);
    return true;
}

static bool make_directory(const char *dir, struct err *err)
{
    if (mkdir(dir, 0700) == 0 || errno == EEXIST) return true;
    return err_set(err, ERR_FILE, "%s: %s", dir, strerror(errno));
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static bool dev_ca(struct arena *a, const char *dir, struct err *err)
{
    char cert_path[4096], key_path[4096];
    if (!make_directory(dir, err) || !dev_path(dir, "ca", ".pem", cert_path, err) ||
        !dev_path(dir, "ca", ".key", key_path, err))
        return false;
    if (!exists(cert_path) && !exists(key_path)) return make_ca(a, dir, err);
    struct dev_ca ca = { NULL, NULL };
    bool ok = load_ca(a, dir, &ca, err);
    dev_ca_done(&ca);
    return ok;
}

static bool name_is_safe(const char *name)
{
    struct str s = str_c(name);
    if (s.n == 0 || s.n > 128 || s.p[0] == '.' || str_eq_c(s, "ca")) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && !strchr("._-", s.p[i])) return false;
    return true;
}

static bool make_leaf(struct arena *a, const char *dir, const char *name, struct strlist hosts,
                      const struct dev_ca *ca, struct err *err)
{
    AUTO_PKEY EVP_PKEY *key = pkey_make_p256();
    int64_t now = time(NULL);
    struct x509_plan plan = { .common_name = name,
                              .not_before = now - 3600,
                              .not_after = now + (int64_t)LEAF_DAYS * DAY,
                              .key = key,
                              .issuer = sk_X509_value(ca->chain, 0),
                              .issuer_key = ca->key,
                              .basic_constraints = "critical,CA:FALSE",
                              .key_usage = "critical,digitalSignature",
                              .extended_key_usage = "serverAuth",
                              .hosts = hosts };
    AUTO_X509 X509 *cert = key ? x509_make(&plan) : NULL;
    if (!cert)
        return err_set(err, ERR_CERT, "%s/%s: the certificate cannot be made; are all hosts valid names?",
                       dir, name);
    return write_pair(a, dir, name, cert, key, err);
}

static bool dev_leaf(struct arena *a, const char *dir, const char *name, struct strlist hosts,
                     struct err *err)
{
    struct dev_ca ca = { NULL, NULL };
    bool ok = load_ca(a, dir, &ca, err) && make_leaf(a, dir, name, hosts, &ca, err);
    dev_ca_done(&ca);
    return ok;
}

bool cert_dev_ca(const char *dir, struct err *err)
{
    struct arena *a = arena_new(4 * LIMIT_PEM_BYTES);
    bool ok = a ? dev_ca(a, dir, err) : err_set(err, ERR_NO_MEMORY, "%s", dir);
    arena_free(a);
    return ok;
}

bool cert_dev_leaf(const char *dir, const char *name, struct strlist hosts, struct err *err)
{
    if (!name_is_safe(name)) return err_set(err, ERR_FILE, "'%s' cannot name a certificate's files", name);
    if (hosts.n == 0)
        return err_set(err, ERR_CERT, "%s/%s: a certificate needs at least one host", dir, name);
    struct arena *a = arena_new(4 * LIMIT_PEM_BYTES);
    bool ok = a ? dev_leaf(a, dir, name, hosts, err) : err_set(err, ERR_NO_MEMORY, "%s", dir);
    arena_free(a);
    return ok;
}
