// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/process/control.h"
#include "gateway/process/supervisor_private.h"

enum { DELAY_FIRST = 100, DELAY_MAX = 5000, QUICK_DEATH = 10000, DRAIN_GRACE = 5000 };

int64_t supervisor_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- loading

static struct config *load_config(const char *path)
{
    struct arena *a = arena_new(LIMIT_CONFIG_BYTES);
    struct config_errors errors = { 0 };
    struct config *c = a ? config_load(path, a, &errors) : NULL;
    for (size_t i = 0; !c && i < errors.n; i++) {
        const struct config_error *e = &errors.v[i];
        struct log_line l;
        log_begin(&l, LOG_ERROR, "config.error");
        log_c(&l, "file", path);
        if (e->line) log_int(&l, "line", e->line);
        if (e->line) log_int(&l, "column", e->column);
        if (e->key.n) log_str(&l, "key", e->key);
        log_str(&l, "message", e->message);
        log_end(&l);
    }
    arena_free(a);
    return c;
}

// Allowed, but nobody should have forgotten it.
static void warn_of_unverified(const struct config *c)
{
    for (size_t i = 0; i < c->routes.n; i++) {
        const struct route *r = &c->routes.v[i];
        bool tls = false;
        for (size_t k = 0; k < r->target->nbackends; k++) tls = tls || r->target->backends[k].tls;
        if (tls && !r->target->tls.verify)
            log_message(
                LOG_WARN, "config.insecure",
                "route %.*s%.*s: backend_tls.verify is false, so nobody knows whom the gateway talks to",
                STR_FMT(r->host), STR_FMT(r->path));
    }
}

static bool bind_all(struct supervisor *s, struct generation *g, struct err *err)
{
    const struct config *c = g->config;
    g->listen_fds = arena_array(g->arena, c->nlisteners, sizeof *g->listen_fds);
    if (!g->listen_fds) return err_set(err, ERR_NO_MEMORY, "listeners");
    bound_unwant_all(s->bound);
    for (size_t i = 0; i < c->nlisteners; i++) {
        g->listen_fds[i] = bound_get(&s->bound, &c->listeners[i], err);
        if (g->listen_fds[i] < 0) return false;
    }
    if (!c->operations.n) return true;
    g->operations_fd = bound_get_operations(&s->bound, c->operations, err);
    return g->operations_fd >= 0;
}

// What a failed reload bound is closed again, what the running generation uses stays.
static void rebind_running(struct supervisor *s)
{
    struct err ignored;
    bound_unwant_all(s->bound);
    const struct generation *g = s->generations;
    for (size_t i = 0; g && i < g->config->nlisteners; i++)
        bound_get(&s->bound, &g->config->listeners[i], &ignored);
    if (g && g->config->operations.n) bound_get_operations(&s->bound, g->config->operations, &ignored);
    bound_close_unwanted(&s->bound);
}

static bool prepare(struct supervisor *s, struct generation *g, struct err *err)
{
    const struct config *c = g->config;
    g->nverifiers = c->verifiers ? c->verifiers : 1;
    g->verifiers = arena_array(g->arena, g->nverifiers, sizeof *g->verifiers);
    if (!g->verifiers) return err_set(err, ERR_NO_MEMORY, "verifiers");
    return privileges_find(c, &g->privileges, err) &&
           state_keys_load(g->arena, c->state_dir.p, c->login_host.p, (int64_t)time(NULL), &g->keys, err) &&
           bind_all(s, g, err) && privileges_give_state(&g->privileges, c, err);
}

struct generation *generation_load(struct supervisor *s)
{
    struct err err = { 0 };
    struct config *c = load_config(s->config_path);
    if (!c) return NULL;
    struct generation *g = mem_calloc(1, sizeof *g);
    struct arena *a = arena_new(LIMIT_CONFIG_BYTES);
    if (!g || !a) {
        mem_free(g);
        arena_free(a);
        config_free(c);
        return NULL;
    }
    *g = (struct generation){ .config = c, .arena = a, .operations_fd = -1, .control = -1 };
    warn_of_unverified(c);
    if (prepare(s, g, &err)) return g;
    log_failure(LOG_ERROR, "start.failed", &err);
    rebind_running(s);
    generation_free(g);
    return NULL;
}

