// SPDX-License-Identifier: GPL-3.0-or-later
// What boards send, their encoder's quirks included, and what is sent to them.
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "relay/message.h"
#include "tests/unit/relay/message_rig.h"

// A copy without a byte behind it, so that a sanitizer sees each byte read too many.
static struct message parse(struct str text)
{
    struct message m = { .kind = MESSAGE_OTHER };
    struct err err = { 0 };
    char *copy = malloc(text.n ? text.n : 1);
    memcpy(copy, text.p, text.n);
    if (!message_parse(arena, (struct str){ copy, text.n }, &m, &err)) fail_msg("%s", err.detail);
    free(copy);
    assert_int_equal(err.code, m.kind == MESSAGE_BROKEN ? ERR_UPLINK_MESSAGE : ERR_NONE);
    if (m.kind == MESSAGE_BROKEN) assert_true(strlen(err.detail) > 0);
    return m;
}

static struct message parse_kind(const char *text, enum message_kind kind)
{
    struct message m = parse(str_c(text));
    if (m.kind != kind) fail_msg("kind %d instead of %d: %s", m.kind, kind, text);
    return m;
}

static void test_login(void **state)
{
    (void)state;
    struct message m = parse_kind("{\"key\": \"k-1\", \"v\": 7, \"device\": \"PICO_W\"}", MESSAGE_LOGIN);
    assert_str(m.key, "k-1");
    assert_str(m.device, "PICO_W");
    assert_true(m.version_ok && !m.version_old);
    assert_str(m.id, NULL);
    m = parse_kind("{\"key\":17,\"v\":7}", MESSAGE_LOGIN);
    assert_str(m.key, NULL);
    assert_str(m.device, NULL);
    m = parse_kind("{\"key\":null}", MESSAGE_LOGIN);
    assert_str(m.key, NULL);
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *v;
        bool ok, old;
    } versions[] = {
        { "7", true, false },     { "8", true, false },
        { "5", true, true },      { "6", true, true },
        { "4", false, false },    { "\"7\"", false, false },
        { "null", false, false }, { "true", false, false },
        { "-7", false, false },   { "4.99", false, false },
        { "6.5", true, true },    { "1e300", true, false },
        { "[7]", false, false },  { "99999999999999999999", true, false },
    };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        char text[100];
        snprintf(text, sizeof text, "{\"key\":\"k\",\"v\":%s}", versions[i].v);
        struct message m = parse_kind(text, MESSAGE_LOGIN);
        if (m.version_ok != versions[i].ok || m.version_old != versions[i].old) fail_msg("%s", text);
    }
    assert_false(parse_kind("{\"key\":\"k\"}", MESSAGE_LOGIN).version_ok);
}

static void test_register(void **state)
{
    (void)state;
    assert_str(parse_kind("{\"type\": \"REGISTER\", \"name\": \"flash\"}", MESSAGE_REGISTER).name, "flash");
    assert_str(parse_kind("{\"type\":\"REGISTER\",\"name\":\"\"}", MESSAGE_REGISTER).name, "");
    assert_str(parse_kind("{\"type\":\"REGISTER\",\"name\":5}", MESSAGE_REGISTER).name, NULL);
    assert_str(parse_kind("{\"type\":\"REGISTER\"}", MESSAGE_REGISTER).name, NULL);
    // A name that ends for some readers at the NUL.
    struct message m = parse_kind("{\"type\":\"REGISTER\",\"name\":\"a\\u0000b\"}", MESSAGE_REGISTER);
    assert_int_equal(m.name.n, 3);
    assert_memory_equal(m.name.p, "a\0b", 3);
}

