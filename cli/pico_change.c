// SPDX-License-Identifier: GPL-3.0-or-later
#include <string.h>

#include "base/encode.h"
#include "cli/pico.h"
#include "gateway/config/parse.h"

#define KEY_PREFIX "sp-pico-"

bool pico_key_make(char ret_key[PICO_KEY_BYTES], uint8_t ret_hash[SHA256_BYTES], struct err *err)
{
    uint8_t random[DEVICE_KEY_RANDOM];
    struct arena *a = arena_new(1024);
    bool ok = a && crypto_random(random, sizeof random);
    struct str text =
        ok ? encode_base64url(a, (struct str){ (const char *)random, sizeof random }) : STR_NONE;
    ok = text.n == PICO_KEY_BYTES - sizeof KEY_PREFIX;
    if (ok) {
        memcpy(ret_key, KEY_PREFIX, sizeof KEY_PREFIX - 1);
        memcpy(ret_key + sizeof KEY_PREFIX - 1, text.p, text.n + 1);
        ok = crypto_sha256(str_c(ret_key), ret_hash);
        crypto_cleanse((void *)text.p, text.n);
    }
    crypto_cleanse(random, sizeof random);
    arena_free(a);
    return ok || err_set(err, ERR_INTERNAL, "no key could be made");
}

// --- arguments

bool pico_name_check(const char *name, struct err *err)
{
    if (device_name_valid(str_c(name))) return true;
    return err_set(err, ERR_PICO_DEVICES,
                   "%s: a board's name has 1 to %d of a-z, 0-9 and -, does not begin with -, and is not any, "
                   "events or assets",
                   name, DEVICE_NAME_BYTES);
}

static bool add_function(struct str name, struct pico_change *c, struct err *err)
{
    if (str_eq_c(name, "*")) return err_set(err, ERR_PICO_DEVICES, "* stands alone: any function");
    if (!function_name_valid(name))
        return err_set(
            err, ERR_PICO_DEVICES,
            "\"%.*s\": a function's name has 1 to %d bytes without : / \\ %% and ;, and does not begin with "
            "anvil.",
            STR_FMT(str_take(name, name.n < 64 ? name.n : 64)), FUNCTION_NAME_BYTES);
    if (strlist_has(c->functions, name))
        return err_set(err, ERR_PICO_DEVICES, "%.*s is there twice", STR_FMT(name));
    if (c->functions.n == LIMIT_PICO_FUNCTIONS)
        return err_set(err, ERR_PICO_DEVICES, "a board has at most %d functions", LIMIT_PICO_FUNCTIONS);
    c->functions.v[c->functions.n++] = name;
    return true;
}

bool pico_functions_parse(struct arena *a, const char *text, struct pico_change *ret, struct err *err)
{
    struct str rest = str_c(text), name;
    ret->any_function = strcmp(text, "*") == 0;
    ret->functions = (struct strlist){ arena_array(a, LIMIT_PICO_FUNCTIONS, sizeof *ret->functions.v), 0 };
    if (!ret->functions.v) return err_set(err, ERR_NO_MEMORY, "the functions");
    if (ret->any_function) return true;
    while (str_cut(&rest, ',', &name))
        if (!add_function(str_trim(name), ret, err)) return false;
    return true;
}

// As the configuration has durations.
bool pico_grace_parse(struct arena *a, const char *text, int64_t *ret, struct err *err)
{
    static const struct option option = { "--grace", OPTION_DURATION, .min = 1, .max = PICO_GRACE_MAX };
    struct config_errors *errors = arena_alloc(a, sizeof *errors);
    struct loader l = { .scratch = a, .errors_arena = a, .errors = errors };
    struct yaml_node node = { .kind = YAML_SCALAR, .text = str_c(text) };
    if (!errors) return err_set(err, ERR_NO_MEMORY, "--grace");
    config_value(&l, &node, &option, ret);
    return errors->n == 0 || err_set(err, ERR_CONFIG, "--grace: %.*s", STR_FMT(errors->v[0].message));
}

// --- the list

static struct device *find(const struct device_list *l, struct str name)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->v[i].name, name)) return &l->v[i];
    return NULL;
}

