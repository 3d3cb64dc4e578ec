// SPDX-License-Identifier: GPL-3.0-or-later
// The server side of TLS: one SSL_CTX for each certificate, chosen by server name before anything else looks
// at the ClientHello.
#include <openssl/err.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "certs/certs.h"
#include "certs/sni.h"
#include "certs/tickets.h"
#include "certs/x509.h"

struct tls_context {
    SSL_CTX *ctx;
    struct strlist names;
};
struct tls_server {
    struct arena *arena;
    struct tls_context *contexts;
    size_t n;
    struct str alpn; // wire format of RFC 7301
    struct ticket_ring tickets;
};

// AES-128 before AES-256: faster, and nobody breaks either. CBC and plain RSA key exchange are out.
static const char tls12_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char tls13_ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";

static bool pair_names(const struct tls_context *c, struct str host, bool wildcards)
{
    if (wildcards) return cert_pair_covers(&(struct cert_pair){ .names = c->names }, host);
    for (size_t i = 0; i < c->names.n; i++)
        if (str_eq_nocase(c->names.v[i], host)) return true;
    return false;
}

// A certificate with the very name goes before one with a wildcard; the first one serves everybody else.
static SSL_CTX *context_for(const struct tls_server *t, struct str host)
{
    for (int wildcards = 0; wildcards < 2; wildcards++)
        for (size_t i = 0; i < t->n; i++)
            if (pair_names(&t->contexts[i], host, wildcards)) return t->contexts[i].ctx;
    return t->contexts[0].ctx;
}

// RFC 6066 section 3: a server "MUST NOT accept the request to resume the session if the server_name
// extension contains a different name". The session id context is part of every ticket, so making it from the
// name does that, also between hosts of one certificate.
static bool bind_session(SSL *ssl, struct str host)
{
    char lower[256];
    uint8_t id[SHA256_BYTES];
    size_t n = host.n < sizeof lower ? host.n : sizeof lower;
    for (size_t i = 0; i < n; i++) lower[i] = ascii_lower(host.p[i]);
    return crypto_sha256((struct str){ lower, n }, id) && SSL_set_session_id_context(ssl, id, sizeof id) == 1;
}

// Runs before session resumption, which OpenSSL's servername callback does not.
static int on_client_hello(SSL *ssl, int *ret_alert, void *context)
{
    const struct tls_server *t = context;
    const unsigned char *ext;
    struct str host = STR(""), raw = STR_NONE;
    bool sent = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &raw.n) == 1;
    raw.p = sent ? (const char *)ext : NULL;
    if (sent && !sni_host(raw, &host)) {
        *ret_alert = SSL_AD_DECODE_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (SSL_set_SSL_CTX(ssl, context_for(t, host)) && bind_session(ssl, host))
        return SSL_CLIENT_HELLO_SUCCESS;
    *ret_alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

// Its being there makes OpenSSL keep the name for SSL_get_servername.
static int on_server_name(SSL *ssl, int *alert, void *context)
{
    (void)ssl, (void)alert, (void)context;
    return SSL_TLSEXT_ERR_OK;
}

// RFC 7301 3.2: nothing in common ends the handshake, so that no other protocol's bytes are ever read as
// HTTP.
static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *in,
                   unsigned n, void *context)
{
    (void)ssl;
    const struct tls_server *t = context;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_n, (const unsigned char *)t->alpn.p, (unsigned)t->alpn.n, in, n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int sealing)
{
    struct tls_server *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return ticket_ring_callback(&t->tickets, ssl, name, iv, cipher, mac, sealing);
}

// NO_AUTO_CHAIN: the chain is what the file says; building one in each handshake would cost and could differ.
static bool set_protocol(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1); // a whole record, or several, with one call
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); // tickets alone: no shared table, no lock
    SSL_CTX_set_timeout(ctx, TICKET_LIFETIME_SECONDS);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, tls12_ciphers) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, tls13_ciphers) == 1 && SSL_CTX_set1_groups_list(ctx, groups) == 1;
}

