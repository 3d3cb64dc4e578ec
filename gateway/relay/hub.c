// SPDX-License-Identifier: GPL-3.0-or-later
// What the workers have of the relay, made and taken apart; and the table of devices on its way to them.
#include <sched.h>
#include <stdlib.h>

#include "base/encode.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/login.h"
#include "gateway/relay/private.h"

enum { FAILURES_ADDRESS = LIMIT_PICO_FAILURES_ADDRESS, WINDOW_MS = LIMIT_PICO_FAILURE_SECONDS * 1000 };

struct relay_hub *relay_hub_new(struct device_table *table)
{
    struct relay_hub *h = calloc(1, sizeof *h);
    struct presence *presence = h ? presence_new(table) : NULL;
    if (!presence) {
        device_table_drop(table);
        free(h);
        return NULL;
    }
    h->presence = presence;
    h->table = table;
    return h;
}

void relay_hub_free(struct relay_hub *h)
{
    if (!h) return;
    presence_free(h->presence);
    device_table_drop(h->table);
    free(h);
}

void relay_hub_connect(struct relay_hub *h, struct worker *workers, size_t n)
{
    h->workers = workers;
    h->nworkers = n;
}

struct presence *relay_hub_presence(struct relay_hub *h)
{
    return h->presence;
}

// --- devices

struct table_mail {
    struct mail mail;
    struct relay_worker *to;
    struct device_table *table;
};

static void take_table(struct mail *m)
{
    struct table_mail *t = container_of(m, struct table_mail, mail);
    struct device_table *old = t->to->devices;
    t->to->devices = t->table;
    directory_devices_changed(t->to);
    device_table_drop(old);
    free(t);
}

// A worker that cannot be told would go on to believe keys that were revoked, so it is tried until it is
// told.
static struct table_mail *table_mail_new(void)
{
    struct table_mail *t;
    while (!(t = calloc(1, sizeof *t))) sched_yield();
    return t;
}

void relay_hub_devices(struct relay_hub *h, struct device_table *table)
{
    presence_devices(h->presence, table);
    for (size_t i = 0; i < h->nworkers; i++) {
        struct table_mail *t = table_mail_new();
        *t = (struct table_mail){ { NULL, take_table }, h->workers[i].relay, device_table_hold(table) };
        mailbox_post(&h->workers[i].loop.mailbox, &t->mail);
    }
    device_table_drop(h->table);
    h->table = table;
}

// --- a worker's part

struct events *relay_events(struct relay_worker *r)
{
    return &r->events;
}

static void announce_all(struct timer *t)
{
    struct relay_worker *r = container_of(t, struct relay_worker, announce);
    for (struct uplink *u = r->uplinks; u; u = u->next) uplink_announce(u);
}

struct relay_worker *relay_worker_new(struct worker *w, struct relay_hub *h)
{
    uint64_t seeds[4];
    struct relay_worker *r = calloc(1, sizeof *r);
    if (!r || !crypto_random(seeds, sizeof seeds)) {
        free(r);
        return NULL;
    }
    r->w = w;
    r->hub = h;
    r->devices = device_table_hold(h->table);
    r->announce.fire = announce_all;
    throttle_init(&r->by_key, seeds[0], LIMIT_PICO_FAILURES, WINDOW_MS);
    throttle_init(&r->by_address, seeds[1], FAILURES_ADDRESS, WINDOW_MS);
    throttle_init(&r->told, seeds[2], LIMIT_PICO_LINKS_LOGGED, WINDOW_MS);
    r->dice = seeds[3];
    directory_init(r);
    return r;
}

void relay_worker_drain(struct relay_worker *r)
{
    if (!r) return;
    r->draining = true;
    events_drain(r);
    for (struct uplink *u = r->uplinks, *next; u; u = next) {
        next = u->next;
        uplink_drain(u);
    }
}

void relay_worker_free(struct relay_worker *r)
{
    if (!r) return;
    timer_clear(&r->w->loop, &r->announce);
    directory_done(r);
    device_table_drop(r->devices);
    free(r);
}

// --- endpoints

const struct route *relay_route(const struct exchange *x)
{
    return config_pico_route(x->worker->shared->config, x->host);
}

struct decision relay_decide(const struct exchange *x, const struct route *route, struct str device,
                             struct str function)
{
    struct policy_request request = { .method = x->req.method,
                                      .path = x->target.path,
                                      .address = x->address,
                                      .device = device,
                                      .function = function };
    return policy_decide(route, x->has_session ? &x->session.identity : NULL, &request);
}

static bool is_reading(const struct exchange *x)
{
    return str_eq_c(x->req.method, "GET") || str_eq_c(x->req.method, "HEAD");
}

// What a person looks at. Nobody sees boards without having logged in.
static void serve_view(struct exchange *x, const struct route *route,
                       void (*serve)(struct exchange *x, const struct route *route))
{
    if (!is_reading(x)) {
        answer_add(x, "Allow", STR("GET, HEAD"));
        answer_failure(x, ERR_METHOD_NOT_ALLOWED, "only for reading");
    } else if (!x->has_session || !route_takes_provider(route, x->session.identity.provider)) {
        login_require(x);
    } else {
        serve(x, route);
    }
}

// "/<device>/<function>", each decoded.
static bool parse_call(struct exchange *x, struct str path, struct str *ret_device, struct str *ret_function)
{
    struct str rest = path, empty, device, function, more;
    return str_cut(&rest, '/', &empty) && str_cut(&rest, '/', &device) && str_cut(&rest, '/', &function) &&
           !str_cut(&rest, '/', &more) && decode_percent(x->arena, device, false, ret_device) &&
           decode_percent(x->arena, function, false, ret_function) && function_name_valid(*ret_function) &&
           (str_eq_c(*ret_device, "any") || device_name_valid(*ret_device));
}

void relay_serve(struct exchange *x, struct str path)
{
    struct str device, function;
    const struct route *route = relay_route(x);
    if (!route)
        answer_failure(x, ERR_NOT_FOUND, "there are no boards on this host");
    else if (str_eq_c(path, "") && is_reading(x))
        answer_redirect(x, STR("/.sallyport/pico/"));
    else if (str_eq_c(path, "/"))
        serve_view(x, route, boards_serve);
    else if (str_eq_c(path, "/events"))
        serve_view(x, route, events_serve);
    else if (parse_call(x, path, &device, &function))
        call_serve(x, route, device, function);
    else if (str_eq_c(x->req.method, "POST"))
        call_refuse(x);
    else
        answer_failure(x, ERR_NOT_FOUND, "no such endpoint");
}
