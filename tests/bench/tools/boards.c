// SPDX-License-Identifier: GPL-3.0-or-later
// Simulated boards for ./bench, all in one process and cheap: TLS 1.2 with P-256 as the real ones have it,
// three writes for each frame, a heartbeat every ten seconds, pongs; they answer every call.
//
//   boards PORT HOST PATH KEYS FUNCTION DELAY-MS DIRECT-PORT CERTIFICATE KEY
//
// KEYS is a file with "NAME KEY" in each line, of one board each. A call of FUNCTION is answered after
// DELAY-MS with [when it was here, when its answer was about to leave], in nanoseconds of the clock that
// callers read too. On DIRECT-PORT the same is to be had without a gateway: each POST is answered as the
// gateway answers a call. Says "ready N"; at the end of its input it says how many boards had been cut off,
// and what they had to do, and ends.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { IN_MAX = 20000, OUT_MAX = 1024, ID_MAX = 64, LATER_MAX = 65536, EVENTS = 256, LINE = 512 };
static const int64_t MS = 1000000, HEARTBEAT = 10000000000LL;

enum opcode { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

// A connection: a board's, or one of a direct caller.
struct peer {
    int fd;
    bool direct;
    SSL *ssl; // NULL: closed
    int64_t heartbeat;
    size_t n;
    char in[IN_MAX + 1];
};

// An answer that is not due yet.
struct later {
    struct peer *peer;
    char id[ID_MAX];
    int64_t received, due;
};

static struct {
    struct peer *boards;
    size_t n;
    int epoll, listener;
    SSL_CTX *client, *server;
    int64_t delay;
    struct later later[LATER_MAX];
    size_t first, end; // of `later`, a ring
    long calls, direct_calls, heartbeats, pings, lost;
} all;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "boards: %s\n", what);
    exit(1);
}

static void drop(struct peer *p, const char *why)
{
    if (!p->ssl) return;
    if (!p->direct && all.lost++ < 3) fprintf(stderr, "board %zu: %s\n", (size_t)(p - all.boards), why);
    SSL_free(p->ssl);
    close(p->fd);
    p->ssl = NULL;
}

static void watch(struct peer *p)
{
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = p };
    peer_unblock(p->fd);
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, p->fd, &e);
}

// ---- frames

// Header, mask and payload each leave by themselves, as the boards' library writes them: three TLS records.
static void send_frame(struct peer *p, enum opcode opcode, const char *payload, size_t n)
{
    static const uint8_t mask[4] = { 0x5a, 0x01, 0xc3, 0x7e };
    uint8_t head[4] = { (uint8_t)(0x80 | opcode), (uint8_t)(0x80 | (n < 126 ? n : 126)), (uint8_t)(n >> 8),
                        (uint8_t)n };
    uint8_t masked[OUT_MAX];
    if (n > OUT_MAX) die("an answer is too long");
    for (size_t i = 0; i < n; i++) masked[i] = (uint8_t)payload[i] ^ mask[i % 4];
    if (!peer_write(p->ssl, head, n < 126 ? 2 : 4) || !peer_write(p->ssl, mask, 4) ||
        (n > 0 && !peer_write(p->ssl, masked, n)))
        drop(p, "a frame could not be sent");
}

static void send_text(struct peer *p, const char *text)
{
    send_frame(p, TEXT, text, strlen(text));
}

// ---- messages

// The value of a string member, "" when it is not there. No general reader of JSON: the gateway's messages
// have no escapes in the members that matter here.
static void member(const char *text, const char *name, char ret[ID_MAX])
{
    char pattern[ID_MAX];
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *p = strstr(text, pattern);
    size_t n = 0;
    if (p) p += strlen(pattern);
    while (p && *p == ' ') p++;
    if (p && *p == '"')
        for (p++; p[n] && p[n] != '"' && n < ID_MAX - 1; n++) ret[n] = p[n];
    ret[n] = '\0';
}

static void answer(struct peer *p, const char *id, int64_t received)
{
    char text[OUT_MAX];
    if (!p->ssl) return;
    all.calls++;
    snprintf(text, sizeof text, "{\"id\":\"%s\",\"response\":[%lld,%lld]}", id, (long long)received,
             (long long)peer_now());
    send_text(p, text);
}

static void answer_later(struct peer *p, const char *id, int64_t received)
{
    struct later *l = &all.later[all.end++ % LATER_MAX];
    if (all.end - all.first > LATER_MAX) die("too many calls");
    *l = (struct later){ .peer = p, .received = received, .due = received + all.delay };
    memcpy(l->id, id, ID_MAX);
}

static void take_message(struct peer *p, const char *text, int64_t received)
{
    char id[ID_MAX], type[ID_MAX];
    member(text, "id", id);
    member(text, "type", type);
    if (strcmp(type, "CALL") != 0) return; // the answer to a heartbeat
    if (all.delay > 0)
        answer_later(p, id, received);
    else
        answer(p, id, received);
}

