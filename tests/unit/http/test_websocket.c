// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"

#define GET "GET /ws HTTP/1.1\r\nHost: a.example.com\r\n"
#define ASKS "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"

static struct http_request_head head;

static const struct http_request_head *parse(const char *text)
{
    size_t scanned = 0;
    struct err err;
    assert_int_equal(http_request_parse(text, strlen(text), &scanned, &head, &err), HTTP_DONE);
    return &head;
}

static void test_what_asks_for_websocket(void **state)
{
    (void)state;
    assert_true(websocket_is_asked(parse(GET ASKS "\r\n")));
    assert_true(websocket_is_asked(parse(GET "Connection: upgrade\r\nUpgrade: WebSocket\r\n\r\n")));
    static const char *const others[] = {
        GET "Upgrade: websocket\r\n\r\n",
        GET "Connection: upgrade\r\n\r\n",
        GET "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        GET "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        GET ASKS "Content-Length: 3\r\n\r\n",
        GET ASKS "Transfer-Encoding: chunked\r\n\r\n",
        "POST /ws HTTP/1.1\r\nHost: a.example.com\r\n" ASKS "\r\n",
        "GET /ws HTTP/1.0\r\nHost: a.example.com\r\n" ASKS "\r\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(websocket_is_asked(parse(others[i])));
}

static void expect_handshake(const char *fields, enum err_code code)
{
    char text[1024] = GET ASKS;
    struct err err = { 0 };
    strcat(strcat(text, fields), "\r\n");
    bool ok = websocket_handshake_check(&parse(text)->fields, &err);
    if (ok != (code == ERR_NONE)) fail_msg("%s", fields);
    assert_int_equal(err.code, code);
}

static void test_handshake(void **state)
{
    (void)state;
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
    expect_handshake(KEY VERSION, ERR_NONE);
    expect_handshake(VERSION, ERR_WEBSOCKET_HANDSHAKE);
    expect_handshake(KEY, ERR_WEBSOCKET_VERSION);
    expect_handshake(KEY KEY VERSION, ERR_WEBSOCKET_HANDSHAKE);
    expect_handshake(KEY VERSION VERSION, ERR_WEBSOCKET_VERSION);
    expect_handshake(KEY "Sec-WebSocket-Version: 8\r\n", ERR_WEBSOCKET_VERSION);
    expect_handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n" VERSION, ERR_WEBSOCKET_HANDSHAKE);
    expect_handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n" VERSION, ERR_WEBSOCKET_HANDSHAKE);
    expect_handshake("Sec-WebSocket-Key: dGhlIHNhbXB-ZSBub25jZQ==\r\n" VERSION, ERR_WEBSOCKET_HANDSHAKE);
    expect_handshake("Sec-WebSocket-Key:\r\n" VERSION, ERR_WEBSOCKET_HANDSHAKE);
}

// RFC 6455 section 1.3
static void test_accept(void **state)
{
    (void)state;
    struct arena *a = arena_new(4096);
    struct str accept = websocket_accept(a, STR("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_true(str_eq_c(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    arena_free(a);
}

static bool origin_ok(const char *origin, struct strlist allowed)
{
    struct arena *a = arena_new(64 * 1024);
    bool ok = websocket_origin_ok(a, origin ? str_c(origin) : STR_NONE, STR("app.example.com"), 8443, 443,
                                  &allowed);
    arena_free(a);
    return ok;
}

static void test_origins(void **state)
{
    (void)state;
    const struct strlist none = { NULL, 0 };
    static const char *const own[] = { "https://app.example.com", "https://app.example.com:8443" };
    assert_true(origin_ok(NULL, none)); // no browser
    assert_true(origin_ok(own[0], none) && origin_ok(own[1], none));
    static const char *const foreign[] = {
        "",
        "null",
        "http://app.example.com",
        "http://app.example.com:8443",
        "https://app.example.com:9443",
        "https://evil.example",
        "https://evil-app.example.com",
        "https://app.example.com.evil.example",
        "https://app.example.com@evil.example",
        "https://evil.example/app.example.com",
        "https://app.example.com/",
        "https://app.example.com#x",
        "https://app.example.com, https://evil.example",
        "https://app.example.com https://evil.example",
        "wss://app.example.com",
        "app.example.com",
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (origin_ok(foreign[i], none)) fail_msg("%s", foreign[i]);
}

static void test_allowed_origins(void **state)
{
    (void)state;
    struct str listed[] = { STR_INIT("https://other.example.com"), STR_INIT("http://dev.example.com:3000") };
    struct str any[] = { STR_INIT("*") };
    const struct strlist some = { listed, 2 }, all = { any, 1 };
    assert_true(origin_ok("https://other.example.com", some));
    assert_true(origin_ok("http://dev.example.com:3000", some));
    assert_true(origin_ok("https://app.example.com", some));
    assert_false(origin_ok("http://other.example.com", some));
    assert_false(origin_ok("https://other.example.com:444", some));
    assert_false(origin_ok("https://third.example.com", some));
    assert_true(origin_ok("https://third.example.com", all));
    assert_false(origin_ok("null", all));
    assert_false(origin_ok("https://third.example.com/x", all));
}

static void test_out_of_memory_is_no_permission(void **state)
{
    (void)state;
    const struct strlist none = { NULL, 0 };
    struct arena *a = arena_new(1);
    assert_false(
        websocket_origin_ok(a, STR("https://app.example.com"), STR("app.example.com"), 0, 443, &none));
    assert_null(websocket_accept(a, STR("dGhlIHNhbXBsZSBub25jZQ==")).p);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_asks_for_websocket),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_allowed_origins),
        cmocka_unit_test(test_out_of_memory_is_no_permission),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
