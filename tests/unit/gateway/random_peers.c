// SPDX-License-Identifier: GPL-3.0-or-later
#include "random_peers.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 8192, PIECE = 16384 };

uint64_t dice_throw(struct dice *d)
{
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state * 0x2545F4914F6CDD1Du >> 16;
}

void random_error(struct random_test *t, const char *what, const char *detail)
{
    atomic_fetch_add(&t->errors, 1);
    if (!atomic_flag_test_and_set(&t->told))
        snprintf(t->first_error, sizeof t->first_error, "%s: %.180s", what, detail);
}

// --- a socket

ssize_t peer_read(struct peer *p, char *buf, size_t n)
{
    ERR_clear_error();
    return p->ssl ? SSL_read(p->ssl, buf, (int)n) : recv(p->fd, buf, n, 0);
}

bool peer_write(struct peer *p, const char *buf, size_t n)
{
    while (n) {
        ERR_clear_error();
        ssize_t done = p->ssl ? SSL_write(p->ssl, buf, (int)n) : send(p->fd, buf, n, MSG_NOSIGNAL);
        if (done <= 0) return false;
        buf += done;
        n -= (size_t)done;
    }
    return true;
}

static bool say(struct peer *p, const char *text)
{
    return peer_write(p, text, strlen(text));
}

void peer_leave(struct peer *p, struct dice *d)
{
    static const struct linger now = { .l_onoff = 1 };
    ERR_clear_error();
    switch (dice_below(d, 4)) {
    case 0: setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); break;
    case 1: break;
    case 2:
        if (p->ssl) SSL_shutdown(p->ssl);
        break;
    case 3:
        if (p->ssl) SSL_shutdown(p->ssl);
        shutdown(p->fd, SHUT_WR);
        usleep(dice_below(d, 20000));
        break;
    }
    SSL_free(p->ssl);
    close(p->fd);
}

