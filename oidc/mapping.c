// SPDX-License-Identifier: GPL-3.0-or-later
// From the flat list of claims to the fields of an identity.
#include <string.h>

#include "oidc/claims.h"

static const struct claim *find_claim(const struct identity *id, struct str name)
{
    for (size_t i = 0; i < id->nclaims; i++)
        if (str_eq(id->claims[i].name, name)) return &id->claims[i];
    return NULL;
}

static struct str first_value(const struct identity *id, struct str name)
{
    const struct claim *c = find_claim(id, name);
    return c && c->values.n && c->values.v[0].n ? c->values.v[0] : STR_NONE;
}

struct str claims_first(const struct identity *id, struct strlist names)
{
    struct str value = STR_NONE;
    for (size_t i = 0; !value.p && i < names.n; i++) value = first_value(id, names.v[i]);
    return value;
}

// Exactly one '@' with something on both sides and no spaces: `a@evil.com@corp.com` must belong to no domain
// at all.
static bool email_is_sound(struct str email)
{
    size_t at = str_find(email, '@');
    if (at == 0 || at + 1 >= email.n || email.n > 254) return false;
    struct str domain = str_skip(email, at + 1);
    return str_find(domain, '@') == domain.n && str_find(email, ' ') == email.n;
}

static bool map_email(struct arena *a, const struct claim_mapping *m, bool trust, struct identity *id,
                      struct err *err)
{
    struct str raw = claims_first(id, m->email);
    id->email = STR_NONE;
    id->email_verified = false;
    if (!raw.p) return true;
    if (!email_is_sound(raw)) return err_set(err, ERR_OIDC_CLAIM, "the e-mail claim is not one address");
    char *p = arena_alloc(a, raw.n + 1);
    if (!p) return err_set(err, ERR_NO_MEMORY, "reading claims");
    size_t at = str_find(raw, '@');
    for (size_t i = 0; i < raw.n; i++) p[i] = i < at ? raw.p[i] : ascii_lower(raw.p[i]);
    id->email = (struct str){ p, raw.n };
    // OIDC 5.1: email_verified speaks of the claim `email`, not of any other that holds an address.
    // An operator may trust a provider that never sends it; a "no" from the provider stays a "no".
    struct str said = first_value(id, STR("email_verified"));
    bool vouched = str_eq(raw, first_value(id, STR("email"))) && str_eq_c(said, "true");
    id->email_verified = vouched || (trust && !str_eq_c(said, "false"));
    return true;
}

static void map_groups(const struct claim_mapping *m, struct identity *id)
{
    const struct claim *c = NULL;
    for (size_t i = 0; !c && i < m->groups.n; i++) c = find_claim(id, m->groups.v[i]);
    id->groups_known = c != NULL;
    id->groups = c ? c->values : (struct strlist){ NULL, 0 };
    if (c) id->groups_overage = false;
}

bool claims_map(struct arena *a, const struct claim_mapping *m, bool trust_email, struct identity *id,
                struct err *err)
{
    if (!map_email(a, m, trust_email, id, err)) return false;
    id->username = claims_first(id, m->username);
    id->name = claims_first(id, m->name);
    id->sid = first_value(id, STR("sid"));
    map_groups(m, id);
    return true;
}
