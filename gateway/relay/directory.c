// SPDX-License-Identifier: GPL-3.0-or-later
// Who is online, as one worker knows it. The worker that has a link announces it; of two announcements about
// one board the later login wins, and a worker that has the earlier one's link ends it.
#include <stdlib.h>
#include <string.h>

#include "gateway/relay/private.h"

enum {
    ENTRY_BYTES = 1024,
    FUNCTIONS_BYTES = 32 * 1024, // LIMIT_PICO_FUNCTIONS names, and what the arena needs beside them
    WATCH_MS = 50,
};

struct board_load *board_load_new(void)
{
    struct board_load *l = calloc(1, sizeof *l);
    if (l) l->refs = 1;
    return l;
}

struct board_load *board_load_hold(struct board_load *l)
{
    if (l) atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void board_load_drop(struct board_load *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) free(l);
}

// --- entries

static size_t bucket_of(struct str id)
{
    uint64_t h = 14695981039346656037u; // FNV-1a; ids are random and ours
    for (size_t i = 0; i < id.n; i++) h = (h ^ (uint8_t)id.p[i]) * 1099511628211u;
    return h % BOARD_BUCKETS;
}

struct board_entry *directory_entry(const struct relay_worker *r, struct str id)
{
    struct board_entry *e = r->buckets[bucket_of(id)];
    while (e && !str_eq(e->b.id, id)) e = e->next;
    return e;
}

static bool make_room(struct relay_worker *r)
{
    if (r->n < r->room) return true;
    size_t room = r->room ? 2 * r->room : 64;
    struct board_entry **v = realloc(r->v, room * sizeof(struct board_entry *));
    if (!v) return false;
    r->v = v;
    r->room = room;
    return true;
}

static struct board_entry *entry_add(struct relay_worker *r, struct str id)
{
    struct arena *a = make_room(r) ? arena_new_small(ENTRY_BYTES, 256) : NULL;
    struct board_entry *e = a ? arena_alloc(a, sizeof *e) : NULL;
    if (e) e->b.id = arena_str(a, id);
    if (!e || !e->b.id.p) {
        arena_free(a);
        return NULL;
    }
    struct board_entry **bucket = &r->buckets[bucket_of(id)];
    e->arena = a;
    e->device = device_by_id(r->devices, id);
    e->next = *bucket;
    *bucket = e;
    r->v[r->n++] = e;
    return e;
}

static void entry_free(struct board_entry *e)
{
    board_load_drop(e->load);
    arena_free(e->functions_arena);
    arena_free(e->arena);
}

static void unlink_entry(struct relay_worker *r, struct board_entry *e)
{
    struct board_entry **at = &r->buckets[bucket_of(e->b.id)];
    while (*at != e) at = &(*at)->next;
    *at = e->next;
}

// A board that was taken out of the table and has no link is nobody's any more.
static void forget_removed(struct relay_worker *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct board_entry *e = r->v[i];
        e->device = device_by_id(r->devices, e->b.id);
        if (e->device || e->uplink || e->b.online) {
            r->v[kept++] = e;
            continue;
        }
        unlink_entry(r, e);
        entry_free(e);
    }
    r->n = kept;
}

// --- announcements

struct announcement {
    struct mail mail;
    struct arena *arena; // owns this
    struct relay_worker *to;
    struct board about; // its load is of `load`
    struct board_load *load;
};

// Takes the functions over, with the memory of the announcement. Those of a link that is going are what it
// had.
static void entry_set(struct board_entry *e, struct announcement *a)
{
    board_load_drop(e->load);
    e->load = board_load_hold(a->load);
    e->b.load = e->load ? &e->load->calls : NULL;
    e->b.serial = a->about.serial;
    e->b.online = a->about.online;
    e->b.worker = a->about.worker;
    if (!a->about.online) return;
    arena_free(e->functions_arena);
    e->functions_arena = a->arena;
    e->b.functions = a->about.functions;
    a->arena = NULL;
}

static void apply(struct relay_worker *r, struct announcement *a)
{
    struct board_entry *e = directory_entry(r, a->about.id);
    if (!e) e = entry_add(r, a->about.id);
    if (!e || a->about.serial < e->b.serial) return;
    struct uplink *ours = e->uplink;
    bool later = a->about.serial > e->b.serial;
    entry_set(e, a);
    if (later && ours && ours->serial < a->about.serial)
        uplink_end(ours, 1000, ERR_UPLINK_SUPERSEDED, "a later login with the same key");
    directory_changed(r);
}