static void test_calls_of_boards(void **state)
{
    (void)state;
    struct message m =
        parse_kind("{\"type\": \"CALL\", \"command\": \"anvil.private.echo\", \"args\": [\"keep-alive\"],"
                   " \"kwargs\": {}, \"id\": \"pico-call-1795160105-72823\"}",
                   MESSAGE_CALL);
    assert_str(m.id, "pico-call-1795160105-72823");
    assert_str(m.command, "anvil.private.echo");
    assert_str(m.echo, "\"keep-alive\"");
    assert_str(m.call_stack_id, NULL);
    m = parse_kind("{\"id\":\"pico-call-1795160105.5-1\",\"call-stack-id\":\"C1\",\"type\":\"CALL\","
                   "\"command\":\"anvil.private.users.get_current_user_email\",\"args\":[],"
                   "\"kwargs\":{\"allow_remembered\":true}}",
                   MESSAGE_CALL);
    assert_str(m.call_stack_id, "C1");
    assert_str(m.echo, "null");
    m = parse_kind("{\"type\":\"CALL\",\"call-stack-id\":7,\"args\":{\"0\":1}}", MESSAGE_CALL);
    assert_str(m.call_stack_id, NULL);
    assert_str(m.command, NULL);
    assert_str(m.id, NULL);
    assert_str(m.echo, "null");
    m = parse_kind("{\"type\":\"CALL\",\"id\":\"i\",\"args\":[{\"a\": [1, 2.5, \"\\u00e9\\n\\\"\"]}, 3]}",
                   MESSAGE_CALL);
    assert_str(m.echo, "{\"a\":[1,2.5,\"\xc3\xa9\\n\\\"\"]}");
    // One that is not answered hangs on the board for ever.
    m = parse_kind("{\"type\":\"CALL\",\"id\":\"i\",\"command\":\"f\",\"objects\":[{\"path\":[\"args\",0]}]}",
                   MESSAGE_CALL);
    assert_str(m.id, "i");
}

static void test_results(void **state)
{
    (void)state;
    static const char *const values[][2] = {
        { "42", "42" },
        { "null", "null" },
        { "false", "false" },
        { "\"\"", "\"\"" },
        { "[1, 2, [ ] ]", "[1,2,[]]" },
        { "{ \"b\" : 1 ,\"a\": { } }", "{\"b\":1,\"a\":{}}" },
        { "\"<script>&'\"", "\"<script>&'\"" },
        { "\"\\u00e9 \\ud83d\\ude00 \\\\ \\/ \\b\"", "\"\xc3\xa9 \xf0\x9f\x98\x80 \\\\ / \\u0008\"" },
        { "\"a\\u0000b\"", "\"a\\u0000b\"" },
        { "0.1", "0.1" },
        { "1.0", "1.0" },
        { "-0.0", "-0.0" },
        { "1.677722e+07", "16777220.0" },
        { "3.4e38", "3.4e+38" },
        { "1e300", "1e+300" },
        { "123456789.123456789", "123456789.12345679" },
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        // Longer than 64 bits: what a browser makes of it.
        { "18446744073709551616", "1.8446744073709552e+19" },
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"id\": \"C1\", \"response\": %s}", values[i][0]);
        struct message m = parse_kind(text, MESSAGE_RESULT);
        assert_str(m.id, "C1");
        assert_str(m.response, values[i][1]);
    }
    // As another uplink library writes it.
    struct message m =
        parse_kind("{\"response\":1,\"id\":\"C1\",\"objects\":[],\"sessionData\":{},\"cacheUpdates\":{}}",
                   MESSAGE_RESULT);
    assert_str(m.response, "1");
}

static void test_errors(void **state)
{
    (void)state;
    struct message m =
        parse_kind("{\"id\": \"C1\", \"error\": {\"message\": \"divide by zero\"}}", MESSAGE_ERROR);
    assert_str(m.id, "C1");
    assert_str(m.error_message, "divide by zero");
    assert_str(m.error_type, NULL);
    m = parse_kind("{\"id\":\"C1\",\"error\":{\"type\":\"builtins.KeyError\",\"message\":\"'x'\",\"trace\":[["
                   "\"f\",1]]}}",
                   MESSAGE_ERROR);
    assert_str(m.error_type, "builtins.KeyError");
    assert_str(m.error_message, "'x'");
    assert_str(parse_kind("{\"id\":\"C1\",\"error\":\"text\"}", MESSAGE_ERROR).error_message, "text");
    assert_str(parse_kind("{\"id\":\"C1\",\"error\":{}}", MESSAGE_ERROR).error_message, NULL);
    assert_str(parse_kind("{\"id\":\"C1\",\"error\":{\"message\":5}}", MESSAGE_ERROR).error_message, NULL);
    assert_str(parse_kind("{\"id\":\"C1\",\"error\":null}", MESSAGE_ERROR).error_message, NULL);
}

