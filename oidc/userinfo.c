// SPDX-License-Identifier: GPL-3.0-or-later
// Userinfo adds to what the ID token said and never changes it.
#include "base/limits.h"
#include "oidc/claims.h"
#include "oidc/json.h"
#include "oidc/oidc.h"

static const struct claim *find(const struct claim *v, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_c(v[i].name, name)) return &v[i];
    return NULL;
}

static struct str value_of(const struct claim *v, size_t n, const char *name)
{
    const struct claim *c = find(v, n, name);
    return c && c->values.n ? c->values.v[0] : STR_NONE;
}

// OIDC 5.3.4: "The sub Claim in the UserInfo Response MUST be verified to exactly match the sub Claim in the
// ID Token; if they do not match, the UserInfo Response values MUST NOT be used." (token substitution,
// section 16.11)
static bool check_same_subject(const json_t *answer, const struct identity *id, struct err *err)
{
    struct str sub = oidc_json_member(answer, "sub"), want = value_of(id->claims, id->nclaims, "sub");
    if (want.n && str_eq(sub, want)) return true;
    return err_set(err, ERR_OIDC_USERINFO,
                   sub.p ? "sub is another one than in the ID token" : "there is no sub");
}

// `email_verified` belongs to the address it came with. It may cross from one answer to the other only when
// both name the same address; otherwise the word for one address would vouch for another.
static bool pair_matches(const struct identity *id, const struct claims *more)
{
    struct str ours = value_of(id->claims, id->nclaims, "email"),
               theirs = value_of(more->v, more->n, "email");
    return ours.p ? str_eq(ours, theirs) : theirs.p != NULL;
}

static bool keep_ours(const struct claim *c, bool theirs_names_email, const struct identity *id)
{
    bool orphan = str_eq_c(c->name, "email_verified") && !find(id->claims, id->nclaims, "email");
    return !(orphan && theirs_names_email);
}

static bool merge(struct arena *a, const struct claims *more, struct identity *id, struct err *err)
{
    struct claim *v = arena_array(a, id->nclaims + more->n, sizeof *v);
    bool pair = pair_matches(id, more);
    size_t n = 0;
    if (!v) return err_set(err, ERR_NO_MEMORY, "merging claims");
    for (size_t i = 0; i < id->nclaims; i++)
        if (keep_ours(&id->claims[i], pair, id)) v[n++] = id->claims[i];
    size_t own = n;
    for (size_t i = 0; i < more->n; i++) {
        bool taken = false;
        for (size_t k = 0; !taken && k < own; k++) taken = str_eq(v[k].name, more->v[i].name);
        bool foreign = str_eq_c(more->v[i].name, "email_verified") && !pair;
        if (!taken && !foreign) v[n++] = more->v[i];
    }
    if (n > LIMIT_ATTRIBUTES) return err_set(err, ERR_OIDC_CLAIM, "more than %d claims", LIMIT_ATTRIBUTES);
    id->claims = v;
    id->nclaims = n;
    return true;
}

bool oidc_userinfo_merge(struct arena *a, const struct oidc_client *client, struct str json,
                         struct identity *id, struct err *err)
{
    json_t *answer;
    struct claims more;
    struct identity merged = *id;
    struct claim_mapping m = claims_mapping(&client->mapping);
    if (!oidc_json_object(a, json, LIMIT_JSON_BYTES, ERR_OIDC_USERINFO, &answer, err) ||
        !check_same_subject(answer, id, err) ||
        !claims_from_json(a, answer, &m, CLAIMS_USERINFO, &more, err) || !merge(a, &more, &merged, err))
        return false;
    merged.groups_overage |= more.groups_overage;
    if (!claims_map(a, &m, client->trust_email, &merged, err)) return false;
    *id = merged;
    return true;
}
