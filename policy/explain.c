// SPDX-License-Identifier: GPL-3.0-or-later
// Decisions and requirements in words.
#include "policy/policy.h"

enum { TEXT_MAX = 8192, RULES_TOLD = 8 };

static const struct {
    const char *name, *text;
} reasons[REASON_COUNT] = {
    [REASON_NONE] = { "policy.none", "No decision was made." },
    [REASON_NO_ROUTE] = { "policy.no_route", "There is nothing at this address." },
    [REASON_NOT_LOGGED_IN] = { "policy.not_logged_in", "A sign-in is needed here." },
    [REASON_PROVIDER] = { "policy.provider",
                          "The account comes from a sign-in service that does not count here." },
    [REASON_DENY_RULE] = { "policy.deny_rule", "A rule refuses access." },
    [REASON_NO_RULE] = { "policy.no_rule", "No rule allows access." },
    [REASON_GROUPS_UNKNOWN] = { "policy.groups_unknown", "A rule asks for groups, and the sign-in service "
                                                         "did not say which groups the "
                                                         "account has." },
    [REASON_GROUPS_OVERAGE] = { "policy.groups_overage", "A rule asks for groups, and the sign-in service "
                                                         "left them out because the account "
                                                         "has too many." },
    [REASON_EMAIL_UNKNOWN] = { "policy.email_unknown", "A rule asks for an e-mail address, and the sign-in "
                                                       "service did not send a verified "
                                                       "one." },
    [REASON_ADDRESS_UNKNOWN] = { "policy.address_unknown",
                                 "A rule asks for the address of the request, which "
                                 "is not known." },
    [REASON_PUBLIC] = { "policy.public", "This page is open to everyone." },
    [REASON_ALLOW_RULE] = { "policy.allow_rule", "A rule allows access." },
};

const char *reason_name(enum reason r)
{
    return (unsigned)r < REASON_COUNT ? reasons[r].name : "policy.none";
}

const char *reason_text(enum reason r)
{
    return (unsigned)r < REASON_COUNT ? reasons[r].text : reasons[REASON_NONE].text;
}

static void add_list(struct sbuf *b, struct strlist l, const char *between)
{
    for (size_t i = 0; i < l.n; i++) {
        if (i) sbuf_add_c(b, between);
        sbuf_add(b, l.v[i]);
    }
}

// "and" before every condition but the first.
static void begin_condition(struct sbuf *b, bool *first)
{
    if (!*first) sbuf_add_c(b, " and ");
    *first = false;
}

static void add_condition(struct sbuf *b, bool *first, const char *intro, struct strlist values)
{
    if (values.n == 0) return;
    begin_condition(b, first);
    sbuf_add_c(b, intro);
    add_list(b, values, " or ");
}

static void add_claims(struct sbuf *b, bool *first, const struct rule *r)
{
    for (size_t i = 0; i < r->nclaims; i++) {
        begin_condition(b, first);
        sbuf_addf(b, "%.*s ", STR_FMT(r->claims[i].name));
        add_list(b, r->claims[i].values, " or ");
    }
}

static void add_scope_list(struct sbuf *b, const char **between, const char *intro, struct strlist values)
{
    if (values.n == 0) return;
    sbuf_addf(b, "%s%s", *between, intro);
    add_list(b, values, ", ");
    *between = " ";
}

static void add_scope(struct sbuf *b, const struct rule *r)
{
    const char *between = " (";
    add_scope_list(b, &between, "", r->methods);
    add_scope_list(b, &between, "under ", r->paths);
    add_scope_list(b, &between, "calling ", r->functions);
    add_scope_list(b, &between, "on ", r->devices);
    // How the networks are numbered is nobody else's business.
    if (r->addresses.n) {
        sbuf_addf(b, "%sfrom a listed address", between);
        between = " ";
    }
    if (between[1] == '\0') sbuf_add_c(b, ")");
}

static void add_rule(struct sbuf *b, const struct rule *r)
{
    bool first = true;
    add_condition(b, &first, r->groups.n == 1 ? "group " : "groups ", r->groups);
    if (r->emails.n) { // whose they are is nobody else's business
        begin_condition(b, &first);
        sbuf_add_c(b, "a listed e-mail address");
    }
    add_condition(b, &first, "an address at ", r->email_domains);
    add_condition(b, &first, "a sign-in with ", r->providers);
    add_claims(b, &first, r);
    if (first) sbuf_add_c(b, r->is_public ? "any visitor" : "any signed-in account");
    add_scope(b, r);
}

struct str policy_requirements(struct arena *a, const struct route *route)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    size_t told = 0;
    for (size_t i = 0; route->policy && i < route->policy->nrules; i++) {
        const struct rule *r = &route->policy->rules[i];
        if (!r->allow) continue;
        if (told) sbuf_add_c(&b, "; ");
        if (told++ == RULES_TOLD) {
            sbuf_add_c(&b, "or one of further rules");
            break;
        }
        add_rule(&b, r);
    }
    if (told == 0) sbuf_add_c(&b, "nobody is allowed here");
    return sbuf_str(&b);
}

static const char *verdict_text(enum verdict v)
{
    switch (v) {
    case VERDICT_ALLOW: return "allowed";
    case VERDICT_LOGIN: return "a login is needed";
    case VERDICT_STEP_UP: return "a stronger login is needed";
    case VERDICT_DENY: break;
    }
    return "denied";
}

static void add_place(struct sbuf *b, const struct decision *d)
{
    const struct route *route = d->route;
    sbuf_addf(b, "Route %.*s%.*s", STR_FMT(route->host), STR_FMT(route->path));
    if (route->line) sbuf_addf(b, " (line %u)", route->line);
    if (route->policy) sbuf_addf(b, ", policy %.*s", STR_FMT(route->policy->name));
    if (d->rule) sbuf_addf(b, ", rule %zu", d->rule_number);
    if (d->rule && d->rule->line) sbuf_addf(b, " (line %u)", d->rule->line);
    sbuf_add_c(b, ": ");
}

struct str decision_explain(struct arena *a, const struct decision *d)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    if (d->route) add_place(&b, d);
    sbuf_addf(&b, "%s. %s [%s]", verdict_text(d->verdict), reason_text(d->reason), reason_name(d->reason));
    if (d->route && d->verdict != VERDICT_ALLOW) {
        sbuf_add_c(&b, " The route asks for: ");
        sbuf_add(&b, policy_requirements(a, d->route));
        sbuf_add_c(&b, ".");
    }
    return sbuf_str(&b);
}
