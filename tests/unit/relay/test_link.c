// SPDX-License-Identifier: GPL-3.0-or-later
// The life of a link: what the board asks, the clocks, the end.
#include "link_rig.h"

#include <stdio.h>
#include <string.h>

// --- what the board asks

static void test_echo(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_says(&r,
             "{\"type\":\"CALL\",\"command\":\"anvil.private.echo\",\"args\":[\"keep-alive\"],\"kwargs\":{},"
             "\"id\":\"pico-call-1-2\"}");
    rig_hears(&r, "{\"id\":\"pico-call-1-2\",\"response\":\"keep-alive\"}");
    for (int i = 0; i < 4; i++) // heartbeats multiply with each reconnect
        rig_says(&r, "{\"type\":\"CALL\",\"command\":\"anvil.private.echo\",\"args\":[%d],\"id\":\"E\"}", i);
    for (int i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"id\":\"E\",\"response\":%d}", i);
        rig_hears(&r, text);
    }
    rig_says(&r, "{\"type\":\"CALL\",\"command\":\"anvil.private.echo\",\"id\":\"E\"}");
    rig_hears(&r, "{\"id\":\"E\",\"response\":null}");
    rig_told(&r, "");
    rig_end(&r);
}

// An answer that no frame to this board can hold: the board is told so, and waits no longer.
static void test_echo_too_large(void **state)
{
    (void)state;
    static char big[LIMIT_PICO_FRAME_BYTES + 200];
    struct rig r;
    rig_login(&r);
    for (int over = 0; over < 2; over++) {
        // Around it: {"id":"E","response":""} and a head of 4 bytes.
        size_t n = LIMIT_PICO_FRAME_BYTES - 24 - 4 + (size_t)over;
        int head = snprintf(big, sizeof big,
                            "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"anvil.private.echo\","
                            "\"args\":[\"");
        memset(big + head, 'x', n);
        memcpy(big + head + n, "\"]}", 3);
        rig_frame(&r, 0x81, (struct str){ big, (size_t)head + n + 3 });
        if (over) {
            rig_hears(&r, "{\"id\":\"E\",\"error\":{\"message\":\"The answer is too large.\"}}");
        } else {
            assert_int_equal(link_output(r.link).n, LIMIT_PICO_FRAME_BYTES);
            link_sent(r.link);
        }
    }
    rig_end(&r);
}

static void test_other_questions(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    static const char *const commands[] = { "\"flash\"", "\"anvil.private.users.get_current_user\"",
                                            "\"anvil.private.fetch_lazy_media\"", "\"\"", "7" };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        rig_says(&r, "{\"type\":\"CALL\",\"id\":\"Q%zu\",\"command\":%s,\"args\":[]}", i, commands[i]);
        char text[128];
        snprintf(text, sizeof text,
                 "{\"id\":\"Q%zu\",\"error\":{\"message\":\"Boards cannot call functions here.\"}}", i);
        rig_hears(&r, text);
    }
    rig_says(&r, "{\"type\":\"CALL\",\"id\":\"Q\"}");
    rig_hears(&r, "{\"id\":\"Q\",\"error\":{\"message\":\"Boards cannot call functions here.\"}}");
    rig_says(&r,
             "{\"type\":\"CALL\",\"command\":\"anvil.private.echo\",\"args\":[1]}"); // nobody can answer it
    rig_hears_nothing(&r);
    assert_int_equal(link_counts(r.link).unknown, 1);
    rig_end(&r);
}

// --- the clocks

static void test_pings(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    r.now += 9000;
    rig_says(&r, LOGIN);
    rig_hears(&r, LOGIN_OK);
    assert_int_equal(link_due(r.link), r.now + 20000);
    rig_later(&r, 19999);
    rig_hears_nothing(&r);
    rig_later(&r, 1);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    rig_hears_nothing(&r);
    assert_int_equal(link_due(r.link), r.now + 20000);
    rig_later(&r, 20000);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    assert_int_equal(link_counts(r.link).pings, 2);
    rig_frame(&r, 0x8a, STR(""));
    rig_told(&r, "login the key; opened");
    rig_end(&r);
}

