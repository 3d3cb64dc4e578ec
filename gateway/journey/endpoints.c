// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/endpoints.h"

#include <stdio.h>
#include <time.h>

#include "base/encode.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/login.h"
#include "gateway/pages/pages.h"
#include "gateway/relay/hub.h"

enum where { ANY_HOST, LOGIN_HOST };
enum method { GET = 1, POST = 2 };

static void whoami(struct exchange *x);
static void ask_logout(struct exchange *x);
static void userinfo(struct exchange *x);
static void saml_metadata(struct exchange *x);

static const struct {
    const char *path; // after /.sallyport
    enum where where;
    enum method method;
    void (*serve)(struct exchange *x);
} endpoints[] = {
    { "", ANY_HOST, GET, whoami },
    { "/", ANY_HOST, GET, whoami },
    { "/login", ANY_HOST, GET, login_begin },
    { "/enter", ANY_HOST, GET, login_enter },
    { "/logout", ANY_HOST, GET, ask_logout },
    { "/logout", ANY_HOST, POST, login_sign_out },
    { "/userinfo", ANY_HOST, GET, userinfo },
    { "/saml/metadata", LOGIN_HOST, GET, saml_metadata },
};

static enum method method_of(const struct exchange *x)
{
    if (str_eq_c(x->req.method, "GET") || str_eq_c(x->req.method, "HEAD")) return GET;
    return str_eq_c(x->req.method, "POST") ? POST : 0;
}

static bool on_login_host(const struct exchange *x)
{
    return str_eq(x->host, x->worker->shared->config->login_host);
}

static void wrong_method(struct exchange *x, enum method allowed)
{
    answer_add(x, "Allow", allowed == POST ? STR("POST") : STR("GET, HEAD"));
    answer_failure(x, ERR_METHOD_NOT_ALLOWED, "this endpoint does not take %.*s", STR_FMT(x->req.method));
}

// /saml/<idp>/acs and /oidc/<idp>/callback. False: not one of these.
static bool serve_provider(struct exchange *x, struct str path)
{
    struct str rest = path, empty, protocol, key, action, more;
    if (!str_cut(&rest, '/', &empty) || !str_cut(&rest, '/', &protocol) || !str_cut(&rest, '/', &key) ||
        !str_cut(&rest, '/', &action) || str_cut(&rest, '/', &more) || !on_login_host(x))
        return false;
    bool acs = str_eq_c(protocol, "saml") && str_eq_c(action, "acs");
    bool callback = str_eq_c(protocol, "oidc") && str_eq_c(action, "callback");
    const struct provider *p = config_provider(x->worker->shared->config, key);
    if ((!acs && !callback) || !p || p->protocol != (acs ? PROTOCOL_SAML : PROTOCOL_OIDC)) return false;
    if (method_of(x) != (acs ? POST : GET))
        wrong_method(x, acs ? POST : GET);
    else if (acs)
        login_saml_acs(x, p);
    else
        login_oidc_callback(x, p);
    return true;
}

bool endpoints_serve_asset(struct exchange *x)
{
    static const struct str folder = STR_INIT("/.sallyport/assets/");
    struct str body, name = str_skip(x->target.path, folder.n);
    const char *type;
    if (!str_starts(x->target.path, folder) || method_of(x) != GET) return false;
    if (!page_asset(name, &body, &type)) return false;
    bool forever = page_asset_immutable(name);
    answer_add(x, "Cache-Control", forever ? STR("public, max-age=31536000, immutable") : STR("no-cache"));
    answer_body(x, 200, type, body);
    return true;
}

void endpoints_serve(struct exchange *x)
{
    struct str path = str_skip(x->target.path, sizeof "/.sallyport" - 1);
    enum method other = 0;
    if (path_has_prefix(path, STR("/pico"))) {
        relay_serve(x, str_skip(path, sizeof "/pico" - 1));
        return;
    }
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        if (!str_eq_c(path, endpoints[i].path)) continue;
        if (endpoints[i].where == LOGIN_HOST && !on_login_host(x)) continue;
        if (endpoints[i].method == method_of(x)) {
            endpoints[i].serve(x);
            return;
        }
        other = endpoints[i].method;
    }
    if (other)
        wrong_method(x, other);
    else if (!endpoints_serve_asset(x) && !serve_provider(x, path))
        answer_failure(x, ERR_NOT_FOUND, "no such endpoint");
}

