// SPDX-License-Identifier: GPL-3.0-or-later
#include "certs/tickets.h"

#include <openssl/core_names.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"

enum { TICKET_IV_BYTES = 16 };

static int64_t clock_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return ts.tv_sec;
}

static bool push_key(struct ticket_ring *r, int64_t now)
{
    struct ticket_key fresh;
    if (!crypto_random(&fresh, sizeof fresh)) return false;
    memmove(&r->keys[1], &r->keys[0], sizeof r->keys - sizeof r->keys[0]);
    r->keys[0] = fresh;
    if (r->n < TICKET_KEYS) r->n++;
    r->newest_made = now;
    crypto_cleanse(&fresh, sizeof fresh);
    return true;
}

bool ticket_ring_init(struct ticket_ring *r, int64_t now, struct err *err)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    r->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (r->aes && push_key(r, now)) return true;
    return err_set(err, ERR_CRYPTO, "no keys for session tickets");
}

void ticket_ring_done(struct ticket_ring *r)
{
    EVP_CIPHER_free(r->aes);
    crypto_cleanse(r->keys, sizeof r->keys);
    pthread_mutex_destroy(&r->lock);
}

// After a long quiet time every key is too old, not only the last one.
static bool rotate(struct ticket_ring *r, int64_t now)
{
    int64_t age = now - r->newest_made;
    if (age < TICKET_ROTATE_SECONDS) return true;
    if (age >= TICKET_LIFETIME_SECONDS) {
        crypto_cleanse(r->keys, sizeof r->keys);
        r->n = 0;
    }
    return push_key(r, now);
}

bool ticket_ring_newest(struct ticket_ring *r, int64_t now, struct ticket_key *ret)
{
    pthread_mutex_lock(&r->lock);
    bool ok = rotate(r, now);
    if (ok) *ret = r->keys[0];
    pthread_mutex_unlock(&r->lock);
    return ok;
}

bool ticket_ring_find(struct ticket_ring *r, int64_t now, const unsigned char name[16],
                      struct ticket_key *ret, bool *ret_newest)
{
    pthread_mutex_lock(&r->lock);
    bool found = false;
    size_t n = rotate(r, now) ? r->n : 0;
    for (size_t i = 0; !found && i < n; i++) {
        found = memcmp(r->keys[i].name, name, sizeof r->keys[i].name) == 0;
        if (found) *ret = r->keys[i], *ret_newest = i == 0;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static bool set_keys(const struct ticket_ring *r, const struct ticket_key *k, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, sizeof k->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, r->aes, NULL, k->cipher, iv, sealing) == 1;
}

static int seal_ticket(struct ticket_ring *r, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac)
{
    struct ticket_key k;
    if (!ticket_ring_newest(r, clock_seconds(), &k) || !crypto_random(iv, TICKET_IV_BYTES)) return -1;
    memcpy(name, k.name, sizeof k.name);
    bool ok = set_keys(r, &k, iv, cipher, mac, 1);
    crypto_cleanse(&k, sizeof k);
    return ok ? 1 : -1;
}

// 0: not ours, a full handshake follows. 2: fine, and a new ticket is due (RFC 8446 appendix C.4: clients
// should not reuse one, since it links their connections).
static int open_ticket(struct ticket_ring *r, const SSL *ssl, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct ticket_key k;
    bool newest;
    if (!ticket_ring_find(r, clock_seconds(), name, &k, &newest)) return 0;
    bool ok = set_keys(r, &k, iv, cipher, mac, 0);
    crypto_cleanse(&k, sizeof k);
    if (!ok) return -1;
    return newest && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

int ticket_ring_callback(struct ticket_ring *r, SSL *ssl, unsigned char *name, unsigned char *iv,
                         EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    return sealing ? seal_ticket(r, name, iv, cipher, mac) : open_ticket(r, ssl, name, iv, cipher, mac);
}
