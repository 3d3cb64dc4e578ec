// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/upstream.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/edge/conn.h"

enum { POOL_MAX = 64, POOL_IDLE_MS = 30 * 1000 };

static void drop_slot(struct upstream *u)
{
    if (!u->slot) return;
    u->slot = false;
    backend_slot_release(u->worker, u->target, u->backend);
}

// close_notify, as far as there is room: the backend sees that nobody cut the connection.
static void say_goodbye(struct upstream *u)
{
    ERR_clear_error();
    if (!u->broken && SSL_is_init_finished(u->ssl)) SSL_shutdown(u->ssl);
    ERR_clear_error();
    SSL_free(u->ssl);
}

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
    if (u->ssl) say_goodbye(u);
    close(u->io.fd);
    buffer_release(&u->in);
    buffer_release(&u->out);
    drop_slot(u);
    loop_defer_free(&u->worker->loop, u);
}

// --- bytes

// After an SSL_* call that did not succeed: what to wait for, or that it is over. An end without close_notify
// is SSL_ERROR_SSL: whoever cut it may not have been the backend, so the answer counts as broken.
void upstream_note_tls(struct upstream *u, int result)
{
    switch (SSL_get_error(u->ssl, result)) {
    case SSL_ERROR_WANT_READ: u->readable = false; return;
    case SSL_ERROR_WANT_WRITE: u->writable = false; return;
    case SSL_ERROR_ZERO_RETURN: u->eof = true; break; // close_notify
    case SSL_ERROR_SSL:
        if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
            u->tls_error = ERR_peek_error();
        u->eof = u->broken = true;
        break;
    default: u->eof = u->broken = true; break;
    }
    u->readable = false;
    ERR_clear_error();
}

static size_t receive_tls(struct upstream *u, char *p, size_t n)
{
    ERR_clear_error();
    int got = SSL_read(u->ssl, p, (int)n);
    if (got > 0) return (size_t)got;
    upstream_note_tls(u, got);
    return 0;
}

static size_t receive(struct upstream *u, char *p, size_t n)
{
    ssize_t got = recv(u->io.fd, p, n, 0);
    if (got > 0 && (size_t)got < n && !u->hung_up) u->readable = false; // emptied: more will be announced
    if (got > 0) return (size_t)got;
    u->readable = false;
    if (got == 0)
        u->eof = true;
    else if (errno != EAGAIN)
        u->eof = u->broken = true;
    return 0;
}

static bool has_more(const struct upstream *u)
{
    return !u->eof && (u->ssl ? tls_socket_has_more(&u->socket, u->ssl) : u->readable);
}

bool upstream_fill(struct upstream *u, size_t max)
{
    size_t before = u->in.end;
    while (has_more(u) && buffer_take(&u->in) && buffer_room(&u->in) > 0 && u->in.end - before < max) {
        char *p = u->in.p + u->in.end;
        size_t n = buffer_room(&u->in), left = max - (u->in.end - before);
        if (n > left) n = left;
        size_t got = u->ssl ? receive_tls(u, p, n) : receive(u, p, n);
        // TLS may have to write before it can read on: then `readable` stays set, and the next event tries
        // again.
        if (got == 0) break;
        u->in.end += got;
    }
    return u->in.end > before;
}

static size_t transmit_tls(struct upstream *u, const char *p, size_t n)
{
    ERR_clear_error();
    int done = SSL_write(u->ssl, p, (int)n);
    if (done > 0) return (size_t)done;
    bool readable = u->readable, eof = u->eof;
    upstream_note_tls(u, done);
    // What the backend has said before it stopped listening can still be read.
    if (u->broken && !u->tls_error) u->readable = readable, u->eof = eof;
    return 0;
}

static size_t transmit(struct upstream *u, const char *p, size_t n)
{
    ssize_t done = send(u->io.fd, p, n, MSG_NOSIGNAL);
    if (done > 0) return (size_t)done;
    if (errno == EAGAIN)
        u->writable = false;
    else
        u->broken = true;
    return 0;
}

size_t upstream_send(struct upstream *u, struct str data)
{
    if (!u->writable || u->broken) return 0;
    return u->ssl ? transmit_tls(u, data.p, data.n) : transmit(u, data.p, data.n);
}

