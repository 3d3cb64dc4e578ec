// SPDX-License-Identifier: GPL-3.0-or-later
#include "tls_backend.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "certs/x509.h"

static struct str load(struct arena *a, const char *dir, const char *name)
{
    struct str s;
    struct err err = { 0 };
    if (!file_read(a, arena_printf(a, "%s/%s", dir, name).p, 65536, &s, &err)) fail_msg("%s", err.detail);
    return s;
}

static void save(struct arena *a, const char *dir, const char *name, const char *suffix, struct str content)
{
    struct err err = { 0 };
    struct str path = arena_printf(a, "%s/%s.%s", dir, name, suffix);
    if (!file_write(path.p, content, 0600, &err)) fail_msg("%s", err.detail);
}

void tls_make_leaf(const char *dir, const char *name, struct strlist hosts, int kind)
{
    struct err err = { 0 };
    struct arena *a = arena_new(1024 * 1024);
    AUTO_CHAIN STACK_OF(X509) *ca = x509_parse_chain(load(a, dir, "ca.pem"), "ca", &err);
    AUTO_PKEY EVP_PKEY *ca_key = pkey_parse(load(a, dir, "ca.key"), "ca", &err);
    AUTO_PKEY EVP_PKEY *key = pkey_make_p256();
    int64_t now = time(NULL);
    struct x509_plan plan = { .common_name = name,
                              .not_before = now - 7200,
                              .not_after = kind == LEAF_EXPIRED ? now - 3600 : now + 7200,
                              .key = key,
                              .issuer = kind == LEAF_SELF_SIGNED ? NULL : sk_X509_value(ca, 0),
                              .issuer_key = kind == LEAF_SELF_SIGNED ? NULL : ca_key,
                              .basic_constraints = "critical,CA:FALSE",
                              .key_usage = "critical,digitalSignature",
                              .extended_key_usage = "serverAuth,clientAuth",
                              .hosts = hosts };
    AUTO_X509 X509 *cert = x509_make(&plan);
    if (!cert) fail_msg("making %s", name);
    save(a, dir, name, "pem", x509_pem(a, cert));
    save(a, dir, name, "key", pkey_pem(a, key));
    arena_free(a);
}

SSL_CTX *tls_backend_new(const char *dir, const char *name, const char *client_ca)
{
    char path[200];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, path), 1);
    snprintf(path, sizeof path, "%s/%s.key", dir, name);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1), 1);
    if (!client_ca) return ctx;
    snprintf(path, sizeof path, "%s/%s", dir, client_ca);
    assert_int_equal(SSL_CTX_load_verify_file(ctx, path), 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return ctx;
}

SSL *tls_backend_accept(struct edge *e, SSL_CTX *ctx, int *ret_fd)
{
    *ret_fd = backend_accept(e, RIG_WAIT_MS);
    if (*ret_fd < 0) fail_msg("the gateway made no connection");
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, *ret_fd);
    ERR_clear_error();
    if (SSL_accept(ssl) == 1) return ssl;
    ERR_clear_error();
    SSL_free(ssl);
    return NULL;
}

const char *tls_backend_await(SSL *ssl, const char *text)
{
    static char in[RIG_BYTES + 1];
    size_t n = 0;
    in[0] = '\0';
    while (!memmem(in, n, text, strlen(text))) {
        ERR_clear_error();
        int got = n < RIG_BYTES ? SSL_read(ssl, in + n, (int)(RIG_BYTES - n)) : 0;
        if (got <= 0) fail_msg("the TLS backend waited for '%s', but got '%.600s'", text, in);
        n += (size_t)got;
        in[n] = '\0';
    }
    return in;
}

void tls_backend_send(SSL *ssl, const char *text)
{
    ERR_clear_error();
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

void tls_backend_close(SSL *ssl, int fd, bool cut)
{
    ERR_clear_error();
    if (ssl && !cut) SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}
