// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/verifier/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"

static bool limit(int resource, rlim_t soft, rlim_t hard, struct err *err)
{
    struct rlimit r = { soft, hard };
    if (setrlimit((__rlimit_resource_t)resource, &r) == 0) return true;
    return err_set(err, ERR_INTERNAL, "setrlimit(%d): %s", resource, strerror(errno));
}

static bool limits(struct err *err)
{
    return limit(RLIMIT_CORE, 0, 0, err) && limit(RLIMIT_CPU, SANDBOX_CPU_KILL, SANDBOX_CPU_KILL, err) &&
           (SANDBOX_SANITIZED || (limit(RLIMIT_NOFILE, 4, 4, err) && limit(RLIMIT_NPROC, 0, 0, err) &&
                                  limit(RLIMIT_AS, LIMIT_VERIFIER_MEMORY, LIMIT_VERIFIER_MEMORY, err)));
}

// Everything that parsing, XML signatures and JOSE need once libraries are initialised, and dying.
static const int allowed[] = {
    SCMP_SYS(read),          SCMP_SYS(close),        SCMP_SYS(brk),         SCMP_SYS(munmap),
    SCMP_SYS(mremap),        SCMP_SYS(madvise),      SCMP_SYS(futex),       SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),        SCMP_SYS(getrusage),
    SCMP_SYS(getpid),        SCMP_SYS(gettid),       SCMP_SYS(tgkill),      SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(alarm),        SCMP_SYS(setitimer),   SCMP_SYS(restart_syscall),
    SCMP_SYS(mlock),         SCMP_SYS(munlock),      SCMP_SYS(sched_yield), SCMP_SYS(fstat),
};

// No library does these by accident: only an intruder does. Everything else that is not allowed fails with
// EPERM, because libraries do ask for time zones, locales or character tables and cope with "no".
static const int deadly[] = {
    SCMP_SYS(execve),  SCMP_SYS(execveat),
    SCMP_SYS(fork),    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),  SCMP_SYS(process_vm_readv),
    SCMP_SYS(connect), SCMP_SYS(process_vm_writev),
    SCMP_SYS(bind),    SCMP_SYS(listen),
    SCMP_SYS(accept),  SCMP_SYS(accept4),
    SCMP_SYS(bpf),     SCMP_SYS(mount),
    SCMP_SYS(kill),    SCMP_SYS(perf_event_open),
    SCMP_SYS(setuid),  SCMP_SYS(userfaultfd),
};

// Memory that can be executed is never needed again, and writing goes to the gateway or the log only.
static int rules(scmp_filter_ctx ctx)
{
    int bad = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        bad |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        bad |= seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    bad |=
        seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    bad |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    bad |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_GE, 2));
    return bad;
}

static bool filter(struct err *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx) return err_set(err, ERR_INTERNAL, "seccomp_init failed");
    bool ok = rules(ctx) == 0 && seccomp_load(ctx) == 0;
    seccomp_release(ctx);
    return ok || err_set(err, ERR_INTERNAL, "the system call filter could not be loaded");
}

bool sandbox_enter(struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(err, ERR_INTERNAL, "no_new_privs: %s", strerror(errno));
    if (!SANDBOX_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_set(err, ERR_INTERNAL, "dumpable: %s", strerror(errno));
    return limits(err) && (SANDBOX_SANITIZED || filter(err));
}

bool sandbox_spent(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0) return true;
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec >= SANDBOX_CPU_LEAVE;
}