static void take_frame(struct peer *p, unsigned opcode, char *payload, size_t n, int64_t received)
{
    char kept = payload[n]; // the next frame's first byte may be there
    payload[n] = '\0';
    switch (opcode) {
    case TEXT: take_message(p, payload, received); break;
    case PING:
        all.pings++;
        send_frame(p, PONG, payload, n);
        break;
    case CLOSE: drop(p, "the gateway closed it"); break;
    default: drop(p, "a frame that boards do not understand");
    }
    payload[n] = kept;
}

// The length of the frame at the front, 0 while it is not whole.
static size_t frame_length(const struct peer *p, size_t *ret_head)
{
    const uint8_t *in = (const uint8_t *)p->in;
    if (p->n < 4 && (p->n < 2 || in[1] > 125)) return 0;
    *ret_head = in[1] <= 125 ? 2 : 4;
    size_t n = *ret_head + (in[1] <= 125 ? in[1] : (size_t)(in[2] << 8 | in[3]));
    return n <= p->n ? n : 0;
}

static void take_frames(struct peer *p, int64_t received)
{
    size_t head, n;
    while (p->ssl && (n = frame_length(p, &head)) > 0) {
        take_frame(p, (uint8_t)p->in[0] & 15, p->in + head, n - head, received);
        p->n -= n;
        memmove(p->in, p->in + n, p->n);
    }
}

// ---- direct callers

static void take_requests(struct peer *p, int64_t received)
{
    const char *body;
    char text[OUT_MAX], result[LINE];
    size_t n;
    p->in[p->n] = '\0';
    while (p->ssl && (n = peer_message(p->in, p->n, &body)) > 0) {
        p->n -= n;
        memmove(p->in, p->in + n, p->n + 1);
        all.direct_calls++;
        int length = snprintf(result, sizeof result, "{\"result\":[%lld,%lld]}", (long long)received,
                              (long long)peer_now());
        length = snprintf(text, sizeof text,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                          length, result);
        if (!peer_write(p->ssl, text, (size_t)length)) drop(p, "");
    }
}

static void accept_direct(void)
{
    struct peer *p = calloc(1, sizeof *p); // for as long as the program: there are few
    if (!p) die("out of memory");
    p->fd = accept4(all.listener, NULL, NULL, SOCK_CLOEXEC);
    p->ssl = SSL_new(all.server);
    p->direct = true;
    if (p->fd < 0 || !p->ssl || SSL_set_fd(p->ssl, p->fd) != 1 || SSL_accept(p->ssl) != 1) return drop(p, "");
    watch(p);
}

static int listen_on(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 128) != 0) die("the port");
    return fd;
}

// ---- coming online

// Reads until `whole` says that something is; the number of bytes there.
static void await(struct peer *p, bool (*whole)(const struct peer *p), const char *what)
{
    while (!whole(p)) {
        int got = SSL_read(p->ssl, p->in + p->n, (int)(IN_MAX - p->n));
        if (got <= 0) die(what);
        p->n += (size_t)got;
        p->in[p->n] = '\0';
    }
}

static bool upgraded(const struct peer *p)
{
    return strstr(p->in, "\r\n\r\n") != NULL;
}
static bool framed(const struct peer *p)
{
    size_t head = 0;
    return frame_length(p, &head) > 0;
}

static void upgrade(struct peer *p, const char *host, const char *port, const char *path)
{
    char text[LINE * 2];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "Origin: http://localhost\r\n\r\n",
                     path, host, port);
    if (!peer_write(p->ssl, text, (size_t)n)) die("the upgrade cannot be asked for");
    await(p, upgraded, "no answer to the upgrade");
    if (strncmp(p->in, "HTTP/1.1 101 ", 13) != 0) die(p->in);
    p->n = 0;
}

static void log_in(struct peer *p, const char *key, const char *function)
{
    char text[OUT_MAX];
    size_t head = 0;
    snprintf(text, sizeof text, "{\"key\": \"%s\", \"v\": 7, \"device\": \"PICO_W\"}", key);
    send_text(p, text);
    await(p, framed, "no answer to the login");
    size_t n = frame_length(p, &head);
    if (!memmem(p->in, n, "\"OK\"", 4)) die(p->in + head);
    snprintf(text, sizeof text, "{\"type\": \"REGISTER\", \"name\": \"%s\"}", function);
    send_text(p, text);
    p->n -= n;
    memmove(p->in, p->in + n, p->n);
}

static void come_online(struct peer *p, char **argv, const char *key)
{
    p->fd = peer_connect(atoi(argv[1]));
    p->ssl = p->fd < 0 ? NULL : peer_handshake(all.client, p->fd, argv[2]);
    if (!p->ssl) die("a board cannot connect");
    upgrade(p, argv[2], argv[1], argv[3]);
    log_in(p, key, argv[5]);
    p->heartbeat = peer_now() + HEARTBEAT;
    watch(p);
}