static struct message long_error(size_t before, const char *member)
{
    char text[3 * LIMIT_PICO_ERROR_BYTES] = { 0 };
    size_t n = (size_t)snprintf(text, sizeof text, "{\"id\":\"C1\",\"error\":{\"%s\":\"", member);
    memset(text + n, 'x', before);
    strcat(text, "\xf0\x9f\x98\x80yyyy\"}}");
    return parse_kind(text, MESSAGE_ERROR);
}

static void test_long_errors(void **state)
{
    (void)state;
    assert_int_equal(long_error(LIMIT_PICO_ERROR_BYTES - 8, "message").error_message.n,
                     LIMIT_PICO_ERROR_BYTES);
    assert_int_equal(long_error(LIMIT_PICO_ERROR_BYTES - 4, "message").error_message.n,
                     LIMIT_PICO_ERROR_BYTES);
    for (size_t cut = 1; cut < 4; cut++) {
        size_t before = LIMIT_PICO_ERROR_BYTES - cut;
        assert_int_equal(long_error(before, "message").error_message.n, before);
        assert_int_equal(long_error(before, "type").error_type.n, before);
    }
    assert_int_equal(long_error(LIMIT_PICO_ERROR_BYTES, "type").error_type.n, LIMIT_PICO_ERROR_BYTES);
}

static void test_others(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "{\"type\":\"LAUNCH_BACKGROUND\",\"id\":\"x\"}",
        "{\"type\":\"CHUNK_HEADER\",\"requestId\":\"r\"}",
        "{\"type\":[\"CALL\"]}",
        "{\"type\":\"call\"}",
        "{\"type\":\"CALL\\u0000\"}",
        "{\"output\":\"hello\",\"id\":\"x\"}",
        "{\"response\":1}", // nobody's
        "{\"response\":1,\"id\":null}",
        "{\"error\":\"no id\"}",
        " \r\n{\"id\":\"C1\"}\t",
        "{\"objects\":null}",
        "{\"objects\":{}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) parse_kind(texts[i], MESSAGE_OTHER);
}

#define ID120                                                                                                \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"   \
    "01234567890123456789"

