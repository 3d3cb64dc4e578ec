// SPDX-License-Identifier: GPL-3.0-or-later
// Inside of the commands `sallyport pico ...`.
#pragma once

#include "cli/cli.h"
#include "gateway/relay/devices.h"

// "sp-pico-" and base64url of the random bytes: 40 characters and the NUL.
enum { PICO_KEY_BYTES = 8 + DEVICE_KEY_RANDOM / 3 * 4 + 1 };
static const int64_t PICO_GRACE_MAX = 365 * 86400; // seconds

// A new key and its hash: the only two places where it is. The caller wipes the text.
bool pico_key_make(char ret_key[PICO_KEY_BYTES], uint8_t ret_hash[SHA256_BYTES], struct err *err);

// --- changes of the list of boards (pico_change.c), for devices_change

struct pico_change {
    struct str name;
    struct str new_name;            // rename
    bool any_function;              // add, functions
    struct strlist functions;       // the same
    uint8_t key_hash[SHA256_BYTES]; // add, rotate
    int64_t now, grace;             // rotate: so many seconds the old key stays valid; 0: not at all
    // What came of a rotation.
    int64_t old_until;   // 0: there is no old key any more
    int64_t older_until; // a key in its grace had to go before this time; 0: none
};
bool pico_change_add(void *change, struct device_list *l, struct err *err);
bool pico_change_rotate(void *change, struct device_list *l, struct err *err);
bool pico_change_revoke(void *change, struct device_list *l, struct err *err);
bool pico_change_rename(void *change, struct device_list *l, struct err *err);
bool pico_change_functions(void *change, struct device_list *l, struct err *err);
// "a,b" or "*".
bool pico_functions_parse(struct arena *a, const char *text, struct pico_change *ret, struct err *err);
bool pico_name_check(const char *name, struct err *err);
// "30m", "24h", "7d".
bool pico_grace_parse(struct arena *a, const char *text, int64_t *ret, struct err *err);

// --- what people read (pico_text.c)

// The board's main.py with the key in it, once. `host`: of one route with boards; absent: all of them.
// ERR_CONFIG: there is none (of this host).
struct str pico_main_py(struct arena *a, const struct config *c, struct str host, struct str name,
                        const char *key, struct err *err);
struct str pico_rotated(struct arena *a, const struct pico_change *change, const char *key);
// Rules that name this board, as a sentence; empty when there are none.
struct str pico_rules_naming(struct arena *a, const struct config *c, struct str name);
struct str pico_functions_text(struct arena *a, bool any, struct strlist functions);

// --- the list (pico_list.c)

struct str pico_list_text(struct arena *a, const struct device_table *t, int64_t now);
struct str pico_list_json(struct arena *a, const struct device_table *t, int64_t now);
