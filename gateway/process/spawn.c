// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/process/supervisor_private.h"
#include "gateway/verifier/sandbox.h"

enum { VERIFIER_FD = 3, EXIT_SPAWN = 70 };

// Nothing outlives the supervisor. Set after the change of user, which clears it; the supervisor may have
// died before that.
static void die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(EXIT_SPAWN);
}

static void child_signals(const struct supervisor *s)
{
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &s->unblocked, NULL);
}

static void child_privileges(const struct generation *g)
{
    struct err err;
    if (privileges_drop(&g->privileges, &err)) return;
    log_failure(LOG_ERROR, "privileges.failed", &err);
    _exit(EXIT_SPAWN);
}

static pid_t fork_child(struct err *err)
{
    fflush(NULL); // or both print it
    pid_t pid = fork();
    if (pid < 0) err_set(err, ERR_INTERNAL, "fork: %s", strerror(errno));
    return pid;
}

// A listener that only another generation has would stay open for as long as this process lives.
static void close_foreign_listeners(const struct supervisor *s, const struct generation *g)
{
    for (const struct bound *b = s->bound; b; b = b->next) {
        bool ours = b->fd == g->operations_fd;
        for (size_t i = 0; i < g->config->nlisteners; i++) ours |= b->fd == g->listen_fds[i];
        if (!ours) close(b->fd);
    }
}

static void gateway_child(const struct supervisor *s, const struct generation *g, int control, pid_t parent)
{
    enum log_level level = LOG_INFO;
    log_level_by_name(g->config->log_level, &level);
    log_init(level, "gateway");
    close(s->signals);
    close_foreign_listeners(s, g);
    for (const struct generation *o = s->generations; o; o = o->next)
        if (o->control >= 0 && o->control != control) close(o->control);
    unsetenv("NOTIFY_SOCKET"); // only the supervisor speaks to systemd
    child_privileges(g);
    die_with_parent(parent);
    child_signals(s);
    struct state_keys keys = g->keys;
    struct gateway_setup setup = { .config = g->config,
                                   .keys = &keys,
                                   .listen_fds = g->listen_fds,
                                   .operations_fd = g->operations_fd,
                                   .control = control };
    exit(gateway_run(&setup));
}

pid_t spawn_gateway(const struct supervisor *s, const struct generation *g, int control, struct err *err)
{
    pid_t parent = getpid(), pid = fork_child(err);
    if (pid == 0) gateway_child(s, g, control, parent);
    return pid;
}

// Sanitizers are told where to report by the environment; nothing else is let through, and nothing in other
// builds.
static char **verifier_environment(void)
{
    static char *none[] = { NULL };
#if SANDBOX_SANITIZED
    static char *options[4];
    const char *const names[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS" };
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        const char *v = getenv(names[i]);
        if (!v || asprintf(&options[n], "%s=%s", names[i], v) < 0) continue;
        n++;
    }
    return n ? options : none;
#else
    return none;
#endif
}

static void verifier_descriptors(int socket)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0) _exit(EXIT_SPAWN);
    if (socket == VERIFIER_FD)
        fcntl(socket, F_SETFD, 0);
    else if (dup2(socket, VERIFIER_FD) < 0)
        _exit(EXIT_SPAWN);
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0) _exit(EXIT_SPAWN);
    if (close_range(VERIFIER_FD + 1, ~0U, 0) != 0) _exit(EXIT_SPAWN);
}

static void verifier_child(const struct supervisor *s, const struct generation *g, int socket, pid_t parent)
{
    char *const argv[] = { "sallyport", "verifier", NULL };
    char **environment = verifier_environment();
    log_init(LOG_INFO, "verifier");
    verifier_descriptors(socket);
    child_privileges(g);
    die_with_parent(parent);
    child_signals(s);
    execve("/proc/self/exe", argv, environment);
    log_message(LOG_ERROR, "verifier.start", "exec: %s", strerror(errno));
    _exit(EXIT_SPAWN);
}

pid_t spawn_verifier(const struct supervisor *s, const struct generation *g, int socket, struct err *err)
{
    pid_t parent = getpid(), pid = fork_child(err);
    if (pid == 0) verifier_child(s, g, socket, parent);
    return pid;
}
