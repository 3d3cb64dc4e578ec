// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay_calls_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct board_peer boards[3];
struct relay_visitor bob, eve, kim;

// --- one request and its answer

void send_ask(struct client *c, const struct ask *a)
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

const char *answer_of(struct client *c)
{
    client_expect(c, "\r\n\r\n");
    const char *length = strstr(c->in, "Content-Length: ");
    size_t head = (size_t)(strstr(c->in, "\r\n\r\n") - c->in) + 4;
    if (!length) fail_msg("no length: %s", c->in);
    client_await_bytes(c, head + strtoul(length + 16, NULL, 10));
    return c->in;
}

void expect_parts(const char *text, const char *status, const char *part)
{
    char line[64];
    snprintf(line, sizeof line, "HTTP/1.1 %s", status);
    if (!strstr(text, line) || !strstr(text, part)) fail_msg("not %s with %s: %s", status, part, text);
}

void expect_order(struct client *c)
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

void expect_audit(const char *reason, const char *what)
{
    char outcome[96];
    snprintf(outcome, sizeof outcome, "\"outcome\":\"%s\"", reason);
    edge_expect_log(relay_rig.e, outcome, what);
}

void expect_refusal(const struct ask *a, const char *status, const char *type)
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

void expect_call(struct board_peer *b, struct client *c, char id[64], char function[64])
{
    if (board_next_call(b, id, function)) return;
    client_await(c, "\r\n\r\n");
    fail_msg("no call; the caller has %s", c->in);
}

void expect_answer(struct client *c, const char *status, const char *part)
{
    expect_parts(answer_of(c), status, part);
    client_close(c);
}

void expect_untouched(struct board_peer *b, const char *device, const char *function)
{
    struct client c;
    char id[64], called[64];
    call_begin(&c, 0, device, function, "{\"args\":[\"the only one\"]}");
    assert_true(board_next_call(b, id, called));
    if (!strstr(b->text, "the only one")) fail_msg("the board was sent %s", b->text);
    board_answer(b, id, "1");
    expect_answer(&c, "200 ", "{\"result\":1}");
}

// --- boards that answer by themselves

// A board that answers each call with its own number, until it is hung up on.
static void *answer_all(void *arg)
{
    struct board_peer *b = arg;
    char id[64], function[64], number[16];
    snprintf(number, sizeof number, "%d", (int)(b - boards));
    while (board_next_call(b, id, function)) board_answer(b, id, number);
    return NULL;
}

pthread_t start_answering(struct board_peer *b)
{
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, answer_all, b), 0);
    return t;
}

void stop_answering(struct board_peer *b, pthread_t t)
{
    shutdown(b->fd, SHUT_RDWR);
    pthread_join(t, NULL);
    board_hang_up(b);
}

// --- policy

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

int calls_setup(void **state)
{
    edge_tune = tune;
    if (relay_setup(state) != 0) return -1;
    relay_log_in(&bob, "bob", "guests");
    relay_log_in(&eve, "eve", NULL);
    relay_log_in(&kim, "kim", "staff");
    return 0;
}
