// SPDX-License-Identifier: GPL-3.0-or-later
// Boards without TLS: from where they may connect, and what is different for them.
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw_client.h"

#define UPGRADE                                                                                              \
    "GET /uplink HTTP/1.1\r\nHost: pico.example.com:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"     \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
#define FOR(address) "X-Forwarded-For: " address "\r\n"
#define HTTPS "X-Forwarded-Proto: https\r\n"
#define SWITCHED "HTTP/1.1 101 "

#define HERE "127.0.0.1"
#define PROXY "127.0.0.2" // a trusted one, which says for whom it speaks

static int open_from(struct edge *e, const char *address)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = from;
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    inet_pton(AF_INET, address, &from.sin_addr);
    inet_pton(AF_INET, HERE, &to.sin_addr);
    to.sin_port = htons(e->port);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static char in[64 * 1024];
static size_t have;

// What one read gives, as the firmware reads.
static const char *read_once(int fd)
{
    ssize_t got = recv(fd, in, sizeof in - 1, 0);
    have = got > 0 ? (size_t)got : 0;
    in[have] = '\0';
    for (char *nul; (nul = memchr(in, 0, have));) *nul = ' '; // of a frame's length
    return in;
}

static void send_text(int fd, const char *text)
{
    static char frame[8192];
    size_t n = strlen(text), head = n < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(0x80 | (n < 126 ? n : 126));
    if (n >= 126) {
        frame[2] = (char)(n >> 8);
        frame[3] = (char)n;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, n);
    raw_send(fd, frame, head + 4 + n);
}

static int try_upgrade(struct edge *e, const char *from, const char *fields, const char *answer)
{
    char text[1024];
    int fd = open_from(e, from);
    snprintf(text, sizeof text, UPGRADE "%s\r\n", fields);
    raw_send(fd, text, strlen(text));
    read_once(fd);
    if (!strstr(in, answer)) fail_msg("%s: %s", fields, in);
    return fd;
}

// The handshake's answer comes in one piece.
static int connect_board(struct edge *e, const char *from, const char *fields)
{
    int fd = try_upgrade(e, from, fields, SWITCHED);
    assert_string_equal(in + have - 4, "\r\n\r\n");
    send_text(fd, "{\"key\": \"key-0\", \"v\": 7, \"device\": \"PICO_W\"}");
    assert_has(read_once(fd), "\"auth\":\"OK\"");
    send_text(fd, "{\"type\": \"REGISTER\", \"name\": \"flash\"}");
    return fd;
}

static void test_from_where(void **state)
{
    struct edge *e = *state;
    close(try_upgrade(e, HERE, "", SWITCHED));
    close(try_upgrade(e, PROXY, FOR("198.51.100.7"), SWITCHED));      // a network that is named
    close(try_upgrade(e, PROXY, FOR("203.0.113.9") HTTPS, SWITCHED)); // TLS as far as the proxy
    static const char *const elsewhere[] = { FOR("203.0.113.9"), FOR("127.0.0.1, 203.0.113.9"),
                                             FOR("198.51.101.7"), FOR("2001:db8::1"), "" };
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        close(try_upgrade(e, PROXY, elsewhere[i], "HTTP/1.1 403 "));
        assert_has(in, "uplink.plain");
    }
    close(try_upgrade(e, HERE, FOR("203.0.113.9"), SWITCHED)); // nobody believes this one
}

// Only boards may do without TLS, and only where they connect.
static void test_nobody_else(void **state)
{
#define HOST " HTTP/1.1\r\nHost: pico.example.com\r\n"
#define CALL                                                                                                 \
    "POST /.sallyport/pico/board-0/flash" HOST "Content-Type: application/json\r\nContent-Length: 0\r\n"
    static const char *const requests[] = {
        "GET /.sallyport/pico/" HOST,
        CALL,
        "GET /uplinks" HOST,
        "GET /uplink HTTP/1.1\r\nHost: staff.example.com\r\n",
        "GET /uplink HTTP/1.1\r\nHost: login.example.com\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        char text[2048];
        snprintf(text, sizeof text, "%s%sConnection: close\r\n\r\n", requests[i], relay_rig.cookie);
        const char *answer = raw_ask(*state, text);
        if (!strstr(answer, "HTTP/1.1 30") || !strstr(answer, "\r\nLocation: https://"))
            fail_msg("%s: %s", requests[i], answer);
    }
}

