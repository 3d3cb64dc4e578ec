// SPDX-License-Identifier: GPL-3.0-or-later
// The input is the text of the table of boards. What is accepted keeps the promises of relay/device.h and
// comes out the same after it was written and read again.
#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "relay/device.h"

static void check_functions(const struct device *d)
{
    assert(d->any_function ? d->functions.n == 0 : d->functions.n > 0);
    assert(d->functions.n <= LIMIT_PICO_FUNCTIONS);
    for (size_t i = 0; i < d->functions.n; i++) {
        assert(function_name_valid(d->functions.v[i]) && !str_eq_c(d->functions.v[i], "*"));
        assert(device_may_register(d, d->functions.v[i]));
    }
    assert(device_may_register(d, STR("not there, surely")) == d->any_function);
}

static void check_device(const struct device_table *t, const struct device *d)
{
    assert(d->id.n == DEVICE_ID_DIGITS && device_name_valid(d->name) && d->created > 0);
    assert(device_by_name(t, d->name) == d && device_by_id(t, d->id) == d);
    assert(d->nkeys > 0 && d->nkeys <= DEVICE_KEYS);
    for (size_t i = 0; i < d->nkeys; i++) {
        const struct device_key *k = &d->keys[i];
        assert(k->created > 0 && k->expires >= 0);
        assert(device_has_key(d, k->hash, k->expires - 1) &&
               device_has_key(d, k->hash, k->expires) == !k->expires);
    }
    check_functions(d);
}

static void check_round_trip(const struct device_table *t)
{
    struct err err = { 0 };
    struct device_table *again = NULL;
    struct arena *a = arena_new(64 << 20);
    struct str once = a ? device_table_text(a, t->v, t->n) : STR_NONE;
    if (once.p) {
        assert(device_table_parse(once, &again, &err));
        assert(again->n == t->n);
        assert(str_eq(once, device_table_text(a, again->v, again->n)));
        device_table_drop(again);
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct device_table *t = NULL;
    struct err err = { 0 };
    bool ok = device_table_parse((struct str){ (const char *)data, size }, &t, &err);
    assert(ok == (err.code == ERR_NONE) && ok == (t != NULL));
    assert(str_is_utf8(str_c(err.detail), true));
    if (!ok) return 0;
    for (size_t i = 0; i < t->n; i++) check_device(t, &t->v[i]);
    for (size_t i = 1; i < t->n; i++) assert(str_cmp(t->v[i - 1].name, t->v[i].name) < 0);
    check_round_trip(t);
    device_table_drop(t);
    return 0;
}
