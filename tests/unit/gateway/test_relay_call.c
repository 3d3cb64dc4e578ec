// SPDX-License-Identifier: GPL-3.0-or-later
// Callers: what they hear from a function, what is written about it, and their connections.
#include "relay_calls_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "h2_rig.h"

// --- what a function says

static void test_errors_of_functions(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64], text[256];
    static const struct {
        const char *said, *heard;
    } errors[] = {
        { "{\"type\":\"ValueError\",\"message\":\"no \\\"such\\\" LED\"}",
          "{\"error\":{\"type\":\"ValueError\",\"message\":\"no \\u0022such\\u0022 LED\"}" },
        { "{\"message\":\"divide by zero\"}",
          "{\"error\":{\"type\":\"pico.function\",\"message\":\"divide by zero\"}" },
        { "{}", "{\"error\":{\"type\":\"pico.function\",\"message\":\"The function on the board failed.\"}" },
        { "{\"type\": \"policy.denied\", \"message\": \"not ours\"}", // it may not pass for us
          "{\"error\":{\"type\":\"pico.function\",\"message\":\"not ours\"}" },
    };
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    client_open(&relay_rig.at[0], &c);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
        assert_true(board_next_call(&boards[0], id, function));
        snprintf(text, sizeof text, "{\"id\":\"%s\",\"error\":%s}", id, errors[i].said);
        board_send(&boards[0], text);
        expect_parts(answer_of(&c), "500 ", errors[i].heard);
        client_forget(&c);
    }
    edge_expect_log(relay_rig.e, "\"outcome\":\"pico.function\"", "\"error\":\"divide by zero\"");
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    assert_true(board_next_call(&boards[0], id, function));
    board_answer(&boards[0], id, "<generator>");
    expect_parts(answer_of(&c), "502 ", "\"type\":\"pico.answer\"");
    client_forget(&c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    assert_true(board_next_call(&boards[0], id, function)); // and no answer
    expect_parts(answer_of(&c), "504 ", "\"type\":\"pico.timeout\"");
    expect_order(&c);
    client_close(&c);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

// --- audit

static void flash_of_bob(const char *path)
{
    struct client c;
    char id[64], function[64];
    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = bob.cookie, .path = path, .body = "{\"args\":[\"planted\"]}" });
    expect_call(&boards[0], &c, id, function);
    board_answer(&boards[0], id, "[1,2]");
    expect_answer(&c, "200 ", "{\"result\":[1,2]}");
}

// The line of the last call says who, what, by which rule, with what outcome, how long and how much.
static void expect_line(const char *device, const char *rule, const char *decision, const char *outcome)
{
    char begin[256], end[256];
    snprintf(begin, sizeof begin,
             "\"device\":\"%s\",\"function\":\"flash\",\"route\":\"pico.example.com\",%s", device, rule);
    snprintf(end, sizeof end, "\"decision\":\"%s\",\"outcome\":\"%s\"", decision, outcome);
    edge_expect_log(relay_rig.e, begin, end);
}

static void log_arguments(struct worker *w)
{
    struct pico *p =
        (struct pico *)&config_pico_route(w->shared->config, STR("pico.example.com"))->target->pico;
    p->log_arguments = !p->log_arguments;
}

static void test_every_call_is_one_line(void **state)
{
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    for (int i = 0; i < 2;
         i++) { // whoever asks for any board is told of in the name of the one that was called
        edge_test_begin(state);
        flash_of_bob(i ? "any/flash" : "board-0/flash");
        expect_line("board-0", "\"rule\":2", "policy.allow_rule", "ok");
        edge_expect_log(relay_rig.e, "\"waited_ms\":", "\"user\":\"bob@example.com\",\"device\"");
        edge_expect_log(relay_rig.e, "\"board_ms\":", "\"bytes_in\":13,\"bytes_out\":5,\"duration_ms\":");
        assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.call\""), 1);
        assert_int_equal(edge_log_lines(relay_rig.e, "planted"), 0);
    }
    expect_refusal(&(struct ask){ .cookie = eve.cookie, .path = "board-0/flash", .body = "{}" }, "403 ",
                   "policy.denied");
    expect_line("board-0", "", "policy.no_rule", "policy.denied");
    edge_on_thread(relay_rig.e, log_arguments);
    flash_of_bob("board-0/flash");
    edge_expect_log(relay_rig.e, "\"args\":\"[\\\"planted\\\"]\"", "\"kwargs\":\"{}\"");
    edge_on_thread(relay_rig.e, log_arguments);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

// --- connections of callers

// Answers each call with its first argument.
static void *echo_all(void *arg)
{
    struct board_peer *b = arg;
    char id[64], function[64], value[64];
    while (board_next_call(b, id, function)) {
        const char *args = strstr(b->text, "\"args\":[");
        int n = args ? (int)strcspn(args + 8, "]") : 0;
        snprintf(value, sizeof value, "%.*s", n, args ? args + 8 : "");
        board_answer(b, id, value);
    }
    return NULL;
}

