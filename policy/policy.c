// SPDX-License-Identifier: GPL-3.0-or-later
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

static struct rule everyone[] = { { .allow = true, .is_public = true } };
const struct policy policy_public = { STR_INIT("public"), everyone, 1 };

// --- routes

bool path_has_prefix(struct str path, struct str prefix)
{
    if (prefix.n == 0 || prefix.p[0] != '/') return false;
    // "/admin/" means "/admin": a deny rule must not miss the folder itself.
    while (prefix.n && prefix.p[prefix.n - 1] == '/') prefix.n--;
    if (prefix.n == 0) return path.n && path.p[0] == '/';
    return str_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

static int route_cmp(const void *va, const void *vb)
{
    const struct route *a = va, *b = vb;
    int by_host = str_cmp(a->host, b->host);
    if (by_host != 0) return by_host;
    if (a->path.n != b->path.n) return a->path.n > b->path.n ? -1 : 1;
    return str_cmp(a->path, b->path);
}

void route_table_sort(struct route_table *t)
{
    if (t->n > 1) qsort(t->v, t->n, sizeof *t->v, route_cmp);
}

// Index of the first route whose host is not before `host`.
static size_t first_of_host(const struct route_table *t, struct str host)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(t->v[middle].host, host) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct route *route_match(const struct route_table *t, struct str host, struct str path)
{
    for (size_t i = first_of_host(t, host); i < t->n && str_eq(t->v[i].host, host); i++)
        if (path_has_prefix(path, t->v[i].path)) return &t->v[i];
    return NULL;
}

bool route_has_host(const struct route_table *t, struct str host)
{
    size_t i = first_of_host(t, host);
    return i < t->n && str_eq(t->v[i].host, host);
}

// --- conditions

// What a condition says about somebody. UNKNOWN: the provider did not send the fact.
enum answer { NO, YES, UNKNOWN };

static bool any_in(struct strlist values, struct strlist wanted)
{
    for (size_t i = 0; i < values.n; i++)
        if (strlist_has(wanted, values.v[i])) return true;
    return false;
}

static bool has_nocase(struct strlist list, struct str s)
{
    for (size_t i = 0; i < list.n; i++)
        if (str_eq_nocase(list.v[i], s)) return true;
    return false;
}

static bool method_applies(const struct rule *r, struct str method)
{
    if (r->methods.n == 0) return true;
    // Methods are case-sensitive (RFC 9110 9.1), but backends exist that run `get` as GET: a deny rule holds
    // for both.
    return r->allow ? strlist_has(r->methods, method) : has_nocase(r->methods, method);
}

static bool path_applies(const struct rule *r, struct str path)
{
    for (size_t i = 0; i < r->paths.n; i++)
        if (path_has_prefix(path, r->paths.v[i])) return true;
    return r->paths.n == 0;
}

// Names are compared as they are: boards may offer `flash` and `Flash`, and these are two functions.
static bool call_applies(const struct rule *r, const struct policy_request *request)
{
    if (r->devices.n == 0 && r->functions.n == 0) return true;
    if (!request->device.n || !request->function.n) return false;
    return (r->devices.n == 0 || strlist_has(r->devices, request->device)) &&
           (r->functions.n == 0 || strlist_has(r->functions, request->function));
}

// NO outweighs UNKNOWN outweighs YES.
static enum answer request_met(const struct rule *r, const struct policy_request *request)
{
    static const struct ip_address unknown;
    if (!method_applies(r, request->method) || !path_applies(r, request->path) || !call_applies(r, request))
        return NO;
    if (r->addresses.n == 0) return YES;
    if (memcmp(request->address.b, unknown.b, sizeof unknown.b) == 0) return UNKNOWN;
    return ip_networks_have(&r->addresses, &request->address) ? YES : NO;
}

static bool asks_for_person(const struct rule *r)
{
    return r->groups.n || r->emails.n || r->email_domains.n || r->providers.n || r->nclaims;
}

static enum answer groups_met(const struct rule *r, const struct identity *id)
{
    if (r->groups.n == 0) return YES;
    if (!id->groups_known || id->groups_overage) return UNKNOWN;
    return any_in(id->groups, r->groups) ? YES : NO;
}

static enum answer emails_met(const struct rule *r, const struct identity *id)
{
    if (r->emails.n == 0 && r->email_domains.n == 0) return YES;
    struct str domain = email_domain(id->email);
    if (!id->email_verified || !domain.p) return UNKNOWN;
    if (r->emails.n && !has_nocase(r->emails, id->email)) return NO;
    return r->email_domains.n && !has_nocase(r->email_domains, domain) ? NO : YES;
}

static bool claims_met(const struct rule *r, const struct identity *id)
{
    for (size_t i = 0; i < r->nclaims; i++)
        if (!any_in(identity_claim(id, r->claims[i].name), r->claims[i].values)) return false;
    return true;
}

static bool provider_met(const struct rule *r, const struct identity *id)
{
    return r->providers.n == 0 || strlist_has(r->providers, id->provider);
}

// NO outweighs UNKNOWN outweighs YES; *ret_reason says which fact is missing when UNKNOWN.
static enum answer person_met(const struct rule *r, const struct identity *id, enum reason *ret_reason)
{
    enum answer groups = groups_met(r, id), emails = emails_met(r, id);
    if (!provider_met(r, id) || !claims_met(r, id) || groups == NO || emails == NO) return NO;
    if (groups == UNKNOWN) {
        *ret_reason = id->groups_overage ? REASON_GROUPS_OVERAGE : REASON_GROUPS_UNKNOWN;
        return UNKNOWN;
    }
    if (emails == UNKNOWN) {
        *ret_reason = REASON_EMAIL_UNKNOWN;
        return UNKNOWN;
    }
    return YES;
}

// --- decisions

static struct decision decided(const struct route *route, enum verdict verdict, enum reason reason,
                               const struct rule *rule)
{
    size_t number = rule ? (size_t)(rule - route->policy->rules) + 1 : 0;
    return (struct decision){ verdict, reason, route, rule, number };
}

static struct decision decide_anonymous(const struct route *route, const struct policy_request *request)
{
    const struct rule *login = NULL; // the first allow rule that a login might meet
    struct decision missing = decided(route, VERDICT_DENY, REASON_NO_RULE, NULL);
    for (size_t i = 0; i < route->policy->nrules; i++) {
        const struct rule *r = &route->policy->rules[i];
        enum answer request_fits = request_met(r, request);
        if (request_fits == NO) continue;
        bool person = asks_for_person(r), unknown = request_fits == UNKNOWN;
        if (r->allow && unknown) {
            if (!missing.rule) missing = decided(route, VERDICT_DENY, REASON_ADDRESS_UNKNOWN, r);
            continue;
        }
        if (r->allow && r->is_public && !person) return decided(route, VERDICT_ALLOW, REASON_PUBLIC, r);
        if (!r->allow && !login && !person)
            return decided(route, VERDICT_DENY, unknown ? REASON_ADDRESS_UNKNOWN : REASON_DENY_RULE, r);
        if (!login) login = r;
        if (!r->allow) break; // whether this rule denies depends on who it is, so nothing behind it may allow
    }
    return login ? decided(route, VERDICT_LOGIN, REASON_NOT_LOGGED_IN, login) : missing;
}

// Both kinds of conditions together; *ret_reason says which fact is missing when UNKNOWN.
static enum answer rule_met(const struct rule *r, const struct identity *id,
                            const struct policy_request *request, enum reason *ret_reason)
{
    enum answer request_fits = request_met(r, request);
    if (request_fits == NO) return NO;
    enum answer person = person_met(r, id, ret_reason);
    if (person == YES && request_fits == UNKNOWN) *ret_reason = REASON_ADDRESS_UNKNOWN;
    return person == YES ? request_fits : person;
}

static struct decision decide_person(const struct route *route, const struct identity *id,
                                     const struct policy_request *request)
{
    struct decision missing = decided(route, VERDICT_DENY, REASON_NO_RULE, NULL);
    for (size_t i = 0; i < route->policy->nrules; i++) {
        const struct rule *r = &route->policy->rules[i];
        enum reason unknown = REASON_NONE;
        enum answer met = rule_met(r, id, request, &unknown);
        if (met == NO) continue;
        if (met == UNKNOWN && r->allow) {
            if (!missing.rule) missing = decided(route, VERDICT_DENY, unknown, r);
            continue;
        }
        if (!r->allow) return decided(route, VERDICT_DENY, met == YES ? REASON_DENY_RULE : unknown, r);
        return decided(route, VERDICT_ALLOW, r->is_public ? REASON_PUBLIC : REASON_ALLOW_RULE, r);
    }
    return missing;
}

bool route_takes_provider(const struct route *route, struct str provider)
{
    return route->providers.n == 0 || strlist_has(route->providers, provider);
}

struct decision policy_decide(const struct route *route, const struct identity *id,
                              const struct policy_request *request)
{
    if (!route) return (struct decision){ .verdict = VERDICT_DENY, .reason = REASON_NO_ROUTE };
    if (!route->policy)
        return (struct decision){ .verdict = VERDICT_DENY, .reason = REASON_NO_RULE, .route = route };
    if (!id) return decide_anonymous(route, request);
    if (route_takes_provider(route, id->provider)) return decide_person(route, id, request);
    // This login does not count here, so the visitor is nobody; but they should hear why they are asked
    // again.
    struct decision d = decide_anonymous(route, request);
    if (d.verdict == VERDICT_LOGIN) d.reason = REASON_PROVIDER;
    return d;
}