static bool set_callbacks(struct tls_server *t, SSL_CTX *ctx)
{
    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, t);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    if (t->alpn.n > 0) SSL_CTX_set_alpn_select_cb(ctx, on_alpn, t);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

static bool set_certificate(SSL_CTX *ctx, const struct cert_pair *pair, struct err *err)
{
    AUTO_CHAIN STACK_OF(X509) *chain = x509_parse_chain(pair->chain_pem, pair->cert_path.p, err);
    if (!chain) return false;
    AUTO_PKEY EVP_PKEY *key = pkey_parse(pair->key_pem, pair->key_path.p, err);
    if (!key) return false;
    bool ok =
        SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    for (int i = 1; ok && i < sk_X509_num(chain); i++)
        ok = SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) == 1;
    return ok || err_set(err, ERR_CERT, "%s: TLS refuses it: %s", pair->cert_path.p, openssl_reason());
}

static bool add_context(struct tls_server *t, const struct cert_pair *pair, struct err *err)
{
    struct tls_context *c = &t->contexts[t->n];
    c->ctx = SSL_CTX_new(TLS_server_method());
    if (!c->ctx) return err_set(err, ERR_NO_MEMORY, "TLS context");
    t->n++;
    c->names = arena_strlist(t->arena, pair->names);
    if (arena_failed(t->arena)) return err_set(err, ERR_NO_MEMORY, "TLS context");
    if (!set_protocol(c->ctx) || !set_callbacks(t, c->ctx))
        return err_set(err, ERR_CRYPTO, "TLS settings: %s", openssl_reason());
    return set_certificate(c->ctx, pair, err);
}

static bool set_alpn(struct tls_server *t, const char *const *alpn, size_t n)
{
    struct sbuf b;
    sbuf_init(&b, t->arena, 1024);
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(alpn[i]);
        if (length == 0 || length > 255) return false;
        sbuf_add(&b, (struct str){ &(char){ (char)length }, 1 });
        sbuf_add_c(&b, alpn[i]);
    }
    t->alpn = n ? sbuf_str(&b) : STR_NONE;
    return n == 0 || t->alpn.p;
}

static bool server_fill(struct tls_server *t, const struct cert_pair *pairs, size_t n,
                        const char *const *alpn, size_t nalpn, struct err *err)
{
    t->contexts = arena_array(t->arena, n, sizeof *t->contexts);
    if (!t->contexts) return err_set(err, ERR_NO_MEMORY, "TLS contexts");
    if (!set_alpn(t, alpn, nalpn)) return err_set(err, ERR_INTERNAL, "ALPN names");
    for (size_t i = 0; i < n; i++)
        if (!add_context(t, &pairs[i], err)) return false;
    return true;
}

static int64_t monotonic_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return ts.tv_sec;
}

struct tls_server *tls_server_new(const struct cert_pair *pairs, size_t n, const char *const *alpn,
                                  size_t nalpn, struct err *err)
{
    if (n == 0) return err_set(err, ERR_CERT, "TLS needs a certificate"), NULL;
    struct tls_server *t = mem_calloc(1, sizeof *t);
    if (!t) return err_set(err, ERR_NO_MEMORY, "TLS server"), NULL;
    bool ok = ticket_ring_init(&t->tickets, monotonic_seconds(), err);
    t->arena = arena_new(16 * 1024 * 1024);
    if (ok && !t->arena) ok = err_set(err, ERR_NO_MEMORY, "TLS server");
    if (ok && server_fill(t, pairs, n, alpn, nalpn, err)) return t;
    tls_server_free(t);
    return NULL;
}

void tls_server_free(struct tls_server *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n; i++) SSL_CTX_free(t->contexts[i].ctx);
    ticket_ring_done(&t->tickets);
    arena_free(t->arena);
    mem_free(t);
}

SSL *tls_server_accept(struct tls_server *t)
{
    SSL *ssl = SSL_new(t->contexts[0].ctx);
    if (ssl) SSL_set_accept_state(ssl);
    return ssl;
}
