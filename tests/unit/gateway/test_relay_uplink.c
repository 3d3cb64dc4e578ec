// SPDX-License-Identifier: GPL-3.0-or-later
// Boards at the edge: who may connect, how frames leave, what a hostile one does to others, how a link ends.
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
#include <time.h>
#include <unistd.h>

#include "gateway/relay/private.h"

enum { LARGE = 8000 };

static struct board_peer boards[3];

static void on_worker(size_t i, void (*call)(struct worker *w))
{
    struct edge e = { .worker = &relay_rig.e->worker[i] };
    edge_on_thread(&e, call);
}

static void await(size_t worker, void (*look)(struct worker *w), _Atomic bool *is_so, const char *what)
{
    for (int i = 0; i < RIG_WAIT_MS / 20; i++) {
        on_worker(worker, look);
        if (atomic_load(is_so)) return;
        usleep(20 * 1000);
    }
    fail_msg("not within %d ms: %s", RIG_WAIT_MS, what);
}

// --- connections that are none, and requests that are refused

static _Atomic uint64_t strays;
static void count_strays(struct worker *w)
{
    strays = w->metrics.pico_stray_closes_total;
}

// Every second attempt of the firmware after a refused login: the old connection's close frame, in three
// writes, where a request should be.
static void test_stray_closes_are_no_requests(void **state)
{
    (void)state;
    struct client c;
    on_worker(0, count_strays);
    uint64_t before = strays;
    for (int i = 0; i < 6; i++) {
        client_open(&relay_rig.at[0], &c);
        client_send_n(&c, "\x88\x80", 2);
        if (i % 2) client_try_send_n(&c, "\x01\x02\x03\x04", 4);
        client_read_to_end(&c);
        assert_int_equal(c.n, 0);
        client_close(&c);
    }
    client_open(&relay_rig.at[0], &c);
    client_send_n(&c, "\x88\x80\x01\x02\x03\x04", 6);
    client_read_to_end(&c);
    assert_int_equal(c.n, 0);
    client_close(&c);
    on_worker(0, count_strays);
    assert_int_equal(strays - before, 7);
    assert_int_equal(edge_log_lines(relay_rig.e, "\n"), 0); // no line at all
}

static void test_other_garbage_is_answered(void **state)
{
    (void)state;
    static const char *const garbage[] = { "\x88\x81\x01\x02\x03\x04\r\n\r\n",
                                           "\x89\x80\x01\x02\x03\x04\r\n\r\n",
                                           "\x88\x80\x01\x02\x03\x04\r\n\r\n" };
    struct client c;
    for (size_t i = 0; i < 3; i++) {
        client_open(&relay_rig.at[0], &c);
        client_send(&c, garbage[i]);
        client_expect(&c, "HTTP/1.1 400 ");
        client_close(&c);
    }
    client_open(&relay_rig.at[0], &c); // where a request was served, a stray close cannot be
    client_send(&c, "GET /.sallyport/pico/nothing HTTP/1.1\r\nHost: pico.example.com\r\n\r\n");
    client_expect(&c, "HTTP/1.1 404 ");
    client_await_bytes(&c, c.n);
    client_send_n(&c, "\x88\x80\x01\x02\x03\x04\r\n\r\n", 10);
    client_expect(&c, "HTTP/1.1 400 ");
    client_close(&c);
}

#define HOST "Host: pico.example.com:443\r\n"
#define UPGRADE "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define BOARD "GET /uplink HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Origin: http://localhost\r\n\r\n"

static void expect_refusal(const char *request, const char *status, const char *field)
{
    struct client c;
    client_open(&relay_rig.at[0], &c);
    client_send(&c, request);
    client_expect(&c, "\r\n\r\n");
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    if (!strstr(c.in, line) || !strstr(c.in, field)) fail_msg("not %s: %.300s: %s", status, request, c.in);
    client_close(&c);
}

static void fail_often(struct worker *w)
{
    for (int i = 0; i < LIMIT_PICO_FAILURES_ADDRESS; i++)
        throttle_failed(&w->relay->by_address, STR("127.0.0.1"), w->loop.now_ms);
}

static void forgive(struct worker *w)
{
    throttle_init(&w->relay->by_address, 1, LIMIT_PICO_FAILURES_ADDRESS, LIMIT_PICO_FAILURE_SECONDS * 1000);
}

