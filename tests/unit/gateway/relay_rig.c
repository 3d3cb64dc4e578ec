// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http/cookie.h"

struct relay_rig relay_rig;
static SSL_CTX *board_tls; // made before there are threads

static const char routes[] =
    "  - { host: pico.example.com, pico: { call_timeout: 2s, timeouts: { who: 20s } }, policy: staff }\n";

// --- devices

struct device_table *relay_table(unsigned without)
{
    static char ids[RELAY_DEVICES][17], names[RELAY_DEVICES][16];
    struct device v[RELAY_DEVICES];
    size_t n = 0;
    struct arena *a = arena_new(1 << 20);
    struct device_table *table = NULL;
    struct err err = { 0 };
    for (int i = 0; i < RELAY_DEVICES; i++) {
        char key[16];
        if (without & (1u << i)) continue;
        snprintf(ids[i], sizeof ids[i], "%016x", i + 1);
        snprintf(names[i], sizeof names[i], "board-%d", i);
        snprintf(key, sizeof key, "key-%d", i);
        v[n] = (struct device){
            .id = str_c(ids[i]), .name = str_c(names[i]), .created = 1, .any_function = true, .nkeys = 1
        };
        v[n].keys[0].created = 1;
        assert_true(crypto_sha256(str_c(key), v[n].keys[0].hash));
        n++;
    }
    struct str text = device_table_text(a, v, n);
    if (!text.p || !device_table_parse(text, &table, &err)) fail_msg("%s", err.detail);
    arena_free(a);
    return table;
}

// --- workers

static int listen_on(uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 256) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void share(struct edge *e)
{
    e->shared.relay = relay_hub_new(relay_table(0));
    relay_hub_connect(e->shared.relay, e->worker, EDGE_WORKERS);
}

static void start_workers(struct relay_rig *r)
{
    struct err err = { 0 };
    for (size_t i = 0; i < EDGE_WORKERS; i++) {
        r->at[i] = *r->e;
        r->running[i] = true;
        if (i == 0) continue;
        r->shared[i] = r->e->shared;
        r->listen_fds[i] = listen_on(&r->at[i].port);
        r->shared[i].listen_fds = &r->listen_fds[i];
        if (!worker_init(&r->e->worker[i], &r->shared[i], (unsigned)i, &err)) fail_msg("%s", err.detail);
    }
    for (size_t i = 1; i < EDGE_WORKERS; i++) assert_true(worker_start(&r->e->worker[i]));
}

static sem_t committed;

static void stored(struct store_op *op)
{
    assert_int_equal(op->err.code, ERR_NONE);
    arena_free(op->arena);
    sem_post(&committed);
}

static void submit(struct store_op *op)
{
    sem_init(&committed, 0, 0);
    op->arena = arena_new(64 * 1024);
    op->done = stored;
    store_submit(relay_rig.e->shared.store, op);
    sem_wait(&committed);
}

void relay_log_in(struct relay_visitor *v, const char *subject, const char *group)
{
    static struct store_op op;
    static uint8_t last = 6;
    struct str groups[] = { str_c(group ? group : "") };
    char email[64];
    time_t now = time(NULL);
    snprintf(email, sizeof email, "%s@example.com", subject);
    struct session s = { .identity = { .provider = STR("corp"),
                                       .subject = str_c(subject),
                                       .email = str_c(email),
                                       .email_verified = true,
                                       .groups = { groups, group ? 1 : 0 },
                                       .groups_known = true },
                         .created = now,
                         .last_seen = now,
                         .expires = now + 3600 };
    memset(s.id, ++last, sizeof s.id);
    memcpy(v->id, s.id, sizeof s.id);
    op = (struct store_op){ .kind = STORE_SESSION_CREATE, .session = s, .now = now };
    submit(&op);
    struct arena *a = arena_new(4096);
    struct str value = session_cookie_make(a, &relay_rig.e->shared.keys, STR("pico.example.com"), s.id, now);
    snprintf(v->cookie, sizeof v->cookie, "Cookie: " SESSION_COOKIE "=%.*s\r\n", STR_FMT(value));
    arena_free(a);
}

void relay_log_out_visitor(const struct relay_visitor *v)
{
    static struct store_op op;
    op = (struct store_op){ .kind = STORE_SESSION_DELETE };
    memcpy(op.id, v->id, sizeof op.id);
    submit(&op);
}

static void log_in(struct relay_rig *r)
{
    struct relay_visitor ann;
    relay_log_in(&ann, "Ann", "staff");
    memcpy(r->session, ann.id, sizeof ann.id);
    memcpy(r->cookie, ann.cookie, sizeof ann.cookie);
}

void relay_log_out(void)
{
    struct relay_visitor ann;
    memcpy(ann.id, relay_rig.session, sizeof ann.id);
    relay_log_out_visitor(&ann);
}

static struct nap {
    struct mail mail;
    int ms;
} naps[EDGE_WORKERS];

