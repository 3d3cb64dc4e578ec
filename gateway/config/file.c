// SPDX-License-Identifier: GPL-3.0-or-later
// Secrets and files that the configuration names.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/config/parse.h"

static void check_secret(struct loader *l, const struct yaml_node *node, struct str raw, const char *source,
                         struct str *ret)
{
    while (raw.n && (raw.p[raw.n - 1] == '\n' || raw.p[raw.n - 1] == '\r')) raw.n--;
    if (raw.n == 0)
        config_error_at(l, node, "the secret is empty: %s", source);
    else if (!str_is_utf8(raw, true))
        config_error_at(l, node, "the secret contains line breaks or control characters: %s", source);
    else
        *ret = arena_str(l->arena, raw);
}

static void secret_from_file(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    struct str path, content;
    struct err err = { 0 };
    if (!config_text(l, node, "the path of a file", &path)) return;
    path = config_resolve_path(l, path);
    if (!path.p) return;
    if (!file_read_private(l->arena, path.p, LIMIT_SECRET_BYTES, &content, &err))
        config_error_at(l, node, "%s", err.detail);
    else
        check_secret(l, node, content, path.p, ret);
}

static void secret_from_env(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    struct str name;
    if (!config_text(l, node, "the name of an environment variable", &name) || !name.p) return;
    const char *value = getenv(name.p);
    if (!value)
        config_error_at(l, node, "the environment has no variable %s (--env-file can set it)", name.p);
    else
        check_secret(l, node, str_c(value), name.p, ret);
}

void config_secret(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    static struct str known_words[] = { STR_INIT("file"), STR_INIT("env") };
    const struct strlist known = { known_words, 2 };
    if (node->kind == YAML_SCALAR &&
        !yaml_is_null(node)) { // what was written is not repeated: it may be the secret
        config_error_at(l, node,
                        "a secret does not belong into this file: keep it in a file of its own and write "
                        "{ file: PATH }, or in the environment and write { env: NAME }");
        return;
    }
    if (!config_expect_kind(l, node, YAML_MAP, "{ file: PATH } or { env: NAME }")) return;
    if (node->n != 1) {
        config_error_at(l, node, "expected either { file: PATH } or { env: NAME }");
        return;
    }
    const struct yaml_node *from = node->first;
    if (str_eq_c(from->key, "file"))
        secret_from_file(l, from, ret);
    else if (str_eq_c(from->key, "env"))
        secret_from_env(l, from, ret);
    else
        config_error_key(l, from, "expected \"file\" or \"env\"%s", config_nearest(l, from->key, &known));
}

static size_t count_certificates(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    size_t n = 0;
    for (X509 *x; bio && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); X509_free(x)) n++;
    // The end of the data is NO_START_LINE; any other reason is a damaged certificate in the file.
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) n = 0;
    ERR_clear_error();
    BIO_free(bio);
    return n;
}

// Whether `key` belongs to the first certificate: the backend asks for proof of that one.
static bool is_key_of(struct str cert_pem, struct str key_pem)
{
    BIO *cert_bio = BIO_new_mem_buf(cert_pem.p, (int)cert_pem.n);
    BIO *key_bio = BIO_new_mem_buf(key_pem.p, (int)key_pem.n);
    X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
    // Without a callback OpenSSL would ask the terminal for the passphrase of an encrypted key.
    EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    bool ok = cert && key && X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return ok;
}

bool config_client_key(struct loader *l, const struct yaml_node *node, struct str path, struct str cert_pem,
                       struct str *ret_pem)
{
    struct str pem;
    struct err err = { 0 };
    if (!file_read_private(l->arena, path.p, LIMIT_PEM_BYTES, &pem, &err)) {
        config_error_at(l, node, "%s", err.detail);
        return false;
    }
    if (!is_key_of(cert_pem, pem)) {
        config_error_at(l, node,
                        "expected the key of the first certificate in cert, in PEM form and without a "
                        "passphrase; %s is another",
                        path.p);
        return false;
    }
    *ret_pem = pem;
    return true;
}

bool config_pem_file(struct loader *l, const struct yaml_node *node, struct str path, struct str *ret_pem)
{
    struct str pem;
    struct err err = { 0 };
    if (!path.p) return false;
    if (!file_read(l->arena, path.p, LIMIT_CONFIG_BYTES, &pem, &err)) {
        config_error_at(l, node, "%s", err.detail);
        return false;
    }
    if (count_certificates(pem) == 0) {
        config_error_at(l, node, "expected certificates in PEM form, found none that can be read in %s",
                        path.p);
        return false;
    }
    if (ret_pem) *ret_pem = pem;
    return true;
}
