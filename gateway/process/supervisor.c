// SPDX-License-Identifier: GPL-3.0-or-later
// The first process. It parses nothing from the network and holds no connection: it reads the configuration,
// binds, starts the others, and starts them again.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/process/supervisor_private.h"

enum { GENERATIONS_POLLED = 16, READY_PATIENCE = 10000, LONGEST_SLEEP = 60000 };

static bool signals_take(struct supervisor *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, &s->unblocked) != 0) return false;
    for (int i = 0; i < 4; i++) sigdelset(&s->unblocked, (int[]){ SIGTERM, SIGINT, SIGHUP, SIGCHLD }[i]);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0;
}

static void stop(struct supervisor *s, int64_t now)
{
    bool again = s->stopping;
    s->stopping = true;
    sd_notify(0, "STOPPING=1");
    for (struct generation *g = s->generations; g; g = g->next) {
        if (again)
            generation_kill(g, "it was told to end a second time");
        else
            generation_drain(g, now);
    }
}

static void notify_reloading(int64_t now)
{
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now * 1000);
    sd_notify(0, text);
}

static void reload(struct supervisor *s, int64_t now)
{
    if (s->stopping) return;
    notify_reloading(now);
    struct generation *g = generation_load(s);
    if (!g) {
        log_message(LOG_ERROR, "reload.failed", "the configuration in use stays");
        sd_notify(0, "READY=1\nSTATUS=The new configuration has errors; the old one is in use");
        return;
    }
    log_message(LOG_INFO, "reload", "starting a gateway with the new configuration");
    g->next = s->generations;
    s->generations = g;
    s->announced = false;
}

// The newest one serves: systemd may know, and those before it may go.
static void settle(struct supervisor *s, int64_t now)
{
    struct generation *newest = s->generations;
    bool patient = newest->gateway.pid && now - newest->gateway.started < READY_PATIENCE;
    if (s->stopping || s->announced || !newest->gateway.pid || (!newest->ready && patient)) return;
    s->announced = true;
    log_message(LOG_INFO, "ready", "serving");
    sd_notify(0, "READY=1\nSTATUS=Serving");
    for (struct generation *g = newest->next; g; g = g->next) generation_drain(g, now);
    bound_close_unwanted(&s->bound);
}

static void reap(struct supervisor *s, int64_t now)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (struct generation *g = s->generations; g; g = g->next)
            if (generation_child_ended(g, pid, status, now)) break;
}

static void signals_read(struct supervisor *s, int64_t now)
{
    struct signalfd_siginfo si;
    while (read(s->signals, &si, sizeof si) == (ssize_t)sizeof si) {
        if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
            stop(s, now);
        else if (si.ssi_signo == SIGHUP)
            reload(s, now);
    }
    reap(s, now);
}

static void remove_finished(struct supervisor *s)
{
    for (struct generation **at = &s->generations; *at;) {
        struct generation *g = *at;
        if (!g->draining || !generation_empty(g)) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        generation_free(g);
    }
}

static int sleep_for(const struct supervisor *s, int64_t now)
{
    int64_t at = now + LONGEST_SLEEP;
    for (const struct generation *g = s->generations; g; g = g->next) {
        int64_t d = generation_deadline(g);
        if (d < at) at = d;
    }
    if (!s->announced && at > now + 1000) at = now + 1000;
    if (s->watchdog && at > s->watchdog_next) at = s->watchdog_next;
    return at <= now ? 0 : (int)(at - now);
}

// No more often than it is due: a full notification socket would block us.
static void watchdog(struct supervisor *s, int64_t now)
{
    if (!s->watchdog || now < s->watchdog_next) return;
    s->watchdog_next = now + s->watchdog;
    sd_notify(0, "WATCHDOG=1");
}

static void turn(struct supervisor *s)
{
    struct pollfd set[1 + GENERATIONS_POLLED] = { { s->signals, POLLIN, 0 } };
    struct generation *who[1 + GENERATIONS_POLLED] = { NULL };
    nfds_t n = 1;
    for (struct generation *g = s->generations; g && n <= GENERATIONS_POLLED; g = g->next) {
        if (g->control < 0) continue;
        who[n] = g;
        set[n++] = (struct pollfd){ g->control, POLLIN, 0 };
    }
    poll(set, n, sleep_for(s, supervisor_now()));
    int64_t now = supervisor_now();
    for (nfds_t i = 1; i < n; i++)
        if (set[i].revents) generation_control(s, who[i]);
    signals_read(s, now);
    for (struct generation *g = s->generations; g; g = g->next) generation_tick(s, g, now);
    settle(s, now);
    remove_finished(s);
    watchdog(s, now);
}

static void finish(struct supervisor *s)
{
    bound_unwant_all(s->bound);
    bound_close_unwanted(&s->bound);
    close(s->signals);
    sigprocmask(SIG_SETMASK, &s->unblocked, NULL);
    log_message(LOG_INFO, "stopped", "every process has ended");
}

int supervisor_run(const char *config_path)
{
    struct supervisor s = { .config_path = config_path };
    log_init(LOG_INFO, "supervisor");
    signal(SIGPIPE, SIG_IGN);
    s.generations = generation_load(&s);
    if (!s.generations) return 1;
    enum log_level level = LOG_INFO;
    log_level_by_name(s.generations->config->log_level, &level);
    log_init(level, "supervisor");
    if (!signals_take(&s)) {
        log_message(LOG_ERROR, "start.failed", "signals: %s", strerror(errno));
        return 1;
    }
    uint64_t usec = 0;
    if (sd_watchdog_enabled(0, &usec) > 0) s.watchdog = (int64_t)(usec / 3000);
    while (s.generations) turn(&s);
    finish(&s);
    return 0;
}