static void drain_boards(struct worker *w)
{
    w->relay->draining = true;
}

static void drain_no_more(struct worker *w)
{
    w->relay->draining = false;
}

static void test_refused_upgrades(void **state)
{
    (void)state;
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST "\r\n", "426", "\r\nUpgrade: websocket\r\n");
    expect_refusal("GET /_/uplink HTTP/1.1\r\n" HOST "\r\n", "426", "\r\nUpgrade: websocket\r\n");
    expect_refusal("POST /uplink HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Content-Length: 0\r\n\r\n", "426",
                   "\r\nUpgrade: websocket\r\n");
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "426", "");
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Content-Length: 4\r\n\r\nabcd", "426",
                   "");
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", "426",
                   "\r\nSec-WebSocket-Version: 13\r\n");
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST UPGRADE VERSION "\r\n", "400", "websocket.handshake");
    expect_refusal("GET /uplink HTTP/1.1\r\n" HOST UPGRADE KEY KEY VERSION "\r\n", "400",
                   "websocket.handshake");
    expect_refusal("GET /uplinks HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", "404", "");
    expect_refusal("GET /_/uplink/ HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", "404", "");
    expect_refusal("GET /uplink HTTP/1.1\r\nHost: staff.example.com\r\n" UPGRADE KEY VERSION "\r\n", "401",
                   "");
    on_worker(0, fail_often);
    expect_refusal(BOARD, "429", "uplink.throttled");
    on_worker(0, forgive);
    on_worker(0, drain_boards);
    expect_refusal(BOARD, "503", "\r\nRetry-After: ");
    on_worker(0, drain_no_more);
    board_connect(&boards[0], 0, 0, "flash");
    relay_await(0, 0, "flash", true);
    relay_expect_works(&boards[0], 0, "board-0", "flash");
    board_hang_up(&boards[0]);
    edge_expect_log(relay_rig.e, "\"path\":\"/uplink\"", "\"status\":101");
    relay_await(0, 0, "flash", false);
}

// --- logins

// An upgraded connection that has said nothing.
static void open_link(struct client *c, size_t worker)
{
    client_open(&relay_rig.at[worker], c);
    client_send(c, BOARD);
    client_expect(c, "\r\n\r\n");
    assert_non_null(strstr(c->in, "HTTP/1.1 101 "));
    assert_non_null(strstr(c->in, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    client_forget(c);
}

static size_t frame_of(char *out, int opcode, const char *p, size_t n)
{
    size_t head = 2;
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | (n < 126 ? n : 126));
    if (n >= 126) {
        out[2] = (char)(n >> 8);
        out[3] = (char)n;
        head = 4;
    }
    memset(out + head, 0, 4);
    memcpy(out + head + 4, p, n);
    return head + 4 + n;
}

static void send_frame(struct client *c, int opcode, const char *text)
{
    char frame[1024];
    client_send_n(c, frame, frame_of(frame, opcode, text, strlen(text)));
}

// The firmware shows the text to people; the connection ends although the board does nothing about it.
static void test_refused_logins(void **state)
{
    (void)state;
    static const struct {
        int opcode;
        const char *says, *hears, *logged;
    } logins[] = {
        { 1, "{\"key\": \"wrong\", \"v\": 7}", "{\"error\":\"Incorrect uplink key\"}", "pico.refused" },
        { 1, "{\"key\": \"\", \"v\": 7}", "{\"error\":\"Incorrect uplink key\"}", "pico.refused" },
        { 1, "{\"key\": [], \"v\": 7}", "{\"error\":\"Incorrect uplink key\"}", "" },
        { 1, "{\"key\": \"key-0\", \"v\": 4}", "You are using an outdated version", "uplink.version" },
        { 1, "{\"type\": \"REGISTER\", \"name\": \"x\"}", "{\"error\":\"", "uplink.login" },
        { 1, "GET / HTTP/1.1", "{\"error\":\"", "uplink.login" },
        { 2, "{\"key\": \"key-0\", \"v\": 7}", "{\"error\":\"", "uplink.login" },
    };
    for (size_t i = 0; i < sizeof logins / sizeof *logins; i++) {
        struct client c;
        open_link(&c, 0);
        send_frame(&c, logins[i].opcode, logins[i].says);
        if (!client_await(&c, logins[i].hears)) fail_msg("%s: %.200s", logins[i].says, c.in);
        client_read_to_end(&c);
        assert_true(c.close_notify);
        assert_non_null(memchr(c.in, 0x88, c.n)); // with a close frame
        if (*logins[i].logged) edge_expect_log(relay_rig.e, logins[i].logged, "127.0.0.1");
        client_close(&c);
    }
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.login\""), 0);
}

