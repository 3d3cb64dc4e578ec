// SPDX-License-Identifier: GPL-3.0-or-later
// Server-sent events (WHATWG HTML, section 9.2) that tell a page what its visitor may use, whenever that
// changes. A change is noted for every stream and looked at later, some streams at a time: boards that come
// and go all day cost a worker little, and every visitor hears of the last state, if not of all between.
// What a slow reader has not taken yet is one state; the next one is composed when that is gone.
#include "gateway/relay/hub.h"

#include <string.h>

#include "base/mem.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/visitor.h"

enum {
    LOOK_MS = 100,         // between two looks, and from a change to the first
    LOOK_DECISIONS = 4096, // of policy in one look: about two milliseconds
    PING_MS = 20 * 1000,   // a connection that nobody says anything on is cut by what is in between
};

struct event_stream {
    struct event_stream *prev, *next;
    struct events *all;
    struct exchange *x;
    const struct route *route;
    struct timer ping;
    bool stale;                  // something has changed since the last look
    uint8_t shown[SHA256_BYTES]; // of the JSON that the client was sent last
    char *rest;                  // what it has not taken of that; NULL: nothing
    size_t rest_n, rest_sent;
};

// --- the list of a worker's streams

static void append(struct events *all, struct event_stream *s)
{
    s->prev = all->last;
    s->next = NULL;
    *(all->last ? &all->last->next : &all->first) = s;
    all->last = s;
    all->n++;
}

static void unlink_stream(struct events *all, struct event_stream *s)
{
    *(s->prev ? &s->prev->next : &all->first) = s->next;
    *(s->next ? &s->next->prev : &all->last) = s->prev;
    all->n--;
}

static bool is_same_person(const struct identity *a, const struct identity *b)
{
    return str_eq(a->provider, b->provider) && str_eq(a->subject, b->subject);
}

static size_t streams_of(const struct events *all, const struct identity *id)
{
    size_t n = 0;
    for (const struct event_stream *s = all->first; s; s = s->next)
        n += is_same_person(&s->x->session.identity, id);
    return n;
}

// --- sending

static void send_rest(struct event_stream *s)
{
    struct str left = { s->rest + s->rest_sent, s->rest_n - s->rest_sent };
    s->rest_sent += s->x->engine->write(s->x, left);
    if (s->rest_sent < s->rest_n) return;
    mem_free(s->rest);
    s->rest = NULL;
}

// False: no memory for what the client did not take; half an event cannot be continued.
static bool put(struct event_stream *s, struct str text)
{
    size_t taken = s->x->engine->write(s->x, text);
    struct str left = str_skip(text, taken);
    if (left.n) {
        s->rest = mem_alloc(left.n);
        if (!s->rest) return false;
        memcpy(s->rest, left.p, left.n);
        s->rest_n = left.n;
        s->rest_sent = 0;
    }
    s->x->engine->flush(s->x);
    return true;
}

static struct str event_of(struct arena *a, struct str json)
{
    struct str name = STR("event: boards\ndata: "), end = STR("\n\n");
    char *p = arena_alloc(a, name.n + json.n + end.n);
    if (!p) return STR_NONE;
    memcpy(p, name.p, name.n);
    memcpy(p + name.n, json.p, json.n);
    memcpy(p + name.n + json.n, end.p, end.n);
    return (struct str){ p, name.n + json.n + end.n };
}

// Sends the state if it differs from what was sent last. False: short of memory.
static bool tell(struct event_stream *s, size_t *decisions)
{
    uint8_t hash[SHA256_BYTES];
    struct offered_boards o = { 0 };
    struct arena *a = arena_new(BOARDS_ARENA);
    if (!a) return false;
    boards_offered(s->x, s->route, a, &o);
    struct str json = boards_json(a, &o);
    *decisions += o.decisions;
    bool ok = json.p && crypto_sha256(json, hash);
    if (ok && memcmp(hash, s->shown, sizeof hash) != 0) {
        memcpy(s->shown, hash, sizeof hash);
        struct str event = event_of(a, json);
        ok = event.p && put(s, event);
    }
    arena_free(a);
    return ok;
}

// --- looking

static bool wants_look(const struct event_stream *s)
{
    return s->stale && !s->rest;
}

static void look_soon(struct events *all, struct loop *l)
{
    int64_t wait = all->rest_until_ms - l->now_ms;
    if (!all->looking.next) timer_set(l, &all->looking, wait > LOOK_MS ? wait : LOOK_MS);
}

