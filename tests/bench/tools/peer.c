// SPDX-License-Identifier: GPL-3.0-or-later
#include "peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t peer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int peer_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { .tv_sec = PEER_SECONDS };
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) return fd;
    close(fd);
    return -1;
}

SSL *peer_handshake(SSL_CTX *ctx, int fd, const char *host)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl) return NULL;
    SSL_set_tlsext_host_name(ssl, host);
    if (SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1) return ssl;
    ERR_print_errors_fp(stderr);
    SSL_free(ssl);
    return NULL;
}

void peer_unblock(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

bool peer_write(SSL *ssl, const void *p, size_t n)
{
    size_t written;
    return SSL_write_ex(ssl, p, n, &written) == 1 && written == n;
}

size_t peer_message(const char *text, size_t n, const char **ret_body)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
    if (!end || !length || length > end) return 0;
    size_t whole = (size_t)(end + 4 - text) + strtoul(length + 17, NULL, 10);
    if (n < whole) return 0;
    *ret_body = end + 4;
    return whole;
}
