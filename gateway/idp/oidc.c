// SPDX-License-Identifier: GPL-3.0-or-later
// OpenID Connect logins. START: the authorization URL. FINISH: callback -> token request -> verify ->
// (userinfo) -> done.
#include "gateway/idp/private.h"

static bool ready(struct flow *f, int need, void (*resume)(struct flow *f))
{
    switch (refresh_ensure(f->provider, need)) {
    case ENSURE_READY: return true;
    case ENSURE_WAIT: flow_wait(f, resume); return false;
    case ENSURE_UNAVAILABLE: break;
    }
    flow_fail_code(f, ERR_LOGIN_UNAVAILABLE, "no usable discovery document or keys");
    return false;
}

static const struct oidc_client *client(const struct flow *f)
{
    return &f->provider->config->oidc;
}

static struct oidc_login login_of(const struct idp_job *job)
{
    return (struct oidc_login){ job->state, job->nonce, job->code_verifier, job->redirect_uri };
}

void oidc_flow_start(struct flow *f)
{
    if (!ready(f, NEED_START, oidc_flow_start)) return;
    struct oidc_login login = login_of(f->job);
    f->job->redirect_url = oidc_authorization_url(f->job->arena, client(f), &f->provider->endpoints, &login);
    if (!f->job->redirect_url.p)
        flow_fail_code(f, ERR_NO_MEMORY, "authorization request");
    else
        flow_done(f);
}

// ---- userinfo

static void userinfo_merged(struct verify_task *t, const struct verify_reply *r)
{
    struct flow *f = t->context;
    if (r->err.code != ERR_NONE)
        flow_fail(f, &r->err);
    else if (flow_take_identity(f, r->identity))
        flow_done(f);
}

static void userinfo_fetched(struct fetch *x)
{
    struct flow *f = x->context;
    struct err err = { 0 };
    if (x->err.code != ERR_NONE) {
        flow_fail(f, &x->err);
        return;
    }
    if (x->status != 200)
        err_set(&err, ERR_OIDC_USERINFO, "the userinfo endpoint answered %ld", x->status);
    else if (!fetch_is_json(x))
        err_set(&err, ERR_OIDC_USERINFO, "the userinfo answer is not application/json");
    if (err.code != ERR_NONE) {
        flow_fail(f, &err);
        return;
    }
    struct verify_request q = { .kind = VERIFY_OIDC_USERINFO, .text = x->body, .identity = f->identity };
    flow_verify(f, &q, false, userinfo_merged);
}

// RFC 6750 section 2.1: b64token.
static bool token_is_sendable(struct str token)
{
    for (size_t i = 0; i < token.n; i++)
        if (!ascii_is_alnum(token.p[i]) && str_find(STR("-._~+/="), token.p[i]) == 7) return false;
    return token.n > 0 && token.n <= LIMIT_JWT_BYTES;
}

static void userinfo_ask(struct flow *f, struct str access_token)
{
    struct err err = { 0 };
    if (!f->provider->endpoints.userinfo_endpoint.p) {
        flow_fail_code(f, ERR_OIDC_USERINFO, "userinfo is configured, but the provider has no such endpoint");
        return;
    }
    if (!token_is_sendable(access_token)) {
        flow_fail_code(f, ERR_OIDC_USERINFO, "userinfo is configured, but no usable access token came");
        return;
    }
    struct fetch_request r = { .url = f->provider->endpoints.userinfo_endpoint,
                               .authorization = arena_printf(f->arena, "Bearer %.*s", STR_FMT(access_token)),
                               .ca_pem = f->provider->config->ca_pem,
                               .accept = "application/json",
                               .max = LIMIT_JSON_BYTES };
    if (!r.authorization.p)
        flow_fail_code(f, ERR_NO_MEMORY, "userinfo");
    else if (!fetch_start(f->idp, &r, userinfo_fetched, f, &err))
        flow_fail(f, &err);
}

// ---- the token answer

static void login_verify(struct flow *f);

static void keys_refetched(struct flow *f)
{
    if (f->provider->jwks.in_flight)
        flow_wait(f, keys_refetched);
    else
        login_verify(f);
}

