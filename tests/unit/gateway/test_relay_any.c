// SPDX-License-Identifier: GPL-3.0-or-later
// Callers of any board: which one is taken.
#include "relay_calls_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

// With this one of two boards at work the other is taken, whichever comes first in the directory.
static void expect_idle_one(int busy)
{
    struct client held, c;
    struct board_peer *idle = &boards[1 - busy];
    char id[64], function[64], other[64], name[32], device[64];
    snprintf(name, sizeof name, "board-%d", busy);
    snprintf(device, sizeof device, "\"device\":\"board-%d\"", 1 - busy);
    call_begin(&held, 2, name, "who", "{}");
    assert_true(board_next_call(&boards[busy], id, function));
    for (int i = 0; i < 6; i++) {
        call_begin(&c, 2, "any", "who", "{}");
        assert_true(board_next_call(idle, other, function));
        board_answer(idle, other, "\"idle\"");
        expect_answer(&c, "200 ", "{\"result\":\"idle\"}");
    }
    expect_audit("ok", device);
    board_answer(&boards[busy], id, "\"busy\"");
    expect_answer(&held, "200 ", "{\"result\":\"busy\"}");
}

static void test_any_takes_the_least_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        board_connect(&boards[i], (size_t)i, i, "who");
        relay_await(2, i, "who", true);
    }
    for (int busy = 0; busy < 2; busy++) expect_idle_one(busy);
    for (int i = 0; i < 2; i++) {
        board_hang_up(&boards[i]);
        relay_await(0, i, "who", false);
    }
}

// Also when somebody calls another function in step, which one of them has.
static void test_any_gives_every_board_its_turn(void **state)
{
    (void)state;
    unsigned turns[2] = { 0 };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        board_connect(&boards[i], 0, i, i ? "who" : "other who");
        relay_await(0, i, "who", true);
        threads[i] = start_answering(&boards[i]);
    }
    struct client c;
    client_open(&relay_rig.at[0], &c);
    for (int i = 0; i < 80; i++) {
        struct ask a = { .cookie = relay_rig.cookie, .path = i % 2 ? "any/other" : "any/who", .body = "{}" };
        send_ask(&c, &a);
        const char *result = strstr(answer_of(&c), "{\"result\":");
        if (!result) fail_msg("%s", c.in);
        turns[result[10] - '0'] += i % 2 == 0;
        client_forget(&c);
    }
    client_close(&c);
    for (int i = 0; i < 2; i++) stop_answering(&boards[i], threads[i]);
    if (turns[0] < 4 || turns[1] < 4) fail_msg("%u and %u turns", turns[0], turns[1]);
    for (int i = 0; i < 2; i++) relay_await(0, i, "who", false);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_any_takes_the_least_busy),
        T(test_any_gives_every_board_its_turn),
    };
    return cmocka_run_group_tests_name("relay: callers of any board", tests, calls_setup, relay_teardown);
}
