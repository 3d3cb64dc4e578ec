// SPDX-License-Identifier: GPL-3.0-or-later
// Calls of functions on a board: answers, refusals, who may be asked about, and owners who act from within.
#include "link_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- answers

static void test_call(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    assert_int_equal(link_load(r.link), 0);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    assert_int_equal(link_load(r.link), 1);
    rig_hears_call(&r, 1, "flash");
    rig_hears_nothing(&r); // once
    rig_told(&r, "");
    rig_answers(&r, 1, "{\"on\": [1, null]}");
    rig_told(&r, "1 none; = {\"on\":[1,null]}");
    assert_int_equal(link_load(r.link), 0);
    assert_int_equal(link_counts(r.link).calls, 1);
    rig_answers(&r, 1, "2"); // once more: nobody's
    rig_told(&r, "");
    assert_int_equal(link_counts(r.link).unknown, 1);
    rig_end(&r);
}

static int64_t waited_ms, board_ms;

static void keep_times(struct relay_call *c)
{
    waited_ms = c->waited_ms;
    board_ms = c->board_ms;
}

// How long it waited for a place, and how long the board took: for the log, and for metrics.
static void test_times(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.look_at_call = keep_times;
    make_calls(&r, 5, SOMEONE);
    rig_later(&r, 10);
    hears_calls(&r, 1, 4);
    rig_later(&r, 200);
    rig_answers(&r, 1, "1");
    assert_true(waited_ms == 10 && board_ms == 200);
    rig_later(&r, 1);
    hears_calls(&r, 5, 5);
    rig_later(&r, 3000);
    rig_answers(&r, 5, "1");
    assert_true(waited_ms == 211 && board_ms == 3000);
    for (int i = 0; i < 3; i++) rig_answers(&r, (unsigned)i + 2, "1");
    make_calls(&r, 1, SOMEONE); // never sent
    rig_later(&r, 7);
    link_gone(r.link, r.now);
    assert_true(waited_ms == 7 && board_ms == 0);
    rig_end(&r);
}

static void test_function_raises(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 4, SOMEONE);
    hears_calls(&r, 1, 4);
    rig_says(&r, "{\"id\":\"%s\",\"error\":{\"message\":\"divide by zero\"}}", rig_id(2));
    rig_told(&r, "2 pico.function; : divide by zero");
    rig_says(&r, "{\"id\":\"%s\",\"error\":{\"type\":\"builtins.KeyError\",\"message\":\"x\",\"trace\":[]}}",
             rig_id(1));
    rig_told(&r, "1 pico.function; builtins.KeyError: x");
    rig_says(&r, "{\"id\":\"%s\",\"error\":{}}", rig_id(4));
    rig_told(&r, "4 pico.function; : ");
    // Both an answer and an error: neither is believed.
    rig_says(&r, "{\"id\":\"%s\",\"response\":1,\"error\":{\"message\":\"x\"}}", rig_id(3));
    rig_told(&r, "3 pico.answer");
    rig_end(&r);
}

static void test_answers_in_any_order(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    hears_calls(&r, 1, 4);
    rig_answers(&r, 3, "3");
    hears_calls(&r, 5, 5);
    rig_answers(&r, 5, "5");
    rig_answers(&r, 1, "1");
    hears_calls(&r, 6, 6);
    rig_told(&r, "3 none; = 3; 5 none; = 5; 1 none; = 1");
    rig_end(&r);
    rig_told(&r, "closing uplink.closed; 6 pico.lost; 2 pico.lost; 4 pico.lost");
}

// Ids that the board was not given: calls of others, calls that wait and were not sent, parts of ids.
static void test_answers_to_no_call(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 5, SOMEONE);
    hears_calls(&r, 1, 4);
    rig_answers(&r, 5, "\"too early\"");
    rig_answers(&r, 77, "1");
    rig_says(&r, "{\"id\":\"\",\"response\":1}");
    rig_says(&r, "{\"id\":\"1\",\"response\":1}");
    rig_says(&r, "{\"id\":\"%.31s\",\"response\":1}", rig_id(1));
    rig_says(&r, "{\"id\":\"%s0\",\"response\":1}", rig_id(1));
    rig_says(&r, "{\"id\":\"%s\\u0000\",\"response\":1}", rig_id(1));
    rig_says(&r, "{\"id\":\"0000000000000000000000000000000A\",\"response\":1}");
    rig_says(&r, "{\"response\":1}");
    rig_says(&r, "{\"error\":{\"message\":\"x\"}}");
    rig_told(&r, "");
    assert_int_equal(link_load(r.link), 5);
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_answers(&r, 1, "1");
    hears_calls(&r, 5, 5); // the early answer has not gone before it
    rig_told(&r, "1 none; = 1");
    rig_end(&r);
}

// --- what is refused

static void test_refused_calls(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_PICO_OFFLINE);
    rig_end(&r);
    rig_login(&r);
    assert_int_equal(rig_call(&r, "reboot", SOMEONE), ERR_PICO_UNKNOWN);
    assert_int_equal(rig_call(&r, "flas", SOMEONE), ERR_PICO_UNKNOWN);
    assert_int_equal(rig_call(&r, "", SOMEONE), ERR_PICO_UNKNOWN);
    rig_hears_nothing(&r);
    rig_end(&r);
}

