// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/whole_body.h"

#include "gateway/journey/answer.h"

struct whole_body {
    struct sbuf text;
    struct whole_body_reader reader;
};

// x->err is set.
static void fail(struct exchange *x, const struct whole_body_reader *r)
{
    x->on_body = NULL;
    if (r->failed)
        r->failed(x, r->context);
    else
        answer_error(x, STR_NONE);
}

static void too_large(struct exchange *x, size_t max, const struct whole_body_reader *r)
{
    err_set(&x->err, ERR_TOO_LARGE, "a body of more than %zu bytes", max);
    fail(x, r);
}

static void no_memory(struct exchange *x, const struct whole_body_reader *r)
{
    err_set(&x->err, ERR_NO_MEMORY, "reading a body");
    fail(x, r);
}

static void complete(struct exchange *x, struct whole_body *b)
{
    struct str text = b->text.n ? sbuf_str(&b->text) : STR("");
    x->on_body = NULL;
    if (text.p)
        b->reader.done(x, text, b->reader.context);
    else
        no_memory(x, &b->reader);
}

static void read_more(struct exchange *x)
{
    struct whole_body *b = x->work;
    struct str data;
    while ((data = x->engine->body_peek(x)).n > 0) {
        sbuf_add(&b->text, data);
        x->engine->body_consume(x, data.n);
        if (b->text.failed) {
            too_large(x, b->text.max, &b->reader);
            return;
        }
    }
    if (x->body_failed)
        fail(x, &b->reader);
    else if (x->body_done)
        complete(x, b);
}

void whole_body_read(struct exchange *x, size_t max, const struct whole_body_reader *reader)
{
    struct whole_body *b = arena_alloc(x->arena, sizeof *b);
    if (!b) {
        no_memory(x, reader);
        return;
    }
    if (x->req.content_length > (int64_t)max) {
        too_large(x, max, reader);
        return;
    }
    sbuf_init(&b->text, x->arena, max);
    b->reader = *reader;
    x->work = b;
    x->on_body = read_more;
    read_more(x);
}