static void sleep_now(struct mail *m)
{
    usleep((useconds_t)container_of(m, struct nap, mail)->ms * 1000);
}

void relay_nap(size_t worker, int ms)
{
    naps[worker] = (struct nap){ { NULL, sleep_now }, ms };
    mailbox_post(&relay_rig.e->worker[worker].loop.mailbox, &naps[worker].mail);
}

int relay_setup(void **state)
{
    edge_routes = routes;
    edge_share = share;
    if (edge_setup(state) != 0) return -1;
    relay_rig = (struct relay_rig){ .e = *state };
    board_tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(board_tls, TLS1_2_VERSION);
    start_workers(&relay_rig);
    log_in(&relay_rig);
    struct client c;
    client_open(relay_rig.e, &c); // makes what the clients share, before there are threads
    client_close(&c);
    return 0;
}

void relay_stop(void)
{
    struct relay_rig *r = &relay_rig;
    for (size_t i = 0; i < EDGE_WORKERS; i++) {
        if (!r->running[i]) continue;
        worker_stop(&r->e->worker[i]);
        pthread_join(r->e->worker[i].thread, NULL);
        r->running[i] = false;
    }
    r->e->running = false;
}

int relay_teardown(void **state)
{
    struct relay_rig *r = &relay_rig;
    struct worker *w = r->e->worker;
    struct relay_hub *hub = r->e->shared.relay;
    relay_stop();
    for (size_t i = 0; i < EDGE_WORKERS; i++) worker_close(&w[i]);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < EDGE_WORKERS; i++) worker_settle(&w[i]);
    for (size_t i = 1; i < EDGE_WORKERS; i++) {
        worker_done(&w[i]);
        close(r->listen_fds[i]);
    }
    int failed = edge_teardown(state);
    SSL_CTX_free(board_tls);
    relay_hub_free(hub);
    return failed;
}

// --- boards

int relay_rig_window;

