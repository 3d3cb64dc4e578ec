// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/login_ticket.h"

#include <string.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/wire.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/login.h"
#include "gateway/journey/return_url.h"
#include "http/cookie.h"

#define ENTER_COOKIE LOGIN_COOKIE_PREFIX "enter"

enum { SECRET_BYTES = 32, SECRET_CHARACTERS = 43 };
enum { TAG_SESSION = 1, TAG_HOST, TAG_BINDING, TAG_TARGET };

static struct str hash_text(struct arena *a, struct str text)
{
    uint8_t hash[SHA256_BYTES];
    if (!crypto_sha256(text, hash)) return STR_NONE;
    return encode_base64url(a, (struct str){ (char *)hash, sizeof hash });
}

static struct str fresh_secret(struct arena *a)
{
    uint8_t bytes[SECRET_BYTES];
    if (!crypto_random(bytes, sizeof bytes)) return STR_NONE;
    return encode_base64url(a, (struct str){ (char *)bytes, sizeof bytes });
}

struct str login_binding(struct exchange *x)
{
    struct str value = cookie_get(&x->req.fields, STR(ENTER_COOKIE));
    if (value.n != SECRET_CHARACTERS) {
        value = fresh_secret(x->arena);
        if (!value.p) return STR_NONE;
        answer_add(x, "Set-Cookie", cookie_set(x->arena, STR(ENTER_COOKIE), value, SAME_SITE_LAX, -1));
    }
    return hash_text(x->arena, value);
}

// --- on the login host

static void ticket_stored(struct login_job *j)
{
    struct exchange *x = j->x;
    if (j->op.err.code != ERR_NONE) {
        x->err = j->op.err;
        answer_error(x, STR_NONE);
    } else {
        struct url u;
        struct err err;
        if (!url_parse(x->arena, j->state.target, &u, &err)) x->err = err;
        struct str origin = url_origin(x->arena, &u);
        struct str enter =
            arena_printf(x->arena, "%.*s/.sallyport/enter?ticket=%.*s", STR_FMT(origin), STR_FMT(j->ticket));
        answer_redirect(x, url_with_param(x->arena, enter, "rd", j->state.target));
    }
    login_job_free(j);
}

static struct str ticket_record(struct login_job *j, struct str host)
{
    struct wire_writer w;
    wire_init(&w, j->arena, LIMIT_URL_BYTES * 2);
    wire_put(&w, TAG_SESSION, (struct str){ (char *)j->session.id, SESSION_ID_BYTES });
    wire_put(&w, TAG_HOST, host);
    wire_put(&w, TAG_BINDING, j->state.binding);
    wire_put(&w, TAG_TARGET, j->state.target);
    return wire_done(&w);
}

void login_go_to_target(struct login_job *j)
{
    struct exchange *x = j->x;
    const struct config *c = x->worker->shared->config;
    struct url u;
    struct str target;
    struct err err = { 0 };
    if (!return_url_check(j->arena, c, j->state.target, &u, &target, &err)) {
        x->err = err;
        answer_error(x, STR_NONE);
        login_job_free(j);
        return;
    }
    j->state.target = target;
    if (str_eq(u.host, c->login_host)) {
        answer_redirect(x, target);
        login_job_free(j);
        return;
    }
    j->ticket = fresh_secret(j->arena);
    j->op = (struct store_op){ .kind = STORE_TICKET_PUT,
                               .key = hash_text(j->arena, j->ticket), // the store never sees a usable ticket
                               .value = ticket_record(j, u.host),
                               .until = x->worker->loop.now + LIMIT_TICKET_SECONDS };
    if (!j->state.binding.p || !j->ticket.p || !j->op.key.p || !j->op.value.p) {
        answer_failure(x, j->state.binding.p ? ERR_NO_MEMORY : ERR_LOGIN_TARGET,
                       "a login for another host has to begin there");
        login_job_free(j);
        return;
    }
    login_job_ask_store(j, ticket_stored);
}

