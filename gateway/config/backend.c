// SPDX-License-Identifier: GPL-3.0-or-later
// Where the requests of a route go: backends, origins of WebSockets, redirects.
#include "base/url.h"
#include "gateway/config/parse.h"
#include "http/target.h"

#define BACKEND_EXAMPLE "a URL such as http://10.0.0.5:3000, https://app.internal:8443 or unix:/run/app.sock"

static bool unix_backend(struct loader *l, const struct yaml_node *node, struct str text, struct backend *ret)
{
    struct str path = config_resolve_path(l, str_skip(text, 5));
    if (text.n == 5)
        config_error_at(l, node, "expected " BACKEND_EXAMPLE ", found %s", config_found(l, node));
    else if (path.n >= SOCKET_PATH_BYTES)
        config_error_at(l, node, "the path of a socket has at most %d bytes, this one has %zu",
                        SOCKET_PATH_BYTES - 1, path.n);
    else {
        struct str url = arena_printf(l->arena, "unix:%.*s", STR_FMT(path));
        *ret = (struct backend){ .url = url, .unix_path = path, .host = STR("localhost"), .authority = url };
        return true;
    }
    return false;
}

static struct str authority_of(struct loader *l, const struct url *url)
{
    struct str host = url->ipv6 ? arena_printf(l->arena, "[%.*s]", STR_FMT(url->host)) : url->host;
    if (url->port == (url->https ? 443 : 80)) return host;
    return arena_printf(l->arena, "%.*s:%u", STR_FMT(host), url->port);
}

static bool url_backend(struct loader *l, const struct yaml_node *node, struct str text, struct backend *ret)
{
    struct url url;
    struct err err = { 0 };
    if (!url_parse(l->arena, text, &url, &err))
        config_error_at(l, node, "expected " BACKEND_EXAMPLE ", found %s (%s)", config_found(l, node),
                        err.detail);
    else if (url.path.n > 1 || url.query.p || url.fragment.p)
        config_error_at(l, node,
                        "a backend is scheme, host and port alone; rewrite puts a path in front of requests");
    else {
        *ret = (struct backend){ .url = text,
                                 .tls = url.https,
                                 .host = url.host,
                                 .port = url.port,
                                 .authority = authority_of(l, &url) };
        return true;
    }
    return false;
}

static bool parse_backend(struct loader *l, const struct yaml_node *node, struct backend *ret)
{
    struct str text;
    if (!config_text(l, node, BACKEND_EXAMPLE, &text)) return false;
    return str_starts(text, STR("unix:")) ? unix_backend(l, node, text, ret)
                                          : url_backend(l, node, text, ret);
}

// The same service, however it is written.
static bool same_backend(const struct backend *a, const struct backend *b)
{
    if (a->unix_path.p || b->unix_path.p) return str_eq(a->unix_path, b->unix_path);
    return a->port == b->port && str_eq(a->host, b->host);
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
            if (same_backend(&target->backends[i], &b))
                config_error_at(l, item, "%s is listed twice", config_found(l, item));
        target->backends[target->nbackends++] = b;
    }
}

#define ORIGIN_EXAMPLE "an origin such as https://other.example.com"

static bool parse_origin(struct loader *l, const struct yaml_node *item, struct str *origin)
{
    struct url url;
    struct err err = { 0 };
    if (!url_parse(l->arena, *origin, &url, &err))
        config_error_at(l, item, "expected " ORIGIN_EXAMPLE ", found %s", config_found(l, item));
    else if (url.path.n > 1 || url.query.p || url.fragment.p)
        config_error_at(l, item, "an origin is scheme, host and port alone");
    else {
        *origin = url_origin(l->arena, &url);
        return true;
    }
    return false;
}

void config_parse_origins(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    size_t i = 0;
    for (const struct yaml_node *item = node->first; item && i < list.n; item = item->next, i++) {
        bool any = str_eq_c(item->text, "*");
        if (any && list.n > 1) config_error_at(l, item, "* is any origin, so the others have no effect");
        if (!any && parse_origin(l, item, &list.v[i]) &&
            strlist_has((struct strlist){ list.v, i }, list.v[i]))
            config_error_at(l, item, "%s is listed twice", config_found(l, item));
    }
    *(struct strlist *)field = list;
}

#define TO_EXAMPLE "a URL such as https://new.example.com/ or a path"

void config_parse_redirect_to(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    struct url url;
    struct http_target target;
    struct err err = { 0 };
    if (!config_text(l, node, TO_EXAMPLE, &text)) return;
    bool path = text.n && text.p[0] == '/';
    if (path ? http_target_parse(l->arena, text, &target, &err) : url_parse(l->arena, text, &url, &err))
        *(struct str *)field = text;
    else
        config_error_at(l, node, "expected " TO_EXAMPLE ", found %s (%s)", config_found(l, node), err.detail);
}

void config_parse_redirect_status(struct loader *l, const struct yaml_node *node, void *field)
{
    static const int statuses[] = { 301, 302, 303, 307, 308 };
    uint64_t n = 0;
    if (node->kind == YAML_SCALAR) str_to_u64(node->text, 999, &n);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if ((int)n != statuses[i]) continue;
        *(int *)field = statuses[i];
        return;
    }
    config_error_at(l, node, "expected 301, 302, 303, 307 or 308, found %s", config_found(l, node));
}