static int begin_call(struct edge *e, size_t n)
{
    static char text[8192], body[4096] = "{\"args\":[\"";
    memset(body + 10, 'x', n);
    strcpy(body + 10 + n, "\"]}");
    snprintf(text, sizeof text,
             "POST /.sallyport/pico/board-0/flash HTTP/1.1\r\nHost: pico.example.com\r\n%s" HTTPS
             "Content-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             relay_rig.cookie, strlen(body), body);
    int fd = open_from(e, PROXY);
    raw_send(fd, text, strlen(text));
    return fd;
}

// Whatever is beyond one TCP segment is luck: frames are short, arguments with them.
static void test_frames_are_short(void **state)
{
    struct edge *e = *state;
    for (size_t i = 0; i < 2; i++) {
        int call = -1,
            board = i ? connect_board(e, PROXY, FOR("203.0.113.9") HTTPS) : connect_board(e, HERE, "");
        char text[128], ask[2200];
        for (int k = 0; k < 100; k++) { // until it is known
            call = begin_call(e, 1200);
            struct pollfd p[] = { { board, POLLIN, 0 }, { call, POLLIN, 0 } };
            if (poll(p, 2, RIG_WAIT_MS) < 1 || p[0].revents) break;
            raw_read_to_end(call);
            usleep(20 * 1000);
        }
        read_once(board);
        assert_true(have > 1200 && have <= LIMIT_PICO_PLAIN_FRAME_BYTES);
        const char *id = strstr(in, "\"id\":\"");
        assert_non_null(id);
        snprintf(text, sizeof text, "{\"id\":\"%.32s\",\"response\":1}", id + 6);
        send_text(board, text);
        assert_has(raw_read_to_end(call), "{\"result\":1}");
        const char *answer = raw_read_to_end(begin_call(e, 1390));
        assert_has(answer, "HTTP/1.1 413 ");
        assert_has(answer, "\"type\":\"pico.arguments_large\"");
        int n = snprintf(ask, sizeof ask,
                         "{\"type\":\"CALL\",\"id\":\"e1\",\"command\":\"anvil.private.echo\",\"kwargs\":{},"
                         "\"args\":[\"");
        memset(ask + n, 'e', 1500);
        strcpy(ask + n + 1500, "\"]}");
        send_text(board, ask);
        read_once(board);
        assert_has(in, "\"id\":\"e1\"");
        assert_has(in, "\"error\"");
        assert_true(have <= LIMIT_PICO_PLAIN_FRAME_BYTES);
        close(board);
        usleep(100 * 1000);
    }
}

// --- the rig

static struct ip_network lan;

static void tune(struct config *c)
{
    struct err err = { 0 };
    c->listeners[0].tls = false;
    trust(c, PROXY "/32", "10.0.0.0/8");
    assert_true(ip_network_parse(STR("198.51.100.0/24"), &lan, &err));
    for (size_t i = 0; i < c->routes.n; i++)
        if (c->routes.v[i].target->pico.served)
            ((struct route_target *)c->routes.v[i].target)->pico.plain = (struct ip_networks){ &lan, 1 };
}

static void share(struct edge *e)
{
    e->shared.relay = relay_hub_new(relay_table(0));
    relay_hub_connect(e->shared.relay, e->worker, 1);
}

static int setup(void **state)
{
    struct relay_visitor ann;
    edge_routes = "  - { host: pico.example.com, pico: {}, policy: staff }\n";
    edge_tune = tune;
    edge_share = share;
    if (edge_setup(state) != 0) return -1;
    relay_rig = (struct relay_rig){ .e = *state };
    relay_log_in(&ann, "ann", "staff");
    memcpy(relay_rig.cookie, ann.cookie, sizeof ann.cookie);
    return 0;
}

static int teardown(void **state)
{
    struct edge *e = *state;
    struct relay_hub *hub = e->shared.relay;
    int failed = edge_teardown(state);
    relay_hub_free(hub);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDGE_TEST(test_from_where),
        EDGE_TEST(test_nobody_else),
        EDGE_TEST(test_frames_are_short),
    };
    return cmocka_run_group_tests_name("relay: boards without TLS", tests, setup, teardown);
}