// What no JSON reader takes, and the id that its beginning gives.
static const struct {
    struct str text;
    const char *id;
} broken[] = {
    // The encoder of MicroPython prints what it cannot encode.
    { STR_INIT("{\"id\": \"C1\", \"response\": nan}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": inf}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": -inf}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": NaN}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": <object>}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": <generator object 'f' at 2000b4c0>}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": {1}}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": range(0, 3)}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": bytearray(b'hi')}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": \"\xff\xfe\"}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": \"\xed\xa0\xbd\xed\xb8\x80\"}"), "C1" }, // surrogates
    { STR_INIT("{\"id\": \"C1\", \"response\": \"\xc0\x80\"}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": \"\\ud83d\"}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": 1e400}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": 01}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": {\"a\": 1, \"a\": 2}}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": {\"a\": 1, \"\\u0061\": 2}}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": \"line\nbreak\"}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": \"nul\0\"}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"error\": {\"message\": \"\xff\"}}"), "C1" },
    // Lost bytes.
    { STR_INIT("{\"id\": \"C1\", \"respon"), "C1" },
    { STR_INIT("{\"id\": \"C1\","), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": 1}}"), "C1" },
    { STR_INIT("{\"id\": \"C1\", \"response\": 1}\0"), "C1" },
    { STR_INIT("{\"id\":\"C1\",nan"), "C1" },
    { STR_INIT(" {\t\"id\"\r\n:\"C1\" ,"), "C1" },
    { STR_INIT("{\"id\":\"" ID120 "12345678\",nan"), ID120 "12345678" },
    // No id that could be believed.
    { STR_INIT("{\"id\": \"C1"), NULL },
    { STR_INIT("{\"id\": \"C1\""), NULL },
    { STR_INIT("{\"id\": \"C1\"}}"), NULL },
    { STR_INIT("{\"id\": \"C1\" nan"), NULL },
    { STR_INIT("{\"id\": C1, \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C\\u0031\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C\\\",\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C\xc3\xa9\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C\x01\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C 1\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\": \"C\x7f\", \"response\": nan}"), NULL },
    { STR_INIT("\"id\": \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\" \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("{: \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id\":\"" ID120 "123456789\",nan"), NULL },
    // Not at the beginning: a string in the answer to one call could hold the id of another.
    { STR_INIT("{\"response\": \"{\\\"id\\\": \\\"C2\\\",\", \"id\": \"C1\", nan"), NULL },
    { STR_INIT("nan{\"id\": \"C1\", \"response\": 1}"), NULL },
    { STR_INIT("\0{\"id\": \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("[{\"id\": \"C1\", \"response\": nan}]"), NULL },
    { STR_INIT("{\"ID\": \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("{\"id2\": \"C1\", \"response\": nan}"), NULL },
    { STR_INIT("\xef\xbb\xbf{\"id\": \"C1\", \"response\": nan}"), NULL },
    { STR_INIT(""), NULL },
    { STR_INIT("{"), NULL },
    { STR_INIT("null"), NULL },
    { STR_INIT("\"id\""), NULL },
    { STR_INIT("[]"), NULL },
    { STR_INIT("[\"id\",\"C1\",1]"), NULL },
    { STR_INIT("\x88\x80\x01\x02"), NULL },
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct message m = parse(broken[i].text);
        if (m.kind != MESSAGE_BROKEN) fail_msg("kind %d: %.*s", m.kind, STR_FMT(broken[i].text));
        assert_str(m.id, broken[i].id);
        assert_str(m.response, NULL);
    }
}

// JSON, and an id, and yet nothing to believe.
static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "{\"id\":\"C1\",\"response\":1,\"error\":{\"message\":\"\"}}", "C1" },
        { "{\"id\":\"C1\",\"response\":null,\"error\":null}", "C1" },
        { "{\"id\":\"C1\",\"response\":1,\"type\":\"CALL\"}", "C1" },
        { "{\"id\":\"C1\",\"error\":{},\"type\":\"REGISTER\",\"name\":\"f\"}", "C1" },
        { "{\"id\":\"C1\",\"response\":1,\"key\":\"k\"}", "C1" },
        { "{\"key\":\"k\",\"type\":\"REGISTER\",\"name\":\"f\"}", NULL },
        { "{\"id\":\"C1\",\"response\":null,\"objects\":[{\"path\":[\"response\"],\"type\":[\"Date\"]}]}",
          "C1" },
        { "{\"id\":\"C1\",\"response\":null,\"objects\":{\"a\":1}}", "C1" },
        { "{\"id\":\"C1\",\"response\":null,\"objects\":1}", "C1" },
        { "{\"id\":\"C1\",\"response\":null,\"objects\":\"\"}", "C1" },
        { "{\"id\":\"C1\",\"error\":{\"message\":\"m\"},\"objects\":[1]}", "C1" },
        { "{\"type\":\"REGISTER\",\"name\":\"f\",\"objects\":[{\"type\":[\"LiveObject\"]}]}", NULL },
        { "{\"id\":5,\"response\":1}", NULL },
        { "{\"id\":\"\",\"response\":1}", NULL },
        { "{\"id\":[\"C1\"],\"type\":\"CALL\"}", NULL },
        { "{\"id\":\"" ID120 "123456789\",\"type\":\"CALL\"}", NULL },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct message m = parse_kind(texts[i][0], MESSAGE_BROKEN);
        assert_str(m.id, texts[i][1]);
        assert_str(m.response, NULL);
        assert_str(m.key, NULL);
    }
    assert_str(parse_kind("{\"id\":\"" ID120 "12345678\",\"type\":\"CALL\"}", MESSAGE_CALL).id,
               ID120 "12345678");
    // Two ids: neither is believed any more than the other, and the call of the first one is over.
    assert_str(parse_kind("{\"id\":\"C1\",\"id\":\"C2\",\"response\":1}", MESSAGE_BROKEN).id, "C1");
}

