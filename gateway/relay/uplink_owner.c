// SPDX-License-Identifier: GPL-3.0-or-later
// What a board's link tells: who has logged in, what may be called, how calls ended. It goes to the
// directory, to the log, and to the throttles that keep the log short.
#include <stdio.h>

#include "base/log.h"
#include "gateway/journey/visitor.h"
#include "gateway/relay/private.h"

enum {
    ANNOUNCE_MS = 50,
    ANNOUNCE_AGAIN_MS = 1000,
    KEY_PREFIX_BYTES = 16,
};

// --- log

static void log_uplink(struct log_line *l, const struct uplink *u)
{
    log_c(l, "request_id", u->request_id);
    log_c(l, "client", u->peer);
    if (!u->device) return;
    const struct device *now = device_by_id(u->r->devices, u->device->id); // it may have another name now
    log_str(l, "device", now ? now->name : u->device->name);
}

// --- what the link tells

static struct str key_prefix(struct str key)
{
    return str_take(key, key.n < KEY_PREFIX_BYTES ? key.n : KEY_PREFIX_BYTES);
}

// Who tries: the address with the beginning of the key, so that one misconfigured board does not lock out its
// neighbours.
static struct str who_tries(const struct uplink *u, struct str key, char *buf, size_t size)
{
    struct str prefix = key_prefix(key);
    int n = snprintf(buf, size, "%s %.*s", u->origin, STR_FMT(prefix));
    return (struct str){ buf, n > 0 && (size_t)n < size ? (size_t)n : 0 };
}

// The firmware tries again every second, for ever: the log hears of it a few times.
static void log_refused(const struct uplink *u, enum log_level level, const struct err *err)
{
    struct log_line l;
    log_begin(&l, level, "pico.refused");
    log_uplink(&l, u);
    log_err(&l, err);
    log_end(&l);
}

// Whether the log has heard enough of this device, or of this address, for a minute: one that logs in,
// registers and leaves in a loop, or opens link after link for nothing, would fill it.
static bool is_known(struct uplink *u, struct str who)
{
    struct relay_worker *r = u->r;
    bool known = throttle_refuses(&r->told, who, r->w->loop.now_ms);
    throttle_failed(&r->told, who, r->w->loop.now_ms);
    return known;
}

static enum log_level level_of(const struct uplink *u, enum log_level level)
{
    return u->quiet ? LOG_DEBUG : level;
}

static const struct device *on_login(void *context, struct str key, struct err *err)
{
    struct uplink *u = context;
    struct relay_worker *r = u->r;
    char buf[IP_TEXT_BYTES + KEY_PREFIX_BYTES + 2];
    struct str who = who_tries(u, key, buf, sizeof buf);
    const struct device *d = device_by_key(r->devices, key, r->w->loop.now, u->key_hash);
    bool known = throttle_refuses(&r->by_key, who, r->w->loop.now_ms);
    if (d) {
        u->devices = device_table_hold(r->devices);
        u->device = d;
        return d;
    }
    throttle_failed(&r->by_key, who, r->w->loop.now_ms);
    throttle_failed(&r->by_address, str_c(u->origin), r->w->loop.now_ms);
    metric_add(&r->w->metrics.pico_logins_refused_total, 1);
    err_set(err, ERR_UPLINK_KEY, "no device has this key");
    log_refused(u, known ? LOG_DEBUG : LOG_WARN, err);
    return NULL;
}

static void note_presence(const struct uplink *u)
{
    int64_t since = u->r->w->loop.now - (u->r->w->loop.now_ms - u->since_ms) / 1000;
    presence_come(u->r->hub->presence, u->device->id, u->serial, since, str_c(u->peer),
                  link_functions(u->link).n);
}

// Calls find the link.
static void claim(struct uplink *u)
{
    struct board_entry *e = directory_entry(u->r, u->device->id);
    if (e && e->b.serial == u->serial) e->uplink = u;
}

void uplink_announce(struct uplink *u)
{
    if (!u->dirty || link_state(u->link) != LINK_OPEN) return;
    note_presence(u);
    u->dirty = !directory_announce(u->r, u, true);
    claim(u); // memory may have been short when it logged in
    if (u->dirty && !u->r->announce.next) timer_set(&u->r->w->loop, &u->r->announce, ANNOUNCE_AGAIN_MS);
}

