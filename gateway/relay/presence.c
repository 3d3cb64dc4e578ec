// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/relay/presence.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct state {
    uint64_t serial;
    int64_t since;
    size_t functions;
    bool online;
    char client[IP_TEXT_BYTES];
};

struct presence {
    pthread_mutex_t lock;
    struct device_table *table;
    struct state *v; // of each device of the table
};

static struct state *states_new(const struct device_table *t)
{
    return calloc(t->n ? t->n : 1, sizeof(struct state));
}

struct presence *presence_new(struct device_table *table)
{
    struct presence *p = calloc(1, sizeof *p);
    struct state *v = p ? states_new(table) : NULL;
    if (!v) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->table = device_table_hold(table);
    p->v = v;
    return p;
}

void presence_free(struct presence *p)
{
    if (!p) return;
    device_table_drop(p->table);
    pthread_mutex_destroy(&p->lock);
    free(p->v);
    free(p);
}

static struct state *state_of(const struct presence *p, struct str id)
{
    const struct device *d = device_by_id(p->table, id);
    return d ? &p->v[d - p->table->v] : NULL;
}

void presence_devices(struct presence *p, struct device_table *table)
{
    struct state *v = states_new(table);
    if (!v) return;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < table->n; i++) {
        const struct state *known = state_of(p, table->v[i].id);
        if (known) v[i] = *known;
    }
    struct device_table *old = p->table;
    free(p->v);
    p->table = device_table_hold(table);
    p->v = v;
    pthread_mutex_unlock(&p->lock);
    device_table_drop(old);
}

void presence_come(struct presence *p, struct str device_id, uint64_t serial, int64_t since,
                   struct str client, size_t functions)
{
    pthread_mutex_lock(&p->lock);
    struct state *s = state_of(p, device_id);
    if (s && serial >= s->serial) {
        size_t n = client.n < sizeof s->client ? client.n : sizeof s->client - 1;
        *s = (struct state){ .serial = serial, .since = since, .functions = functions, .online = true };
        if (n) memcpy(s->client, client.p, n);
    }
    pthread_mutex_unlock(&p->lock);
}

void presence_go(struct presence *p, struct str device_id, uint64_t serial, int64_t at)
{
    pthread_mutex_lock(&p->lock);
    struct state *s = state_of(p, device_id);
    if (s && serial == s->serial) {
        s->online = false;
        s->since = at;
    }
    pthread_mutex_unlock(&p->lock);
}

static struct presence_view view_of(struct arena *a, const struct device *d, const struct state *s)
{
    return (struct presence_view){ .name = arena_str(a, d->name),
                                   .id = arena_str(a, d->id),
                                   .client = s->serial ? arena_str_c(a, s->client) : STR_NONE,
                                   .online = s->online,
                                   .since = s->since,
                                   .functions = s->functions,
                                   .keys = d->nkeys };
}

bool presence_read(struct presence *p, struct arena *a, struct presence_view **ret, size_t *ret_n)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->table->n;
    struct presence_view *v = arena_array(a, n + 1, sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i] = view_of(a, &p->table->v[i], &p->v[i]);
    pthread_mutex_unlock(&p->lock);
    if (!v || arena_failed(a)) return false;
    *ret = v;
    *ret_n = n;
    return true;
}

size_t presence_count(struct presence *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->table->n;
    pthread_mutex_unlock(&p->lock);
    return n;
}
