// SPDX-License-Identifier: GPL-3.0-or-later
// Calls of functions on a board: places, queue, shares, time limits.
#include "link_rig.h"

// --- places, queue, shares

static void test_places(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 11, "ann"); // 3 go at once, 8 are her share of the queue
    assert_int_equal(rig_call(&r, "flash", "ann"), ERR_PICO_BUSY);
    make_calls(&r, 9, "ben"); // one goes
    assert_int_equal(rig_call(&r, "flash", "ben"), ERR_PICO_BUSY);
    assert_int_equal(rig_call(&r, "flash", "eve"), ERR_PICO_BUSY); // 16 wait
    assert_int_equal(link_load(r.link), 20);
    for (unsigned i = 1; i <= 3; i++) rig_hears_call(&r, i, "flash");
    hears_calls(&r, 13, 13);
    assert_int_equal(rig_call(&r, "flash", "eve"), ERR_PICO_BUSY);
    rig_answers(&r, 2, "1");
    assert_int_equal(rig_call(&r, "flash", "eve"), ERR_NONE); // in place of the one that goes now
    assert_int_equal(rig_call(&r, "flash", "eve"), ERR_PICO_BUSY);
    hears_calls(&r, 4, 4);
    assert_int_equal(link_load(r.link), 20);
    rig_end(&r);
}

// The share is of those that wait, whatever the order in which they came and go.
static void test_share_of_a_user(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 3, "ben");
    make_calls(&r, 1, "eve");
    hears_calls(&r, 1, 4);
    make_calls(&r, LIMIT_PICO_QUEUE_USER, "ann");
    assert_int_equal(rig_call(&r, "flash", "ann"), ERR_PICO_BUSY);
    assert_int_equal(rig_call(&r, "flash", "an"), ERR_NONE);
    assert_int_equal(rig_call(&r, "flash", "anna"), ERR_NONE);
    rig_answers(&r, 1, "1");
    assert_int_equal(rig_call(&r, "flash", "ann"), ERR_NONE); // one of hers goes
    assert_int_equal(rig_call(&r, "flash", "ann"), ERR_PICO_BUSY);
    rig_end(&r);
}

// Somebody with a function that never ends does not have the board for themselves, now or later.
static void test_a_place_for_others(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 8, "ann");
    hears_calls(&r, 1, LIMIT_PICO_CALLS_USER);
    make_calls(&r, 1, "ben");
    hears_calls(&r, 9, 9);
    make_calls(&r, 1, "ben"); // waits behind nobody: the places of others are theirs
    rig_answers(&r, 9, "9");
    hears_calls(&r, 10, 10);
    rig_answers(&r, 10, "10");
    rig_told(&r, "9 none; = 9; 10 none; = 10");
    rig_later(&r, 30000); // hers time out, and the board still works on three of them
    rig_hears_frame(&r, FRAME_PING, STR(""));
    rig_frame(&r, 0x8a, STR(""));
    make_calls(&r, 1, "ann");
    rig_hears_nothing(&r);
    make_calls(&r, 1, "ben");
    hears_calls(&r, 12, 12);
    rig_answers(&r, 1, "1"); // late, but now the board is free for her
    hears_calls(&r, 11, 11);
    rig_end(&r);
}

// A queue full of people who have left is empty.
static void test_gone(void **state)
{
    (void)state;
    struct rig r;
    struct relay_call *calls[21];
    rig_login(&r);
    for (int i = 1; i <= 20; i++) {
        calls[i] = rig_call_new(&r, "flash", i % 2 ? "ann" : "ben", "[1]");
        assert_int_equal(rig_give(&r, calls[i]), ERR_NONE);
        if (i == 4) hears_calls(&r, 1, 4);
    }
    for (int i = 4; i <= 20; i++) calls[i]->gone = true;
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_told(
        &r,
        "5 pico.caller_gone; 6 pico.caller_gone; 7 pico.caller_gone; 8 pico.caller_gone; 9 pico.caller_gone; "
        "10 pico.caller_gone; 11 pico.caller_gone; 12 pico.caller_gone; 13 pico.caller_gone; "
        "14 pico.caller_gone; 15 pico.caller_gone; 16 pico.caller_gone; 17 pico.caller_gone; "
        "18 pico.caller_gone; 19 pico.caller_gone; 20 pico.caller_gone");
    // The one that was sent keeps its place: the board works on it.
    assert_int_equal(link_load(r.link), 5);
    rig_hears_nothing(&r);
    rig_answers(&r, 4, "4");
    rig_told(&r, "4 none; = 4");
    hears_calls(&r, 21, 21);
    assert_int_equal(link_counts(r.link).calls, 5);
    rig_end(&r);
}

