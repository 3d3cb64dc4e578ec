// SPDX-License-Identifier: GPL-3.0-or-later
// The beginning of a link: login, and the names that a board registers.
#include "link_rig.h"

#include <stdio.h>
#include <string.h>

#define ERROR_FRAME(text) "{\"error\":\"" text "\"}"
#define KEY_TEXT "Incorrect uplink key"
#define VERSION_TEXT                                                                                         \
    "You are using an outdated version of the uplink library. Please use 'pip install --upgrade "            \
    "anvil-uplink' to get a new one."

// --- the login

static void test_login(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    assert_int_equal(link_state(r.link), LINK_WAITING);
    assert_null(link_device(r.link));
    rig_hears_nothing(&r);
    rig_says(&r, LOGIN);
    assert_int_equal(link_state(r.link), LINK_OPEN);
    assert_ptr_equal(link_device(r.link), &r.device);
    rig_hears(&r, LOGIN_OK);
    rig_hears_nothing(&r);
    rig_told(&r, "login the key; opened");
    rig_end(&r);
    rig_told(&r, "closing uplink.closed");
}

static void refused_login(const char *text, bool no_device, const char *error, const char *told)
{
    struct rig r;
    rig_new(&r);
    r.no_device = no_device;
    rig_says(&r, "%s", text);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"flash\"}");
    rig_told(&r, told);
    assert_int_equal(link_functions(r.link).n, 0);
    assert_int_equal(link_state(r.link), LINK_CLOSING);
    assert_int_equal(rig_call(&r, "flash", SOMEONE), ERR_PICO_OFFLINE);
    rig_hears(&r, error);
    rig_hears_close(&r, 1008);
    rig_end(&r);
    rig_told(&r, "");
}

static void test_login_refused(void **state)
{
    (void)state;
    refused_login(LOGIN, true, ERROR_FRAME(KEY_TEXT), "login the key; closing uplink.key");
    // The version comes first, and a key that is refused for it is not even looked at.
    refused_login("{\"key\":\"k\",\"v\":4}", true, ERROR_FRAME(VERSION_TEXT), "closing uplink.version");
    refused_login("{\"key\":\"k\",\"v\":4.9}", false, ERROR_FRAME(VERSION_TEXT), "closing uplink.version");
    refused_login("{\"key\":\"k\"}", false, ERROR_FRAME(VERSION_TEXT), "closing uplink.version");
    refused_login("{\"key\":\"k\",\"v\":\"7\"}", false, ERROR_FRAME(VERSION_TEXT), "closing uplink.version");
    refused_login("{\"key\":null,\"v\":7}", false, ERROR_FRAME(KEY_TEXT), "closing uplink.key");
    refused_login("{\"key\":[\"the key\"],\"v\":7}", false, ERROR_FRAME(KEY_TEXT), "closing uplink.key");
    // An old version with a wrong key is told of the key.
    refused_login("{\"key\":\"k\",\"v\":5}", true, ERROR_FRAME(KEY_TEXT), "login k; closing uplink.key");
}

