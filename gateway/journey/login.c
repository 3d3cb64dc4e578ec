// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/login.h"

#include "base/encode.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/login_ticket.h"
#include "gateway/journey/return_url.h"
#include "gateway/pages/pages.h"
#include "http/cookie.h"

// Where the visitor is now, as an absolute URL. It has to fit into a cookie: what is too long is cut, the
// query first.
static struct str here(struct exchange *x)
{
    struct str origin = config_origin(x->arena, x->worker->shared->config, x->host);
    struct str path = x->target.path, query = x->target.query;
    bool long_path = path.n > LIMIT_URL_BYTES / 2;
    if (path.n + query.n > LIMIT_URL_BYTES / 2)
        query = STR_NONE; // nor does a query mean the same on another path
    if (long_path) path = STR("/");
    return arena_printf(x->arena, "%.*s%.*s%s%.*s", STR_FMT(origin), STR_FMT(path), query.p ? "?" : "",
                        STR_FMT(query));
}

static void send_to_login_host(struct exchange *x, struct str target, struct str provider)
{
    struct str login = x->worker->shared->login_origin;
    struct str url = arena_printf(x->arena, "%.*s/.sallyport/login", STR_FMT(login));
    url = url_with_param(x->arena, url, "rd", target);
    if (!str_eq(x->host, x->worker->shared->config->login_host)) {
        struct str binding = login_binding(x);
        if (!binding.p) {
            answer_failure(x, ERR_NO_MEMORY, "binding a login to the browser");
            return;
        }
        url = url_with_param(x->arena, url, "b", binding);
    }
    if (provider.p) url = url_with_param(x->arena, url, "idp", provider);
    answer_redirect(x, url);
}

void login_require(struct exchange *x)
{
    if (!x->navigation) {
        answer_failure(x, ERR_POLICY_LOGIN, "%s", "not logged in, and not a page navigation");
        return;
    }
    send_to_login_host(x, here(x), STR_NONE);
}

// --- the login host

struct login_query {
    struct str target;  // checked
    struct str binding; // absent or 43 characters of base64url
    struct str provider;
    const struct route *route; // of the target; NULL: a page of ours
};

static bool binding_ok(struct str b)
{
    for (size_t i = 0; i < b.n; i++)
        if (!ascii_is_alnum(b.p[i]) && b.p[i] != '-' && b.p[i] != '_') return false;
    return b.n == 43;
}

static bool parse_query(struct exchange *x, struct login_query *ret, struct err *err)
{
    const struct config *c = x->worker->shared->config;
    struct form query = { 0 };
    struct url u;
    struct str raw = STR_NONE;
    if (!form_parse(x->arena, x->target.query.p ? x->target.query : STR(""), LIMIT_QUERY_FIELDS, &query))
        return err_set(err, ERR_HTTP_QUERY, "the query is malformed");
    if (form_get(&query, "rd", &raw) == FORM_DUPLICATE ||
        form_get(&query, "b", &ret->binding) == FORM_DUPLICATE ||
        form_get(&query, "idp", &ret->provider) == FORM_DUPLICATE)
        return err_set(err, ERR_HTTP_QUERY, "a parameter occurs twice");
    if (!raw.p) {
        struct str origin = config_origin(x->arena, c, x->host);
        raw = arena_printf(x->arena, "%.*s/.sallyport/", STR_FMT(origin));
    }
    if (!return_url_check(x->arena, c, raw, &u, &ret->target, err)) return false;
    if (ret->binding.p && !binding_ok(ret->binding))
        return err_set(err, ERR_HTTP_QUERY, "malformed browser binding");
    bool own = path_has_prefix(u.path, STR("/.sallyport"));
    bool boards = path_has_prefix(u.path, STR("/.sallyport/pico"));
    ret->route = boards ? config_pico_route(c, u.host) : own ? NULL : route_match(&c->routes, u.host, u.path);
    return true;
}

static bool provider_counts(const struct login_query *q, struct str key)
{
    return !q->route || route_takes_provider(q->route, key);
}

struct str login_href(struct arena *a, struct str target, struct str binding)
{
    struct str url = STR("/.sallyport/login");
    if (target.p) url = url_with_param(a, url, "rd", target);
    return target.p && binding.p ? url_with_param(a, url, "b", binding) : url;
}

