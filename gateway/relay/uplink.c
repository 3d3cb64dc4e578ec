// SPDX-License-Identifier: GPL-3.0-or-later
// A board's connection: from the upgrade to the last frame. What the bytes mean is relay/link.c's business;
// this file moves them and keeps the clock. What the link tells goes to uplink_owner.c.
#include <stdlib.h>
#include <string.h>

#include "gateway/journey/answer.h"
#include "gateway/relay/private.h"
#include "http/websocket.h"

enum {
    LOGIN_MS = 10 * 1000,
    FRAME_MS = 10 * 1000,
    PING_MS = 20 * 1000,
    FAREWELL_MS = 1000,       // for the last frames to leave, when all is over
    BURST_BYTES = 128 * 1024, // of one board, then the others have their turn
};

// --- bytes

// A frame is written when everything before it has left: so it is one write, one TLS record, and the board
// reads it whole (or not at all).
static void send_frames(struct uplink *u)
{
    struct exchange *x = u->x;
    struct str frame;
    // In this order: until it can leave, a call is no frame yet and may be withdrawn.
    while (x->engine->sent(x) && (frame = link_output(u->link)).p) {
        if (x->engine->write(x, frame) != frame.n) break; // out of memory: with the next event
        link_sent(u->link);
    }
    x->engine->flush(x); // also when there was nothing: a connection that broke just now is closed
}

// What was written last has a moment to leave; a board that does not read keeps the connection no longer. u
// may be gone afterwards.
static void end(struct uplink *u)
{
    struct exchange *x = u->x;
    struct loop *l = &x->worker->loop;
    bool sent = x->engine->sent(x);
    if (!u->until_ms) u->until_ms = l->now_ms + FAREWELL_MS;
    if (!sent && l->now_ms < u->until_ms) {
        timer_set(l, &u->timer, u->until_ms - l->now_ms);
        return;
    }
    x->err = u->why.code == ERR_UPLINK_CLOSED ? x->err : u->why;
    if (sent)
        x->engine->end(x); // frees u
    else
        x->engine->abort(x);
}

// u may be gone afterwards.
static void pump(struct uplink *u)
{
    struct loop *l = &u->x->worker->loop;
    send_frames(u);
    if (link_state(u->link) == LINK_CLOSED)
        end(u);
    else
        timer_set(l, &u->timer, u->unread ? 0 : link_due(u->link) - l->now_ms);
}

static void on_time(struct timer *t)
{
    struct uplink *u = container_of(t, struct uplink, timer);
    link_tick(u->link, u->r->w->loop.now_ms);
    if (u->x->on_body) u->x->on_body(u->x); // what was left for later
}

static void on_body(struct exchange *x)
{
    struct uplink *u = x->work;
    size_t taken = 0;
    struct str data;
    while (taken < BURST_BYTES && (data = x->engine->body_peek(x)).n > 0) {
        link_receive(u->link, data, x->worker->loop.now_ms);
        x->engine->body_consume(x, data.n);
        x->bytes_received += data.n;
        taken += data.n;
    }
    u->unread = taken >= BURST_BYTES; // no event will tell of it
    if (x->body_done || x->body_failed) link_gone(u->link, x->worker->loop.now_ms);
    pump(u);
}

static void on_writable(struct exchange *x)
{
    pump(x->work);
}

static void uplink_free(struct uplink *u)
{
    if (!u) return;
    timer_clear(&u->r->w->loop, &u->timer);
    link_free(u->link);
    device_table_drop(u->devices);
    board_load_drop(u->load);
    loop_defer_free(&u->r->w->loop, u);
}

static void on_gone(struct exchange *x)
{
    struct uplink *u = x->work;
    if (u->prev)
        u->prev->next = u->next;
    else
        u->r->uplinks = u->next;
    if (u->next) u->next->prev = u->prev;
    link_gone(u->link, x->worker->loop.now_ms);
    uplink_free(u);
}

// --- the upgrade

bool uplink_is_asked(const struct exchange *x, const struct route *route)
{
    struct str prefix = route->target->prefix, rest = x->target.path;
    if (prefix.n > 1) rest = str_starts(rest, prefix) ? str_skip(rest, prefix.n) : STR("");
    return str_eq_c(rest, "/uplink") || str_eq_c(rest, "/_/uplink");
}

// Whom failures are held against: with IPv6 everybody has a /64 of addresses at least.
static void origin_text(const struct ip_address *who, char ret[IP_TEXT_BYTES])
{
    enum { IPV4_PREFIX = 12, IPV6_CUSTOMER = 8 };
    static const uint8_t mapped[IPV4_PREFIX] = { [10] = 0xff, [11] = 0xff };
    struct ip_address a = *who;
    if (memcmp(a.b, mapped, sizeof mapped) != 0) memset(a.b + IPV6_CUSTOMER, 0, sizeof a.b - IPV6_CUSTOMER);
    ip_text(&a, ret);
}

static bool may_upgrade(struct exchange *x)
{
    struct relay_worker *r = x->worker->relay;
    char origin[IP_TEXT_BYTES];
    origin_text(&x->address, origin);
    if (r->draining) return err_set(&x->err, ERR_DRAINING, "no further boards");
    if (throttle_refuses(&r->by_address, str_c(origin), r->w->loop.now_ms))
        return err_set(&x->err, ERR_UPLINK_THROTTLED, "too many refused logins from this address");
    if (!x->upgrade.p) return err_set(&x->err, ERR_UPLINK_UPGRADE, "a request without Upgrade: websocket");
    return websocket_handshake_check(&x->req.fields, &x->err);
}

