// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/claims.h"

#include <inttypes.h>

#include "base/limits.h"
#include "oidc/json.h"

enum { CLAIM_NAME_MAX_BYTES = 256 };

static struct str default_subject[] = { STR_INIT("sub") };
static struct str default_email[] = { STR_INIT("email") };
static struct str default_username[] = { STR_INIT("preferred_username") };
static struct str default_name[] = { STR_INIT("name") };
static struct str default_groups[] = { STR_INIT("groups") };

struct claim_mapping claims_mapping(const struct claim_mapping *m)
{
    struct claim_mapping full = *m;
    if (!full.subject.n) full.subject = (struct strlist){ default_subject, 1 };
    if (!full.email.n) full.email = (struct strlist){ default_email, 1 };
    if (!full.username.n) full.username = (struct strlist){ default_username, 1 };
    if (!full.name.n) full.name = (struct strlist){ default_name, 1 };
    if (!full.groups.n) full.groups = (struct strlist){ default_groups, 1 };
    return full;
}

static bool is_any_of(struct str name, const char *const *names)
{
    for (; *names; names++)
        if (str_eq_c(name, *names)) return true;
    return false;
}

// The token's own business, of no use to policies or apps.
static bool is_protocol_claim(struct str name)
{
    static const char *const names[] = { "nonce", "at_hash", "c_hash",       "s_hash",         "exp", "iat",
                                         "nbf",   "jti",     "_claim_names", "_claim_sources", NULL };
    return is_any_of(name, names);
}

// Userinfo is not signed and says nothing about how somebody logged in: these come from the ID token alone.
static bool is_id_token_claim(struct str name)
{
    static const char *const names[] = { "iss", "aud", "azp", "sid", "acr", "amr", "auth_time", "sub", NULL };
    return is_any_of(name, names);
}

// Members that make somebody who they are: a value that cannot be shown fails the login instead of vanishing.
static bool must_be_printable(struct str name, const struct claim_mapping *m)
{
    return str_eq_c(name, "email") || strlist_has(m->subject, name) || strlist_has(m->email, name);
}

struct reader {
    struct arena *arena;
    const struct claim_mapping *mapping;
    size_t values;
    struct claims out;
};

// One value in text. *ret stays absent for what has no place in an identity: null, objects, arrays,
// unprintable text.
static bool scalar_text(struct reader *r, struct str name, const json_t *value, struct str *ret,
                        struct err *err)
{
    char buf[64];
    if (json_is_string(value)) {
        struct str text = oidc_json_str(value);
        if (str_is_utf8(text, true))
            *ret = text;
        else if (must_be_printable(name, r->mapping))
            return err_set(err, ERR_OIDC_CLAIM, "claim '%.*s' has control characters", STR_FMT(name));
    } else if (json_is_boolean(value)) {
        *ret = json_is_true(value) ? STR("true") : STR("false");
    } else if (json_is_integer(value)) {
        *ret = arena_printf(r->arena, "%" PRId64, (int64_t)json_integer_value(value));
    } else if (json_is_real(value)) {
        size_t n = json_dumpb(value, buf, sizeof buf, JSON_ENCODE_ANY);
        if (n == 0) return err_set(err, ERR_NO_MEMORY, "writing a number");
        if (n <= sizeof buf) *ret = arena_str(r->arena, (struct str){ buf, n });
    }
    return true;
}

static bool add_value(struct reader *r, struct claim *c, const json_t *value, struct err *err)
{
    struct str text = STR_NONE;
    if (!scalar_text(r, c->name, value, &text, err)) return false;
    if (!text.p) return true;
    if (r->values == LIMIT_ATTRIBUTE_VALUES)
        return err_set(err, ERR_OIDC_CLAIM, "more than %d values of claims", LIMIT_ATTRIBUTE_VALUES);
    r->values++;
    c->values.v[c->values.n++] = text;
    return true;
}

