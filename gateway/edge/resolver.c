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

enum {
    REFRESH_SECONDS = 30,
    RETRY_SECONDS = 5,
    START_SECONDS = 2, // how long the first round may hold up the start
    STOP_SECONDS = 1,  // getaddrinfo cannot be interrupted: after this time it is left to itself
    MAX_ADDRESSES = 8
};

struct addresses {
    struct addresses *older; // kept for one more round: a worker may be copying them
    size_t n;
    struct {
        struct sockaddr_storage sa;
        socklen_t n;
    } v[MAX_ADDRESSES];
};

// Everything that the thread needs is its own: it may outlive the configuration.
struct entry {
    char *host, *name; // name: for messages
    char port[8];
    bool literal, failing;
    _Atomic(struct addresses *) current; // NULL: does not resolve
    _Atomic unsigned generation;
};

struct resolver {
    struct entry *v; // by backend.index
    size_t n;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;  // of the thread
    pthread_cond_t round; // the first round is over, or the thread is
    bool started, stop, first_done, ended, orphan;
};

static void free_chain(struct addresses *a)
{
    while (a) {
        struct addresses *older = a->older;
        free(a);
        a = older;
    }
}

static void resolver_free(struct resolver *r)
{
    for (size_t i = 0; r->v && i < r->n; i++) {
        free_chain(atomic_load(&r->v[i].current));
        free(r->v[i].host);
        free(r->v[i].name);
    }
    pthread_cond_destroy(&r->round);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r->v);
    free(r);
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

static bool has_address(const struct addresses *a, const struct sockaddr_storage *sa)
{
    for (size_t i = 0; i < a->n; i++)
        if (memcmp(&a->v[i].sa, sa, sizeof *sa) == 0) return true; // zeroed before they were filled
    return false;
}

// The same set: name servers answer in another order each time.
static bool same(const struct addresses *a, const struct addresses *b)
{
    if (!a || !b || a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!has_address(b, &a->v[i].sa)) return false;
    return true;
}

static void publish(struct entry *e, struct addresses *fresh)
{
    struct addresses *now = atomic_load(&e->current);
    fresh->older = now;
    if (now) {
        free_chain(now->older);
        now->older = NULL;
    }
    atomic_store(&e->current, fresh);
    atomic_fetch_add(&e->generation, 1);
}

static void note_outcome(struct entry *e, int failure)
{
    if (failure && !e->failing)
        log_message(LOG_WARN, "resolve", "backend %s: %s", e->name, gai_strerror(failure));
    if (!failure && e->failing)
        log_message(LOG_INFO, "resolve", "backend %s: its name resolves again", e->name);
    e->failing = failure != 0;
}

// True when the name resolved. One that stops resolving keeps its last good answer.
static bool resolve(struct entry *e)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found = NULL;
    if (e->literal) hints.ai_flags = AI_NUMERICHOST;
    int failure = getaddrinfo(e->host, e->port, &hints, &found);
    note_outcome(e, failure);
    if (failure) return false;
    struct addresses *fresh = copy_found(found);
    freeaddrinfo(found);
    if (fresh && fresh->n > 0 && !same(fresh, atomic_load(&e->current)))
        publish(e, fresh);
    else
        free(fresh);
    return true;
}

static bool is_stopped(struct resolver *r)
{
    pthread_mutex_lock(&r->lock);
    bool stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return stop;
}

static bool resolve_names(struct resolver *r)
{
    bool all = true;
    for (size_t i = 0; i < r->n && !is_stopped(r); i++)
        if (r->v[i].host && !r->v[i].literal && !resolve(&r->v[i])) all = false;
    return all;
}

static struct timespec in_seconds(int seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    return t;
}

static void *resolver_main(void *arg)
{
    struct resolver *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        pthread_mutex_unlock(&r->lock);
        bool all = resolve_names(r);
        pthread_mutex_lock(&r->lock);
        r->first_done = true;
        pthread_cond_signal(&r->round);
        struct timespec until = in_seconds(all ? REFRESH_SECONDS : RETRY_SECONDS);
        if (!r->stop) pthread_cond_timedwait(&r->wake, &r->lock, &until);
    }
    r->ended = true;
    bool orphan = r->orphan;
    pthread_cond_signal(&r->round);
    pthread_mutex_unlock(&r->lock);
    if (orphan) resolver_free(r);
    return NULL;
}

static bool is_literal(const char *host)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *found = NULL;
    bool literal = getaddrinfo(host, NULL, &hints, &found) == 0;
    if (literal) freeaddrinfo(found);
    return literal;
}

// Unix sockets have no address to find. True when this one needs the thread.
static bool add_entry(struct resolver *r, const struct backend *b, bool *ret_memory)
{
    struct entry *e = &r->v[b->index];
    if (b->unix_path.p) return false;
    e->host = strdup(b->host.p);
    e->name = strdup(b->authority.p);
    *ret_memory = e->host && e->name;
    if (!*ret_memory) return false;
    snprintf(e->port, sizeof e->port, "%u", b->port);
    e->literal = is_literal(e->host);
    if (e->literal) resolve(e);
    return !e->literal;
}

static bool start_thread(struct resolver *r, struct err *err)
{
    r->started = pthread_create(&r->thread, NULL, resolver_main, r) == 0;
    if (!r->started) return err_set(err, ERR_INTERNAL, "resolver thread");
    struct timespec until = in_seconds(START_SECONDS);
    pthread_mutex_lock(&r->lock);
    int late = 0;
    while (!r->first_done && !late) late = pthread_cond_timedwait(&r->round, &r->lock, &until);
    pthread_mutex_unlock(&r->lock);
    if (late)
        log_message(LOG_WARN, "resolve", "name servers are slow: going on without all backends' addresses");
    return true;
}

struct resolver *resolver_start(const struct config *c, struct err *err)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (!r) return err_set(err, ERR_NO_MEMORY, "resolver"), NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    pthread_cond_init(&r->round, NULL);
    r->n = c->nbackends;
    r->v = calloc(r->n + 1, sizeof *r->v);
    bool names = false, memory = r->v != NULL;
    for (size_t i = 0; memory && i < c->routes.n; i++)
        for (size_t k = 0; memory && k < c->routes.v[i].target->nbackends; k++)
            names = add_entry(r, &c->routes.v[i].target->backends[k], &memory) || names;
    if (!memory) err_set(err, ERR_NO_MEMORY, "resolver");
    if (memory && (!names || start_thread(r, err))) return r;
    resolver_free(r);
    return NULL;
}

static bool stop_thread(struct resolver *r)
{
    struct timespec until = in_seconds(STOP_SECONDS);
    int late = 0;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    while (!r->ended && !late) late = pthread_cond_timedwait(&r->round, &r->lock, &until);
    bool ended = r->ended;
    r->orphan = !ended;
    pthread_t thread = r->thread;
    pthread_mutex_unlock(&r->lock); // from here on an orphan may free `r` at any moment
    if (ended)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    return ended;
}

void resolver_stop(struct resolver *r)
{
    if (!r) return;
    if (!r->started || stop_thread(r)) resolver_free(r);
}

unsigned resolver_generation(const struct resolver *r, const struct backend *b)
{
    return atomic_load_explicit(&r->v[b->index].generation, memory_order_relaxed);
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
