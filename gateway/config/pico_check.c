// SPDX-License-Identifier: GPL-3.0-or-later
// Routes that have boards, beside other routes, listeners and policies.
#include "gateway/config/parse.h"

static const struct yaml_node *route_node(struct loader *l, size_t index)
{
    const struct yaml_node *list = yaml_get(l->root, "routes");
    const struct yaml_node *node = list ? list->first : NULL;
    while (node && node->index != index) node = node->next;
    return node;
}

static bool has_boards(const struct route *r)
{
    return r->target && r->target->pico.served;
}

// --- one route

// Boards cannot be told of one another by their address: the key alone says which it is.
static void check_one_for_each_host(struct loader *l, const struct yaml_node *pico, const struct route *r)
{
    for (const struct route *other = l->draft->config.routes.v; other < r; other++) {
        if (!r->host.p || !has_boards(other) || !str_eq(other->host, r->host)) continue;
        config_error_key(l, pico, "the route in line %u has the boards of this host: there is one at most",
                         other->line);
        return;
    }
}

// What the boards' own reader of addresses takes: names, IPv4, and no more.
static void check_host(struct loader *l, const struct yaml_node *host, const struct route *r)
{
    if (host && r->host.p && str_find(r->host, ':') < r->host.n)
        config_error_at(l, host, "boards cannot connect to an IPv6 address: give the host a name");
}

static void check_path(struct loader *l, const struct yaml_node *path, const struct route *r)
{
    static const char *const same = "/uplink";
    if (!path || !r->path.p || !str_ends(r->path, str_c(same))) return;
    struct str rest = str_take(r->path, r->path.n - str_c(same).n);
    config_error_at(l, path, "boards would have to connect to %.*s/uplink; write \"%s%.*s\"",
                    STR_FMT(r->path), rest.n ? "" : "/", STR_FMT(rest));
}

// Whether requests for `uplink` go to `other` and not to `r`, whose path it begins with.
static bool takes(const struct route *other, const struct route *r, struct str uplink)
{
    return other != r && other->path.p && str_eq(other->host, r->host) && other->path.n > r->path.n &&
           path_has_prefix(uplink, other->path);
}

// Boards know one address and try it for ever.
static void check_uplink_is_free(struct loader *l, const struct route *r, const char *name)
{
    const struct route_table *t = &l->draft->config.routes;
    struct str folder = str_eq_c(r->path, "/") ? STR("") : r->path;
    struct str uplink = arena_printf(l->scratch, "%.*s%s", STR_FMT(folder), name);
    if (!r->host.p || !r->path.p || !uplink.p) return;
    for (size_t i = 0; i < t->n; i++)
        if (takes(&t->v[i], r, uplink))
            config_error_at(l, yaml_get(route_node(l, i), "path"),
                            "takes %.*s away from the boards of the route in line %u", STR_FMT(uplink),
                            r->line);
}

static bool has_plain_listener(const struct config *c)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        if (!c->listeners[i].tls) return true;
    return false;
}

// Keys would cross any network in the open.
static void check_plain_networks(struct loader *l, const struct yaml_node *list, const struct ip_networks *n)
{
    enum { EVERY_IPV6 = 0, EVERY_IPV4 = 96 };
    if (!list) return;
    if (!has_plain_listener(&l->draft->config))
        config_error_key(l, list, "has no effect: every listener has tls");
    for (size_t i = 0; i < n->n; i++)
        if (n->v[i].bits == EVERY_IPV4 || n->v[i].bits == EVERY_IPV6)
            config_error_key(l, list,
                             "would let boards send their keys in the open from everywhere: name the "
                             "networks that they are in");
}

static void check_route(struct loader *l, const struct yaml_node *node, const struct route *r)
{
    const struct yaml_node *pico = yaml_get(node, "pico"), *policy = yaml_get(node, "policy");
    check_one_for_each_host(l, pico, r);
    check_host(l, yaml_get(node, "host"), r);
    check_path(l, yaml_get(node, "path"), r);
    check_uplink_is_free(l, r, "/uplink");
    check_uplink_is_free(l, r, "/_/uplink");
    check_plain_networks(l, yaml_get(pico, "plain_networks"), &r->target->pico.plain);
    if (r->policy == &policy_public)
        config_error_at(l, policy, "boards are called by people who are logged in: choose another policy");
}

// --- policies, which routes of both kinds may share

static const struct route *user_of(const struct config *c, const struct policy *p, bool with_boards)
{
    for (size_t i = 0; i < c->routes.n; i++)
        if (c->routes.v[i].policy == p && has_boards(&c->routes.v[i]) == with_boards) return &c->routes.v[i];
    return NULL;
}

static void check_rule_with_boards(struct loader *l, const struct yaml_node *body, const struct route *r)
{
    static const char *const others[] = { "methods", "paths" };
    const struct yaml_node *public = yaml_get(body, "public");
    if (public)
        config_error_key(l, public,
                         "the route in line %u has boards, which are called by people who are "
                         "logged in",
                         r->line);
    for (size_t i = 0; i < 2; i++)
        if (yaml_get(body, others[i]))
            config_error_key(l, yaml_get(body, others[i]),
                             "has no effect at the route in line %u, which has boards: name devices and "
                             "functions",
                             r->line);
}

static void check_rule_without_boards(struct loader *l, const struct yaml_node *body, const struct route *r)
{
    static const char *const others[] = { "devices", "functions" };
    for (size_t i = 0; i < 2; i++)
        if (yaml_get(body, others[i]))
            config_error_key(l, yaml_get(body, others[i]),
                             "has no effect at the route in line %u, which has no boards (pico)", r->line);
}

static void check_policy(struct loader *l, const struct yaml_node *node, const struct policy *p)
{
    const struct config *c = &l->draft->config;
    const struct route *boards = user_of(c, p, true), *others = user_of(c, p, false);
    if (node->kind != YAML_LIST) return;
    for (const struct yaml_node *rule = node->first; rule; rule = rule->next) {
        for (const struct yaml_node *body = rule->first; body; body = body->next) {
            if (boards) check_rule_with_boards(l, body, boards);
            if (others) check_rule_without_boards(l, body, others);
        }
    }
}

static void check_policies(struct loader *l)
{
    const struct config *c = &l->draft->config;
    const struct yaml_node *list = yaml_get(l->root, "policies");
    const struct yaml_node *node = list && list->kind == YAML_MAP ? list->first : NULL;
    for (size_t i = 0; node && i < c->npolicies; i++, node = node->next)
        check_policy(l, node, &c->policies[i]);
}

void config_check_pico(struct loader *l)
{
    const struct route_table *t = &l->draft->config.routes;
    for (size_t i = 0; i < t->n; i++) {
        const struct yaml_node *node = route_node(l, i);
        if (node && node->kind == YAML_MAP && has_boards(&t->v[i])) check_route(l, node, &t->v[i]);
    }
    check_policies(l);
}
