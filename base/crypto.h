// SPDX-License-Identifier: GPL-3.0-or-later
// The few primitives everything else is made of, from OpenSSL: digests, MACs, sealing, random bytes. Each
// returns false only when OpenSSL itself fails (then nothing may proceed), except `crypto_open`, where false
// also means "not ours".
#pragma once

#include "base/str.h"

enum { SHA1_BYTES = 20, SHA256_BYTES = 32, SEAL_KEY_BYTES = 32, SEAL_OVERHEAD = 12 + 16 };

bool crypto_random(void *buf, size_t n);
// Only where a protocol asks for it (WebSocket's handshake): it protects nothing.
bool crypto_sha1(struct str data, uint8_t ret[SHA1_BYTES]);
bool crypto_sha256(struct str data, uint8_t ret[SHA256_BYTES]);
// HMAC-SHA-256 over the parts, each preceded by its length as 8 bytes big-endian, so that no two lists of
// parts have the same MAC (fields cannot be shifted).
bool crypto_hmac_sha256(struct str key, const struct str *parts, size_t count, uint8_t ret[SHA256_BYTES]);
// Comparison in constant time.
bool crypto_equal(const void *a, const void *b, size_t n);
void crypto_cleanse(void *p, size_t n);
// AES-256-GCM with a fresh random 96-bit nonce: ret_box gets nonce || ciphertext || tag, plain.n +
// SEAL_OVERHEAD bytes. `aad` names what the box is for; a box opens only under the aad it was made with.
bool crypto_seal(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str plain, uint8_t *ret_box);
// Opens a box into ret_plain (box.n - SEAL_OVERHEAD bytes). Every kind of damage gives the same false.
bool crypto_open(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str box, uint8_t *ret_plain);
// HKDF-SHA-256 (RFC 5869) of `master` for the purpose named `info`: one stored key gives many independent
// ones.
bool crypto_derive(struct str master, const char *info, uint8_t *ret, size_t n);

// Bytes that must never reach a log or a page. There is no formatter for it on purpose.
struct secret {
    uint8_t *p;
    size_t n;
};