// Whatever is no login must not be the first message: least of all what an open link would do.
static void test_login_is_first(void **state)
{
    (void)state;
    static const char *const others[] = {
        "{\"type\":\"REGISTER\",\"name\":\"flash\"}",
        "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"anvil.private.echo\"}",
        "{\"id\":\"0\",\"response\":1}",
        "{}",
        "[]",
        "nan",
        ""
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        refused_login(others[i], false, ERROR_FRAME("The board did not log in."), "closing uplink.login");
    struct rig r;
    rig_new(&r);
    rig_frame(&r, 0x82, STR(LOGIN)); // binary
    rig_told(&r, "closing uplink.login");
    rig_end(&r);
}

static void test_login_in_time(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    assert_int_equal(link_due(r.link), r.now + 10000);
    rig_later(&r, 9999);
    assert_int_equal(link_state(r.link), LINK_WAITING);
    rig_hears_nothing(&r);
    rig_later(&r, 1);
    rig_told(&r, "closing uplink.login");
    rig_hears(&r, ERROR_FRAME("The board did not log in."));
    rig_hears_close(&r, 1008);
    rig_end(&r);

    rig_new(&r); // late, and nobody has looked at the clock meanwhile
    r.now += 10000;
    rig_says(&r, LOGIN);
    rig_told(&r, "closing uplink.login");
    rig_end(&r);
}

// A ping does not give it more time, and nothing may go out before the reply: the firmware takes the first
// frame for it.
static void test_login_reply_is_first(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    rig_later(&r, 9000);
    rig_frame(&r, 0x89, STR("hello"));
    rig_hears_nothing(&r);
    rig_says(&r, LOGIN);
    rig_frame(&r, 0x89, STR("hello"));
    rig_hears(&r, LOGIN_OK);
    rig_hears_frame(&r, FRAME_PONG, STR("hello"));
    rig_end(&r);

    rig_new(&r);
    rig_later(&r, 9000);
    rig_frame(&r, 0x89, STR(""));
    rig_later(&r, 1000);
    rig_told(&r, "closing uplink.login");
    rig_end(&r);
}

static void test_login_of_old_versions(void **state)
{
    (void)state;
    for (int v = 5; v <= 8; v++) {
        struct rig r;
        rig_new(&r);
        rig_says(&r, "{\"key\":\"k\",\"v\":%d}", v);
        rig_told(&r, "login k; opened");
        rig_hears(&r, LOGIN_OK);
        if (v < 7)
            rig_hears(&r,
                      "{\"output\":\"You are using a deprecated version of the uplink library. Please use "
                      "'pip install --upgrade anvil-uplink' to get a new one.\"}");
        rig_hears_nothing(&r);
        rig_end(&r);
    }
}

// CPython's library sends its names without waiting for the reply.
static void test_names_before_the_reply(void **state)
{
    (void)state;
    struct rig r;
    char buf[512];
    rig_new(&r);
    size_t n = rig_frame_write(buf, 0x81, STR(LOGIN));
    n += rig_frame_write(buf + n, 0x81, STR("{\"type\":\"REGISTER\",\"name\":\"flash\"}"));
    n += rig_frame_write(buf + n, 0x81, STR("{\"type\":\"REGISTER\",\"name\":\"read\"}"));
    rig_bytes(&r, (struct str){ buf, n });
    rig_told(&r, "login the key; opened; registered flash; registered read");
    rig_hears(&r, LOGIN_OK);
    rig_hears_nothing(&r);
    rig_end(&r);
}

static void test_bytes_in_any_pieces(void **state)
{
    (void)state;
    char buf[512];
    size_t n = rig_frame_write(buf, 0x81, STR(LOGIN));
    n += rig_frame_write(buf + n, 0x89, STR("x"));
    n += rig_frame_write(buf + n, 0x81, STR("{\"type\":\"REGISTER\",\"name\":\"flash\"}"));
    for (size_t piece = 1; piece <= n; piece++) {
        struct rig r;
        rig_new(&r);
        for (size_t at = 0; at < n; at += piece)
            rig_bytes(&r, (struct str){ buf + at, n - at < piece ? n - at : piece });
        rig_told(&r, "login the key; opened; registered flash");
        rig_hears(&r, LOGIN_OK);
        rig_hears_frame(&r, FRAME_PONG, STR("x"));
        rig_end(&r);
    }
}

// The owner takes a look at the key and closes: the login must not open it again.
static void test_closed_within_login(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    r.on_login = close_it;
    rig_says(&r, LOGIN);
    rig_told(&r, "login the key; closing uplink.revoked");
    rig_hears_close(&r, 1008);
    rig_end(&r);
}

// --- names

static void test_names(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"flash\"}"); // again: no second one
    rig_told(&r, "");
    assert_int_equal(link_functions(r.link).n, 2);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"reboot\"}");
    rig_told(&r, "refused reboot uplink.name");
    static const char *const others[] = {
        "\"flas\"", "\"flash2\"",       "\"Flash\"", "\"flash.*\"", "\"\"", "\"anvil.private.echo\"",
        "\"a:b\"",  "\"flash\\u0000\"", "null",      "[\"flash\"]"
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        rig_says(&r, "{\"type\":\"REGISTER\",\"name\":%s}", others[i]);
    rig_says(&r, "{\"type\":\"REGISTER\"}");
    rig_told(&r, ""); // once for each reason
    assert_int_equal(link_counts(r.link).names_refused, 12);
    assert_int_equal(link_functions(r.link).n, 2);
    assert_int_equal(link_state(r.link), LINK_OPEN);
    rig_hears_nothing(&r); // an error without an id would make the board log in again, for ever
    rig_end(&r);
}