static void patience(int fd, int ms)
{
    struct timeval t = { ms / 1000, ms % 1000 * 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    tcp_options(fd);
}

// A body that says whose it is: the same letter all over.
static bool write_body(struct peer *p, struct dice *d, char letter, size_t n, bool chunked)
{
    char piece[PIECE], line[16];
    memset(piece, letter, sizeof piece);
    while (n) {
        size_t now = 1 + dice_below(d, sizeof piece);
        if (now > n) now = n;
        snprintf(line, sizeof line, "%zx\r\n", now);
        if (chunked && !say(p, line)) return false;
        if (!peer_write(p, piece, now) || (chunked && !say(p, "\r\n"))) return false;
        if (dice_below(d, 40) == 0) usleep(dice_below(d, 3000));
        n -= now;
    }
    return !chunked || say(p, "0\r\n\r\n");
}

// --- backends

// A head, and whatever came behind it. The number of bytes; 0: the peer has gone.
static size_t read_head(struct peer *p, char buf[HEAD], size_t have, size_t *ret_end)
{
    for (;;) {
        const char *end = memmem(buf, have, "\r\n\r\n", 4);
        if (end) {
            *ret_end = (size_t)(end - buf) + 4;
            return have;
        }
        ssize_t got = have < HEAD ? peer_read(p, buf + have, HEAD - have) : 0;
        if (got <= 0) return 0;
        have += (size_t)got;
    }
}

static bool skip_body(struct peer *p, const char *head, size_t extra)
{
    char buf[PIECE], last[5] = "";
    const char *length = strstr(head, "Content-Length: ");
    bool chunked = strstr(head, "Transfer-Encoding: chunked");
    size_t left = length ? strtoul(length + 16, NULL, 10) : 0, n = extra;
    memcpy(buf, strstr(head, "\r\n\r\n") + 4, extra);
    while (chunked || left) {
        if (!chunked) left -= n < left ? n : left;
        if (chunked && n) { // ends with "0 CR LF CR LF"; letters alone are in the body
            size_t keep = n < 5 ? 5 - n : 0;
            memmove(last, last + 5 - keep, keep);
            memcpy(last + keep, buf + n - (5 - keep), 5 - keep);
            if (memcmp(last, "0\r\n\r\n", 5) == 0) return true;
        }
        if (!chunked && !left) return true;
        ssize_t got = peer_read(p, buf, sizeof buf);
        if (got <= 0) return false;
        n = (size_t)got;
    }
    return true;
}

static void echo(struct peer *p, struct dice *d)
{
    char buf[PIECE];
    say(p, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    for (ssize_t n; (n = peer_read(p, buf, sizeof buf)) > 0;)
        if (!peer_write(p, buf, (size_t)n) || dice_below(d, 60) == 0) return;
}

// Nonsense of all kinds. True: the connection is over.
static bool misbehave(struct peer *p, struct dice *d)
{
    switch (dice_below(d, 40)) {
    case 0: return true;
    case 1: say(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"); return true;
    case 2: say(p, "garbage\r\n\r\n"); return true;
    case 3:
        if (dice_below(d, 8) == 0) usleep(1200 * 1000); // longer than timeouts.response
        return true;
    case 4: say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"); return true;
    case 5: say(p, "HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n"); return false;
    case 6: say(p, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"); return true;
    default: return false;
    }
}

// "/LETTER/SIZE/..." says what is wanted. False: the connection is over.
static bool answer(struct peer *p, struct dice *d, const char *head, size_t extra)
{
    char line[160], letter = 'a';
    unsigned long size = 0;
    bool is_head = strncmp(head, "HEAD ", 5) == 0;
    if (sscanf(head, "%*s /%c/%lu", &letter, &size) != 2) return false;
    if (misbehave(p, d)) return false;
    if (strstr(head, "Upgrade: websocket")) {
        echo(p, d);
        return false;
    }
    bool early = dice_below(d, 10) == 0; // answers without having read the body
    if (!early && !skip_body(p, head, extra)) return false;
    int framing = (int)dice_below(d, 5);
    bool chunked = framing == 1, close = framing == 2;
    const char *how = chunked ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n";
    snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\nX-Letter: %c\r\n", letter);
    if (!say(p, line)) return false;
    if (!chunked && !close) {
        snprintf(line, sizeof line, "Content-Length: %lu\r\n", size);
        how = line;
    }
    if (!say(p, how) || !say(p, "\r\n")) return false;
    if (!is_head && !write_body(p, d, letter, dice_below(d, 12) ? size : size / 2, chunked)) return false;
    return !close && !early && dice_below(d, 8) != 0;
}

static void serve(struct random_test *t, struct peer *p, struct dice *d)
{
    char buf[HEAD + 1];
    while (!atomic_load(&t->backends_stop)) {
        size_t end, n = read_head(p, buf, 0, &end);
        if (n == 0) return;
        buf[n] = '\0';
        if (!answer(p, d, buf, n - end)) return;
    }
}

void *random_backend(void *arg)
{
    struct random_thread *r = arg;
    struct random_test *t = r->test;
    while (!atomic_load(&t->backends_stop)) {
        struct pollfd fds[2] = { { t->fds[0], POLLIN, 0 }, { t->fds[1], POLLIN, 0 } };
        if (poll(fds, 2, 50) < 1) continue;
        bool tls = fds[1].revents & POLLIN;
        struct peer p = { accept4(t->fds[tls], NULL, NULL, SOCK_CLOEXEC), NULL };
        if (p.fd < 0) continue;
        patience(p.fd, 300);
        if (tls) {
            p.ssl = SSL_new(t->tls);
            SSL_set_fd(p.ssl, p.fd);
        }
        if (!tls || SSL_accept(p.ssl) == 1) serve(t, &p, &r->dice);
        peer_leave(&p, &r->dice);
    }
    return NULL;
}

// --- clients

static const char *const hosts[] = { "one", "secure", "few", "least", "dead", "staff" };

static bool open_peer(struct random_test *t, struct peer *p)
{
    static SSL_CTX *ctx;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(t->e->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *p = (struct peer){ socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL };
    patience(p->fd, 4000);
    if (connect(p->fd, (struct sockaddr *)&a, sizeof a) != 0) return false;
    if (t->plain) return true;
    pthread_mutex_lock(&lock);
    if (!ctx) ctx = SSL_CTX_new(TLS_client_method());
    pthread_mutex_unlock(&lock);
    p->ssl = SSL_new(ctx);
    SSL_set_fd(p->ssl, p->fd);
    return SSL_connect(p->ssl) == 1;
}

static size_t put_head(char *buf, struct dice *d, char letter, const char *method, const char *more)
{
    const char *host = hosts[dice_below(d, dice_below(d, 8) ? 4 : 6)];
    unsigned size = dice_below(d, 3) ? dice_below(d, 3000) : dice_below(d, 300000);
    return (size_t)snprintf(buf, HEAD,
                            "%s /%c/%u HTTP/1.1\r\nHost: %s.example.com\r\n"
                            "X-Forwarded-Proto: https\r\n%s\r\n",
                            method, letter, size, host, more);
}

// Slowly, or a part only. False: it is time to leave.
static bool send_oddly(struct peer *p, struct dice *d, const char *buf, size_t n)
{
    if (dice_below(d, 12) == 0) { // leaves in the middle
        peer_write(p, buf, dice_below(d, (unsigned)n));
        return false;
    }
    if (dice_below(d, 10) != 0) return peer_write(p, buf, n);
    for (size_t i = 0; i < n; i += 7) {
        if (!peer_write(p, buf + i, n - i < 7 ? n - i : 7)) return false;
        usleep(dice_below(d, 800));
    }
    return true;
}

// The answer to a request for `letter`: whatever it is, it is nobody else's. False: the connection is over.
static bool take_answer(struct random_test *t, struct peer *p, struct dice *d, char letter, bool head_only)
{
    char buf[HEAD + 1];
    size_t end, n = read_head(p, buf, 0, &end);
    if (n == 0) return false;
    buf[n] = '\0';
    if (strncmp(buf, "HTTP/1.1 100", 12) == 0) {
        n -= end;
        memmove(buf, buf + end, n);
        n = read_head(p, buf, n, &end);
        if (n == 0) return false;
        buf[n] = '\0';
    }
    if (strncmp(buf, "HTTP/1.1 ", 9) != 0) random_error(t, "no answer", buf);
    const char *whose = strstr(buf, "X-Letter: ");
    if (!whose) return false; // the gateway's own, or nonsense
    if (whose[10] != letter) random_error(t, "somebody else's answer", buf);
    atomic_fetch_add(&t->answers, 1);
    const char *length = strstr(buf, "Content-Length: ");
    bool close = strstr(buf, "Connection: close");
    if (!length && !head_only) return false; // chunked: it is read no further
    size_t left = head_only ? 0 : strtoul(length + 16, NULL, 10), have = n - end;
    char *data = buf + end;
    for (;;) {
        for (size_t i = 0; i < have && i < left; i++)
            if (data[i] != letter) {
                random_error(t, "somebody else's body", data + i);
                return false;
            }
        if (have > left) random_error(t, "more than the body", data + left);
        left -= have < left ? have : left;
        if (left == 0) return !close;
        if (dice_below(d, 50) == 0) return false;
        if (dice_below(d, 50) == 0) usleep(dice_below(d, 30000));
        ssize_t got = peer_read(p, buf, HEAD);
        if (got <= 0) return false;
        data = buf;
        have = (size_t)got;
    }
}

static bool upload(struct random_test *t, struct peer *p, struct dice *d, char letter)
{
    char buf[HEAD], more[96];
    bool chunked = dice_below(d, 2);
    size_t size = dice_below(d, 2) ? dice_below(d, 2000) : dice_below(d, 400000), said = size;
    const char *expect = dice_below(d, 4) ? "" : "Expect: 100-continue\r\n";
    if (chunked)
        snprintf(more, sizeof more, "Transfer-Encoding: chunked\r\n%s", expect);
    else
        snprintf(more, sizeof more, "Content-Length: %zu\r\n%s", said, expect);
    size_t n = put_head(buf, d, letter, dice_below(d, 5) ? "POST" : "DELETE", more);
    if (!send_oddly(p, d, buf, n)) return false;
    if (dice_below(d, 8) == 0) size /= 2;
    if (!write_body(p, d, 'u', size, chunked) || size != said) return false;
    return take_answer(t, p, d, letter, false);
}

static bool tunnel(struct random_test *t, struct peer *p, struct dice *d, char letter)
{
    char buf[HEAD + 1], back[PIECE];
    size_t end, n = put_head(buf, d, letter, "GET",
                             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    if (dice_below(d, 3) == 0)
        n += (size_t)snprintf(buf + n, 8, "%c%c%c", letter, letter, letter); // too early
    if (!send_oddly(p, d, buf, n) || (n = read_head(p, buf, 0, &end)) == 0) return false;
    if (strncmp(buf, "HTTP/1.1 101", 12) != 0) return false;
    atomic_fetch_add(&t->tunnels, 1);
    memset(buf, letter, HEAD);
    while (dice_below(d, 10) != 0) {
        if (!peer_write(p, buf, 1 + dice_below(d, HEAD))) return false;
        ssize_t got = peer_read(p, back, sizeof back);
        if (got <= 0) return false;
        for (ssize_t i = 0; i < got; i++)
            if (back[i] != letter) random_error(t, "somebody else's tunnel", "");
    }
    return false;
}

static bool pipeline(struct peer *p, struct dice *d)
{
    char all[HEAD * 2], letters[12];
    size_t n = 0, k = 2 + dice_below(d, 10);
    for (size_t i = 0; i < k; i++) {
        letters[i] = (char)('a' + dice_below(d, 26));
        n += put_head(all + n, d, letters[i], "GET", "");
    }
    if (!send_oddly(p, d, all, n)) return false;
    char buf[HEAD];
    while (dice_below(d, 4) && peer_read(p, buf, sizeof buf) > 0) {
    }
    return false;
}

static bool act(struct random_test *t, struct peer *p, struct dice *d)
{
    char buf[HEAD], letter = (char)('a' + dice_below(d, 26));
    switch (dice_below(d, 10)) {
    case 0:
    case 1: return upload(t, p, d, letter);
    case 2: return tunnel(t, p, d, letter);
    case 3: return pipeline(p, d);
    case 4: return say(p, "nonsense \r\n\r\n") && peer_read(p, buf, sizeof buf) > 0;
    case 5: {
        size_t n = put_head(buf, d, letter, "HEAD", "");
        return send_oddly(p, d, buf, n) && take_answer(t, p, d, letter, true);
    }
    default: {
        size_t n = put_head(buf, d, letter, "GET", dice_below(d, 9) ? "" : "Connection: close\r\n");
        return send_oddly(p, d, buf, n) && dice_below(d, 15) && take_answer(t, p, d, letter, false);
    }
    }
}

void *random_client(void *arg)
{
    struct random_thread *r = arg;
    while (!atomic_load(&r->test->clients_stop)) {
        struct peer p;
        if (open_peer(r->test, &p))
            while (!atomic_load(&r->test->clients_stop) && act(r->test, &p, &r->dice)) {
            }
        peer_leave(&p, &r->dice);
    }
    return NULL;
}
