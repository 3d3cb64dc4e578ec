// SPDX-License-Identifier: GPL-3.0-or-later
// The admin API's sessions: list and revoke.
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/url.h"
#include "gateway/ops/http.h"

enum { SESSIONS_MAX = 1000, USER_BYTES_MAX = 512, HANDLE_DIGITS = 2 * SHA256_BYTES };

// The one parameter of a session list. Anything else, or twice, is a mistake that would else list or revoke
// too much.
struct one_user {
    struct arena *arena;
    struct str value;
    bool bad;
};

static enum MHD_Result on_argument(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct one_user *u = context;
    if (strcmp(name, "user") != 0 || u->value.p || !value ||
        !decode_percent(u->arena, str_c(value), false, &u->value))
        u->bad = true;
    return u->bad ? MHD_NO : MHD_YES;
}

static bool user_is_valid(struct str user)
{
    return user.n > 0 && user.n <= USER_BYTES_MAX && str_is_utf8(user, true);
}

static void add_session(struct sbuf *b, const struct session_summary *s, bool first)
{
    sbuf_add_c(b, first ? "{" : ",{");
    ops_json_str(b, "handle", s->handle);
    ops_json_str(b, "user", s->user);
    ops_json_str(b, "provider", s->provider);
    ops_json_int(b, "created", s->created);
    ops_json_int(b, "last_seen", s->last_seen);
    ops_json_int(b, "expires", s->expires);
    sbuf_add_c(b, "}");
}

static struct str list_text(struct arena *a, const struct session_summary *v, size_t n, bool truncated)
{
    struct sbuf b;
    sbuf_init(&b, a, OPS_ANSWER_BYTES);
    sbuf_add_c(&b, "{");
    ops_json_bool(&b, "truncated", truncated);
    sbuf_add_c(&b, ",\"sessions\":[");
    for (size_t i = 0; i < n; i++) add_session(&b, &v[i], i == 0);
    sbuf_add_c(&b, "]}\n");
    return sbuf_str(&b);
}

struct ops_answer ops_sessions(struct ops *o, struct ops_request *r)
{
    struct one_user u = { .arena = r->arena };
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, on_argument, &u);
    if (u.bad || (u.value.p && !user_is_valid(u.value)))
        return ops_refuse(r, 400, "ops.query", "one parameter is taken: user=E-MAIL-OR-SUBJECT");
    struct session_summary *v = NULL;
    size_t n = 0;
    struct err err = { .code = ERR_NONE };
    if (!store_list(o->reader, r->arena, u.value.p ? u.value : STR(""), SESSIONS_MAX + 1, &v, &n, &err))
        return ops_failure(r, &err);
    bool truncated = n > SESSIONS_MAX;
    return ops_json(200, list_text(r->arena, v, truncated ? SESSIONS_MAX : n, truncated));
}

// Waits for the store's writer thread. There is no time limit: the operation lives on our stack, and the
// writer reports every one.
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
};

static void on_stored(struct store_op *op)
{
    struct waiter *w = op->context;
    pthread_mutex_lock(&w->lock);
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

static void submit_and_wait(struct store *s, struct store_op *op)
{
    struct waiter w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
    op->done = on_stored;
    op->context = &w;
    store_submit(s, op);
    pthread_mutex_lock(&w.lock);
    while (!w.finished) pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
}

static bool is_form(struct ops_request *r)
{
    struct str type = str_c(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Content-Type"));
    return http_media_type_is(type, "application/x-www-form-urlencoded");
}

static bool handle_is_valid(struct str handle)
{
    uint8_t bytes[SHA256_BYTES];
    return handle.n == HANDLE_DIGITS && decode_hex(handle, bytes, sizeof bytes);
}

// Exactly one field: user or handle. NULL in *ret_kind when it is anything else.
static bool revoke_target(struct ops_request *r, struct str *ret_key, const char **ret_kind)
{
    struct form f;
    if (!form_parse(r->arena, (struct str){ r->body, r->body_n }, 2, &f) || f.n != 1) return false;
    struct str value = f.v[0].value;
    bool user = str_eq_c(f.v[0].name, "user"), handle = str_eq_c(f.v[0].name, "handle");
    if (!(user && user_is_valid(value)) && !(handle && handle_is_valid(value))) return false;
    *ret_key = value;
    *ret_kind = user ? "user" : "handle";
    return true;
}

static void audit(const char *kind, const struct store_op *op)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "admin.sessions_revoked");
    log_str(&l, kind, op->key);
    log_int(&l, "count", (int64_t)op->ret_count);
    if (op->err.code != ERR_NONE) log_err(&l, &op->err);
    log_end(&l);
}

struct ops_answer ops_revoke(struct ops *o, struct ops_request *r)
{
    struct str key;
    const char *kind;
    if (!is_form(r))
        return ops_refuse(r, 415, "ops.content_type", "the body must be application/x-www-form-urlencoded");
    if (!revoke_target(r, &key, &kind))
        return ops_refuse(r, 400, "ops.form",
                          "exactly one field is taken: user=E-MAIL-OR-SUBJECT or handle=64-HEX-DIGITS");
    struct store_op op = { .kind = STORE_SESSIONS_REVOKE, .arena = r->arena, .key = key, .now = time(NULL) };
    submit_and_wait(o->setup.store, &op);
    audit(kind, &op);
    if (op.err.code != ERR_NONE) return ops_failure(r, &op.err);
    return ops_json(200, arena_printf(r->arena, "{\"revoked\":%zu}\n", op.ret_count));
}
