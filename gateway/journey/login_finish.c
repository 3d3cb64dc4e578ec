// SPDX-License-Identifier: GPL-3.0-or-later
// The way back from the identity provider: the answer belongs to this browser's login, is verified, used
// once, and becomes a session with a new id.
#include <string.h>

#include "base/log.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/form_body.h"
#include "gateway/journey/login.h"
#include "gateway/journey/login_ticket.h"
#include "http/cookie.h"

static void log_login(struct login_job *j, const struct err *err)
{
    struct exchange *x = j->x;
    struct log_line l;
    log_begin(&l, err ? LOG_WARN : LOG_INFO, err ? "login.failed" : "login");
    log_c(&l, "request_id", x->request_id);
    log_str(&l, "client", x->client);
    if (j->provider) log_str(&l, "idp", j->provider->key);
    if (err)
        log_err(&l, err);
    else
        log_str(&l, "user", identity_label(&j->session.identity));
    log_end(&l);
}

static void fail(struct login_job *j, struct err err)
{
    struct exchange *x = j->x;
    metric_add(&x->worker->metrics.logins_failed_total, 1);
    log_login(j, &err);
    x->err = err;
    answer_error(x, login_href(x->arena, j->state.target, j->state.binding));
    login_job_free(j);
}

static void forget_state_cookie(struct login_job *j)
{
    struct exchange *x = j->x;
    struct str name = login_state_cookie_name(x->arena, j->state.state);
    enum cookie_same_site same = j->provider->protocol == PROTOCOL_SAML ? SAME_SITE_NONE : SAME_SITE_LAX;
    if (name.p) answer_add(x, "Set-Cookie", cookie_set(x->arena, name, STR(""), same, 0));
}

static void session_stored(struct login_job *j)
{
    struct exchange *x = j->x;
    forget_state_cookie(j);
    if (j->op.err.code != ERR_NONE) {
        fail(j, j->op.err);
        return;
    }
    struct str cookie =
        session_cookie_make(x->arena, &x->worker->shared->keys, x->host, j->session.id, x->worker->loop.now);
    if (!cookie.p) {
        fail(j, (struct err){ .code = ERR_CRYPTO });
        return;
    }
    metric_add(&x->worker->metrics.logins_total, 1);
    log_login(j, NULL);
    x->stale_cookie = false;
    answer_add(x, "Set-Cookie", cookie_set(x->arena, STR(SESSION_COOKIE), cookie, SAME_SITE_LAX, -1));
    login_go_to_target(j);
}

static bool make_session(struct login_job *j)
{
    struct exchange *x = j->x;
    const struct config *c = x->worker->shared->config;
    int64_t now = x->worker->loop.now, end = now + c->session_lifetime;
    int64_t limit = j->idp.identity.not_after;
    j->session = (struct session){ .identity = j->idp.identity,
                                   .created = now,
                                   .last_seen = now,
                                   .expires = limit && limit < end ? limit : end,
                                   .id_token = j->idp.id_token };
    return crypto_random(j->session.id, sizeof j->session.id); // always a new id: a planted one dies
}

// The answer and the login's state are both used up with the session that they make, in one transaction.
static void add_replay_keys(struct login_job *j)
{
    struct store_op *op = &j->op;
    int64_t now = j->x->worker->loop.now;
    struct str key = j->provider->key;
    if (j->state.state.p)
        op->replay[op->nreplay++] =
            (struct replay_key){ arena_printf(j->arena, "state:%.*s", STR_FMT(j->state.state)),
                                 now + LIMIT_LOGIN_SECONDS };
    if (j->idp.assertion_id.p)
        op->replay[op->nreplay++] =
            (struct replay_key){ arena_printf(j->arena, "saml:%.*s:%.*s", STR_FMT(key),
                                              STR_FMT(j->idp.assertion_id)),
                                 j->idp.replay_until };
}

// Whoever planted or stole the cookie of the session before must not keep it. The one that came with this
// request, or else the one that the browser had when the login began.
static void end_former_session(struct login_job *j)
{
    const struct exchange *x = j->x;
    struct str id = j->state.replaces;
    if (x->has_session) id = (struct str){ (const char *)x->session.id, SESSION_ID_BYTES };
    if (id.n != SESSION_ID_BYTES) return;
    memcpy(j->replaced_id, id.p, SESSION_ID_BYTES);
    j->op.replaces = j->replaced_id;
}

