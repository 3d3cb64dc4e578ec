// SPDX-License-Identifier: GPL-3.0-or-later
// Inside certs/ only: the keys of session tickets (RFC 5077, RFC 8446 4.6.1). They live in this process'
// memory alone and are replaced every hour, so that a key stolen later opens no recorded connection of
// yesterday.
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>

#include "base/err.h"

enum { TICKET_KEYS = 3, TICKET_ROTATE_SECONDS = 3600, TICKET_LIFETIME_SECONDS = 2 * TICKET_ROTATE_SECONDS };

struct ticket_key {
    unsigned char name[16], cipher[32], mac[32];
};
struct ticket_ring {
    pthread_mutex_t lock;
    struct ticket_key keys[TICKET_KEYS]; // newest first
    size_t n;
    int64_t newest_made; // seconds of a clock that never steps
    EVP_CIPHER *aes;     // fetched once: the search by name is slow
};
bool ticket_ring_init(struct ticket_ring *r, int64_t now, struct err *err);
void ticket_ring_done(struct ticket_ring *r);
// The key to seal new tickets with; makes a new one when it is time. False when no random bytes are to be
// had.
bool ticket_ring_newest(struct ticket_ring *r, int64_t now, struct ticket_key *ret);
// The key named `name`, unless it is too old.
bool ticket_ring_find(struct ticket_ring *r, int64_t now, const unsigned char name[16],
                      struct ticket_key *ret, bool *ret_newest);
// For SSL_CTX_set_tlsext_ticket_key_evp_cb.
int ticket_ring_callback(struct ticket_ring *r, SSL *ssl, unsigned char *name, unsigned char *iv,
                         EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing);
