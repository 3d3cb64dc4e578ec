// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/request.h"

#include <stdlib.h>

#include "base/log.h"
#include "gateway/edge/proxy.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/client.h"
#include "gateway/journey/endpoints.h"
#include "gateway/journey/identity_headers.h"
#include "gateway/journey/login.h"
#include "gateway/journey/visitor.h"
#include "gateway/relay/hub.h"
#include "http/cookie.h"
#include "http/policy.h"
#include "http/rewrite.h"
#include "http/websocket.h"

static enum phase_result normalise(struct exchange *x);
static enum phase_result client(struct exchange *x);
static enum phase_result scrub(struct exchange *x);
static enum phase_result redirect_plain(struct exchange *x);
static enum phase_result route(struct exchange *x);
static enum phase_result uplink(struct exchange *x);
static enum phase_result load_session(struct exchange *x);
static enum phase_result decide(struct exchange *x);
static enum phase_result answer(struct exchange *x);
static enum phase_result redirect(struct exchange *x);
static enum phase_result check_body(struct exchange *x);
static enum phase_result check_upgrade(struct exchange *x);
static enum phase_result identity(struct exchange *x);
static enum phase_result forward(struct exchange *x);

const struct phase request_phases[] = {
    { "normalise", normalise },   // one canonical host and path; ambiguous ones are refused
    { "client", client },         // who it is, when a trusted proxy speaks for somebody
    { "scrub", scrub },           // hop-by-hop, identity and forwarding fields go, on every path
    { "plain", redirect_plain },  // a listener without TLS only redirects
    { "route", route },           // matched once
    { "uplink", uplink },         // boards have a key, no session
    { "session", load_session },  // cookie -> session
    { "decide", decide },         // DENY, LOGIN, ALLOW
    { "answer", answer },         // own endpoints, and every verdict but ALLOW
    { "redirect", redirect },     // routes that lead elsewhere
    { "body", check_body },       // not larger than the route takes
    { "upgrade", check_upgrade }, // WebSocket: from our own pages, or from where it is allowed
    { "identity", identity },     // who they are, for the application
    { "proxy", forward },         // to a backend
};
const size_t request_phase_count = sizeof request_phases / sizeof *request_phases;

void exchange_run(struct exchange *x)
{
    for (;;) {
        enum phase_result result = request_phases[x->phase].run(x);
        if (result != PHASE_NEXT) return; // DONE: x may be gone
        x->phase++;
    }
}

static enum phase_result refused(struct exchange *x)
{
    answer_error(x, STR_NONE);
    return PHASE_DONE;
}

static enum phase_result normalise(struct exchange *x)
{
    struct err err = { 0 };
    x->navigation = http_is_navigation(&x->req);
    if (!http_host_parse(x->arena, x->req.host, &x->host, &x->port, &err) ||
        !http_target_parse(x->arena, x->req.path_query, &x->target, &err)) {
        x->err = err;
        return refused(x);
    }
    if (str_eq_nocase(x->req.method, STR("TRACE"))) {
        // RFC 9110 section 9.3.8: the answer would show the visitor what only the application may see.
        answer_failure(x, ERR_METHOD_NOT_ALLOWED, "TRACE is not passed on");
        return PHASE_DONE;
    }
    return PHASE_NEXT;
}

static enum phase_result client(struct exchange *x)
{
    return client_find(x) ? PHASE_NEXT : refused(x);
}

// Forwarding fields go even when a trusted proxy sent them: what they say is known now, and the application
// gets our own.
static enum phase_result scrub(struct exchange *x)
{
    if (websocket_is_asked(&x->req)) x->upgrade = STR("websocket"); // Upgrade itself goes with the others
    http_scrub_request(&x->req.fields);
    return PHASE_NEXT;
}

static bool known_host(const struct config *c, struct str host)
{
    return str_eq(host, c->login_host) || route_has_host(&c->routes, host);
}