static void try_key(const char *key)
{
    struct client c;
    char text[128];
    open_link(&c, 0);
    snprintf(text, sizeof text, "{\"key\": \"%s\", \"v\": 7}", key);
    send_frame(&c, 1, text);
    if (!client_await(&c, "{\"error\":\"Incorrect uplink key\"}")) fail_msg("%s: %.200s", key, c.in);
    client_close(&c);
}

// The firmware tries again for ever. It hears the same each time, the log does not; another key of the same
// address is told of all the same.
static void test_a_key_that_stays_wrong(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT_PICO_FAILURES + 5; i++) try_key("the-same-key-again");
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.refused\""), LIMIT_PICO_FAILURES);
    try_key("quite-another-key");
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.refused\""), LIMIT_PICO_FAILURES + 1);
}

// --- frames on their way out

static void connect_slowly(struct board_peer *b, size_t worker, int device, const char *functions)
{
    relay_rig_window = 4096;
    board_connect(b, worker, device, functions);
    relay_rig_window = 0;
}

static void ask_for_echo(struct board_peer *b, int number, size_t n)
{
    static char text[LARGE + 256];
    int head = snprintf(text, sizeof text,
                        "{\"type\":\"CALL\",\"id\":\"e%d\",\"command\":\"anvil.private.echo\",\"kwargs\":{},"
                        "\"args\":[\"",
                        number);
    memset(text + head, 'e', n);
    strcpy(text + head + n, "\"]}");
    board_send(b, text);
}

// One read gives one record. Its length if that is exactly one frame.
static size_t read_record(struct board_peer *b)
{
    static unsigned char record[32 * 1024];
    int got = SSL_read(b->ssl, record, sizeof record);
    if (got < 2) fail_msg("the connection ended");
    size_t n = record[1] & 0x7F, head = n == 126 ? 4 : 2;
    if (n == 126) n = (size_t)record[2] << 8 | record[3];
    if ((size_t)got != head + n) fail_msg("a record of %d bytes, a frame of %zu", got, head + n);
    return (size_t)got;
}