static struct message nested(size_t depth, bool objects)
{
    static char text[400000];
    size_t n = (size_t)sprintf(
        text, "{\"id\":\"C1\",\"x\":\"[[[[\\\"[[[[{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\",\"response\":");
    n += put_nested(text + n, depth, objects);
    text[n++] = '}';
    return parse((struct str){ text, n });
}

static void test_depth(void **state)
{
    (void)state;
    for (int objects = 0; objects < 2; objects++) {
        assert_int_equal(nested(LIMIT_PICO_DEPTH - 1, objects).kind, MESSAGE_RESULT);
        assert_int_equal(nested(LIMIT_PICO_DEPTH, objects).kind, MESSAGE_BROKEN);
        assert_str(nested(LIMIT_PICO_DEPTH, objects).id, "C1");
        assert_int_equal(nested(50000, objects).kind, MESSAGE_BROKEN);
    }
    // Side by side is not deep.
    char text[1000] = "{\"id\":\"C1\",\"response\":[";
    for (int i = 0; i < 200; i++) strcat(text, "[],");
    strcat(text, "0]}");
    assert_int_equal(parse(str_c(text)).kind, MESSAGE_RESULT);
}

// The whole 64 KiB of a message, with what grows most when it is written anew.
static void test_largest(void **state)
{
    (void)state;
    static char text[LIMIT_PICO_MESSAGE_BYTES];
    size_t n = (size_t)sprintf(text, "{\"id\":\"C1\",\"response\":\"");
    while (n < sizeof text - 4) n += (size_t)sprintf(text + n, "\\b");
    n += (size_t)sprintf(text + n, "\"}");
    struct message m = parse((struct str){ text, n });
    assert_int_equal(m.kind, MESSAGE_RESULT);
    assert_true(m.response.n > 2 * sizeof text);
}

static void test_texts(void **state)
{
    (void)state;
    assert_str(message_login_failed(arena, "Incorrect uplink key"), "{\"error\":\"Incorrect uplink key\"}");
    assert_str(
        message_call(arena, STR("C1"), STR("pico_fn"), STR("[21,\"\xf0\x9f\x98\x80\"]"), STR("{\"a\":1}")),
        "{\"type\":\"CALL\",\"id\":\"C1\",\"call-stack-id\":\"C1\",\"command\":\"pico_fn\","
        "\"args\":[21,\"\xf0\x9f\x98\x80\"],\"kwargs\":{\"a\":1}}");
    assert_str(message_call(arena, STR("C1"), STR("a\",\"output\":\"\\\xc3\xa9"), STR("[]"), STR("{}")),
               "{\"type\":\"CALL\",\"id\":\"C1\",\"call-stack-id\":\"C1\","
               "\"command\":\"a\\\",\\\"output\\\":\\\"\\\\\xc3\xa9\",\"args\":[],\"kwargs\":{}}");
    assert_str(message_response(arena, STR("p\"1"), STR("null")), "{\"id\":\"p\\\"1\",\"response\":null}");
    assert_str(message_error(arena, STR("p"), "no \"such\"\n"),
               "{\"id\":\"p\",\"error\":{\"message\":\"no \\\"such\\\"\\n\"}}");
    assert_str(message_string(arena, STR("alice@example.org")), "\"alice@example.org\"");
    assert_str(message_string(arena, STR("\"\\\n\r\t\x01\x1f/<\x7f\xc3\xa9")),
               "\"\\\"\\\\\\n\\r\\t\\u0001\\u001f/<\x7f\xc3\xa9\"");
    assert_str(message_string(arena, STR("a\0b")), "\"a\\u0000b\"");
    assert_str(message_string(arena, STR("a\xff")), "\"a\\ufffd\"");
    assert_str(message_string(arena, STR("")), "\"\"");
}

