// SPDX-License-Identifier: GPL-3.0-or-later
// Calls of functions on the board: they wait in order of arrival, take one of a few places while the board
// works on them, and end exactly once.
//
// A call that times out while the board works on it leaves a shadow in its place. The board has one core, a
// quarter of a megabyte and no message by which a call is cancelled: were the place free at once, a function
// that hangs would pile up tasks there, four more each time. But the answer may never come (a board loses
// what its send buffer does not take), and then the place must not be lost: the shadow goes with the answer,
// which is dropped and counted, or when as much time again has passed as the caller had granted,
// SHADOW_MAX_MS at most.
#include "relay/link_internal.h"

#include <string.h>

enum { SHADOW_MAX_MS = 30 * 1000, CALL_ARENA_BYTES = 256 * 1024 };

// --- the ends of calls

static void end(struct link *l, struct relay_call *c)
{
    c->waited_ms = (c->sent ? c->sent_ms : l->now_ms) - c->taken_ms;
    c->board_ms = c->sent ? l->now_ms - c->sent_ms : 0;
    c->prev = l->done_end;
    c->next = NULL;
    *(l->done_end ? &l->done_end->next : &l->done) = c;
    l->done_end = c;
}

void link_settle(struct link *l)
{
    if (l->settling) return;
    l->settling = true;
    while (l->done) {
        struct relay_call *c = l->done;
        l->done = c->next;
        *(l->done ? &l->done->prev : &l->done_end) = NULL;
        c->prev = c->next = NULL;
        l->owner->finished(l->context, c);
    }
    l->settling = false;
    if (!l->draining || l->state != LINK_OPEN || calls_any(l)) return;
    struct err why;
    err_set(&why, ERR_DRAINING, "its last call is finished");
    link_shut(l, STR_NONE, WS_GOING_AWAY, &why);
}

// --- waiting

static void enqueue(struct link *l, struct relay_call *c)
{
    c->prev = l->waiting_end;
    c->next = NULL;
    *(l->waiting_end ? &l->waiting_end->next : &l->waiting) = c;
    l->waiting_end = c;
    l->nwaiting++;
}

static void dequeue(struct link *l, struct relay_call *c)
{
    *(c->prev ? &c->prev->next : &l->waiting) = c->next;
    *(c->next ? &c->next->prev : &l->waiting_end) = c->prev;
    l->nwaiting--;
}

// Whether this one shall not be sent any more.
static bool is_over(const struct link *l, struct relay_call *c)
{
    if (atomic_load_explicit(&c->gone, memory_order_relaxed))
        return !err_set(&c->err, ERR_PICO_GONE, "the caller left");
    if (c->deadline_ms <= l->now_ms)
        return !err_set(&c->err, ERR_PICO_TIMEOUT, "not sent within %lld ms", (long long)c->limit_ms);
    return false;
}

static void expire_waiting(struct link *l)
{
    for (struct relay_call *c = l->waiting, *next; c; c = next) {
        next = c->next;
        if (!is_over(l, c)) continue;
        dequeue(l, c);
        end(l, c);
    }
}

// --- places

static bool slot_is_free(const struct call_slot *s)
{
    return !s->call && !s->shadow;
}

static struct call_slot *free_slot(struct link *l)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++)
        if (slot_is_free(&l->slots[i])) return &l->slots[i];
    return NULL;
}

static size_t count_free(const struct link *l)
{
    size_t n = 0;
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++) n += slot_is_free(&l->slots[i]);
    return n;
}

static bool is_shadow_of(const struct call_slot *s, struct str user)
{
    uint8_t hash[SHA256_BYTES];
    return s->shadow && crypto_sha256(user, hash) && memcmp(hash, s->user, sizeof hash) == 0;
}

// Places that this user has. One is always left for others: a person with a function that takes its time, or
// never ends, would have the board for themselves.
static size_t places_of(const struct link *l, struct str user)
{
    size_t n = 0;
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++) {
        const struct call_slot *s = &l->slots[i];
        n += s->call ? str_eq(s->call->user, user) : is_shadow_of(s, user);
    }
    return n;
}