static void announcement_free(struct announcement *a)
{
    board_load_drop(a->load);
    arena_free(a->arena);
}

static void deliver(struct mail *m)
{
    struct announcement *a = container_of(m, struct announcement, mail);
    apply(a->to, a);
    announcement_free(a);
}

static struct announcement *announcement_new(const struct uplink *u, bool online)
{
    struct arena *arena = arena_new_small(FUNCTIONS_BYTES, 512);
    struct announcement *a = arena ? arena_alloc(arena, sizeof *a) : NULL;
    if (!a) {
        arena_free(arena);
        return NULL;
    }
    a->arena = arena;
    a->load = board_load_hold(u->load);
    a->mail.deliver = deliver;
    a->about = (struct board){ .id = arena_str(arena, u->device->id),
                               .serial = u->serial,
                               .online = online,
                               .worker = u->r->w->number };
    if (online) a->about.functions = arena_strlist(arena, link_functions(u->link));
    if (!arena_failed(arena)) return a;
    announcement_free(a);
    return NULL;
}

// A worker that could not be told for want of memory goes on with what it knew: it may send a call to a link
// that is gone, and gets it back as refused.
bool directory_announce(struct relay_worker *r, struct uplink *u, bool online)
{
    bool all = true;
    for (size_t i = 0; i < r->hub->nworkers; i++) {
        struct relay_worker *to = r->hub->workers[i].relay;
        struct announcement *a = announcement_new(u, online);
        all = all && a;
        if (!a) continue;
        a->to = to;
        if (to == r)
            deliver(&a->mail);
        else
            mailbox_post(&to->w->loop.mailbox, &a->mail);
    }
    return all;
}

// --- what others ask

const struct device_table *relay_devices(const struct relay_worker *r)
{
    return r->devices;
}

const struct board *relay_board(const struct relay_worker *r, struct str device_id)
{
    const struct board_entry *e = directory_entry(r, device_id);
    return e ? &e->b : NULL;
}

bool board_has(const struct board *b, struct str function)
{
    return strlist_has(b->functions, function);
}

void directory_devices_changed(struct relay_worker *r)
{
    for (struct uplink *u = r->uplinks, *next; u; u = next) {
        next = u->next;
        uplink_recheck(u);
    }
    forget_removed(r);
    directory_changed(r);
}

// --- watching

static void tell(struct timer *t)
{
    struct relay_worker *r = container_of(t, struct relay_worker, watch_timer);
    // Whoever is told may take anybody off the list: those who are still to be told move to a list of their
    // own.
    struct board_watch due = { .prev = &due, .next = &due }, *all = &r->watches;
    if (all->next == all) return;
    due.next = all->next;
    due.prev = all->prev;
    due.next->prev = due.prev->next = &due;
    all->next = all->prev = all;
    while (due.next != &due) {
        struct board_watch *w = due.next;
        relay_unwatch(r, w);
        relay_watch(r, w);
        w->changed(w);
    }
}

void directory_changed(struct relay_worker *r)
{
    if (!r->watch_timer.next && r->watches.next != &r->watches)
        timer_set(&r->w->loop, &r->watch_timer, WATCH_MS);
}

void relay_watch(struct relay_worker *r, struct board_watch *w)
{
    w->prev = r->watches.prev;
    w->next = &r->watches;
    w->prev->next = w;
    r->watches.prev = w;
}

void relay_unwatch(struct relay_worker *r, struct board_watch *w)
{
    (void)r;
    if (!w->next) return;
    w->prev->next = w->next;
    w->next->prev = w->prev;
    w->prev = w->next = NULL;
}

void directory_init(struct relay_worker *r)
{
    r->watches.prev = r->watches.next = &r->watches;
    r->watch_timer.fire = tell;
}

void directory_done(struct relay_worker *r)
{
    timer_clear(&r->w->loop, &r->watch_timer);
    for (size_t i = 0; i < r->n; i++) entry_free(r->v[i]);
    free(r->v);
    memset(r->buckets, 0, sizeof r->buckets);
    r->n = 0;
}