static void verified(struct login_job *j)
{
    if (j->idp.err.code != ERR_NONE) {
        forget_state_cookie(j);
        fail(j, j->idp.err);
        return;
    }
    if (!make_session(j)) {
        fail(j, (struct err){ .code = ERR_CRYPTO });
        return;
    }
    j->op = (struct store_op){ .kind = STORE_SESSION_CREATE, .session = j->session };
    add_replay_keys(j);
    end_former_session(j);
    for (size_t i = 0; i < j->op.nreplay; i++) {
        if (j->op.replay[i].key.p) continue;
        fail(j, (struct err){ .code = ERR_NO_MEMORY });
        return;
    }
    login_job_ask_store(j, session_stored);
}

// The login's cookie, copied into the job's memory. Without it there is nothing to finish.
static bool recall_state(struct login_job *j, struct str state, struct err *err)
{
    struct exchange *x = j->x;
    return login_state_open(j->arena, &x->worker->shared->keys, &x->req.fields, arena_str(j->arena, state),
                            j->provider->key, x->worker->loop.now, &j->state, err);
}

// A step back in the history onto an answer that was used already, with a live session: nothing is wrong.
static bool was_finished_before(struct login_job *j, const struct err *err)
{
    if (err->code != ERR_LOGIN_STATE || !j->x->has_session) return false;
    answer_redirect(j->x, STR("/.sallyport/"));
    login_job_free(j);
    return true;
}

void login_oidc_callback(struct exchange *x, const struct provider *p)
{
    struct login_job *j = login_job_new(x);
    if (!j) return;
    j->provider = p;
    struct err err = { 0 };
    struct str query = x->target.query.p ? x->target.query : STR(""), state;
    if (!oidc_callback_state(j->arena, query, &state, &err) || !recall_state(j, state, &err)) {
        if (!was_finished_before(j, &err)) fail(j, err);
        return;
    }
    j->idp = (struct idp_job){ .kind = IDP_FINISH,
                               .state = j->state.state,
                               .nonce = j->state.nonce,
                               .code_verifier = j->state.code_verifier,
                               .redirect_uri = login_redirect_uri(j->arena, x->worker->shared, p),
                               .callback_query = arena_str(j->arena, query) };
    login_job_ask_idp(j, verified);
}

// A login that began at the identity provider: nothing of ours is remembered, and it leads to our own page.
static bool accept_unsolicited(struct login_job *j)
{
    if (!j->provider->saml.allow_unsolicited) return false;
    struct str origin = j->x->worker->shared->login_origin;
    j->state = (struct login_state){ .target = arena_printf(j->arena, "%.*s/.sallyport/", STR_FMT(origin)) };
    return j->state.target.p != NULL;
}

static void acs_form(struct exchange *x, const struct form *form)
{
    struct login_job *j = login_job_new(x);
    if (!j) return;
    // The path was matched against this very provider before the body was read.
    struct str rest = x->target.path, part = STR_NONE, response, relay_state = STR_NONE;
    for (int i = 0; i < 4; i++) str_cut(&rest, '/', &part);
    j->provider = config_provider(x->worker->shared->config, part);
    struct err err = { 0 };
    if (form_get(form, "SAMLResponse", &response) != FORM_OK ||
        form_get(form, "RelayState", &relay_state) == FORM_DUPLICATE) {
        err_set(&err, ERR_SAML_ENCODING, "exactly one SAMLResponse and at most one RelayState are expected");
        fail(j, err);
        return;
    }
    if (!recall_state(j, relay_state.p ? relay_state : STR(""), &err) && !accept_unsolicited(j)) {
        if (!was_finished_before(j, &err)) fail(j, err);
        return;
    }
    j->idp = (struct idp_job){ .kind = IDP_FINISH,
                               .state = j->state.state,
                               .request_id = j->state.request_id,
                               .saml_response = arena_str(j->arena, response) };
    login_job_ask_idp(j, verified);
}

void login_saml_acs(struct exchange *x, const struct provider *p)
{
    (void)p;
    x->navigation = true; // a page's form, whatever the browser's age: what goes wrong is told to a person
    form_body_read(x, acs_form);
}
