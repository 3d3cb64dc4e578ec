// SPDX-License-Identifier: GPL-3.0-or-later
// The arguments of a call as a browser sends them: what a board can take, and nothing else.
#include "base/limits.h"
#include "base/mem.h"
#include "relay/message.h"
#include "tests/unit/relay/message_rig.h"

static void takes(const char *body, const char *args, const char *kwargs)
{
    struct str got_args = STR_NONE, got_kwargs = STR_NONE;
    struct err err = { 0 };
    if (!message_arguments(arena, str_c(body), 1000, &got_args, &got_kwargs, &err))
        fail_msg("%s: %s", body, err.detail);
    assert_str(got_args, args);
    assert_str(got_kwargs, kwargs);
}

static void test_arguments(void **state)
{
    (void)state;
    takes("{}", "[]", "{}");
    takes("{\"args\":[]}", "[]", "{}");
    takes("{\"kwargs\":{}}", "[]", "{}");
    takes(" {\"kwargs\" : { \"a\" : 1 } ,\n\"args\":[ 1 , [ ] ] } ", "[1,[]]", "{\"a\":1}");
    takes("{\"args\":[true,false,null,\"\"]}", "[true,false,null,\"\"]", "{}");
    // Escaped, a board takes it for two characters.
    takes("{\"args\":[\"\\ud83d\\ude00\\u00e9\\u007f\"],\"kwargs\":{\"\\u00e9\":\"\\u0001\"}}",
          "[\"\xf0\x9f\x98\x80\xc3\xa9\x7f\"]", "{\"\xc3\xa9\":\"\\u0001\"}");
    takes("{\"args\":[9223372036854775807,-9223372036854775808,0]}",
          "[9223372036854775807,-9223372036854775808,0]", "{}");
    // A float stays one, in as many digits as it has.
    takes("{\"args\":[1.0,-0.0,0.1,1e2,1.5e-7,100000.0,0.30000000000000004]}",
          "[1.0,-0.0,0.1,100.0,1.5e-07,100000.0,0.30000000000000004]", "{}");
    takes("{\"args\":[3.4e38,-3.4e38,1e-300]}", "[3.4e+38,-3.4e+38,1e-300]", "{}");
    takes("{\"args\":[\"{[\\\"\"]}", "[\"{[\\\"\"]", "{}");
    // These names mean something elsewhere in a message.
    takes("{\"kwargs\":{\"response\":1,\"error\":2,\"id\":3}}", "[]",
          "{\"response\":1,\"error\":2,\"id\":3}");
}

static const struct {
    struct str body;
    const char *words;
} bad_arguments[] = {
    { STR_INIT(""), "strict JSON" },
    { STR_INIT("null"), "strict JSON" },
    { STR_INIT("[]"), "not an object" },
    { STR_INIT("[1]"), "not an object" },
    { STR_INIT("{\"args\":[1],}"), "strict JSON" },
    { STR_INIT("{'args':[1]}"), "strict JSON" },
    { STR_INIT("{\"args\":[1]} x"), "strict JSON" },
    { STR_INIT("{\"args\":[1]}\0"), "strict JSON" },
    { STR_INIT("\xef\xbb\xbf{\"args\":[1]}"), "strict JSON" },
    { STR_INIT("{\"args\":[nan]}"), "strict JSON" },
    { STR_INIT("{\"args\":[NaN]}"), "strict JSON" },
    { STR_INIT("{\"args\":[-Infinity]}"), "strict JSON" },
    { STR_INIT("{\"args\":[01]}"), "strict JSON" },
    { STR_INIT("{\"args\":[1],\"args\":[2]}"), "strict JSON" },
    { STR_INIT("{\"args\":[1],\"\\u0061rgs\":[2]}"), "strict JSON" },
    { STR_INIT("{\"kwargs\":{\"a\":1,\"a\":2}}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\\ud83d\"]}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\\ude00\"]}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\\ud83dx\"]}"), "strict JSON" },
    { STR_INIT("{\"kwargs\":{\"\\ud83d\":1}}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\xed\xa0\xbd\"]}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\xff\"]}"), "strict JSON" },
    { STR_INIT("{\"args\":[\"\\u0000\"]}"), "strict JSON" },
    { STR_INIT("{\"kwargs\":{\"\\u0000\":1}}"), "strict JSON" },
    { STR_INIT("{\"args\":{}}"), "\"args\" is not an array" },
    { STR_INIT("{\"args\":null}"), "\"args\" is not an array" },
    { STR_INIT("{\"args\":\"[]\"}"), "\"args\" is not an array" },
    { STR_INIT("{\"kwargs\":[]}"), "\"kwargs\" is not an object" },
    { STR_INIT("{\"kwargs\":null}"), "\"kwargs\" is not an object" },
    { STR_INIT("{\"args\":[],\"kwargs\":{},\"objects\":[]}"), "a member other" },
    { STR_INIT("{\"Args\":[1]}"), "a member other" },
    { STR_INIT("{\"\":[1]}"), "a member other" },
    { STR_INIT("{\"args\":[3.41e38]}"), "infinite" },
    { STR_INIT("{\"args\":[-3.41e38]}"), "infinite" },
    { STR_INIT("{\"args\":[1,[{\"a\":[1e300]}]]}"), "infinite" },
    { STR_INIT("{\"kwargs\":{\"a\":{\"b\":1e39}}}"), "infinite" },
    { STR_INIT("{\"args\":[1e400]}"), "does not fit" },
    { STR_INIT("{\"args\":[9223372036854775808]}"), "does not fit" },
    { STR_INIT("{\"kwargs\":{\"a\":-9223372036854775809}}"), "does not fit" },
};

