// SPDX-License-Identifier: GPL-3.0-or-later
// Callers: who is refused, and how; what becomes of a call whose caller leaves, and of one that has to wait.
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2_rig.h"

static struct board_peer boards[3];
static struct relay_visitor bob, eve, kim; // bob: `flash` of board-0 alone; eve: nothing; kim: all

// --- one request and its answer

struct ask {
    const char *cookie; // a field line
    const char *method, *path, *fields, *body;
};

static void send_ask(struct client *c, const struct ask *a)
{
    static char text[256 * 1024];
    const char *body = a->body ? a->body : "";
    int n = snprintf(text, sizeof text, "%s /.sallyport/pico/%s HTTP/1.1\r\nHost: pico.example.com\r\n%s%s",
                     a->method ? a->method : "POST", a->path, a->cookie ? a->cookie : "",
                     a->fields ? a->fields : "Content-Type: application/json\r\n");
    if (a->body) n += snprintf(text + n, sizeof text - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
    snprintf(text + n, sizeof text - (size_t)n, "\r\n%s", body);
    client_send(c, text);
}

// Waits for a whole answer, which stays in c->in.
static const char *answer_of(struct client *c)
{
    client_expect(c, "\r\n\r\n");
    const char *length = strstr(c->in, "Content-Length: ");
    size_t head = (size_t)(strstr(c->in, "\r\n\r\n") - c->in) + 4;
    if (!length) fail_msg("no length: %s", c->in);
    client_await_bytes(c, head + strtoul(length + 16, NULL, 10));
    return c->in;
}

static void expect_parts(const char *text, const char *status, const char *part)
{
    char line[64];
    snprintf(line, sizeof line, "HTTP/1.1 %s", status);
    if (!strstr(text, line) || !strstr(text, part)) fail_msg("not %s with %s: %s", status, part, text);
}

// The connection still serves, or has said that it does not.
static void expect_order(struct client *c)
{
    bool closes = strstr(c->in, "\r\nConnection: close\r\n") != NULL;
    client_forget(c);
    if (closes) {
        client_read_to_end(c);
        return;
    }
    send_ask(c, &(struct ask){ .cookie = relay_rig.cookie, .path = "nobody/flash", .body = "{}" });
    expect_parts(answer_of(c), "404 ", "\"type\":\"pico.unknown\"");
}

static void expect_audit(const char *reason, const char *what)
{
    char outcome[96];
    snprintf(outcome, sizeof outcome, "\"outcome\":\"%s\"", reason);
    edge_expect_log(relay_rig.e, outcome, what);
}

// A refusal in the form that pages of callers understand.
static void expect_refusal(const struct ask *a, const char *status, const char *type)
{
    struct client c;
    char part[96];
    snprintf(part, sizeof part, "{\"error\":{\"type\":\"%s\",\"message\":\"", type);
    client_open(&relay_rig.at[0], &c);
    edge_test_begin((void **)&relay_rig.e);
    send_ask(&c, a);
    expect_parts(answer_of(&c), status, part);
    assert_non_null(strstr(c.in, "\"request_id\":\""));
    assert_non_null(strstr(c.in, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(c.in, "\r\nCache-Control: no-store\r\n"));
    assert_true(!strstr(c.in, " 503 ") == !strstr(c.in, "\r\nRetry-After: "));
    expect_audit(type, "\"event\":\"pico.call\"");
    expect_order(&c);
    client_close(&c);
}

static void expect_call(struct board_peer *b, struct client *c, char id[64], char function[64])
{
    if (board_next_call(b, id, function)) return;
    client_await(c, "\r\n\r\n");
    fail_msg("no call; the caller has %s", c->in);
}

static void expect_answer(struct client *c, const char *status, const char *part)
{
    expect_parts(answer_of(c), status, part);
    client_close(c);
}

// The board has heard of no call but the one that is made now.
static void expect_untouched(struct board_peer *b, const char *device, const char *function)
{
    struct client c;
    char id[64], called[64];
    call_begin(&c, 0, device, function, "{\"args\":[\"the only one\"]}");
    assert_true(board_next_call(b, id, called));
    if (!strstr(b->text, "the only one")) fail_msg("the board was sent %s", b->text);
    board_answer(b, id, "1");
    expect_answer(&c, "200 ", "{\"result\":1}");
}

// --- refused before the body is looked at

#define JSON "Content-Type: application/json\r\n"

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
        if (!strstr(c.in, "HTTP/1.1 40")) fail_msg("%s: %s", no[i], c.in);
        client_close(&c);
    }
    board_hang_up(&boards[0]);
    relay_await(0, 0, "\xC3\xA4", false);
}

