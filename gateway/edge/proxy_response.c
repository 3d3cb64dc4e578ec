// SPDX-License-Identifier: GPL-3.0-or-later
#include <string.h>

#include "base/url.h"
#include "gateway/edge/proxy.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/visitor.h"
#include "http/cookie.h"
#include "http/policy.h"
#include "http/websocket.h"

enum {
    READ_AHEAD = 4 * 1024, // bytes of an answer that are taken in although the client takes nothing
};

// What is read from the backend waits here until the client takes it; and of one client's streams, all may
// wait.
static bool fill(struct upstream *u)
{
    size_t room = u->x->engine->room(u->x);
    return upstream_fill(u, room > READ_AHEAD ? room : READ_AHEAD);
}

static enum proxy_step broken_off(struct upstream *u, const char *when)
{
    upstream_why_broken(u, when, &u->x->err);
    return PROXY_FAILED;
}

// A backend cannot plant a session or a login of ours.
static bool plants_our_cookie(const struct http_field *f)
{
    return f->id == FIELD_SET_COOKIE && cookie_sets_prefix(f->value, STR(SESSION_COOKIE));
}

// Where a part of the head is in its copy.
static struct str in_copy(struct str part, const char *head, const char *copy)
{
    return part.n ? (struct str){ copy + (part.p - head), part.n } : STR("");
}

// The head points into u->in, whose bytes are taken off right after: it is copied, once, and the fields with
// it.
static bool copy_fields(struct upstream *u, const struct http_response_head *head)
{
    struct exchange *x = u->x;
    const char *from = u->in.p + u->in.start;
    char *copy = arena_alloc(x->arena, head->bytes);
    if (!copy) return false;
    memcpy(copy, from, head->bytes);
    for (size_t i = 0; i < head->fields.n; i++) {
        struct http_field f = head->fields.v[i];
        // Content-Length is said anew by the engine, which frames the answer.
        if (f.removed || f.id == FIELD_CONTENT_LENGTH || plants_our_cookie(&f)) continue;
        f.name = in_copy(f.name, from, copy);
        f.value = in_copy(f.value, from, copy);
        struct str value = proxy_public_value(x, u->backend, &f);
        if (!value.p || !http_fields_add(&x->answer, f.id, f.name, value)) return false;
    }
    return true;
}

static bool is_event_stream(const struct http_response_head *head)
{
    struct str type = http_fields_value(&head->fields, FIELD_CONTENT_TYPE);
    return type.p && str_starts_nocase(type, STR("text/event-stream"));
}

// A backend that does not expect a body may leave it unread and take it for the next request; its answer to
// that would be the next visitor's ("CL.0").
static bool is_body_unexpected(const struct exchange *x)
{
    bool body = x->req.chunked || x->req.content_length > 0;
    return body && !str_eq_c(x->req.method, "POST") && !str_eq_c(x->req.method, "PUT") &&
           !str_eq_c(x->req.method, "PATCH");
}

static bool pass_head(struct upstream *u, struct http_response_head *head)
{
    struct exchange *x = u->x;
    u->framing = (int)http_response_framing(head, x->req.method);
    u->left = head->content_length;
    u->keep = head->keep_alive && u->framing != FRAMING_CLOSE && !is_body_unexpected(x);
    u->body_done = u->framing == FRAMING_NONE || (u->framing == FRAMING_LENGTH && u->left == 0);
    chunked_init(&u->chunked);
    http_scrub_response(&head->fields);
    if (!copy_fields(u, head)) return false;
    bool own_hsts = http_fields_get(&x->answer, FIELD_HSTS) != NULL;
    http_secure_response(&x->answer, x->route->target->secure_headers);
    if (!own_hsts && host_is_localhost(x->host)) http_fields_remove(&x->answer, FIELD_HSTS); // see answer.c
    x->status = head->status;
    x->length = head->content_length;
    u->head_done = true;
    u->stream = x->endless = is_event_stream(head);
    proxy_clock(u); // a stream may be silent from its beginning
    if (u->stream) visitor_watch(x);
    buffer_consume(&u->in, head->bytes);
    return x->engine->head(x);
}

// What a backend must say before anything else may travel between it and the client: that it has switched, to
// what was asked for, with the proof that it speaks it (RFC 6455 section 4.1).
static bool accepts_upgrade(struct exchange *x, const struct http_response_head *head)
{
    struct str key = http_fields_value(&x->req.fields, FIELD_SEC_WEBSOCKET_KEY);
    struct str proof = http_fields_value(&head->fields, FIELD_SEC_WEBSOCKET_ACCEPT);
    struct str to = http_fields_value(&head->fields, FIELD_UPGRADE);
    if (!x->upgrade.p) return err_set(&x->err, ERR_UPSTREAM_HEAD, "101 without an upgrade");
    if (!to.p || !str_eq_nocase(to, x->upgrade))
        return err_set(&x->err, ERR_UPSTREAM_HEAD, "101 to something that was not asked for");
    struct str expected = websocket_accept(x->arena, key);
    if (!expected.p || !proof.p || !str_eq(proof, expected))
        return err_set(&x->err, ERR_UPSTREAM_HEAD, "101 without the right Sec-WebSocket-Accept");
    return true;
}