static bool add_claim(struct reader *r, struct str name, const json_t *value, struct err *err)
{
    // Anything but the JSON value true is a "no" (OIDC 5.1): a string "true" as well, and null.
    if (str_eq_c(name, "email_verified") && !json_is_true(value)) value = json_false();
    if (json_is_object(value) || json_is_null(value)) return true;
    if (name.n == 0 || name.n > CLAIM_NAME_MAX_BYTES || !str_is_utf8(name, true)) return true;
    // Leaving claims out silently could leave out the one that a rule denies.
    if (r->out.n == LIMIT_ATTRIBUTES)
        return err_set(err, ERR_OIDC_CLAIM, "more than %d claims", LIMIT_ATTRIBUTES);
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    struct claim *c = &r->out.v[r->out.n++];
    *c = (struct claim){ name, { arena_array(r->arena, n, sizeof(struct str)), 0 } };
    if (!c->values.v) return err_set(err, ERR_NO_MEMORY, "reading claims");
    if (!json_is_array(value)) return add_value(r, c, value, err);
    for (size_t i = 0; i < n; i++)
        if (!add_value(r, c, json_array_get(value, i), err)) return false;
    return true;
}

static bool add_members(struct reader *r, const json_t *object, enum claims_source source, struct err *err)
{
    for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i)) {
        struct str name = { json_object_iter_key(i), json_object_iter_key_len(i) };
        if (is_protocol_claim(name) || (source == CLAIMS_USERINFO && is_id_token_claim(name))) continue;
        if (!add_claim(r, name, json_object_iter_value(i), err)) return false;
    }
    return true;
}

// The value that `path` leads to, where a dot goes one object deeper. Names in the path may hold dots
// themselves, so every split is tried; each node of the tree is seen at most once.
static const json_t *nested_value(const json_t *object, struct str path)
{
    const json_t *hit = path.n ? json_object_getn(object, path.p, path.n) : NULL;
    for (size_t i = 1; !hit && i < path.n; i++) {
        if (path.p[i] != '.') continue;
        const json_t *inner = json_object_getn(object, path.p, i);
        if (json_is_object(inner)) hit = nested_value(inner, str_skip(path, i + 1));
    }
    return hit;
}

static bool claim_exists(const struct claims *c, struct str name)
{
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->v[i].name, name)) return true;
    return false;
}

static bool add_nested(struct reader *r, const json_t *object, struct strlist names, struct err *err)
{
    for (size_t i = 0; i < names.n; i++) {
        struct str name = names.v[i];
        if (str_find(name, '.') == name.n || claim_exists(&r->out, name)) continue;
        if (str_starts(name, STR("_claim_"))) continue;
        const json_t *value = nested_value(object, name);
        if (value && !add_claim(r, name, value, err)) return false;
    }
    return true;
}

// OIDC 5.6.2: distributed claims. Entra ID moves the groups of people with very many of them there
// ("overage"), or says `hasgroups`.
static bool groups_are_elsewhere(const json_t *object, struct strlist names)
{
    const json_t *elsewhere = json_object_get(object, "_claim_names");
    if (json_is_true(json_object_get(object, "hasgroups"))) return true;
    for (size_t i = 0; i < names.n; i++)
        if (json_object_getn(elsewhere, names.v[i].p, names.v[i].n)) return true;
    return false;
}

bool claims_from_json(struct arena *a, const json_t *object, const struct claim_mapping *m,
                      enum claims_source source, struct claims *ret, struct err *err)
{
    struct reader r = { .arena = a, .mapping = m };
    r.out.v = arena_array(a, LIMIT_ATTRIBUTES, sizeof *r.out.v);
    if (!r.out.v) return err_set(err, ERR_NO_MEMORY, "reading claims");
    const struct strlist lists[] = { m->subject, m->email, m->username, m->name, m->groups };
    if (!add_members(&r, object, source, err)) return false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!add_nested(&r, object, lists[i], err)) return false;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading claims");
    r.out.groups_overage = groups_are_elsewhere(object, m->groups);
    *ret = r.out;
    return true;
}