static struct str choice_href(struct exchange *x, const struct login_query *q, struct str key)
{
    return url_with_param(x->arena, login_href(x->arena, q->target, q->binding), "idp", key);
}

static void show_chooser(struct exchange *x, const struct login_query *q)
{
    const struct shared *s = x->worker->shared;
    struct page_choice *choices = arena_array(x->arena, s->config->nproviders + 1, sizeof *choices);
    size_t n = 0;
    for (size_t i = 0; choices && i < s->config->nproviders; i++) {
        const struct provider *p = &s->config->providers[i];
        if (!provider_counts(q, p->key)) continue;
        struct idp_status status;
        idp_status(s->idp, p->index, &status);
        choices[n++] = (struct page_choice){ p->label, choice_href(x, q, p->key), status.ready };
    }
    struct url u = { 0 };
    struct err err;
    bool own_page =
        str_starts(q->target, arena_printf(x->arena, "%.*s/.sallyport/", STR_FMT(s->login_origin)));
    if (!own_page) url_parse(x->arena, q->target, &u, &err); // "continue to" nothing else
    struct page_common common = { .site_name = s->config->site_name,
                                  .host = x->host,
                                  .request_id = str_c(x->request_id),
                                  .user = x->has_session ? identity_label(&x->session.identity) : STR_NONE };
    answer_page(x, 200, page_chooser(x->arena, &common, choices, n, u.host));
}

// The one provider that counts for the target, or the one that was chosen; NULL: there is a choice to make.
static const struct provider *chosen_provider(struct exchange *x, const struct login_query *q,
                                              struct err *err)
{
    const struct config *c = x->worker->shared->config;
    const struct provider *only = NULL;
    size_t count = 0;
    for (size_t i = 0; i < c->nproviders; i++) {
        if (!provider_counts(q, c->providers[i].key)) continue;
        only = &c->providers[i];
        count++;
    }
    if (!q->provider.p) return count == 1 ? only : NULL;
    const struct provider *p = config_provider(c, q->provider);
    if (p && provider_counts(q, p->key)) return p;
    err_set(err, ERR_LOGIN_PROVIDER, "provider '%.*s' does not count for this target", STR_FMT(q->provider));
    return NULL;
}

static void add_state_cookies(struct login_job *j, struct str value)
{
    struct exchange *x = j->x;
    const struct session_keys *keys = &x->worker->shared->keys;
    struct strlist surplus = login_state_surplus(x->arena, keys, &x->req.fields, x->worker->loop.now);
    // A SAML answer arrives as a cross-site POST, which only SameSite=None cookies accompany.
    enum cookie_same_site same = j->provider->protocol == PROTOCOL_SAML ? SAME_SITE_NONE : SAME_SITE_LAX;
    for (size_t i = 0; i < surplus.n; i++)
        answer_add(x, "Set-Cookie", cookie_set(x->arena, surplus.v[i], STR(""), same, 0));
    struct str name = login_state_cookie_name(x->arena, j->state.state);
    answer_add(x, "Set-Cookie", cookie_set(x->arena, name, value, same, LIMIT_LOGIN_SECONDS));
}

static void started(struct login_job *j)
{
    struct exchange *x = j->x;
    if (j->idp.err.code != ERR_NONE) {
        metric_add(&x->worker->metrics.logins_failed_total, 1);
        x->err = j->idp.err;
        // Without the provider: where others count too, they are offered.
        answer_error(x, login_href(x->arena, j->state.target, j->state.binding));
        login_job_free(j);
        return;
    }
    struct str cookie = login_state_seal(j->arena, &x->worker->shared->keys, &j->state);
    if (!cookie.p) {
        answer_failure(x, ERR_TOO_LARGE, "the login's state does not fit into a cookie");
        login_job_free(j);
        return;
    }
    metric_add(&x->worker->metrics.logins_started_total, 1);
    add_state_cookies(j, cookie);
    answer_redirect(x, j->idp.redirect_url);
    login_job_free(j);
}

