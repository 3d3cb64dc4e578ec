// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int pipe_fds[2];

static int open_pipe(void **state)
{
    (void)state;
    if (pipe2(pipe_fds, O_NONBLOCK) != 0) return -1;
    log_init(LOG_DEBUG, "gateway");
    log_to_fd(pipe_fds[1]);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    log_to_fd(2);
    log_init(LOG_INFO, "");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

// What was written since the last call. One more byte than a line may have, so that too long a one shows.
static struct str written(void)
{
    static char buf[LOG_LINE_BYTES + 1];
    ssize_t n = read(pipe_fds[0], buf, sizeof buf);
    return (struct str){ buf, n > 0 ? (size_t)n : 0 };
}

// The one line that was written, as an object: valid JSON with nothing behind it.
static json_t *line(void)
{
    struct str s = written();
    assert_true(s.n > 2 && s.n <= LOG_LINE_BYTES);
    assert_int_equal(str_find(s, '\n'), s.n - 1);
    for (size_t i = 0; i + 1 < s.n; i++) assert_true((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7F);
    json_error_t error;
    json_t *object = json_loadb(s.p, s.n - 1, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!object) fail_msg("%s in '%.*s'", error.text, STR_FMT(s));
    assert_true(json_is_object(object));
    return object;
}

static struct str field(json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return v ? (struct str){ json_string_value(v), json_string_length(v) } : STR_NONE;
}

static void assert_field(json_t *object, const char *key, const char *want)
{
    struct str got = field(object, key);
    if (!got.p || !str_eq_c(got, want)) fail_msg("%s: got '%.*s', want '%s'", key, STR_FMT(got), want);
}

static void test_line_has_its_fields(void **state)
{
    (void)state;
    struct log_line l;
    log_begin(&l, LOG_WARN, "login");
    log_str(&l, "user", STR("ann"));
    log_str(&l, "absent", STR_NONE);
    log_str(&l, "empty", STR(""));
    log_c(&l, "host", "a.example");
    log_int(&l, "bytes", INT64_MIN);
    log_bool(&l, "yes", true);
    log_bool(&l, "no", false);
    log_end(&l);
    json_t *o = line();
    assert_field(o, "level", "warn");
    assert_field(o, "event", "login");
    assert_field(o, "process", "gateway");
    assert_field(o, "user", "ann");
    assert_field(o, "empty", "");
    assert_field(o, "host", "a.example");
    assert_null(json_object_get(o, "absent"));
    assert_true(json_integer_value(json_object_get(o, "bytes")) == INT64_MIN);
    assert_true(json_is_true(json_object_get(o, "yes")) && json_is_false(json_object_get(o, "no")));
    struct str time = field(o, "time");
    assert_int_equal(time.n, strlen("2024-01-01T00:00:00.000Z"));
    assert_true(time.p[10] == 'T' && time.p[23] == 'Z');
    json_decref(o);
}

static json_t *log_value(struct str value)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "event");
    log_str(&l, "value", value);
    log_c(&l, "after", "still here");
    log_end(&l);
    json_t *o = line();
    assert_field(o, "after", "still here");
    return o;
}

// Text that would end the string, the object or the line comes back as it went in.
static void test_nasty_text_comes_back(void **state)
{
    (void)state;
    static const struct str values[] = {
        STR_INIT("\""),
        STR_INIT("\\"),
        STR_INIT("a\",\"user\":\"admin"),
        STR_INIT("}\n{\"level\":\"info\"}"),
        STR_INIT("a\r\n\t\b\f\x01\x1f\x7f"),
        STR_INIT("\0"),
        STR_INIT("a\0b"),
        STR_INIT("\\u0041"),
        STR_INIT("\x1b[2J"),
        STR_INIT("caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x80\xa8"),
        STR_INIT("%s%n%%"),
        STR_INIT("</script>"),
        STR_INIT("\\"),
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *o = log_value(values[i]);
        assert_true(str_eq(field(o, "value"), values[i]));
        json_decref(o);
    }
}

static void test_every_byte_makes_valid_json(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = { 'a', (char)c, 'b', (char)c };
        json_t *o = log_value((struct str){ text, sizeof text });
        assert_true(field(o, "value").n >= sizeof text);
        json_decref(o);
    }
    static const struct str broken[] = { STR_INIT("\xc3"),         STR_INIT("\xc0\xaf"),
                                         STR_INIT("\xed\xa0\x80"), STR_INIT("\xff\xfe\""),
                                         STR_INIT("ok \xe2\x82"),  STR_INIT("\xf8\x88\x80\x80\x80") };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) json_decref(log_value(broken[i]));
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'a', sizeof text);
    json_t *o = log_value((struct str){ text, sizeof text });
    struct str got = field(o, "value");
    assert_int_equal(got.n, LOG_VALUE_BYTES + 3);
    assert_true(str_ends(got, STR("a...")));
    json_decref(o);
    o = log_value((struct str){ text, LOG_VALUE_BYTES });
    assert_int_equal(field(o, "value").n, LOG_VALUE_BYTES);
    json_decref(o);
}

// Cut between characters: half of one would be no UTF-8.
static void test_cut_keeps_characters_whole(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char text[LOG_VALUE_BYTES + 8];
        memset(text, 'a', sizeof text);
        memcpy(text + LOG_VALUE_BYTES - shift, "\xf0\x9f\x98\x80", 4);
        json_t *o = log_value((struct str){ text, sizeof text });
        struct str got = field(o, "value");
        assert_int_equal(got.n, LOG_VALUE_BYTES - shift + 3);
        assert_int_equal(str_find(got, '\xc3'), got.n); // not taken for broken text and escaped byte by byte
        json_decref(o);
    }
}

