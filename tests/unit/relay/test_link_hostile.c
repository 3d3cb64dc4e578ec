// SPDX-License-Identifier: GPL-3.0-or-later
// A hostile board harms itself alone: its link is closed, its memory is bounded, and nobody's call is
// answered by whoever was not asked.
#include "link_rig.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void forget(struct rig *r)
{
    r->told[0] = '\0';
    r->ntold = 0;
}

// --- frames

// Three calls are at work; the link is closed with `code`, and each of them fails.
static void closes(struct str bytes, unsigned code, const char *reason)
{
    struct rig r;
    char told[128];
    rig_login(&r);
    for (unsigned i = 1; i <= 3; i++) assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    for (unsigned i = 1; i <= 3; i++) rig_hears_call(&r, i, "flash");
    rig_bytes(&r, bytes);
    snprintf(told, sizeof told, "closing %s; 1 pico.lost; 2 pico.lost; 3 pico.lost", reason);
    rig_told(&r, told);
    rig_answers(&r, 1, "1");
    rig_told(&r, "");
    rig_hears_close(&r, code);
    rig_end(&r);
}

static void test_bad_frames(void **state)
{
    (void)state;
    closes(STR("\x81\x02{}"), 1002, "uplink.frame");                       // not masked
    closes(STR("\xc1\x82\x01\x01\x01\x01zz"), 1002, "uplink.frame");       // RSV1
    closes(STR("\x91\x82\x01\x01\x01\x01zz"), 1002, "uplink.frame");       // RSV3
    closes(STR("\x83\x82\x01\x01\x01\x01zz"), 1002, "uplink.frame");       // reserved opcode
    closes(STR("\x8b\x82\x01\x01\x01\x01zz"), 1002, "uplink.frame");       // reserved control opcode
    closes(STR("\x09\x80\x01\x01\x01\x01"), 1002, "uplink.frame");         // ping with FIN=0
    closes(STR("\x89\xfe\x00\x7e\x01\x01\x01\x01"), 1002, "uplink.frame"); // ping of 126 bytes
    closes(STR("\x80\x81\x01\x01\x01\x01z"), 1002, "uplink.frame");        // continuation of nothing
    closes(STR("\x01\x80\x01\x01\x01\x01\x81\x80\x01\x01\x01\x01"), 1002, "uplink.frame");
    closes(STR("\x88\x81\x01\x01\x01\x01z"), 1002, "uplink.frame"); // half a close code
    closes(STR("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), 1002, "uplink.frame");
    closes(STR("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 1002, "uplink.frame");
}

// Refused at the head: nothing of it is waited for.
static void test_giant_frames(void **state)
{
    (void)state;
    closes(STR("\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01mask"), 1009, "uplink.too_large"); // 65537
    closes(STR("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00mask"), 1009, "uplink.too_large"); // 4 GiB
    closes(STR("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask"), 1009, "uplink.too_large");
    closes(STR("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask"), 1002, "uplink.frame"); // a negative one
}

static void test_giant_message_of_fragments(void **state)
{
    (void)state;
    static char x[16384];
    struct rig r;
    memset(x, ' ', sizeof x);
    rig_login(&r);
    rig_frame(&r, 0x01, (struct str){ x, sizeof x });
    for (int i = 0; i < 3; i++) rig_frame(&r, 0x00, (struct str){ x, sizeof x });
    rig_told(&r, "");
    rig_frame(&r, 0x80, STR("x")); // 64 KiB and one byte
    rig_told(&r, "closing uplink.too_large");
    rig_hears_close(&r, 1009);
    rig_end(&r);
}

// The largest that is taken.
static void test_largest_answer(void **state)
{
    (void)state;
    static char text[LIMIT_PICO_MESSAGE_BYTES];
    struct rig r;
    rig_login(&r);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 1, "flash");
    memset(text, ' ', sizeof text);
    int n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"response\":1", rig_id(1));
    text[n] = ' ';
    text[sizeof text - 1] = '}';
    rig_frame(&r, 0x81, (struct str){ text, sizeof text });
    rig_told(&r, "1 none; = 1");
    rig_end(&r);
}

// --- floods

static void test_flood_of_messages(void **state)
{
    (void)state;
    static const unsigned first_bytes[] = { 0x81, 0x82, 0x89, 0x8a };
    static const char *const payloads[] = { "{}", "", "", "" };
    for (size_t k = 0; k < 4; k++) {
        struct rig r;
        rig_new(&r);
        rig_says(&r, LOGIN);
        link_output(r.link);
        link_sent(r.link);
        forget(&r);
        int n = 1;
        for (; n < LIMIT_PICO_MESSAGES_BURST && link_state(r.link) == LINK_OPEN; n++) {
            rig_frame(&r, first_bytes[k], str_c(payloads[k]));
            while (link_output(r.link).p && link_state(r.link) == LINK_OPEN) link_sent(r.link);
        }
        if (k == 1) { // three of these are too many already
            rig_told(&r, "closing uplink.message");
            rig_end(&r);
            continue;
        }
        rig_told(&r, "");
        rig_frame(&r, first_bytes[k], str_c(payloads[k]));
        rig_told(&r, "closing uplink.flood");
        rig_hears_close(&r, 1008);
        rig_end(&r);
    }
}

// What a board may send for ever.
static void test_busy_is_no_flood(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (int i = 0; i < 10 * LIMIT_PICO_MESSAGES_PER_SECOND; i++) {
        r.now++;
        rig_frame(&r, 0x89, STR("and I read what you send"));
        rig_hears_frame(&r, FRAME_PONG, STR("and I read what you send"));
    }
    rig_told(&r, "");
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_end(&r);
}

// However many calls there are, it is not the board that floods.
static void test_answers_are_no_flood(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (unsigned i = 1; i <= LIMIT_PICO_MESSAGES_BURST + 100; i++) {
        make_calls(&r, 1, SOMEONE);
        hears_calls(&r, i, i);
        rig_answers(&r, i, "1");
        forget(&r);
    }
    assert_int_equal(link_state(r.link), LINK_OPEN);
    for (int i = 0; i < LIMIT_PICO_MESSAGES_BURST + 1; i++)
        rig_answers(&r, 1, "1"); // but nobody asked for these
    rig_told(&r, "closing uplink.flood");
    rig_end(&r);
}

// Nobody saves up for a flood by being silent.
static void test_flood_after_silence(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    r.now += 59000;
    for (int i = 0; i < LIMIT_PICO_MESSAGES_BURST; i++) rig_frame(&r, 0x8a, STR(""));
    rig_told(&r, "");
    rig_frame(&r, 0x8a, STR(""));
    rig_told(&r, "closing uplink.flood");
    rig_end(&r);
}

static void test_flood_before_the_login(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    for (int i = 0; i < LIMIT_PICO_MESSAGES_BURST; i++) rig_frame(&r, 0x89, STR("are you there?"));
    rig_told(&r, "");
    rig_hears_nothing(&r);
    rig_frame(&r, 0x89, STR("are you there?"));
    rig_told(&r, "closing uplink.flood");
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

static void test_flood_of_bytes(void **state)
{
    (void)state;
    static char x[LIMIT_PICO_MESSAGE_BYTES - 8];
    struct rig r;
    memset(x, ' ', sizeof x);
    x[0] = '{', x[sizeof x - 1] = '}';
    rig_login(&r);
    for (int i = 0; i < 63; i++) rig_frame(&r, 0x81, (struct str){ x, sizeof x });
    rig_told(&r, "");
    rig_frame(&r, 0x81, (struct str){ x, sizeof x });
    rig_told(&r, "closing uplink.flood");
    rig_hears_close(&r, 1008);
    rig_end(&r);
    rig_login(&r); // the same in more time is welcome
    for (int i = 0; i < 200; i++) {
        r.now += 63;
        rig_frame(&r, 0x81, (struct str){ x, sizeof x });
    }
    rig_told(&r, "");
    rig_end(&r);
}

// Frames that never become a message are counted by their bytes, and there is a time for the message.
static void test_flood_of_empty_fragments(void **state)
{
    (void)state;
    struct rig r;
    static char fragments[6 * 8192];
    rig_login(&r);
    for (size_t i = 0; i < sizeof fragments; i += 6)
        memcpy(fragments + i, i == 0 ? "\x01\x80mask" : "\x00\x80mask", 6);
    rig_bytes(&r, (struct str){ fragments, sizeof fragments });
    for (size_t i = 0; i < 6; i += 6) memcpy(fragments, "\x00\x80mask", 6);
    for (int i = 0; i < 200 && link_state(r.link) == LINK_OPEN; i++)
        rig_bytes(&r, (struct str){ fragments, sizeof fragments });
    rig_told(&r, "closing uplink.flood");
    rig_end(&r);
}

static void registrations(struct rig *r, int ms_between)
{
    rig_new(r);
    r->device.any_function = true;
    rig_says(r, LOGIN);
    forget(r);
    for (int i = 0; i < 10000; i++) {
        r->now += ms_between;
        rig_says(r, "{\"type\":\"REGISTER\",\"name\":\"f%d\"}", i);
        if (i == LIMIT_PICO_FUNCTIONS - 1) forget(r);
    }
}

static void test_registrations(void **state)
{
    (void)state;
    struct rig r;
    registrations(&r, 0);
    rig_told(&r, "refused f64 uplink.names; closing uplink.flood");
    assert_true(link_counts(r.link).names_refused < LIMIT_PICO_MESSAGES_BURST);
    rig_end(&r);
    registrations(&r, 1);
    rig_told(&r, "refused f64 uplink.names");
    assert_int_equal(link_functions(r.link).n, LIMIT_PICO_FUNCTIONS);
    assert_int_equal(link_counts(r.link).names_refused, 10000 - LIMIT_PICO_FUNCTIONS);
    rig_end(&r);
}

// It asks and asks, and takes no answer.
static void test_reads_nothing(void **state)
{
    (void)state;
    static char payload[4096];
    struct rig r;
    rig_login(&r);
    int head = snprintf(payload, sizeof payload,
                        "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"anvil.private.echo\","
                        "\"args\":[\"");
    memset(payload + head, 'x', sizeof payload - (size_t)head);
    memcpy(payload + sizeof payload - 3, "\"]}", 3);
    rig_frame(&r, 0x81, (struct str){ payload, sizeof payload });
    struct str in_hand = link_output(r.link);
    int n = 1;
    for (; link_state(r.link) == LINK_OPEN && n < 1000; n++)
        rig_frame(&r, 0x81, (struct str){ payload, sizeof payload });
    assert_in_range((long)n * (long)in_hand.n, LIMIT_PICO_OUTPUT_BYTES - 4096,
                    LIMIT_PICO_OUTPUT_BYTES + 8192);
    rig_told(&r, "closing uplink.output");
    assert_true(link_output(r.link).p == in_hand.p); // what has begun to leave stays whole
    link_sent(r.link);
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

// Small frames have their price too.
static void test_reads_nothing_of_pongs(void **state)
{
    (void)state;
    struct rig r;
    int n = 0;
    rig_login(&r);
    for (; link_state(r.link) == LINK_OPEN && n < 100000; n++) {
        r.now++;
        rig_frame(&r, 0x89, STR(""));
    }
    rig_told(&r, "closing uplink.output");
    assert_true(n < LIMIT_PICO_OUTPUT_BYTES / 16);
    rig_end(&r);
}

// It talks, and takes nothing for so long that it might as well be dead.
static void test_takes_nothing_for_long(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_frame(&r, 0x89, STR("1"));
    rig_frame(&r, 0x89, STR("2"));
    assert_non_null(link_output(r.link).p);
    for (int i = 0; i < 2; i++) {
        rig_later(&r, 30000 - (i == 1));
        rig_frame(&r, 0x8a, STR(""));
    }
    rig_told(&r, "");
    link_sent(r.link); // one in a minute is enough
    for (int i = 0; i < 2; i++) {
        rig_later(&r, 30000 - (i == 1));
        rig_frame(&r, 0x8a, STR(""));
    }
    rig_told(&r, "");
    assert_int_equal(link_due(r.link), r.now + 1);
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.output");
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

// The clock for that runs while there is something to take.
static void test_takes_nothing_while_there_is_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_later(&r, 20000);
    rig_hears_frame(&r, FRAME_PING, STR(""));
    r.now += 19000;
    rig_frame(&r, 0x89, STR(""));
    rig_later(&r, 41500); // a minute after the ping had left
    rig_told(&r, "");
    rig_later(&r, 18499);
    rig_told(&r, "");
    rig_frame(&r, 0x8a, STR(""));
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.output");
    rig_end(&r);
}

// --- messages

static void test_broken_messages(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (unsigned i = 1; i <= 4; i++) assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    for (unsigned i = 1; i <= 4; i++) rig_hears_call(&r, i, "flash");
    rig_answers(&r, 2, "nan");
    rig_told(&r, "2 pico.answer");
    rig_answers(&r, 1, "<object>");
    rig_told(&r, "1 pico.answer");
    rig_frame(&r, 0x8a, STR("")); // is no message
    rig_answers(&r, 3, "1");
    rig_told(&r, "3 none; = 1");
    rig_answers(&r, 4, "\"\xed\xa0\xbd\xed\xb8\x80\""); // two surrogates, as a board sends them
    rig_told(&r, "4 pico.answer");
    rig_says(&r, "{\"type\":");
    assert_int_equal(link_state(r.link), LINK_OPEN);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 5, "flash");
    rig_answers(&r, 5, "inf");
    rig_told(&r, "closing uplink.message; 5 pico.answer"); // the third in a row
    rig_hears_close(&r, 1007);
    assert_int_equal(link_counts(r.link).broken, 5);
    rig_end(&r);
}

// Nobody's, or of a call that it was not given: only the message is bad.
static void test_broken_messages_of_no_call(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    for (unsigned i = 1; i <= 5; i++) assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    for (unsigned i = 1; i <= 4; i++) rig_hears_call(&r, i, "flash");
    rig_answers(&r, 77, "nan");
    rig_answers(&r, 5, "nan"); // waits
    rig_says(&r, "{}");
    // The id is not where a board puts it, but in something that a caller may have said.
    rig_says(&r, "{\"id\":\"x\",\"response\":\"\\\"id\\\":\\\"%s\\\",\",nan}", rig_id(1));
    rig_says(&r, "{\"response\":\"{\",\"id\":\"%s\",nan}", rig_id(1));
    rig_says(&r, "{}");
    rig_frame(&r, 0x82, STR("{\"id\":\"00000000000000000000000000000001\",\"response\":1}")); // binary
    rig_told(&r, "");
    assert_int_equal(link_state(r.link), LINK_OPEN);
    assert_int_equal(link_load(r.link), 5);
    rig_end(&r);
}

// A broken answer that comes too late is late.
static void test_broken_and_late(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 1, "flash");
    rig_later(&r, 30000);
    rig_told(&r, "1 pico.timeout");
    rig_answers(&r, 1, "nan");
    rig_told(&r, "");
    assert_int_equal(link_counts(r.link).late, 1);
    assert_int_equal(link_load(r.link), 0);
    rig_end(&r);
}

// Objects stand for values that the answer does not have; the board's own calls are answered all the same.
static void test_objects(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 1, "flash");
    rig_says(&r, "{\"id\":\"E\",\"type\":\"CALL\",\"command\":\"anvil.private.echo\",\"args\":[1],"
                 "\"objects\":[{\"path\":[\"args\",0],\"type\":[\"Date\"]}]}");
    rig_hears(&r, "{\"id\":\"E\",\"response\":1}");
    rig_says(&r,
             "{\"id\":\"%s\",\"response\":null,\"objects\":[{\"path\":[\"response\"],\"type\":[\"Date\"]}]}",
             rig_id(1));
    rig_told(&r, "1 pico.answer");
    rig_end(&r);
}

static void test_noise_after_the_login(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        LOGIN,
        "{\"output\":\"hello\"}",
        "{\"type\":\"CALL\"}",
        "{\"type\":\"LAUNCH_BACKGROUND\",\"id\":\"B\"}",
        "{\"error\":\"x\"}",
        "{\"type\":\"CHUNK_HEADER\",\"requestId\":\"1\",\"lastChunk\":true}"
    };
    struct rig r;
    size_t n = sizeof texts / sizeof *texts;
    rig_login(&r);
    for (size_t i = 0; i < n; i++) rig_says(&r, "%s", texts[i]);
    rig_told(&r, ""); // a second login is none
    rig_hears_nothing(&r);
    assert_int_equal(link_counts(r.link).unknown, n);
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_end(&r);
}

