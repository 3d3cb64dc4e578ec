// SPDX-License-Identifier: GPL-3.0-or-later
#include "http_double.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static struct double_answer *find(struct http_double *d, const char *path)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->answers[i].path, path) == 0) return &d->answers[i];
    return NULL;
}

static bool complete(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");
    if (!end) return false;
    const char *length = strcasestr(request, "\r\ncontent-length:");
    return !length || length > end || strlen(end + 4) >= (size_t)atoi(length + 17);
}

// A connection, with or without TLS.
struct stream {
    int fd;
    SSL *ssl;
};

static ssize_t stream_read(struct stream *s, void *p, size_t n)
{
    return s->ssl ? SSL_read(s->ssl, p, (int)n) : read(s->fd, p, n);
}

static ssize_t stream_write(struct stream *s, const void *p, size_t n)
{
    return s->ssl ? SSL_write(s->ssl, p, (int)n) : send(s->fd, p, n, MSG_NOSIGNAL);
}

static void read_request(struct stream *s, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = 0;
    while (n + 1 < size && !complete(buf)) {
        ssize_t got = stream_read(s, buf + n, size - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
        buf[n] = 0;
    }
}

static void write_all(struct stream *s, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = stream_write(s, p, n);
        if (put <= 0) return;
        p += put;
        n -= (size_t)put;
    }
}

static void serve(struct http_double *d, struct stream *s)
{
    char request[sizeof d->request], path[512] = "", head[1024];
    read_request(s, request, sizeof request);
    sscanf(request, "%*s %511[^ ?]", path);
    pthread_mutex_lock(&d->lock);
    strcpy(d->request, request);
    struct double_answer *a = find(d, path), copy = { .status = 404, .type = "text/plain", .body = "" };
    if (a) {
        a->hits++;
        copy = *a;
    }
    char *body = strdup(copy.body ? copy.body : "");
    pthread_mutex_unlock(&d->lock);
    struct pollfd stop = { d->stop[0], POLLIN, 0 };
    if (copy.delay_ms) poll(&stop, 1, copy.delay_ms);
    int n = snprintf(
        head, sizeof head,
        "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s%s%s\r\n",
        copy.status, copy.type, strlen(body), copy.location ? "Location: " : "",
        copy.location ? copy.location : "", copy.location ? "\r\n" : "");
    write_all(s, head, (size_t)n);
    write_all(s, body, strlen(body));
    free(body);
}

static void *run(void *context)
{
    struct http_double *d = context;
    for (;;) {
        struct pollfd set[2] = { { d->listen_fd, POLLIN, 0 }, { d->stop[0], POLLIN, 0 } };
        poll(set, 2, -1);
        if (set[1].revents) return NULL;
        int fd = accept(d->listen_fd, NULL, NULL);
        if (fd < 0) continue;
        struct stream s = { fd, d->tls ? SSL_new(d->tls) : NULL };
        if (s.ssl) SSL_set_fd(s.ssl, fd);
        if (!s.ssl || SSL_accept(s.ssl) == 1) serve(d, &s);
        if (s.ssl) SSL_shutdown(s.ssl);
        SSL_free(s.ssl);
        close(fd);
    }
}

static void start(struct http_double *d)
{
    int one = 1;
    struct sockaddr_in a = { .sin_family = AF_INET,

                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    pthread_mutex_init(&d->lock, NULL);
    d->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(d->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    socklen_t n = sizeof a;
    if (bind(d->listen_fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(d->listen_fd, 64) != 0 ||
        getsockname(d->listen_fd, (struct sockaddr *)&a, &n) != 0 || pipe2(d->stop, O_CLOEXEC) != 0 ||
        pthread_create(&d->thread, NULL, run, d) != 0) {
        perror("the double cannot start");
        abort();
    }
    d->port = ntohs(a.sin_port);
}

void web_start(struct http_double *d)
{
    *d = (struct http_double){ 0 };
    start(d);
}

void web_start_tls(struct http_double *d, const char *cert, const char *key)
{
    *d = (struct http_double){ .tls = SSL_CTX_new(TLS_server_method()) };
    if (SSL_CTX_use_certificate_chain_file(d->tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(d->tls, key, SSL_FILETYPE_PEM) != 1)
        abort();
    start(d);
}

void web_stop(struct http_double *d)
{
    if (write(d->stop[1], "x", 1) != 1) abort();
    pthread_join(d->thread, NULL);
    close(d->listen_fd);
    close(d->stop[0]);
    close(d->stop[1]);
    SSL_CTX_free(d->tls);
    for (size_t i = 0; i < d->n; i++) free(d->answers[i].body);
}

static struct double_answer *get(struct http_double *d, const char *path)
{
    struct double_answer *a = find(d, path);
    if (a) return a;
    assert(d->n < DOUBLE_ANSWERS);
    d->answers[d->n] = (struct double_answer){ .path = path, .status = 200, .type = "text/plain" };
    return &d->answers[d->n++];
}

void web_set(struct http_double *d, const char *path, int status, const char *type, const char *body)
{
    pthread_mutex_lock(&d->lock);
    struct double_answer *a = get(d, path);
    char *old = a->body;
    a->status = status;
    a->type = type;
    a->body = strdup(body);
    a->location = NULL;
    a->delay_ms = 0;
    free(old);
    pthread_mutex_unlock(&d->lock);
}

void web_set_slow(struct http_double *d, const char *path, int delay_ms)
{
    pthread_mutex_lock(&d->lock);
    get(d, path)->delay_ms = delay_ms;
    pthread_mutex_unlock(&d->lock);
}

void web_set_redirect(struct http_double *d, const char *path, const char *location)
{
    pthread_mutex_lock(&d->lock);
    struct double_answer *a = get(d, path);
    a->status = 302;
    a->location = location;
    pthread_mutex_unlock(&d->lock);
}

int web_hits(struct http_double *d, const char *path)
{
    pthread_mutex_lock(&d->lock);
    struct double_answer *a = find(d, path);
    int n = a ? a->hits : 0;
    pthread_mutex_unlock(&d->lock);
    return n;
}

bool web_last_request_has(struct http_double *d, const char *text)
{
    pthread_mutex_lock(&d->lock);
    bool has = strstr(d->request, text) != NULL;
    pthread_mutex_unlock(&d->lock);
    return has;
}
