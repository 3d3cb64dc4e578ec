// SPDX-License-Identifier: GPL-3.0-or-later
// Routes: paths, identity presets.
#include "base/url.h"
#include "gateway/config/parse.h"
#include "http/target.h"

// A path in the one spelling in which requests have it (a query: *ret_query), without slashes at its end.
static bool canonical_path(struct loader *l, const struct yaml_node *node, const char *wrong, const char *how,
                           struct http_target *ret)
{
    struct str text;
    struct err err = { 0 };
    if (!config_text(l, node, "a path such as /docs", &text)) return false;
    if (text.p && text.p[0] != '/') {
        config_error_at(l, node, "a path begins with '/', found %s", config_found(l, node));
        return false;
    }
    if (!http_target_parse(l->arena, text, ret, &err)) {
        config_error_at(l, node, "%s: %s", wrong, err.detail);
        return false;
    }
    if (!str_eq(ret->path, str_take(text, str_find(text, '?')))) {
        config_error_at(l, node, "%s in another spelling; write \"%.*s\"", how, STR_FMT(ret->path));
        return false;
    }
    return true;
}

static struct str without_end_slash(struct str path)
{
    while (path.n > 1 && path.p[path.n - 1] == '/') path.n--;
    return path;
}

// Policy sees canonical paths only, so a prefix in another spelling would never match: a deny rule without
// effect.
static bool canonical_prefix(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    static const char *const wrong = "this path matches no request";
    struct http_target target;
    if (!canonical_path(l, node, wrong, "requests arrive", &target)) return false;
    if (target.query.p) {
        config_error_at(l, node, "%s: it has a query", wrong);
        return false;
    }
    if (path_has_prefix(target.path, STR("/.sallyport"))) {
        config_error_at(l, node, "has no effect: the gateway answers everything under /.sallyport itself");
        return false;
    }
    *ret = without_end_slash(target.path);
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

void config_parse_rewrite(struct loader *l, const struct yaml_node *node, void *field)
{
    struct http_target target;
    if (!canonical_path(l, node, "no request can be forwarded there", "requests leave", &target)) return;
    if (target.query.p)
        config_error_at(l, node, "expected a path alone: requests keep their own query");
    else
        *(struct str *)field = without_end_slash(target.path);
}

void config_parse_health_path(struct loader *l, const struct yaml_node *node, void *field)
{
    struct http_target target;
    if (canonical_path(l, node, "this path cannot be asked for", "it is asked for", &target))
        *(struct str *)field = arena_str(l->arena, node->text);
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
    draft->target.stream_timeout = l->draft->stream_timeout;
    draft->target.max_body = -1;
    draft->route.line = node->line;
    config_section(l, node, &section_route, draft);
    draft->target.pico.served = yaml_get(node, "pico") != NULL;
    draft->target.index = node->index;
    draft->target.prefix = draft->route.path;
    for (size_t i = 0; i < draft->target.nbackends; i++)
        draft->target.backends[i].index = l->draft->config.nbackends++;
    if (node->kind == YAML_MAP) config_check_route(l, node, &draft->target);
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