// --- what a function says

static void test_errors_of_functions(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64], text[256];
    static const struct {
        const char *said, *heard;
    } errors[] = {
        { "{\"type\":\"ValueError\",\"message\":\"no \\\"such\\\" LED\"}",
          "{\"error\":{\"type\":\"ValueError\",\"message\":\"no \\u0022such\\u0022 LED\"}" },
        { "{\"message\":\"divide by zero\"}",
          "{\"error\":{\"type\":\"pico.function\",\"message\":\"divide by zero\"}" },
        { "{}", "{\"error\":{\"type\":\"pico.function\",\"message\":\"\"}" },
        { "{\"type\": \"policy.denied\", \"message\": \"not ours\"}", // it may not pass for us
          "{\"error\":{\"type\":\"pico.function\",\"message\":\"not ours\"}" },
    };
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    client_open(&relay_rig.at[0], &c);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
        assert_true(board_next_call(&boards[0], id, function));
        snprintf(text, sizeof text, "{\"id\":\"%s\",\"error\":%s}", id, errors[i].said);
        board_send(&boards[0], text);
        expect_parts(answer_of(&c), "500 ", errors[i].heard);
        client_forget(&c);
    }
    edge_expect_log(relay_rig.e, "\"outcome\":\"pico.function\"", "\"error\":\"divide by zero\"");
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    assert_true(board_next_call(&boards[0], id, function));
    board_answer(&boards[0], id, "<generator>");
    expect_parts(answer_of(&c), "502 ", "\"type\":\"pico.answer\"");
    client_forget(&c);
    send_ask(&c, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    assert_true(board_next_call(&boards[0], id, function)); // and no answer
    expect_parts(answer_of(&c), "504 ", "\"type\":\"pico.timeout\"");
    expect_order(&c);
    client_close(&c);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

// --- callers who leave, and who wait

static void open_calls(struct client *c, size_t n, const char *cookie, const char *device, int *number)
{
    char body[64], path[64];
    snprintf(path, sizeof path, "%s/who", device);
    for (size_t i = 0; i < n; i++) {
        snprintf(body, sizeof body, "{\"args\":[\"call %d\"]}", (*number)++);
        client_open(&relay_rig.at[i % EDGE_WORKERS], &c[i]);
        send_ask(&c[i], &(struct ask){ .cookie = cookie, .path = path, .body = body });
    }
}

static unsigned load_of(struct worker *w, const char *id)
{
    const struct board *b = relay_board(w->relay, str_c(id));
    return b && b->load ? atomic_load(b->load) : 0;
}

static _Atomic unsigned loads[2];
static void look_at_loads(struct worker *w)
{
    loads[0] = load_of(w, "0000000000000001");
    loads[1] = load_of(w, "0000000000000002");
}

// Until the link of board-0 has so many calls, waiting ones included.
static void await_load(unsigned n)
{
    for (int i = 0; i < RIG_WAIT_MS / 10; i++) {
        edge_on_thread(relay_rig.e, look_at_loads);
        if (loads[0] == n) return;
        usleep(10 * 1000);
    }
    fail_msg("the board has %u calls and not %u", loads[0], n);
}

// All places of the board are taken, by two people: neither may have them alone.
static void fill_places(struct client c[LIMIT_PICO_CALLS], char ids[LIMIT_PICO_CALLS][64], int *number)
{
    char function[64];
    open_calls(c, 2, relay_rig.cookie, "board-0", number);
    open_calls(c + 2, LIMIT_PICO_CALLS - 2, kim.cookie, "board-0", number);
    for (int i = 0; i < LIMIT_PICO_CALLS; i++) assert_true(board_next_call(&boards[0], ids[i], function));
}

// Four are worked on, others wait; their callers leave, and they are never sent.
static void test_whoever_leaves_is_not_called_for(void **state)
{
    (void)state;
    struct client c[4], left[2], last;
    char ids[4][64], id[64], function[64];
    int number = 0;
    board_connect(&boards[0], 1, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    fill_places(c, ids, &number);
    open_calls(left, 2, relay_rig.cookie, "board-0", &number);
    await_load(6);
    client_reset(&left[0]);
    SSL_shutdown(left[1].ssl); // a page that is closed in order
    shutdown(left[1].fd, SHUT_WR);
    client_reset(&c[3]); // while the board works on it
    for (int i = 0; i < 100 && edge_log_lines(relay_rig.e, "client.gone") < 3; i++) continue;
    call_begin(&last, 2, "board-0", "who", "{\"args\":[\"stays\"]}");
    await_load(5); // those who left make room, those who are worked for do not
    for (int i = 0; i < 4; i++) board_answer(&boards[0], ids[i], "1");
    for (int i = 0; i < 3; i++) expect_answer(&c[i], "200 ", "{\"result\":1}");
    assert_true(board_next_call(&boards[0], id, function));
    if (!strstr(boards[0].text, "stays")) fail_msg("sent: %s", boards[0].text);
    board_answer(&boards[0], id, "2");
    expect_answer(&last, "200 ", "{\"result\":2}");
    client_close(&left[1]);
    expect_audit("pico.caller_gone", "\"caller\":\"left\"");
    expect_audit("ok", "\"caller\":\"left\"");
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.call\""), 7);
    await_load(0);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

// Whoever signs out is told at once, on a connection that goes on; the call of theirs that waited is not
// sent.
static void test_the_session_ends_while_a_call_waits(void **state)
{
    (void)state;
    struct relay_visitor zoe;
    struct client c[4], waits;
    char ids[4][64], id[64], function[64];
    int number = 0;
    relay_log_in(&zoe, "zoe", "staff");
    board_connect(&boards[0], 2, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    fill_places(c, ids, &number);
    open_calls(&waits, 1, zoe.cookie, "board-0", &number);
    await_load(5);
    relay_log_out_visitor(&zoe);
    expect_parts(answer_of(&waits), "401 ", "\"type\":\"session.unknown\"");
    expect_order(&waits);
    client_close(&waits);
    for (int i = 0; i < 4; i++) board_answer(&boards[0], ids[i], "1");
    for (int i = 0; i < 4; i++) expect_answer(&c[i], "200 ", "{\"result\":1}");
    edge_expect_log(relay_rig.e, "\"user\":\"zoe@example.com\"", "\"outcome\":\"pico.caller_gone\"");
    call_begin(&c[0], 0, "board-0", "who", "{\"args\":[\"next\"]}");
    assert_true(board_next_call(&boards[0], id, function));
    if (!strstr(boards[0].text, "next")) fail_msg("sent: %s", boards[0].text);
    board_answer(&boards[0], id, "2");
    expect_answer(&c[0], "200 ", "{\"result\":2}");
    await_load(0);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

// One user has some of the places and of the queue, all together have what there is.
static void test_nobody_takes_all_of_a_board(void **state)
{
    (void)state;
    enum { ALL = LIMIT_PICO_CALLS + LIMIT_PICO_QUEUE, MINE = LIMIT_PICO_CALLS_USER + LIMIT_PICO_QUEUE_USER };
    static struct client mine[MINE], others[ALL - MINE], c;
    struct ask my = { .cookie = relay_rig.cookie, .path = "board-0/who", .body = "{}" }, their = my;
    char id[64], function[64];
    int number = 0;
    their.cookie = kim.cookie;
    board_connect(&boards[0], 0, 0, "who");
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "who", true);
    open_calls(mine, MINE, relay_rig.cookie, "board-0", &number);
    await_load(MINE);
    expect_refusal(&my, "503 ", "pico.busy");
    open_calls(others, ALL - MINE, kim.cookie, "board-0", &number);
    await_load(ALL);
    expect_refusal(&their, "503 ", "pico.busy");
    expect_refusal(&my, "503 ", "pico.busy");
    for (int i = 0; i < ALL; i++) {
        assert_true(board_next_call(&boards[0], id, function));
        board_answer(&boards[0], id, "3");
    }
    for (int i = 0; i < MINE; i++) expect_answer(&mine[i], "200 ", "{\"result\":3}");
    for (int i = 0; i < ALL - MINE; i++) expect_answer(&others[i], "200 ", "{\"result\":3}");
    await_load(0);
    call_begin(&c, 1, "board-0", "who", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    board_answer(&boards[0], id, "4");
    expect_answer(&c, "200 ", "{\"result\":4}");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "who", false);
}

// --- audit

static void flash_of_bob(const char *path)
{
    struct client c;
    char id[64], function[64];
    client_open(&relay_rig.at[0], &c);
    send_ask(&c, &(struct ask){ .cookie = bob.cookie, .path = path, .body = "{\"args\":[\"planted\"]}" });
    expect_call(&boards[0], &c, id, function);
    board_answer(&boards[0], id, "[1,2]");
    expect_answer(&c, "200 ", "{\"result\":[1,2]}");
}

// The line of the last call says who, what, by which rule, with what outcome, how long and how much.
static void expect_line(const char *device, const char *rule, const char *decision, const char *outcome)
{
    char begin[256], end[256];
    snprintf(begin, sizeof begin,
             "\"device\":\"%s\",\"function\":\"flash\",\"route\":\"pico.example.com\",%s", device, rule);
    snprintf(end, sizeof end, "\"decision\":\"%s\",\"outcome\":\"%s\"", decision, outcome);
    edge_expect_log(relay_rig.e, begin, end);
}

static void log_arguments(struct worker *w)
{
    struct pico *p =
        (struct pico *)&config_pico_route(w->shared->config, STR("pico.example.com"))->target->pico;
    p->log_arguments = !p->log_arguments;
}

static void test_every_call_is_one_line(void **state)
{
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    for (int i = 0; i < 2;
         i++) { // whoever asks for any board is told of in the name of the one that was called
        edge_test_begin(state);
        flash_of_bob(i ? "any/flash" : "board-0/flash");
        expect_line("board-0", "\"rule\":2", "policy.allow_rule", "ok");
        edge_expect_log(relay_rig.e, "\"waited_ms\":", "\"user\":\"bob@example.com\",\"device\"");
        edge_expect_log(relay_rig.e, "\"board_ms\":", "\"bytes_in\":13,\"bytes_out\":5,\"duration_ms\":");
        assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.call\""), 1);
        assert_int_equal(edge_log_lines(relay_rig.e, "planted"), 0);
    }
    expect_refusal(&(struct ask){ .cookie = eve.cookie, .path = "board-0/flash", .body = "{}" }, "403 ",
                   "policy.denied");
    expect_line("board-0", "", "policy.no_rule", "policy.denied");
    edge_on_thread(relay_rig.e, log_arguments);
    flash_of_bob("board-0/flash");
    edge_expect_log(relay_rig.e, "\"args\":\"[\\\"planted\\\"]\"", "\"kwargs\":\"{}\"");
    edge_on_thread(relay_rig.e, log_arguments);
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

// --- any

// A board that answers each call with its own number, until it is hung up on.
static void *answer_all(void *arg)
{
    struct board_peer *b = arg;
    char id[64], function[64], number[16];
    snprintf(number, sizeof number, "%d", (int)(b - boards));
    while (board_next_call(b, id, function)) board_answer(b, id, number);
    return NULL;
}

static pthread_t start_answering(struct board_peer *b)
{
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, answer_all, b), 0);
    return t;
}