static struct page_common common(struct exchange *x)
{
    return (struct page_common){
        .site_name = x->worker->shared->config->site_name,
        .host = x->host,
        .request_id = str_c(x->request_id),
        .user = x->has_session ? identity_label(&x->session.identity) : STR_NONE,
    };
}

static struct str when(struct arena *a, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[32];
    gmtime_r(&t, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm);
    return arena_str(a, (struct str){ text, n });
}

static void whoami(struct exchange *x)
{
    if (!x->has_session) {
        login_require(x);
        return;
    }
    const struct session *s = &x->session;
    const struct config *c = x->worker->shared->config;
    const struct provider *p = config_provider(c, s->identity.provider);
    int64_t idle_end = s->last_seen + c->session_idle;
    struct page_row rows[10];
    size_t n = 0;
    if (s->identity.name.p) rows[n++] = (struct page_row){ STR("Name"), s->identity.name };
    if (s->identity.email.p) rows[n++] = (struct page_row){ STR("E-mail"), s->identity.email };
    if (s->identity.username.p) rows[n++] = (struct page_row){ STR("User name"), s->identity.username };
    rows[n++] = (struct page_row){ STR("Subject"), s->identity.subject };
    rows[n++] = (struct page_row){ STR("Signed in with"), p ? p->label : s->identity.provider };
    rows[n++] = (struct page_row){ STR("Signed in at"), when(x->arena, s->created) };
    rows[n++] = (struct page_row){ STR("Ends at the latest"), when(x->arena, s->expires) };
    rows[n++] = (struct page_row){ STR("Ends if unused"),
                                   when(x->arena, idle_end < s->expires ? idle_end : s->expires) };
    struct page_common k = common(x);
    answer_page(x, 200, page_whoami(x->arena, &k, rows, n, s->identity.groups));
}

static void ask_logout(struct exchange *x)
{
    struct page_common k = common(x);
    if (x->has_session)
        answer_page(x, 200, page_confirm_logout(x->arena, &k, answer_home(x)));
    else
        answer_page(x, 200, page_signed_out(x->arena, &k, answer_home(x)));
}

static void add_member(struct sbuf *b, struct arena *a, const char *name, struct str value)
{
    if (!value.p) return;
    struct str json = encode_json(a, value);
    sbuf_addf(b, "%s\"%s\":%.*s", b->n > 1 ? "," : "", name, STR_FMT(json));
}

static void userinfo(struct exchange *x)
{
    if (!x->has_session) {
        answer_add(x, "Cache-Control", STR("no-store"));
        x->navigation = false;
        answer_failure(x, ERR_POLICY_LOGIN, "userinfo without a session");
        return;
    }
    const struct identity *id = &x->session.identity;
    struct sbuf b;
    sbuf_init(&b, x->arena, LIMIT_IDENTITY_BYTES * 8);
    sbuf_add_c(&b, "{");
    add_member(&b, x->arena, "user", identity_label(id));
    add_member(&b, x->arena, "email", identity_email(id));
    add_member(&b, x->arena, "name", id->name);
    add_member(&b, x->arena, "preferredUsername", id->username);
    add_member(&b, x->arena, "subject", id->subject);
    add_member(&b, x->arena, "provider", id->provider);
    sbuf_add_c(&b, ",\"groups\":[");
    for (size_t i = 0; i < id->groups.n; i++) {
        struct str json = encode_json(x->arena, id->groups.v[i]);
        sbuf_addf(&b, "%s%.*s", i ? "," : "", STR_FMT(json));
    }
    sbuf_add_c(&b, "]}\n");
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_body(x, 200, "application/json", sbuf_str(&b));
}

static void saml_metadata(struct exchange *x)
{
    struct str xml = x->worker->shared->saml_metadata;
    if (!xml.p)
        answer_failure(x, ERR_NOT_FOUND, "no SAML identity provider is configured");
    else
        answer_body(x, 200, "application/samlmetadata+xml", xml);
}