// Between being taken and being sent the caller leaves: the board never hears of it.
static void test_gone_before_it_is_sent(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    c->gone = true;
    assert_int_equal(rig_call(&r, "flash", "ben"), ERR_NONE);
    hears_calls(&r, 2, 2);
    rig_told(&r, "1 pico.caller_gone");
    assert_int_equal(link_counts(r.link).calls, 1);
    rig_end(&r);
}

// A call becomes a frame when it can leave and not before: until then it can be withdrawn.
static void test_one_at_a_time(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 1, SOMEONE);
    struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    make_calls(&r, 1, SOMEONE);
    assert_non_null(link_output(r.link).p);
    assert_int_equal(link_counts(r.link).calls, 1);
    c->gone = true;
    rig_hears_call(&r, 1, "flash");
    hears_calls(&r, 3, 3);
    rig_told(&r, "2 pico.caller_gone");
    rig_end(&r);
}

// --- time limits

static void test_timeout(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 5, SOMEONE);
    hears_calls(&r, 1, 4);
    rig_later(&r, 10000);
    rig_frame(&r, 0x8a, STR(""));
    make_calls(&r, 1, SOMEONE);
    rig_later(&r, 19999);
    rig_told(&r, "");
    rig_later(&r, 1); // those at work and the one that has waited as long; the youngest has time left
    rig_told(&r, "1 pico.timeout; 2 pico.timeout; 3 pico.timeout; 4 pico.timeout; 5 pico.timeout");
    rig_hears_frame(&r, FRAME_PING, STR(""));
    rig_hears_nothing(&r); // the board still works on four
    rig_answers(&r, 1, "1");
    rig_told(&r, ""); // late
    assert_int_equal(link_counts(r.link).late, 1);
    hears_calls(&r, 6, 6); // its place is free
    rig_answers(&r, 1, "1");
    assert_int_equal(link_counts(r.link).unknown, 1);
    rig_answers(&r, 6, "6");
    rig_told(&r, "6 none; = 6");
    rig_end(&r);
}

// An answer that comes after the deadline is late, whoever has looked at the clock or not.
static void test_answer_at_the_deadline(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 2, SOMEONE);
    hears_calls(&r, 1, 2);
    assert_int_equal(link_due(r.link), r.now + 20000); // ping
    rig_later(&r, 20000);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    assert_int_equal(link_due(r.link), r.now + 10000); // deadline
    r.now += 9999;
    rig_answers(&r, 1, "1");
    rig_told(&r, "1 none; = 1");
    r.now += 1;
    rig_answers(&r, 2, "2");
    rig_told(&r, "2 pico.timeout");
    assert_int_equal(link_counts(r.link).late, 1);
    rig_end(&r);
}

// Four functions that hang do not take the board from others for ever, nor can four more pile up at once.
static void test_place_of_a_timeout(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 4; i++) {
        struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
        c->limit_ms = i < 2 ? 5000 : 300000;
        assert_int_equal(rig_give(&r, c), ERR_NONE);
    }
    hears_calls(&r, 1, 4);
    rig_later(&r, 5000);
    rig_told(&r, "1 pico.timeout; 2 pico.timeout");
    assert_int_equal(link_due(r.link), r.now + 5000); // then the places are given up
    assert_int_equal(link_load(r.link), 4);
    make_calls(&r, 3, SOMEONE);
    rig_later(&r, 4999);
    rig_hears_nothing(&r);
    rig_later(&r, 1);
    hears_calls(&r, 5, 6);
    rig_answers(&r, 1, "1"); // too late even for that
    assert_int_equal(link_counts(r.link).late, 0);
    assert_int_equal(link_counts(r.link).unknown, 1);
    for (unsigned i = 3; i <= 7; i++) {
        if (i == 7) hears_calls(&r, 7, 7);
        rig_answers(&r, i, "1");
    }
    assert_int_equal(link_load(r.link), 0);
    r.told[0] = '\0', r.ntold = 0;
    rig_told(&r, "");
    rig_end(&r);
}