static void fill(struct log_line *l, char byte, int fields)
{
    static const char *const keys[] = { "a", "b", "c", "d", "e", "f", "g", "h",
                                        "i", "j", "k", "l", "m", "n", "o", "p" };
    char text[5000];
    memset(text, byte, sizeof text);
    for (int i = 0; i < fields; i++) log_str(l, keys[i], (struct str){ text, sizeof text });
}

// Values that grow sixfold when escaped, more of them than a line holds: whole fields are left out, the line
// stays valid.
static void test_line_is_bounded(void **state)
{
    (void)state;
    static const char bytes[] = { '\0', '\n', '"', '\x7f', '\xff', 'a' };
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct log_line l;
        log_begin(&l, LOG_ERROR, "event");
        fill(&l, bytes[i], 16);
        for (int64_t n = 0; n < 500; n++) log_int(&l, n ? "" : "number", n);
        log_end(&l);
        struct str s = written();
        assert_true(s.n <= LOG_LINE_BYTES && s.n > LOG_VALUE_BYTES);
        json_t *o = json_loadb(s.p, s.n, JSON_ALLOW_NUL, NULL);
        assert_non_null(o);
        assert_non_null(json_object_get(o, "a"));
        json_decref(o);
    }
}

static void test_lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    log_init(LOG_WARN, "gateway");
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    log_message(LOG_INFO, "event", "secret %d", 1);
    struct log_line l;
    log_begin(&l, LOG_DEBUG, "event");
    fill(&l, 'a', 16);
    log_end(&l);
    assert_int_equal(written().n, 0);
    log_message(LOG_WARN, "event", "said %s", "\"this\"");
    json_t *o = line();
    assert_field(o, "message", "said \"this\"");
    json_decref(o);
    log_init(LOG_DEBUG, "gateway");
}

static void test_failures_name_their_reason(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_HTTP_PATH, "byte \"%c\"", '\n');
    log_failure(LOG_INFO, "request", &err);
    json_t *o = line();
    assert_field(o, "reason", "http.path");
    assert_field(o, "detail", "byte \"\n\"");
    json_decref(o);
}

// A log that nobody reads must not stop the service.
static void test_full_log_is_survived(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) log_message(LOG_ERROR, "event", "%0400d", i);
    while (written().n) {
    }
    log_to_fd(-1);
    log_message(LOG_ERROR, "event", "nowhere");
    log_to_fd(pipe_fds[1]);
    log_message(LOG_ERROR, "event", "back");
    json_t *o = line();
    assert_field(o, "message", "back");
    json_decref(o);
}

static void test_level_names(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_true(log_level_by_name(STR("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_by_name(STR("error"), &level));
    assert_int_equal(level, LOG_ERROR);
    assert_false(log_level_by_name(STR("Error"), &level));
    assert_false(log_level_by_name(STR(""), &level));
}

static ptrdiff_t at(struct str s, const char *event)
{
    const char *p = memmem(s.p, s.n, event, strlen(event));
    assert_non_null(p);
    return p - s.p;
}

// Lines of a thread that holds them back come together, in order and whole; warnings do not wait.
static void test_held_lines(void **state)
{
    (void)state;
    log_hold(true);
    log_message(LOG_INFO, "one", "1");
    log_message(LOG_INFO, "two", "2");
    assert_int_equal(written().n, 0);
    log_flush();
    struct str s = written();
    assert_true(at(s, "one") < at(s, "two"));
    assert_true(str_ends(s, STR("\"2\"}\n")));
    log_message(LOG_INFO, "three", "3");
    log_message(LOG_WARN, "four", "4");
    s = written();
    assert_true(at(s, "three") < at(s, "four"));
    log_message(LOG_INFO, "five", "5");
    log_hold(false);
    assert_true(at(written(), "five") > 0);
    log_message(LOG_INFO, "six", "6");
    assert_true(written().n > 0);
}

// However much is held, nothing is written that a pipe could mix with the lines of others (PIPE_BUF).
static void test_held_lines_are_written_in_pieces(void **state)
{
    (void)state;
    char text[LOG_VALUE_BYTES];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_hold(true);
    for (int i = 0; i < 12; i++) log_message(LOG_INFO, "long", "%s", text);
    struct str s = written(); // what was too much: whole lines
    assert_in_range(s.n, 1, LOG_LINE_BYTES);
    assert_int_equal(s.p[s.n - 1], '\n');
    log_hold(false);
    while (written().n > 0) continue;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_has_its_fields),
        cmocka_unit_test(test_nasty_text_comes_back),
        cmocka_unit_test(test_every_byte_makes_valid_json),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_cut_keeps_characters_whole),
        cmocka_unit_test(test_line_is_bounded),
        cmocka_unit_test(test_lines_below_the_level_are_dropped),
        cmocka_unit_test(test_failures_name_their_reason),
        cmocka_unit_test(test_full_log_is_survived),
        cmocka_unit_test(test_held_lines),
        cmocka_unit_test(test_held_lines_are_written_in_pieces),
        cmocka_unit_test(test_level_names),
    };
    return cmocka_run_group_tests_name("log", tests, open_pipe, close_pipe);
}
