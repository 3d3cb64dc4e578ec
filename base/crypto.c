// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

enum { NONCE_BYTES = 12, TAG_BYTES = 16 };

bool crypto_random(void *buf, size_t n)
{
    return n <= INT32_MAX && RAND_bytes(buf, (int)n) == 1;
}

// OpenSSL 3 looks algorithms up by name, which costs more than a short message does: once per process is
// enough. Threads that race here fetch the same thing; the loser's copy is released.
static void *fetched_once(_Atomic(void *) *slot, void *(*fetch)(void), void (*release)(void *))
{
    void *found = atomic_load_explicit(slot, memory_order_acquire);
    if (found) return found;
    void *fresh = fetch();
    if (!fresh || atomic_compare_exchange_strong(slot, &found, fresh)) return fresh;
    release(fresh);
    return found;
}

static void *fetch_hmac(void)
{
    return EVP_MAC_fetch(NULL, "HMAC", NULL);
}

static void release_hmac(void *mac)
{
    EVP_MAC_free(mac);
}

static void *fetch_gcm(void)
{
    return EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static void release_gcm(void *cipher)
{
    EVP_CIPHER_free(cipher);
}

static void *fetch_sha256(void)
{
    return EVP_MD_fetch(NULL, "SHA256", NULL);
}

static void release_sha256(void *md)
{
    EVP_MD_free(md);
}

static EVP_MAC *hmac_algorithm(void)
{
    static _Atomic(void *) slot;
    return fetched_once(&slot, fetch_hmac, release_hmac);
}

static const EVP_CIPHER *gcm_algorithm(void)
{
    static _Atomic(void *) slot;
    return fetched_once(&slot, fetch_gcm, release_gcm);
}

static const EVP_MD *sha256_algorithm(void)
{
    static _Atomic(void *) slot;
    return fetched_once(&slot, fetch_sha256, release_sha256);
}

bool crypto_sha1(struct str data, uint8_t ret[SHA1_BYTES])
{
    return EVP_Digest(data.p, data.n, ret, NULL, EVP_sha1(), NULL) == 1;
}

bool crypto_sha256(struct str data, uint8_t ret[SHA256_BYTES])
{
    const EVP_MD *md = sha256_algorithm();
    return md && EVP_Digest(data.p, data.n, ret, NULL, md, NULL) == 1;
}

static bool hmac_part(EVP_MAC_CTX *ctx, struct str part)
{
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)part.n >> (56 - 8 * i));
    return EVP_MAC_update(ctx, length, sizeof length) == 1 &&
           EVP_MAC_update(ctx, (const unsigned char *)part.p, part.n) == 1;
}

bool crypto_hmac_sha256(struct str key, const struct str *parts, size_t count, uint8_t ret[SHA256_BYTES])
{
    EVP_MAC *mac = hmac_algorithm();
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                            OSSL_PARAM_construct_end() };
    bool ok = ctx && EVP_MAC_init(ctx, (const unsigned char *)key.p, key.n, params) == 1;
    for (size_t i = 0; ok && i < count; i++) ok = hmac_part(ctx, parts[i]);
    size_t n = 0;
    ok = ok && EVP_MAC_final(ctx, ret, &n, SHA256_BYTES) == 1 && n == SHA256_BYTES;
    EVP_MAC_CTX_free(ctx);
    return ok;
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_cleanse(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

bool crypto_seal(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str plain, uint8_t *ret_box)
{
    if (plain.n > INT32_MAX || aad.n > INT32_MAX || !crypto_random(ret_box, NONCE_BYTES)) return false;
    const EVP_CIPHER *cipher = gcm_algorithm();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *text = ret_box + NONCE_BYTES;
    int n = 0, last = 0;
    bool ok = cipher && ctx && EVP_EncryptInit_ex(ctx, cipher, NULL, key, ret_box) == 1 &&
              EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1 &&
              EVP_EncryptUpdate(ctx, text, &n, (const uint8_t *)plain.p, (int)plain.n) == 1 &&
              EVP_EncryptFinal_ex(ctx, text + n, &last) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + plain.n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

bool crypto_open(const uint8_t key[SEAL_KEY_BYTES], struct str aad, struct str box, uint8_t *ret_plain)
{
    if (box.n < SEAL_OVERHEAD || box.n > INT32_MAX || aad.n > INT32_MAX) return false;
    size_t plain = box.n - SEAL_OVERHEAD;
    const uint8_t *in = (const uint8_t *)box.p;
    uint8_t tag[TAG_BYTES];
    memcpy(tag, in + NONCE_BYTES + plain, sizeof tag);
    const EVP_CIPHER *cipher = gcm_algorithm();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t final[16];
    int n = 0;
    bool ok = cipher && ctx && EVP_DecryptInit_ex(ctx, cipher, NULL, key, in) == 1 &&
              EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)aad.p, (int)aad.n) == 1 &&
              EVP_DecryptUpdate(ctx, ret_plain, &n, in + NONCE_BYTES, (int)plain) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
              EVP_DecryptFinal_ex(ctx, final, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) OPENSSL_cleanse(ret_plain, plain); // nothing unauthenticated is left behind
    return ok;
}

bool crypto_derive(struct str master, const char *info, uint8_t *ret, size_t n)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)master.p, master.n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx && EVP_KDF_derive(ctx, ret, n, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}