static void look(struct event_stream *s, size_t *decisions)
{
    struct events *all = s->all;
    s->stale = false;
    unlink_stream(all, s);
    append(all, s);
    if (!tell(s, decisions)) s->x->engine->abort(s->x); // the client comes back and begins anew
}

static void look_at_some(struct timer *t)
{
    struct events *all = container_of(t, struct events, looking);
    struct loop *l = &all->first->x->worker->loop;
    size_t decisions = 0;
    struct event_stream *s = all->first, *next;
    for (size_t n = all->n; s && n-- > 0 && decisions < LOOK_DECISIONS; s = next) {
        next = s->next;
        if (wants_look(s)) look(s, &decisions);
    }
    // One look at ten thousand boards may cost more than its share: then the next one comes later.
    all->rest_until_ms = l->now_ms + LOOK_MS * (int64_t)(decisions / LOOK_DECISIONS);
    for (s = all->first; s; s = s->next)
        if (wants_look(s)) look_soon(all, l);
}

static void boards_changed(struct board_watch *w)
{
    struct events *all = container_of(w, struct events, watch);
    for (struct event_stream *s = all->first; s; s = s->next) s->stale = true;
    look_soon(all, &all->first->x->worker->loop);
}

// --- life of a stream

static void writable(struct exchange *x)
{
    struct event_stream *s = x->work;
    if (!s->rest) return;
    send_rest(s);
    x->engine->flush(x);
    if (wants_look(s)) look_soon(s->all, &x->worker->loop);
}

static void say_ping(struct timer *t)
{
    struct event_stream *s = container_of(t, struct event_stream, ping);
    timer_set(&s->x->worker->loop, t, PING_MS);
    if (!s->rest && !put(s, STR(": ping\n\n"))) s->x->engine->abort(s->x);
}

static void gone(struct exchange *x)
{
    struct event_stream *s = x->work;
    struct events *all = s->all;
    unlink_stream(all, s);
    timer_clear(&x->worker->loop, &s->ping);
    mem_free(s->rest);
    s->rest = NULL;
    if (all->first) return;
    relay_unwatch(x->worker->relay, &all->watch);
    timer_clear(&x->worker->loop, &all->looking);
}

static void join(struct event_stream *s)
{
    struct events *all = s->all;
    struct exchange *x = s->x;
    if (!all->first) {
        all->watch.changed = boards_changed;
        all->looking.fire = look_at_some;
        relay_watch(x->worker->relay, &all->watch);
    }
    append(all, s);
    s->ping.fire = say_ping;
    timer_set(&x->worker->loop, &s->ping, PING_MS);
    x->work = s;
    x->on_writable = writable;
    x->on_gone = gone;
    visitor_watch(x);
}

static bool may_join(struct exchange *x, const struct events *all)
{
    if (x->worker->draining) return err_set(&x->err, ERR_DRAINING, "no event streams any more");
    if (all->n >= LIMIT_PICO_EVENT_STREAMS)
        return err_set(&x->err, ERR_PICO_STREAMS, "%zu event streams", all->n);
    size_t own = streams_of(all, &x->session.identity);
    return own < LIMIT_PICO_EVENT_STREAMS_USER ||
           err_set(&x->err, ERR_PICO_STREAMS, "%zu event streams of this visitor", own);
}

void events_serve(struct exchange *x, const struct route *route)
{
    struct events *all = relay_events(x->worker->relay);
    if (!may_join(x, all)) {
        answer_error(x, STR_NONE);
        return;
    }
    struct event_stream *s = arena_alloc(x->arena, sizeof *s);
    if (!s) {
        answer_failure(x, ERR_NO_MEMORY, "an event stream");
        return;
    }
    *s = (struct event_stream){ .all = all, .x = x, .route = route };
    answer_add(x, "X-Accel-Buffering", STR("no")); // a proxy in front would wait for more
    if (!answer_stream(x, "text/event-stream")) return;
    if (!exchange_body_allowed(x)) {
        x->engine->end(x);
        return;
    }
    join(s);
    size_t decisions = 0;
    if (!tell(s, &decisions)) x->engine->abort(x);
}

void events_drain(struct relay_worker *r)
{
    struct events *all = relay_events(r);
    while (all->first) all->first->x->engine->end(all->first->x);
}
