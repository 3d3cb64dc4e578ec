// SPDX-License-Identifier: GPL-3.0-or-later
// Boards that come, answer, hang and go at random, on three workers, with callers on all of them and devices
// that are taken away and given back: every call gets one answer, and nothing is left over at the end. Meant
// for the sanitizers; the last calls are still under way when the workers are stopped.
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOARDS = 4, CALLERS = 6, CALLS = 40 };

static _Atomic bool stop;
static _Atomic unsigned good, failed, strange;
static pthread_t board_threads[BOARDS], caller_threads[CALLERS];
static struct board_peer peers[BOARDS];

// Some calls are answered, some with an error, some twice, some never, and now and then the board leaves.
static void serve(struct board_peer *b, unsigned *seed)
{
    char id[64], function[64], text[256];
    unsigned calls = 0, max = (unsigned)rand_r(seed) % 12 + 1;
    while (!atomic_load(&stop) && calls++ < max && board_next_call(b, id, function)) {
        unsigned what = (unsigned)rand_r(seed) % 10;
        if (what == 0) continue;
        if (what == 1) {
            snprintf(text, sizeof text, "{\"id\":\"%s\",\"error\":{\"message\":\"no\"}}", id);
            board_send(b, text);
            continue;
        }
        board_answer(b, id, what == 2 ? "nan" : "42");
        if (what == 3) board_answer(b, id, "43");
    }
}

static void *be_a_board(void *arg)
{
    size_t number = (size_t)(struct board_peer *)arg - (size_t)peers;
    unsigned seed = (unsigned)(number / sizeof *peers) + 1;
    int device = (int)(seed % 2); // two boards with one key: they supersede each other
    while (!atomic_load(&stop)) {
        if (board_try_connect(arg, (size_t)rand_r(&seed) % EDGE_WORKERS, device, "work")) serve(arg, &seed);
        board_hang_up(arg);
        usleep((useconds_t)rand_r(&seed) % 20000);
    }
    return NULL;
}

static void count_answer(const struct client *c)
{
    bool ok = strstr(c->in, "HTTP/1.1 200 ") && strstr(c->in, "{\"result\":42}");
    bool refused = strstr(c->in, "\"type\":\"pico.");
    atomic_fetch_add(ok ? &good : refused ? &failed : &strange, 1);
    if (!ok && !refused) fprintf(stderr, "%s\n", c->in);
}

static void *be_a_caller(void *arg)
{
    static const char *const names[] = { "board-0", "board-1", "any" };
    unsigned seed = 100 + *(unsigned *)arg;
    for (int i = 0; i < CALLS && !atomic_load(&stop); i++) {
        struct client c;
        call_begin(&c, (size_t)rand_r(&seed) % EDGE_WORKERS, names[rand_r(&seed) % 3], "work",
                   "{\"args\":[1]}");
        if (rand_r(&seed) % 8 == 0) {
            usleep((useconds_t)rand_r(&seed) % 3000);
            client_reset(&c); // the page was closed
        } else {
            client_expect(&c, "\r\n\r\n");
            client_expect(&c, "}\n");
            count_answer(&c);
            client_close(&c);
        }
    }
    return NULL;
}

static void test_every_call_gets_one_answer(void **state)
{
    (void)state;
    static unsigned numbers[CALLERS];
    for (size_t i = 0; i < BOARDS; i++)
        assert_int_equal(pthread_create(&board_threads[i], NULL, be_a_board, &peers[i]), 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&caller_threads[i], NULL, be_a_caller, &numbers[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        relay_hub_devices(relay_rig.e->shared.relay, relay_table(i % 4 == 1 ? 1u : 0));
        usleep(100 * 1000);
    }
    for (int i = 0; i < CALLERS; i++) pthread_join(caller_threads[i], NULL);
    assert_int_equal(atomic_load(&strange), 0);
    assert_true(atomic_load(&good) > 0);
    assert_true(atomic_load(&failed) > 0);
}

// What is under way when the workers stop is given back to nobody, and freed.
static void test_stopping_in_the_middle(void **state)
{
    (void)state;
    static struct client c[CALLERS];
    atomic_store(&stop, true);
    for (int i = 0; i < BOARDS; i++) pthread_join(board_threads[i], NULL);
    assert_true(board_try_connect(&peers[0], 1, 3, "work"));
    relay_await(0, 3, "work", true);
    for (int i = 0; i < CALLERS; i++) call_begin(&c[i], (size_t)i % EDGE_WORKERS, "board-3", "work", "{}");
    char id[64], function[64];
    assert_true(board_next_call(&peers[0], id, function));
    board_answer(&peers[0], id, "1");
    relay_stop();
    for (int i = 0; i < CALLERS; i++) client_close(&c[i]);
    board_hang_up(&peers[0]);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = { T(test_every_call_gets_one_answer), T(test_stopping_in_the_middle) };
    return cmocka_run_group_tests_name("relay: stress", tests, relay_setup, relay_teardown);
}