// --- on the application's host

// A link that was used before, or a step back in the browser's history: with a live session it leads on.
static void enter_again(struct login_job *j)
{
    struct exchange *x = j->x;
    if (x->has_session && j->state.target.p) {
        x->err = (struct err){ 0 };
        answer_redirect(x, j->state.target);
    } else {
        // "Try again" goes to the target, where a new login starts, or else to our own page, which needs one.
        answer_error(x, j->state.target.p ? j->state.target : STR("/.sallyport/"));
    }
    login_job_free(j);
}

static bool ticket_fits(struct login_job *j, struct err *err)
{
    struct exchange *x = j->x;
    struct str session, host, binding, value = j->op.ret_value;
    if (!wire_find(value, TAG_SESSION, &session) || session.n != SESSION_ID_BYTES ||
        !wire_find(value, TAG_HOST, &host) || !wire_find(value, TAG_BINDING, &binding) ||
        !wire_find(value, TAG_TARGET, &j->state.target))
        return err_set(err, ERR_LOGIN_TICKET, "the ticket's record is damaged");
    if (!str_eq(host, x->host))
        return err_set(err, ERR_LOGIN_TICKET, "the ticket is for host '%.*s'", STR_FMT(host));
    struct str cookie = cookie_get(&x->req.fields, STR(ENTER_COOKIE));
    struct str hash = cookie.p ? hash_text(j->arena, cookie) : STR_NONE;
    if (hash.n != binding.n || !hash.p || !crypto_equal(hash.p, binding.p, hash.n))
        return err_set(err, ERR_LOGIN_TICKET, "the ticket was made for another browser");
    memcpy(j->session.id, session.p, SESSION_ID_BYTES);
    return true;
}

static void ticket_taken(struct login_job *j)
{
    struct exchange *x = j->x;
    struct err err = j->op.err;
    if (err.code != ERR_NONE || !ticket_fits(j, &err)) {
        x->err = err;
        enter_again(j);
        return;
    }
    struct str cookie =
        session_cookie_make(x->arena, &x->worker->shared->keys, x->host, j->session.id, x->worker->loop.now);
    if (!cookie.p) {
        answer_failure(x, ERR_CRYPTO, "making a session cookie");
        login_job_free(j);
        return;
    }
    x->stale_cookie = false;
    answer_add(x, "Set-Cookie", cookie_set(x->arena, STR(SESSION_COOKIE), cookie, SAME_SITE_LAX, -1));
    answer_redirect(x, j->state.target);
    login_job_free(j);
}

// The `rd` parameter, when it leads to this very host.
static struct str target_here(struct exchange *x, struct arena *a, const struct form *query)
{
    struct str raw, text;
    struct url u;
    struct err err;
    if (form_get(query, "rd", &raw) != FORM_OK) return STR_NONE;
    if (!return_url_check(a, x->worker->shared->config, raw, &u, &text, &err)) return STR_NONE;
    return str_eq(u.host, x->host) ? text : STR_NONE;
}

void login_enter(struct exchange *x)
{
    struct form query = { 0 };
    struct str ticket;
    struct login_job *j = login_job_new(x);
    if (!j) return;
    if (!form_parse(j->arena, x->target.query.p ? x->target.query : STR(""), LIMIT_QUERY_FIELDS, &query) ||
        form_get(&query, "ticket", &ticket) != FORM_OK || ticket.n != SECRET_CHARACTERS) {
        err_set(&x->err, ERR_LOGIN_TICKET, "no ticket in the address");
        answer_error(x, STR("/.sallyport/"));
        login_job_free(j);
        return;
    }
    j->state.target = target_here(x, j->arena, &query);
    j->op = (struct store_op){ .kind = STORE_TICKET_TAKE, .key = hash_text(j->arena, ticket) };
    login_job_ask_store(j, ticket_taken);
}
