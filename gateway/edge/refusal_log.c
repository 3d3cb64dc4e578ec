// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/refusal_log.h"

#include <string.h>

#include "base/log.h"

static void write_line(const struct refusal *v, const struct err *why, uint64_t count)
{
    struct log_line l;
    char client[IP_TEXT_BYTES];
    static const struct ip_address many;
    ip_text(&v->who, client);
    log_begin(&l, LOG_WARN, "connection.refused");
    if (memcmp(&v->who, &many, sizeof many) != 0) log_c(&l, "client", client);
    if (why)
        log_err(&l, why);
    else
        log_c(&l, "reason", err_name(v->code));
    log_int(&l, "count", (int64_t)count);
    log_end(&l);
}

// The number of those that came since the last line, and the place is free.
static void close_refusal(struct refusal *v)
{
    if (v->more) write_line(v, NULL, v->more);
    *v = (struct refusal){ .until = 0 };
}

static void tick(struct timer *t)
{
    struct refusal_log *r = container_of(t, struct refusal_log, timer);
    int64_t next = 0;
    for (size_t i = 0; i <= REFUSALS_KEPT; i++) {
        struct refusal *v = &r->v[i];
        if (v->until && v->until <= r->loop->now_ms) close_refusal(v);
        if (v->until && (next == 0 || v->until < next)) next = v->until;
    }
    if (next) timer_set(r->loop, &r->timer, next - r->loop->now_ms);
}

void refusal_log_init(struct refusal_log *r, struct loop *l)
{
    *r = (struct refusal_log){ .loop = l, .timer.fire = tick };
}

static bool same(const struct refusal *v, const struct ip_address *who, enum err_code code)
{
    return v->until && v->code == code && memcmp(&v->who, who, sizeof *who) == 0;
}

void refusal_log_add(struct refusal_log *r, const struct ip_address *who, const struct err *why)
{
    struct refusal *free_place = NULL, *rest = &r->v[REFUSALS_KEPT];
    for (size_t i = 0; i < REFUSALS_KEPT; i++) {
        if (same(&r->v[i], who, why->code)) {
            r->v[i].more++;
            return;
        }
        if (!r->v[i].until && !free_place) free_place = &r->v[i];
    }
    int64_t until = r->loop->now_ms + REFUSAL_MS;
    if (free_place) {
        *free_place = (struct refusal){ *who, why->code, until, 0 };
        write_line(free_place, why, 1);
    } else {
        if (!rest->until) rest->until = until;
        rest->code = why->code;
        rest->more++;
    }
    if (!r->timer.next) timer_set(r->loop, &r->timer, REFUSAL_MS);
}

void refusal_log_done(struct refusal_log *r)
{
    for (size_t i = 0; r->loop && i <= REFUSALS_KEPT; i++) close_refusal(&r->v[i]);
}
