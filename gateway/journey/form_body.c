// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/form_body.h"

#include "gateway/journey/answer.h"

struct form_body {
    struct sbuf text;
    void (*done)(struct exchange *x, const struct form *form);
};

static void complete(struct exchange *x, struct form_body *f)
{
    struct form form;
    x->on_body = NULL;
    struct str text = sbuf_str(&f->text);
    if (!text.p || !form_parse(x->arena, text, LIMIT_FORM_FIELDS, &form))
        answer_failure(x, ERR_HTTP_QUERY, "the form is malformed");
    else
        f->done(x, &form);
}

static void read_more(struct exchange *x)
{
    struct form_body *f = x->work;
    struct str data;
    while ((data = x->engine->body_peek(x)).n > 0) {
        sbuf_add(&f->text, data);
        x->engine->body_consume(x, data.n);
        if (f->text.failed) {
            answer_failure(x, ERR_TOO_LARGE, "a form of more than %d bytes", LIMIT_FORM_BYTES);
            return;
        }
    }
    if (x->body_failed)
        answer_error(x, STR_NONE);
    else if (x->body_done)
        complete(x, f);
}

static bool is_form(const struct exchange *x)
{
    struct str type = http_fields_value(&x->req.fields, FIELD_CONTENT_TYPE);
    return str_eq_nocase(str_trim(str_take(type, str_find(type, ';'))),
                         STR("application/x-www-form-urlencoded"));
}

void form_body_read(struct exchange *x, void (*done)(struct exchange *x, const struct form *form))
{
    struct form_body *f = arena_alloc(x->arena, sizeof *f);
    if (!f) {
        answer_failure(x, ERR_NO_MEMORY, "reading a form");
        return;
    }
    if (x->req.content_length > LIMIT_FORM_BYTES) {
        answer_failure(x, ERR_TOO_LARGE, "a form of more than %d bytes", LIMIT_FORM_BYTES);
        return;
    }
    if (!x->body_done && !is_form(x)) {
        answer_failure(x, ERR_HTTP_QUERY, "the body is no form");
        return;
    }
    sbuf_init(&f->text, x->arena, LIMIT_FORM_BYTES);
    f->done = done;
    x->work = f;
    x->on_body = read_more;
    read_more(x);
}
