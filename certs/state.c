// SPDX-License-Identifier: GPL-3.0-or-later
// The keys in the state directory. Losing them ends every session and unregisters the gateway at its SAML
// identity providers; so what is half there is never replaced silently.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/limits.h"
#include "certs/certs.h"
#include "certs/x509.h"

enum { SAML_RSA_BITS = 3072, SAML_DAYS = 3650, DAY = 24 * 3600 };
static const char keys_head[] = "sallyport-keys 1\nmaster ";

struct state_paths {
    char key[4096], cert[4096], keys[4096];
};

static bool state_paths(const char *dir, struct state_paths *p, struct err *err)
{
    if (strlen(dir) > 4000) return err_set(err, ERR_FILE, "%.100s...: the path is too long", dir);
    snprintf(p->key, sizeof p->key, "%s/saml.key", dir);
    snprintf(p->cert, sizeof p->cert, "%s/saml.pem", dir);
    snprintf(p->keys, sizeof p->keys, "%s/keys", dir);
    return true;
}

// Whoever can write here can put keys of their own in place.
static bool check_directory(const char *dir, struct err *err)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_FILE, "%s: the state directory cannot be made: %s", dir, strerror(errno));
    if (stat(dir, &st) != 0) return err_set(err, ERR_FILE, "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return err_set(err, ERR_FILE, "%s: is not a directory", dir);
    uid_t me = geteuid();
    if (me != 0 && st.st_uid != me && st.st_uid != 0)
        return err_set(err, ERR_CERT_PERMISSIONS, "%s: belongs to user %u; mend it with: chown %u %s", dir,
                       st.st_uid, me, dir);
    if ((st.st_mode & 0022) == 0) return true;
    return err_set(err, ERR_CERT_PERMISSIONS, "%s: mode %04o lets others write; mend it with: chmod 700 %s",
                   dir, (unsigned)st.st_mode & 07777, dir);
}

// Only "there is no such file" counts as absent; any other trouble must not lead to new keys.
static bool file_absent(const char *path, bool *ret, struct err *err)
{
    struct stat st;
    int r = lstat(path, &st);
    if (r != 0 && errno != ENOENT) return err_set(err, ERR_FILE, "%s: %s", path, strerror(errno));
    *ret = r != 0;
    return true;
}

static bool make_saml(struct arena *a, const struct state_paths *p, const char *common_name, int64_t now,
                      struct err *err)
{
    AUTO_PKEY EVP_PKEY *key = pkey_make_rsa(SAML_RSA_BITS);
    struct x509_plan plan = { .common_name = common_name,
                              .not_before = now - DAY,
                              .not_after = now + (int64_t)SAML_DAYS * DAY,
                              .key = key,
                              .basic_constraints = "critical,CA:FALSE",
                              .key_usage = "critical,digitalSignature,keyEncipherment,dataEncipherment" };
    AUTO_X509 X509 *cert = key ? x509_make(&plan) : NULL;
    if (!cert)
        return err_set(err, ERR_CRYPTO, "%s: the key pair cannot be made: %s", p->key, openssl_reason());
    struct str key_text = pkey_pem(a, key), cert_text = x509_pem(a, cert);
    if (!key_text.p || !cert_text.p) return err_set(err, ERR_NO_MEMORY, "%s", p->key);
    return file_write(p->key, key_text, 0600, err) && file_write(p->cert, cert_text, 0600, err);
}

static bool saml_matches(struct str key_text, struct str cert_text, const struct state_paths *p,
                         struct err *err)
{
    AUTO_PKEY EVP_PKEY *key = pkey_parse(key_text, p->key, err);
    if (!key) return false;
    AUTO_CHAIN STACK_OF(X509) *chain = x509_parse_chain(cert_text, p->cert, err);
    if (!chain) return false;
    return X509_check_private_key(sk_X509_value(chain, 0), key) == 1 ||
           err_set(err, ERR_CERT_MISMATCH, "%s does not belong to %s: %s", p->key, p->cert, openssl_reason());
}

static bool load_saml(struct arena *a, const struct state_paths *p, const char *common_name, int64_t now,
                      struct state_keys *keys, struct err *err)
{
    bool no_key, no_cert;
    if (!file_absent(p->key, &no_key, err) || !file_absent(p->cert, &no_cert, err)) return false;
    if (no_key != no_cert)
        return err_set(err, ERR_FILE,
                       "%s is missing beside its other half: restore it from a backup, or remove both and "
                       "register anew at the identity providers",
                       no_key ? p->key : p->cert);
    if (no_key && !make_saml(a, p, common_name, now, err)) return false;
    return file_read_private(a, p->key, LIMIT_PEM_BYTES, &keys->saml_key_pem, err) &&
           file_read(a, p->cert, LIMIT_PEM_BYTES, &keys->saml_certificate_pem, err) &&
           saml_matches(keys->saml_key_pem, keys->saml_certificate_pem, p, err);
}

static bool make_master(struct arena *a, const char *path, struct err *err)
{
    uint8_t master[SEAL_KEY_BYTES];
    if (!crypto_random(master, sizeof master)) return err_set(err, ERR_CRYPTO, "%s: no random bytes", path);
    struct str hex = encode_hex(a, (struct str){ (const char *)master, sizeof master });
    struct str text = arena_printf(a, "%s%.*s\n", keys_head, STR_FMT(hex));
    crypto_cleanse(master, sizeof master);
    if (!hex.p || !text.p) return err_set(err, ERR_NO_MEMORY, "%s", path);
    return file_write(path, text, 0600, err);
}

static bool parse_master(struct str text, uint8_t ret[SEAL_KEY_BYTES])
{
    struct str head = str_c(keys_head);
    if (!str_starts(text, head) || text.p[text.n - 1] != '\n') return false;
    struct str hex = str_take(str_skip(text, head.n), text.n - head.n - 1);
    return decode_hex(hex, ret, SEAL_KEY_BYTES);
}

static bool load_master(struct arena *a, const char *path, uint8_t ret[SEAL_KEY_BYTES], struct err *err)
{
    bool absent = false;
    struct str text;
    if (!file_absent(path, &absent, err) || (absent && !make_master(a, path, err)) ||
        !file_read_private(a, path, LIMIT_SECRET_BYTES, &text, err))
        return false;
    return parse_master(text, ret) ||
           err_set(err, ERR_CERT_KEY,
                   "%s: is damaged; restore it from a backup, or remove it (every session ends then)", path);
}

bool state_keys_load(struct arena *a, const char *state_dir, const char *common_name, int64_t now,
                     struct state_keys *ret, struct err *err)
{
    struct state_paths p;
    struct state_keys keys = { .master = { 0 } };
    if (!state_paths(state_dir, &p, err) || !check_directory(state_dir, err) ||
        !load_master(a, p.keys, keys.master, err) || !load_saml(a, &p, common_name, now, &keys, err))
        return false;
    *ret = keys;
    return true;
}