static void stop_answering(struct board_peer *b, pthread_t t)
{
    shutdown(b->fd, SHUT_RDWR);
    pthread_join(t, NULL);
    board_hang_up(b);
}

// With this one of two boards at work the other is taken, whichever comes first in the directory.
static void expect_idle_one(int busy)
{
    struct client held, c;
    struct board_peer *idle = &boards[1 - busy];
    char id[64], function[64], other[64], name[32], device[64];
    snprintf(name, sizeof name, "board-%d", busy);
    snprintf(device, sizeof device, "\"device\":\"board-%d\"", 1 - busy);
    call_begin(&held, 2, name, "who", "{}");
    assert_true(board_next_call(&boards[busy], id, function));
    for (int i = 0; i < 6; i++) {
        call_begin(&c, 2, "any", "who", "{}");
        assert_true(board_next_call(idle, other, function));
        board_answer(idle, other, "\"idle\"");
        expect_answer(&c, "200 ", "{\"result\":\"idle\"}");
    }
    expect_audit("ok", device);
    board_answer(&boards[busy], id, "\"busy\"");
    expect_answer(&held, "200 ", "{\"result\":\"busy\"}");
}

static void test_any_takes_the_least_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        board_connect(&boards[i], (size_t)i, i, "who");
        relay_await(2, i, "who", true);
    }
    for (int busy = 0; busy < 2; busy++) expect_idle_one(busy);
    for (int i = 0; i < 2; i++) {
        board_hang_up(&boards[i]);
        relay_await(0, i, "who", false);
    }
}