static void call_of_size(size_t output_max, size_t n, enum err_code code)
{
    struct rig r;
    char *args = malloc(n + 5);
    args[0] = '[', args[1] = '"';
    memset(args + 2, 'x', n);
    memcpy(args + n + 2, "\"]", 3);
    rig_login_with(&r, output_max);
    assert_int_equal(rig_give(&r, rig_call_new(&r, "flash", SOMEONE, args)), code);
    struct str out = link_output(r.link);
    assert_int_equal(out.n, code == ERR_NONE ? output_max : 0);
    free(args);
    rig_end(&r);
}

// One byte more is too many for one TLS record, or one TCP segment.
static void test_size_of_arguments(void **state)
{
    (void)state;
    static const size_t sizes[] = { LIMIT_PICO_FRAME_BYTES, LIMIT_PICO_PLAIN_FRAME_BYTES };
    for (int i = 0; i < 2; i++) {
        // {"type":"CALL","id":"","call-stack-id":"","command":"flash","args":[""],"kwargs":{}}, two ids, a
        // head.
        size_t n = sizes[i] - 84 - 64 - 4;
        call_of_size(sizes[i], n, ERR_NONE);
        call_of_size(sizes[i], n + 1, ERR_PICO_ARGUMENTS_LARGE);
        call_of_size(sizes[i], n + 100000, ERR_PICO_ARGUMENTS_LARGE);
        call_of_size(sizes[i], n + 1000000, ERR_PICO_ARGUMENTS_LARGE); // more than there is memory for
    }
}

// --- who is calling

static void looks_up(struct rig *r, const char *id, const char *answer)
{
    char text[256];
    rig_says(r, LOOKUP, id);
    snprintf(text, sizeof text, "{\"id\":\"L\",\"response\":%s}", answer);
    rig_hears(r, text);
}

static void test_look_ups(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.email = STR("ann@example.org");
    make_calls(&r, 5, SOMEONE);
    looks_up(&r, rig_id(1), "null"); // not sent yet
    hears_calls(&r, 1, 4);
    looks_up(&r, rig_id(1), "\"ann@example.org\"");
    looks_up(&r, rig_id(1), "\"ann@example.org\""); // a function may ask twice
    looks_up(&r, rig_id(4), "\"ann@example.org\"");
    rig_told(&r, "email of ann; email of ann; email of ben");
    looks_up(&r, rig_id(5), "null"); // waits
    looks_up(&r, rig_id(6), "null");
    looks_up(&r, "", "null");
    looks_up(&r, "1", "null");
    rig_says(&r,
             "{\"type\":\"CALL\",\"id\":\"L\",\"command\":\"anvil.private.users.get_current_user_email\"}");
    rig_hears(&r, "{\"id\":\"L\",\"response\":null}");
    rig_told(&r, "");
    r.email = STR_NONE; // logged out meanwhile
    looks_up(&r, rig_id(1), "null");
    rig_told(&r, "email of ann");
    rig_answers(&r, 1, "1");
    r.email = STR("ann@example.org");
    rig_told(&r, "1 none; = 1");
    looks_up(&r, rig_id(1), "null"); // answered
    hears_calls(&r, 5, 5);
    rig_later(&r, 30000);
    rig_told(&r, "5 pico.timeout; 2 pico.timeout; 3 pico.timeout; 4 pico.timeout");
    rig_hears_frame(&r, FRAME_PING, STR(""));
    looks_up(&r, rig_id(2), "null"); // timed out: its caller has been told so
    rig_answers(&r, 5, "1");         // late, and another call has its place now
    make_calls(&r, 1, SOMEONE);
    hears_calls(&r, 6, 6);
    looks_up(&r, rig_id(2), "null");
    looks_up(&r, rig_id(5), "null");
    assert_int_equal(link_counts(r.link).lookups, 14);
    rig_told(&r, "");
    rig_end(&r);
}

// Two boards: a call of one is nothing that the other may ask about, or answer.
static void test_look_ups_of_another_board(void **state)
{
    (void)state;
    struct rig a, b;
    rig_login(&a);
    rig_login(&b);
    a.email = b.email = STR("ann@example.org");
    make_calls(&a, 1, SOMEONE);
    hears_calls(&a, 1, 1);
    looks_up(&b, rig_id(1), "null");
    rig_answers(&b, 1, "\"forged\"");
    rig_told(&b, "");
    assert_int_equal(link_counts(b.link).unknown, 1);
    rig_answers(&a, 1, "1");
    rig_told(&a, "1 none; = 1");
    rig_end(&a);
    rig_end(&b);
}

static void close_at_look_up(struct rig *r)
{
    struct err why;
    err_set(&why, ERR_UPLINK_REVOKED, "test");
    link_close(r->link, 1008, &why, r->now);
}