static void narrow(struct worker *w)
{
    int bytes = 4096;
    for (struct conn *c = w->conns; c; c = c->next)
        setsockopt(c->io.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

// However many frames wait, and however slowly the board takes them.
static void test_every_frame_is_one_record(void **state)
{
    (void)state;
    enum { FRAMES = 18 };
    connect_slowly(&boards[0], 0, 0, "flash");
    assert_int_equal(boards[0].n, 0);
    on_worker(0, narrow);
    for (int i = 0; i < FRAMES; i++) ask_for_echo(&boards[0], i, i % 3 ? LARGE : 40);
    usleep(100 * 1000); // they wait: in the kernel, half written, and whole
    for (int i = 0; i < FRAMES; i++) {
        size_t n = read_record(&boards[0]);
        if (i % 3 ? n < LARGE : n > 200) fail_msg("frame %d has %zu bytes", i, n);
        if (i % 4 == 0) usleep(2000);
    }
    relay_await(0, 0, "flash", true);
    relay_expect_works(&boards[0], 0, "board-0", "flash");
    board_hang_up(&boards[0]);
    relay_await(0, 0, "flash", false);
}

static _Atomic bool nobody_is_connected;
static void look_for_links(struct worker *w)
{
    nobody_is_connected = w->conns == NULL && w->relay->uplinks == NULL;
}

// A board that never reads: its link ends when too much waits for it, and its connection with the link.
static void test_a_board_that_never_reads(void **state)
{
    (void)state;
    await(0, look_for_links, &nobody_is_connected, "the others have gone");
    connect_slowly(&boards[0], 0, 0, "flash");
    board_connect(&boards[1], 0, 1, "other");
    relay_await(0, 1, "other", true);
    for (int i = 0; i < 120 && !boards[0].ended; i++) ask_for_echo(&boards[0], i, LARGE);
    edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", "uplink.output");
    relay_expect_works(&boards[1], 0, "board-1", "other");
    board_hang_up(&boards[1]);
    await(0, look_for_links, &nobody_is_connected, "the connection of who does not read has ended");
    board_hang_up(&boards[0]);
}

// --- hostile boards

struct attack {
    const char *bytes;
    size_t n;
    int times;
    const char *reason; // of the link's end; "": it goes on
};

static char many[64 * 1024];

// What is heard is thrown away, as long as something comes.
static void drain_socket(struct board_peer *b)
{
    struct pollfd p = { b->fd, POLLIN, 0 };
    while (!b->ended && (SSL_pending(b->ssl) || poll(&p, 1, 0) > 0)) {
        char scrap[16384];
        if (SSL_read(b->ssl, scrap, sizeof scrap) <= 0) b->ended = true;
        ERR_clear_error();
    }
}

// Each attack from a device of its own: the log has enough of one that comes again and again.
static void attack(const struct attack *a, struct board_peer *good)
{
    static int next;
    int device = 2 + next++ % (RELAY_DEVICES - 2);
    char name[16];
    snprintf(name, sizeof name, "board-%d", device);
    board_connect(&boards[0], 0, device, "flash");
    relay_await(0, device, "flash", true);
    for (int i = 0; i < a->times && !boards[0].ended; i++) {
        board_send_raw(&boards[0], a->bytes, a->n);
        drain_socket(&boards[0]);
    }
    relay_expect_works(good, 0, "board-1", "good");
    if (*a->reason) {
        edge_expect_log(relay_rig.e, "\"event\":\"pico.closed\"", a->reason);
        if (!boards[0].ended) assert_true(board_is_closed(&boards[0]));
    } else {
        relay_expect_works(&boards[0], 0, name, "flash");
    }
    relay_expect_works(good, 0, "board-1", "good");
    board_hang_up(&boards[0]);
    relay_await(0, device, "flash", false);
    edge_test_begin((void **)&relay_rig.e);
}

#define A(bytes, times, reason)                                                                              \
    {                                                                                                        \
        bytes, sizeof bytes - 1, times, reason                                                               \
    }

static void test_broken_frames_end_one_link(void **state)
{
    (void)state;
    static const struct attack attacks[] = {
        A("\x81\x02{}", 1, "uplink.frame"),                                           // not masked
        A("\xC1\x82\0\0\0\0{}", 1, "uplink.frame"),                                   // RSV1
        A("\x83\x82\0\0\0\0{}", 1, "uplink.frame"),                                   // no opcode
        A("\x80\x82\0\0\0\0{}", 1, "uplink.frame"),                                   // continues nothing
        A("\x09\x80\0\0\0\0", 1, "uplink.frame"),                                     // half a ping
        A("\x89\xFE\x00\x7E\0\0\0\0", 1, "uplink.frame"),                             // a long ping
        A("\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0", 1, "uplink.too_large"), // 2^63
        A("\x81\xFF\0\0\0\0\0\x01\0\x01\0\0\0\0", 1, "uplink.too_large"),             // 64 KiB and one
        A("\x81\xFE\0\x01\0\0\0\0x", 1, "uplink.frame"),                              // not the shortest
        A("\x81\x81\0\0\0\0x", 3, "uplink.message"),                                  // no JSON
        A("\x82\x81\0\0\0\0x", 3, "uplink.message"),                                  // binary
        A("\x88\x82\0\0\0\0\x03\xE8", 1, "uplink.closed"),                            // goodbye
        A("GET / HTTP/1.1\r\nHost: pico.example.com\r\n\r\n", 1, "uplink.frame"),
    };
    board_connect(&boards[1], 0, 1, "good");
    relay_await(0, 1, "good", true);
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) attack(&attacks[i], &boards[1]);
    board_hang_up(&boards[1]);
    relay_await(0, 1, "good", false);
}

static size_t repeat(const char *before, const char *after, int times)
{
    size_t n = 0;
    for (int i = 0; i < times; i++) {
        char numbered[256];
        snprintf(numbered, sizeof numbered, "%s%032d%s", before, i, after);
        n += frame_of(many + n, 1, numbered, strlen(numbered));
    }
    return n;
}

static void test_floods_end_one_link(void **state)
{
    (void)state;
    board_connect(&boards[1], 0, 1, "good");
    relay_await(0, 1, "good", true);
    struct attack a = { many, 0, 1, "" };
    a.n = repeat("{\"id\":\"", "\",\"response\":1}", 500); // answers to calls that were never made
    attack(&a, &boards[1]);
    a.n = repeat("{\"type\":\"REGISTER\",\"name\":\"<script>alert(", ")</script>\"}", 400);
    attack(&a, &boards[1]);
    a.n = repeat("{\"type\":\"REGISTER\",\"name\":\"anvil.private.", "\"}", 400);
    attack(&a, &boards[1]);
    a.times = 20;
    a.reason = "uplink.flood";
    attack(&a, &boards[1]);
    a.n = 0;
    while (a.n + 6 <= 6000) a.n += frame_of(many + a.n, 9, "", 0); // pings
    attack(&a, &boards[1]);
    board_hang_up(&boards[1]);
    relay_await(0, 1, "good", false);
}

// A frame may come byte by byte; others do not wait for it.
static void test_a_board_that_drips(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64], text[128], frame[256];
    board_connect(&boards[0], 0, 0, "flash");
    board_connect(&boards[1], 0, 1, "good");
    relay_await(0, 0, "flash", true);
    relay_await(0, 1, "good", true);
    call_begin(&c, 0, "board-0", "flash", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"response\":\"drip\"}", id);
    size_t n = frame_of(frame, 1, text, strlen(text));
    for (size_t i = 0; i < n; i++) {
        board_send_raw(&boards[0], frame + i, 1);
        if (i % 16 == 0) relay_expect_works(&boards[1], 0, "board-1", "good");
    }
    relay_expect_answer(&c, "200 OK", "{\"result\":\"drip\"}");
    board_hang_up(&boards[0]);
    board_hang_up(&boards[1]);
    relay_await(0, 0, "flash", false);
    relay_await(0, 1, "good", false);
}