static struct call_slot *slot_of(struct link *l, struct str id)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++)
        if (!slot_is_free(&l->slots[i]) && str_eq_c(id, l->slots[i].id)) return &l->slots[i];
    return NULL;
}

static void expire_slot(struct link *l, struct call_slot *s)
{
    struct relay_call *c = s->call;
    if (s->shadow && s->until_ms <= l->now_ms) s->shadow = false;
    if (!c || c->deadline_ms > l->now_ms) return;
    err_set(&c->err, ERR_PICO_TIMEOUT, "no answer within %lld ms", (long long)c->limit_ms);
    s->call = NULL;
    s->shadow = true;
    if (!crypto_sha256(c->user, s->user)) memset(s->user, 0, sizeof s->user);
    s->until_ms = l->now_ms + (c->limit_ms < SHADOW_MAX_MS ? c->limit_ms : SHADOW_MAX_MS);
    end(l, c);
}

void calls_expire(struct link *l)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++) expire_slot(l, &l->slots[i]);
    expire_waiting(l);
}

int64_t calls_due(const struct link *l)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++) {
        const struct call_slot *s = &l->slots[i];
        if (s->shadow && s->until_ms < due) due = s->until_ms;
        if (s->call && s->call->deadline_ms < due) due = s->call->deadline_ms;
    }
    for (const struct relay_call *c = l->waiting; c; c = c->next)
        if (c->deadline_ms < due) due = c->deadline_ms;
    return due;
}

bool calls_any(const struct link *l)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++)
        if (l->slots[i].call) return true;
    return l->waiting;
}

struct relay_call *calls_pending(const struct link *l, struct str id)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++)
        if (l->slots[i].call && str_eq_c(id, l->slots[i].id)) return l->slots[i].call;
    return NULL;
}

void calls_lose(struct link *l, const struct err *why)
{
    for (size_t i = 0; i < LIMIT_PICO_CALLS; i++) {
        struct relay_call *c = l->slots[i].call;
        l->slots[i] = (struct call_slot){ .call = NULL };
        if (!c) continue;
        err_set(&c->err, ERR_PICO_LOST, "while the board worked on it: %s", err_name(why->code));
        end(l, c);
    }
    while (l->waiting) {
        struct relay_call *c = l->waiting;
        dequeue(l, c);
        err_set(&c->err, ERR_PICO_LOST, "before it was sent: %s", err_name(why->code));
        end(l, c);
    }
}

// --- sending

static struct str text_of(struct arena *a, const struct relay_call *c)
{
    return message_call(a, str_c(c->id), c->function, c->args, c->kwargs);
}

static bool send_in(struct link *l, struct call_slot *s, struct relay_call *c)
{
    struct arena *a = arena_new_small(CALL_ARENA_BYTES, MESSAGE_FIRST_BYTES);
    struct str text = a ? text_of(a, c) : STR_NONE;
    bool sent = text.p && output_frame(l, FRAME_TEXT, text);
    arena_free(a);
    if (!sent) return err_set(&c->err, ERR_NO_MEMORY, "the call's frame");
    s->call = c;
    memcpy(s->id, c->id, sizeof s->id);
    c->sent = true;
    c->sent_ms = l->now_ms;
    l->counts.calls++;
    return true;
}

// The first of those whose user may have another place.
static struct relay_call *next_to_go(const struct link *l)
{
    struct relay_call *c = l->waiting;
    while (c && places_of(l, c->user) >= LIMIT_PICO_CALLS_USER) c = c->next;
    return c;
}

void calls_send(struct link *l)
{
    expire_waiting(l);
    link_settle(l); // may end the link, and then none waits
    struct call_slot *s;
    struct relay_call *c;
    while (!l->first && (s = free_slot(l)) && (c = next_to_go(l))) {
        dequeue(l, c);
        if (!send_in(l, s, c)) end(l, c); // and the next one has its turn
    }
    link_settle(l);
}

// --- taking

// Whether a call goes when the board takes what is sent next: `*free` places are left by those before it.
static bool would_go(const struct link *l, const struct relay_call *c, size_t *free)
{
    size_t had = places_of(l, c->user);
    for (const struct relay_call *w = l->waiting; w && w != c; w = w->next)
        had += w->goes && str_eq(w->user, c->user);
    if (*free == 0 || had >= LIMIT_PICO_CALLS_USER) return false;
    (*free)--;
    return true;
}