// Also when somebody calls another function in step, which one of them has.
static void test_any_gives_every_board_its_turn(void **state)
{
    (void)state;
    unsigned turns[2] = { 0 };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        board_connect(&boards[i], 0, i, i ? "who" : "other who");
        relay_await(0, i, "who", true);
        threads[i] = start_answering(&boards[i]);
    }
    struct client c;
    client_open(&relay_rig.at[0], &c);
    for (int i = 0; i < 80; i++) {
        struct ask a = { .cookie = relay_rig.cookie, .path = i % 2 ? "any/other" : "any/who", .body = "{}" };
        send_ask(&c, &a);
        const char *result = strstr(answer_of(&c), "{\"result\":");
        if (!result) fail_msg("%s", c.in);
        turns[result[10] - '0'] += i % 2 == 0;
        client_forget(&c);
    }
    client_close(&c);
    for (int i = 0; i < 2; i++) stop_answering(&boards[i], threads[i]);
    if (turns[0] < 4 || turns[1] < 4) fail_msg("%u and %u turns", turns[0], turns[1]);
    for (int i = 0; i < 2; i++) relay_await(0, i, "who", false);
}

// --- connections of callers

// Answers each call with its first argument.
static void *echo_all(void *arg)
{
    struct board_peer *b = arg;
    char id[64], function[64], value[64];
    while (board_next_call(b, id, function)) {
        const char *args = strstr(b->text, "\"args\":[");
        int n = args ? (int)strcspn(args + 8, "]") : 0;
        snprintf(value, sizeof value, "%.*s", n, args ? args + 8 : "");
        board_answer(b, id, value);
    }
    return NULL;
}

