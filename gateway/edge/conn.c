// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/h1.h"

void conn_link(struct conn *c)
{
    c->next = c->worker->conns;
    if (c->next) c->next->prev = c;
    c->worker->conns = c;
    c->worker->nconns++;
    metric_add(&c->worker->metrics.connections_total, 1);
    metric_add(&c->worker->metrics.connections_open, 1);
    timer_set(&c->worker->loop, &c->timer, c->worker->shared->config->timeout_request_head * 1000);
}

static void unlink_conn(struct conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->worker->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    c->worker->nconns--;
    metric_add(&c->worker->metrics.connections_open, (uint64_t)-1);
}

void conn_close(struct conn *c)
{
    if (c->closed) return;
    c->closed = true;
    if (c->protocol) c->protocol->gone(c);
    struct worker *w = c->worker;
    timer_clear(&w->loop, &c->timer);
    loop_remove(&w->loop, &c->io);
    SSL_free(c->ssl);
    close(c->io.fd);
    buffer_release(&c->in);
    buffer_release(&c->out);
    unlink_conn(c);
    admission_leave(w->shared->admission, &c->ticket);
    loop_defer_free(&w->loop, c);
    worker_conn_closed(w);
}

// --- TLS

static void note_flood(struct conn *c)
{
    struct err err = { 0 };
    err_set(&err, ERR_TLS_FLOOD, "%llu TLS records that change keys", (unsigned long long)c->socket.late);
    refusal_log_add(&c->worker->refusals, &c->address, &err);
}

// After an SSL_* call that did not succeed: what to wait for, or that it is over. The thread's error queue
// has to be empty before each such call: a leftover of any other use of OpenSSL would read as this
// connection's failure.
static void note_tls_error(struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: c->readable = false; return;
    case SSL_ERROR_WANT_WRITE: c->writable = false; return;
    case SSL_ERROR_ZERO_RETURN: c->eof = true; break; // close_notify
    default:
        if (!c->broken && tls_socket_floods(&c->socket)) note_flood(c);
        c->eof = c->broken = true;
        break;
    }
    c->readable = false;
    ERR_clear_error();
}

static void handshake_failed(struct conn *c, const char *why)
{
    metric_add(&c->worker->metrics.tls_handshakes_failed_total, 1);
    log_message(LOG_DEBUG, "tls.handshake", "handshake with %s %s", c->peer, why);
    conn_close(c);
}

// The client chose among what tls_server_new was given; whoever sends no ALPN speaks HTTP/1.1.
static const struct conn_protocol *chosen_protocol(const struct conn *c)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    if (c->ssl) SSL_get0_alpn_selected(c->ssl, &name, &n);
    bool h2 = n == 2 && memcmp(name, "h2", 2) == 0;
    return h2 ? &h2_protocol : &h1_protocol;
}

// False: out of memory, the connection is gone.
static bool speak(struct conn *c)
{
    const struct conn_protocol *p = chosen_protocol(c);
    if (p->start(c)) {
        c->protocol = p;
        return true;
    }
    conn_close(c);
    return false;
}

static bool handshake(struct conn *c)
{
    if (c->handshaken) return true;
    ERR_clear_error();
    int result = SSL_accept(c->ssl);
    if (result == 1) {
        c->handshaken = true;
        return speak(c);
    }
    note_tls_error(c, result);
    if (c->broken || c->eof) handshake_failed(c, "failed");
    return false;
}

static size_t receive(struct conn *c, char *p, size_t n)
{
    if (c->ssl) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, p, (int)n);
        if (got > 0) return (size_t)got;
        note_tls_error(c, got);
        return 0;
    }
    ssize_t got = recv(c->io.fd, p, n, 0);
    if (got > 0 && (size_t)got < n && !c->hung_up) c->readable = false; // emptied: more will be announced
    if (got > 0) return (size_t)got;
    if (got == 0)
        c->eof = true;
    else if (errno != EAGAIN)
        c->eof = c->broken = true;
    c->readable = false;
    return 0;
}

bool conn_has_more(const struct conn *c)
{
    return !c->eof && (c->ssl ? tls_socket_has_more(&c->socket, c->ssl) : c->readable);
}