// The page that says so has a style sheet, which is the same on every host.
static enum phase_result wrong_host(struct exchange *x)
{
    if (!endpoints_serve_asset(x)) answer_failure(x, ERR_WRONG_HOST, "no route for this host");
    return PHASE_DONE;
}

// 308 keeps the method and the body; 301 is understood by the oldest clients, and for these two it is the
// same. Not to be kept: a proxy that says http by mistake would otherwise be remembered by every browser.
static void moved_to(struct exchange *x, struct str url)
{
    bool get = str_eq_c(x->req.method, "GET") || str_eq_c(x->req.method, "HEAD");
    answer_add(x, "Location", url);
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_body(x, url.p ? (get ? 301 : 308) : 503, "text/plain", url.p ? STR("") : STR_NONE);
}

static bool is_uplink(const struct exchange *x)
{
    const struct route *r = relay_route(x);
    return r && uplink_is_asked(x, r);
}

// A board that cannot do better may say ws://, from where the configuration says so. It follows no redirects.
static enum phase_result plain_uplink(struct exchange *x)
{
    const struct pico *p = &relay_route(x)->target->pico;
    bool from_proxy = ip_networks_have(&x->worker->shared->config->trusted_proxies, &x->address);
    if (from_proxy) // on this machine, perhaps; but the board may be anywhere
        answer_failure(x, ERR_UPLINK_PLAIN, "ws:// through a proxy that does not say from where");
    else if (ip_is_loopback(&x->address) || ip_networks_have(&p->plain, &x->address))
        return PHASE_NEXT;
    else
        answer_failure(x, ERR_UPLINK_PLAIN, "ws:// from an address that is not in plain_networks");
    return PHASE_DONE;
}

static enum phase_result redirect_plain(struct exchange *x)
{
    const struct config *c = x->worker->shared->config;
    if (x->secure && !x->redirect_only) return PHASE_NEXT;
    if (is_uplink(x)) return plain_uplink(x);
    if (!known_host(c, x->host)) return wrong_host(x);
    struct str origin = config_origin(x->arena, c, x->host);
    bool query = x->target.query.p != NULL;
    struct str url = arena_printf(x->arena, "%.*s%.*s%s%.*s", STR_FMT(origin), STR_FMT(x->target.path),
                                  query ? "?" : "", STR_FMT(x->target.query));
    moved_to(x, url);
    return PHASE_DONE;
}

static enum phase_result route(struct exchange *x)
{
    const struct config *c = x->worker->shared->config;
    if (!known_host(c, x->host)) return wrong_host(x);
    x->own = path_has_prefix(x->target.path, STR("/.sallyport"));
    if (!x->own) x->route = route_match(&c->routes, x->host, x->target.path);
    return PHASE_NEXT;
}

static bool has_boards(const struct exchange *x)
{
    return x->route && x->route->target->pico.served;
}

static enum phase_result uplink(struct exchange *x)
{
    if (!has_boards(x) || !uplink_is_asked(x, x->route)) return PHASE_NEXT;
    uplink_serve(x, x->route);
    return PHASE_WAIT;
}

// Nobody there, whatever the cause, is no error yet: policy decides. A store that cannot say is one.
static enum phase_result load_session(struct exchange *x)
{
    return visitor_load(x) == VISITOR_UNCLEAR ? refused(x) : PHASE_NEXT;
}

static enum phase_result decide(struct exchange *x)
{
    if (x->own || has_boards(x)) return PHASE_NEXT;
    const struct identity *id = x->has_session ? &x->session.identity : NULL;
    struct policy_request request = { x->req.method, x->target.path, x->address };
    x->decision = policy_decide(x->route, id, &request);
    struct worker_metrics *m = &x->worker->metrics;
    switch (x->decision.verdict) {
    case VERDICT_ALLOW: metric_add(&m->decisions_allow_total, 1); break;
    case VERDICT_LOGIN: metric_add(&m->decisions_login_total, 1); break;
    case VERDICT_STEP_UP:
    case VERDICT_DENY: metric_add(&m->decisions_deny_total, 1); break;
    }
    return PHASE_NEXT;
}

