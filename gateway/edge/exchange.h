// SPDX-License-Identifier: GPL-3.0-or-later
// One request and its answer. An HTTP engine (gateway/edge/h1.c) makes an exchange when it has a request
// head, runs the journey (gateway/journey/request.c) on it, and carries the bytes in both directions. The
// journey and the proxy never see a connection.
//
// Life: NEW -> the journey runs -> somebody answers (own page or the proxy) -> engine->end or engine->abort
// -> freed. An exchange whose client went away stays until its jobs in other threads have come back (`jobs`),
// then it is freed.
#pragma once

#include "base/ip.h"
#include "gateway/edge/worker.h"
#include "gateway/store/session.h"
#include "http/head.h"
#include "http/target.h"

struct exchange;

// What an engine does for an exchange.
struct engine {
    const char *protocol; // for the log
    // Decoded bytes of the request body that are there now (may be none). Reads from the client when its
    // buffer is empty.
    struct str (*body_peek)(struct exchange *x);
    void (*body_consume)(struct exchange *x, size_t n);
    // Sends the head from x->status, x->answer and x->length. False: it cannot be sent (too large); the
    // exchange is still alive.
    bool (*head)(struct exchange *x);
    // Queues body bytes, returns how many were taken; fewer than given: x->on_writable is called when there
    // is room.
    size_t (*write)(struct exchange *x, struct str data);
    // About how many body bytes the client takes now: more of them need not be fetched.
    size_t (*room)(struct exchange *x);
    void (*flush)(struct exchange *x);
    // The answer is complete. The exchange is gone afterwards.
    void (*end)(struct exchange *x);
    // The answer cannot be completed: the client must notice (connection closed, stream reset). The exchange
    // is gone afterwards.
    void (*abort)(struct exchange *x);
    // Sends the head with status 101: from now on body_peek and write
    // carry the tunnel's bytes as they are, and x->body_done means that the client ends its direction. False:
    // as for head. NULL: the protocol has no upgrades (HTTP/2), and no exchange of it has x->upgrade.
    bool (*upgrade)(struct exchange *x);
    // For a tunnel whose bytes must arrive in certain pieces: flushes; true: all that was written has left
    // for the client, so that what is written next goes into a TLS record of its own. Else x->on_writable is
    // called when that is so. NULL where `upgrade` is.
    bool (*sent)(struct exchange *x);
};

struct exchange {
    struct worker *worker;
    const struct engine *engine; // NULL: the client has gone
    void *stream;                // the engine's
    struct arena *arena;         // lives as long as the exchange
    struct exchange *next_free;

    // The request
    struct http_request_head req;
    struct http_target target; // canonical
    struct str host;           // canonical
    uint16_t port;             // that the client names beside it; 0: none
    struct str authority;      // both, in their one spelling; absent until proxy_public_host is asked
    struct str client;         // address in text
    struct ip_address address; // the same; the client's, as far as trusted proxies say
    bool secure;               // came over TLS, or a trusted proxy says so
    bool tls;                  // the connection itself has TLS
    bool redirect_only;        // its listener only redirects to HTTPS
    struct str upgrade;        // the protocol that the client asks to switch to ("websocket"); absent: none
    bool tunnel;               // switched: engine->upgrade was called
    bool navigation;           // a page navigation of a browser
    bool body_done;            // the whole request body was consumed
    bool body_failed;          // its framing is wrong (x->err says how): no more will come
    char request_id[33];
    int64_t started_ms;

    // The journey
    size_t phase;
    bool own; // for the gateway itself: /.sallyport/...
    const struct route *route;
    struct session session;              // valid when has_session
    struct cached_session *kept_session; // whose strings those are
    bool has_session;
    bool stale_cookie;         // a session cookie that is not good any more: cleared with the answer
    enum err_code session_end; // why the cookie that came is good for nothing; ERR_NONE otherwise
    struct decision decision;
    struct err err; // why the answer is a refusal; ERR_NONE otherwise

    // The answer
    int status;
    struct http_fields answer;
    int64_t length;          // of the body; -1: unknown
    bool head_sent, close;   // close: the connection ends after this answer
    bool endless;            // who says goodbye and FIN does not wait for its end: an event stream, a call
    uint64_t bytes_sent;     // body
    uint64_t bytes_received; // body of the request, as far as it was passed on
    struct str body_rest;    // what is left of an own answer's body

    // Whoever consumes the request's body or produces the answer sets these; NULL: nothing to do.
    void (*on_body)(struct exchange *x);     // more body may be there, or body_done
    void (*on_writable)(struct exchange *x); // there is room again
    void (*on_gone)(struct exchange *x);     // the client has gone: release what you hold

    unsigned jobs; // operations under way in other threads
    // Set by an engine that wants to know when an exchange that was released with jobs is freed at last.
    void (*on_orphan)(struct exchange *x);
    void *owner;
    struct upstream *upstream;
    size_t backend; // of the route
    bool slot;      // it is counted there for this exchange, until `upstream` takes that over
    uint8_t *tried; // bits: those that could not be connected to; NULL: none
    size_t ntried;
    size_t addresses_tried;   // of that backend
    struct str upstream_name; // for the log; absent: not proxied
    void *work;               // of the own endpoint that is at work
    struct timer watch;       // gateway/journey/visitor.c
    uint64_t watched_bytes;
};

// For engines: an exchange with an empty arena. NULL when out of memory.
struct exchange *exchange_new(struct worker *w, const struct engine *engine, void *stream);
// For engines: the request is complete in x->req; runs the journey.
void exchange_run(struct exchange *x);
// For engines: the client has gone, or the answer has ended: `x` is freed now or when its last job comes
// back. True: now.
bool exchange_release(struct exchange *x);
// Whether the answer has a body (RFC 9110 section 6.4.1).
static inline bool exchange_body_allowed(const struct exchange *x)
{
    return !str_eq_c(x->req.method, "HEAD") && x->status != 204 && x->status != 304;
}
// For jobs: one came back. False: nobody waits any more, x is gone.
bool exchange_job_done(struct exchange *x);
