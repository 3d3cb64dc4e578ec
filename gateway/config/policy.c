// SPDX-License-Identifier: GPL-3.0-or-later
// Policies and their rules.
#include <string.h>

#include "base/url.h"
#include "gateway/config/parse.h"

void config_parse_emails(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    for (const struct yaml_node *item = node->first; item; item = item->next)
        if (!email_domain(item->text).p)
            config_error_at(l, item, "expected an e-mail address, found %s", config_found(l, item));
    *(struct strlist *)field = list;
}

void config_parse_email_domains(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    bool ipv6;
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item; item = item->next)
        if (!host_canonical(l->arena, item->text, &list.v[i++], &ipv6))
            config_error_at(l, item,
                            "expected the part of an address behind '@', such as example.com, found %s",
                            config_found(l, item));
    *(struct strlist *)field = list;
}

static bool is_upper_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'A' && s.p[i] <= 'Z') && s.p[i] != '-' && s.p[i] != '_') return false;
    return s.n > 0;
}

void config_parse_methods(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    for (const struct yaml_node *item = node->first; item; item = item->next)
        if (!is_upper_token(item->text))
            config_error_at(l, item, "methods are written in capitals, such as GET; found %s",
                            config_found(l, item));
    *(struct strlist *)field = list;
}

void config_parse_rule_claims(struct loader *l, const struct yaml_node *node, void *field)
{
    struct rule *rule = field;
    if (!config_expect_kind(l, node, YAML_MAP, "a map such as { department: [ it ] }")) return;
    if (node->n == 0)
        config_error_at(l, node, "an empty map has no effect; leave the key out or name claims");
    rule->claims = arena_array(l->arena, node->n, sizeof *rule->claims);
    for (const struct yaml_node *m = node->first; m && rule->claims; m = m->next) {
        struct claim_condition *condition = &rule->claims[rule->nclaims++];
        condition->name = arena_str(l->arena, m->key);
        config_list(l, m, &condition->values);
    }
}

static bool asks_for_person(const struct rule *r)
{
    return r->groups.n || r->emails.n || r->email_domains.n || r->providers.n || r->nclaims;
}

static void check_rule(struct loader *l, const struct yaml_node *node, const struct rule *r)
{
    const struct yaml_node *public = yaml_get(node, "public");
    if (public && !r->allow)
        config_error_key(l, public, "only allow rules can be public");
    else if (r->is_public && asks_for_person(r))
        config_error_key(l, public,
                         "public means everyone, so conditions on people beside it have no effect");
    else if (public && !r->is_public)
        config_error_key(l, public, "false is the default and has no effect; leave it out");
    if (node->n > 0) return;
    if (r->allow)
        config_error_at(
            l, node,
            "a rule without conditions is ambiguous: write { public: true } for everyone, or name "
            "groups, emails, email_domains, providers or claims");
    else
        config_error_at(l, node,
                        "a rule without conditions has no effect: whatever no rule allows is denied");
}

static const char *const rule_words = "{ allow: { ... } } or { deny: { ... } }";

static void parse_rule(struct loader *l, const struct yaml_node *node, struct rule *r)
{
    static struct str words[] = { STR_INIT("allow"), STR_INIT("deny") };
    const struct strlist known = { words, 2 };
    if (!config_expect_kind(l, node, YAML_MAP, rule_words)) return;
    if (node->n != 1) {
        config_error_at(l, node, "expected %s: one of them in each rule", rule_words);
        return;
    }
    const struct yaml_node *body = node->first;
    r->line = body->key_line;
    r->allow = str_eq_c(body->key, "allow");
    if (!r->allow && !str_eq_c(body->key, "deny")) {
        config_error_key(l, body, "expected allow or deny%s", config_nearest(l, body->key, &known));
        return;
    }
    size_t before = l->errors->n;
    config_section(l, body, &section_rule, r);
    if (body->kind == YAML_MAP && l->errors->n == before) check_rule(l, body, r);
}

static bool same_list(struct strlist a, struct strlist b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (!strlist_has(b, a.v[i])) return false;
    return true;
}

static bool same_claims(const struct rule *a, const struct rule *b)
{
    if (a->nclaims != b->nclaims) return false;
    for (size_t i = 0; i < a->nclaims; i++)
        if (!str_eq(a->claims[i].name, b->claims[i].name) ||
            !same_list(a->claims[i].values, b->claims[i].values))
            return false;
    return true;
}

static bool has_network(const struct ip_networks *list, const struct ip_network *n)
{
    for (size_t i = 0; i < list->n; i++)
        if (memcmp(&list->v[i], n, sizeof *n) == 0) return true;
    return false;
}

static bool same_networks(const struct ip_networks *a, const struct ip_networks *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!has_network(b, &a->v[i])) return false;
    return true;
}

static bool same_conditions(const struct rule *a, const struct rule *b)
{
    return same_list(a->groups, b->groups) && same_list(a->emails, b->emails) &&
           same_list(a->email_domains, b->email_domains) && same_list(a->providers, b->providers) &&
           same_list(a->methods, b->methods) && same_list(a->paths, b->paths) &&
           same_list(a->devices, b->devices) && same_list(a->functions, b->functions) &&
           same_networks(&a->addresses, &b->addresses) && same_claims(a, b);
}

// Whether nothing that gets past `first` can meet `second`. A public rule is for more visitors than one that
// is not.
static bool hides(const struct rule *first, const struct rule *second)
{
    static const struct rule anything = { 0 };
    if (first->allow && first->is_public && same_conditions(first, &anything)) return true;
    bool more_visitors = first->allow && !first->is_public && second->is_public;
    return same_conditions(first, second) && !more_visitors;
}

static void check_order(struct loader *l, const struct yaml_node *node, const struct policy *p)
{
    for (const struct yaml_node *item = node->first; item && item->index < p->nrules; item = item->next) {
        for (size_t i = 0; i < item->index; i++) {
            if (!hides(&p->rules[i], &p->rules[item->index])) continue;
            config_error_at(l, item,
                            "this rule is never reached: the one in line %u comes first for everybody",
                            p->rules[i].line);
            return;
        }
    }
}

static void parse_policy(struct loader *l, const struct yaml_node *node, struct policy *p)
{
    p->name = arena_str(l->arena, node->key);
    if (str_eq_c(p->name, "public"))
        config_error_key(l, node, "the policy named public is built in; choose another name");
    if (!config_expect_kind(l, node, YAML_LIST, "a list of rules")) return;
    if (node->n == 0)
        config_error_at(l, node, "a policy without rules allows nobody; leave the route out instead");
    p->rules = arena_array(l->arena, node->n, sizeof *p->rules);
    size_t before = l->errors->n;
    for (const struct yaml_node *item = node->first; item && p->rules; item = item->next)
        parse_rule(l, item, &p->rules[p->nrules++]);
    if (l->errors->n == before) check_order(l, node, p);
}

void config_parse_policies(struct loader *l, const struct yaml_node *node, void *field)
{
    struct config *c = field;
    if (!config_expect_kind(l, node, YAML_MAP, "a map of policies by name")) return;
    c->policies = arena_array(l->arena, node->n, sizeof *c->policies);
    for (const struct yaml_node *m = node->first; m && c->policies; m = m->next)
        parse_policy(l, m, &c->policies[c->npolicies++]);
}