void generation_free(struct generation *g)
{
    if (!g) return;
    if (g->control >= 0) close(g->control);
    config_free(g->config);
    crypto_cleanse(g->keys.master, sizeof g->keys.master);
    arena_free(g->arena);
    mem_free(g);
}

// ---- starting

static void gateway_failed_to_start(struct generation *g, const struct err *err, int64_t now)
{
    log_failure(LOG_ERROR, "gateway.start", err);
    g->gateway.restart_at = now + DELAY_MAX;
}

static void verifier_failed_to_start(struct child *c, const struct err *err, int64_t now)
{
    log_failure(LOG_ERROR, "verifier.start", err);
    c->restart_at = now + DELAY_MAX;
}

static void child_started(struct child *c, pid_t pid, int64_t now)
{
    c->pid = pid;
    c->started = now;
    c->expected = false;
}

static void start_gateway(struct supervisor *s, struct generation *g, int64_t now)
{
    int pair[2];
    struct err err;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        err_set(&err, ERR_INTERNAL, "socketpair: %s", strerror(errno));
        gateway_failed_to_start(g, &err, now);
        return;
    }
    g->control = pair[0];
    pid_t pid = spawn_gateway(s, g, pair[1], &err);
    close(pair[1]);
    if (pid > 0) {
        child_started(&g->gateway, pid, now);
        return;
    }
    close(pair[0]);
    g->control = -1;
    gateway_failed_to_start(g, &err, now);
}

// The gateway gets one end of the pair, the verifier the other, the supervisor keeps none: so each sees the
// other's end.
static void start_verifier(struct supervisor *s, struct generation *g, uint32_t slot, int64_t now)
{
    struct child *c = &g->verifiers[slot];
    struct err err;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        err_set(&err, ERR_INTERNAL, "socketpair: %s", strerror(errno));
        verifier_failed_to_start(c, &err, now);
        return;
    }
    pid_t pid = spawn_verifier(s, g, pair[1], &err);
    close(pair[1]);
    if (pid > 0) {
        child_started(c, pid, now);
        c->serial++;
        // When this fails the pair closes and the verifier ends, which comes back here.
        control_send(g->control, &(struct control_message){ CONTROL_VERIFIER, slot, c->serial }, pair[0]);
    } else {
        verifier_failed_to_start(c, &err, now);
    }
    close(pair[0]);
}

void generation_tick(struct supervisor *s, struct generation *g, int64_t now)
{
    if (g->draining) {
        if (g->kill_at <= now)
            generation_kill(g, "it did not end by itself; timeouts.drain is how long it may take");
        return;
    }
    if (!g->gateway.pid && g->gateway.restart_at <= now) start_gateway(s, g, now);
    for (size_t i = 0; g->gateway.pid && i < g->nverifiers; i++)
        if (!g->verifiers[i].pid && g->verifiers[i].restart_at <= now) start_verifier(s, g, (uint32_t)i, now);
}

int64_t generation_deadline(const struct generation *g)
{
    if (g->draining) return g->kill_at;
    int64_t at = INT64_MAX;
    if (!g->gateway.pid) return g->gateway.restart_at;
    for (size_t i = 0; i < g->nverifiers; i++)
        if (!g->verifiers[i].pid && g->verifiers[i].restart_at < at) at = g->verifiers[i].restart_at;
    return at;
}

// ---- ending

static void verifiers_kill(struct generation *g)
{
    for (size_t i = 0; i < g->nverifiers; i++) {
        if (!g->verifiers[i].pid) continue;
        g->verifiers[i].expected = true;
        kill(g->verifiers[i].pid, SIGKILL);
    }
}

