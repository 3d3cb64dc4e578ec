// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "raw_client.h"

int raw_open(struct edge *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(e->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

void raw_send(int fd, const char *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

const char *raw_read_to_end(int fd)
{
    static char text[16384];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got < 0 && errno != ECONNRESET) return NULL;
        if (got <= 0) break;
        n += (size_t)got;
    }
    text[n] = '\0';
    close(fd);
    return text;
}

void assert_closed_silently(int fd)
{
    const char *text = raw_read_to_end(fd);
    if (!text) fail_msg("the connection was not closed");
    assert_string_equal(text, "");
}

const char *raw_ask(struct edge *e, const char *request)
{
    int fd = raw_open(e);
    raw_send(fd, request, strlen(request));
    const char *text = raw_read_to_end(fd);
    if (!text) fail_msg("no answer, or the connection was not closed");
    return text;
}

void tls_on(struct client *c, int fd)
{
    static SSL_CTX *ctx;
    if (!ctx) ctx = SSL_CTX_new(TLS_client_method());
    *c = (struct client){ .fd = fd, .in = calloc(1, RIG_BYTES + 1), .ssl = SSL_new(ctx) };
    SSL_set_fd(c->ssl, fd);
    SSL_set_tlsext_host_name(c->ssl, "app.example.com");
    if (SSL_connect(c->ssl) != 1) fail_msg("TLS handshake failed");
}

void open_behind(struct edge *e, struct client *c, const char *header, size_t n)
{
    int fd = raw_open(e);
    raw_send(fd, header, n);
    tls_on(c, fd);
}

const char *seen_by_backend(struct edge *e, struct client *c, const char *request)
{
    client_send(c, request);
    int b = backend_accept(e, RIG_WAIT_MS);
    assert_true(b >= 0);
    const char *seen = backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client_expect(c, "200 OK");
    client_close(c);
    close(b);
    return seen;
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t ms_until_closed(int fd, const char *bytes, size_t n, int every_ms)
{
    int64_t begin = now_ms();
    for (size_t i = 0; now_ms() - begin < 4000; i++) {
        struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };
        if (poll(&p, 1, every_ms) > 0) break;
        if (i < n) send(fd, bytes + i, 1, MSG_NOSIGNAL);
    }
    return now_ms() - begin;
}

static struct ip_network networks[2];

void trust(struct config *c, const char *first, const char *second)
{
    struct err err = { 0 };
    assert_true(ip_network_parse(str_c(first), &networks[0], &err));
    assert_true(ip_network_parse(str_c(second), &networks[1], &err));
    c->trusted_proxies = (struct ip_networks){ networks, 2 };
}