static void connect_tls(struct board_peer *b, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(b->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(b->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    if (relay_rig_window)
        setsockopt(b->fd, SOL_SOCKET, SO_RCVBUF, &relay_rig_window, sizeof relay_rig_window);
    assert_int_equal(connect(b->fd, (struct sockaddr *)&a, sizeof a), 0);
    b->ssl = SSL_new(board_tls);
    SSL_set_fd(b->ssl, b->fd);
    SSL_set_tlsext_host_name(b->ssl, "pico.example.com");
    assert_int_equal(SSL_connect(b->ssl), 1);
}

static bool read_more(struct board_peer *b)
{
    int got = b->ended ? 0 : SSL_read(b->ssl, b->in + b->n, (int)(sizeof b->in - b->n));
    if (got <= 0) {
        ERR_clear_error();
        b->ended = true;
        return false;
    }
    b->n += (size_t)got;
    return true;
}

static void drop(struct board_peer *b, size_t n)
{
    memmove(b->in, b->in + n, b->n - n);
    b->n -= n;
}

void board_send_raw(struct board_peer *b, const void *p, size_t n)
{
    if (!b->ended && SSL_write(b->ssl, p, (int)n) != (int)n) b->ended = true;
    ERR_clear_error();
}

static void send_frame(struct board_peer *b, int opcode, const char *p, size_t n)
{
    char frame[FRAME_ROOM] = { (char)(0x80 | opcode) };
    size_t head = 2;
    frame[1] = (char)(0x80 | (n < 126 ? n : 126));
    if (n >= 126) {
        frame[2] = (char)(n >> 8);
        frame[3] = (char)n;
        head = 4;
    }
    head += 4; // the mask: zeros
    memcpy(frame + head, p, n);
    board_send_raw(b, frame, head + n);
}

void board_send(struct board_peer *b, const char *text)
{
    send_frame(b, 1, text, strlen(text));
}

// A whole frame at the front of `in`; its payload goes to `text`. The opcode, -1: none.
static int take_frame(struct board_peer *b)
{
    while (b->n < 2)
        if (!read_more(b)) return -1;
    size_t n = b->in[1] & 0x7F, head = n == 126 ? 4 : 2;
    while (b->n < head)
        if (!read_more(b)) return -1;
    if (n == 126) n = (size_t)(uint8_t)b->in[2] << 8 | (uint8_t)b->in[3];
    while (b->n < head + n)
        if (!read_more(b)) return -1;
    int opcode = b->in[0] & 0x0F;
    memcpy(b->text, b->in + head, n);
    b->text[n] = '\0';
    drop(b, head + n);
    if (opcode == 9) send_frame(b, 10, b->text, n);
    return opcode;
}

const char *board_next(struct board_peer *b)
{
    int opcode;
    while ((opcode = take_frame(b)) >= 0) {
        if (opcode == 8) return NULL;
        if (opcode == 1) return b->text;
    }
    return NULL;
}

static bool upgrade(struct board_peer *b)
{
    static const char request[] =
        "GET /uplink HTTP/1.1\r\nHost: pico.example.com:443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: "
        "http://localhost\r\n\r\n";
    board_send_raw(b, request, sizeof request - 1);
    char *end;
    while (!(end = b->n ? memmem(b->in, b->n, "\r\n\r\n", 4) : NULL))
        if (!read_more(b)) return false;
    bool ok = memcmp(b->in, "HTTP/1.1 101 ", 13) == 0;
    drop(b, (size_t)(end + 4 - b->in));
    return ok;
}

bool board_try_connect(struct board_peer *b, size_t worker, int device, const char *functions)
{
    char text[512];
    *b = (struct board_peer){ 0 };
    connect_tls(b, relay_rig.at[worker].port);
    if (!upgrade(b)) return false;
    snprintf(text, sizeof text, "{\"key\": \"key-%d\", \"v\": 7, \"device\": \"PICO_W\"}", device);
    board_send(b, text);
    const char *answer = board_next(b);
    if (!answer || !strstr(answer, "\"auth\":\"OK\"")) return false;
    for (struct str rest = str_c(functions), name; str_cut(&rest, ' ', &name);) {
        snprintf(text, sizeof text, "{\"type\": \"REGISTER\", \"name\": \"%.*s\"}", STR_FMT(name));
        board_send(b, text);
    }
    return true;
}

void board_connect(struct board_peer *b, size_t worker, int device, const char *functions)
{
    if (!board_try_connect(b, worker, device, functions)) fail_msg("the board could not log in: %s", b->text);
}

static bool member(const char *text, const char *name, char ret[64])
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(text, key);
    if (!at) return false;
    at += strlen(key);
    size_t n = strcspn(at, "\"");
    snprintf(ret, 64, "%.*s", (int)n, at);
    return true;
}

bool board_next_call(struct board_peer *b, char ret_id[64], char ret_function[64])
{
    const char *text;
    while ((text = board_next(b)))
        if (strstr(text, "\"CALL\""))
            return member(text, "id", ret_id) && member(text, "command", ret_function);
    return false;
}

void board_answer(struct board_peer *b, const char *id, const char *json)
{
    char text[2048];
    snprintf(text, sizeof text, "{\"id\": \"%s\", \"response\": %s}", id, json);
    board_send(b, text);
}

bool board_is_closed(struct board_peer *b)
{
    while (board_next(b)) {
    }
    return true;
}

void board_hang_up(struct board_peer *b)
{
    SSL_free(b->ssl);
    close(b->fd);
    b->ssl = NULL;
}

// --- callers

void call_begin(struct client *c, size_t worker, const char *device, const char *function, const char *body)
{
    char text[2048];
    client_open(&relay_rig.at[worker], c);
    snprintf(text, sizeof text,
             "POST /.sallyport/pico/%s/%s HTTP/1.1\r\nHost: pico.example.com\r\n%sContent-Type: "
             "application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             device, function, relay_rig.cookie, strlen(body), body);
    client_send(c, text);
}

// Asked of the worker itself: a call that finds nothing says so at once.
void relay_await(size_t worker, int device, const char *function, bool online)
{
    char text[512], want[128];
    snprintf(want, sizeof want, "\"name\":\"%s\",\"online\":%s", function, online ? "true" : "false");
    for (int i = 0; i < 100; i++) {
        struct client c;
        char name[32];
        client_open(&relay_rig.at[worker], &c);
        snprintf(text, sizeof text,
                 "GET /.sallyport/pico/ HTTP/1.1\r\nHost: pico.example.com\r\n%sAccept: "
                 "application/json\r\nConnection: close\r\n\r\n",
                 relay_rig.cookie);
        client_send(&c, text);
        client_read_to_end(&c);
        snprintf(name, sizeof name, "\"name\":\"board-%d\"", device);
        char *board = strstr(c.in, name), *next = board ? strstr(board + 1, "\"name\":\"board-") : NULL;
        if (next) *next = '\0';
        bool found = board && strstr(board, want);
        client_close(&c);
        if (found) return;
        usleep(30 * 1000);
    }
    fail_msg("worker %zu does not know %s of board %d", worker, function, device);
}

void relay_expect_answer(struct client *c, const char *status, const char *part)
{
    client_expect(c, "\r\n\r\n");
    client_expect(c, part);
    if (!strstr(c->in, status)) fail_msg("%s", c->in);
    client_close(c);
}

void relay_expect_works(struct board_peer *b, size_t worker, const char *device, const char *function)
{
    struct client c;
    char id[64], called[64];
    call_begin(&c, worker, device, function, "{}");
    if (!board_next_call(b, id, called)) {
        client_await(&c, "\r\n\r\n");
        fail_msg("no call; the caller has %s", c.in);
    }
    assert_string_equal(called, function);
    board_answer(b, id, "42");
    relay_expect_answer(&c, "200 OK", "{\"result\":42}");
}
