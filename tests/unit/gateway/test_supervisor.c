// SPDX-License-Identifier: GPL-3.0-or-later
// The supervisor with a stub of the gateway and real verifiers (this binary called with "verifier"). The stub
// says what happens to it in a file.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "gateway/process/control.h"
#include "gateway/process/processes.h"
#include "gateway/verifier/sandbox.h"

static int events = -1; // inherited by every process
static struct {
    char dir[64], config[96], log[96], events[96], notify_path[96];
    pid_t pid;
    int notify, port, other_port, ops_port;
} t;

// ---- the stub

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (write(events, line, (size_t)n) != n) _exit(9);
}

static bool called(const struct gateway_setup *setup, const char *name)
{
    return str_eq_c(setup->config->site_name, name);
}

static void stub_control(const struct gateway_setup *setup)
{
    struct control_message m;
    int fd;
    while (control_receive(setup->control, &m, &fd) == CONTROL_GOT) {
        say("verifier slot=%u serial=%u gateway=%d\n", m.slot, m.serial,
            getpid()); // its connection stays open
        if (called(setup, "stuck") && m.serial == 1)
            control_send(setup->control, &(struct control_message){ CONTROL_STUCK, m.slot, m.serial }, -1);
        if (called(setup, "stuck") && m.serial == 2) // a late word about a process that is gone
            control_send(setup->control, &(struct control_message){ CONTROL_STUCK, m.slot, 1 }, -1);
    }
}

int gateway_run(const struct gateway_setup *setup)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int sfd = signalfd(-1, &set, SFD_NONBLOCK);
    say("start %.*s pid=%d uid=%d listeners=%zu ops=%d\n", STR_FMT(setup->config->site_name), getpid(),
        (int)getuid(), setup->config->nlisteners, setup->operations_fd >= 0);
    if (called(setup, "die")) return 1;
    if (!called(setup, "never-ready")) control_ready(setup->control);
    for (;;) {
        struct pollfd p[2] = { { setup->control, POLLIN, 0 }, { sfd, POLLIN, 0 } };
        poll(p, 2, -1);
        if (p[0].revents) stub_control(setup);
        struct signalfd_siginfo si;
        if (!p[1].revents || read(sfd, &si, sizeof si) != (ssize_t)sizeof si) continue;
        say("term pid=%d\n", getpid());
        if (!called(setup, "stubborn")) return 0;
    }
}

// ---- rig

static void write_config(const char *site, int port, const char *more)
{
    FILE *f = fopen(t.config, "w");
    assert_non_null(f);
    fprintf(f,
            "site_name: %s\nlogin: { host: login.example.com }\nstate: %s/state\nverifiers: 2\n"
            "listen:\n  - { address: \"127.0.0.1:%d\", tls: { certificates: [ { cert: leaf.pem, key: "
            "leaf.key } ] } }\n"
            "timeouts: { drain: 1s }\n"
            "identity_providers:\n  op: { protocol: oidc, issuer: https://op.example.com, client_id: a, "
            "client_secret: { file: secret } }\n"
            "routes:\n  - { host: app.example.com, backends: [ \"http://127.0.0.1:1\" ], policy: staff }\n"
            "policies: { staff: [ { allow: { emails: [ ann@example.com ] } } ] }\n%s",
            site, t.dir, port, more);
    fclose(f);
}

// Free at this moment; three different ones.
static void choose_ports(void)
{
    int *const ports[] = { &t.port, &t.other_port, &t.ops_port };
    int fds[3];
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof a;
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)&a, &n), 0);
        *ports[i] = ntohs(a.sin_port);
    }
    for (int i = 0; i < 3; i++) close(fds[i]);
}

static int setup(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct str hosts[] = { STR("login.example.com"), STR("app.example.com") };
    choose_ports();
    strcpy(t.dir, "/tmp/sallyport-test-sup-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.config, sizeof t.config, "%s/config.yaml", t.dir);
    snprintf(t.log, sizeof t.log, "%s/log", t.dir);
    snprintf(t.events, sizeof t.events, "%s/events", t.dir);
    snprintf(t.notify_path, sizeof t.notify_path, "%s/notify", t.dir);
    if (!cert_dev_ca(t.dir, &err) || !cert_dev_leaf(t.dir, "leaf", (struct strlist){ hosts, 2 }, &err))
        fail_msg("%s", err.detail);
    char path[96];
    snprintf(path, sizeof path, "%s/secret", t.dir);
    if (!file_write(path, STR("s"), 0600, &err)) fail_msg("%s", err.detail);
    events = open(t.events, O_RDWR | O_CREAT | O_APPEND, 0600);
    assert_true(events >= 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, t.notify_path);
    t.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(t.notify, (struct sockaddr *)&a, sizeof a), 0);
    return 0;
}

