// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay/device.h"

#include <stdlib.h>
#include <string.h>

// --- names

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// What stands where a board's name stands in addresses, and is none.
static bool is_reserved(struct str name)
{
    return str_eq_c(name, "any") || str_eq_c(name, "events") || str_eq_c(name, "assets");
}

bool device_name_valid(struct str name)
{
    if (name.n == 0 || name.n > DEVICE_NAME_BYTES || !is_name_char(name.p[0])) return false;
    for (size_t i = 1; i < name.n; i++)
        if (!is_name_char(name.p[i]) && name.p[i] != '-') return false;
    return !is_reserved(name);
}

// "." and ".." would be taken out of the address of a call on its way.
bool function_name_valid(struct str name)
{
    if (name.n == 0 || name.n > FUNCTION_NAME_BYTES || !str_is_utf8(name, true)) return false;
    static const char refused[] = ":/\\%;"; // the last three mean two things in an address (http/target.c)
    for (const char *c = refused; *c; c++)
        if (str_find(name, *c) < name.n) return false;
    return !str_starts(name, STR("anvil.")) && !str_eq_c(name, ".") && !str_eq_c(name, "..");
}

// --- the table

struct device_table *device_table_hold(struct device_table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void device_table_drop(struct device_table *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) arena_free(t->arena);
}

static int compare_name(const void *name, const void *device)
{
    return str_cmp(*(const struct str *)name, ((const struct device *)device)->name);
}

const struct device *device_by_name(const struct device_table *t, struct str name)
{
    return t->n ? bsearch(&name, t->v, t->n, sizeof *t->v, compare_name) : NULL;
}

static int compare_id(const void *id, const void *device)
{
    return str_cmp(*(const struct str *)id, (*(const struct device *const *)device)->id);
}

const struct device *device_by_id(const struct device_table *t, struct str id)
{
    const struct device **found =
        t->n ? bsearch(&id, t->by_id, t->n, sizeof(const struct device *), compare_id) : NULL;
    return found ? *found : NULL;
}

static bool key_valid(const struct device_key *k, int64_t now)
{
    return k->expires == 0 || now < k->expires;
}

// Looks at all keys, whichever fits.
bool device_has_key(const struct device *d, const uint8_t hash[SHA256_BYTES], int64_t now)
{
    bool found = false;
    for (size_t i = 0; i < d->nkeys; i++)
        found |= (int)crypto_equal(d->keys[i].hash, hash, SHA256_BYTES) & (int)key_valid(&d->keys[i], now);
    return found;
}

// Looks at all boards, whichever it is.
const struct device *device_by_key(const struct device_table *t, struct str key, int64_t now,
                                   uint8_t ret_hash[SHA256_BYTES])
{
    const struct device *found = NULL;
    uint8_t hash[SHA256_BYTES];
    if (!crypto_sha256(key, hash)) return NULL;
    for (size_t i = 0; i < t->n; i++)
        if (device_has_key(&t->v[i], hash, now)) found = &t->v[i];
    if (found && ret_hash) memcpy(ret_hash, hash, sizeof hash);
    return found;
}

bool device_may_register(const struct device *d, struct str function)
{
    return function_name_valid(function) && (d->any_function || strlist_has(d->functions, function));
}
