// SPDX-License-Identifier: GPL-3.0-or-later
// What only the whole configuration shows: references, options without effect, what is missing. The n-th
// route, provider and policy of the draft is the n-th member of its node.
#include <sys/stat.h>

#include "base/url.h"
#include "gateway/config/parse.h"

enum { HTTPS_PORT = 443 };

static const struct yaml_node *member(struct loader *l, const char *list, size_t index)
{
    const struct yaml_node *node = yaml_get(l->root, list);
    if (!node) return NULL;
    for (const struct yaml_node *m = node->first; m; m = m->next)
        if (m->index == index) return m;
    return NULL;
}

static struct strlist provider_names(struct loader *l)
{
    const struct config *c = &l->draft->config;
    struct strlist names = { arena_array(l->scratch, c->nproviders, sizeof *names.v), 0 };
    for (size_t i = 0; names.v && i < c->nproviders; i++) names.v[names.n++] = c->providers[i].key;
    return names;
}

static void check_provider_list(struct loader *l, const struct yaml_node *list)
{
    if (!list || list->kind != YAML_LIST) return;
    struct strlist known = provider_names(l);
    for (const struct yaml_node *item = list->first; item; item = item->next)
        if (item->kind == YAML_SCALAR && !config_provider(&l->draft->config, item->text))
            config_error_at(l, item, "there is no identity provider %s%s", config_found(l, item),
                            config_nearest(l, item->text, &known));
}

// --- listeners

static void check_listener(struct loader *l, const struct yaml_node *node, const struct listener *x)
{
    const struct config *c = &l->draft->config;
    if (x->tls && x->redirect_to_https)
        config_error_key(l, yaml_get(node, "redirect_to_https"),
                         "a listener with tls has nothing to redirect");
    if (!x->tls && !x->redirect_to_https && c->trusted_proxies.n == 0)
        config_error_key(
            l, node,
            "plain HTTP would carry sessions in the open: add tls, or redirect_to_https: true, or "
            "trusted_proxies when one of them ends TLS in front of it");
    for (const struct listener *y = c->listeners; y < x; y++)
        if (x->port && x->port == y->port && str_eq(x->host, y->host))
            config_error_at(l, yaml_get(node, "address"), "this address is listened on twice");
}

// Whoever reaches the address could else say whom they speak for.
static void check_proxy_protocol(struct loader *l, const struct yaml_node *node, const struct listener *x)
{
    if (x->proxy_protocol && !yaml_get(l->root, "trusted_proxies"))
        config_error_key(l, yaml_get(node, "proxy_protocol"),
                         "needs trusted_proxies: the addresses of those who may send such headers");
}

static void check_listeners(struct loader *l)
{
    struct config *c = &l->draft->config;
    const struct yaml_node *list = yaml_get(l->root, "listen");
    if (!list || list->kind != YAML_LIST) return;
    const struct listener *first_tls = NULL, *first_plain = NULL;
    for (size_t i = 0; i < c->nlisteners; i++) {
        const struct yaml_node *node = member(l, "listen", i);
        if (node && node->kind == YAML_MAP) {
            check_listener(l, node, &c->listeners[i]);
            check_proxy_protocol(l, node, &c->listeners[i]);
        }
        const struct listener *x = &c->listeners[i];
        if (x->tls && !first_tls) first_tls = x;
        if (!x->tls && !x->redirect_to_https && !first_plain) first_plain = x;
    }
    if (!first_tls && !first_plain)
        config_error_key(l, list,
                         "no listener has tls, so no route can be reached: logins and sessions need HTTPS");
    else if (!c->public_port)
        c->public_port = first_tls ? first_tls->port : HTTPS_PORT; // of the proxy that ends TLS
}

// --- routes

static const struct policy *find_policy(struct loader *l, struct str name)
{
    const struct config *c = &l->draft->config;
    if (str_eq(name, policy_public.name)) return &policy_public;
    for (size_t i = 0; i < c->npolicies; i++)
        if (str_eq(c->policies[i].name, name)) return &c->policies[i];
    return NULL;
}

