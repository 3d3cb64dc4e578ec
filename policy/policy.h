// SPDX-License-Identifier: GPL-3.0-or-later
// Decides who may reach what: routes, rules, decisions with their reasons. Pure: the same arguments give the
// same answer. The zero value of `enum verdict` is DENY: forgotten, unknown and failed are refusals.
#pragma once

#include "base/ip.h"
#include "policy/identity.h"

enum verdict {
    VERDICT_DENY = 0,
    VERDICT_LOGIN = 1,
    VERDICT_STEP_UP = 2,
    VERDICT_ALLOW = 0x5A
}; // only ALLOW forwards

struct claim_condition {
    struct str name;
    struct strlist values; // any of these
};

// A rule applies when every kind of condition it names is met; within one kind, any of the values is enough.
struct rule {
    bool allow;     // else deny
    bool is_public; // allow rules only: also for visitors who are not logged in
    struct strlist groups, emails, email_domains, providers;
    struct claim_condition *claims; // each of them must be met
    size_t nclaims;
    struct strlist methods; // allow: compared exactly; deny: ignoring case, so that `get` does not slip past
    struct strlist
        paths; // prefixes at segment boundaries ("/admin" covers "/admin" and "/admin/x", not "/administer")
    struct strlist devices, functions; // of calls of boards, compared exactly; other requests never meet them
    struct ip_networks addresses; // of the client; an unknown one never allows, and denies where a rule would
    unsigned line;                // where the rule stands in the configuration, for explanations
};

struct policy {
    struct str name;
    struct rule *rules; // the first rule that applies decides; none: denied
    size_t nrules;
};

// What the gateway keeps beside a route; policy/ only carries the pointer.
struct route_target;

struct route {
    struct str host; // canonical
    struct str path; // prefix at segment boundaries, begins with '/'
    const struct policy *policy;
    struct strlist providers; // keys of the providers whose logins count here; empty: all
    struct route_target *target;
    unsigned line;
};

struct route_table {
    struct route *v; // sorted by host, then longest path first: made by route_table_sort
    size_t n;
};

void route_table_sort(struct route_table *t);
// The route for a canonical host and path; NULL when there is none. The longest matching prefix wins.
const struct route *route_match(const struct route_table *t, struct str host, struct str path);
// Whether any route has this (canonical) host.
bool route_has_host(const struct route_table *t, struct str host);
// Whether logins at `provider` count on this route. Where one does not, the visitor is nobody: neither a
// decision nor the application may hear of that identity.
bool route_takes_provider(const struct route *route, struct str provider);
// `path` lies under `prefix` at a segment boundary.
bool path_has_prefix(struct str path, struct str prefix);

enum reason {
    REASON_NONE = 0,
    REASON_NO_ROUTE, // nothing is configured at this address
    REASON_NOT_LOGGED_IN,
    REASON_PROVIDER,        // logged in with a provider that does not count here
    REASON_DENY_RULE,       // a deny rule applied
    REASON_NO_RULE,         // no rule applied
    REASON_GROUPS_UNKNOWN,  // a rule asks for groups and the provider sent none
    REASON_GROUPS_OVERAGE,  // Entra ID left the groups out
    REASON_EMAIL_UNKNOWN,   // a rule asks for an e-mail address and the provider sent no verified one
    REASON_ADDRESS_UNKNOWN, // a rule asks for the client's address and nobody knows it
    REASON_PUBLIC,          // allowed to everyone
    REASON_ALLOW_RULE,      // an allow rule applied
    REASON_COUNT
};
const char *reason_name(enum reason r); // "policy.deny_rule"
const char *reason_text(enum reason r); // a plain sentence about the rule, not about the person

struct decision {
    enum verdict verdict;
    enum reason reason;
    const struct route *route; // NULL: none
    const struct rule *rule;   // the rule that decided, NULL: none
    size_t rule_number;        // 1-based in its policy, 0: none
};

// What is asked for, whoever asks.
struct policy_request {
    struct str method;
    struct str path;             // canonical, without the query
    struct ip_address address;   // the client's
    struct str device, function; // of a call of a board; absent: it is none
};

// A rule that needs a fact which the provider did not send (groups, a verified e-mail address) never allows;
// a deny rule that needs one denies, since nobody may escape it by leaving the fact out. Visitors who are not
// logged in: public rules allow, deny rules without conditions on people deny, and everything that depends on
// who it is gives LOGIN. A public rule is reached past allow rules (the outcome is the same), not past deny
// rules. The address is a fact like the others, but nobody has to log in for it. `id` NULL: not logged in.
// `route` NULL gives DENY with REASON_NO_ROUTE.
struct decision policy_decide(const struct route *route, const struct identity *id,
                              const struct policy_request *request);

// What the route's rules ask for, in words, without other people's data: "groups staff or admins; an address
// at example.com". For the 403 page and `explain`. e-mail lists become "a listed e-mail address",
// networks "a listed address".
struct str policy_requirements(struct arena *a, const struct route *route);
// One paragraph for `sallyport explain`: route, rule, verdict, reason, with configuration lines.
struct str decision_explain(struct arena *a, const struct decision *d);

// The policy named `public` (everyone, logged in or not).
extern const struct policy policy_public;
