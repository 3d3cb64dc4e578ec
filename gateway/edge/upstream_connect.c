// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/edge/conn.h"
#include "gateway/edge/upstream.h"

enum { PARK_MS = 50 };

static void connect_error(struct err *err, const struct backend *b, int failure)
{
    err_set(err, ERR_PROXY_CONNECT, "connecting to %.*s: %s", STR_FMT(b->authority), strerror(failure));
}

static bool unix_address(const struct backend *b, struct sockaddr_storage *ret, socklen_t *ret_n)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (b->unix_path.n >= sizeof a.sun_path) return false;
    memcpy(a.sun_path, b->unix_path.p, b->unix_path.n);
    memcpy(ret, &a, sizeof a);
    *ret_n = sizeof a;
    return true;
}

// The number of addresses, 0 when there is none.
static size_t find_address(const struct upstream_plan *p, size_t which, struct sockaddr_storage *ret,
                           socklen_t *ret_n, struct err *err)
{
    const struct backend *b = p->backend;
    if (b->unix_path.p) {
        if (unix_address(b, ret, ret_n)) return 1;
        connect_error(err, b, ENAMETOOLONG);
        return 0;
    }
    size_t n = resolver_address(p->worker->shared->resolver, b, which, ret, ret_n);
    if (n == 0)
        err_set(err, ERR_PROXY_RESOLVE, "the name of backend %.*s does not resolve", STR_FMT(b->authority));
    return n;
}

// A unix socket has no connection under way: EAGAIN says that the queue of the one who listens is full.
static int start_connecting(const struct sockaddr_storage *address, socklen_t n, bool *ret_parked)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (address->ss_family != AF_UNIX) tcp_options(fd);
    if (connect(fd, (const struct sockaddr *)address, n) == 0 || errno == EINPROGRESS) return fd;
    *ret_parked = address->ss_family == AF_UNIX && errno == EAGAIN;
    if (*ret_parked) return fd;
    int failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

// Tries the addresses that were not tried yet, the one that worked last first, until one takes the attempt.
static int connect_some_address(const struct upstream_plan *p, struct upstream *u, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t n;
    size_t count = *p->addresses_tried + 1;
    int fd = -1;
    for (; fd < 0 && *p->addresses_tried < count; ++*p->addresses_tried) {
        size_t which = u->pool->address + *p->addresses_tried;
        count = find_address(p, which, &address, &n, err);
        if (count == 0) return -1;
        fd = start_connecting(&address, n, &u->parked);
        if (fd < 0) connect_error(err, p->backend, errno);
        u->address = which % count;
    }
    u->addresses_left = *p->addresses_tried < count;
    return fd;
}

static bool watch(struct upstream *u)
{
    return loop_add(&u->worker->loop, &u->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

struct upstream *upstream_connect(const struct upstream_plan *plan, struct err *err)
{
    struct upstream *u = upstream_new(plan);
    if (!u) return err_set(err, ERR_NO_MEMORY, "a connection to a backend"), NULL;
    u->generation = resolver_generation(plan->worker->shared->resolver, plan->backend);
    u->io.fd = connect_some_address(plan, u, err);
    if (u->io.fd < 0) {
        free(u);
        return NULL;
    }
    metric_add(&plan->worker->metrics.backend_connections_total, 1);
    if (u->parked || watch(u)) {
        timer_set(&u->worker->loop, &u->timer, u->parked && plan->ms > PARK_MS ? PARK_MS : plan->ms);
        return u;
    }
    connect_error(err, plan->backend, errno);
    close(u->io.fd);
    free(u);
    return NULL;
}

static void fail(struct upstream *u, int failure)
{
    struct err err = { 0 };
    connect_error(&err, u->backend, failure);
    u->user->failed(u, &err);
}

bool upstream_unpark(struct upstream *u)
{
    struct sockaddr_storage address;
    socklen_t n;
    int64_t left = u->connect_by - u->worker->loop.now_ms;
    if (left <= 0) return true; // it takes too long
    if (!unix_address(u->backend, &address, &n)) return true;
    if (connect(u->io.fd, (struct sockaddr *)&address, n) != 0) {
        if (errno == EAGAIN)
            timer_set(&u->worker->loop, &u->timer, left < PARK_MS ? left : PARK_MS);
        else
            fail(u, errno);
        return false;
    }
    u->parked = false;
    if (watch(u))
        timer_set(&u->worker->loop, &u->timer, left);
    else
        fail(u, errno);
    return false;
}

// --- TLS

static const char *expected_name(const struct upstream *u)
{
    return u->target->tls.server_name.p ? u->target->tls.server_name.p : u->backend->host.p;
}

static bool start_tls(struct upstream *u)
{
    struct tls_client *tls = u->worker->shared->backends->targets[u->target->index].tls;
    u->ssl = tls_client_connect(tls, expected_name(u), &u->pool->session);
    u->socket = (struct tls_socket){ .fd = u->io.fd, .readable = &u->readable, .hung_up = &u->hung_up };
    if (u->ssl && tls_socket_attach(u->ssl, &u->socket)) return true;
    ERR_clear_error();
    fail(u, ENOMEM);
    return false;
}

static void tls_failed(struct upstream *u)
{
    struct err err = { 0 };
    tls_client_failure(u->ssl, u->tls_error, u->backend->authority.p, &err);
    u->user->failed(u, &err);
}

// True when it is over, with success.
static bool handshake(struct upstream *u)
{
    ERR_clear_error();
    int result = SSL_connect(u->ssl);
    if (result == 1) return true;
    upstream_note_tls(u, result);
    if (u->eof || u->broken) tls_failed(u);
    return false;
}

static bool socket_failed(struct upstream *u)
{
    int failure = 0;
    socklen_t n = sizeof failure;
    getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &failure, &n);
    if (failure) fail(u, failure);
    return failure != 0;
}

void upstream_go_on_connecting(struct upstream *u)
{
    if (!u->ssl) {
        if (!u->writable || socket_failed(u)) return;
        if (u->backend->tls && !start_tls(u)) return;
    }
    if (u->ssl && !handshake(u)) return;
    u->state = UPSTREAM_BUSY;
    u->pool->address = u->address;
    u->user->connected(u);
}