// "*" lets a board register what it likes, but for names that mean something else.
static void test_names_of_any_function(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    r.device.any_function = true;
    rig_says(&r, LOGIN);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"reboot\"}");
    rig_told(&r, "login the key; opened; registered reboot");
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"anvil.private.echo\"}");
    rig_told(&r, "refused anvil.private.echo uplink.name");
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"a:b\"}");
    rig_told(&r, "");
    assert_int_equal(link_counts(r.link).names_refused, 2);
    rig_end(&r);
}

// What a board may register is said by its device as it is now, wherever that is.
static void test_names_of_a_device_that_moved(void **state)
{
    (void)state;
    struct rig r;
    rig_login(&r);
    static struct str names[] = { { "flash", 5 }, { "later", 5 } };
    struct device other = { .name = STR("lamp"), .functions = { names, 2 } };
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"later\"}");
    assert_false(strlist_has(link_functions(r.link), STR("later")));
    link_device_moved(r.link, &other);
    assert_ptr_equal(link_device(r.link), &other);
    memset(&r.device, 0xAA, sizeof r.device); // the one of the login is gone
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"later\"}");
    assert_true(strlist_has(link_functions(r.link), STR("later")));
    rig_told(&r, "refused later uplink.name; registered later");
    rig_end(&r);
}

static void test_names_at_most(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r);
    r.device.any_function = true;
    rig_says(&r, LOGIN);
    for (int i = 0; i < LIMIT_PICO_FUNCTIONS; i++)
        rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"f%d\"}", i);
    r.told[0] = '\0', r.ntold = 0;
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"f0\"}"); // known: not one too many
    rig_told(&r, "");
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"more\"}");
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"most\"}");
    rig_told(&r, "refused more uplink.names");
    assert_int_equal(link_functions(r.link).n, LIMIT_PICO_FUNCTIONS);
    assert_int_equal(rig_call(&r, "more", SOMEONE), ERR_PICO_UNKNOWN);
    assert_int_equal(link_counts(r.link).names_refused, 2);
    // Both reasons are told, each once.
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"anvil.x\"}");
    rig_told(&r, "refused anvil.x uplink.name");
    rig_end(&r);
}

// What is told of a name is no longer than a name can be.
static void test_long_name(void **state)
{
    (void)state;
    struct rig r;
    char told[256];
    rig_login(&r);
    rig_says(&r, "{\"type\":\"REGISTER\",\"name\":\"%01000d\"}", 7);
    snprintf(told, sizeof told, "refused %0128d uplink.name", 0);
    rig_told(&r, told);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_login_refused),
        cmocka_unit_test(test_login_is_first),
        cmocka_unit_test(test_login_in_time),
        cmocka_unit_test(test_login_reply_is_first),
        cmocka_unit_test(test_login_of_old_versions),
        cmocka_unit_test(test_names_before_the_reply),
        cmocka_unit_test(test_bytes_in_any_pieces),
        cmocka_unit_test(test_closed_within_login),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_of_any_function),
        cmocka_unit_test(test_names_at_most),
        cmocka_unit_test(test_names_of_a_device_that_moved),
        cmocka_unit_test(test_long_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