static bool unknown(const struct device_list *l, struct str name, struct err *err)
{
    struct strlist names = { arena_array(l->arena, l->n, sizeof *names.v), 0 };
    struct loader loader = { .scratch = l->arena };
    for (size_t i = 0; names.v && i < l->n; i++) names.v[names.n++] = l->v[i].name;
    if (l->n == 0)
        return err_set(err, ERR_PICO_UNKNOWN, "there is no board %.*s, nor any other", STR_FMT(name));
    return err_set(err, ERR_PICO_UNKNOWN, "there is no board %.*s%s", STR_FMT(name),
                   config_nearest(&loader, name, &names));
}

static bool taken(const struct device_list *l, struct str name, struct err *err)
{
    if (!find(l, name)) return false;
    err_set(err, ERR_PICO_DEVICES, "there is a board %.*s already", STR_FMT(name));
    return true;
}

static void set_key(struct device_key *k, const struct pico_change *c)
{
    *k = (struct device_key){ .created = c->now };
    memcpy(k->hash, c->key_hash, sizeof k->hash);
}

static struct str new_id(struct arena *a)
{
    uint8_t random[DEVICE_ID_DIGITS / 2];
    if (!crypto_random(random, sizeof random)) return STR_NONE;
    return encode_hex(a, (struct str){ (const char *)random, sizeof random });
}

bool pico_change_add(void *change, struct device_list *l, struct err *err)
{
    struct pico_change *c = change;
    if (taken(l, c->name, err)) return false;
    if (l->n >= LIMIT_PICO_DEVICES)
        return err_set(err, ERR_PICO_DEVICES, "there are %d boards, and may not be more", LIMIT_PICO_DEVICES);
    struct device *v = arena_array(l->arena, l->n + 1, sizeof *v);
    struct str id = new_id(l->arena);
    if (!v || !id.p) return err_set(err, ERR_NO_MEMORY, "the list of boards");
    if (l->n) memcpy(v, l->v, l->n * sizeof *v);
    v[l->n] = (struct device){ id, c->name, c->now, c->any_function, c->functions, .nkeys = 1 };
    set_key(&v[l->n].keys[0], c);
    l->v = v;
    l->n++;
    return true;
}

// The valid key that is younger: the one that the board should have by now. NULL: none is valid.
static const struct device_key *current_key(const struct device *d, int64_t now)
{
    const struct device_key *found = NULL;
    for (size_t i = 0; i < d->nkeys; i++) {
        const struct device_key *k = &d->keys[i];
        if (k->expires && k->expires <= now) continue;
        if (!found || (found->expires && !k->expires) ||
            (!found->expires == !k->expires && k->created > found->created))
            found = k;
    }
    return found;
}

static void note_older(struct pico_change *c, const struct device *d, const struct device_key *kept)
{
    for (size_t i = 0; i < d->nkeys; i++)
        if (&d->keys[i] != kept && d->keys[i].expires > c->now) c->older_until = d->keys[i].expires;
}

bool pico_change_rotate(void *change, struct device_list *l, struct err *err)
{
    struct pico_change *c = change;
    struct device *d = find(l, c->name);
    if (!d) return unknown(l, c->name, err);
    const struct device_key *current = current_key(d, c->now);
    note_older(c, d, current);
    struct device_key old = { 0 };
    if (current && c->grace) old = *current;
    set_key(&d->keys[0], c);
    d->nkeys = 1;
    if (!old.created) return true;
    if (!old.expires || old.expires > c->now + c->grace) old.expires = c->now + c->grace;
    c->old_until = old.expires;
    d->keys[d->nkeys++] = old;
    return true;
}

bool pico_change_revoke(void *change, struct device_list *l, struct err *err)
{
    struct pico_change *c = change;
    struct device *d = find(l, c->name);
    if (!d) return unknown(l, c->name, err);
    *d = l->v[--l->n]; // the order is the writer's
    return true;
}

bool pico_change_rename(void *change, struct device_list *l, struct err *err)
{
    struct pico_change *c = change;
    struct device *d = find(l, c->name);
    if (!d) return unknown(l, c->name, err);
    if (taken(l, c->new_name, err)) return false;
    d->name = c->new_name;
    return true;
}

bool pico_change_functions(void *change, struct device_list *l, struct err *err)
{
    struct pico_change *c = change;
    struct device *d = find(l, c->name);
    if (!d) return unknown(l, c->name, err);
    d->any_function = c->any_function;
    d->functions = c->functions;
    return true;
}
