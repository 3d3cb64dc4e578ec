// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

enum { REFRESH_SECONDS = 30, RETRY_SECONDS = 5, MAX_ADDRESSES = 8 };

struct addresses {
    struct addresses *older; // kept for one more round: a worker may be copying them
    size_t n;
    struct {
        struct sockaddr_storage sa;
        socklen_t n;
    } v[MAX_ADDRESSES];
};

struct entry {
    const struct backend *backend;
    bool literal;
    _Atomic(struct addresses *) current; // NULL: does not resolve
};

struct resolver {
    struct entry *v;
    size_t n;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, started;
};

static void free_chain(struct addresses *a)
{
    while (a) {
        struct addresses *older = a->older;
        free(a);
        a = older;
    }
}

static struct addresses *copy_found(const struct addrinfo *found)
{
    struct addresses *a = calloc(1, sizeof *a);
    for (; a && found && a->n < MAX_ADDRESSES; found = found->ai_next, a->n++) {
        memcpy(&a->v[a->n].sa, found->ai_addr, found->ai_addrlen);
        a->v[a->n].n = found->ai_addrlen;
    }
    return a;
}

static bool same(const struct addresses *a, const struct addresses *b)
{
    if (!a || !b || a->n != b->n) return false;
    return memcmp(a->v, b->v, a->n * sizeof *a->v) == 0; // zeroed before they were filled
}

// True when the backend has an address afterwards. A name that stops resolving keeps its last good answer.
static bool resolve(struct entry *e)
{
    char port[8];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found = NULL;
    snprintf(port, sizeof port, "%u", e->backend->port);
    if (e->literal) hints.ai_flags = AI_NUMERICHOST;
    int failure = getaddrinfo(e->backend->host.p, port, &hints, &found);
    struct addresses *now = atomic_load(&e->current);
    if (failure) {
        log_message(LOG_WARN, "resolve", "backend %s: %s", e->backend->authority.p, gai_strerror(failure));
        return now != NULL;
    }
    struct addresses *fresh = copy_found(found);
    if (fresh && !same(fresh, now)) {
        fresh->older = now;
        if (now) free_chain(now->older);
        if (now) now->older = NULL;
        atomic_store(&e->current, fresh);
        fresh = NULL;
    }
    free(fresh);
    freeaddrinfo(found);
    return true;
}

static bool resolve_names(struct resolver *r)
{
    bool all = true;
    for (size_t i = 0; i < r->n; i++)
        if (!r->v[i].literal && !resolve(&r->v[i])) all = false;
    return all;
}

static void *resolver_main(void *arg)
{
    struct resolver *r = arg;
    bool all = true; // the first round was done by resolver_start
    for (size_t i = 0; i < r->n; i++) all = all && atomic_load(&r->v[i].current);
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += all ? REFRESH_SECONDS : RETRY_SECONDS;
        pthread_cond_timedwait(&r->wake, &r->lock, &until);
        if (r->stop) break;
        pthread_mutex_unlock(&r->lock);
        all = resolve_names(r);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static size_t count_backends(const struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->routes.n; i++) n += c->routes.v[i].target->nbackends;
    return n;
}

static bool is_literal(struct str host)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *found = NULL;
    bool literal = getaddrinfo(host.p, NULL, &hints, &found) == 0;
    if (literal) freeaddrinfo(found);
    return literal;
}

struct resolver *resolver_start(const struct config *c, struct err *err)
{
    struct resolver *r = calloc(1, sizeof *r);
    size_t n = count_backends(c);
    if (r) r->v = calloc(n ? n : 1, sizeof *r->v);
    if (!r || !r->v) {
        free(r);
        err_set(err, ERR_NO_MEMORY, "resolver");
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    bool names = false;
    for (size_t i = 0; i < c->routes.n; i++)
        for (size_t k = 0; k < c->routes.v[i].target->nbackends; k++) {
            struct backend *b = &c->routes.v[i].target->backends[k];
            b->index = r->n;
            struct entry *e = &r->v[r->n++];
            e->backend = b;
            e->literal = is_literal(b->host);
            names = names || !e->literal;
            resolve(e);
        }
    r->started = names && pthread_create(&r->thread, NULL, resolver_main, r) == 0;
    if (!names || r->started) return r;
    err_set(err, ERR_INTERNAL, "resolver thread");
    resolver_stop(r);
    return NULL;
}

void resolver_stop(struct resolver *r)
{
    if (!r) return;
    if (r->started) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    for (size_t i = 0; i < r->n; i++) free_chain(atomic_load(&r->v[i].current));
    free(r->v);
    free(r);
}

size_t resolver_address(const struct resolver *r, const struct backend *b, size_t which,
                        struct sockaddr_storage *ret, socklen_t *ret_n)
{
    const struct addresses *a = atomic_load(&r->v[b->index].current);
    if (!a) return 0;
    *ret = a->v[which % a->n].sa;
    *ret_n = a->v[which % a->n].n;
    return a->n;
}