static char busy[32 * 1024];
static size_t busy_n;

static void *be_noisy(void *arg)
{
    struct board_peer *b = arg;
    while (!b->ended) {
        board_send_raw(b, busy, busy_n);
        drain_socket(b);
        usleep(40 * 1000);
    }
    return NULL;
}

// One that sends about as much as it may: the others on its worker go on.
static void test_others_have_their_turn(void **state)
{
    (void)state;
    pthread_t noise;
    char text[1000] = "{\"x\":\"";
    memset(text + 6, 'x', sizeof text - 9);
    strcpy(text + sizeof text - 3, "\"}");
    while (busy_n + sizeof text + 16 < sizeof busy) busy_n += frame_of(busy + busy_n, 1, text, strlen(text));
    board_connect(&boards[0], 0, 0, "flash");
    board_connect(&boards[1], 0, 1, "good");
    relay_await(0, 1, "good", true);
    assert_int_equal(pthread_create(&noise, NULL, be_noisy, &boards[0]), 0);
    for (int i = 0; i < 50; i++) relay_expect_works(&boards[1], 0, "board-1", "good");
    assert_int_equal(edge_log_lines(relay_rig.e, "\"event\":\"pico.closed\""), 0); // it is noisy still
    shutdown(boards[0].fd, SHUT_RDWR);
    pthread_join(noise, NULL);
    board_hang_up(&boards[0]);
    board_hang_up(&boards[1]);
    relay_await(0, 0, "flash", false);
    relay_await(0, 1, "good", false);
}

static void tune(struct config *c)
{
    c->timeout_idle = 60; // longer than these tests: what ends sooner ends for another reason
}

static int setup(void **state)
{
    edge_tune = tune;
    return relay_setup(state);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_stray_closes_are_no_requests),
        T(test_other_garbage_is_answered),
        T(test_refused_upgrades),
        T(test_refused_logins),
        T(test_a_key_that_stays_wrong),
        T(test_every_frame_is_one_record),
        T(test_a_board_that_never_reads),
        T(test_broken_frames_end_one_link),
        T(test_floods_end_one_link),
        T(test_a_board_that_drips),
        T(test_others_have_their_turn),
    };
    return cmocka_run_group_tests_name("relay: boards at the edge", tests, setup, relay_teardown);
}
