// SPDX-License-Identifier: GPL-3.0-or-later
#include "unix_backend.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int unix_listen(struct edge *e, const char *name, int backlog)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", e->dir, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

int unix_take_some(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    if (poll(&p, 1, ms) != 1) return -1;
    int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(got, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    return got;
}

int unix_take(int fd)
{
    int got = unix_take_some(fd, RIG_WAIT_MS);
    if (got < 0) fail_msg("no connection came");
    return got;
}

// A new client's request, taken by the backend that listens on `fd` and left unanswered.
int unix_ask(struct edge *e, struct client *c, const char *request, int fd)
{
    client_open(e, c);
    client_send(c, request);
    int b = unix_take(fd);
    backend_await(b, "\r\n\r\n");
    return b;
}

// The last answer on this connection.
void unix_answer(struct client *c, int b)
{
    backend_send(b, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    client_expect(c, "HTTP/1.1 200");
    client_close(c);
    close(b);
}

void expect_status(struct edge *e, const char *request, const char *status, const char *reason)
{
    struct client c;
    client_open(e, &c);
    client_send(&c, request);
    client_expect(&c, status);
    edge_expect_log(e, "\"event\":\"access\"", reason);
    client_close(&c);
}
