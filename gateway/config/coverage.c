// SPDX-License-Identifier: GPL-3.0-or-later
// Every host that browsers will ask for needs a certificate that names it.
#include "gateway/config/parse.h"

static bool is_covered(const struct config *c, struct str host)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        for (size_t k = 0; k < c->listeners[i].ncertificates; k++)
            if (cert_pair_covers(&c->listeners[i].certificates[k], host)) return true;
    return false;
}

static void add_names(struct sbuf *b, struct strlist names)
{
    for (size_t i = 0; i < names.n; i++) {
        if (b->n) sbuf_add_c(b, ", ");
        sbuf_add(b, names.v[i]);
    }
}

static const char *covered_names(struct loader *l)
{
    const struct config *c = &l->draft->config;
    struct sbuf b;
    sbuf_init(&b, l->scratch, 4096);
    for (size_t i = 0; i < c->nlisteners; i++)
        for (size_t k = 0; k < c->listeners[i].ncertificates; k++)
            add_names(&b, c->listeners[i].certificates[k].names);
    struct str text = sbuf_str(&b);
    return text.n ? text.p : "other hosts";
}

static void check_host(struct loader *l, const struct yaml_node *node, struct str host)
{
    if (!node || host.n == 0 || is_covered(&l->draft->config, host)) return;
    config_error_at(l, node, "no certificate covers %.*s; they cover %s", STR_FMT(host), covered_names(l));
}

static bool has_certificates(const struct config *c)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].ncertificates) return true;
    return false;
}

static bool seen_before(const struct route_table *t, size_t index, struct str login_host)
{
    for (size_t i = 0; i < index; i++)
        if (str_eq(t->v[i].host, t->v[index].host)) return true;
    return str_eq(t->v[index].host, login_host);
}

void config_check_coverage(struct loader *l)
{
    const struct config *c = &l->draft->config;
    if (l->certificates_failed || !has_certificates(c)) return;
    check_host(l, yaml_get(yaml_get(l->root, "login"), "host"), c->login_host);
    const struct yaml_node *routes = yaml_get(l->root, "routes");
    if (!routes) return;
    for (const struct yaml_node *node = routes->first; node && node->index < c->routes.n; node = node->next)
        if (!seen_before(&c->routes, node->index, c->login_host))
            check_host(l, yaml_get(node, "host"), c->routes.v[node->index].host);
}