static void start_boards(char **argv)
{
    char line[LINE], name[LINE], key[LINE];
    size_t room = 0;
    FILE *f = fopen(argv[4], "re");
    if (!f) die("the file of keys");
    while (fgets(line, sizeof line, f)) room++;
    rewind(f);
    all.boards = calloc(room + 1, sizeof *all.boards);
    if (!all.boards) die("out of memory");
    while (all.n < room && fgets(line, sizeof line, f) && sscanf(line, "%511s %511s", name, key) == 2)
        come_online(&all.boards[all.n++], argv, key);
    fclose(f);
}

// What a board offers (PICO W: MicroPython 1.25 with mbedTLS).
static SSL_CTX *board_context(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    if (!c || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                   "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") != 1 ||
        SSL_CTX_set1_groups_list(c, "P-256:P-384:P-521") != 1 ||
        SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256:RSA+SHA256:ECDSA+SHA384:RSA+SHA384") != 1)
        die("TLS");
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_EXTENDED_MASTER_SECRET);
    return c;
}

static SSL_CTX *direct_context(const char *certificate, const char *key)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c || SSL_CTX_use_certificate_chain_file(c, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
        die("the certificate");
    return c;
}

// ---- the loop

static void read_peer(struct peer *p)
{
    while (p->ssl) {
        ERR_clear_error(); // another connection's would be taken for this one's
        int got = SSL_read(p->ssl, p->in + p->n, (int)(IN_MAX - p->n));
        int64_t now = peer_now();
        if (got <= 0) {
            if (SSL_get_error(p->ssl, got) != SSL_ERROR_WANT_READ) drop(p, "the connection ended");
            return;
        }
        p->n += (size_t)got;
        if (p->direct)
            take_requests(p, now);
        else
            take_frames(p, now);
        if (p->n == IN_MAX) drop(p, "a frame is too long");
    }
}

static void send_due(int64_t now)
{
    while (all.first < all.end && all.later[all.first % LATER_MAX].due <= now) {
        struct later *l = &all.later[all.first++ % LATER_MAX];
        answer(l->peer, l->id, l->received);
    }
}

static void beat(int64_t now)
{
    char text[OUT_MAX];
    for (size_t i = 0; i < all.n; i++) {
        struct peer *p = &all.boards[i];
        if (!p->ssl || p->heartbeat > now) continue;
        p->heartbeat += HEARTBEAT;
        snprintf(text, sizeof text,
                 "{\"type\": \"CALL\", \"command\": \"anvil.private.echo\", \"args\": [\"keep-alive\"], "
                 "\"kwargs\": {}, \"id\": \"pico-call-%lld-%ld\"}",
                 (long long)(now / (1000 * MS)), ++all.heartbeats % 100000);
        send_text(p, text);
    }
}

// Until the next answer is due, and at most 100 ms: then heartbeats are looked at.
static struct timespec patience(int64_t now)
{
    int64_t wait = 100 * MS;
    if (all.first < all.end && all.later[all.first % LATER_MAX].due - now < wait)
        wait = all.later[all.first % LATER_MAX].due - now;
    return (struct timespec){ .tv_nsec = wait > 0 ? wait : 0 };
}

// False at the end of our input.
static bool turn(void)
{
    struct epoll_event e[EVENTS];
    struct timespec wait = patience(peer_now());
    int n = epoll_pwait2(all.epoll, e, EVENTS, &wait, NULL);
    bool more = true;
    for (int i = 0; i < n; i++) {
        char byte;
        if (e[i].data.ptr == &all.listener)
            accept_direct();
        else if (e[i].data.ptr)
            read_peer(e[i].data.ptr);
        else
            more = read(STDIN_FILENO, &byte, 1) > 0;
    }
    int64_t now = peer_now();
    send_due(now);
    beat(now);
    return more;
}

int main(int argc, char **argv)
{
    struct rlimit r;
    if (argc != 10) die("usage: PORT HOST PATH KEYS FUNCTION DELAY-MS DIRECT-PORT CERTIFICATE KEY");
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    all.delay = atoi(argv[6]) * MS;
    all.client = board_context();
    all.server = direct_context(argv[8], argv[9]);
    all.listener = listen_on(atoi(argv[7]));
    start_boards(argv);
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, all.listener,
              &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &all.listener });
    epoll_ctl(all.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &(struct epoll_event){ .events = EPOLLIN });
    printf("ready %zu\n", all.n);
    fflush(stdout);
    while (turn()) continue;
    printf("{ \"lost\": %ld, \"calls\": %ld, \"direct\": %ld, \"heartbeats\": %ld, \"pings\": %ld }\n",
           all.lost, all.calls, all.direct_calls, all.heartbeats, all.pings);
    return 0;
}