// The owner finds that the board may not stay, and says so at the moment of the look-up: no answer goes out.
static void test_close_from_a_look_up(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.email = STR("ann@example.org");
    r.on_email = close_at_look_up;
    make_calls(&r, 1, SOMEONE);
    hears_calls(&r, 1, 1);
    rig_says(&r, LOOKUP, rig_id(1));
    rig_told(&r, "email of ann; closing uplink.revoked; 1 pico.lost");
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

static void test_email_is_escaped(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 1, SOMEONE);
    hears_calls(&r, 1, 1);
    r.email = STR("\"ann\\\"@example.org");
    looks_up(&r, rig_id(1), "\"\\\"ann\\\\\\\"@example.org\"");
    rig_end(&r);
}

// --- the owner acts from within

static void call_again(struct rig *r, unsigned number)
{
    if (number < 50) assert_int_equal(rig_call(r, "flash", SOMEONE), ERR_NONE);
}

static void test_call_from_finished(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.on_finished = call_again;
    make_calls(&r, 1, SOMEONE);
    for (unsigned i = 1; i <= 50; i++) {
        hears_calls(&r, i, i);
        rig_answers(&r, i, "1");
    }
    rig_hears_nothing(&r);
    assert_int_equal(r.live, 0);
    rig_end(&r);
}

static void try_again(struct rig *r, unsigned number)
{
    if (number < 1000) assert_int_equal(rig_call(r, "flash", SOMEONE), ERR_PICO_OFFLINE);
}

static void close_link(struct rig *r, unsigned number)
{
    struct err why;
    (void)number;
    err_set(&why, ERR_UPLINK_REVOKED, "test");
    link_close(r->link, 1008, &why, r->now);
}

static void call_and_close(struct rig *r, unsigned number)
{
    if (number == 1) assert_int_equal(rig_call(r, "flash", SOMEONE), ERR_NONE);
    if (number == 1) close_link(r, number);
}

// Calls that a closing link finishes cannot be given to it again, nor are they finished twice.
static void test_close_from_finished(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    hears_calls(&r, 1, 4);
    r.on_finished = call_and_close;
    rig_answers(&r, 1, "1");
    rig_told(&r, "1 none; = 1; closing uplink.revoked; 2 pico.lost; 3 pico.lost; 4 pico.lost; 5 pico.lost; "
                 "6 pico.lost; 7 pico.lost");
    rig_hears_close(&r, 1008);
    rig_end(&r);
    rig_told(&r, "");
}

static void test_call_from_the_end(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    hears_calls(&r, 1, 4);
    r.on_finished = try_again;
    link_gone(r.link, r.now);
    assert_int_equal(r.last, 12);
    rig_end(&r);

    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    r.on_finished = try_again;
    rig_end(&r);
    assert_int_equal(r.last, 12);
}

// The clock ends many at once; each end closes the link, or calls.
static void test_finished_by_the_clock(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    hears_calls(&r, 1, 4);
    r.on_finished = close_link;
    rig_later(&r, 30000);
    rig_told(&r, "1 pico.timeout; closing uplink.revoked; 2 pico.timeout; 3 pico.timeout; 4 pico.timeout; 5 "
                 "pico.timeout; "
                 "6 pico.timeout");
    rig_end(&r);

    rig_login(&r);
    make_calls(&r, 6, SOMEONE);
    hears_calls(&r, 1, 4);
    r.on_finished = call_again;
    rig_later(&r, 30000);
    assert_int_equal(r.live, 6);
    assert_int_equal(link_load(r.link), 10); // four places are kept
    r.on_finished = NULL;
    rig_end(&r);
}

// While calls that have gone are swept out for a new one, the owner closes the link: the new one is finished
// too, after it was taken.
static void test_close_while_a_call_is_taken(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    c->gone = true;
    r.on_finished = close_link;
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_told(&r, "1 pico.caller_gone; closing uplink.revoked; 2 pico.lost");
    rig_end(&r);
}

// The same while a frame is asked for.
static void test_close_while_a_call_is_sent(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    make_calls(&r, 1, SOMEONE);
    c->gone = true;
    r.on_finished = close_link;
    struct str out = link_output(r.link);
    assert_true(out.n == 4 && (uint8_t)out.p[0] == 0x88);
    link_sent(r.link);
    rig_told(&r, "1 pico.caller_gone; closing uplink.revoked; 2 pico.lost");
    assert_int_equal(link_state(r.link), LINK_CLOSED);
    assert_int_equal(link_counts(r.link).calls, 0);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_function_raises),
        cmocka_unit_test(test_answers_in_any_order),
        cmocka_unit_test(test_answers_to_no_call),
        cmocka_unit_test(test_refused_calls),
        cmocka_unit_test(test_size_of_arguments),
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_look_ups_of_another_board),
        cmocka_unit_test(test_close_from_a_look_up),
        cmocka_unit_test(test_email_is_escaped),
        cmocka_unit_test(test_call_from_finished),
        cmocka_unit_test(test_close_from_finished),
        cmocka_unit_test(test_call_from_the_end),
        cmocka_unit_test(test_finished_by_the_clock),
        cmocka_unit_test(test_close_while_a_call_is_taken),
        cmocka_unit_test(test_close_while_a_call_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