static void test_calls_in_a_row_on_one_connection(void **state)
{
    (void)state;
    enum { ROW = 20 };
    static char text[ROW * 1024];
    struct client c;
    pthread_t thread;
    size_t n = 0;
    board_connect(&boards[0], 2, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, echo_all, &boards[0]), 0);
    for (int i = 0; i < ROW; i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "POST /.sallyport/pico/board-0/flash HTTP/1.1\r\nHost: pico.example.com\r\n%s" JSON
            "Content-Length: 14\r\n\r\n{\"args\":[%d]}",
            relay_rig.cookie, 100 + i);
    client_open(&relay_rig.at[0], &c);
    client_send_n(&c, text, n);
    char last[32];
    snprintf(last, sizeof last, "{\"result\":%d}", 100 + ROW - 1);
    client_expect(&c, last);
    const char *at = c.in;
    for (int i = 0; i < ROW; i++) {
        snprintf(last, sizeof last, "{\"result\":%d}", 100 + i);
        at = strstr(at, last);
        if (!at) fail_msg("no %s, or not in order", last);
    }
    assert_int_equal(client_count(&c, "HTTP/1.1 200 OK"), ROW);
    client_close(&c);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

enum { LARGE = 60 * 1000 };

static void *answer_largely(void *arg)
{
    static char frame[LARGE + 256];
    struct board_peer *b = arg;
    char id[64], function[64];
    while (board_next_call(b, id, function)) {
        int n = snprintf(frame, sizeof frame, "{\"id\":\"%s\",\"response\":\"", id);
        memset(frame + n, 'z', LARGE);
        strcpy(frame + n + LARGE, "\"}");
        board_send(b, frame);
    }
    return NULL;
}

