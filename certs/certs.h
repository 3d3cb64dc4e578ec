// SPDX-License-Identifier: GPL-3.0-or-later
// Keys and certificates: loading with every check that saves an operator a bad night, making what the gateway
// needs for itself, TLS contexts. Files are read here; nothing is fetched.
#pragma once

#include <openssl/ssl.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "base/err.h"

// Reads a file of at most `max` bytes into the arena. ERR_FILE with path and cause.
bool file_read(struct arena *a, const char *path, size_t max, struct str *ret, struct err *err);
// The same for secrets: a regular file, owned by us or root (anyone, when we are root: the daemon's account
// may own it), not readable or writable by group (unless root-owned group access 0640 is by intent: mode &
// 0037 == 0) or others. ERR_CERT_PERMISSIONS says the mode found and the chmod that mends it.
bool file_read_private(struct arena *a, const char *path, size_t max, struct str *ret, struct err *err);
// Writes atomically (temporary file, fsync, rename) with `mode`.
bool file_write(const char *path, struct str content, unsigned mode, struct err *err);

struct cert_pair {
    struct str cert_path, key_path; // for messages
    struct str chain_pem, key_pem;
    struct strlist names; // DNS names of the leaf's subjectAltName, lower case
    int64_t not_after;
};
// Loads and checks: both parse, the key belongs to the leaf, now within validity, RSA >= 2048 or EC, key file
// private. ERR_CERT*.
bool cert_pair_load(struct arena *a, const char *cert_path, const char *key_path, int64_t now,
                    struct cert_pair *ret, struct err *err);
// Whether the certificate covers `host` (RFC 9525, one left-most wildcard label).
bool cert_pair_covers(const struct cert_pair *pair, struct str host);

// A TLS 1.2/1.3 server context: the certificate is chosen by SNI among `pairs` (first one: no or unknown
// name), ALPN as given
// ("h2", "http/1.1" in order), server preference of ciphers, session tickets with keys that rotate in the
// process, no renegotiation, no compression. A session resumes for the server name that it was made with and
// no other; ticket keys change hourly. Safe to share between threads. Owned by the caller (tls_server_free,
// after the last connection). P-256 and RSA-PKCS1 stay possible for Pico W boards.
struct tls_server;
struct tls_server *tls_server_new(const struct cert_pair *pairs, size_t n, const char *const *alpn,
                                  size_t nalpn, struct err *err);
void tls_server_free(struct tls_server *t);
// A new server-side connection object; the caller owns it. NULL when out of memory.
SSL *tls_server_accept(struct tls_server *t);

// The client side, TLS 1.2/1.3: the server's certificate must lead to one of the authorities and name the
// server, unless `verify` is off. Safe to share between threads; freed after the last connection.
struct tls_client_plan {
    struct str ca_pem; // authorities; absent: the system's
    bool verify;
    struct str cert_path, key_path; // for messages
    struct str cert_pem, key_pem;   // our own certificate with its chain; absent: none
};
struct tls_client;
struct tls_client *tls_client_new(const struct tls_client_plan *plan, struct err *err);
void tls_client_free(struct tls_client *t); // NULL is accepted
// A new client-side connection object that asks for `name` (a DNS name or an IP address) and expects it in
// the certificate; the caller owns it. NULL when out of memory. `slot`, which must live as long as the
// object, keeps the last session: it is resumed, and a new one put in its place (SSL_SESSION_free at the
// end). All connections with one slot must have the same `name`.
SSL *tls_client_connect(struct tls_client *t, const char *name, SSL_SESSION **slot);
// Why a call on `ssl` failed for good, as ERR_PROXY_TLS: `error` is what ERR_peek_error said then, 0 when the
// connection was lost.
void tls_client_failure(SSL *ssl, unsigned long error, const char *name, struct err *err);

// A development CA in `dir` (ca.pem, ca.key) made once, and a leaf for `hosts` signed by it (NAME.pem,
// NAME.key); 825 days, P-256. For machines of developers only; the CA's name says so.
bool cert_dev_ca(const char *dir, struct err *err);
bool cert_dev_leaf(const char *dir, const char *name, struct strlist hosts, struct err *err);

// What the gateway keeps in its state directory (0700), made on first start with 0600: saml.key + saml.pem
// (RSA 3072, self-signed, 10 years), keys (the master secret from which cookie, sealing and hashing keys are
// derived).
struct state_keys {
    struct str saml_key_pem, saml_certificate_pem;
    uint8_t master[SEAL_KEY_BYTES];
};
bool state_keys_load(struct arena *a, const char *state_dir, const char *common_name, int64_t now,
                     struct state_keys *ret, struct err *err);