// The provider may have begun to use a new key: look once, and at most once a minute for all logins together.
static void unknown_key(struct flow *f, const struct err *err)
{
    bool first = !f->keys_refetched;
    f->keys_refetched = true;
    if (first && refresh_unknown_key(f->provider))
        flow_wait(f, keys_refetched);
    else
        flow_fail(f, err);
}

static void login_verified(struct verify_task *t, const struct verify_reply *r)
{
    struct flow *f = t->context;
    if (r->err.code == ERR_OIDC_UNKNOWN_KEY) {
        unknown_key(f, &r->err);
        return;
    }
    if (r->err.code != ERR_NONE) {
        flow_fail(f, &r->err);
        return;
    }
    f->job->id_token = arena_str(f->job->arena, r->id_token);
    if (!client(f)->userinfo) {
        if (flow_take_identity(f, r->identity)) flow_done(f);
        return;
    }
    f->identity = arena_str(f->arena, r->identity);
    if (!f->identity.p)
        flow_fail_code(f, ERR_NO_MEMORY, "identity");
    else
        userinfo_ask(f, r->access_token);
}

static void login_verify(struct flow *f)
{
    const struct document *keys = &f->provider->jwks;
    if (!keys->text) {
        flow_fail_code(f, ERR_LOGIN_UNAVAILABLE, "no keys");
        return;
    }
    struct verify_request q = { .kind = VERIFY_OIDC_LOGIN,
                                .text = f->token_response,
                                .nonce = f->job->nonce,
                                .jwks = { keys->text, keys->n } };
    flow_verify(f, &q, false, login_verified);
}

static void token_error_parsed(struct verify_task *t, const struct verify_reply *r)
{
    struct flow *f = t->context;
    if (r->err.code == ERR_NONE)
        flow_fail_code(f, ERR_OIDC_TOKEN_RESPONSE, "the token endpoint refused");
    else
        flow_fail(f, &r->err);
}

static void token_answered(struct fetch *x)
{
    struct flow *f = x->context;
    struct err err = { 0 };
    if (x->err.code != ERR_NONE) {
        flow_fail(f, &x->err);
        return;
    }
    if (!fetch_is_json(x)) {
        err_set(&err, ERR_OIDC_TOKEN_RESPONSE, "the token endpoint answered %ld, not in JSON", x->status);
        flow_fail(f, &err);
        return;
    }
    if (x->status != 200) { // RFC 6749 section 5.2
        struct verify_request q = { .kind = VERIFY_OIDC_TOKEN_ERROR, .text = x->body };
        flow_verify(f, &q, false, token_error_parsed);
        return;
    }
    f->token_response = arena_str(f->arena, x->body);
    if (!f->token_response.p)
        flow_fail_code(f, ERR_NO_MEMORY, "token answer");
    else
        login_verify(f);
}

static void token_ask(struct flow *f, struct str code)
{
    struct oidc_login login = login_of(f->job);
    struct oidc_token_request t = { 0 };
    struct err err = { 0 };
    if (!oidc_token_request(f->arena, client(f), &login, code, &t, &err)) {
        flow_fail(f, &err);
        return;
    }
    struct fetch_request r = { .url = f->provider->endpoints.token_endpoint,
                               .body = t.body,
                               .authorization = t.authorization,
                               .ca_pem = f->provider->config->ca_pem,
                               .accept = "application/json",
                               .max = LIMIT_JSON_BYTES };
    if (!fetch_start(f->idp, &r, token_answered, f, &err)) flow_fail(f, &err);
}

void oidc_flow_finish(struct flow *f)
{
    if (!ready(f, NEED_FINISH, oidc_flow_finish)) return;
    struct oidc_callback callback = { 0 };
    struct err err = { 0 };
    if (f->job->state.n == 0 || f->job->nonce.n == 0 || f->job->code_verifier.n == 0) {
        flow_fail_code(f, ERR_LOGIN_STATE, "the login's state is incomplete");
        return;
    }
    if (!oidc_callback_parse(f->arena, f->job->callback_query, client(f), &f->provider->endpoints, &callback,
                             &err)) {
        flow_fail(f, &err);
        return;
    }
    if (!str_eq(callback.state, f->job->state))
        flow_fail_code(f, ERR_LOGIN_STATE, "the answer belongs to another login");
    else
        token_ask(f, callback.code);
}
