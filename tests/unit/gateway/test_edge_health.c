// SPDX-License-Identifier: GPL-3.0-or-later
// Active checks of backends, and name servers that do not answer.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define GET_UP "GET / HTTP/1.1\r\nHost: up.example.com\r\n\r\n"

static const char routes[] = "  - { host: up.example.com, backends: [ 'unix:one.sock', 'unix:two.sock' ], "
                             "policy: public, health: { path: "
                             "/up, interval: 1s, timeout: 1s, rise: 2, fall: 2 } }\n"
                             "  - { host: port.example.com, backends: [ 'http://127.0.0.1:%' ], policy: "
                             "public, health: { path: '/ok', "
                             "interval: 1h, fall: 1 } }\n";

// An application that answers every request with its status, one after the other, until it is stopped.
struct app {
    int fd;
    _Atomic int status; // 0: accepts and says nothing; -1: interim answers without an end
    _Atomic int checks, visits;
    _Atomic bool stop;
    char first_check[512];
    pthread_t thread;
};
static struct app one, two;

static void flood(int fd)
{
    char many[64 * 256];
    static const char hints[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    size_t n = 0;
    for (; n + sizeof hints < sizeof many; n += sizeof hints - 1) memcpy(many + n, hints, sizeof hints - 1);
    while (send(fd, many, n, MSG_NOSIGNAL) == (ssize_t)n) {
    }
}

static void serve(struct app *app, int fd)
{
    char in[2048] = "", answer[128];
    struct timeval t = { .tv_sec = 2 };
    size_t n = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    while (!strstr(in, "\r\n\r\n")) {
        ssize_t got = recv(fd, in + n, sizeof in - 1 - n, 0);
        if (got <= 0) return;
        n += (size_t)got;
        in[n] = '\0';
    }
    bool check = strncmp(in, "GET /up ", 8) == 0;
    if (check && atomic_load(&app->checks) == 0)
        snprintf(app->first_check, sizeof app->first_check, "%.500s", in);
    atomic_fetch_add(check ? &app->checks : &app->visits, 1);
    int status = atomic_load(&app->status);
    if (status == 0) {
        recv(fd, in, 1, 0);
        return;
    }
    if (check && status < 0) {
        flood(fd);
        return;
    }
    int m =
        snprintf(answer, sizeof answer, "HTTP/1.1 %d Text\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                 check ? status : 200);
    send(fd, answer, (size_t)m, MSG_NOSIGNAL);
}

static void *app_main(void *arg)
{
    struct app *app = arg;
    while (!atomic_load(&app->stop)) {
        struct pollfd p = { app->fd, POLLIN, 0 };
        if (poll(&p, 1, 20) != 1) continue;
        int fd = accept4(app->fd, NULL, NULL, SOCK_CLOEXEC);
        serve(app, fd);
        close(fd);
    }
    return NULL;
}

static void app_start(struct edge *e, struct app *app, const char *name)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", e->dir, name);
    app->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(app->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(app->fd, 16), 0);
    atomic_store(&app->status, 200);
    assert_int_equal(pthread_create(&app->thread, NULL, app_main, app), 0);
}

static void app_stop(struct app *app)
{
    atomic_store(&app->stop, true);
    pthread_join(app->thread, NULL);
    close(app->fd);
}

static void start_apps(struct edge *e)
{
    app_start(e, &one, "one.sock");
    app_start(e, &two, "two.sock");
}

static int setup(void **state)
{
    edge_routes = routes;
    edge_prepare = start_apps;
    return edge_setup(state);
}

static int teardown(void **state)
{
    int failed = edge_teardown(state);
    app_stop(&one);
    app_stop(&two);
    return failed;
}

static void visit(struct edge *e, int times)
{
    struct client c;
    for (int i = 0; i < times; i++) {
        client_open(e, &c);
        client_send(&c, GET_UP);
        client_expect(&c, "HTTP/1.1 200");
        client_close(&c);
    }
}

static void test_what_a_check_asks(void **state)
{
    struct edge *e = *state;
    for (int i = 0; i < 200 && atomic_load(&one.checks) == 0; i++) usleep(10 * 1000);
    usleep(50 * 1000);
    assert_non_null(strstr(one.first_check, "GET /up HTTP/1.1\r\nHost: localhost\r\n"));
    assert_non_null(strstr(one.first_check, "Connection: close\r\n"));
    int b = backend_accept(e, RIG_WAIT_MS); // of the other route
    const char *in = backend_await(b, "\r\n\r\n");
    assert_non_null(strstr(in, "GET /ok HTTP/1.1\r\nHost: 127.0.0.1:"));
    backend_send(b, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n");
    assert_true(backend_is_closed(b));
    close(b);
    assert_int_equal(edge_log_lines(e, "backend.unhealthy"), 0);
}

static void test_checks_are_no_traffic(void **state)
{
    struct edge *e = *state;
    usleep(1200 * 1000);
    assert_true(atomic_load(&one.checks) > 0);
    assert_int_equal(edge_access_lines(e), 0);
    assert_int_equal(atomic_load(&e->worker->metrics.proxied_total), 0);
    assert_int_equal(atomic_load(&e->worker->metrics.requests_total), 0);
}

static bool is_up(const struct edge *e, size_t k)
{
    for (size_t i = 0; i < e->config->routes.n; i++)
        if (str_eq_c(e->config->routes.v[i].host, "up.example.com"))
            return backend_is_up(&e->shared.backends->v[e->config->routes.v[i].target->backends[k].index]);
    return false;
}

// Just after a check: the next one is a second away.
static int begin_after_a_check(int status)
{
    int checks = atomic_load(&one.checks);
    while (atomic_load(&one.checks) == checks) usleep(10 * 1000);
    usleep(100 * 1000);
    atomic_store(&one.status, status);
    return atomic_load(&one.checks);
}

static void expect_out_and_back(struct edge *e, int status, const char *reason)
{
    int checks = begin_after_a_check(status);
    edge_expect_log(e, "\"event\":\"backend.unhealthy\"", "one.sock");
    assert_in_range(atomic_load(&one.checks), checks + 2, checks + 3);
    edge_expect_log(e, "\"event\":\"backend.unhealthy\"", reason);
    assert_false(is_up(e, 0));
    assert_true(is_up(e, 1));
    int before = atomic_load(&one.visits);
    visit(e, 4);
    assert_int_equal(atomic_load(&one.visits), before);
    checks = begin_after_a_check(302);
    edge_expect_log(e, "\"event\":\"backend.healthy\"", "one.sock");
    assert_in_range(atomic_load(&one.checks), checks + 2, checks + 3);
    visit(e, 4);
    assert_int_equal(atomic_load(&one.visits), before + 2);
    edge_test_begin((void **)&e);
}

static void test_out_and_back(void **state)
{
    expect_out_and_back(*state, 503, "it answered 503");
    expect_out_and_back(*state, 404, "it answered 404");
    expect_out_and_back(*state, 0, "proxy.timeout");
    expect_out_and_back(*state, -1, "interim answers"); // the worker would read them for ever
}

// Nobody is well: requests go somewhere all the same.
static void test_all_are_out(void **state)
{
    struct edge *e = *state;
    atomic_store(&one.status, 500);
    atomic_store(&two.status, 500);
    edge_expect_log(e, "\"event\":\"backend.unhealthy\"", "one.sock");
    edge_expect_log(e, "\"event\":\"backend.unhealthy\"", "two.sock");
    visit(e, 4);
    atomic_store(&one.status, 200);
    atomic_store(&two.status, 200);
    edge_expect_log(e, "\"event\":\"backend.healthy\"", "two.sock");
}

// A check under way does not hold up the end.
static void test_a_drain_ends_the_checks(void **state)
{
    struct edge *e = *state;
    atomic_store(&one.status, 0);
    usleep(1200 * 1000);
    edge_drain(e);
    assert_true(edge_ended(e, 500));
    int checks = atomic_load(&two.checks);
    usleep(1500 * 1000);
    assert_int_equal(atomic_load(&two.checks), checks);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_check_asks),
        T(test_checks_are_no_traffic),
        T(test_out_and_back),
        T(test_all_are_out),
        T(test_a_drain_ends_the_checks),
    };
    return cmocka_run_group_tests_name("edge: health of backends", tests, setup, teardown);
}
