// SPDX-License-Identifier: GPL-3.0-or-later
// The beginning of a connection: whether it may come at all, and in whose name.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/conn.h"
#include "http/proxy_protocol.h"

static bool is_trusted(const struct worker *w, const struct ip_address *who)
{
    return ip_networks_have(&w->shared->config->trusted_proxies, who);
}

static void count_refusal(struct worker *w, enum err_code why)
{
    struct worker_metrics *m = &w->metrics;
    switch (why) {
    case ERR_CONNECTIONS: metric_add(&m->connections_refused_total, 1); break;
    case ERR_CONNECTIONS_ADDRESS: metric_add(&m->connections_refused_address_total, 1); break;
    default: metric_add(&m->proxy_headers_refused_total, 1); break;
    }
}

static void note_refusal(struct worker *w, const struct ip_address *who, const struct err *why)
{
    count_refusal(w, why->code);
    refusal_log_add(&w->refusals, who, why);
}

static void turn_away(struct conn *c, const struct err *why)
{
    note_refusal(c->worker, &c->address, why);
    conn_close(c);
}

// A trusted proxy's own connections carry many people: the limit for one of them is not for these. Who is
// behind is counted as soon as a PROXY header says so.
static bool enter_address(struct conn *c, struct err *err)
{
    struct worker *w = c->worker;
    return is_trusted(w, &c->address) ||
           admission_enter_address(w->shared->admission, &c->address, &c->ticket, err);
}

// Before a byte is read, and before memory is spent.
static bool may_come(struct worker *w, const struct listener *l, const struct ip_address *who,
                     struct admission_ticket *t, struct err *err)
{
    bool trusted = is_trusted(w, who);
    if (l->proxy_protocol && !trusted)
        return err_set(err, ERR_PROXY_PROTOCOL_UNTRUSTED, "the peer is not in trusted_proxies");
    if (!admission_enter(w->shared->admission, t, err)) return false;
    if (trusted || admission_enter_address(w->shared->admission, who, t, err)) return true;
    admission_leave(w->shared->admission, t);
    return false;
}

// Only where nobody expects TLS; whether it arrives is not waited for.
static void say_busy(const struct listener *l, int fd, enum err_code why)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
                                 "Content-Length: 0\r\n\r\n";
    if (l->tls || l->proxy_protocol || (why != ERR_CONNECTIONS && why != ERR_CONNECTIONS_ADDRESS)) return;
    ssize_t sent = send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
}

static struct conn *conn_new(struct worker *w, const struct listener *l, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->io.fd = fd;
    c->worker = w;
    c->listener = l;
    c->in.pool = &w->in_buffers;
    c->out.pool = &w->out_buffers;
    c->awaits_header = l->proxy_protocol;
    conn_prepare(c);
    return c;
}

void conn_open(struct worker *w, size_t listener, int fd, const struct sockaddr *peer)
{
    const struct listener *l = &w->shared->config->listeners[listener];
    struct ip_address who = ip_of_sockaddr(peer);
    struct admission_ticket ticket = { .overall = false };
    struct err err = { 0 };
    if (!may_come(w, l, &who, &ticket, &err)) {
        note_refusal(w, &who, &err);
        say_busy(l, fd, err.code);
        close(fd);
        return;
    }
    tcp_options(fd);
    struct conn *c = conn_new(w, l, fd);
    if (!c || !loop_add(&w->loop, &c->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
        admission_leave(w->shared->admission, &ticket);
        close(fd);
        free(c);
        return;
    }
    c->ticket = ticket;
    conn_is_from(c, &who);
    conn_link(c);
    if (!c->awaits_header) conn_begin(c);
}

// --- the PROXY protocol header

static bool header_failed(struct conn *c, const struct err *why)
{
    turn_away(c, why);
    return false;
}

// Load balancers look whether the port is open by connecting to it and closing again.
static bool left_without_a_word(struct conn *c)
{
    log_message(LOG_DEBUG, "proxy_protocol", "%s connected and left", c->peer);
    conn_close(c);
    return false;
}

// False: c is gone.
static bool header_read(struct conn *c, const struct proxy_header *h)
{
    struct err err = { 0 };
    char taken[LIMIT_PROXY_HEADER_BYTES];
    if (recv(c->io.fd, taken, h->bytes, 0) != (ssize_t)h->bytes) {
        err_set(&err, ERR_PROXY_PROTOCOL, "the header cannot be read: %s", strerror(errno));
        return header_failed(c, &err);
    }
    c->awaits_header = false;
    if (!h->local) conn_is_from(c, &h->source);
    return enter_address(c, &err) ? conn_begin(c) : header_failed(c, &err);
}

// What is behind the header belongs to TLS, and TLS reads from the socket: so the header is looked at where
// it is, and then exactly its bytes are taken. A later byte of it is a new edge for epoll.
bool conn_read_header(struct conn *c)
{
    uint8_t seen[LIMIT_PROXY_HEADER_BYTES];
    struct proxy_header h;
    struct err err = { 0 };
    ssize_t n = recv(c->io.fd, seen, sizeof seen, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !c->broken) return false;
    if (n <= 0) return left_without_a_word(c);
    switch (proxy_header_parse(seen, (size_t)n, &h, &err)) {
    case PROXY_DONE: return header_read(c, &h);
    case PROXY_BAD: return header_failed(c, &err);
    case PROXY_MORE: break;
    }
    if (!c->hung_up && !c->broken) return false;
    err_set(&err, ERR_PROXY_PROTOCOL, "the header is cut off");
    return header_failed(c, &err);
}

void conn_header_late(struct conn *c)
{
    struct err err = { 0 };
    err_set(&err, ERR_PROXY_PROTOCOL_MISSING, "it did not arrive in time");
    header_failed(c, &err);
}