// A place that was given up and not taken since: the answer is nobody's then.
static void test_answer_after_the_place_is_given_up(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
    c->limit_ms = 5000;
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    hears_calls(&r, 1, 1);
    rig_later(&r, 5000);
    rig_later(&r, 5000);
    assert_int_equal(link_load(r.link), 0);
    rig_answers(&r, 1, "1");
    assert_int_equal(link_counts(r.link).late, 0);
    assert_int_equal(link_counts(r.link).unknown, 1);
    rig_told(&r, "1 pico.timeout");
    rig_end(&r);
}

// The clock of a call runs while it waits.
static void test_deadline_of_a_call_that_waits(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    make_calls(&r, 4, SOMEONE);
    hears_calls(&r, 1, 4);
    struct relay_call *c = rig_call_new(&r, "flash", "ben", "[1]");
    c->limit_ms = 1500;
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    assert_int_equal(link_due(r.link), r.now + 1500);
    rig_later(&r, 1500);
    rig_told(&r, "5 pico.timeout");
    assert_int_equal(link_load(r.link), 4); // it had no place that could be kept
    rig_end(&r);
}

// However long a call may take, its place is kept no longer than half a minute after that.
static void test_place_of_a_long_timeout(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 4; i++) {
        struct relay_call *c = rig_call_new(&r, "flash", SOMEONE, "[1]");
        c->limit_ms = 300000;
        assert_int_equal(rig_give(&r, c), ERR_NONE);
    }
    hears_calls(&r, 1, 4);
    for (int i = 0; i < 15; i++) {
        rig_later(&r, 20000);
        rig_frame(&r, 0x8a, STR(""));
        rig_hears_frame(&r, FRAME_PING, STR(""));
    }
    rig_told(&r, "1 pico.timeout; 2 pico.timeout; 3 pico.timeout; 4 pico.timeout");
    struct relay_call *c = rig_call_new(&r, "flash", "ben", "[1]");
    c->limit_ms = 60000;
    assert_int_equal(rig_give(&r, c), ERR_NONE);
    rig_later(&r, 29999);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    rig_hears_nothing(&r);
    rig_later(&r, 1);
    hears_calls(&r, 5, 5);
    rig_end(&r);
}

// The board takes nothing: calls that have not left are withdrawn, and never sent.
static void test_timeout_before_it_is_sent(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_frame(&r, 0x89, STR("stuck"));
    assert_non_null(link_output(r.link).p);
    make_calls(&r, 2, SOMEONE);
    assert_non_null(link_output(r.link).p);
    assert_int_equal(link_counts(r.link).calls, 0);
    rig_later(&r, 15000);
    make_calls(&r, 1, SOMEONE);
    rig_later(&r, 15000);
    rig_told(&r, "1 pico.timeout; 2 pico.timeout");
    assert_int_equal(link_load(r.link), 1);
    link_sent(r.link);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    hears_calls(&r, 3, 3);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_share_of_a_user),
        cmocka_unit_test(test_a_place_for_others),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_before_it_is_sent),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_answer_at_the_deadline),
        cmocka_unit_test(test_place_of_a_timeout),
        cmocka_unit_test(test_answer_after_the_place_is_given_up),
        cmocka_unit_test(test_deadline_of_a_call_that_waits),
        cmocka_unit_test(test_place_of_a_long_timeout),
        cmocka_unit_test(test_timeout_before_it_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