// The exchange becomes a tunnel: both bodies are the bytes that follow.
static bool pass_upgrade(struct upstream *u, struct http_response_head *head)
{
    struct exchange *x = u->x;
    if (!accepts_upgrade(x, head)) return false;
    http_scrub_response(&head->fields);
    x->status = head->status;
    x->length = -1;
    if (!copy_fields(u, head) || !x->engine->upgrade(x))
        return err_set(&x->err, ERR_UPSTREAM_HEAD, "the answer's head is too large");
    buffer_consume(&u->in, head->bytes);
    x->tunnel = u->head_done = u->stream = true;
    u->framing = FRAMING_CLOSE;
    u->keep = u->body_done = u->request_done = false;
    x->body_done = false;
    proxy_clock(u);
    visitor_watch(x);
    return true;
}

// Parses heads until the final one; interim answers (1xx) are dropped: the engine has sent its own 100
// Continue.
static enum proxy_step take_head(struct upstream *u)
{
    struct http_response_head head;
    struct err err = { 0 };
    for (;;) {
        buffer_compact(&u->in);
        bool more = fill(u);
        struct str bytes = buffer_str(&u->in);
        if (bytes.n) u->got_bytes = true;
        switch (bytes.n ? http_response_parse(bytes.p, bytes.n, &u->scanned, &head, &err) : HTTP_MORE) {
        case HTTP_BAD: u->x->err = err; return PROXY_FAILED;
        case HTTP_MORE:
            if (more) continue;
            return u->eof ? broken_off(u, "before it answered") : PROXY_WAIT;
        case HTTP_DONE: break;
        }
        u->scanned = 0;
        if (head.status >= 200) break;
        if (head.status == 101) return pass_upgrade(u, &head) ? PROXY_ENDED : PROXY_FAILED;
        if (++u->interim > UPSTREAM_INTERIM) {
            err_set(&u->x->err, ERR_UPSTREAM_HEAD, "more than %d interim answers", UPSTREAM_INTERIM);
            return PROXY_FAILED;
        }
        buffer_consume(&u->in, head.bytes);
    }
    if (pass_head(u, &head)) return PROXY_ENDED;
    err_set(&u->x->err, ERR_UPSTREAM_HEAD, "the answer's head is too large");
    return PROXY_FAILED;
}

// Gives body bytes to the client and takes off what it accepted. False: it has to take more first.
static bool give(struct upstream *u, struct str data)
{
    size_t taken = u->x->engine->write(u->x, data);
    if (taken) proxy_clock(u);
    buffer_consume(&u->in, taken);
    return taken == data.n;
}

static bool move_plain(struct upstream *u)
{
    struct str data = buffer_str(&u->in);
    if (u->framing == FRAMING_LENGTH) {
        if ((int64_t)data.n > u->left) data.n = (size_t)u->left;
        size_t before = buffer_used(&u->in);
        bool all = give(u, data);
        u->left -= (int64_t)(before - buffer_used(&u->in));
        if (u->left == 0) u->body_done = true;
        return all;
    }
    return give(u, data);
}

static bool move_chunked(struct upstream *u, bool *ret_bad)
{
    while (buffer_used(&u->in) > 0 && !u->body_done) {
        struct str in = buffer_str(&u->in), data;
        struct chunked before = u->chunked;
        size_t used = 0;
        struct err err;
        enum chunked_step step = chunked_decode(&u->chunked, in.p, in.n, &used, &data, &err);
        if (step == CHUNKED_BAD) {
            err_set(&u->x->err, ERR_UPSTREAM_HEAD, "chunked coding: %s", err.detail);
            *ret_bad = true;
            return false;
        }
        if (step != CHUNKED_DATA) {
            buffer_consume(&u->in, used);
            u->body_done = step == CHUNKED_DONE;
            continue;
        }
        // The decoder is wound back and then led over just those bytes that the client took.
        size_t framing = (size_t)(data.p - in.p);
        size_t taken = u->x->engine->write(u->x, data);
        u->chunked = before;
        chunked_decode(&u->chunked, in.p, framing, &used, &(struct str){ 0 }, &err);
        if (taken) chunked_decode(&u->chunked, in.p + framing, taken, &used, &(struct str){ 0 }, &err);
        buffer_consume(&u->in, framing + taken);
        if (taken) proxy_clock(u);
        if (taken < data.n) return false;
    }
    return true;
}

static enum proxy_step move_body(struct upstream *u)
{
    size_t moved = 0;
    while (!u->body_done) {
        bool bad = false;
        bool all = u->framing == FRAMING_CHUNKED ? move_chunked(u, &bad) : move_plain(u);
        if (bad) return PROXY_FAILED;
        if (u->body_done) break;
        if (!all) return PROXY_WAIT; // the client's turn: on_writable comes back here
        if (buffer_used(&u->in) == 0 && u->eof) {
            if (u->broken || u->framing != FRAMING_CLOSE) return broken_off(u, "in the middle of its answer");
            u->body_done = true;
            break;
        }
        if (proxy_yields(u, moved)) return PROXY_WAIT;
        buffer_compact(&u->in);
        if (!fill(u) && !u->eof) return PROXY_WAIT; // the backend's turn
        moved = buffer_used(&u->in);
    }
    return PROXY_ENDED;
}

enum proxy_step proxy_response_pump(struct upstream *u)
{
    if (!u->head_done) {
        enum proxy_step step = take_head(u);
        if (step != PROXY_ENDED) return step;
    }
    return move_body(u);
}