// What a board says ends where it should: in a JSON string, or in the hands of who escapes it.
static void test_strings(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    r.device.any_function = true;
    rig_says(&r, LOGIN);
    rig_hears(&r, LOGIN_OK);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"\\\"],\\\"response\\\":1,\\\"x\\\":[\\\"\"}");
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"<b onclick=alert(1)>\"}");
    forget(&r);
    // The first has a ':' and is none; the second is a name like another, which whoever shows it escapes.
    assert_int_equal(link_functions(r.link).n, 1);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"a\\\",\\\"b\"}");
    rig_told(&r, "registered a\",\"b");
    assert_int_equal(rig_call(&r, "a\",\"b", SOMEONE), ERR_NONE);
    rig_hears_call(&r, 1, "a\\\",\\\"b");
    rig_says(&r,
             "{\"id\":\"%s\",\"error\":{\"type\":\"<script>\",\"message\":\"<script>alert(1)</script>\"}}",
             rig_id(1));
    rig_told(&r, "1 pico.function; <script>: <script>alert(1)</script>");
    rig_says(&r, "{\"type\":\"CALL\",\"id\":\"\\\"}<script>\",\"command\":\"<script>\"}");
    rig_hears(&r,
              "{\"id\":\"\\\"}<script>\",\"error\":{\"message\":\"Boards cannot call functions here.\"}}");
    rig_end(&r);
}