static void start(void)
{
    t.pid = fork();
    if (t.pid == 0) {
        int log = open(t.log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(log, 2);
        close(log);
        child_without_leak_check();
        setenv("NOTIFY_SOCKET", t.notify_path, 1);
        _exit(supervisor_run(t.config));
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

// Orphans come to us: we are the subreaper. A sanitizer's own helper may take a moment to end.
static bool nobody_left(void)
{
    for (int i = 0; i < 25; i++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD) return true;
        usleep(20000);
    }
    return false;
}

static int teardown(void **state)
{
    (void)state;
    if (t.pid > 0) kill(t.pid, SIGKILL);
    t.pid = 0;
    while (waitpid(-1, NULL, 0) > 0) {
    }
    close(events);
    close(t.notify);
    nftw(t.dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static char *contents(const char *path)
{
    static char buf[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof buf - 1);
    if (fd >= 0) close(fd);
    buf[n > 0 ? n : 0] = 0;
    return buf;
}

static int count(const char *path, const char *what)
{
    int n = 0;
    for (const char *p = contents(path); (p = strstr(p, what)); p++) n++;
    return n;
}

static bool wait_count(const char *path, const char *what, int n, int ms)
{
    for (; ms > 0; ms -= 20) {
        if (count(path, what) >= n) return true;
        usleep(20000);
    }
    fprintf(stderr, "missing \"%s\" x%d in:\n%s\nlog:\n", what, n, contents(path));
    fprintf(stderr, "%s\n", contents(t.log));
    return false;
}

// The pid in the n-th (1-based) line that begins so.
static pid_t pid_in(const char *begin, int n)
{
    char *p = contents(t.events);
    while (n > 0 && (p = strstr(p, begin))) {
        if (--n == 0) return (pid_t)atoi(strstr(p, "pid=") + 4);
        p++;
    }
    return -1;
}

static bool alive(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static bool wait_gone(pid_t pid, int ms)
{
    for (; ms > 0 && alive(pid); ms -= 20) {
        while (waitpid(pid, NULL, WNOHANG) > 0) {
        }
        usleep(20000);
    }
    return !alive(pid);
}

static int wait_exit(int ms)
{
    int status;
    for (; ms > 0; ms -= 20) {
        if (waitpid(t.pid, &status, WNOHANG) == t.pid) {
            t.pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        }
        usleep(20000);
    }
    return -1;
}

static bool can_connect(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

// A verifier of the supervisor: a child that is not the gateway.
static pid_t some_verifier(pid_t gateway)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", t.pid, t.pid);
    for (char *p = contents(path); *p;) {
        pid_t pid = (pid_t)strtol(p, &p, 10);
        if (pid <= 0) break;
        if (pid != gateway) return pid;
        while (*p == ' ') p++;
    }
    return -1;
}

static bool notified(const char *what)
{
    char buf[512];
    for (int i = 0; i < 250; i++) {
        ssize_t n;
        while ((n = recv(t.notify, buf, sizeof buf - 1, 0)) > 0) {
            buf[n] = 0;
            if (strstr(buf, what)) return true;
        }
        usleep(20000);
    }
    return false;
}

static void start_ready(const char *site)
{
    write_config(site, t.port, "");
    start();
    assert_true(wait_count(t.events, "verifier slot=", 2, 10000));
}

// ---- tests

static void test_starts_everything_and_ends_everything(void **state)
{
    (void)state;
    char operations[64];
    snprintf(operations, sizeof operations, "operations: \"127.0.0.1:%d\"\n", t.ops_port);
    write_config("first", t.port, operations);
    start();
    assert_true(wait_count(t.events, "start first", 1, 10000));
    assert_true(wait_count(t.events, "verifier slot=0", 1, 10000));
    assert_true(wait_count(t.events, "verifier slot=1", 1, 10000));
    assert_int_equal(count(t.events, "listeners=1 ops=1"), 1);
    assert_true(notified("READY=1"));
    assert_true(can_connect(t.port) && can_connect(t.ops_port));
    kill(t.pid, SIGTERM);
    assert_int_equal(wait_exit(5000), 0);
    assert_true(notified("STOPPING=1"));
    assert_int_equal(count(t.events, "term "), 1);
    assert_true(nobody_left());
    assert_false(can_connect(t.port));
}

static void test_root_is_given_up(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    start_ready("first");
    assert_int_equal(count(t.events, "uid=0 "), 0);
    pid_t verifier = some_verifier(pid_in("start", 1));
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/status", verifier);
    char *status = contents(path);
    assert_non_null(strstr(status, "Uid:\t"));
    assert_null(strstr(status, "Uid:\t0"));
    assert_non_null(strstr(status, "NoNewPrivs:\t1"));
    snprintf(path, sizeof path, "%s/state", t.dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_not_equal(st.st_uid, 0);
    snprintf(path, sizeof path, "/proc/%d/environ", verifier);
    // A sanitized build lets the sanitizers' own options through, and nothing before them.
    char *environment = contents(path);
    if (SANDBOX_SANITIZED && strstr(environment, "SAN_OPTIONS=")) return;
    assert_int_equal(strlen(environment), 0);
}

static void test_unusable_user_is_an_error(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    write_config("first", t.port, "user: root\n");
    start();
    assert_int_equal(wait_exit(5000), 1);
    write_config("first", t.port, "user: there-is-no-such-user\n");
    start();
    assert_int_equal(wait_exit(5000), 1);
    assert_int_equal(count(t.events, "start"), 0);
}

static void test_killed_gateway_comes_back(void **state)
{
    (void)state;
    start_ready("first");
    pid_t first = pid_in("start", 1);
    kill(first, SIGKILL);
    assert_true(wait_count(t.events, "start first", 2, 5000));
    assert_true(wait_count(t.log, "\"signal\":\"SIGKILL\"", 1, 2000));
    // The verifiers are started anew as well, and their connections go to the new process.
    char text[64];
    snprintf(text, sizeof text, "gateway=%d", pid_in("start", 2));
    assert_true(wait_count(t.events, text, 2, 5000));
    assert_true(can_connect(t.port));
}

static void test_crashed_verifier_comes_back(void **state)
{
    (void)state;
    start_ready("first");
    kill(some_verifier(pid_in("start", 1)), SIGSEGV);
    assert_true(wait_count(t.events, "serial=2", 1, 5000));
#if !SANDBOX_SANITIZED // sanitizers catch the signal
    assert_true(wait_count(t.log, "\"signal\":\"SIGSEGV\"", 1, 2000));
#endif
    assert_int_equal(count(t.events, "start"), 1);
}

static void test_stuck_verifier_is_replaced(void **state)
{
    (void)state;
    start_ready("stuck");
    assert_true(wait_count(t.events, "slot=0 serial=2", 1, 5000));
    assert_true(wait_count(t.events, "slot=1 serial=2", 1, 5000));
    usleep(500 * 1000);
    assert_int_equal(count(t.events, "serial=3"), 0); // the late word killed nobody
}

static void test_dying_gateway_is_not_started_in_a_hurry(void **state)
{
    (void)state;
    write_config("die", t.port, "");
    start();
    assert_true(wait_count(t.events, "start die", 1, 15000));
    sleep(2);
    assert_in_range(count(t.events, "start die"), 3, 6); // after 0, 100, 300, 700, 1500 ms
    kill(t.pid, SIGTERM);
    assert_int_equal(wait_exit(5000), 0);
    assert_true(nobody_left());
}

static void test_bad_reload_changes_nothing(void **state)
{
    (void)state;
    start_ready("first");
    pid_t first = pid_in("start", 1);
    write_config("second", t.port, "no_such_option: 1\n");
    kill(t.pid, SIGHUP);
    assert_true(wait_count(t.log, "reload.failed", 1, 5000));
    assert_true(count(t.log, "no_such_option") > 0);
    // A good file with an address that is taken is as bad.
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)t.other_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_true(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
    write_config("second", t.other_port, "");
    kill(t.pid, SIGHUP);
    assert_true(wait_count(t.log, "reload.failed", 2, 5000));
    close(fd);
    assert_int_equal(count(t.events, "start"), 1);
    assert_int_equal(count(t.events, "term"), 0);
    assert_true(alive(first) && can_connect(t.port));
}

static void test_good_reload_replaces_the_generation(void **state)
{
    (void)state;
    start_ready("first");
    pid_t first = pid_in("start", 1);
    write_config("second", t.other_port, "");
    kill(t.pid, SIGHUP);
    assert_true(wait_count(t.events, "start second", 1, 5000));
    assert_true(wait_count(t.events, "term pid=", 1, 5000));
    assert_int_equal(pid_in("term", 1), first);
    assert_true(notified("RELOADING=1") && notified("READY=1"));
    assert_true(wait_gone(first, 2000));
    for (int i = 0; i < 100 && can_connect(t.port); i++) usleep(20000);
    assert_true(!can_connect(t.port) && can_connect(t.other_port));
    assert_true(wait_count(t.events, "verifier slot=", 4, 5000));
    kill(t.pid, SIGTERM);
    assert_int_equal(wait_exit(5000), 0);
    assert_true(nobody_left());
}

static void test_same_socket_over_a_reload(void **state)
{
    (void)state;
    start_ready("first");
    write_config("second", t.port, "");
    kill(t.pid, SIGHUP);
    for (int i = 0; i < 200; i++) { // never refused
        assert_true(can_connect(t.port));
        usleep(5000);
    }
    assert_true(wait_count(t.events, "term pid=", 1, 5000));
}

static void test_old_generation_stays_until_the_new_one_serves(void **state)
{
    (void)state;
    start_ready("first");
    pid_t first = pid_in("start", 1);
    write_config("die", t.port, "");
    kill(t.pid, SIGHUP);
    assert_true(wait_count(t.events, "start die", 3, 5000));
    assert_true(alive(first));
    assert_int_equal(count(t.events, "term"), 0);
    write_config("third", t.port, "");
    kill(t.pid, SIGHUP);
    assert_true(wait_count(t.events, "term pid=", 1, 5000));
    assert_true(wait_gone(first, 2000));
}

static void test_stubborn_gateway_is_killed(void **state)
{
    (void)state;
    start_ready("stubborn");
    kill(t.pid, SIGTERM);
    usleep(500 * 1000);
    assert_int_equal(wait_exit(100), -1);
    assert_int_equal(wait_exit(8000), 0); // drain 1 s + 5 s
    assert_true(nobody_left());
}

static void test_second_signal_is_impatient(void **state)
{
    (void)state;
    start_ready("stubborn");
    kill(t.pid, SIGINT);
    assert_true(wait_count(t.events, "term pid=", 1, 5000));
    kill(t.pid, SIGINT);
    int status = wait_exit(2000);
    if (status != 0) fail_msg("%d\n%s", status, contents(t.log));
    assert_true(nobody_left());
}

static void test_nothing_survives_the_supervisor(void **state)
{
    (void)state;
    start_ready("stubborn");
    pid_t gateway = pid_in("start", 1), verifier = some_verifier(gateway);
    kill(t.pid, SIGKILL);
    assert_int_equal(wait_exit(2000), 1000 + SIGKILL);
    assert_true(wait_gone(gateway, 3000));
    assert_true(wait_gone(verifier, 3000));
}

static void test_bad_configuration_at_start(void **state)
{
    (void)state;
    write_config("first", t.port, "no_such_option: 1\n");
    start();
    assert_int_equal(wait_exit(5000), 1);
    assert_true(count(t.log, "no_such_option") > 0);
    assert_int_equal(count(t.events, "start"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "verifier") == 0) return verifier_run();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        T(starts_everything_and_ends_everything),
        T(root_is_given_up),
        T(unusable_user_is_an_error),
        T(killed_gateway_comes_back),
        T(crashed_verifier_comes_back),
        T(stuck_verifier_is_replaced),
        T(dying_gateway_is_not_started_in_a_hurry),
        T(bad_reload_changes_nothing),
        T(good_reload_replaces_the_generation),
        T(same_socket_over_a_reload),
        T(old_generation_stays_until_the_new_one_serves),
        T(stubborn_gateway_is_killed),
        T(second_signal_is_impatient),
        T(nothing_survives_the_supervisor),
        T(bad_configuration_at_start),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
