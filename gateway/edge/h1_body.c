// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/h1.h"

static struct str body_window(struct conn *c)
{
    return (struct str){ c->in.p + c->in.start, c->in.end - c->in.start };
}

// The body uses the buffer behind the head, which stays where it is because the request points into it.
static void rewind_window(struct conn *c)
{
    if (c->in.start == c->in.end) c->in.start = c->in.end = c->h1.head_bytes;
}

static void send_continue(struct conn *c, struct exchange *x)
{
    if (!x->req.expect_continue || c->h1.continue_sent || x->head_sent) return;
    c->h1.continue_sent = true;
    buffer_append(&c->out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    conn_flush(c);
}

void h1_body_failed(struct exchange *x, const struct err *err)
{
    struct conn *c = x->stream;
    x->err = *err;
    x->body_failed = true; // whoever consumes the body ends the exchange
    x->close = true;       // framing is lost: nothing after this can be trusted
    c->h1.keep_alive = false;
}

// Looks at the chunked coding at the front of the window until there is data. Empty: none now.
static struct str peek_chunked(struct conn *c, struct exchange *x)
{
    struct str window = body_window(c), data = STR_NONE;
    while (window.n > 0 && !x->body_done) {
        struct chunked before = c->h1.chunked;
        size_t used = 0;
        struct err err;
        enum chunked_step step = chunked_decode(&c->h1.chunked, window.p, window.n, &used, &data, &err);
        if (step == CHUNKED_BAD) {
            h1_body_failed(x, &err);
            return STR_NONE;
        }
        if (step == CHUNKED_DATA) {
            // Framing bytes before the data are consumed for good, the data only by body_consume.
            size_t framing = (size_t)(data.p - window.p);
            struct str none;
            c->h1.chunked = before;
            if (framing) chunked_decode(&c->h1.chunked, window.p, framing, &used, &none, &err);
            c->in.start += framing;
            return data;
        }
        c->in.start += used;
        window = str_skip(window, used);
        if (step == CHUNKED_DONE) x->body_done = true;
        if (step == CHUNKED_MORE) break;
    }
    rewind_window(c);
    return STR_NONE;
}

static struct str peek_length(struct conn *c)
{
    struct str window = body_window(c);
    if ((int64_t)window.n > c->h1.body_left) window.n = (size_t)c->h1.body_left;
    return window;
}

static void body_cut_off(struct exchange *x)
{
    struct conn *c = x->stream;
    if (c->h1.tunnel) { // that is how a tunnel ends
        x->body_done = true;
        return;
    }
    struct err err = { 0 };
    err_set(&err, ERR_CLIENT_GONE, "the client stopped sending in the middle of the body");
    h1_body_failed(x, &err);
}

struct str h1_body_peek(struct exchange *x)
{
    struct conn *c = x->stream;
    while (!x->body_done && !x->body_failed) {
        struct str data = c->h1.tunnel     ? body_window(c)
                          : x->req.chunked ? peek_chunked(c, x)
                                           : peek_length(c);
        if (data.n > 0 || x->body_done || x->body_failed) return data;
        if (c->broken) break; // but what came before that counts
        send_continue(c, x);
        rewind_window(c);
        if (conn_fill(c)) {
            h1_touch(c);
            continue;
        }
        if (c->eof && !c->broken) body_cut_off(x);
        break;
    }
    return STR_NONE;
}

void h1_body_consume(struct exchange *x, size_t n)
{
    struct conn *c = x->stream;
    if (x->req.chunked) {
        size_t used;
        struct str data;
        struct err err;
        chunked_decode(&c->h1.chunked, c->in.p + c->in.start, n, &used, &data, &err);
        c->in.start += n;
        rewind_window(c);
        h1_body_peek(x); // takes the end of the body along when it is there
        return;
    }
    c->in.start += n;
    if (!c->h1.tunnel) c->h1.body_left -= (int64_t)n;
    if (!c->h1.tunnel && c->h1.body_left == 0)
        x->body_done = true;
    else
        rewind_window(c);
}
