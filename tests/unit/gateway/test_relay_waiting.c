// SPDX-License-Identifier: GPL-3.0-or-later
// Callers who share a board: what becomes of a call that has to wait, and of one whose caller leaves.
#include "relay_calls_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// --- callers who leave, and who wait

static void open_calls(struct client *c, size_t n, const char *cookie, const char *device, int *number)
{
    char body[64], path[64];
    snprintf(path, sizeof path, "%s/who", device);
    for (size_t i = 0; i < n; i++) {
        snprintf(body, sizeof body, "{\"args\":[\"call %d\"]}", (*number)++);
        client_open(&relay_rig.at[i % EDGE_WORKERS], &c[i]);
        send_ask(&c[i], &(struct ask){ .cookie = cookie, .path = path, .body = body });
    }
}

static unsigned load_of(struct worker *w, const char *id)
{
    const struct board *b = relay_board(w->relay, str_c(id));
    return b && b->load ? atomic_load(b->load) : 0;
}

static _Atomic unsigned loads[2];
static void look_at_loads(struct worker *w)
{
    loads[0] = load_of(w, "0000000000000001");
    loads[1] = load_of(w, "0000000000000002");
}

// Until the link of board-0 has so many calls, waiting ones included.
static void await_load(unsigned n)
{
    for (int i = 0; i < RIG_WAIT_MS / 10; i++) {
        edge_on_thread(relay_rig.e, look_at_loads);
        if (loads[0] == n) return;
        usleep(10 * 1000);
    }
    fail_msg("the board has %u calls and not %u", loads[0], n);
}

// All places of the board are taken, by two people: neither may have them alone.
static void fill_places(struct client c[LIMIT_PICO_CALLS], char ids[LIMIT_PICO_CALLS][64], int *number)
{
    char function[64];
    open_calls(c, 2, relay_rig.cookie, "board-0", number);
    open_calls(c + 2, LIMIT_PICO_CALLS - 2, kim.cookie, "board-0", number);
    for (int i = 0; i < LIMIT_PICO_CALLS; i++) assert_true(board_next_call(&boards[0], ids[i], function));
}

// Four are worked on, others wait; their callers leave, and they are never sent.
static void test_whoever_leaves_is_not_called_for(void **state)
{
    (void)state;
    struct client c[4], left[2], last;
    char ids[4][64], id[64], function[64];
    int number = 0;
    board_connect(&boards[0], 1, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    fill_places(c, ids, &number);
    open_calls(left, 2, relay_rig.cookie, "board-0", &number);
    await_load(6);
    client_reset(&left[0]);
    SSL_shutdown(left[1].ssl); // a page that is closed in order
    shutdown(left[1].fd, SHUT_WR);
    client_reset(&c[3]); // while the board works on it
    for (int i = 0; i < 100 && edge_log_lines(relay_rig.e, "client.gone") < 3; i++) continue;
    call_begin(&last, 2, "board-0", "who", "{\"args\":[\"stays\"]}");
    await_load(5); // those who left make room, those who are worked for do not
    for (int i = 0; i < 4; i++) board_answer(&boards[0], ids[i], "1");
    for (int i = 0; i < 3; i++) expect_answer(&c[i], "200 ", "{\"result\":1}");
    assert_true(board_next_call(&boards[0], id, function));
    if (!strstr(boards[0].text, "stays")) fail_msg("sent: %s", boards[0].text);
    board_answer(&boards[0], id, "2");
    expect_answer(&last, "200 ", "{\"result\":2}");
    client_close(&left[1]);
    expect_audit("pico.caller_gone", "\"caller\":\"left\"");
    expect_audit("ok", "\"caller\":\"left\"");
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.call\""), 7);
    await_load(0);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

// Whoever signs out is told at once, on a connection that goes on; the call of theirs that waited is not
// sent.
static void test_the_session_ends_while_a_call_waits(void **state)
{
    (void)state;
    struct relay_visitor zoe;
    struct client c[4], waits;
    char ids[4][64], id[64], function[64];
    int number = 0;
    relay_log_in(&zoe, "zoe", "staff");
    board_connect(&boards[0], 2, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    fill_places(c, ids, &number);
    open_calls(&waits, 1, zoe.cookie, "board-0", &number);
    await_load(5);
    relay_log_out_visitor(&zoe);
    expect_parts(answer_of(&waits), "401 ", "\"type\":\"session.unknown\"");
    expect_order(&waits);
    client_close(&waits);
    for (int i = 0; i < 4; i++) board_answer(&boards[0], ids[i], "1");
    for (int i = 0; i < 4; i++) expect_answer(&c[i], "200 ", "{\"result\":1}");
    edge_expect_log(relay_rig.e, "\"user\":\"zoe@example.com\"", "\"outcome\":\"pico.caller_gone\"");
    call_begin(&c[0], 0, "board-0", "who", "{\"args\":[\"next\"]}");
    assert_true(board_next_call(&boards[0], id, function));
    if (!strstr(boards[0].text, "next")) fail_msg("sent: %s", boards[0].text);
    board_answer(&boards[0], id, "2");
    expect_answer(&c[0], "200 ", "{\"result\":2}");
    await_load(0);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

// One user has some of the places and of the queue, all together have what there is.
static void test_nobody_takes_all_of_a_board(void **state)
{
    (void)state;
    enum { ALL = LIMIT_PICO_CALLS + LIMIT_PICO_QUEUE, MINE = LIMIT_PICO_CALLS_USER + LIMIT_PICO_QUEUE_USER };
    static struct client mine[MINE], others[ALL - MINE], c;
    struct ask my = { .cookie = relay_rig.cookie, .path = "board-0/who", .body = "{}" }, their = my;
    char id[64], function[64];
    int number = 0;
    their.cookie = kim.cookie;
    board_connect(&boards[0], 0, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    open_calls(mine, MINE, relay_rig.cookie, "board-0", &number);
    await_load(MINE);
    expect_refusal(&my, "503 ", "pico.busy");
    open_calls(others, ALL - MINE, kim.cookie, "board-0", &number);
    await_load(ALL);
    expect_refusal(&their, "503 ", "pico.busy");
    expect_refusal(&my, "503 ", "pico.busy");
    for (int i = 0; i < ALL; i++) {
        assert_true(board_next_call(&boards[0], id, function));
        board_answer(&boards[0], id, "3");
    }
    for (int i = 0; i < MINE; i++) expect_answer(&mine[i], "200 ", "{\"result\":3}");
    for (int i = 0; i < ALL - MINE; i++) expect_answer(&others[i], "200 ", "{\"result\":3}");
    await_load(0);
    call_begin(&c, 1, "board-0", "who", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    board_answer(&boards[0], id, "4");
    expect_answer(&c, "200 ", "{\"result\":4}");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_whoever_leaves_is_not_called_for),
        T(test_the_session_ends_while_a_call_waits),
        T(test_nobody_takes_all_of_a_board),
    };
    return cmocka_run_group_tests_name("relay: callers who wait", tests, calls_setup, relay_teardown);
}
