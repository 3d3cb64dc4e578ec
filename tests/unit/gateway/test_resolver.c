// SPDX-License-Identifier: GPL-3.0-or-later
// Names of backends with a name server that is slow, fails, and changes its mind.
#include "gateway/edge/resolver.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int slow_ms;              // how long slow.example.net takes
static _Atomic bool slow_done;           // it was asked, and has answered
static const char *_Atomic addresses[2]; // of name.example.net

static int literal(const char *address, const char *service, const struct addrinfo *hints,
                   struct addrinfo **ret)
{
    __typeof__(&getaddrinfo) real = (__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");
    return real(address, service, hints, ret);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    bool ours = strstr(node, ".example.net") != NULL;
    if (ours && (hints->ai_flags & AI_NUMERICHOST)) return EAI_NONAME;
    if (strcmp(node, "dead.example.net") == 0) return EAI_AGAIN;
    if (strcmp(node, "slow.example.net") == 0) {
        usleep((useconds_t)atomic_load(&slow_ms) * 1000);
        int failure = literal("127.0.0.3", service, hints, ret);
        atomic_store(&slow_done, true);
        return failure;
    }
    if (!ours) return literal(node, service, hints, ret);
    int failure = literal(atomic_load(&addresses[0]), service, hints, ret);
    if (failure || !atomic_load(&addresses[1])) return failure;
    return literal(atomic_load(&addresses[1]), service, hints, &(*ret)->ai_next);
}

enum { LITERAL, SIX, SOCKET, NAME, OTHER, BACKENDS };

static struct backend backends[BACKENDS];
static struct route_target target = { .backends = backends, .nbackends = BACKENDS };
static struct route route = { .target = &target };
static struct config config;

static void configure(struct str name, struct str other)
{
    const struct str hosts[] = { STR("127.0.0.1"), STR("::1"), STR("localhost"), name, other };
    for (size_t i = 0; i < BACKENDS; i++)
        backends[i] = (struct backend){ .host = hosts[i], .authority = hosts[i], .port = 80, .index = i };
    backends[SOCKET].unix_path = STR("/run/app.sock");
    config.routes.v = &route;
    config.routes.n = 1;
    config.nbackends = BACKENDS;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// "127.0.0.1", or "" when there is no address.
static const char *address_of(const struct resolver *r, size_t backend, size_t which)
{
    static char text[64];
    struct sockaddr_storage sa;
    socklen_t n;
    text[0] = '\0';
    if (resolver_address(r, &backends[backend], which, &sa, &n) > 0)
        getnameinfo((struct sockaddr *)&sa, n, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    return text;
}

static bool await_address(const struct resolver *r, size_t backend, const char *address, int ms)
{
    for (int64_t until = now_ms() + ms; now_ms() < until; usleep(20 * 1000))
        if (strcmp(address_of(r, backend, 0), address) == 0) return true;
    return false;
}

static void test_literals_need_no_name_server(void **state)
{
    (void)state;
    struct err err = { 0 };
    configure(STR("10.0.0.1"), STR("10.0.0.2"));
    struct resolver *r = resolver_start(&config, &err);
    assert_string_equal(address_of(r, LITERAL, 0), "127.0.0.1");
    assert_string_equal(address_of(r, SIX, 3), "::1");
    assert_string_equal(address_of(r, SOCKET, 0), ""); // it is not looked for
    assert_string_equal(address_of(r, OTHER, 0), "10.0.0.2");
    resolver_stop(r);
}

static void test_a_slow_name_server_does_not_hold_up_the_start(void **state)
{
    (void)state;
    struct err err = { 0 };
    configure(STR("slow.example.net"), STR("10.0.0.2"));
    atomic_store(&slow_ms, 3000);
    int64_t begin = now_ms();
    struct resolver *r = resolver_start(&config, &err);
    assert_in_range(now_ms() - begin, 1500, 2700);
    assert_string_equal(address_of(r, LITERAL, 0), "127.0.0.1");
    assert_string_equal(address_of(r, NAME, 0), "");
    assert_true(await_address(r, NAME, "127.0.0.3", 3000));
    resolver_stop(r);
    atomic_store(&slow_ms, 0);
    begin = now_ms();
    r = resolver_start(&config, &err);
    assert_true(now_ms() - begin < 500); // and a quick one is waited for
    assert_string_equal(address_of(r, NAME, 0), "127.0.0.3");
    resolver_stop(r);
}

// The thread is left to itself, with memory of its own: the configuration may be gone when it wakes.
static void test_a_slow_name_server_does_not_hold_up_the_end(void **state)
{
    (void)state;
    struct err err = { 0 };
    configure((struct str){ strdup("slow.example.net"), 16 }, STR("10.0.0.2"));
    atomic_store(&slow_ms, 5000);
    struct resolver *r = resolver_start(&config, &err);
    atomic_store(&slow_done, false);
    int64_t begin = now_ms();
    resolver_stop(r);
    assert_true(now_ms() - begin < 1500);
    free((void *)(uintptr_t)backends[NAME].host.p);
    while (!atomic_load(&slow_done)) usleep(10 * 1000);
    usleep(300 * 1000); // it frees what it has
}

// A name that fails makes the next round come soon; it does not take the others with it.
static void test_changes_are_picked_up(void **state)
{
    (void)state;
    struct err err = { 0 };
    configure(STR("name.example.net"), STR("dead.example.net"));
    atomic_store(&addresses[0], "127.0.0.5");
    atomic_store(&addresses[1], "127.0.0.6");
    struct resolver *r = resolver_start(&config, &err);
    assert_string_equal(address_of(r, NAME, 0), "127.0.0.5");
    assert_string_equal(address_of(r, NAME, 1), "127.0.0.6");
    assert_string_equal(address_of(r, OTHER, 0), "");
    unsigned generation = resolver_generation(r, &backends[NAME]);
    atomic_store(&addresses[0], "127.0.0.6"); // the same ones in another order
    atomic_store(&addresses[1], "127.0.0.5");
    usleep(5500 * 1000);
    assert_int_equal(resolver_generation(r, &backends[NAME]), generation);
    assert_string_equal(address_of(r, NAME, 0), "127.0.0.5");
    atomic_store(&addresses[0], "127.0.0.7");
    assert_true(await_address(r, NAME, "127.0.0.7", 7000));
    assert_int_not_equal(resolver_generation(r, &backends[NAME]), generation);
    resolver_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals_need_no_name_server),
        cmocka_unit_test(test_a_slow_name_server_does_not_hold_up_the_start),
        cmocka_unit_test(test_a_slow_name_server_does_not_hold_up_the_end),
        cmocka_unit_test(test_changes_are_picked_up),
    };
    return cmocka_run_group_tests_name("edge: names of backends", tests, NULL, NULL);
}
