// SPDX-License-Identifier: GPL-3.0-or-later
// The boards that may connect. A board's uplink key is the identity that the uplink protocol lacks: one key
// per board, kept as its SHA-256 only. The table is one JSON text (a file of the state directory), immutable
// once parsed, and shared by threads.
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "base/err.h"

enum {
    DEVICE_ID_DIGITS = 16,  // hex; never changes, unlike the name
    DEVICE_NAME_BYTES = 63, // [a-z0-9][a-z0-9-]*; not "any", "events", "assets"
    DEVICE_KEYS = 2,        // valid at the same time, while a key is being rotated
    DEVICE_KEY_RANDOM = 24, // bytes of randomness of a key: 192 bits
    FUNCTION_NAME_BYTES = 128,
};

struct device_key {
    uint8_t hash[SHA256_BYTES]; // of the key's text
    int64_t created, expires;   // seconds since the epoch; expires 0: never
};

struct device {
    struct str id, name;
    int64_t created;
    bool any_function;        // "*": whatever it registers
    struct strlist functions; // else these, literally
    struct device_key keys[DEVICE_KEYS];
    size_t nkeys;
};

struct device_table {
    _Atomic unsigned refs;
    struct arena *arena; // owns everything, this struct too
    struct device *v;    // sorted by name; names and ids are unique
    size_t n;
    const struct device **by_id; // sorted by id
};

// Parses the text of the file; "" is an empty table. Strict: unknown members, a name or an id twice, a key
// hash twice, more than LIMIT_PICO_DEVICES or what is not as described above: ERR_PICO_DEVICES, with what and
// where. *ret has one reference.
bool device_table_parse(struct str text, struct device_table **ret, struct err *err);
// The text of a table, readable for people (indented, a stable order). Absent: out of memory.
struct str device_table_text(struct arena *a, const struct device *v, size_t n);
struct device_table *device_table_hold(struct device_table *t);
void device_table_drop(struct device_table *t); // NULL is accepted

const struct device *device_by_name(const struct device_table *t, struct str name);
const struct device *device_by_id(const struct device_table *t, struct str id);
// Whose key this is, if it is valid at `now`; NULL otherwise. Compares hashes, in time that does not depend
// on how much of them is equal. *ret_hash (may be NULL): the key's hash.
const struct device *device_by_key(const struct device_table *t, struct str key, int64_t now,
                                   uint8_t ret_hash[SHA256_BYTES]);
// Whether a link that logged in with the key of this hash may stay.
bool device_has_key(const struct device *d, const uint8_t hash[SHA256_BYTES], int64_t now);
bool device_may_register(const struct device *d, struct str function);
bool device_name_valid(struct str name);
// At most FUNCTION_NAME_BYTES of clean UTF-8, not empty, not "." or "..", without any of : / \ % ; (no
// address can have them), not beginning with "anvil.".
bool function_name_valid(struct str name);