static void test_silence(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 10; i++) { // pongs alone are enough
        rig_later(&r, 59999);
        rig_hears_frame(&r, FRAME_PING, STR(""));
        rig_frame(&r, 0x8a, STR(""));
    }
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_later(&r, 59999);
    assert_int_equal(link_state(r.link), LINK_OPEN);
    assert_int_equal(link_due(r.link), r.now + 1);
    // What is not a whole frame is no sign of life.
    rig_bytes(&r, STR("\x81"));
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.silent");
    rig_hears_close(&r, 1008);
    assert_int_equal(link_due(r.link), INT64_MAX);
    rig_end(&r);
}

// The bytes were here before the clock was looked at: the process slept, not the board.
static void test_silence_of_ours(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.now += 100000;
    rig_frame(&r, 0x8a, STR(""));
    link_tick(r.link, r.now);
    rig_told(&r, "");
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_end(&r);
}

static void test_slow_frame(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_bytes(&r, STR("\x81\x85\x01\x01\x01\x01"));
    assert_int_equal(link_due(r.link), r.now + 10000);
    for (int i = 0; i < 4; i++) { // a byte now and then gains nothing
        rig_later(&r, 2500 - (i == 3));
        rig_bytes(&r, STR("x"));
    }
    rig_told(&r, "");
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.slow");
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

// Fragments, each of them complete, and control frames between them: the message is what must be complete.
static void test_slow_message(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_frame(&r, 0x01, STR("{\"type\":\"REG"));
    for (int i = 0; i < 3; i++) {
        rig_later(&r, 3000);
        rig_frame(&r, 0x00, STR("I"));
        rig_frame(&r, 0x89, STR("alive"));
        rig_hears_frame(&r, FRAME_PONG, STR("alive"));
    }
    assert_int_equal(link_due(r.link), r.now + 1000);
    r.now += 1000; // the clock is looked at when bytes come, too
    rig_frame(&r, 0x80, STR("\"}"));
    rig_told(&r, "closing uplink.slow");
    rig_end(&r);
}

// A frame that begins where another ended has its whole time.
static void test_slow_frames_in_a_row(void **state)
{
    (void)state;
    struct rig r;
    char buf[256];
    rig_login(&r);
    size_t n = rig_frame_write(buf, 0x81, STR("{\"type\":\"REGISTER\",\"name\":\"flash\"}"));
    rig_bytes(&r, (struct str){ buf, n / 2 });
    for (int i = 0; i < 5; i++) {
        rig_later(&r, 9000);
        char both[512];
        memcpy(both, buf + n / 2, n - n / 2);
        memcpy(both + n - n / 2, buf, n / 2);
        rig_bytes(&r, (struct str){ both, n });
    }
    rig_later(&r, 9999);
    rig_told(&r, "");
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.slow");
    rig_end(&r);
}

// --- the end

static void test_board_closes(void **state)
{
    (void)state;
    static const struct {
        struct str payload;
        unsigned code;
    } closes[] = { { STR_INIT(""), 1000 }, // as disconnect() of the firmware does
                   { STR_INIT("\x03\xe8"), 1000 },
                   { STR_INIT("\x03\xe9"
                              "bye"),
                     1001 },
                   { STR_INIT("\x0f\xa0"), 4000 } };
    for (size_t i = 0; i < sizeof closes / sizeof *closes; i++) {
        struct rig r;
        rig_login(&r);
        assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
        rig_hears_call(&r, 1, "flash");
        rig_frame(&r, 0x88, closes[i].payload);
        rig_told(&r, "closing uplink.closed; 1 pico.lost");
        rig_answers(&r, 1, "1"); // thrown away
        rig_hears_close(&r, closes[i].code);
        rig_end(&r);
    }
}

// The stray close frame of the firmware's second attempt, before any login.
static void test_stray_close(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    rig_bytes(&r, STR("\x88\x80\x11\x22\x33\x44"));
    rig_told(&r, "closing uplink.closed");
    rig_hears_close(&r, 1000);
    rig_end(&r);
}

static void test_gone(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 6; i++) assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 1, "flash");
    link_gone(r.link, r.now);
    rig_told(&r, "closing uplink.closed; 1 pico.lost; 2 pico.lost; 3 pico.lost; 4 pico.lost; 5 pico.lost; "
                 "6 pico.lost");
    assert_int_equal(link_state(r.link), LINK_CLOSED);
    rig_hears_nothing(&r);
    link_gone(r.link, r.now);
    close_it(&r);
    link_drain(r.link, r.now);
    link_tick(r.link, r.now + 100000);
    rig_says(&r, LOGIN);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_PICO_OFFLINE);
    rig_told(&r, "");
    rig_end(&r);
    rig_told(&r, "");
}

