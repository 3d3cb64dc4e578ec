// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/form_body.h"

#include "gateway/journey/answer.h"
#include "gateway/journey/whole_body.h"

struct form_reader {
    void (*done)(struct exchange *x, const struct form *form);
};

static void parse(struct exchange *x, struct str text, void *context)
{
    struct form_reader *r = context;
    struct form form;
    if (form_parse(x->arena, text, LIMIT_FORM_FIELDS, &form))
        r->done(x, &form);
    else
        answer_failure(x, ERR_HTTP_QUERY, "the form is malformed");
}

static bool is_form(const struct exchange *x)
{
    struct str type = http_fields_value(&x->req.fields, FIELD_CONTENT_TYPE);
    return http_media_type_is(type, "application/x-www-form-urlencoded");
}

void form_body_read(struct exchange *x, void (*done)(struct exchange *x, const struct form *form))
{
    struct form_reader *r = arena_alloc(x->arena, sizeof *r);
    if (!r) {
        answer_failure(x, ERR_NO_MEMORY, "reading a form");
        return;
    }
    if (!x->body_done && !is_form(x)) {
        answer_failure(x, ERR_HTTP_QUERY, "the body is no form");
        return;
    }
    r->done = done;
    whole_body_read(x, LIMIT_FORM_BYTES, &(struct whole_body_reader){ .done = parse, .context = r });
}
