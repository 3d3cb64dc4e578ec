// SPDX-License-Identifier: GPL-3.0-or-later
// The text of the table of devices. Whoever can write it decides which boards are believed, so it is read
// strictly: a member that is spelt wrongly must not turn an allow-list into none.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "relay/device.h"
#include "relay/json.h"

enum {
    TABLE_ARENA = 4 * LIMIT_PICO_DEVICES_BYTES,
    TREE_ARENA = 1024, // owns the tree, which has its own memory
    TABLE_VERSION = 1,
    WHERE_BYTES = 128,
    SHOWN_BYTES = 64,
};
static const int64_t TIME_MAX = 253402300799; // the end of the year 9999

// Where in the text something is, as words: devices[3] (lamp).keys[0].
struct place {
    char text[WHERE_BYTES];
    struct err *err;
};

// What was put into the file by hand may be anything, also what a terminal would obey.
static struct str shown(struct str s)
{
    return s.n && s.n <= SHOWN_BYTES && str_is_utf8(s, true) ? s : STR("...");
}

static __attribute__((format(printf, 3, 4))) struct place place_in(const struct place *outer, struct err *err,
                                                                   const char *fmt, ...)
{
    struct place p = { .err = err };
    va_list ap;
    va_start(ap, fmt);
    size_t n = outer ? strlen(outer->text) : 0;
    if (n) memcpy(p.text, outer->text, n);
    vsnprintf(p.text + n, sizeof p.text - n, fmt, ap);
    va_end(ap);
    return p;
}

static bool refuse(const struct place *p, const char *what)
{
    return err_set(p->err, ERR_PICO_DEVICES, "%s: %s", p->text, what);
}

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "the table of boards");
}

// --- members

static bool members_known(const struct place *p, const json_t *object, const char *const *names, size_t n)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) return refuse(p, "an object {...} is expected");
    json_object_foreach((json_t *)object, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < n; i++) known |= strcmp(name, names[i]) == 0;
        if (!known)
            return err_set(p->err, ERR_PICO_DEVICES, "%s: there is no member \"%.*s\"", p->text,
                           STR_FMT(shown(str_c(name))));
    }
    return true;
}

static bool member_time(const struct place *p, const json_t *object, const char *name, bool optional,
                        int64_t *ret)
{
    const json_t *value = json_object_get(object, name);
    if (!value && optional) return true;
    if (json_is_integer(value) && json_integer_value(value) > 0 && json_integer_value(value) <= TIME_MAX) {
        *ret = json_integer_value(value);
        return true;
    }
    return err_set(p->err, ERR_PICO_DEVICES, "%s.%s: seconds since 1970 are expected", p->text, name);
}

// --- a board

static bool is_id(struct str s)
{
    uint8_t bytes[DEVICE_ID_DIGITS / 2];
    return s.p && decode_hex(s, bytes, sizeof bytes);
}

static bool parse_id(struct arena *a, const struct place *p, const json_t *object, struct str *ret)
{
    struct str id = relay_json_str(json_object_get(object, "id"));
    if (!is_id(id)) return err_set(p->err, ERR_PICO_DEVICES, "%s.id: 16 hex digits are expected", p->text);
    *ret = arena_str(a, id);
    return true;
}

static bool parse_name(struct arena *a, const struct place *p, const json_t *object, struct str *ret)
{
    struct str name = relay_json_str(json_object_get(object, "name"));
    if (!device_name_valid(name))
        return err_set(p->err, ERR_PICO_DEVICES, "%s.name: letters a-z, digits and - are expected", p->text);
    *ret = arena_str(a, name);
    return true;
}

static bool parse_function(struct arena *a, const struct place *p, const json_t *value, struct strlist *l)
{
    struct str name = relay_json_str(value);
    if (!function_name_valid(name) || str_eq_c(name, "*"))
        return refuse(p, "the name of a function is expected");
    if (strlist_has(*l, name)) return refuse(p, "this function is there twice");
    l->v[l->n] = arena_str(a, name);
    if (!l->v[l->n].p) return no_memory(p->err);
    l->n++;
    return true;
}

static bool parse_functions(struct arena *a, const struct place *p, const json_t *object, struct device *d)
{
    const json_t *list = json_object_get(object, "functions");
    struct place here = place_in(p, p->err, ".functions");
    d->any_function = str_eq_c(relay_json_str(list), "*");
    if (d->any_function) return true;
    size_t n = json_array_size(list);
    if (n == 0 || n > LIMIT_PICO_FUNCTIONS)
        return err_set(p->err, ERR_PICO_DEVICES, "%s: \"*\" or a list of 1 to %d names is expected",
                       here.text, LIMIT_PICO_FUNCTIONS);
    d->functions.v = arena_array(a, n, sizeof *d->functions.v);
    if (!d->functions.v) return no_memory(p->err);
    for (size_t i = 0; i < n; i++) {
        struct place item = place_in(&here, p->err, "[%zu]", i);
        if (!parse_function(a, &item, json_array_get(list, i), &d->functions)) return false;
    }
    return true;
}