// What the owner holds when the connection breaks is not sent by anybody.
static void test_gone_with_a_frame_in_hand(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_frame(&r, 0x89, STR("ping"));
    assert_non_null(link_output(r.link).p);
    link_gone(r.link, r.now);
    rig_hears_nothing(&r);
    rig_told(&r, "closing uplink.closed");
    rig_end(&r);
}

// Bytes behind what ends the link are thrown away, those that came together with it too.
static void test_bytes_behind_the_end(void **state)
{
    (void)state;
    static const struct str ends[] = { STR_INIT("\x88\x80mask"), STR_INIT("\x83\x80mask") };
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        char buf[256];
        rig_new(&r);
        rig_says(&r, LOGIN);
        memcpy(buf, ends[i].p, ends[i].n);
        size_t n = ends[i].n;
        n += rig_frame_write(buf + n, 0x81, STR("{\"type\":\"REGISTER\",\"name\":\"flash\"}"));
        rig_bytes(&r, (struct str){ buf, n });
        rig_told(&r, i == 0 ? "login the key; opened; closing uplink.closed"
                            : "login the key; opened; closing uplink.frame");
        rig_end(&r);
    }
}

// Nothing was handed out: then nothing has been sent.
static void test_sent_without_output(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    link_sent(r.link);
    rig_frame(&r, 0x89, STR("ping"));
    link_sent(r.link);
    rig_hears_frame(&r, FRAME_PONG, STR("ping"));
    rig_end(&r);
}

// A frame that the owner has begun to write stays whole; what only waits is dropped.
static void test_close_behind_a_frame(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 3; i++) rig_frame(&r, 0x89, STR("ping"));
    struct str in_hand = link_output(r.link);
    close_it(&r);
    rig_told(&r, "closing uplink.revoked");
    assert_int_equal(link_state(r.link), LINK_CLOSING);
    assert_true(link_output(r.link).p == in_hand.p && in_hand.n == 6 && in_hand.p[5] == 'g');
    link_sent(r.link);
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

// A board that takes nothing cannot keep the link in CLOSING.
static void test_closing_in_time(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_bytes(&r, STR("\x81")); // its clock stands still now
    rig_later(&r, 9999);
    close_it(&r);
    assert_int_equal(link_due(r.link), r.now + 1000);
    rig_later(&r, 999);
    assert_int_equal(link_due(r.link), r.now + 1);
    assert_int_equal(link_state(r.link), LINK_CLOSING);
    rig_later(&r, 1);
    assert_int_equal(link_state(r.link), LINK_CLOSED);
    rig_hears_nothing(&r);
    rig_told(&r, "closing uplink.revoked");
    rig_end(&r);
}

static void test_drain(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    link_drain(r.link, r.now);
    rig_told(&r, "closing draining");
    rig_hears_close(&r, 1001);
    rig_end(&r);

    rig_new(&r);
    link_drain(r.link, r.now);
    rig_told(&r, "closing draining");
    rig_hears_close(&r, 1001);
    rig_end(&r);

    rig_login(&r); // one at work and those that wait are finished first
    for (int i = 0; i < 5; i++) assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    for (unsigned i = 1; i <= 4; i++) rig_hears_call(&r, i, "flash");
    link_drain(r.link, r.now);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_PICO_OFFLINE);
    for (unsigned i = 1; i <= 4; i++) rig_answers(&r, i, "true");
    rig_hears_call(&r, 5, "flash");
    rig_told(&r, "1 none; = true; 2 none; = true; 3 none; = true; 4 none; = true");
    rig_answers(&r, 5, "true");
    rig_told(&r, "5 none; = true; closing draining");
    rig_hears_close(&r, 1001);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_echo_too_large),
        cmocka_unit_test(test_other_questions),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silence_of_ours),
        cmocka_unit_test(test_slow_frame),
        cmocka_unit_test(test_slow_message),
        cmocka_unit_test(test_slow_frames_in_a_row),
        cmocka_unit_test(test_board_closes),
        cmocka_unit_test(test_stray_close),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_with_a_frame_in_hand),
        cmocka_unit_test(test_bytes_behind_the_end),
        cmocka_unit_test(test_sent_without_output),
        cmocka_unit_test(test_close_behind_a_frame),
        cmocka_unit_test(test_closing_in_time),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
