// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/answer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/url.h"
#include "gateway/pages/pages.h"
#include "http/cookie.h"

void answer_add(struct exchange *x, const char *name, struct str value)
{
    if (value.p) http_fields_add(&x->answer, http_field_id(str_c(name)), str_c(name), value);
}

static void clear_stale_cookie(struct exchange *x)
{
    if (!x->stale_cookie) return;
    x->stale_cookie = false;
    answer_add(x, "Set-Cookie", cookie_set(x->arena, STR(SESSION_COOKIE), STR(""), SAME_SITE_LAX, 0));
}

static void send_rest(struct exchange *x)
{
    size_t taken = x->engine->write(x, x->body_rest);
    x->body_rest = str_skip(x->body_rest, taken);
    if (x->body_rest.n == 0)
        x->engine->end(x);
    else
        x->engine->flush(x);
}

// What every answer has.
static void add_headers(struct exchange *x, struct str content_type)
{
    answer_add(x, "Date", worker_date(x->worker));
    answer_add(x, "Content-Type", content_type);
    // Not for localhost: it would bind every port of a developer's machine.
    bool hsts = x->secure && !host_is_localhost(x->host);
    answer_add(x, "Strict-Transport-Security", hsts ? STR("max-age=31536000") : STR_NONE);
    answer_add(x, "X-Content-Type-Options", STR("nosniff"));
}

void answer_body(struct exchange *x, int status, const char *content_type, struct str body)
{
    if (arena_failed(x->arena) || !body.p) {
        // Not even our own page fits into memory: the shortest answer there is.
        status = 503;
        body = STR("The gateway is short of memory. Please try again in a moment.\n");
        content_type = "text/plain; charset=utf-8";
        x->answer.n = 0;
        if (x->err.code == ERR_NONE) err_set(&x->err, ERR_NO_MEMORY, "composing an answer");
    }
    clear_stale_cookie(x);
    x->status = status;
    x->length = (int64_t)body.n;
    x->on_body = NULL;
    x->on_writable = send_rest;
    x->body_rest = body;
    add_headers(x, body.n ? str_c(content_type) : STR_NONE);
    if (!x->engine->head(x)) {
        x->engine->abort(x);
        return;
    }
    send_rest(x);
}

bool answer_stream(struct exchange *x, const char *content_type)
{
    x->status = 200;
    x->length = -1;
    x->endless = true;
    answer_add(x, "Cache-Control", STR("no-store"));
    add_headers(x, str_c(content_type));
    if (x->engine->head(x)) return true;
    x->engine->abort(x);
    return false;
}

void answer_redirect(struct exchange *x, struct str url)
{
    bool safe = str_eq_c(x->req.method, "GET") || str_eq_c(x->req.method, "HEAD");
    answer_add(x, "Location", url);
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_add(x, "Referrer-Policy", STR("no-referrer"));
    answer_body(x, url.p ? (safe ? 302 : 303) : 503, "text/plain", url.p ? STR("") : STR_NONE);
}

void answer_configured_redirect(struct exchange *x, int status, struct str url, bool remember)
{
    bool permanent = status == 301 || status == 308;
    answer_add(x, "Location", url);
    if (!permanent)
        answer_add(x, "Cache-Control", STR("no-store"));
    else if (!remember)
        answer_add(x, "Cache-Control", STR("private"));
    answer_body(x, url.p ? status : 503, "text/plain", url.p ? STR("") : STR_NONE);
}

static void add_page_headers(struct exchange *x, const char *csp)
{
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_add(x, "Content-Security-Policy", str_c(csp));
    answer_add(x, "Referrer-Policy", STR("no-referrer"));
    answer_add(x, "X-Frame-Options", STR("DENY"));
}

void answer_page(struct exchange *x, int status, struct str html)
{
    add_page_headers(x, page_csp);
    answer_body(x, status, "text/html; charset=utf-8", html);
}

void answer_page_with_script(struct exchange *x, int status, struct str html)
{
    add_page_headers(x, page_script_csp);
    answer_body(x, status, "text/html; charset=utf-8", html);
}

struct str answer_home(const struct exchange *x)
{
    bool served = route_match(&x->worker->shared->config->routes, x->host, STR("/"));
    return served ? STR("/") : STR("/.sallyport/");
}

static struct str where_to_log_in(struct exchange *x)
{
    const struct shared *s = x->worker->shared;
    if (x->err.code != ERR_POLICY_LOGIN) return STR_NONE;
    return arena_printf(x->arena, "%.*s/.sallyport/login", STR_FMT(s->login_origin));
}

// The statuses of failed logins are those of gateways and bad requests; what failed for the visitor is the
// login.
static const char *title_of(enum err_code code)
{
    struct str name = str_c(err_name(code));
    bool login =
        str_starts(name, STR("oidc.")) || str_starts(name, STR("saml.")) || str_starts(name, STR("login."));
    int status = err_status(code);
    bool by_status = status == 401 || status == 503 || code == ERR_LOGIN_CROSS_SITE;
    return login && !by_status ? "Signing in did not work" : page_title(status);
}

void answer_error(struct exchange *x, struct str retry)
{
    int status = err_status(x->err.code);
    struct page_common common = {
        .site_name = x->worker->shared->config->site_name,
        .host = x->host,
        .request_id = str_c(x->request_id),
        .user = x->has_session ? identity_label(&x->session.identity) : STR_NONE,
    };
    struct page_error page = {
        .status = status,
        .title = str_c(title_of(x->err.code)),
        .sentence = str_c(err_text(x->err.code)),
        .retry_href = retry,
        .retry_label = STR("Try again"),
        .reason = str_c(err_name(x->err.code)),
    };
    if (x->err.code == ERR_POLICY_DENIED) {
        page.requirement = policy_requirements(x->arena, x->route);
        page.offer_sign_out = x->has_session;
        page.reason = str_c(reason_name(x->decision.reason));
    }
    if (status == 503) answer_add(x, "Retry-After", STR("5"));
    if (x->navigation) {
        answer_page(x, status, page_error(x->arena, &common, &page));
        return;
    }
    add_page_headers(x, page_csp);
    struct str json = page_error_json(x->arena, &page, common.request_id, where_to_log_in(x));
    answer_body(x, status, "application/json", json);
}

void answer_failure(struct exchange *x, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    x->err.code = code;
    vsnprintf(x->err.detail, sizeof x->err.detail, fmt, ap);
    va_end(ap);
    answer_error(x, STR_NONE);
}