// The board's answers are bounded by what one caller reads; nobody else waits for that one.
static void test_a_slow_reader_of_large_answers(void **state)
{
    (void)state;
    enum { ANSWERS = 30 };
    struct client slow, c;
    pthread_t thread;
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, answer_largely, &boards[0]), 0);
    client_open_small(&relay_rig.at[0], &slow);
    for (int i = 0; i < ANSWERS; i++)
        send_ask(&slow, &(struct ask){ .cookie = relay_rig.cookie, .path = "board-0/flash", .body = "{}" });
    for (int i = 0; i < 3; i++) {
        call_begin(&c, 0, "board-0", "flash", "{}");
        answer_of(&c);
        assert_true(c.n > LARGE);
        client_close(&c);
    }
    for (size_t n = 0; n < (size_t)ANSWERS * LARGE; n += 100 * 1000) {
        client_await_bytes(&slow, n);
        usleep(5000);
    }
    client_await_bytes(&slow, (size_t)ANSWERS * LARGE);
    while (client_count(&slow, "\"}\n") < ANSWERS) client_await_bytes(&slow, slow.n + 1);
    assert_int_equal(client_count(&slow, "HTTP/1.1 200 OK"), ANSWERS);
    client_close(&slow);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

static bool h2_answered(struct h2_client *c)
{
    return h2_seen(c, 1)->end && h2_seen(c, 3)->end;
}

static void test_callers_over_http2(void **state)
{
    (void)state;
    static struct h2_client c;
    char cookie[256];
    pthread_t thread;
    board_connect(&boards[0], 1, 0, "flash");
    relay_await(0, 0, "flash", true);
    assert_int_equal(pthread_create(&thread, NULL, echo_all, &boards[0]), 0);
    snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(relay_rig.cookie + 8, "\r"), relay_rig.cookie + 8);
    const char *const fields[] = { ":method",
                                   "POST",
                                   ":scheme",
                                   "https",
                                   ":authority",
                                   "pico.example.com",
                                   ":path",
                                   "/.sallyport/pico/board-0/flash",
                                   "content-type",
                                   "application/json",
                                   "cookie",
                                   cookie,
                                   NULL };
    h2_open(&relay_rig.at[0], &c, 0);
    c.body = "{\"args\":[77]}";
    c.body_n = strlen(c.body);
    assert_int_equal(h2_request_raw_body(&c, fields), 1);
    h2_until_closed(&c, 1);
    assert_int_equal(h2_seen(&c, 1)->status, 200);
    assert_non_null(strstr(h2_seen(&c, 1)->body, "{\"result\":77}"));
    c.body = "{\"args\":}";
    c.body_n = strlen(c.body);
    c.body_at = 0;
    assert_int_equal(h2_request_raw_body(&c, fields), 3);
    h2_until(&c, h2_answered);
    assert_int_equal(h2_seen(&c, 3)->status, 400);
    assert_non_null(strstr(h2_seen(&c, 3)->body, "\"type\":\"pico.arguments\""));
    h2_close(&c);
    stop_answering(&boards[0], thread);
    relay_await(0, 0, "flash", false);
}

// --- policy of this test

static struct str staff[] = { STR_INIT("staff") }, guests[] = { STR_INIT("guests") },
                  board_0[] = { STR_INIT("board-0") }, flash[] = { STR_INIT("flash") };
static struct rule rules[] = {
    { .allow = true, .groups = { staff, 1 } },
    { .allow = true, .groups = { guests, 1 }, .devices = { board_0, 1 }, .functions = { flash, 1 } },
};

static void tune(struct config *c)
{
    for (size_t i = 0; i < c->npolicies; i++)
        if (str_eq_c(c->policies[i].name, "staff")) {
            c->policies[i].rules = rules;
            c->policies[i].nrules = 2;
        }
}

static int setup(void **state)
{
    edge_tune = tune;
    if (relay_setup(state) != 0) return -1;
    relay_log_in(&bob, "bob", "guests");
    relay_log_in(&eve, "eve", NULL);
    relay_log_in(&kim, "kim", "staff");
    return 0;
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_only_posts_of_our_own_pages),
        T(test_our_own_pages_may),
        T(test_policy_comes_before_existence),
        T(test_arguments_that_no_board_gets),
        T(test_bodies_that_break_off),
        T(test_names_are_decoded),
        T(test_errors_of_functions),
        T(test_whoever_leaves_is_not_called_for),
        T(test_the_session_ends_while_a_call_waits),
        T(test_nobody_takes_all_of_a_board),
        T(test_every_call_is_one_line),
        T(test_any_takes_the_least_busy),
        T(test_any_gives_every_board_its_turn),
        T(test_calls_in_a_row_on_one_connection),
        T(test_a_slow_reader_of_large_answers),
        T(test_callers_over_http2),
    };
    return cmocka_run_group_tests_name("relay: callers", tests, setup, relay_teardown);
}