// A call waits when those before it take all places that it could have.
static bool has_room(struct link *l, const struct relay_call *c, struct err *err)
{
    size_t free = count_free(l), others = 0, mine = 0;
    for (struct relay_call *w = l->waiting; w; w = w->next) {
        w->goes = would_go(l, w, &free);
        if (!w->goes) *(str_eq(w->user, c->user) ? &mine : &others) += 1;
    }
    if (would_go(l, c, &free)) return true;
    if (others + mine >= LIMIT_PICO_QUEUE)
        return err_set(err, ERR_PICO_BUSY, "%d calls wait for the board", LIMIT_PICO_QUEUE);
    if (mine >= LIMIT_PICO_QUEUE_USER)
        return err_set(err, ERR_PICO_BUSY, "%d calls of this user wait for the board", LIMIT_PICO_QUEUE_USER);
    return true;
}

static bool fits(const struct link *l, const struct relay_call *c, struct err *err)
{
    struct arena *a = arena_new_small(CALL_ARENA_BYTES, MESSAGE_FIRST_BYTES);
    struct str text = a ? text_of(a, c) : STR_NONE;
    // An arena that is too small means the same as a frame that is: the limit of a frame is far below.
    size_t n = text.n;
    bool made = text.p, large = c->args.n + c->kwargs.n > l->settings.output_max;
    arena_free(a);
    if (large || (made && !output_fits(l, n)))
        return err_set(err, ERR_PICO_ARGUMENTS_LARGE, "a frame to this board has at most %zu bytes",
                       l->settings.output_max);
    return made || err_set(err, ERR_NO_MEMORY, "the call's frame");
}

bool link_call(struct link *l, struct relay_call *c, int64_t now_ms, struct err *err)
{
    l->now_ms = now_ms;
    if (l->state != LINK_OPEN || l->draining) return err_set(err, ERR_PICO_OFFLINE, "the link is not open");
    if (!strlist_has(link_functions(l), c->function))
        return err_set(err, ERR_PICO_UNKNOWN, "the board has not registered this function");
    if (!fits(l, c, err)) return false;
    calls_expire(l); // whoever has left takes nobody's place
    bool taken = has_room(l, c, err);
    if (taken) {
        c->err.code = ERR_NONE;
        c->taken_ms = now_ms;
        c->deadline_ms = now_ms + c->limit_ms;
        c->sent = false;
        enqueue(l, c);
    }
    link_settle(l);
    return taken;
}

unsigned link_load(const struct link *l)
{
    return (unsigned)(l->nwaiting + LIMIT_PICO_CALLS - count_free(l));
}

// --- what the board answers

// A call whose answer is here, or NULL: then it is one that nobody waits for.
static struct relay_call *take_answered(struct link *l, struct str id)
{
    struct call_slot *s = slot_of(l, id);
    if (!s) return NULL;
    struct relay_call *c = s->call;
    if (!c) l->counts.late++;
    *s = (struct call_slot){ .call = NULL };
    return c;
}

void calls_answered(struct link *l, const struct message *m)
{
    if (!slot_of(l, m->id)) {
        l->counts.unknown++;
        return;
    }
    l->messages.level -=
        MESSAGE_COST; // there are as many answers as calls: a board that is asked much sends much
    struct relay_call *c = take_answered(l, m->id);
    if (!c) return;
    if (m->kind == MESSAGE_RESULT) {
        c->result = arena_str(c->arena, m->response);
    } else {
        err_set(&c->err, ERR_PICO_FUNCTION, "the function failed");
        c->error_type = arena_str(c->arena, m->error_type);
        c->error_message = arena_str(c->arena, m->error_message);
    }
    if (arena_failed(c->arena)) err_set(&c->err, ERR_NO_MEMORY, "the answer");
    end(l, c);
}

void calls_broken(struct link *l, const struct message *m, const struct err *why)
{
    struct relay_call *c = take_answered(l, m->id);
    if (!c) return;
    err_set(&c->err, ERR_PICO_ANSWER, "%s", why->detail);
    end(l, c);
}
