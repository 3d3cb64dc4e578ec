// SPDX-License-Identifier: GPL-3.0-or-later
// What a visitor may use. Of what they may not call they hear nothing: neither its name nor that it exists.
#include "gateway/relay/hub.h"

#include <stdlib.h>

#include "base/encode.h"
#include "gateway/journey/answer.h"
#include "gateway/pages/pages.h"

enum { NAME_COST = 32 }; // what a name takes in the list beside its bytes

// --- the list

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct offered_function *)a)->name, ((const struct offered_function *)b)->name);
}

// The functions of one board. In order of their names: a board that comes back and registers them in another
// order has not changed.
static void offer_functions(struct exchange *x, const struct route *route, const struct board *b,
                            struct offered_board *o, struct offered_boards *all)
{
    for (size_t i = 0; i < b->functions.n; i++) {
        struct str name = b->functions.v[i];
        all->decisions++;
        if (relay_decide(x, route, o->name, name).verdict != VERDICT_ALLOW) continue;
        o->functions[o->nfunctions++] = (struct offered_function){ name, b->online };
    }
    if (o->nfunctions > 1) qsort(o->functions, o->nfunctions, sizeof *o->functions, by_name);
}

static size_t cost_of(const struct offered_board *o)
{
    size_t cost = o->name.n + NAME_COST;
    for (size_t i = 0; i < o->nfunctions; i++) cost += o->functions[i].name.n + NAME_COST;
    return cost;
}

void boards_offered(struct exchange *x, const struct route *route, struct arena *a,
                    struct offered_boards *ret)
{
    const struct relay_worker *r = x->worker->relay;
    const struct device_table *t = relay_devices(r);
    size_t left = LIMIT_PICO_LIST_BYTES;
    *ret = (struct offered_boards){ .v = arena_array(a, t->n, sizeof *ret->v) };
    for (size_t i = 0; i < t->n && ret->v && !ret->more; i++) {
        const struct board *b = relay_board(r, t->v[i].id);
        ret->decisions++; // looking for it costs about as much
        if (!b) continue;
        struct offered_board o = { .name = t->v[i].name, .online = b->online };
        o.functions = arena_array(a, b->functions.n, sizeof *o.functions);
        if (!o.functions) break;
        offer_functions(x, route, b, &o, ret);
        if (o.nfunctions == 0) continue;
        ret->more = cost_of(&o) > left;
        if (ret->more) break;
        left -= cost_of(&o);
        ret->v[ret->n++] = o;
    }
    if (arena_failed(a)) ret->n = 0; // part of it would look like all of it
}

// --- as JSON

static void add_name(struct sbuf *b, struct arena *a, struct str name, bool online)
{
    sbuf_add_c(b, "{\"name\":");
    sbuf_add(b, encode_json(a, name));
    sbuf_add_c(b, online ? ",\"online\":true" : ",\"online\":false");
}

static void add_board(struct sbuf *b, struct arena *a, const struct offered_board *o)
{
    add_name(b, a, o->name, o->online);
    sbuf_add_c(b, ",\"functions\":[");
    for (size_t i = 0; i < o->nfunctions; i++) {
        if (i) sbuf_add_c(b, ",");
        add_name(b, a, o->functions[i].name, o->functions[i].online);
        sbuf_add_c(b, "}");
    }
    sbuf_add_c(b, "]}");
}

struct str boards_json(struct arena *a, const struct offered_boards *o)
{
    struct sbuf b;
    sbuf_init(&b, a, (size_t)BOARDS_ARENA);
    sbuf_add_c(&b, "{\"boards\":[");
    for (size_t i = 0; i < o->n; i++) {
        if (i) sbuf_add_c(&b, ",");
        add_board(&b, a, &o->v[i]);
    }
    sbuf_add_c(&b, o->more ? "],\"more\":true}" : "]}");
    return arena_failed(a) ? STR_NONE : sbuf_str(&b);
}

// --- as an answer

static struct strlist names_of(struct arena *a, const struct offered_board *o)
{
    struct strlist l = { arena_array(a, o->nfunctions, sizeof *l.v), 0 };
    for (size_t i = 0; l.v && i < o->nfunctions; i++) l.v[l.n++] = o->functions[i].name;
    return l;
}

static struct str html_of(struct exchange *x, struct arena *a, const struct offered_boards *o)
{
    struct page_common common = {
        .site_name = x->worker->shared->config->site_name,
        .host = x->host,
        .request_id = str_c(x->request_id),
        .user = identity_label(&x->session.identity),
    };
    struct page_board *v = arena_array(a, o->n, sizeof *v);
    for (size_t i = 0; v && i < o->n; i++)
        v[i] = (struct page_board){ o->v[i].name, o->v[i].online, names_of(a, &o->v[i]) };
    return arena_failed(a) ? STR_NONE : page_boards(a, &common, v, o->n, o->more);
}

static void release(void *arena)
{
    arena_free(arena);
}

void boards_serve(struct exchange *x, const struct route *route)
{
    struct arena *a = arena_new(BOARDS_ARENA);
    if (!a || !arena_defer(x->arena, release, a)) {
        answer_failure(x, ERR_NO_MEMORY, "composing the list of boards");
        return;
    }
    struct offered_boards o;
    boards_offered(x, route, a, &o);
    if (x->navigation) {
        answer_page_with_script(x, 200, arena_failed(a) ? STR_NONE : html_of(x, a, &o));
        return;
    }
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_body(x, 200, "application/json", boards_json(a, &o));
}