static void refuses(struct str body, size_t max, enum err_code code, const char *words)
{
    struct str args = STR("before"), kwargs = STR("before");
    struct err err = { 0 };
    if (message_arguments(arena, body, max, &args, &kwargs, &err)) fail_msg("taken: %.*s", STR_FMT(body));
    if (err.code != code || !strstr(err.detail, words))
        fail_msg("%.*s: %s '%s'", STR_FMT(body), err_name(err.code), err.detail);
    assert_str(args, "before");
    assert_str(kwargs, "before");
}

static void test_bad_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_arguments / sizeof *bad_arguments; i++)
        refuses(bad_arguments[i].body, 1000, ERR_PICO_ARGUMENTS, bad_arguments[i].words);
}

static void test_deep_arguments(void **state)
{
    (void)state;
    static char body[200000] = "{\"args\":";
    struct str args, kwargs;
    struct err err = { 0 };
    size_t n = 8 + put_nested(body + 8, LIMIT_PICO_DEPTH - 1, false);
    body[n++] = '}';
    assert_true(message_arguments(arena, (struct str){ body, n }, 1000, &args, &kwargs, &err));
    n = 8 + put_nested(body + 8, LIMIT_PICO_DEPTH, false);
    body[n++] = '}';
    refuses((struct str){ body, n }, 1000, ERR_PICO_ARGUMENTS, "deeper");
    n = 8 + put_nested(body + 8, 90000, false);
    refuses((struct str){ body, n }, 1000000, ERR_PICO_ARGUMENTS, "deeper");
}

// The limit is of what goes to the board, not of what the browser wrote.
static void test_large_arguments(void **state)
{
    (void)state;
    struct str body =
        STR("{ \"args\": [ \"\\u0061\\u0062\" ], \"kwargs\": { \"k\": 1 } }"); // ["ab"] and {"k":1}
    struct str args, kwargs;
    struct err err = { 0 };
    assert_true(message_arguments(arena, body, 13, &args, &kwargs, &err));
    assert_str(args, "[\"ab\"]");
    assert_str(kwargs, "{\"k\":1}");
    for (size_t max = 0; max < 13; max++) refuses(body, max, ERR_PICO_ARGUMENTS_LARGE, "more than");
    assert_true(message_arguments(arena, STR("{}"), 4, &args, &kwargs, &err));
    refuses(STR("{}"), 3, ERR_PICO_ARGUMENTS_LARGE, "more than");
}

static void test_arguments_out_of_memory(void **state)
{
    (void)state;
    struct str body =
        STR("{\"args\":[1,\"a string that is long enough to need memory\",[2.5]],\"kwargs\":{\"name\":{}}}");
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct arena *a = arena_new_small(1 << 20, 16);
        struct str args = STR_NONE, kwargs = STR_NONE;
        struct err err = { 0 };
        mem_fail_at(n);
        bool ok = message_arguments(a, body, 1000, &args, &kwargs, &err);
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(ok, !failed);
        assert_int_equal(err.code, failed ? ERR_NO_MEMORY : ERR_NONE);
        assert_str(args, ok ? "[1,\"a string that is long enough to need memory\",[2.5]]" : NULL);
        assert_str(kwargs, ok ? "{\"name\":{}}" : NULL);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_deep_arguments),
        cmocka_unit_test(test_large_arguments),
        cmocka_unit_test(test_arguments_out_of_memory),
    };
    return cmocka_run_group_tests(tests, arena_up, arena_down);
}
