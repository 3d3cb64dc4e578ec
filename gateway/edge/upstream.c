// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/edge/conn.h"

enum { POOL_MAX = 64, POOL_IDLE_MS = 30 * 1000, AVOID_MS = 5 * 1000 };

void upstream_close(struct upstream *u)
{
    if (u->closed) return;
    u->closed = true;
    if (u->state == UPSTREAM_IDLE) {
        struct upstream **at = &u->pool->idle;
        while (*at != u) at = &(*at)->next;
        *at = u->next;
        u->pool->nidle--;
    }
    if (u->x) u->x->upstream = NULL;
    u->x = NULL;
    timer_clear(&u->worker->loop, &u->timer);
    loop_remove(&u->worker->loop, &u->io);
    close(u->io.fd);
    buffer_release(&u->in);
    buffer_release(&u->out);
    loop_defer_free(&u->worker->loop, u);
}

bool upstream_fill(struct upstream *u)
{
    size_t before = u->in.end;
    while (u->readable && !u->eof && buffer_take(&u->in) && buffer_room(&u->in) > 0) {
        ssize_t got = recv(u->io.fd, u->in.p + u->in.end, buffer_room(&u->in), 0);
        if (got > 0) {
            u->in.end += (size_t)got;
            continue;
        }
        u->readable = false;
        if (got == 0)
            u->eof = true;
        else if (errno == EINTR)
            u->readable = true;
        else if (errno != EAGAIN)
            u->eof = u->broken = true;
    }
    return u->in.end > before;
}

bool upstream_flush(struct upstream *u)
{
    while (buffer_used(&u->out) > 0 && u->writable && !u->broken) {
        ssize_t done = send(u->io.fd, u->out.p + u->out.start, buffer_used(&u->out), MSG_NOSIGNAL);
        if (done > 0)
            buffer_consume(&u->out, (size_t)done);
        else if (errno == EAGAIN)
            u->writable = false;
        else if (errno != EINTR)
            u->broken = true;
    }
    return buffer_used(&u->out) == 0;
}

// --- the loop's callbacks

static void finish_connect(struct upstream *u)
{
    int failure = 0;
    socklen_t n = sizeof failure;
    getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &failure, &n);
    if (failure) {
        proxy_connect_failed(u, strerror(failure));
        return;
    }
    u->state = UPSTREAM_BUSY;
    u->pool->address = u->address;
    timer_set(&u->worker->loop, &u->timer, u->x->route->target->response_timeout * 1000);
    proxy_run(u);
}

static void upstream_ready(struct io *io, uint32_t events)
{
    struct upstream *u = container_of(io, struct upstream, io);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) u->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) u->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) u->hung_up = true;
    switch (u->state) {
    case UPSTREAM_CONNECTING:
        if (u->writable) finish_connect(u);
        break;
    case UPSTREAM_BUSY: proxy_run(u); break;
    case UPSTREAM_IDLE: // it was closed by the backend, or speaks out of turn: of no use in either case
        if (u->readable) upstream_close(u);
        break;
    }
}

static void upstream_timeout(struct timer *t)
{
    struct upstream *u = container_of(t, struct upstream, timer);
    if (u->state == UPSTREAM_IDLE)
        upstream_close(u);
    else
        proxy_timeout(u);
}

// --- the pool

static void attach(struct upstream *u, struct exchange *x)
{
    u->x = x;
    x->upstream = u;
    x->upstream_name = u->backend->authority;
    u->scanned = 0;
    u->interim = 0;
    u->stream = u->request_done = u->got_bytes = u->head_done = u->body_done = u->keep = false;
}