// A board is no browser, and has no use for a page.
static void refuse(struct exchange *x)
{
    bool http1 = x->engine->upgrade != NULL;
    if (x->err.code == ERR_UPLINK_UPGRADE && http1) {
        answer_add(x, "Upgrade", STR("websocket")); // RFC 9110 section 15.5.22
        answer_add(x, "Connection", STR("upgrade"));
    }
    if (x->err.code == ERR_WEBSOCKET_VERSION) answer_add(x, "Sec-WebSocket-Version", STR("13"));
    if (x->upgrade.p) x->close = true; // what follows was meant for the link: it is no request
    answer_error(x, STR_NONE);
}

static struct uplink *uplink_new(struct exchange *x, const struct route *route)
{
    struct relay_worker *r = x->worker->relay;
    struct uplink *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    *u = (struct uplink){ .r = r, .x = x, .since_ms = r->w->loop.now_ms };
    u->timer.fire = on_time;
    snprintf(u->peer, sizeof u->peer, "%.*s", STR_FMT(x->client));
    origin_text(&x->address, u->origin);
    memcpy(u->request_id, x->request_id, sizeof u->request_id);
    struct link_settings s = { .login_ms = LOGIN_MS,
                               .frame_ms = FRAME_MS,
                               .ping_ms = PING_MS,
                               .dead_ms = route->target->pico.dead_after * 1000,
                               .output_max = x->tls ? LIMIT_PICO_FRAME_BYTES : LIMIT_PICO_PLAIN_FRAME_BYTES };
    u->load = board_load_new();
    u->link = u->load ? link_new(&s, &uplink_owner, u, r->w->loop.now_ms) : NULL;
    if (u->link) return u;
    uplink_free(u);
    return NULL;
}

static void adopt(struct relay_worker *r, struct uplink *u)
{
    u->next = r->uplinks;
    if (u->next) u->next->prev = u;
    r->uplinks = u;
}

void uplink_serve(struct exchange *x, const struct route *route)
{
    if (!may_upgrade(x)) {
        refuse(x);
        return;
    }
    struct str key = http_fields_value(&x->req.fields, FIELD_SEC_WEBSOCKET_KEY);
    struct uplink *u = uplink_new(x, route);
    answer_add(x, "Sec-WebSocket-Accept", websocket_accept(x->arena, key));
    x->status = 101;
    if (!u || !x->engine->upgrade(x)) {
        uplink_free(u);
        answer_failure(x, ERR_NO_MEMORY, "a board's link");
        return;
    }
    adopt(x->worker->relay, u);
    x->tunnel = true;
    x->body_done = false;
    x->work = u;
    x->on_body = on_body;
    x->on_writable = on_writable;
    x->on_gone = on_gone;
    x->engine->flush(x); // the answer in one write
    on_body(x);
}

// --- what others do with it

struct uplink *uplink_of(struct relay_worker *r, struct str device_id)
{
    struct board_entry *e = directory_entry(r, device_id);
    return e ? e->uplink : NULL;
}

// The rest happens from the loop: whoever ends a link may be called by it.
static void soon(struct uplink *u)
{
    timer_set(&u->r->w->loop, &u->timer, 0);
}

void uplink_end(struct uplink *u, uint16_t code, enum err_code why, const char *detail)
{
    struct err err = { 0 };
    err_set(&err, why, "%s", detail);
    link_close(u->link, code, &err, u->r->w->loop.now_ms);
    soon(u);
}

void uplink_drain(struct uplink *u)
{
    link_drain(u->link, u->r->w->loop.now_ms);
    soon(u);
}

static bool same_functions(const struct device *a, const struct device *b)
{
    if (a->any_function != b->any_function || a->functions.n != b->functions.n) return false;
    for (size_t i = 0; i < a->functions.n; i++)
        if (!strlist_has(b->functions, a->functions.v[i])) return false;
    return true;
}

// A link does not keep the table of its login: each board that is added makes another one, and five hundred
// links would hold five hundred tables.
static void move_to(struct uplink *u, const struct device *d)
{
    struct device_table *old = u->devices;
    u->devices = device_table_hold(u->r->devices);
    u->device = d;
    link_device_moved(u->link, d);
    device_table_drop(old);
}

void uplink_recheck(struct uplink *u)
{
    if (!u->device || link_state(u->link) != LINK_OPEN) return;
    const struct device *d = device_by_id(u->r->devices, u->device->id);
    if (!d)
        uplink_end(u, 1008, ERR_UPLINK_REVOKED, "the device was revoked");
    else if (!device_has_key(d, u->key_hash, u->r->w->loop.now))
        uplink_end(u, 1008, ERR_UPLINK_REVOKED, "the key was rotated");
    else if (!same_functions(d, u->device))
        uplink_end(u, 1012, ERR_UPLINK_REVOKED,
                   "the key allows other functions now: the board connects anew");
    else
        move_to(u, d);
}

bool uplink_call(struct uplink *u, struct relay_call *c, struct err *err)
{
    struct board_load *load = board_load_hold(u->load);
    atomic_fetch_add_explicit(&load->calls, 1, memory_order_relaxed); // before it can end
    bool taken = link_call(u->link, c, u->r->w->loop.now_ms, err);
    if (!taken) atomic_fetch_sub_explicit(&load->calls, 1, memory_order_relaxed);
    board_load_drop(load);
    pump(u); // u may be gone; then the call has been given back
    return taken;
}