static void test_calls_in_a_row_on_one_connection(void **state)
{
    (void)state;
    enum { ROW = 20 };
    static char text[ROW * 1024];
    struct client c;
    pthread_t thread;
    size_t n = 0;
    board_connect(&boards[0], 2, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, echo_all, &boards[0]), 0);
    for (int i = 0; i < ROW; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "POST /.sallyport/pico/board-0/flash HTTP/1.1\r\nHost: pico.example.com\r\n%s" JSON
            "Content-Length: 14\r\n\r\n{\"args\":[%d]}",
            relay_rig.cookie, 100 + i);
    client_open(&relay_rig.at[0], &c);
    client_send_n(&c, text, n);
    char last[32];
    snprintf(last, sizeof last, "{\"result\":%d}", 100 + ROW - 1);
    client_expect(&c, last);
    const char *at = c.in;
    for (int i = 0; i < ROW; i++) {
        snprintf(last, sizeof last, "{\"result\":%d}", 100 + i);
        at = strstr(at, last);
        if (!at) fail_msg("no %s, or not in order", last);
    }
    assert_int_equal(client_count(&c, "HTTP/1.1 200 OK"), ROW);
    client_close(&c);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

enum { LARGE = 60 * 1000 };

static void *answer_largely(void *arg)
{
    static char frame[LARGE + 256];
    struct board_peer *b = arg;
    char id[64], function[64];
    while (board_next_call(b, id, function)) {
        int n = snprintf(frame, sizeof frame, "{\"id\":\"%s\",\"response\":\"", id);
        memset(frame + n, 'z', LARGE);
        strcpy(frame + n + LARGE, "\"}");
        board_send(b, frame);
    }
    return NULL;
}

// The board's answers are bounded by what one caller reads; nobody else waits for that one.
static void test_a_slow_reader_of_large_answers(void **state)
{
    (void)state;
    enum { ANSWERS = 30 };
    struct client slow, c;
    pthread_t thread;
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, answer_largely, &boards[0]), 0);
    client_open_small(&relay_rig.at[0], &slow);
    for (int i = 0; i < ANSWERS; i++)
        send_ask(&slow, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    for (int i = 0; i < 3; i++) {
        call_begin(&c, 0, "board-0", "flash", "{}");
        answer_of(&c);
        assert_true(c.n > LARGE);
        client_close(&c);
    }
    for (size_t n = 0; n < (size_t)ANSWERS * LARGE; n += 100 * 1000) {
        client_await_bytes(&slow, n);
        usleep(5000);
    }
    client_await_bytes(&slow, (size_t)ANSWERS * LARGE);
    while (client_count(&slow, "\"}\n") < ANSWERS) client_await_bytes(&slow, slow.n + 1);
    assert_int_equal(client_count(&slow, "HTTP/1.1 200 OK"), ANSWERS);
    client_close(&slow);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

static bool h2_answered(struct h2_client *c)
{
    return h2_seen(c, 1)->end && h2_seen(c, 3)->end;
}

static void test_callers_over_http2(void **state)
{
    (void)state;
    static struct h2_client c;
    char cookie[256];
    pthread_t thread;
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, echo_all, &boards[0]), 0);
    snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(relay_rig.cookie + 8, "\r"), relay_rig.cookie + 8);
    const char *const fields[] = { ":method",
                                   "POST",
                                   ":scheme",
                                   "https",
                                   ":authority",
                                   "pico.example.com",
                                   ":path",
                                   "/.sallyport/pico/board-0/flash",
                                   "content-type",
                                   "application/json",
                                   "cookie",
                                   cookie,
                                   NULL };
    h2_open(&relay_rig.at[0], &c, 0);
    c.body = "{\"args\":[77]}";
    c.body_n = strlen(c.body);
    assert_int_equal(h2_request_raw_body(&c, fields), 1);
    h2_until_closed(&c, 1);
    assert_int_equal(h2_seen(&c, 1)->status, 200);
    assert_non_null(strstr(h2_seen(&c, 1)->body, "{\"result\":77}"));
    c.body = "{\"args\":}";
    c.body_n = strlen(c.body);
    c.body_at = 0;
    assert_int_equal(h2_request_raw_body(&c, fields), 3);
    h2_until(&c, h2_answered);
    assert_int_equal(h2_seen(&c, 3)->status, 400);
    assert_non_null(strstr(h2_seen(&c, 3)->body, "\"type\":\"pico.arguments\""));
    h2_close(&c);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_errors_of_functions),
        T(test_every_call_is_one_line),
        T(test_calls_in_a_row_on_one_connection),
        T(test_a_slow_reader_of_large_answers),
        T(test_callers_over_http2),
    };
    return cmocka_run_group_tests_name("relay: callers", tests, calls_setup, relay_teardown);
}