static bool parse_key(const struct place *p, const json_t *object, struct device_key *k)
{
    static const char *const names[] = { "sha256", "created", "expires" };
    if (!members_known(p, object, names, 3)) return false;
    struct str hash = relay_json_str(json_object_get(object, "sha256"));
    if (!hash.p || !decode_hex(hash, k->hash, sizeof k->hash))
        return err_set(p->err, ERR_PICO_DEVICES, "%s.sha256: 64 hex digits are expected", p->text);
    return member_time(p, object, "created", false, &k->created) &&
           member_time(p, object, "expires", true, &k->expires);
}

static bool parse_keys(const struct place *p, const json_t *object, struct device *d)
{
    const json_t *list = json_object_get(object, "keys");
    size_t n = json_array_size(list);
    if (n == 0 || n > DEVICE_KEYS)
        return err_set(p->err, ERR_PICO_DEVICES, "%s.keys: a list of 1 to %d keys is expected", p->text,
                       DEVICE_KEYS);
    for (; d->nkeys < n; d->nkeys++) {
        struct place here = place_in(p, p->err, ".keys[%zu]", d->nkeys);
        if (!parse_key(&here, json_array_get(list, d->nkeys), &d->keys[d->nkeys])) return false;
    }
    return true;
}

static bool parse_device(struct arena *a, const struct place *p, const json_t *object, struct device *d)
{
    static const char *const names[] = { "id", "name", "created", "functions", "keys" };
    if (!members_known(p, object, names, 5) || !parse_id(a, p, object, &d->id) ||
        !parse_name(a, p, object, &d->name))
        return false;
    struct place named = place_in(p, p->err, " (%.*s)", STR_FMT(d->name));
    return member_time(&named, object, "created", false, &d->created) &&
           parse_functions(a, &named, object, d) && parse_keys(&named, object, d);
}

// --- the table

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct device *)x)->name, ((const struct device *)y)->name);
}

static int by_id(const void *x, const void *y)
{
    return str_cmp((*(const struct device *const *)x)->id, (*(const struct device *const *)y)->id);
}

static int by_hash(const void *x, const void *y)
{
    return memcmp(*(const uint8_t *const *)x, *(const uint8_t *const *)y, SHA256_BYTES);
}

// A name that two boards have would make the one answer calls that are meant for the other.
static bool names_unique(struct device_table *t, struct err *err)
{
    if (t->n) qsort(t->v, t->n, sizeof *t->v, by_name);
    for (size_t i = 1; i < t->n; i++)
        if (str_eq(t->v[i - 1].name, t->v[i].name))
            return err_set(err, ERR_PICO_DEVICES, "two boards have the name %.*s", STR_FMT(t->v[i].name));
    return true;
}

static bool ids_unique(struct device_table *t, struct err *err)
{
    t->by_id = arena_array(t->arena, t->n, sizeof *t->by_id);
    if (!t->by_id) return no_memory(err);
    for (size_t i = 0; i < t->n; i++) t->by_id[i] = &t->v[i];
    if (t->n) qsort(t->by_id, t->n, sizeof *t->by_id, by_id);
    for (size_t i = 1; i < t->n; i++)
        if (str_eq(t->by_id[i - 1]->id, t->by_id[i]->id))
            return err_set(err, ERR_PICO_DEVICES, "the boards %.*s and %.*s have the same id",
                           STR_FMT(t->by_id[i - 1]->name), STR_FMT(t->by_id[i]->name));
    return true;
}

// The key is who a board is.
static bool keys_unique(struct device_table *t, struct err *err)
{
    const uint8_t **hashes = arena_array(t->arena, t->n * DEVICE_KEYS, sizeof *hashes);
    size_t n = 0;
    if (!hashes) return no_memory(err);
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->v[i].nkeys; k++) hashes[n++] = t->v[i].keys[k].hash;
    if (n) qsort(hashes, n, sizeof *hashes, by_hash);
    for (size_t i = 1; i < n; i++)
        if (memcmp(hashes[i - 1], hashes[i], SHA256_BYTES) == 0)
            return err_set(err, ERR_PICO_DEVICES, "the key with sha256 %02x%02x%02x%02x... is there twice",
                           hashes[i][0], hashes[i][1], hashes[i][2], hashes[i][3]);
    return true;
}

static bool parse_devices(struct device_table *t, const json_t *root, struct err *err)
{
    static const char *const names[] = { "version", "devices" };
    struct place whole = place_in(NULL, err, "the file");
    if (!members_known(&whole, root, names, 2)) return false;
    const json_t *version = json_object_get(root, "version"), *list = json_object_get(root, "devices");
    if (!json_is_integer(version) || json_integer_value(version) != TABLE_VERSION)
        return err_set(err, ERR_PICO_DEVICES, "version: %d is expected", TABLE_VERSION);
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > LIMIT_PICO_DEVICES)
        return err_set(err, ERR_PICO_DEVICES, "devices: a list of at most %d boards is expected",
                       LIMIT_PICO_DEVICES);
    t->v = arena_array(t->arena, n, sizeof *t->v);
    if (!t->v) return no_memory(err);
    for (; t->n < n; t->n++) {
        struct place p = place_in(NULL, err, "devices[%zu]", t->n);
        if (!parse_device(t->arena, &p, json_array_get(list, t->n), &t->v[t->n])) return false;
    }
    return true;
}

