// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of the supervisor: supervisor.c decides, generation.c keeps one configuration's processes,
// spawn.c makes them.
#pragma once

#include <signal.h>

#include "gateway/process/listen.h"
#include "gateway/process/privileges.h"
#include "gateway/process/processes.h"

struct child {
    pid_t pid; // 0: not running
    uint32_t serial;
    int64_t started, restart_at, delay; // ms
    bool expected;                      // its end was asked for, or follows from another's
};

// One configuration and the processes that serve it. Usually there is one; after a reload the one before
// drains beside it.
struct generation {
    struct generation *next; // older
    struct config *config;
    struct arena *arena;
    struct state_keys keys;
    struct privileges privileges;
    int *listen_fds;
    int operations_fd;
    int control; // -1: no gateway
    struct child gateway;
    struct child *verifiers;
    size_t nverifiers;
    bool ready;      // the gateway has said that it serves
    bool draining;   // SIGTERM was sent: nothing is started any more
    int64_t kill_at; // draining ends by force
};

struct supervisor {
    const char *config_path;
    struct generation *generations; // newest first
    struct bound *bound;
    int signals; // signalfd
    sigset_t unblocked;
    bool stopping;
    bool announced; // READY=1 was sent
    int64_t watchdog,
        watchdog_next; // ms between signs of life for systemd, 0: none wanted; when the next is due
};

int64_t supervisor_now(void); // ms, monotonic

// spawn.c: pid, or -1 with err. In the child they do not return.
pid_t spawn_gateway(const struct supervisor *s, const struct generation *g, int control, struct err *err);
pid_t spawn_verifier(const struct supervisor *s, const struct generation *g, int socket, struct err *err);

// generation.c
// Loads and checks everything and binds; every problem is logged. NULL: nothing has changed.
struct generation *generation_load(struct supervisor *s);
void generation_free(struct generation *g);
void generation_tick(struct supervisor *s, struct generation *g, int64_t now); // starts what should run
int64_t generation_deadline(const struct generation *g);
void generation_control(struct supervisor *s, struct generation *g); // reads what the gateway says
void generation_drain(struct generation *g, int64_t now);
void generation_kill(struct generation *g, const char *why);
bool generation_child_ended(struct generation *g, pid_t pid, int status,
                            int64_t now); // whether it was one of its children
bool generation_empty(const struct generation *g);
