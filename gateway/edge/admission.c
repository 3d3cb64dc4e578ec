// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/admission.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

enum {
    ROWS = 2,
    SLOTS = 1 << 16, // of each row: half a MiB, of which only what is used is ever in memory
    IPV6_PREFIX_BYTES = 8,
    IPV4_OFFSET = 12,
    OWN_DESCRIPTORS = 64, // listeners, store, log, event loops, verifiers
};

struct admission {
    int64_t max, max_per_address;
    uint64_t key[2];
    _Atomic int64_t open;
    _Atomic uint32_t count[ROWS][SLOTS];
};

struct admission *admission_new(int64_t max, int64_t max_per_address, struct err *err)
{
    struct admission *a = calloc(1, sizeof *a);
    if (!a) return err_set(err, ERR_NO_MEMORY, "table of connections"), NULL;
    a->max = max;
    a->max_per_address = max_per_address;
    if (crypto_random(a->key, sizeof a->key)) return a;
    free(a);
    return err_set(err, ERR_CRYPTO, "no random bytes"), NULL;
}

void admission_free(struct admission *a)
{
    free(a);
}

// --- the hash

static uint64_t rotate(uint64_t v, int bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static uint64_t little_endian(const uint8_t *p, size_t n)
{
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++) w |= (uint64_t)p[i] << 8 * i;
    return w;
}

uint64_t admission_hash(const uint64_t key[2], const uint8_t *p, size_t n)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                      key[1] ^ 0x7465646279746573 };
    size_t whole = n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) sip_word(v, little_endian(p + i, 8));
    sip_word(v, little_endian(p + whole, n - whole) | (uint64_t)n << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// An IPv6 customer has a whole /64 and more, an IPv4 customer one address.
static void slots_of(const struct admission *a, const struct ip_address *who, uint32_t ret[ROWS])
{
    static const uint8_t v4_prefix[IPV4_OFFSET] = { [10] = 0xff, [11] = 0xff };
    uint8_t b[sizeof who->b];
    memcpy(b, who->b, sizeof b);
    if (memcmp(b, v4_prefix, sizeof v4_prefix) != 0)
        memset(b + IPV6_PREFIX_BYTES, 0, sizeof b - IPV6_PREFIX_BYTES);
    uint64_t h = admission_hash(a->key, b, sizeof b);
    ret[0] = (uint32_t)h % SLOTS;
    ret[1] = (uint32_t)(h >> 32) % SLOTS;
}

// --- counting

bool admission_enter(struct admission *a, struct admission_ticket *t, struct err *err)
{
    int64_t before = atomic_fetch_add_explicit(&a->open, 1, memory_order_relaxed);
    if (a->max > 0 && before >= a->max) {
        atomic_fetch_sub_explicit(&a->open, 1, memory_order_relaxed);
        return err_set(err, ERR_CONNECTIONS, "%lld connections are open", (long long)before);
    }
    t->overall = true;
    return true;
}

static void leave_address(struct admission *a, const uint32_t slot[ROWS])
{
    for (int row = 0; row < ROWS; row++)
        atomic_fetch_sub_explicit(&a->count[row][slot[row]], 1, memory_order_relaxed);
}

bool admission_enter_address(struct admission *a, const struct ip_address *who, struct admission_ticket *t,
                             struct err *err)
{
    uint32_t slot[ROWS], least = UINT32_MAX;
    if (a->max_per_address <= 0) return true;
    slots_of(a, who, slot);
    for (int row = 0; row < ROWS; row++) {
        uint32_t before = atomic_fetch_add_explicit(&a->count[row][slot[row]], 1, memory_order_relaxed);
        if (before < least) least = before;
    }
    if (least >= a->max_per_address) {
        leave_address(a, slot);
        return err_set(err, ERR_CONNECTIONS_ADDRESS, "%lld connections of this address are open",
                       (long long)a->max_per_address);
    }
    t->address = true;
    memcpy(t->slot, slot, sizeof slot);
    return true;
}

void admission_leave(struct admission *a, struct admission_ticket *t)
{
    if (t->address) leave_address(a, t->slot);
    if (t->overall) atomic_fetch_sub_explicit(&a->open, 1, memory_order_relaxed);
    *t = (struct admission_ticket){ .overall = false };
}

// Most clients are idle at any moment, and idle ones have no connection to a backend.
int64_t admission_for_descriptors(int64_t descriptors)
{
    int64_t own = OWN_DESCRIPTORS < descriptors / 4 ? OWN_DESCRIPTORS : descriptors / 4;
    int64_t clients = (descriptors - own) / 4 * 3;
    return clients > 0 ? clients : 1;
}
