// SPDX-License-Identifier: GPL-3.0-or-later
// Callers: who is refused before a board hears of it, and how.
#include "relay_calls_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

// --- refused before the body is looked at

static void test_only_posts_of_our_own_pages(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {
        "Origin: https://evil.example.com\r\n",
        "Origin: https://pico.example.com.evil.org\r\n",
        "Origin: http://pico.example.com:8443\r\n",
        "Origin: https://pico.example.com\r\n", // another port
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://pico.example.com:8443\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example.com\r\n",
    };
    board_connect(&boards[0], 0, 0, "flash other");
    relay_await(0, 0, "other", true);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        char fields[256];
        snprintf(fields, sizeof fields, JSON "%s", elsewhere[i]);
        struct ask a = {
            .cookie = relay_rig.cookie, .path = "board-0/flash", .fields = fields, .body = "{}"
        };
        expect_refusal(&a, "403 ", "login.cross_site");
    }
    static const char *const methods[] = { "GET", "PUT", "DELETE", "OPTIONS", "post" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        expect_refusal(
            &(struct ask){ .cookie = relay_rig.cookie, .method = methods[i], .path = "board-0/flash" },
            "405 ", "method_not_allowed");
    static const char *const types[] = { "", "Content-Type: text/plain\r\n",
                                         "Content-Type: application/x-www-form-urlencoded\r\n",
                                         "Content-Type: application/jsonp\r\n",
                                         "Content-Type: text/plain; application/json\r\n" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect_refusal(
            &(struct ask){
                .cookie = relay_rig.cookie, .path = "board-0/flash", .fields = types[i], .body = "{}" },
            "400 ", "pico.arguments");
    expect_untouched(&boards[0], "board-0", "flash");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "other", false);
}

static void test_our_own_pages_may(void **state)
{
    (void)state;
    static const char *const fields[] = {
        JSON "Origin: https://pico.example.com:8443\r\nSec-Fetch-Site: same-origin\r\n",
        JSON "Origin: https://pico.example.com:8443\r\n",
        JSON "Origin: null\r\nSec-Fetch-Site: same-origin\r\n", // a page without a referrer
        "Content-Type: Application/JSON; charset=utf-8\r\n",
    };
    char id[64], function[64];
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct client c;
        client_open(&relay_rig.at[0], &c);
        send_ask(
            &c, &(struct ask){
                    .cookie = relay_rig.cookie, .path = "board-0/flash", .fields = fields[i], .body = "{}" });
        expect_call(&boards[0], &c, id, function);
        board_answer(&boards[0], id, "true");
        expect_answer(&c, "200 ", "{\"result\":true}");
    }
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

// Nobody learns which boards there are from how they are refused.
static void test_policy_comes_before_existence(void **state)
{
    (void)state;
    static const char *const forbidden[] = { "board-1/flash", "board-0/other", "nobody/flash", "any/other" };
    board_connect(&boards[0], 0, 0, "flash other");
    relay_await(0, 0, "other", true);
    for (size_t i = 0; i < 4; i++)
        expect_refusal(&(struct ask){ .cookie = bob.cookie, .path = forbidden[i], .body = "{}" }, "403 ",
                       "policy.denied");
    for (size_t i = 0; i < 4; i++)
        expect_refusal(&(struct ask){ .cookie = eve.cookie, .path = forbidden[i], .body = "{}" }, "403 ",
                       "policy.denied");
    expect_audit("policy.denied", "\"user\":\"eve@example.com\"");
    expect_refusal(&(struct ask){ .path = "board-0/flash", .body = "{}" }, "401 ", "policy.login");
    expect_refusal(&(struct ask){ .path = "nobody/flash", .body = "{}" }, "401 ", "policy.login");
    expect_refusal(&(struct ask){ .path = "any/flash", .body = "{}" }, "401 ", "policy.login");
    expect_refusal(&(struct ask){ .cookie = "Cookie: " SESSION_COOKIE "=AAAA\r\n",
                                  .path = "board-0/flash",
                                  .body = "{}" },
                   "401 ", "policy.login");
    struct client c;
    char id[64], function[64];
    client_open(&relay_rig.at[0], &c); // what bob may, bob can: by the board's name and by none
    for (int i = 0; i < 2; i++) {
        send_ask(&c, &(struct ask){ .cookie = bob.cookie,
                                    .path = i ? "any/flash" : "board-0/flash",
                                    .body = "{\"args\":[\"bob\"]}" });
        assert_true(board_next_call(&boards[0], id, function));
        assert_non_null(strstr(boards[0].text, "[\"bob\"]"));
        board_answer(&boards[0], id, "2");
        expect_parts(answer_of(&c), "200 ", "{\"result\":2}");
        client_forget(&c);
    }
    client_close(&c);
    edge_expect_log(relay_rig.e, "\"event\":\"pico.call\"", "\"user\":\"bob@example.com\"");
    expect_untouched(&boards[0], "board-0", "other");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "other", false);
}

// --- refused for the body, or for what the board is