bool upstream_flush(struct upstream *u)
{
    while (buffer_used(&u->out) > 0 && u->writable && !u->broken) {
        const char *p = u->out.p + u->out.start;
        size_t n = buffer_used(&u->out), done = u->ssl ? transmit_tls(u, p, n) : transmit(u, p, n);
        if (done == 0) break;
        buffer_consume(&u->out, done);
    }
    return buffer_used(&u->out) == 0;
}

void upstream_why_broken(const struct upstream *u, const char *when, struct err *err)
{
    if (u->tls_error)
        tls_client_failure(u->ssl, u->tls_error, u->backend->authority.p, err);
    else
        err_set(err, ERR_PROXY_RESET, "%.*s closed the connection %s", STR_FMT(u->backend->authority), when);
}

// --- the loop's callbacks

// Nothing may be there to read on a connection that has no request: its end, or bytes behind the end of the
// last answer. The next visitor would get them as theirs. The event that tells may still be on its way.
static bool is_silent(const struct upstream *u)
{
    char byte;
    if (!u->ssl) return recv(u->io.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
    ERR_clear_error();
    int got = SSL_peek(u->ssl, &byte, 1); // takes in session tickets, which come when they like
    bool silent = got <= 0 && SSL_get_error(u->ssl, got) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return silent;
}

static void upstream_ready(struct io *io, uint32_t events)
{
    struct upstream *u = container_of(io, struct upstream, io);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) u->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) u->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) u->hung_up = true;
    switch (u->state) {
    case UPSTREAM_CONNECTING: upstream_go_on_connecting(u); break;
    case UPSTREAM_BUSY: u->user->run(u); break;
    case UPSTREAM_IDLE: // it was closed by the backend, or speaks out of turn: of no use in either case
        if (u->readable && (u->hung_up || !is_silent(u))) upstream_close(u);
        break;
    }
}

static void upstream_timeout(struct timer *t)
{
    struct upstream *u = container_of(t, struct upstream, timer);
    if (u->state == UPSTREAM_IDLE)
        upstream_close(u);
    else if (!u->parked || upstream_unpark(u))
        u->user->timeout(u);
}

// --- the pool

static void attach(struct upstream *u, struct exchange *x)
{
    u->x = x;
    u->slot = x->slot;
    x->slot = false;
    x->upstream = u;
    x->upstream_name = u->backend->authority;
    u->since = u->worker->loop.now_ms;
    u->scanned = 0;
    u->interim = 0;
    u->stream = u->request_done = u->got_bytes = u->head_done = u->body_done = u->keep = false;
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

struct upstream *upstream_get(struct exchange *x, bool fresh)
{
    struct worker *w = x->worker;
    const struct route_target *t = x->route->target;
    struct upstream *u = fresh ? NULL : take_idle(&w->pools[t->index][x->backend], x);
    if (u) return u;
    u = upstream_connect(&(struct upstream_plan){ .worker = w,
                                                  .target = t,
                                                  .backend = &t->backends[x->backend],
                                                  .user = &proxy_user,
                                                  .addresses_tried = &x->addresses_tried,
                                                  .ms = t->connect_timeout * 1000 },
                         &x->err);
    if (u) attach(u, x);
    return u;
}

struct upstream *upstream_new(const struct upstream_plan *plan)
{
    struct worker *w = plan->worker;
    struct upstream *u = calloc(1, sizeof *u);
    if (!u) return NULL;
    *u = (struct upstream){ .io = { -1, upstream_ready },
                            .timer.fire = upstream_timeout,
                            .worker = w,
                            .pool = &w->pools[plan->target->index][plan->backend - plan->target->backends],
                            .target = plan->target,
                            .backend = plan->backend,
                            .user = plan->user,
                            .state = UPSTREAM_CONNECTING,
                            .connect_by = w->loop.now_ms + plan->ms,
                            .in.pool = &w->upstream_buffers,
                            .out.pool = &w->upstream_buffers };
    return u;
}

static bool is_reusable(const struct upstream *u)
{
    return u->keep && u->request_done && u->body_done && !u->hung_up && !u->eof && !u->broken &&
           buffer_used(&u->in) == 0 && buffer_used(&u->out) == 0 && u->pool->nidle < POOL_MAX &&
           !u->worker->draining &&
           u->generation == resolver_generation(u->worker->shared->resolver, u->backend);
}

void upstream_release(struct upstream *u)
{
    if (u->x) u->x->upstream = NULL;
    u->x = NULL;
    if (!is_reusable(u)) {
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
    drop_slot(u);
}
