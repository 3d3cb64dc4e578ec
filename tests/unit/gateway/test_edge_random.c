// SPDX-License-Identifier: GPL-3.0-or-later
// Some seconds of chance: clients and backends that are slow, leave, or talk nonsense, all at once. Nobody
// gets what is somebody else's, and in the end nothing is left of any of them. SEED and SECONDS in the
// environment choose another course; it is not the same each time even so, because there are threads.
#include "random_peers.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tls_backend.h"
#include "unix_backend.h"

enum { CLIENTS = 10, BACKENDS = 12, PLACES = 40, GRACE_MS = 6000 };

static const char routes[] =
    "  - { host: one.example.com, backends: [ 'unix:plain.sock' ], policy: public }\n"
    "  - { host: secure.example.com, backends: [ 'unix:plain.sock', 'https://127.0.0.1:%' ], policy: public, "
    "backend_tls: { ca: ca.pem } }\n"
    "  - { host: few.example.com, backends: [ 'unix:plain.sock', 'https://127.0.0.1:%' ], policy: public, "
    "backend_tls: { ca: ca.pem }, limits: { connections: 1, queue: 3, queue_wait: 1s } }\n"
    "  - { host: least.example.com, backends: [ 'unix:plain.sock', 'https://127.0.0.1:%' ], policy: public, "
    "backend_tls: { ca: ca.pem }, balance: least_connections }\n";
static int plain_fd;

static void prepare(struct edge *e)
{
    struct str name[] = { STR_INIT("127.0.0.1") };
    plain_fd = unix_listen(e, "plain.sock", 64);
    tls_make_leaf(e->dir, "back", (struct strlist){ name, 1 }, LEAF_GOOD);
}

static void tune(struct config *c)
{
    c->max_connections = c->max_connections_per_address = PLACES;
}

// Behind a proxy that ends TLS.
static void tune_plain(struct config *c)
{
    static struct ip_network networks[1];
    struct err err;
    tune(c);
    c->listeners[0].tls = false;
    if (!ip_network_parse(STR("127.0.0.0/8"), &networks[0], &err)) fail_msg("%s", err.detail);
    c->trusted_proxies = (struct ip_networks){ networks, 1 };
}

static int setup(void **state)
{
    edge_routes = routes;
    edge_prepare = prepare;
    edge_tune = tune;
    return edge_setup(state);
}

static int setup_plain(void **state)
{
    edge_routes = routes;
    edge_prepare = prepare;
    edge_tune = tune_plain;
    return edge_setup(state);
}

static int teardown(void **state)
{
    close(plain_fd);
    return edge_teardown(state);
}