static void start_login(struct exchange *x, const struct login_query *q, const struct provider *p)
{
    struct login_job *j = login_job_new(x);
    if (!j) return;
    j->provider = p;
    if (!login_state_new(j->arena, &j->state)) {
        answer_failure(x, ERR_CRYPTO, "no random bytes");
        login_job_free(j);
        return;
    }
    j->state.provider = p->key;
    j->state.target = arena_str(j->arena, q->target);
    j->state.binding = arena_str(j->arena, q->binding);
    j->state.created = x->worker->loop.now;
    if (x->has_session)
        j->state.replaces = arena_str(j->arena, (struct str){ (char *)x->session.id, SESSION_ID_BYTES });
    j->idp = (struct idp_job){ .kind = IDP_START,
                               .state = j->state.state,
                               .nonce = j->state.nonce,
                               .code_verifier = j->state.code_verifier,
                               .redirect_uri = login_redirect_uri(j->arena, x->worker->shared, p),
                               .request_id = j->state.request_id };
    login_job_ask_idp(j, started);
}

struct str login_redirect_uri(struct arena *a, const struct shared *s, const struct provider *p)
{
    return arena_printf(a, "%.*s/.sallyport/oidc/%.*s/callback", STR_FMT(s->login_origin), STR_FMT(p->key));
}

// A login for another host has to begin there, where the browser gets the cookie that the ticket is bound to:
// a link to the login host without that binding leads there first, and so does one to another application.
static bool begin_at_target(struct exchange *x, const struct login_query *q)
{
    struct url u;
    struct err err;
    if (q->binding.p || !url_parse(x->arena, q->target, &u, &err)) return false;
    if (str_eq(u.host, x->worker->shared->config->login_host) || str_eq(u.host, x->host)) return false;
    struct str origin = url_origin(x->arena, &u);
    struct str url = arena_printf(x->arena, "%.*s/.sallyport/login", STR_FMT(origin));
    url = url_with_param(x->arena, url, "rd", q->target);
    answer_redirect(x, q->provider.p ? url_with_param(x->arena, url, "idp", q->provider) : url);
    return true;
}

static bool from_another_site(const struct exchange *x)
{
    return str_eq_c(http_fields_value(&x->req.fields, FIELD_SEC_FETCH_SITE), "cross-site");
}

// Another account was asked for. Only the visitor may ask: a link on another site that trades the session for
// one with their account at another provider would be a login in their name.
static bool wants_another_account(const struct exchange *x, const struct login_query *q)
{
    return q->provider.p && !str_eq(q->provider, x->session.identity.provider) && !from_another_site(x);
}

// Logged in already with a provider that counts: no second prompt, only a ticket.
static bool single_sign_on(struct exchange *x, const struct login_query *q)
{
    if (!x->has_session || !provider_counts(q, x->session.identity.provider)) return false;
    if (wants_another_account(x, q)) return false;
    struct login_job *j = login_job_new(x);
    if (!j) return true;
    j->state.target = arena_str(j->arena, q->target);
    j->state.binding = arena_str(j->arena, q->binding);
    j->session = x->session;
    login_go_to_target(j);
    return true;
}

// A hidden frame is a background request of the site around it: with SameSite=None its cookies would push out
// those of the login that the visitor is at. Frames of the same site (an application inside another) are the
// operator's own.
static bool framed_by_another_site(const struct exchange *x)
{
    struct str dest = http_fields_value(&x->req.fields, FIELD_SEC_FETCH_DEST);
    return dest.p && !str_eq_c(dest, "document") && from_another_site(x);
}

void login_begin(struct exchange *x)
{
    if (!x->navigation || framed_by_another_site(x)) {
        // A login that a background request started would only fill the browser with cookies.
        answer_failure(x, ERR_LOGIN_NOT_NAVIGATION, "a login starts with a page navigation only");
        return;
    }
    struct login_query q = { 0 };
    struct err err = { 0 };
    if (!parse_query(x, &q, &err)) {
        x->err = err;
        answer_error(x, login_href(x->arena, STR_NONE, STR_NONE));
        return;
    }
    if (begin_at_target(x, &q)) return;
    if (!str_eq(x->host, x->worker->shared->config->login_host)) {
        send_to_login_host(x, q.target, q.provider);
        return;
    }
    if (single_sign_on(x, &q)) return;
    const struct provider *p = chosen_provider(x, &q, &err);
    if (p) {
        start_login(x, &q, p);
    } else if (err.code != ERR_NONE) {
        x->err = err;
        answer_error(x, login_href(x->arena, q.target, q.binding));
    } else {
        show_chooser(x, &q);
    }
}
