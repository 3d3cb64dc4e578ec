// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP/2 engine (RFC 9113): an nghttp2 session in memory between a connection's two buffers, one exchange
// per stream.
//
//   h2.c          life of a connection: receiving, sending, draining, closing, clocks
//   h2_session.c  what nghttp2 calls: frames become streams and news of streams
//   h2_stream.c   what exchanges call: answers and request bodies
//   h2_memory.c   what nghttp2 allocates
//   h2_guard.c    frames and resets that a client may cost us
//
// nghttp2 must not be entered from its own callbacks, and the journey and the proxy call engines at will. So
// callbacks only note what has happened (`news`); it is told to exchanges when nghttp2 has returned. What
// exchanges say is put into conn->out at once, as far as windows and room allow, and leaves at the end of the
// loop's round together with what others on the connection said (`dirty`).
#pragma once

#include <nghttp2/nghttp2.h>

#include "gateway/edge/conn.h"
#include "gateway/edge/h2_memory.h"
#include "http/h2_request.h"

enum {
    H2_FRAME_ROOM = 9 + 16 * 1024 + 512, // a frame that nghttp2 composes fits
    H2_DATA_BYTES = 16 * 1024 - 9,       // of one DATA frame, which then fills one TLS record
    H2_WRITE_MARK = 32 * 1024,           // bytes in conn->out that make an exchange wait
    H2_STREAMS_DEFAULT = 100,            // when the configuration says 0
};

struct h2_link {
    struct h2_link *prev, *next; // NULL when in no list
};
void h2_list_init(struct h2_link *head);
bool h2_list_empty(const struct h2_link *head);
void h2_list_append(struct h2_link *head, struct h2_link *l); // nothing when it is in a list already
void h2_list_remove(struct h2_link *l);                       // nothing when it is in none

// What one client may cost us beside its requests: two leaky buckets.
struct h2_bucket {
    int64_t at;    // ms, when it was looked at last
    int64_t level; // thousandths
};
struct h2_guard {
    struct h2_bucket frames; // that bring nothing: SETTINGS, PING, WINDOW_UPDATE, empty DATA, unknown ones
    struct h2_bucket resets; // of requests: whoever makes work and throws it away
    size_t progress;         // bytes of bodies since the last credit
};
// False: too many of these.
bool h2_guard_frame(struct h2_guard *g, int64_t now_ms);
bool h2_guard_reset(struct h2_guard *g, int64_t now_ms);
// Bodies move: whoever does so sends window updates.
void h2_guard_moved(struct h2_guard *g, size_t bytes);

struct h2_stream {
    struct h2_link all, news, waiting; // of struct h2
    struct h2_stream *next_free;
    struct timer timer; // the client's clock
    struct worker *worker;
    struct conn *conn;  // NULL: has gone
    struct exchange *x; // NULL: has ended
    int32_t id;
    bool starting;       // news: the head is complete
    bool body_news;      // news: more body, or its end
    bool closed;         // news, while there is an exchange: nghttp2 knows the stream no more
    bool started;        // the journey has begun
    bool cancelled;      // by the client
    bool answered_early; // the answer is complete, the request is not
    bool end_received;   // END_STREAM: no more body comes
    bool send_body;      // the answer has one
    bool ended;          // everything of the answer is in conn->out or in nghttp2
    bool continue_sent;
    bool blocked;       // the client did not take all of what was there
    bool orphan;        // the exchange is over, but it has jobs in other threads
    uint32_t error;     // of RST_STREAM
    int64_t left;       // of the answer's body; -1: unknown
    struct str source;  // what nghttp2 may take now; only set within h2_write
    size_t taken;       // of it
    struct buffer body; // of the request, not consumed yet
};

struct h2 {
    struct conn *conn;
    nghttp2_session *session;
    struct h2_link dirty;                  // of struct h2_worker
    struct h2_link streams, news, waiting; // waiting: answers that could not be written
    unsigned nexchanges;                   // of this connection, orphans included
    unsigned max_streams;
    struct h2_stream *receiving; // whose header block is on its way
    struct h2_request request;   // the same
    size_t trailer_bytes;
    int64_t head_deadline; // ms; 0: no header block has begun
    int32_t head_id;       // of its stream
    int64_t idle_deadline; // for when there is no exchange
    int64_t drain_at;      // when the last GOAWAY is due
    int64_t end_by;        // the connection is closed then, whatever the client takes; 0: not ending
    int64_t clock;         // what the timer is set for
    int64_t sent_at;       // ms: when the client took something last
    size_t buffered;       // request bodies, all streams
    size_t withheld;       // of these, not yet given back to the connection's window
    struct h2_guard guard;
    struct err why;      // the client's fault: the connection ends
    bool answered_early; // some stream was
    bool crowded;        // something waits for room in conn->out
    bool draining, goaway, linger, terminated;
    size_t lingered;
};

// Shared by a worker's connections.
struct h2_worker {
    struct h2_memory memory;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct buffer_pool bodies;
    struct h2_stream *free_streams;
    unsigned nfree;
    struct h2_link dirty;
};
struct h2_worker *h2_worker_new(size_t connections); // at most, as far as is known
void h2_worker_free(struct h2_worker *w);            // NULL is accepted
// At the end of a round: what was said leaves.
void h2_worker_flush(struct h2_worker *w);

static inline int64_t h2_now(const struct h2 *h)
{
    return h->conn->worker->loop.now_ms;
}

// --- between the files of the engine

// Something is to be sent, or to be told: at the end of the round.
void h2_touch(struct h2 *h);
// Takes out of nghttp2 what it wants to send, as far as there is room.
void h2_pump(struct h2 *h);
// Sends what is in conn->out, and notes that the client took some.
void h2_send(struct h2 *h);
// The client has misbehaved: one log line, GOAWAY, the end.
void h2_refuse(struct h2 *h, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

nghttp2_session_callbacks *h2_session_callbacks(void);
nghttp2_option *h2_session_option(void);
ssize_t h2_session_read_answer(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                               nghttp2_data_source *source, void *h2);

extern const struct engine h2_engine;
// A stream with an exchange whose head is awaited. NULL: out of memory.
struct h2_stream *h2_stream_new(struct h2 *h, int32_t id);
void h2_stream_start(struct h2_stream *st);
// nghttp2 has forgotten it.
void h2_stream_closed(struct h2_stream *st, uint32_t error);
// A piece of the request's body. False: out of memory.
bool h2_stream_data(struct h2_stream *st, struct str data);
void h2_stream_timeout(struct timer *t);
// The client or the connection has gone: the exchange learns of it.
void h2_stream_gone(struct h2_stream *st);
// The connection is being freed, and there is no exchange any more.
void h2_stream_forget(struct h2_stream *st);
