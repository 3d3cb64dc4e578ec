// SPDX-License-Identifier: GPL-3.0-or-later
// A client connection: the socket, TLS, its two buffers, its one timer. What the bytes mean is its protocol's
// business: HTTP/1.1 (gateway/edge/h1.c) or HTTP/2 (gateway/edge/h2.c), chosen by ALPN when the handshake is
// over. All calls happen on the worker's thread.
#pragma once

#include <openssl/ssl.h>

#include "gateway/edge/admission.h"
#include "gateway/edge/exchange.h"
#include "gateway/edge/tls_socket.h"
#include "http/body.h"

enum {
    CONN_IN_BYTES = LIMIT_HEAD_BYTES + 16 * 1024,
    CONN_OUT_BYTES = LIMIT_RESPONSE_HEAD_BYTES + 32 * 1024,
    CONN_DRAIN_MS = 1000, // for the first request of a connection that was made just before the end
};

// Only gateway/edge/h1*.c touch it.
enum h1_state {
    H1_HEAD,     // waiting for a request head, maybe with some of it
    H1_EXCHANGE, // an exchange is at work
    H1_FLUSH,    // the answer is complete, its last bytes are on their way
    H1_LINGER,   // everything is sent and closed for writing; what the client still sends is thrown away
};

// HTTP/1.1: one request at a time.
struct h1 {
    enum h1_state state;
    bool keep_alive;              // after the current exchange
    bool send_chunked, send_body; // framing of the current answer
    bool continue_sent;
    bool served; // an exchange has ended here
    bool tunnel; // 101 was sent: bytes are not framed any more, in both directions
    struct exchange *exchange;
    size_t scanned;         // how far the end of the head was searched for
    size_t head_bytes;      // of the current request, at the front of `in`
    struct chunked chunked; // decoder of the current request's body
    int64_t body_left;      // of a body with Content-Length
    int64_t head_deadline;  // ms; 0: no byte of a head has arrived
    size_t lingered;
};

struct h2;
struct conn;

// What a protocol does with a connection.
struct conn_protocol {
    // The handshake is over (or there is none): prepares what the connection needs. False: out of memory.
    bool (*start)(struct conn *c);
    // Bytes may have arrived or room may be there. May close the connection.
    void (*run)(struct conn *c);
    // conn->timer has fired.
    void (*timeout)(struct conn *c);
    // The worker drains: idle connections end now, busy ones after their last answer.
    void (*drain)(struct conn *c);
    // The connection is being closed: exchanges learn that their client has gone, memory is released.
    void (*gone)(struct conn *c);
};
extern const struct conn_protocol h1_protocol, h2_protocol;

struct conn {
    struct io io;
    struct timer timer;
    struct worker *worker;
    struct conn *prev, *next; // worker->conns
    const struct listener *listener;
    SSL *ssl; // NULL on plain listeners
    struct tls_socket socket;
    struct buffer in, out;
    char peer[IP_TEXT_BYTES];  // text of `address`
    struct ip_address address; // of the peer, or what its PROXY protocol header says
    struct admission_ticket ticket;
    bool awaits_header; // of the PROXY protocol: nothing else happens before it
    bool handshaken, readable, writable;
    bool eof;     // the client will send no more
    bool hung_up; // its FIN has come, maybe behind bytes that are still unread
    bool broken;  // nothing can be sent or received any more
    bool in_run;  // protocol->run is on the stack: whoever changes the state may leave the rest to it
    bool closed;  // freed at the end of the loop's round
    const struct conn_protocol *protocol; // NULL during the handshake
    union {
        struct h1 h1;
        struct h2 *h2;
    };
};

// Accepts one connection (gateway/edge/arrival.c): whether it may come, the struct, the PROXY protocol
// header, then TLS. Closes fd when it may not.
void conn_open(struct worker *w, size_t listener, int fd, const struct sockaddr *peer);
// For sockets to clients and to backends.
void tcp_options(int fd);
// Whether reading may give anything now.
bool conn_has_more(const struct conn *c);
// Reads what is there into `in` (up to its room). False when nothing was added.
bool conn_fill(struct conn *c);
// For protocols: tells a new exchange whose it is (client, secure).
void conn_introduce(const struct conn *c, struct exchange *x);
// Sends what is in `out`. True when it is empty afterwards.
bool conn_flush(struct conn *c);
// Closes at once and frees; the exchange, if any, learns that its client has gone.
void conn_close(struct conn *c);
// Says goodbye (close_notify, FIN) but goes on reading. False: there is no room for it yet.
bool conn_shutdown(struct conn *c);
// Draining: an idle connection is closed, a busy one after its last answer.
void conn_drain(struct conn *c);

// Between conn.c and arrival.c:
void conn_prepare(struct conn *c); // the loop's callbacks
void conn_link(struct conn *c);    // now it is the worker's, and its clock runs
void conn_is_from(struct conn *c, const struct ip_address *who);
// Who it is is settled: TLS, or HTTP/1.1 at once. False: c is gone.
bool conn_begin(struct conn *c);
// Looks for the PROXY protocol header. False: not complete yet, or c is gone.
bool conn_read_header(struct conn *c);
void conn_header_late(struct conn *c);
