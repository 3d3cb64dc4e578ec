// SPDX-License-Identifier: GPL-3.0-or-later
// A table of sets, each with a few ways. Where an entry lies depends on the seed, so nobody can choose to
// push out somebody else's entry, or to share it.
#include "relay/throttle.h"

#include <string.h>

#include "base/crypto.h"

enum { SETS = THROTTLE_ENTRIES / THROTTLE_WAYS };

void throttle_init(struct throttle *t, uint64_t seed, unsigned max, int64_t window_ms)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->max = max;
    t->window_ms = window_ms;
}

// 0 is what an empty entry has. False: no hash could be made.
static bool hash_of(const struct throttle *t, struct str who, uint64_t *ret)
{
    uint8_t mac[SHA256_BYTES];
    struct str key = { (const char *)&t->seed, sizeof t->seed };
    if (!crypto_hmac_sha256(key, &who, 1, mac)) return false;
    memcpy(ret, mac, sizeof *ret);
    if (*ret == 0) *ret = 1;
    return true;
}

static size_t set_of(uint64_t hash)
{
    return (size_t)(hash % SETS) * THROTTLE_WAYS;
}

static bool is_current(const struct throttle *t, const struct throttle_entry *e, int64_t now_ms)
{
    return e->who != 0 && now_ms - e->since_ms < t->window_ms;
}

// The entry that gives way: one that counts for nothing, else the oldest of those below the limit, else the
// oldest. So whoever is refused stays refused while strangers fail once each.
static bool gives_way_before(const struct throttle *t, const struct throttle_entry *a,
                             const struct throttle_entry *b, int64_t now_ms)
{
    bool a_current = is_current(t, a, now_ms), b_current = is_current(t, b, now_ms);
    if (a_current != b_current) return b_current;
    bool a_full = a->count >= t->max, b_full = b->count >= t->max;
    if (a_full != b_full) return b_full;
    return a->since_ms < b->since_ms;
}

static struct throttle_entry *entry_for(struct throttle *t, uint64_t hash, int64_t now_ms)
{
    struct throttle_entry *set = t->v + set_of(hash), *worst = set;
    for (size_t i = 0; i < THROTTLE_WAYS; i++) {
        if (set[i].who == hash) return &set[i];
        if (gives_way_before(t, &set[i], worst, now_ms)) worst = &set[i];
    }
    *worst = (struct throttle_entry){ .who = hash, .since_ms = now_ms };
    return worst;
}

void throttle_failed(struct throttle *t, struct str who, int64_t now_ms)
{
    uint64_t hash;
    if (!hash_of(t, who, &hash)) return;
    struct throttle_entry *e = entry_for(t, hash, now_ms);
    if (!is_current(t, e, now_ms)) *e = (struct throttle_entry){ .who = hash, .since_ms = now_ms };
    if (e->count < t->max) e->count++;
}

bool throttle_refuses(const struct throttle *t, struct str who, int64_t now_ms)
{
    uint64_t hash;
    if (!hash_of(t, who, &hash)) return true;
    const struct throttle_entry *set = t->v + set_of(hash);
    for (size_t i = 0; i < THROTTLE_WAYS; i++)
        if (set[i].who == hash) return is_current(t, &set[i], now_ms) && set[i].count >= t->max;
    return false;
}