bool conn_fill(struct conn *c)
{
    size_t before = c->in.end;
    while (conn_has_more(c) && buffer_take(&c->in) && buffer_room(&c->in) > 0) {
        size_t got = receive(c, c->in.p + c->in.end, buffer_room(&c->in));
        // TLS may have to write before it can read on (an answer to KeyUpdate while the client takes
        // nothing): then `readable` stays set, and the next event tries again.
        if (got == 0) break;
        c->in.end += got;
        metric_add(&c->worker->metrics.bytes_in_total, got);
    }
    return c->in.end > before;
}

static size_t send_some(struct conn *c, const char *p, size_t n)
{
    if (c->ssl) {
        ERR_clear_error();
        int done = SSL_write(c->ssl, p, (int)n);
        if (done > 0) return (size_t)done;
        note_tls_error(c, done);
        return 0;
    }
    ssize_t done = send(c->io.fd, p, n, MSG_NOSIGNAL);
    if (done > 0) return (size_t)done;
    if (errno == EAGAIN)
        c->writable = false;
    else
        c->broken = true;
    return 0;
}

bool conn_flush(struct conn *c)
{
    while (buffer_used(&c->out) > 0 && c->writable && !c->broken) {
        size_t done = send_some(c, c->out.p + c->out.start, buffer_used(&c->out));
        if (done == 0) break;
        metric_add(&c->worker->metrics.bytes_out_total, done);
        buffer_consume(&c->out, done);
    }
    return buffer_used(&c->out) == 0;
}

bool conn_shutdown(struct conn *c)
{
    ERR_clear_error();
    int result =
        c->ssl && !c->broken ? SSL_shutdown(c->ssl) : 0; // the client's close_notify is not waited for
    if (result < 0) note_tls_error(c, result);
    // A body that ends with the connection would look cut off without its close_notify.
    if (result < 0 && !c->broken && !c->writable) return false;
    shutdown(c->io.fd, SHUT_WR);
    return true;
}

// A copy: the exchange may outlive the connection.
void conn_introduce(const struct conn *c, struct exchange *x)
{
    x->client = arena_str_c(x->arena, c->peer);
    x->address = c->address;
    x->secure = x->tls = c->ssl != NULL;
    x->redirect_only = c->listener->redirect_to_https;
}

void conn_is_from(struct conn *c, const struct ip_address *who)
{
    c->address = *who;
    ip_text(who, c->peer);
}

// --- the loop's callbacks

static void conn_ready(struct io *io, uint32_t events)
{
    struct conn *c = container_of(io, struct conn, io);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) c->writable = true;
    if (events & EPOLLRDHUP) c->hung_up = true;
    if (events & (EPOLLHUP | EPOLLERR)) c->broken = true; // both directions are closed, or reset
    if (c->awaits_header && !conn_read_header(c)) return;
    if (c->ssl && !handshake(c)) return;
    c->protocol->run(c);
}

static void conn_timeout(struct timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);
    if (c->protocol) {
        c->protocol->timeout(c);
    } else if (c->awaits_header) {
        conn_header_late(c);
    } else {
        handshake_failed(c, "took too long");
    }
}

// Small writes go out at once; and bytes wait here, where their number and age are known, and not by the
// megabyte in the kernel: "sent" has to mean something to the clocks.
void tcp_options(int fd)
{
    int one = 1, unsent = 128 * 1024;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

// A handshake may be finished, and the request behind it be answered.
void conn_drain(struct conn *c)
{
    if (c->protocol)
        c->protocol->drain(c);
    else
        timer_set(&c->worker->loop, &c->timer, CONN_DRAIN_MS);
}

void conn_prepare(struct conn *c)
{
    c->io.ready = conn_ready;
    c->timer.fire = conn_timeout;
}

bool conn_begin(struct conn *c)
{
    const struct shared *s = c->worker->shared;
    struct tls_server *tls = s->tls[c->listener - s->config->listeners];
    if (!tls) {
        c->handshaken = true;
        return speak(c);
    }
    c->ssl = tls_server_accept(tls);
    c->socket = (struct tls_socket){ .fd = c->io.fd, .readable = &c->readable, .hung_up = &c->hung_up };
    if (c->ssl && tls_socket_attach(c->ssl, &c->socket)) return true;
    conn_close(c);
    return false;
}