static enum phase_result answer(struct exchange *x)
{
    if (x->own) {
        endpoints_serve(x);
        return PHASE_WAIT; // or done: x is not touched again
    }
    if (has_boards(x)) { // nothing behind it is forwarded to
        if (str_eq(x->target.path, x->route->path))
            answer_redirect(x, STR("/.sallyport/pico/"));
        else
            answer_failure(x, ERR_NOT_FOUND, "a route with boards has one page");
        return PHASE_DONE;
    }
    switch (x->decision.verdict) {
    case VERDICT_ALLOW: return PHASE_NEXT;
    case VERDICT_LOGIN: login_require(x); return PHASE_DONE;
    case VERDICT_STEP_UP:
    case VERDICT_DENY: break;
    }
    bool front_page = str_eq(x->host, x->worker->shared->config->login_host) && str_eq_c(x->target.path, "/");
    if (!x->route && front_page)
        answer_redirect(x, STR("/.sallyport/"));
    else if (!x->route)
        answer_failure(x, ERR_POLICY_NO_ROUTE, "no route for this path");
    else
        answer_failure(x, ERR_POLICY_DENIED, "%s", reason_text(x->decision.reason));
    return PHASE_DONE;
}

static enum phase_result redirect(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    if (!t->redirect.to.p) return PHASE_NEXT;
    struct str prefix = t->redirect.keep_path ? t->prefix : STR_NONE;
    struct str url = http_redirect_location(x->arena, t->redirect.to, &x->target, prefix);
    answer_configured_redirect(x, t->redirect.status, url, x->route->policy == &policy_public);
    return PHASE_DONE;
}

// A body that does not say its length is counted on its way (proxy_request.c).
static enum phase_result check_body(struct exchange *x)
{
    int64_t max = x->route->target->max_body;
    if (max < 0 || x->req.content_length <= max) return PHASE_NEXT;
    answer_failure(x, ERR_HTTP_BODY_TOO_LARGE, "%lld bytes, the route takes %lld",
                   (long long)x->req.content_length, (long long)max);
    return PHASE_DONE;
}

static enum phase_result check_upgrade(struct exchange *x)
{
    if (!x->upgrade.p) return PHASE_NEXT;
    const struct websocket *w = &x->route->target->websocket;
    struct str origin = http_fields_value(&x->req.fields, FIELD_ORIGIN);
    if (!w->allowed) {
        answer_failure(x, ERR_WEBSOCKET_NOT_ALLOWED, "websocket.allowed is false on this route");
        return PHASE_DONE;
    }
    if (!websocket_handshake_check(&x->req.fields, &x->err)) {
        if (x->err.code == ERR_WEBSOCKET_VERSION) answer_add(x, "Sec-WebSocket-Version", STR("13"));
        return refused(x);
    }
    if (!websocket_origin_ok(x->arena, origin, x->host, x->port, x->worker->shared->config->public_port,
                             &w->origins)) {
        answer_failure(x, ERR_WEBSOCKET_ORIGIN, "Origin %.*s", STR_FMT(origin));
        return PHASE_DONE;
    }
    return PHASE_NEXT;
}

static enum phase_result identity(struct exchange *x)
{
    const struct identity *id = x->has_session ? &x->session.identity : NULL;
    // A public page is for everyone, but only a login that counts on this route says who this one is.
    if (id && !route_takes_provider(x->route, id->provider)) id = NULL;
    if (!cookie_strip(x->arena, &x->req.fields, STR(SESSION_COOKIE)) ||
        !identity_headers_set(x->arena, &x->req.fields, x->route->target->identity, id)) {
        answer_failure(x, ERR_TOO_LARGE, "the request does not fit once the identity is added");
        return PHASE_DONE;
    }
    return PHASE_NEXT;
}

static enum phase_result forward(struct exchange *x)
{
    // The one place that forwards; everything but an explicit ALLOW on a matched route has been answered
    // above.
    if (!x->route || x->decision.verdict != VERDICT_ALLOW) abort();
    proxy_start(x);
    return PHASE_WAIT;
}
