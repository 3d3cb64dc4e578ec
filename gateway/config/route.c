// SPDX-License-Identifier: GPL-3.0-or-later
// Routes: path prefixes, backends, identity presets.
#include "base/url.h"
#include "gateway/config/parse.h"
#include "http/target.h"

// Policy sees canonical paths only, so a prefix in another spelling would never match: a deny rule without
// effect.
static bool canonical_prefix(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    struct str text;
    struct http_target target;
    struct err err = { 0 };
    if (!config_text(l, node, "a path such as /docs", &text)) return false;
    if (text.p && text.p[0] != '/') {
        config_error_at(l, node, "a path begins with '/', found %s", config_found(l, node));
        return false;
    }
    if (!http_target_parse(l->arena, text, &target, &err) || target.query.p) {
        config_error_at(l, node, "this path matches no request: %s",
                        target.query.p && !err.code ? "it has a query" : err.detail);
        return false;
    }
    if (!str_eq(target.path, text)) {
        config_error_at(l, node, "requests arrive in another spelling; write \"%.*s\"", STR_FMT(target.path));
        return false;
    }
    if (path_has_prefix(text, STR("/.sallyport"))) {
        config_error_at(l, node, "has no effect: the gateway answers everything under /.sallyport itself");
        return false;
    }
    while (text.n > 1 && text.p[text.n - 1] == '/') text.n--;
    *ret = text;
    return true;
}

void config_parse_prefix(struct loader *l, const struct yaml_node *node, void *field)
{
    canonical_prefix(l, node, field);
}

void config_parse_prefixes(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist paths;
    if (!config_list(l, node, &paths)) return;
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item && i < paths.n; item = item->next)
        canonical_prefix(l, item, &paths.v[i++]);
    *(struct strlist *)field = paths;
}

#define BACKEND_EXAMPLE "a URL such as http://10.0.0.5:3000"

static bool parse_backend(struct loader *l, const struct yaml_node *node, struct backend *ret)
{
    struct str text;
    struct url url;
    struct err err = { 0 };
    if (!config_text(l, node, BACKEND_EXAMPLE, &text)) return false;
    if (!url_parse(l->arena, text, &url, &err))
        config_error_at(l, node, "expected " BACKEND_EXAMPLE ", found %s", config_found(l, node));
    else if (url.https)
        config_error_at(l, node, "TLS to backends is not supported; expected " BACKEND_EXAMPLE);
    else if (url.path.n > 1 || url.query.p || url.fragment.p)
        config_error_at(l, node, "a backend is scheme, host and port alone: requests keep their own path");
    else {
        struct str host = url.ipv6 ? arena_printf(l->arena, "[%.*s]", STR_FMT(url.host)) : url.host;
        struct str authority =
            url.port == 80 ? host : arena_printf(l->arena, "%.*s:%u", STR_FMT(host), url.port);
        *ret = (struct backend){ .url = text, .host = url.host, .port = url.port, .authority = authority };
        return true;
    }
    return false;
}

void config_parse_backends(struct loader *l, const struct yaml_node *node, void *field)
{
    struct route_target *target = field;
    if (!config_expect_kind(l, node, YAML_LIST, "a list of URLs such as [ \"http://10.0.0.5:3000\" ]"))
        return;
    if (node->n == 0) config_error_at(l, node, "expected at least " BACKEND_EXAMPLE);
    target->backends = arena_array(l->arena, node->n, sizeof *target->backends);
    for (const struct yaml_node *item = node->first; item && target->backends; item = item->next) {
        struct backend b;
        if (!parse_backend(l, item, &b)) continue;
        for (size_t i = 0; i < target->nbackends; i++)
            if (str_eq(target->backends[i].authority, b.authority))
                config_error_at(l, item, "%s is listed twice", config_found(l, item));
        target->backends[target->nbackends++] = b;
    }
}

static bool preset_by_name(struct loader *l, const struct yaml_node *node, unsigned *ret)
{
    static struct str words[] = { STR_INIT("none"), STR_INIT("sallyport"), STR_INIT("oauth2-proxy"),
                                  STR_INIT("remote-user") };
    static const unsigned masks[] = { IDENTITY_NONE, IDENTITY_SALLYPORT, IDENTITY_OAUTH2_PROXY,
                                      IDENTITY_REMOTE_USER };
    const struct strlist known = { words, 4 };
    for (size_t i = 0; i < 4; i++) {
        if (node->kind != YAML_SCALAR || !str_eq(node->text, words[i])) continue;
        *ret = masks[i];
        return true;
    }
    config_error_at(l, node, "expected sallyport, oauth2-proxy, remote-user or none, found %s%s",
                    config_found(l, node), config_nearest(l, node->text, &known));
    return false;
}

void config_parse_identity(struct loader *l, const struct yaml_node *node, void *field)
{
    unsigned mask = 0, one = 0;
    if (node->kind != YAML_LIST) {
        if (preset_by_name(l, node, &one)) *(unsigned *)field = one;
        return;
    }
    if (node->n == 0)
        config_error_at(l, node, "an empty list has no effect; write none or leave the key out");
    for (const struct yaml_node *item = node->first; item; item = item->next) {
        if (!preset_by_name(l, item, &one)) continue;
        if (one == IDENTITY_NONE)
            config_error_at(l, item, "none stands alone, not in a list");
        else if (mask & one)
            config_error_at(l, item, "%s is listed twice", config_found(l, item));
        mask |= one;
    }
    *(unsigned *)field = mask;
}

static void parse_route(struct loader *l, const struct yaml_node *node, struct route *r)
{
    struct route_draft *draft = arena_alloc(l->arena, sizeof *draft);
    if (!draft) return;
    draft->target.connect_timeout = l->draft->connect_timeout;
    draft->target.response_timeout = l->draft->response_timeout;
    draft->route.line = node->line;
    config_section(l, node, &section_route, draft);
    draft->target.index = node->index;
    draft->route.target = &draft->target;
    *r = draft->route;
}

void config_parse_routes(struct loader *l, const struct yaml_node *node, void *field)
{
    struct config *c = field;
    if (!config_expect_kind(l, node, YAML_LIST, "a list of routes")) return;
    c->routes.v = arena_array(l->arena, node->n, sizeof *c->routes.v);
    for (const struct yaml_node *item = node->first; item && c->routes.v; item = item->next)
        parse_route(l, item, &c->routes.v[c->routes.n++]);
}