static void unknown_policy(struct loader *l, const struct yaml_node *node)
{
    const struct config *c = &l->draft->config;
    struct strlist known = { arena_array(l->scratch, c->npolicies + 1, sizeof *known.v), 0 };
    if (known.v) known.v[known.n++] = policy_public.name;
    for (size_t i = 0; known.v && i < c->npolicies; i++) known.v[known.n++] = c->policies[i].name;
    config_error_at(l, node, "there is no policy %s%s", config_found(l, node),
                    config_nearest(l, node->text, &known));
}

static void check_route_policy(struct loader *l, const struct yaml_node *node, struct route *r)
{
    const struct yaml_node *policy = yaml_get(node, "policy"), *providers = yaml_get(node, "providers");
    if (!policy || policy->kind != YAML_SCALAR || yaml_is_null(policy)) return;
    r->policy = find_policy(l, policy->text);
    if (!r->policy) unknown_policy(l, policy);
    if (r->policy == &policy_public && providers)
        config_error_key(l, providers, "has no effect: the policy public asks nobody to log in");
    if (r->policy && r->policy != &policy_public && l->draft->config.nproviders == 0)
        config_error_at(l, policy, "nobody can log in: there are no identity_providers");
}

static void check_duplicate_route(struct loader *l, const struct yaml_node *node, const struct route *r)
{
    for (const struct route *other = l->draft->config.routes.v; other < r; other++) {
        if (!r->host.p || !r->path.p || !str_eq(other->host, r->host) || !str_eq(other->path, r->path))
            continue;
        config_error_at(l, node, "the route in line %u has the same host and path", other->line);
        return;
    }
}

// The table is not sorted yet.
static const struct route *find_route(const struct route_table *t, struct str host, struct str path)
{
    const struct route *best = NULL;
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->v[i].host, host) && path_has_prefix(path, t->v[i].path) &&
            (!best || t->v[i].path.n > best->path.n))
            best = &t->v[i];
    return best;
}

// Browsers give up after twenty rounds.
static void check_redirect(struct loader *l, const struct yaml_node *node, const struct route *r)
{
    const struct config *c = &l->draft->config;
    struct str to = r->target ? r->target->redirect.to : STR_NONE, host = r->host;
    struct url url = { .https = true, .port = c->public_port };
    struct err err = { 0 };
    if (!to.p || !r->host.p) return;
    if (to.p[0] == '/')
        url.path = str_take(to, str_find(to, '?'));
    else if (url_parse(l->scratch, to, &url, &err))
        host = url.host;
    if (url.https && url.port == c->public_port && find_route(&c->routes, host, url.path) == r)
        config_error_at(l, yaml_get(yaml_get(node, "redirect"), "to"),
                        "leads back to this route, again and again");
}

static void check_routes(struct loader *l)
{
    struct route_table *t = &l->draft->config.routes;
    const struct yaml_node *list = yaml_get(l->root, "routes");
    if (list && list->kind == YAML_LIST && list->n == 0)
        config_error_key(l, list, "there is no route, so nothing to serve");
    const struct yaml_node *node = list ? list->first : NULL;
    for (size_t i = 0; node && i < t->n; i++, node = node->next) {
        if (node->kind != YAML_MAP) continue;
        check_route_policy(l, node, &t->v[i]);
        check_provider_list(l, yaml_get(node, "providers"));
        check_duplicate_route(l, node, &t->v[i]);
        check_redirect(l, node, &t->v[i]);
    }
}

// --- policies

static void check_policies(struct loader *l)
{
    const struct yaml_node *policies = yaml_get(l->root, "policies");
    if (!policies || policies->kind != YAML_MAP) return;
    for (const struct yaml_node *policy = policies->first; policy; policy = policy->next)
        for (const struct yaml_node *rule = policy->first; rule; rule = rule->next)
            for (const struct yaml_node *body = rule->first; body; body = body->next)
                check_provider_list(l, yaml_get(body, "providers"));
}

