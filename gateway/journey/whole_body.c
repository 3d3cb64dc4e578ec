// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/whole_body.h"

#include "gateway/journey/answer.h"

struct whole_body {
    struct sbuf text;
    void (*done)(struct exchange *x, struct str body, void *context);
    void *context;
};

static void too_large(struct exchange *x, size_t max)
{
    answer_failure(x, ERR_TOO_LARGE, "a body of more than %zu bytes", max);
}

static void complete(struct exchange *x, struct whole_body *b)
{
    struct str text = b->text.n ? sbuf_str(&b->text) : STR("");
    x->on_body = NULL;
    if (text.p)
        b->done(x, text, b->context);
    else
        answer_failure(x, ERR_NO_MEMORY, "reading a body");
}

static void read_more(struct exchange *x)
{
    struct whole_body *b = x->work;
    struct str data;
    while ((data = x->engine->body_peek(x)).n > 0) {
        sbuf_add(&b->text, data);
        x->engine->body_consume(x, data.n);
        if (b->text.failed) {
            too_large(x, b->text.max);
            return;
        }
    }
    if (x->body_failed)
        answer_error(x, STR_NONE);
    else if (x->body_done)
        complete(x, b);
}

void whole_body_read(struct exchange *x, size_t max,
                     void (*done)(struct exchange *x, struct str body, void *context), void *context)
{
    struct whole_body *b = arena_alloc(x->arena, sizeof *b);
    if (!b) {
        answer_failure(x, ERR_NO_MEMORY, "reading a body");
        return;
    }
    if (x->req.content_length > (int64_t)max) {
        too_large(x, max);
        return;
    }
    sbuf_init(&b->text, x->arena, max);
    b->done = done;
    b->context = context;
    x->work = b;
    x->on_body = read_more;
    read_more(x);
}