static void on_opened(void *context)
{
    struct uplink *u = context;
    struct relay_worker *r = u->r;
    u->serial = atomic_fetch_add(&r->hub->serial, 1) + 1;
    metric_add(&r->w->metrics.pico_links_total, 1);
    metric_add(&r->w->metrics.pico_links_open, 1);
    u->quiet = is_known(u, u->device->id);
    struct log_line l;
    log_begin(&l, level_of(u, LOG_INFO), "pico.login");
    log_uplink(&l, u);
    log_end(&l);
    note_presence(u);
    directory_announce(r, u, false); // ends an earlier link of this board, wherever it is
    claim(u);
    u->dirty = true;
    if (!r->announce.next) timer_set(&r->w->loop, &r->announce, ANNOUNCE_MS);
}

static void on_registered(void *context, struct str function)
{
    struct uplink *u = context;
    struct log_line l;
    log_begin(&l, level_of(u, LOG_INFO), "pico.registered");
    log_uplink(&l, u);
    log_str(&l, "function", function);
    log_end(&l);
    u->dirty = true;
    if (!u->r->announce.next) timer_set(&u->r->w->loop, &u->r->announce, ANNOUNCE_MS);
}

static void on_name_refused(void *context, struct str function, const struct err *why)
{
    struct uplink *u = context;
    struct log_line l;
    log_begin(&l, level_of(u, LOG_WARN), "pico.name_refused");
    log_uplink(&l, u);
    log_str(&l, "function", function);
    log_err(&l, why);
    log_end(&l);
}

// After a sign-out the board hears of nobody, although the call goes on.
static struct str on_caller_email(void *context, struct relay_call *call)
{
    struct uplink *u = context;
    struct courier *c = container_of(call, struct courier, call);
    struct err err = { 0 };
    int64_t seen;
    return visitor_look(u->r->w, c->session, &seen, &err) == VISITOR_KNOWN ? c->email : STR_NONE;
}

static void on_finished(void *context, struct relay_call *call)
{
    struct uplink *u = context;
    if (u->load) atomic_fetch_sub_explicit(&u->load->calls, 1, memory_order_relaxed);
    dispatch_return(container_of(call, struct courier, call));
}

static void log_closed(const struct uplink *u, const struct err *why)
{
    struct link_counts n = link_counts(u->link);
    bool usual = why->code == ERR_UPLINK_CLOSED || why->code == ERR_UPLINK_SUPERSEDED ||
                 why->code == ERR_DRAINING || why->code == ERR_UPLINK_REVOKED;
    struct log_line l;
    log_begin(&l, level_of(u, usual ? LOG_INFO : LOG_WARN), "pico.closed");
    log_uplink(&l, u);
    log_err(&l, why);
    log_int(&l, "duration_ms", u->r->w->loop.now_ms - u->since_ms);
    log_int(&l, "calls", (int64_t)n.calls);
    log_int(&l, "late", (int64_t)n.late);
    log_int(&l, "unknown", (int64_t)n.unknown);
    log_int(&l, "broken", (int64_t)n.broken);
    log_int(&l, "names_refused", (int64_t)n.names_refused);
    log_end(&l);
}

// Whoever breaks the protocol before the login is no better than who guesses keys.
static void note_stranger(struct uplink *u, const struct err *why)
{
    struct relay_worker *r = u->r;
    if (why->code == ERR_UPLINK_KEY) return; // that one has been counted
    u->quiet = is_known(u, str_c(u->origin));
    if (why->code == ERR_UPLINK_CLOSED || why->code == ERR_DRAINING || why->code == ERR_NO_MEMORY) return;
    throttle_failed(&r->by_address, str_c(u->origin), r->w->loop.now_ms);
}

static void on_closing(void *context, const struct err *why)
{
    struct uplink *u = context;
    u->why = *why;
    if (!u->serial) note_stranger(u, why);
    if (why->code != ERR_UPLINK_KEY) log_closed(u, why); // that one has been told
    if (!u->serial) return;
    struct board_entry *e = directory_entry(u->r, u->device->id);
    if (e && e->uplink == u) e->uplink = NULL;
    metric_add(&u->r->w->metrics.pico_links_open, (uint64_t)-1);
    presence_go(u->r->hub->presence, u->device->id, u->serial, u->r->w->loop.now);
    directory_announce(u->r, u, false);
}

const struct link_owner uplink_owner = {
    .login = on_login,
    .opened = on_opened,
    .registered = on_registered,
    .name_refused = on_name_refused,
    .caller_email = on_caller_email,
    .finished = on_finished,
    .closing = on_closing,
};
