// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/visitor.h"

#include <stdlib.h>
#include <string.h>

#include "http/cookie.h"

enum { WATCH_MS = 2000 };

static void touch_done(struct store_op *op)
{
    free(op);
}

// The store learns of use now and then, not with every request.
static void touch_session(struct exchange *x)
{
    int64_t idle = x->worker->shared->config->session_idle;
    int64_t every = idle / 16 < 60 ? idle / 16 : 60;
    int64_t now = x->worker->loop.now;
    if (now - x->session.last_seen <= every) return;
    struct store_op *op = calloc(1, sizeof *op);
    if (!op) return; // the next request tries again
    *op = (struct store_op){ .kind = STORE_SESSION_TOUCH, .now = now, .done = touch_done };
    memcpy(op->id, x->session.id, SESSION_ID_BYTES);
    store_submit(x->worker->shared->store, op);
}

// An operator who takes a provider out of the configuration takes its word out of force, at once.
static bool provider_known(const struct worker *w, const struct session *s, struct err *err)
{
    struct str key = s->identity.provider;
    return config_provider(w->shared->config, key) ||
           err_set(err, ERR_SESSION_EXPIRED, "the provider '%.*s' is configured no more", STR_FMT(key));
}

static bool counts(const struct worker *w, const struct session *s, struct err *err)
{
    return session_alive(s, w->shared->config->session_idle, w->loop.now, err) && provider_known(w, s, err);
}

static bool look_up(struct exchange *x, struct str cookie, struct err *err)
{
    struct worker *w = x->worker;
    x->kept_session = session_cache_get(&w->sessions, w->reader, &w->shared->keys, x->host, cookie, err);
    if (!x->kept_session) return false;
    x->session = *cached_session(x->kept_session);
    return counts(w, &x->session, err);
}

static bool is_unclear(enum err_code code)
{
    return code == ERR_STORE || code == ERR_NO_MEMORY || code == ERR_INTERNAL || code == ERR_CRYPTO;
}

enum visitor visitor_load(struct exchange *x)
{
    struct str cookie = cookie_get(&x->req.fields, STR(SESSION_COOKIE));
    if (!cookie.p) return VISITOR_NOBODY;
    struct err err = { 0 };
    if (look_up(x, cookie, &err)) {
        x->has_session = true;
        touch_session(x);
        return VISITOR_KNOWN;
    }
    if (is_unclear(err.code)) {
        x->err = err;
        return VISITOR_UNCLEAR;
    }
    x->session_end = err.code;
    x->stale_cookie = true;
    return VISITOR_NOBODY;
}

enum visitor visitor_look(struct worker *w, const uint8_t id[SESSION_ID_BYTES], int64_t *ret_seen,
                          struct err *err)
{
    struct session s;
    struct arena *a = arena_new((size_t)2 * LIMIT_SESSION_BYTES);
    if (!a) {
        err_set(err, ERR_NO_MEMORY, "looking at a session");
        return VISITOR_UNCLEAR;
    }
    bool there = store_session(w->reader, a, id, &s, err) && counts(w, &s, err);
    if (there) *ret_seen = s.last_seen;
    arena_free(a);
    return there ? VISITOR_KNOWN : is_unclear(err->code) ? VISITOR_UNCLEAR : VISITOR_NOBODY;
}

static void look_again(struct timer *t)
{
    struct exchange *x = container_of(t, struct exchange, watch);
    struct err err = { 0 };
    // A store that cannot answer ends nothing: the next look will tell. A session is over only when that is
    // known.
    if (visitor_look(x->worker, x->session.id, &x->session.last_seen, &err) == VISITOR_NOBODY) {
        x->err = err;
        x->engine->abort(x);
        return;
    }
    if (x->bytes_received > x->watched_bytes) touch_session(x);
    x->watched_bytes = x->bytes_received;
    visitor_watch(x);
}

void visitor_watch(struct exchange *x)
{
    if (!x->has_session) return;
    x->watch.fire = look_again;
    timer_set(&x->worker->loop, &x->watch, WATCH_MS);
}