// The board tests for "OK" and asks for the id of the app; anything else in its place and it tries for ever.
static void test_login_ok(void **state)
{
    (void)state;
    struct str text = message_login_ok(arena);
    assert_true(str_starts(text, STR("{\"auth\":\"OK\",")));
    assert_true(str_search(text, STR("\"app-info\":{\"id\":")) < text.n);
    assert_int_equal(parse(text).kind, MESSAGE_OTHER);
}

static const struct str memory_texts[] = {
    STR_INIT("{\"id\":\"C1\",\"response\":{\"some longer member\":[1,2.5,\"a string that is long enough to "
             "need memory\"]}}"),
    STR_INIT("{\"id\":\"C1\",\"response\":18446744073709551616}"),
    STR_INIT("{\"id\":\"C1\",\"response\":nan}"),
    STR_INIT("{\"type\":\"CALL\",\"id\":\"C1\",\"command\":\"f\",\"args\":[\"x\"]}"),
    STR_INIT("{\"key\":\"k\",\"v\":7}"),
};

// More than fits into the first block of an arena.
static struct str long_text(char *p, size_t room)
{
    size_t n = (size_t)sprintf(p, "{\"id\":\"C1\",\"response\":\"");
    memset(p + n, 'x', room - n);
    memcpy(p + room - 2, "\"}", 2);
    return (struct str){ p, room };
}

static void check_memory(const struct message *whole, bool ok, const struct message *m, const struct err *err)
{
    if (mem_failed()) {
        assert_false(ok);
        assert_int_equal(err->code, ERR_NO_MEMORY);
        assert_int_equal(m->kind, MESSAGE_OTHER);
        return;
    }
    assert_true(ok);
    assert_int_equal(m->kind, whole->kind);
    assert_true(str_eq(m->id, whole->id) && str_eq(m->response, whole->response) &&
                str_eq(m->echo, whole->echo));
}

// A name that loses letters would be another name.
static void test_parse_out_of_memory(void **state)
{
    (void)state;
    char space[10000];
    enum { TEXTS = sizeof memory_texts / sizeof *memory_texts };
    for (size_t i = 0; i <= TEXTS; i++) {
        struct str text = i < TEXTS ? memory_texts[i] : long_text(space, sizeof space);
        struct message whole = parse(text);
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct arena *a = arena_new_small(1 << 20, 16);
            struct message m = { .kind = MESSAGE_OTHER };
            struct err err = { 0 };
            mem_fail_at(n);
            bool ok = message_parse(a, text, &m, &err);
            check_memory(&whole, ok, &m, &err);
            failed = mem_failed();
            mem_fail_at(0);
            arena_free(a);
        }
    }
}

static char not_utf8[5000];

static struct str write_one(struct arena *a, int which)
{
    switch (which) {
    case 0: return message_login_ok(a);
    case 1: return message_login_failed(a, "a text that is long enough to need memory");
    case 2: return message_call(a, STR("C1"), STR("f"), STR("[\"\\n\"]"), STR("{}"));
    case 3: return message_response(a, STR("C1"), STR("null"));
    case 4: return message_error(a, STR("C1"), "text");
    case 5: return message_string(a, STR("text\x01\n"));
    case 6: return message_string(a, STR("text\xff"));
    default: return message_error(a, STR("C1"), not_utf8);
    }
}

static void test_write_out_of_memory(void **state)
{
    (void)state;
    memset(not_utf8, 0xff, sizeof not_utf8 - 1);
    for (int which = 0; which <= 7; which++) {
        struct str whole = write_one(arena, which);
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct arena *a = arena_new_small(1 << 20, 16);
            mem_fail_at(n);
            struct str text = write_one(a, which);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(failed ? !text.p : str_eq(text, whole));
            arena_free(a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_calls_of_boards),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_long_errors),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_login_ok),
        cmocka_unit_test(test_parse_out_of_memory),
        cmocka_unit_test(test_write_out_of_memory),
    };
    return cmocka_run_group_tests(tests, arena_up, arena_down);
}
