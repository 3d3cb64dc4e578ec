// SPDX-License-Identifier: GPL-3.0-or-later
// The client side of TLS: how backends are spoken to.
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "certs/certs.h"
#include "certs/x509.h"

// What `ca-certificates` maintains, read once at the start: OpenSSL's directory of hashed names would be
// searched in the middle of a handshake.
#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

enum { SESSION_SECONDS = 3600 }; // a certificate that expires is noticed after this time at the latest

struct tls_client {
    SSL_CTX *ctx;
};

// Called for every session that may be resumed; in TLS 1.3 after the handshake, from SSL_read. The connection
// knows the place where its pool keeps the last one. Returning 1 keeps the reference.
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **slot = SSL_get_app_data(ssl);
    if (!slot) return 0;
    SSL_SESSION_free(*slot);
    *slot = session;
    return 1;
}

static bool set_protocol(SSL_CTX *ctx)
{
    static const unsigned char alpn[] = "\x08http/1.1"; // RFC 7301: a server that only speaks h2 says so now
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_alpn_protos(ctx, alpn, sizeof alpn - 1) == 0;
}

static bool add_authorities(SSL_CTX *ctx, struct str ca_pem, struct err *err)
{
    AUTO_CHAIN STACK_OF(X509) *all = x509_parse_chain(ca_pem, "backend_tls.ca", err);
    if (!all) return false;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    // An operator who names an intermediate, or the backend's own certificate, means just that.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    for (int i = 0; i < sk_X509_num(all); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(all, i)) != 1)
            return err_set(err, ERR_CERT, "backend_tls.ca: %s", openssl_reason());
    return true;
}

static bool set_trust(SSL_CTX *ctx, const struct tls_client_plan *plan, struct err *err)
{
    SSL_CTX_set_verify(ctx, plan->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!plan->verify) return true;
    if (plan->ca_pem.p) return add_authorities(ctx, plan->ca_pem, err);
    bool loaded =
        SSL_CTX_load_verify_file(ctx, SYSTEM_AUTHORITIES) == 1 || SSL_CTX_set_default_verify_paths(ctx) == 1;
    ERR_clear_error();
    return loaded || err_set(err, ERR_CERT, "the system's certificate authorities cannot be loaded");
}

static bool set_own_certificate(SSL_CTX *ctx, const struct tls_client_plan *plan, struct err *err)
{
    if (!plan->cert_pem.p) return true;
    AUTO_CHAIN STACK_OF(X509) *chain = x509_parse_chain(plan->cert_pem, plan->cert_path.p, err);
    if (!chain) return false;
    AUTO_PKEY EVP_PKEY *key = pkey_parse(plan->key_pem, plan->key_path.p, err);
    if (!key) return false;
    bool ok =
        SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    for (int i = 1; ok && i < sk_X509_num(chain); i++)
        ok = SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) == 1;
    return ok || err_set(err, ERR_CERT, "%s: TLS refuses it: %s", plan->cert_path.p, openssl_reason());
}

struct tls_client *tls_client_new(const struct tls_client_plan *plan, struct err *err)
{
    struct tls_client *t = mem_calloc(1, sizeof *t);
    if (t) t->ctx = SSL_CTX_new(TLS_client_method());
    bool ok = t && t->ctx;
    if (!ok) err_set(err, ERR_NO_MEMORY, "TLS to backends");
    if (ok && !set_protocol(t->ctx))
        ok = err_set(err, ERR_CRYPTO, "TLS settings for backends: %s", openssl_reason());
    if (ok && set_trust(t->ctx, plan, err) && set_own_certificate(t->ctx, plan, err)) return t;
    tls_client_free(t);
    return NULL;
}

void tls_client_free(struct tls_client *t)
{
    if (!t) return;
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

// RFC 9525 section 6.3: the name is looked for in subjectAltName alone. RFC 6066 section 3: "Literal IPv4 and
// IPv6 addresses are not permitted in HostName", so they are checked without being asked for.
static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) return true;
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

// RFC 8446 appendix C.4: "Clients SHOULD NOT reuse a ticket for multiple connections"; each connection brings
// new ones. In TLS 1.2 one lasts.
static bool resume(SSL *ssl, SSL_SESSION **slot)
{
    if (!*slot) return true;
    bool ok = !SSL_SESSION_is_resumable(*slot) || SSL_set_session(ssl, *slot) == 1;
    if (SSL_SESSION_get_protocol_version(*slot) < TLS1_3_VERSION && SSL_SESSION_is_resumable(*slot))
        return ok;
    SSL_SESSION_free(*slot);
    *slot = NULL;
    return ok;
}

SSL *tls_client_connect(struct tls_client *t, const char *name, SSL_SESSION **slot)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(t->ctx);
    if (ssl && expect_name(ssl, name) && SSL_set_app_data(ssl, slot) == 1 && resume(ssl, slot)) {
        SSL_set_connect_state(ssl);
        ERR_clear_error();
        return ssl;
    }
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

// ", it is not for app.internal" when that is what is wrong; "" otherwise.
static const char *expected_name(SSL *ssl, long verdict, char *buf, size_t n)
{
    const char *name = X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0);
    if (verdict != X509_V_ERR_HOSTNAME_MISMATCH || !name) return "";
    snprintf(buf, n, ", it is not for %s", name);
    return buf;
}

void tls_client_failure(SSL *ssl, unsigned long error, const char *name, struct err *err)
{
    char wanted[256];
    const char *reason = ERR_reason_error_string(error);
    long verdict = SSL_get_verify_result(ssl);
    bool not_tls = ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER;
    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && verdict != X509_V_OK)
        err_set(err, ERR_PROXY_TLS, "the certificate of %s: %s%s", name,
                X509_verify_cert_error_string(verdict), expected_name(ssl, verdict, wanted, sizeof wanted));
    else if (not_tls)
        err_set(err, ERR_PROXY_TLS, "TLS with %s: what it answers is not TLS", name);
    else
        err_set(err, ERR_PROXY_TLS, "TLS with %s: %s", name, reason ? reason : "it closed the connection");
}