// The parser's message is "what is expected near 'what is there'": what is there may be a key that somebody
// put into the file, and the message is logged.
static bool refuse_json(const json_error_t *e, struct err *err)
{
    struct str text = str_c(e->text);
    text = str_take(text, str_search(text, STR(" near ")));
    return err_set(err, ERR_PICO_DEVICES, "line %d, column %d: no valid JSON: %.*s", e->line, e->column,
                   STR_FMT(text));
}

static bool parse_text(struct arena *trees, struct device_table *t, struct str text, struct err *err)
{
    json_error_t e = { 0 };
    bool out_of_memory;
    json_t *root = relay_json_read(trees, text, 0, &e, &out_of_memory);
    if (out_of_memory) return no_memory(err);
    if (!root) return refuse_json(&e, err);
    return parse_devices(t, root, err);
}

static bool fill(struct device_table *t, struct str text, struct err *err)
{
    struct arena *trees = arena_new_small(TREE_ARENA, TREE_ARENA);
    if (!trees) return no_memory(err);
    bool ok = text.n == 0 || parse_text(trees, t, text, err);
    arena_free(trees);
    if (arena_failed(t->arena)) return no_memory(err);
    return ok && names_unique(t, err) && ids_unique(t, err) && keys_unique(t, err);
}

bool device_table_parse(struct str text, struct device_table **ret, struct err *err)
{
    if (text.n > LIMIT_PICO_DEVICES_BYTES)
        return err_set(err, ERR_PICO_DEVICES, "%zu bytes; %d are accepted", text.n, LIMIT_PICO_DEVICES_BYTES);
    struct arena *a = arena_new(TABLE_ARENA);
    struct device_table *t = a ? arena_alloc(a, sizeof *t) : NULL;
    if (t) {
        t->arena = a;
        atomic_init(&t->refs, 1);
    }
    if (t ? fill(t, text, err) : no_memory(err)) {
        *ret = t;
        return true;
    }
    arena_free(a);
    return false;
}

// --- writing

static void put_functions(struct sbuf *b, struct arena *a, const struct device *d)
{
    sbuf_add_c(b, "      \"functions\": ");
    if (d->any_function) {
        sbuf_add_c(b, "\"*\",\n");
        return;
    }
    for (size_t i = 0; i < d->functions.n; i++) {
        sbuf_add_c(b, i ? ", " : "[");
        sbuf_add(b, encode_json(a, d->functions.v[i]));
    }
    sbuf_add_c(b, "],\n");
}

static void put_key(struct sbuf *b, struct arena *a, const struct device_key *k, bool last)
{
    struct str hex = encode_hex(a, (struct str){ (const char *)k->hash, sizeof k->hash });
    sbuf_addf(b, "        { \"sha256\": \"%.*s\", \"created\": %" PRId64, STR_FMT(hex), k->created);
    if (k->expires) sbuf_addf(b, ", \"expires\": %" PRId64, k->expires);
    sbuf_add_c(b, last ? " }\n" : " },\n");
}

static void put_device(struct sbuf *b, struct arena *a, const struct device *d, bool first)
{
    sbuf_add_c(b, first ? "\n    {\n" : ",\n    {\n");
    sbuf_addf(b, "      \"id\": \"%.*s\",\n      \"name\": \"%.*s\",\n      \"created\": %" PRId64 ",\n",
              STR_FMT(d->id), STR_FMT(d->name), d->created);
    put_functions(b, a, d);
    sbuf_add_c(b, "      \"keys\": [\n");
    for (size_t i = 0; i < d->nkeys; i++) put_key(b, a, &d->keys[i], i + 1 == d->nkeys);
    sbuf_add_c(b, "      ]\n    }");
}

struct str device_table_text(struct arena *a, const struct device *v, size_t n)
{
    struct sbuf b;
    struct device *sorted = arena_array(a, n, sizeof *sorted);
    if (!sorted) return STR_NONE;
    for (size_t i = 0; i < n; i++) sorted[i] = v[i];
    if (n) qsort(sorted, n, sizeof *sorted, by_name);
    sbuf_init(&b, a, LIMIT_PICO_DEVICES_BYTES);
    sbuf_addf(&b, "{\n  \"version\": %d,\n  \"devices\": [", TABLE_VERSION);
    for (size_t i = 0; i < n; i++) put_device(&b, a, &sorted[i], i == 0);
    sbuf_add_c(&b, n ? "\n  ]\n}\n" : "]\n}\n");
    return arena_failed(a) ? STR_NONE : sbuf_str(&b);
}
