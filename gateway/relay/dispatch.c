// SPDX-License-Identifier: GPL-3.0-or-later
// Calls between workers. A call is a message with values only; it travels to the worker that has the board,
// and comes back with its outcome. Even when both are the same worker it comes back as mail: whoever answers
// a caller may run that caller's connection, and must not do so in the middle of the board's.
#include "gateway/relay/private.h"

static void come_home(struct mail *m)
{
    struct courier *c = container_of(m, struct courier, mail);
    c->back(c);
}

void dispatch_return(struct courier *c)
{
    c->mail.deliver = come_home;
    mailbox_post(&c->home->w->loop.mailbox, &c->mail);
}

static bool hand_over(struct courier *c)
{
    struct relay_call *call = &c->call;
    struct uplink *u = uplink_of(c->away, call->device_id);
    if (atomic_load_explicit(&call->gone, memory_order_relaxed))
        return err_set(&call->err, ERR_PICO_GONE, "the caller left");
    if (!u) return err_set(&call->err, ERR_PICO_OFFLINE, "the board has just gone");
    return uplink_call(u, call, &call->err);
}

static void arrive(struct mail *m)
{
    struct courier *c = container_of(m, struct courier, mail);
    if (!hand_over(c)) dispatch_return(c);
}

void dispatch_send(struct relay_worker *r, const struct board *to, struct courier *c)
{
    c->home = r;
    c->away = r->hub->workers[to->worker].relay;
    c->mail.deliver = arrive;
    if (c->away == r)
        arrive(&c->mail);
    else
        mailbox_post(&c->away->w->loop.mailbox, &c->mail);
}
