// SPDX-License-Identifier: GPL-3.0-or-later
#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/demo-idp/idp.h"

enum { KEY_BITS = 2048, DAYS = 365, FILE_BYTES = 64 * 1024 };

struct demo_options demo_options;

static const char help[] =
    "demo-idp: a SAML and OpenID Connect identity provider for trying things out. Not for production.\n\n"
    "  --base URL            its public address and OpenID issuer, https://localhost:9443\n"
    "  --port N              to listen on, on 127.0.0.1\n"
    "  --certificate FILE    TLS certificate, PEM\n"
    "  --key FILE            its key, PEM\n"
    "  --sp-metadata FILE    the SAML service provider\n"
    "  --client-id ID        the OpenID client\n"
    "  --client-secret TEXT  its secret\n"
    "  --redirect-uri URL    its redirect address\n";

static bool parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        { "base", 1, NULL, 'b' },          { "port", 1, NULL, 'p' },
        { "certificate", 1, NULL, 'c' },   { "key", 1, NULL, 'k' },
        { "sp-metadata", 1, NULL, 'm' },   { "client-id", 1, NULL, 'i' },
        { "client-secret", 1, NULL, 's' }, { "redirect-uri", 1, NULL, 'r' },
        { "help", 0, NULL, 'h' },          { NULL, 0, NULL, 0 },
    };
    struct demo_options *o = &demo_options;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'b': o->base = optarg; break;
        case 'p': o->port = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'c': o->certificate = optarg; break;
        case 'k': o->key = optarg; break;
        case 'm': o->sp_metadata = optarg; break;
        case 'i': o->client_id = optarg; break;
        case 's': o->client_secret = optarg; break;
        case 'r': o->redirect_uri = optarg; break;
        case 'h': fputs(help, stdout); exit(0);
        default: return false;
        }
    }
    return o->base && o->port && o->certificate && o->key && o->sp_metadata && o->client_id &&
           o->client_secret && o->redirect_uri;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = f ? calloc(1, FILE_BYTES) : NULL;
    if (!text || fread(text, 1, FILE_BYTES - 1, f) == 0) {
        fprintf(stderr, "demo-idp: %s cannot be read\n", path);
        free(text);
        text = NULL;
    }
    if (f) fclose(f);
    return text;
}

static char *bio_text(BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    return strndup(p, (size_t)n);
}

// The signing key lives as long as the process.
static bool make_signing_key(EVP_PKEY **ret_key, char **ret_key_pem, char **ret_certificate_pem)
{
    EVP_PKEY *key = EVP_RSA_gen(KEY_BITS);
    X509 *x = X509_new();
    BIO *key_bio = BIO_new(BIO_s_mem()), *x_bio = BIO_new(BIO_s_mem());
    if (!key || !x || !key_bio || !x_bio) return false;
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 60L * 60 * 24 * DAYS);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const uint8_t *)"demo identity provider", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    bool ok = X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0 &&
              PEM_write_bio_PrivateKey_traditional(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              PEM_write_bio_X509(x_bio, x) == 1;
    if (ok) {
        *ret_key = key;
        *ret_key_pem = bio_text(key_bio);
        *ret_certificate_pem = bio_text(x_bio);
    }
    BIO_free(key_bio);
    BIO_free(x_bio);
    X509_free(x);
    return ok;
}

static void serve(const struct demo_request *r, struct demo_answer *ret)
{
    if (demo_saml_serve(r, ret) || demo_oidc_serve(r, ret)) return;
    bool root = strcmp(r->path, "/") == 0;
    ret->status = root ? 200 : 404;
    ret->body = demo_message_page(r->arena, root ? "Nothing to do here" : "Not found",
                                  "Open one of the applications; it will send you here to sign in.");
}

int main(int argc, char **argv)
{
    EVP_PKEY *key = NULL;
    char *key_pem = NULL, *certificate_pem = NULL;
    if (!parse_options(argc, argv)) {
        fprintf(stderr, "demo-idp: an option is missing or unknown.\n\n%s", help);
        return 2;
    }
    char *tls_certificate = read_file(demo_options.certificate), *tls_key = read_file(demo_options.key);
    if (!tls_certificate || !tls_key) return 1;
    if (!make_signing_key(&key, &key_pem, &certificate_pem) || !demo_saml_init(key_pem, certificate_pem) ||
        !demo_oidc_init(key)) {
        fprintf(stderr, "demo-idp: cannot start.\n");
        return 1;
    }
    struct demo_server server = { .address = "127.0.0.1",
                                  .port = demo_options.port,
                                  .certificate_pem = tls_certificate,
                                  .key_pem = tls_key,
                                  .handle = serve };
    if (demo_serve(&server)) return 0;
    fprintf(stderr, "demo-idp: cannot listen on 127.0.0.1:%u\n", demo_options.port);
    return 1;
}
