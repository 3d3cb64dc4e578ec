// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/idp/idp.h"

#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/idp/private.h"
#include "gateway/process/control.h"

enum { IDP_MEMORY = 4 * 1024 * 1024, LONGEST_SLEEP_MS = 10000, CACHED_CONNECTIONS = 16 };

int64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t wall_s(void)
{
    return (int64_t)time(NULL);
}

// ---- the queue of jobs: the only part that other threads touch

bool idp_submit(struct idp *idp, struct idp_job *job)
{
    job->next = NULL;
    job->err = (struct err){ 0 };
    pthread_mutex_lock(&idp->lock);
    bool full = idp->pending >= LIMIT_LOGINS_PENDING, stopping = idp->stopping;
    if (!full && !stopping) {
        idp->pending++;
        *idp->jobs_tail = job;
        idp->jobs_tail = &job->next;
    }
    pthread_mutex_unlock(&idp->lock);
    if (stopping) return err_set(&job->err, ERR_DRAINING, "the login thread is stopping");
    if (full) return err_set(&job->err, ERR_LOGIN_BUSY, "%d logins are under way", LIMIT_LOGINS_PENDING);
    curl_multi_wakeup(idp->multi);
    return true;
}

static struct idp_job *jobs_take(struct idp *idp, bool *ret_stopping)
{
    pthread_mutex_lock(&idp->lock);
    struct idp_job *list = idp->jobs;
    idp->jobs = NULL;
    idp->jobs_tail = &idp->jobs;
    *ret_stopping = idp->stopping;
    pthread_mutex_unlock(&idp->lock);
    return list;
}

void idp_job_ended(struct idp *idp, struct idp_job *job)
{
    pthread_mutex_lock(&idp->lock);
    idp->pending--;
    pthread_mutex_unlock(&idp->lock);
    job->done(job);
}

void idp_status(struct idp *idp, size_t provider_index, struct idp_status *ret)
{
    pthread_mutex_lock(&idp->lock);
    *ret = idp->providers[provider_index].status;
    pthread_mutex_unlock(&idp->lock);
}

// ---- the loop

static void control_io(struct idp *idp)
{
    struct control_message m;
    int fd;
    enum control_result got;
    while ((got = control_receive(idp->control, &m, &fd)) == CONTROL_GOT) {
        if (m.kind == CONTROL_VERIFIER)
            verifier_attach(idp, m.slot, m.serial, fd);
        else if (fd >= 0)
            close(fd);
    }
    if (got == CONTROL_CLOSED) idp->control = -1; // the supervisor is gone; the kernel is about to end us
}

static size_t poll_set(struct idp *idp, struct curl_waitfd *set)
{
    set[0] = (struct curl_waitfd){ .fd = idp->control, .events = CURL_WAIT_POLLIN };
    size_t n = idp->control >= 0;
    for (size_t i = 0; i < idp->nslots; i++) {
        const struct verifier_slot *s = &idp->slots[i];
        if (s->fd < 0) continue;
        short events = (short)(CURL_WAIT_POLLIN | (s->out ? CURL_WAIT_POLLOUT : 0));
        set[n++] = (struct curl_waitfd){ .fd = s->fd, .events = events };
    }
    return n;
}

static int sleep_ms(const struct idp *idp, int64_t now)
{
    int64_t a = verifier_deadline(idp), b = refresh_deadline(idp), at = a < b ? a : b;
    if (at <= now) return 0;
    return at - now > LONGEST_SLEEP_MS ? LONGEST_SLEEP_MS : (int)(at - now);
}

// Waits; then lets everything that is ready go on.
static void turn(struct idp *idp, struct curl_waitfd *set)
{
    size_t n = poll_set(idp, set);
    curl_multi_poll(idp->multi, set, (unsigned)n, sleep_ms(idp, mono_ms()), NULL);
    for (size_t i = 0; i < n; i++) {
        short revents = (short)((set[i].revents & CURL_WAIT_POLLIN ? POLLIN : 0) |
                                (set[i].revents & CURL_WAIT_POLLOUT ? POLLOUT : 0));
        if (!revents) continue;
        if (set[i].fd == idp->control)
            continue; // last: it may replace a slot's descriptor by one of the same number
        for (size_t k = 0; k < idp->nslots; k++)
            if (idp->slots[k].fd == set[i].fd) verifier_io(idp, &idp->slots[k], revents);
    }
    if (idp->control >= 0) control_io(idp);
    fetch_perform(idp);
    int64_t now = mono_ms();
    refresh_tick(idp, now);
    verifier_tick(idp, now);
}

static void *run(void *context)
{
    struct idp *idp = context;
    struct curl_waitfd *set = arena_array(idp->arena, idp->nslots + 1, sizeof *set);
    bool stopping = !set;
    while (!stopping) {
        struct idp_job *job = jobs_take(idp, &stopping);
        while (job) {
            struct idp_job *next = job->next;
            flow_begin(idp, job);
            job = next;
        }
        if (!stopping) turn(idp, set);
    }
    verifier_pool_done(idp); // in this order: each may leave something to the next
    fetch_drop_all(idp);
    flow_fail_all(idp, ERR_DRAINING);
    return NULL;
}

// ---- life cycle

static void idp_free(struct idp *idp)
{
    if (!idp) return;
    if (idp->providers) refresh_done(idp);
    if (idp->multi) curl_multi_cleanup(idp->multi);
    pthread_mutex_destroy(&idp->lock);
    arena_free(idp->arena);
    mem_free(idp);
}

static bool idp_init(struct idp *idp, const struct config *c, const struct state_keys *keys, int control)
{
    idp->config = c;
    idp->control = control;
    idp->jobs_tail = &idp->jobs;
    pthread_mutex_init(&idp->lock, NULL);
    idp->arena = arena_new(IDP_MEMORY);
    if (!idp->arena || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return false;
    idp->multi = curl_multi_init();
    if (!idp->multi) return false;
    curl_multi_setopt(idp->multi, CURLMOPT_MAXCONNECTS, (long)CACHED_CONNECTIONS);
    idp->sp = config_saml_sp(idp->arena, c, keys);
    struct idp_provider *providers = arena_array(idp->arena, c->nproviders, sizeof *providers);
    if (!providers || !verifier_pool_init(idp)) return false;
    idp->providers = providers;
    refresh_init(idp);
    return true;
}

// Signals are for the process' main thread.
static bool thread_start(struct idp *idp)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&idp->thread, NULL, run, idp) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

struct idp *idp_start(const struct config *c, const struct state_keys *keys, int control, struct err *err)
{
    struct idp *idp = mem_calloc(1, sizeof *idp);
    if (!idp || !idp_init(idp, c, keys, control) || !thread_start(idp)) {
        idp_free(idp);
        err_set(err, ERR_INTERNAL, "the login thread could not be started");
        return NULL;
    }
    pthread_setname_np(idp->thread, "login");
    return idp;
}

void idp_stop(struct idp *idp)
{
    if (!idp) return;
    pthread_mutex_lock(&idp->lock);
    idp->stopping = true;
    pthread_mutex_unlock(&idp->lock);
    curl_multi_wakeup(idp->multi);
    pthread_join(idp->thread, NULL);
    idp_free(idp);
}