// Nothing may be there to read on a connection that has no request: its end, or bytes behind the end of the
// last answer. The next visitor would get them as theirs. The event that tells may still be on its way.
static bool is_silent(const struct upstream *u)
{
    char byte;
    return recv(u->io.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

static struct upstream *take_idle(struct upstream_pool *pool, struct exchange *x)
{
    while (pool->idle && !is_silent(pool->idle)) upstream_close(pool->idle);
    struct upstream *u = pool->idle;
    if (!u) return NULL;
    pool->idle = u->next;
    pool->nidle--;
    u->state = UPSTREAM_BUSY;
    u->reused = true;
    attach(u, x);
    timer_set(&u->worker->loop, &u->timer, x->route->target->response_timeout * 1000);
    return u;
}

static int start_connecting(const struct sockaddr_storage *address, socklen_t n)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    tcp_options(fd);
    if (connect(fd, (const struct sockaddr *)address, n) == 0 || errno == EINPROGRESS) return fd;
    int failure = errno;
    close(fd);
    errno = failure;
    return -1;
}

// Tries the addresses that x has not tried yet, the one that worked last first, until one takes the attempt.
static int connect_some_address(struct upstream_pool *pool, struct exchange *x, const struct backend *b,
                                size_t *ret_which, bool *ret_more)
{
    struct sockaddr_storage address;
    socklen_t n;
    size_t count = x->addresses_tried + 1;
    int fd = -1;
    for (; fd < 0 && x->addresses_tried < count; x->addresses_tried++) {
        size_t which = pool->address + x->addresses_tried;
        count = resolver_address(x->worker->shared->resolver, b, which, &address, &n);
        if (count == 0) {
            err_set(&x->err, ERR_PROXY_RESOLVE, "the name of backend %.*s does not resolve",
                    STR_FMT(b->authority));
            return -1;
        }
        fd = start_connecting(&address, n);
        if (fd < 0)
            err_set(&x->err, ERR_PROXY_CONNECT, "connecting to %.*s: %s", STR_FMT(b->authority),
                    strerror(errno));
        *ret_which = which % count;
    }
    *ret_more = x->addresses_tried < count;
    return fd;
}

static struct upstream *connect_new(struct upstream_pool *pool, struct exchange *x, const struct backend *b)
{
    struct worker *w = x->worker;
    size_t which = 0;
    bool more = false;
    int fd = connect_some_address(pool, x, b, &which, &more);
    if (fd < 0) return NULL;
    struct upstream *u = calloc(1, sizeof *u);
    if (!u) goto fail;
    *u = (struct upstream){ .io = { fd, upstream_ready },
                            .timer.fire = upstream_timeout,
                            .worker = w,
                            .pool = pool,
                            .backend = b,
                            .state = UPSTREAM_CONNECTING,
                            .address = which,
                            .addresses_left = more,
                            .in.pool = &w->upstream_buffers,
                            .out.pool = &w->upstream_buffers };
    if (!loop_add(&w->loop, &u->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) goto fail;
    attach(u, x);
    timer_set(&w->loop, &u->timer, x->route->target->connect_timeout * 1000);
    return u;
fail:
    err_set(&x->err, ERR_PROXY_CONNECT, "connecting to %.*s: %s", STR_FMT(b->authority), strerror(errno));
    close(fd);
    free(u);
    return NULL;
}

void upstream_choose(struct exchange *x)
{
    const struct route_target *t = x->route->target;
    size_t first = x->worker->next_backend++ % t->nbackends;
    x->backend = first;
    for (size_t i = 0; i < t->nbackends; i++) {
        size_t k = (first + i) % t->nbackends;
        if (x->worker->pools[t->index][k].avoid_until > x->worker->loop.now_ms) continue;
        x->backend = k;
        return;
    }
}

void upstream_avoid(const struct upstream *u)
{
    u->pool->avoid_until = u->worker->loop.now_ms + AVOID_MS;
}

struct upstream *upstream_get(struct exchange *x, bool fresh)
{
    const struct route_target *t = x->route->target;
    struct upstream_pool *pool = &x->worker->pools[t->index][x->backend];
    struct upstream *u = fresh ? NULL : take_idle(pool, x);
    return u ? u : connect_new(pool, x, &t->backends[x->backend]);
}

void upstream_release(struct upstream *u)
{
    if (u->x) u->x->upstream = NULL;
    u->x = NULL;
    bool clean = u->keep && u->request_done && u->body_done && !u->hung_up && !u->eof && !u->broken &&
                 buffer_used(&u->in) == 0 && buffer_used(&u->out) == 0;
    if (!clean || u->pool->nidle >= POOL_MAX || u->worker->draining) {
        upstream_close(u);
        return;
    }
    buffer_release(&u->in);
    buffer_release(&u->out);
    u->state = UPSTREAM_IDLE;
    u->next = u->pool->idle;
    u->pool->idle = u;
    u->pool->nidle++;
    timer_set(&u->worker->loop, &u->timer, POOL_IDLE_MS);
}
