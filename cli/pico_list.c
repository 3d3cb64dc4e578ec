// SPDX-License-Identifier: GPL-3.0-or-later
#include <inttypes.h>

#include "base/encode.h"
#include "cli/pico.h"

enum { LIST_MAX = 2 * LIMIT_PICO_DEVICES_BYTES, AGE_BYTES = 32 };

static bool is_over(const struct device_key *k, int64_t now)
{
    return k->expires && k->expires <= now;
}

// --- for people

// Whole units, the largest of which there are two. What is left is rounded, so that 24 hours are 24 a second
// later.
static void duration_text(int64_t seconds, bool rounded, char buf[AGE_BYTES])
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } };
    size_t i = 0;
    if (seconds < 0) seconds = 0;
    while (i < 3 && seconds < 2 * units[i].factor) i++;
    if (rounded) seconds += units[i].factor / 2;
    snprintf(buf, AGE_BYTES, "%" PRId64 " %s", seconds / units[i].factor, units[i].name);
}

struct row {
    char age[AGE_BYTES], old[AGE_BYTES + 8];
};

static void row_keys(struct row *row, const struct device *d, int64_t now)
{
    char left[AGE_BYTES];
    *row = (struct row){ "none", "-" };
    for (size_t i = 0; i < d->nkeys; i++) {
        const struct device_key *k = &d->keys[i];
        if (is_over(k, now)) continue;
        if (!k->expires) {
            duration_text(now - k->created, false, row->age);
            continue;
        }
        duration_text(k->expires - now, true, left);
        snprintf(row->old, sizeof row->old, "for %s", left);
    }
}

struct str pico_list_text(struct arena *a, const struct device_table *t, int64_t now)
{
    struct sbuf b;
    struct row row;
    size_t width = sizeof "NAME" - 1;
    sbuf_init(&b, a, LIST_MAX);
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].name.n > width) width = t->v[i].name.n;
    sbuf_addf(&b, "%-*s  %-8s  %-14s  %s\n", (int)width, "NAME", "KEY AGE", "OLD KEY VALID", "FUNCTIONS");
    for (size_t i = 0; i < t->n; i++) {
        const struct device *d = &t->v[i];
        row_keys(&row, d, now);
        sbuf_addf(&b, "%-*.*s  %-8s  %-14s  ", (int)width, STR_FMT(d->name), row.age, row.old);
        sbuf_add(&b, pico_functions_text(a, d->any_function, d->functions));
        sbuf_add_c(&b, "\n");
    }
    return arena_failed(a) ? STR_NONE : sbuf_str(&b);
}

// --- for programs

static void add_functions(struct sbuf *b, struct arena *a, const struct device *d)
{
    if (d->any_function) {
        sbuf_add_c(b, "\"*\"");
        return;
    }
    for (size_t i = 0; i < d->functions.n; i++) {
        sbuf_add_c(b, i ? "," : "[");
        sbuf_add(b, encode_json(a, d->functions.v[i]));
    }
    sbuf_add_c(b, "]");
}

static void add_keys(struct sbuf *b, const struct device *d, int64_t now)
{
    size_t n = 0;
    sbuf_add_c(b, "[");
    for (size_t i = 0; i < d->nkeys; i++) {
        const struct device_key *k = &d->keys[i];
        if (is_over(k, now)) continue;
        sbuf_addf(b, "%s{\"created\":%" PRId64 ",\"expires\":", n++ ? "," : "", k->created);
        if (k->expires)
            sbuf_addf(b, "%" PRId64 "}", k->expires);
        else
            sbuf_add_c(b, "null}");
    }
    sbuf_add_c(b, "]");
}

struct str pico_list_json(struct arena *a, const struct device_table *t, int64_t now)
{
    struct sbuf b;
    sbuf_init(&b, a, LIST_MAX);
    sbuf_add_c(&b, "{\"boards\":[");
    for (size_t i = 0; i < t->n; i++) {
        const struct device *d = &t->v[i];
        sbuf_addf(&b, "%s\n{\"name\":\"%.*s\",\"id\":\"%.*s\",\"created\":%" PRId64 ",\"functions\":",
                  i ? "," : "", STR_FMT(d->name), STR_FMT(d->id), d->created);
        add_functions(&b, a, d);
        sbuf_add_c(&b, ",\"keys\":");
        add_keys(&b, d, now);
        sbuf_add_c(&b, "}");
    }
    sbuf_add_c(&b, t->n ? "\n]}\n" : "]}\n");
    return arena_failed(a) ? STR_NONE : sbuf_str(&b);
}