void generation_drain(struct generation *g, int64_t now)
{
    if (g->draining) return;
    g->draining = true;
    g->kill_at = now + g->config->timeout_drain * 1000 + DRAIN_GRACE;
    g->gateway.expected = true;
    if (g->gateway.pid)
        kill(g->gateway.pid, SIGTERM);
    else
        verifiers_kill(g);
}

void generation_kill(struct generation *g, const char *why)
{
    g->draining = true;
    g->kill_at = INT64_MAX;
    if (g->gateway.pid) {
        log_message(LOG_WARN, "gateway.killed", "%s", why);
        kill(g->gateway.pid, SIGKILL);
    }
    verifiers_kill(g);
}

static void log_child_ended(const char *name, pid_t pid, int status, bool expected)
{
    struct log_line l;
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    log_begin(&l, expected || clean ? LOG_INFO : LOG_ERROR, "process.ended");
    log_c(&l, "name", name);
    log_int(&l, "pid", pid);
    if (WIFSIGNALED(status)) {
        const char *abbrev = sigabbrev_np(WTERMSIG(status));
        char signal_name[32] = "SIG";
        strncat(signal_name, abbrev ? abbrev : "?", sizeof signal_name - 4);
        log_c(&l, "signal", signal_name);
    } else {
        log_int(&l, "status", WEXITSTATUS(status));
    }
    log_end(&l);
}

// A process that dies young is started again later and later; one that lived is started at once.
static void child_reschedule(struct child *c, int64_t now)
{
    if (c->expected) {
        c->restart_at = now;
        return;
    }
    bool quick = now - c->started < QUICK_DEATH;
    c->delay = !quick ? 0 : c->delay ? c->delay * 2 : DELAY_FIRST;
    if (c->delay > DELAY_MAX) c->delay = DELAY_MAX;
    c->restart_at = now + c->delay;
}

static void gateway_ended(struct generation *g, int64_t now)
{
    if (g->control >= 0) close(g->control);
    g->control = -1;
    g->ready = false;
    child_reschedule(&g->gateway, now);
    verifiers_kill(g); // their connections are gone; one may sit in a message for seconds
}

bool generation_child_ended(struct generation *g, pid_t pid, int status, int64_t now)
{
    if (g->gateway.pid == pid) {
        g->gateway.pid = 0;
        log_child_ended("gateway", pid, status, g->gateway.expected);
        gateway_ended(g, now);
        return true;
    }
    for (size_t i = 0; i < g->nverifiers; i++) {
        struct child *c = &g->verifiers[i];
        if (c->pid != pid) continue;
        c->pid = 0;
        log_child_ended("verifier", pid, status, c->expected);
        child_reschedule(c, now);
        return true;
    }
    return false;
}

bool generation_empty(const struct generation *g)
{
    bool any = g->gateway.pid != 0;
    for (size_t i = 0; i < g->nverifiers; i++) any |= g->verifiers[i].pid != 0;
    return !any;
}

// ---- what the gateway says

static void verifier_stuck(struct generation *g, const struct control_message *m)
{
    if (m->slot >= g->nverifiers) return;
    struct child *c = &g->verifiers[m->slot];
    if (c->pid && c->serial == m->serial) kill(c->pid, SIGKILL); // a later process of the slot is not meant
}

void generation_control(struct supervisor *s, struct generation *g)
{
    (void)s;
    struct control_message m;
    int fd;
    enum control_result got = CONTROL_NOTHING;
    while (g->control >= 0 && (got = control_receive(g->control, &m, &fd)) == CONTROL_GOT) {
        if (fd >= 0) close(fd);
        if (m.kind == CONTROL_READY) g->ready = true;
        if (m.kind == CONTROL_STUCK) verifier_stuck(g, &m);
    }
    if (got != CONTROL_CLOSED) return;
    close(g->control); // the process is ending; SIGCHLD tells the rest
    g->control = -1;
}
