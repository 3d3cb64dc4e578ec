// SPDX-License-Identifier: GPL-3.0-or-later
// Two workers in front of the same backends: what they share about them is right under load, and a thread
// sanitizer has something to look at.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT = 3, CLIENTS = 12, REQUESTS = 15, APP_THREADS = 24 };

static const char routes[] =
    "  - { host: limit.example.com, backends: [ 'unix:app.sock' ], policy: public, limits: { connections: 3, "
    "queue_wait: 30s } }\n"
    "  - { host: flaky.example.com, backends: [ 'unix:app.sock', 'unix:gone.sock' ], policy: public, "
    "balance: "
    "least_connections, eject: { failures: 1, for: 1s } }\n"
    "  - { host: checked.example.com, backends: [ 'unix:app.sock' ], policy: public, health: { path: /up, "
    "interval: 1s, timeout: 1s } }\n";

// An application with threads that take one connection each.
static struct {
    int fd;
    _Atomic int busy, most, served;
    _Atomic bool stop;
    pthread_t threads[APP_THREADS];
} app;

static struct worker second;

static bool answer_one(int fd)
{
    char in[4096] = "";
    size_t n = 0;
    while (!strstr(in, "\r\n\r\n")) {
        ssize_t got = recv(fd, in + n, sizeof in - 1 - n, 0);
        if (got <= 0) return false;
        n += (size_t)got;
        in[n] = '\0';
    }
    bool limited = strstr(in, "Host: limit.") != NULL;
    int busy = limited ? atomic_fetch_add(&app.busy, 1) + 1 : 0, most = atomic_load(&app.most);
    while (busy > most && !atomic_compare_exchange_weak(&app.most, &most, busy)) {
    }
    usleep(3000);
    if (limited) atomic_fetch_sub(&app.busy, 1);
    if (strstr(in, "Host: flaky.") && atomic_fetch_add(&app.served, 1) % 7 == 0) return false;
    send(fd, OK_EMPTY, strlen(OK_EMPTY), MSG_NOSIGNAL);
    return true;
}

static void *app_main(void *arg)
{
    while (!atomic_load(&app.stop)) {
        struct pollfd p = { app.fd, POLLIN, 0 };
        struct timeval t = { .tv_usec = 300 * 1000 };
        int fd = poll(&p, 1, 50) == 1 ? accept4(app.fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0) continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
        while (answer_one(fd)) {
        }
        close(fd);
    }
    return arg;
}

static void start_app(struct edge *e)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/app.sock", e->dir);
    app.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(app.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(app.fd, 64), 0);
    for (int i = 0; i < APP_THREADS; i++)
        assert_int_equal(pthread_create(&app.threads[i], NULL, app_main, NULL), 0);
}

static int setup(void **state)
{
    edge_routes = routes;
    edge_prepare = start_app;
    if (edge_setup(state) != 0) return -1;
    struct edge *e = *state;
    struct err err = { 0 };
    if (!worker_init(&second, &e->shared, 1, &err)) fail_msg("%s", err.detail);
    return worker_start(&second) ? 0 : -1;
}

static int teardown(void **state)
{
    worker_stop(&second);
    pthread_join(second.thread, NULL);
    worker_close(&second);
    worker_done(&second);
    int failed = edge_teardown(state);
    atomic_store(&app.stop, true);
    for (int i = 0; i < APP_THREADS; i++) pthread_join(app.threads[i], NULL);
    close(app.fd);
    return failed;
}

struct visitor {
    struct edge *e;
    const char *request;
    int good, bad; // 200; 502
    pthread_t thread;
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    for (int i = 0; i < REQUESTS; i++) {
        struct client c;
        client_open(v->e, &c);
        client_send(&c, v->request);
        client_expect(&c, "\r\n\r\n");
        v->good += client_count(&c, "HTTP/1.1 200");
        v->bad += client_count(&c, "HTTP/1.1 502");
        client_close(&c);
    }
    return NULL;
}

static struct visitor visit_all(struct edge *e, const char *request)
{
    static struct visitor all[CLIENTS];
    struct visitor sum = { 0 };
    struct client c;
    client_open(e, &c); // makes what the clients share
    client_close(&c);
    for (int i = 0; i < CLIENTS; i++) {
        all[i] = (struct visitor){ .e = e, .request = request };
        pthread_create(&all[i].thread, NULL, visit, &all[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(all[i].thread, NULL);
        sum.good += all[i].good;
        sum.bad += all[i].bad;
    }
    return sum;
}

static const struct route_target *target_of(const struct edge *e, const char *host)
{
    for (size_t i = 0; i < e->config->routes.n; i++)
        if (str_eq_c(e->config->routes.v[i].host, host)) return e->config->routes.v[i].target;
    return NULL;
}

static uint64_t sum(const struct edge *e, size_t metric)
{
    const char *a = (const char *)&e->worker->metrics, *b = (const char *)&second.metrics;
    return *(const _Atomic uint64_t *)(const void *)(a + metric) +
           *(const _Atomic uint64_t *)(const void *)(b + metric);
}

static void test_a_limit_holds_over_all_workers(void **state)
{
    struct edge *e = *state;
    const struct route_target *t = target_of(e, "limit.example.com");
    struct visitor v = visit_all(e, "GET / HTTP/1.1\r\nHost: limit.example.com\r\n\r\n");
    assert_int_equal(v.good, CLIENTS * REQUESTS); // all had their turn
    assert_in_range(atomic_load(&app.most), 2, LIMIT);
    assert_true(atomic_load(&e->worker->metrics.proxied_total) > 0);
    assert_true(atomic_load(&second.metrics.proxied_total) > 0);
    assert_true(sum(e, offsetof(struct worker_metrics, proxy_queued_total)) > CLIENTS);
    usleep(50 * 1000);
    assert_int_equal(atomic_load(&e->shared.backends->v[t->backends[0].index].connections), 0);
    assert_int_equal(atomic_load(&e->shared.backends->targets[t->index].waiting), 0);
}

static void test_failures_are_shared(void **state)
{
    struct edge *e = *state;
    const struct route_target *t = target_of(e, "flaky.example.com");
    struct visitor v =
        visit_all(e, "POST / HTTP/1.1\r\nHost: flaky.example.com\r\nContent-Length: 1\r\n\r\nx");
    assert_int_equal(v.good + v.bad, CLIENTS * REQUESTS);
    assert_true(v.good > CLIENTS * REQUESTS / 2);
    assert_true(v.bad > 0);
    assert_true(sum(e, offsetof(struct worker_metrics, backend_ejections_total)) > 0);
    usleep(50 * 1000);
    for (size_t i = 0; i < t->nbackends; i++)
        assert_int_equal(atomic_load(&e->shared.backends->v[t->backends[i].index].connections), 0);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_limit_holds_over_all_workers),
        T(test_failures_are_shared),
    };
    return cmocka_run_group_tests_name("edge: two workers", tests, setup, teardown);
}