// --- memory

static char big_answer[20000];

static void play(struct rig *r, struct relay_call *calls[5])
{
    rig_says(r, "{\"key\":\"k\",\"v\":6}");
    rig_says(r, "{\"type\":\"REGISTER\",\"name\":\"flash\"}");
    for (int i = 0; i < 5; i++) rig_give(r, calls[i]);
    while (link_output(r->link).p) link_sent(r->link);
    rig_says(r, LOOKUP, rig_id(1));
    rig_says(r, "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"anvil.private.echo\",\"args\":[[1]]}");
    rig_says(r, "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"x\"}");
    rig_frame(r, 0x89, STR("ping"));
    rig_answers(r, 1, "{\"a\":[1,2]}");
    rig_frame(r, 0x81, str_c(big_answer));
    rig_says(r, "{\"id\":\"%s\",\"error\":{\"message\":\"x\"}}", rig_id(3));
    rig_answers(r, 4, "nan");
    while (link_output(r->link).p) link_sent(r->link);
    rig_later(r, 20000);
    link_drain(r->link, r->now);
    rig_answers(r, 5, "1");
    while (link_output(r->link).p) link_sent(r->link);
}

// Wherever memory ends: each call ends once, nothing is leaked, and a link that is open has told so.
static void test_allocations_fail(void **state)
{
    (void)state;
    json_set_alloc_funcs(mem_alloc, mem_free);
    int n = snprintf(big_answer, sizeof big_answer, "{\"id\":\"%s\",\"response\":\"", rig_id(2));
    memset(big_answer + n, 'x', sizeof big_answer - (size_t)n);
    memcpy(big_answer + sizeof big_answer - 3, "\"}", 3);
    long at = 1;
    for (bool more = true; more; at++) {
        struct rig r;
        struct relay_call *calls[5];
        mem_fail_at(at);
        rig_new(&r);
        r.email = STR("ann@example.org");
        if (!r.link) continue;
        bool failed = mem_failed();
        mem_fail_at(0);
        for (int i = 0; i < 5; i++) calls[i] = rig_call_new(&r, "flash", SOMEONE, "[1]");
        mem_fail_at(failed ? 0 : at - 2); // link_new takes two
        play(&r, calls);
        more = mem_failed();
        mem_fail_at(0);
        while (link_output(r.link).p) link_sent(r.link);
        assert_int_equal(link_state(r.link), LINK_CLOSED);
        rig_end(&r);
        assert_non_null(strstr(r.told, "closing "));
        assert_null(strstr(strstr(r.told, "closing ") + 1, "closing "));
    }
    assert_true(at > 60);
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_giant_frames),
        cmocka_unit_test(test_giant_message_of_fragments),
        cmocka_unit_test(test_largest_answer),
        cmocka_unit_test(test_flood_of_messages),
        cmocka_unit_test(test_busy_is_no_flood),
        cmocka_unit_test(test_answers_are_no_flood),
        cmocka_unit_test(test_flood_after_silence),
        cmocka_unit_test(test_flood_before_the_login),
        cmocka_unit_test(test_flood_of_bytes),
        cmocka_unit_test(test_flood_of_empty_fragments),
        cmocka_unit_test(test_registrations),
        cmocka_unit_test(test_reads_nothing),
        cmocka_unit_test(test_reads_nothing_of_pongs),
        cmocka_unit_test(test_takes_nothing_for_long),
        cmocka_unit_test(test_takes_nothing_while_there_is_nothing),
        cmocka_unit_test(test_broken_messages),
        cmocka_unit_test(test_broken_messages_of_no_call),
        cmocka_unit_test(test_broken_and_late),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_noise_after_the_login),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
