// SPDX-License-Identifier: GPL-3.0-or-later
// Options of one route that contradict each other or have no effect. An option counts when it is written:
// the defaults are never a mistake.
#include "gateway/config/parse.h"

static bool is_false(const struct yaml_node *node)
{
    return node && str_eq_c(node->text, "false");
}

// What is said about backends, where something else takes their place.
static void refuse_backends(struct loader *l, const struct yaml_node *node, const char *why)
{
    static const char *const about_backends[] = {
        "backends", "balance",       "backend_tls", "health",   "eject",          "limits",   "strip_prefix",
        "rewrite",  "preserve_host", "websocket",   "identity", "secure_headers", "timeouts",
    };
    for (size_t i = 0; i < sizeof about_backends / sizeof *about_backends; i++) {
        const struct yaml_node *option = yaml_get(node, about_backends[i]);
        if (option) config_error_key(l, option, "has no effect: %s", why);
    }
}

static void check_backends(struct loader *l, const struct yaml_node *node, const struct route_target *t)
{
    const struct yaml_node *balance = yaml_get(node, "balance"), *backends = yaml_get(node, "backends");
    if (!backends)
        config_error_key(l, node, "missing key \"backends\" (or redirect, or pico): where requests go");
    else if (balance && backends->n == 1 && t->nbackends == 1)
        config_error_key(l, balance, "has no effect with one backend");
}

static bool has_tls_backend(const struct route_target *t)
{
    for (size_t i = 0; i < t->nbackends; i++)
        if (t->backends[i].tls) return true;
    return false;
}

// A certificate is nothing without its key, and the other way round.
static void load_client_certificate(struct loader *l, const struct yaml_node *tls, struct backend_tls *t)
{
    const struct yaml_node *cert = yaml_get(tls, "cert"), *key = yaml_get(tls, "key");
    if (cert && !key) config_error_key(l, cert, "needs the key that belongs to it: key");
    if (key && !cert) config_error_key(l, key, "has no effect without cert");
    if (!cert || !key || !t->cert_path.p || !t->key_path.p) return;
    if (config_pem_file(l, cert, t->cert_path, &t->cert_pem))
        config_client_key(l, key, t->key_path, t->cert_pem, &t->key_pem);
}

static void check_backend_tls(struct loader *l, const struct yaml_node *tls, struct route_target *t)
{
    const struct yaml_node *ca = yaml_get(tls, "ca");
    if (!tls) return;
    if (!has_tls_backend(t)) config_error_key(l, tls, "has no effect: no backend is https://");
    if (tls->kind != YAML_MAP) return;
    if (tls->n == 0) config_error_at(l, tls, "an empty map has no effect; leave the key out");
    if (ca && !t->tls.verify) config_error_key(l, ca, "has no effect with verify: false");
    load_client_certificate(l, tls, &t->tls);
}

static void check_health(struct loader *l, const struct yaml_node *health, struct route_target *t)
{
    const struct yaml_node *timeout = yaml_get(health, "timeout");
    if (t->health.timeout <= t->health.interval) return;
    if (timeout)
        config_error_key(l, timeout, "must not be longer than the interval");
    else
        t->health.timeout = t->health.interval; // the default gives way
}

static void check_eject(struct loader *l, const struct yaml_node *eject, const struct route_target *t)
{
    const struct yaml_node *seconds = yaml_get(eject, "for");
    if (eject && eject->kind == YAML_MAP && eject->n == 0)
        config_error_at(l, eject, "an empty map has no effect; leave the key out");
    if (seconds && t->eject.failures == 0)
        config_error_key(l, seconds, "has no effect: failures: 0 takes no backend out");
}

static void check_limits(struct loader *l, const struct yaml_node *limits, const struct route_target *t)
{
    const struct yaml_node *queue = yaml_get(limits, "queue"), *wait = yaml_get(limits, "queue_wait");
    if (limits && limits->kind == YAML_MAP && limits->n == 0)
        config_error_at(l, limits, "an empty map has no effect; leave the key out");
    bool unlimited = !yaml_get(limits, "connections");
    if (queue && unlimited) config_error_key(l, queue, "has no effect without connections: nothing waits");
    if (wait && unlimited) config_error_key(l, wait, "has no effect without connections: nothing waits");
    if (wait && !unlimited && t->max_queue == 0)
        config_error_key(l, wait, "has no effect: with queue: 0 nothing waits");
}

static void check_path(struct loader *l, const struct yaml_node *node, const struct route_target *t)
{
    const struct yaml_node *strip = yaml_get(node, "strip_prefix"), *rewrite = yaml_get(node, "rewrite");
    bool root = str_eq_c(t->prefix, "/");
    if (strip && rewrite)
        config_error_key(l, strip,
                         is_false(strip) ? "rewrite takes the prefix off in any case"
                                         : "has no effect: rewrite takes the prefix off anyway");
    else if (t->strip_prefix && root)
        config_error_key(l, strip, "has no effect: the route's path is /, so there is nothing to take off");
    if (rewrite && t->rewrite.p && str_eq(t->rewrite, t->prefix))
        config_error_key(l, rewrite, "has no effect: this is the route's own path");
}

static void check_websocket(struct loader *l, const struct yaml_node *websocket, const struct route_target *t)
{
    const struct yaml_node *origins = yaml_get(websocket, "origins");
    if (websocket && websocket->kind == YAML_MAP && websocket->n == 0)
        config_error_at(l, websocket, "an empty map has no effect; leave the key out");
    if (origins && !t->websocket.allowed) config_error_key(l, origins, "has no effect with allowed: false");
}

void config_check_route(struct loader *l, const struct yaml_node *node, struct route_target *t)
{
    const struct yaml_node *pico = yaml_get(node, "pico");
    if (yaml_get(node, "redirect")) {
        refuse_backends(l, node, "the route answers with a redirect");
        if (pico) config_error_key(l, pico, "has no effect: the route answers with a redirect");
        return;
    }
    if (pico) {
        refuse_backends(l, node, "the route has boards (pico) in place of backends");
        return;
    }
    check_backends(l, node, t);
    check_backend_tls(l, yaml_get(node, "backend_tls"), t);
    check_health(l, yaml_get(node, "health"), t);
    check_eject(l, yaml_get(node, "eject"), t);
    check_limits(l, yaml_get(node, "limits"), t);
    check_path(l, node, t);
    check_websocket(l, yaml_get(node, "websocket"), t);
}
