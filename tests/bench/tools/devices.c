// SPDX-License-Identifier: GPL-3.0-or-later
// Adds boards to the file of devices for ./bench, all at once: `devices STATE-DIRECTORY COUNT FUNCTION`
// prints "NAME KEY" for each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "gateway/relay/devices.h"

struct wanted {
    size_t n;
    const char *function;
    struct str *keys;
};

static bool make_one(struct wanted *w, struct device_list *list, struct device *ret, struct str *ret_key)
{
    uint8_t random[DEVICE_KEY_RANDOM], id[DEVICE_ID_DIGITS / 2];
    if (!crypto_random(random, sizeof random) || !crypto_random(id, sizeof id)) return false;
    *ret = (struct device){ .id = encode_hex(list->arena, (struct str){ (const char *)id, sizeof id }),
                            .name = arena_printf(list->arena, "board-%zu", list->n),
                            .created = (int64_t)time(NULL),
                            .nkeys = 1 };
    ret->functions.v = arena_alloc(list->arena, sizeof *ret->functions.v);
    *ret_key = encode_hex(list->arena, (struct str){ (const char *)random, sizeof random });
    if (!ret->functions.v || !ret_key->p) return false;
    ret->functions.v[ret->functions.n++] = str_c(w->function);
    ret->keys[0].created = ret->created;
    return crypto_sha256(*ret_key, ret->keys[0].hash);
}

static bool add(void *context, struct device_list *list, struct err *err)
{
    struct wanted *w = context;
    struct device *v = arena_alloc(list->arena, (list->n + w->n) * sizeof *v);
    if (!v) return err_set(err, ERR_NO_MEMORY, "devices");
    if (list->n > 0) memcpy(v, list->v, list->n * sizeof *v);
    list->v = v;
    for (size_t i = 0; i < w->n; i++, list->n++) {
        struct str key;
        if (!make_one(w, list, &v[list->n], &key)) return err_set(err, ERR_NO_MEMORY, "a device");
        printf("%.*s %.*s\n", STR_FMT(v[list->n].name), STR_FMT(key));
    }
    return true;
}

int main(int argc, char **argv)
{
    struct err err = { 0 };
    if (argc != 4) return fprintf(stderr, "usage: devices STATE-DIRECTORY COUNT FUNCTION\n"), 2;
    struct wanted w = { .n = strtoul(argv[2], NULL, 10), .function = argv[3] };
    if (devices_change(str_c(argv[1]), add, &w, &err)) return 0;
    return fprintf(stderr, "devices: %s\n", err.detail), 1;
}