static void test_arguments_that_no_board_gets(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"args\":{}}",
        "{\"kwargs\":[]}",
        "{\"x\":1}",
        "{\"args\":[nan]}",
        "{\"args\":[1e39]}",
        "{\"args\":[1],\"args\":[2]}",
        "{} {}",
    };
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = bad[i] },
                       "400 ", "pico.arguments");
    struct client c;
    client_open(&relay_rig.at[0], &c);
    send_ask(&c,
             &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{\"args\":1}" });
    expect_answer(&c, "400 ",
                  "The arguments of the call are not valid: \\u0022args\\u0022 is not an array.\"");
    static char large[128 * 1024];
    memcpy(large, "{\"args\":[\"", 10);
    memset(large + 10, 'x', 9000);
    strcpy(large + 9010, "\"]}"); // more than a board takes, less than a body may have
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = large },
                   "413 ", "pico.arguments_large");
    memset(large + 10, 'x', 100 * 1000);
    strcpy(large + 100 * 1000, "\"]}");
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = large },
                   "413 ", "pico.arguments_large");
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "board-3/flash", .body = "{}" }, "503 ",
                   "pico.offline");
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/dance", .body = "{}" }, "404 ",
                   "pico.unknown");
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "nobody/flash", .body = "{}" }, "404 ",
                   "pico.unknown");
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "any/dance", .body = "{}" }, "404 ",
                   "pico.unknown");
    expect_untouched(&boards[0], "board-0", "flash");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
    expect_refusal(&(struct ask){ .cookie = relay_rig.cookie, .path = "any/flash", .body = "{}" }, "503 ",
                   "pico.offline");
}

#define CHUNKED JSON "Transfer-Encoding: chunked\r\n"

// What is wrong with a body shows only while it arrives: the answer has the same form.
static void test_bodies_that_break_off(void **state)
{
    (void)state;
    struct client c;
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    struct ask chunked = { .cookie = relay_rig.cookie, .path = "board-0/flash", .fields = CHUNKED };
    static char chunk[64 * 1024 + 16];
    int n = snprintf(chunk, sizeof chunk, "10000\r\n");
    memset(chunk + n, ' ', 0x10000);
    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &chunked);
    client_send_n(&c, chunk, (size_t)n + 0x10000);
    expect_parts(answer_of(&c), "413 ", "{\"error\":{\"type\":\"pico.arguments_large\",");
    expect_audit("pico.arguments_large", "\"user\":\"Ann@example.com\"");
    client_close(&c);

    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &chunked);
    client_send(&c, "2\r\n{}x\r\n"); // a chunk that is longer than it says
    expect_parts(answer_of(&c), "400 ", "{\"error\":{\"type\":\"http.chunk\",");
    expect_audit("http.chunk", "\"device\":\"board-0\"");
    client_close(&c);

    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie,
                                .path = "board-0/flash",
                                .fields = JSON "Content-Length: 100\r\n" });
    client_send(&c, "{\"args\":[");
    SSL_shutdown(c.ssl); // and listens still
    expect_parts(answer_of(&c), "400 ", "{\"error\":{\"type\":\"client.gone\",");
    expect_audit("client.gone", "\"device\":\"board-0\"");
    client_close(&c);

    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie,
                                .path = "board-0/flash",
                                .fields = JSON "Content-Length: 2\r\n" });
    client_send(&c, "{"); // and no more
    expect_parts(answer_of(&c), "408 ", "{\"error\":{\"type\":\"http.timeout\",");
    expect_audit("http.timeout", "\"device\":\"board-0\"");
    client_close(&c);

    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie,
                                .path = "board-0/flash",
                                .fields = JSON "Content-Length: 2\r\n" });
    client_reset(&c);
    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &chunked);
    client_send(&c, "0\r\n\r\n"); // nothing is no arguments
    expect_parts(answer_of(&c), "400 ", "{\"error\":{\"type\":\"pico.arguments\",");
    client_close(&c);
    expect_untouched(&boards[0], "board-0", "flash");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

static void test_names_are_decoded(void **state)
{
    (void)state;
    static const char *const no[] = { "board-0/a%2Fb",   "board-0/a%00",       "board-0/%FF",
                                      "board-0/anvil.x", "board-0/",           "board-0",
                                      "board-0/flash/x", "board%2D0%20/flash", "board-0/%25C3%25A4" };
    struct client c;
    char id[64], function[64];
    board_connect(&boards[0], 0, 0, "\xC3\xA4");
    relay_await(0, 0, "\xC3\xA4", true);
    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "bo%61rd-0/%C3%A4", .body = "{}" });
    expect_call(&boards[0], &c, id, function);
    board_answer(&boards[0], id, "2");
    expect_answer(&c, "200 ", "{\"result\":2}");
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        client_open(&relay_rig.at[0], &c);
        send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = no[i], .body = "{}" });
        client_expect(&c, "\r\n\r\n");
        bool ambiguous = strstr(c.in, "HTTP/1.1 400 ") && strstr(c.in, "http.path");
        if (!ambiguous)
            client_expect(&c, "{\"error\":{\"type\":\"pico.unknown\""); // as any other call hears it
        client_close(&c);
    }
    board_hang_up(&boards[0]);
    relay_await(0, 0, "\xC3\xA4", false);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_only_posts_of_our_own_pages),   T(test_our_own_pages_may),
        T(test_policy_comes_before_existence), T(test_arguments_that_no_board_gets),
        T(test_bodies_that_break_off),         T(test_names_are_decoded),
    };
    return cmocka_run_group_tests_name("relay: callers who are refused", tests, calls_setup, relay_teardown);
}