static bool policy_is_used(struct loader *l, const struct policy *p)
{
    const struct yaml_node *routes = yaml_get(l->root, "routes");
    for (const struct yaml_node *route = routes ? routes->first : NULL; route; route = route->next) {
        const struct yaml_node *name = yaml_get(route, "policy");
        if (name && name->kind == YAML_SCALAR && str_eq(name->text, p->name)) return true;
    }
    return false;
}

static bool provider_is_used(struct loader *l, struct str key)
{
    const struct route_table *t = &l->draft->config.routes;
    const struct yaml_node *node = yaml_get(l->root, "routes")->first;
    for (size_t i = 0; node && i < t->n; i++, node = node->next) {
        bool all = !yaml_get(node, "providers") && t->v[i].policy != &policy_public;
        if (all || strlist_has(t->v[i].providers, key)) return true;
    }
    return false;
}

static void check_unused(struct loader *l)
{
    const struct config *c = &l->draft->config;
    if (!yaml_get(l->root, "routes")) return;
    for (size_t i = 0; i < c->npolicies; i++)
        if (!policy_is_used(l, &c->policies[i]))
            config_error_key(l, member(l, "policies", i), "no route uses this policy, so it has no effect");
    for (size_t i = 0; i < c->nproviders; i++)
        if (!provider_is_used(l, c->providers[i].key))
            config_error_key(l, member(l, "identity_providers", i),
                             "no route uses this provider, so it has no effect");
}

// --- the rest

static void check_session(struct loader *l)
{
    const struct config *c = &l->draft->config;
    const struct yaml_node *session = yaml_get(l->root, "session");
    const struct yaml_node *at = yaml_get(session, "idle");
    if (!at) at = yaml_get(session, "lifetime");
    if (at && c->session_idle > c->session_lifetime)
        config_error_at(l, at,
                        "session.idle must not be longer than session.lifetime: it would have no effect");
}

static void check_limits(struct loader *l)
{
    const struct config *c = &l->draft->config;
    const struct yaml_node *at = yaml_get(yaml_get(l->root, "limits"), "connections_per_address");
    if (at && c->max_connections_per_address > c->max_connections)
        config_error_key(l, at, "must not be more than limits.connections: it would have no effect");
}

// Whoever is trusted can say any address, so a list that has everybody makes rules with addresses, limits and
// logs worthless.
static void check_trusted_proxies(struct loader *l)
{
    enum { EVERY_IPV6 = 0, EVERY_IPV4 = 96 };
    const struct ip_networks *n = &l->draft->config.trusted_proxies;
    for (size_t i = 0; i < n->n; i++)
        if (n->v[i].bits == EVERY_IPV4 || n->v[i].bits == EVERY_IPV6)
            config_error_key(l, yaml_get(l->root, "trusted_proxies"),
                             "would believe everybody: name the proxies themselves");
}

// The directory is made on the first start; something else in its place is a mistake.
static void check_state(struct loader *l)
{
    const struct yaml_node *state = yaml_get(l->root, "state");
    struct stat st;
    if (state && l->draft->config.state_dir.p && stat(l->draft->config.state_dir.p, &st) == 0 &&
        !S_ISDIR(st.st_mode))
        config_error_at(l, state, "expected a directory, %s is none", l->draft->config.state_dir.p);
}

static void check_saml(struct loader *l)
{
    const struct config *c = &l->draft->config;
    const struct yaml_node *saml = yaml_get(l->root, "saml");
    for (size_t i = 0; i < c->nproviders; i++)
        if (c->providers[i].protocol == PROTOCOL_SAML) return;
    if (saml) config_error_key(l, saml, "has no effect: no identity provider has protocol: saml");
}

static bool has_errors_under(struct loader *l, struct str key)
{
    for (size_t i = 0; i < l->errors->n; i++)
        if (str_starts(l->errors->v[i].key, key)) return true;
    return false;
}

void config_check(struct loader *l)
{
    check_listeners(l);
    check_routes(l);
    check_policies(l);
    config_check_pico(l);
    if (!has_errors_under(l, STR("routes"))) check_unused(l); // a misspelt reference is one mistake, not two
    check_session(l);
    check_limits(l);
    check_trusted_proxies(l);
    check_state(l);
    check_saml(l);
    config_check_coverage(l);
}
