// SPDX-License-Identifier: GPL-3.0-or-later
// The backend of ./bench for uploads: reads every body to its end, which nginx alone does not do, and says
// how long it was. `sink PORT`; GET answers with the bytes of all bodies so far. A thread for each
// connection: the few of them are long.
#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 64 * 1024, BUFFER = 256 * 1024 };

static uint64_t total;

struct peer {
    int fd;
    size_t n; // bytes in the buffer
    char buffer[BUFFER];
};

static void discard(struct peer *p, size_t n)
{
    memmove(p->buffer, p->buffer + n, p->n - n);
    p->n -= n;
}

// The length of the next head, 0 when there is none any more.
static size_t read_head(struct peer *p)
{
    for (;;) {
        char *end = memmem(p->buffer, p->n, "\r\n\r\n", 4);
        if (end) return (size_t)(end - p->buffer) + 4;
        if (p->n >= HEAD_MAX) return 0;
        ssize_t got = recv(p->fd, p->buffer + p->n, HEAD_MAX - p->n, 0);
        if (got <= 0) return 0;
        p->n += (size_t)got;
    }
}

// The value of a field, NULL when it is not there. `head` ends with a NUL.
static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') return line + 2 + n + 1;
    return NULL;
}

static bool read_body(struct peer *p, uint64_t length)
{
    uint64_t left = length - (p->n < length ? p->n : length);
    discard(p, p->n < length ? p->n : (size_t)length);
    while (left > 0) {
        ssize_t got = recv(p->fd, p->buffer, left < BUFFER ? (size_t)left : BUFFER, 0);
        if (got <= 0) return false;
        left -= (uint64_t)got;
    }
    __atomic_add_fetch(&total, length, __ATOMIC_RELAXED);
    return true;
}

static bool answer(struct peer *p, const char *status, uint64_t number)
{
    char body[32], text[160];
    int n = snprintf(body, sizeof body, "%llu\n", (unsigned long long)number);
    int length =
        snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
                 status, n, body);
    return send(p->fd, text, (size_t)length, MSG_NOSIGNAL) == length;
}

static bool serve(struct peer *p)
{
    size_t n = read_head(p);
    if (n == 0) return false;
    p->buffer[n - 1] = '\0';
    const char *length = field(p->buffer, "Content-Length");
    const char *expect = field(p->buffer, "Expect");
    bool get = strncmp(p->buffer, "GET ", 4) == 0, known = get || length;
    uint64_t bytes = length ? strtoull(length, NULL, 10) : 0;
    discard(p, n);
    if (!known) return answer(p, "411 Length Required", 0), false;
    if (expect && send(p->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) != 25) return false;
    if (!read_body(p, bytes)) return false;
    return answer(p, "200 OK", get ? __atomic_load_n(&total, __ATOMIC_RELAXED) : bytes);
}

static void *run(void *argument)
{
    struct peer *p = argument;
    while (serve(p)) continue;
    close(p->fd);
    free(p);
    return NULL;
}

static int listen_on(const char *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 128) != 0) return -1;
    return fd;
}

int main(int argc, char **argv)
{
    int listener = argc == 2 ? listen_on(argv[1]) : -1;
    if (listener < 0) return perror("sink PORT"), 1;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        struct peer *p = fd < 0 ? NULL : calloc(1, sizeof *p);
        pthread_t thread;
        if (!p) continue;
        p->fd = fd;
        if (pthread_create(&thread, NULL, run, p) == 0) pthread_detach(thread);
    }
}
