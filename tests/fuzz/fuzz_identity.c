// SPDX-License-Identifier: GPL-3.0-or-later
// The input is an identity as bytes, from a record or from a verifier. What decodes must come out the same
// after another round, and keeps the promises of policy/identity.h.
#include <assert.h>

#include "base/limits.h"
#include "policy/policy.h"

static void check_text(struct str s)
{
    assert(str_is_utf8(s, true));
}

static void check_promises(const struct identity *id)
{
    assert(id->subject.n && id->provider.n);
    assert(!id->email.p || email_domain(id->email).n);
    assert(id->nclaims <= LIMIT_ATTRIBUTES);
    check_text(identity_label(id));
    size_t values = id->groups.n;
    for (size_t i = 0; i < id->groups.n; i++) check_text(id->groups.v[i]);
    for (size_t i = 0; i < id->nclaims; i++) {
        check_text(id->claims[i].name);
        values += id->claims[i].values.n;
    }
    assert(values <= LIMIT_ATTRIBUTE_VALUES);
}

static void check_round_trip(struct arena *a, const struct identity *id)
{
    struct identity again;
    struct err err = { 0 };
    struct str once = identity_encode(a, id);
    if (!once.p) return; // larger than a record may be
    assert(identity_decode(a, once, &again, &err));
    assert(str_eq(once, identity_encode(a, &again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity id;
    struct err err = { 0 };
    struct arena *a = arena_new(16 << 20);
    if (!a) return 0;
    bool ok = identity_decode(a, (struct str){ (const char *)data, size }, &id, &err);
    assert(ok == (err.code == ERR_NONE));
    if (ok) {
        check_promises(&id);
        check_round_trip(a, &id);
        struct str wanted[] = { STR_INIT("staff") };
        struct rule rule = { .allow = true, .groups = { wanted, 1 } };
        struct policy policy = { STR("p"), &rule, 1 };
        struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy };
        bool member = id.groups_known && !id.groups_overage && strlist_has(id.groups, wanted[0]);
        struct policy_request request = { STR("GET"), STR("/"), { { 0 } } };
        struct decision d = policy_decide(&route, &id, &request);
        assert((d.verdict == VERDICT_ALLOW) == member);
    }
    arena_free(a);
    return 0;
}