static long from_environment(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static void start(struct random_test *t, struct random_thread *v, size_t n, void *(*run)(void *),
                  uint64_t salt)
{
    for (size_t i = 0; i < n; i++) {
        v[i] =
            (struct random_thread){ .test = t, .dice = { (t->seed + 1) * 0x9E3779B97F4A7C15u + salt + i } };
        assert_int_equal(pthread_create(&v[i].id, NULL, run, &v[i]), 0);
    }
}

static void join(struct random_thread *v, size_t n)
{
    for (size_t i = 0; i < n; i++) pthread_join(v[i].id, NULL);
}

// What the worker's thread saw.
static struct {
    size_t conns, idle, waiting;
    int64_t slots;
    unsigned timers;
} left;

static void look(struct worker *w)
{
    const struct route_table *routes_ = &w->shared->config->routes;
    memset(&left, 0, sizeof left);
    left.conns = w->nconns;
    left.timers = w->loop.ntimers - (w->refusals.timer.next ? 1 : 0);
    for (size_t i = 0; i < routes_->n; i++) {
        const struct route_target *t = routes_->v[i].target;
        left.waiting += (size_t)atomic_load(&w->shared->backends->targets[t->index].waiting);
        left.waiting += w->queues[t->index].first != NULL;
        for (size_t k = 0; k < t->nbackends; k++) {
            left.idle += w->pools[t->index][k].nidle;
            left.slots += atomic_load(&w->shared->backends->v[t->backends[k].index].connections);
        }
    }
}

static bool all_quiet(struct edge *e)
{
    edge_on_thread(e, look);
    return left.conns == 0 && left.waiting == 0 && left.slots == 0 && left.timers == left.idle;
}

static void expect_quiet(struct edge *e)
{
    for (int i = 0; i < GRACE_MS / 50 && !all_quiet(e); i++) usleep(50 * 1000);
    if (!all_quiet(e))
        fail_msg("left: %zu connections, %zu waiting, %lld slots, %u timers for %zu idle connections",
                 left.conns, left.waiting, (long long)left.slots, left.timers, left.idle);
    assert_int_equal(e->worker->metrics.connections_open, 0);
}

// As many as there may be, and no more: nothing was counted twice, or not taken back.
static void expect_all_places(struct edge *e)
{
    struct admission *a = e->shared.admission;
    struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct ip_address who = ip_of_sockaddr((struct sockaddr *)&loopback);
    struct admission_ticket tickets[PLACES + 1] = { 0 };
    struct err err;
    for (int i = 0; i <= PLACES; i++) {
        assert_int_equal(admission_enter(a, &tickets[i], &err), i < PLACES);
        assert_int_equal(admission_enter_address(a, &who, &tickets[i], &err), i < PLACES);
    }
    for (int i = 0; i <= PLACES; i++) admission_leave(a, &tickets[i]);
}

struct course {
    struct random_test t;
    struct random_thread clients[CLIENTS], backends[BACKENDS];
};

static void begin(struct course *c, struct edge *e)
{
    *c = (struct course){ .t = { .e = e, .fds = { plain_fd, e->backend_fd }, .told = ATOMIC_FLAG_INIT } };
    c->t.seed = (uint64_t)from_environment("SEED", 1);
    c->t.plain = !e->config->listeners[0].tls;
    c->t.tls = tls_backend_new(e->dir, "back", NULL);
    start(&c->t, c->backends, BACKENDS, random_backend, 1000);
    start(&c->t, c->clients, CLIENTS, random_client, 1);
}

static void end(struct course *c)
{
    atomic_store(&c->t.backends_stop, true);
    join(c->backends, BACKENDS);
    SSL_CTX_free(c->t.tls);
    print_message("seed %llu: %lu answers, %lu tunnels\n", (unsigned long long)c->t.seed, c->t.answers,
                  c->t.tunnels);
    if (c->t.errors) fail_msg("%lu errors; the first: %s", c->t.errors, c->t.first_error);
}

static void test_nothing_is_left(void **state)
{
    struct edge *e = *state;
    struct course c;
    begin(&c, e);
    sleep((unsigned)from_environment("SECONDS", 2));
    atomic_store(&c.t.clients_stop, true);
    join(c.clients, CLIENTS);
    expect_quiet(e);
    end(&c);
    expect_quiet(e);
    expect_all_places(e);
    assert_true(c.t.answers > 50 && c.t.tunnels > 0 && e->worker->metrics.proxy_queued_total > 0);
}

// With requests, tunnels, queues and handshakes under way.
static void test_a_drain_in_the_middle(void **state)
{
    struct edge *e = *state;
    struct course c;
    begin(&c, e);
    sleep(1);
    edge_drain(e);
    usleep(100 * 1000);
    atomic_store(&c.t.clients_stop, true);
    bool ended = edge_ended(e, GRACE_MS);
    close(e->listen_fd); // whoever waits there is told
    e->listen_fd = -1;
    join(c.clients, CLIENTS);
    end(&c);
    assert_true(ended);
    assert_int_equal(e->worker->nconns, 0);
}

// The same, cut off: everything is closed while it is at work.
static void test_an_end_in_the_middle(void **state)
{
    struct edge *e = *state;
    struct course c;
    begin(&c, e);
    sleep(1);
    worker_stop(e->worker);
    assert_true(edge_ended(e, GRACE_MS));
    worker_close(e->worker);
    atomic_store(&c.t.clients_stop, true);
    close(e->listen_fd);
    e->listen_fd = -1;
    join(c.clients, CLIENTS);
    end(&c);
    assert_int_equal(e->worker->nconns, 0);
    const struct backends *b = e->shared.backends;
    for (size_t i = 0; i < b->nbackends; i++) assert_int_equal(atomic_load(&b->v[i].connections), 0);
    for (size_t i = 0; i < b->ntargets; i++) assert_int_equal(atomic_load(&b->targets[i].waiting), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_left, setup_plain, teardown),
        cmocka_unit_test_setup_teardown(test_a_drain_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_end_in_the_middle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
