// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/pages/template.h"

#include "base/encode.h"

enum { DEPTH_MAX = 8 };

struct render {
    struct arena *arena;
    struct sbuf out;
};

enum tag_kind { TAG_VALUE, TAG_IF, TAG_UNLESS, TAG_END };

struct tag {
    enum tag_kind kind;
    struct str name;
};

// Takes text up to the next tag and the tag itself off *rest. False: no tag is left (*ret_text is all) or it
// is not closed
// (*ret_text is absent).
static bool next_tag(struct str *rest, struct str *ret_text, struct tag *ret)
{
    size_t open = str_search(*rest, STR("{{"));
    *ret_text = str_take(*rest, open);
    *rest = str_skip(*rest, open);
    if (!rest->n) return false;
    size_t close = str_search(*rest, STR("}}"));
    if (close == rest->n) {
        *ret_text = STR_NONE;
        return false;
    }
    struct str name = { rest->p + 2, close - 2 };
    *rest = str_skip(*rest, close + 2);
    enum tag_kind kind = TAG_VALUE;
    if (name.n && name.p[0] == '#') kind = TAG_IF;
    if (name.n && name.p[0] == '^') kind = TAG_UNLESS;
    if (name.n && name.p[0] == '/') kind = TAG_END;
    *ret = (struct tag){ kind, kind == TAG_VALUE ? name : str_skip(name, 1) };
    return true;
}

static const struct template_field *find(const struct template_scope *scope, struct str name)
{
    for (; scope; scope = scope->parent)
        for (size_t i = 0; i < scope->nfields; i++)
            if (str_eq_c(name, scope->fields[i].name)) return &scope->fields[i];
    return NULL;
}

// The text of section `name`: up to its end tag. Takes that off *rest as well.
static bool section_body(struct str *rest, struct str name, struct str *ret)
{
    struct str start = *rest, text, before;
    struct tag tag;
    for (int depth = 0; before = *rest, next_tag(rest, &text, &tag);) {
        if (tag.kind == TAG_IF || tag.kind == TAG_UNLESS) depth++;
        if (tag.kind != TAG_END || depth-- > 0) continue;
        *ret = str_take(start, (size_t)(before.p - start.p) + text.n);
        return str_eq(tag.name, name);
    }
    return false;
}

static bool render(struct render *r, struct str text, const struct template_scope *scope, int depth);

static bool render_section(struct render *r, const struct template_field *f, bool unless, struct str body,
                           const struct template_scope *scope, int depth)
{
    bool on = f->list ? f->nrows > 0 : f->text.n > 0;
    if (on == unless) return true;
    if (!f->list || unless) return render(r, body, scope, depth);
    for (size_t i = 0; i < f->nrows; i++) {
        struct template_scope row = f->rows[i];
        row.parent = scope;
        if (!render(r, body, &row, depth)) return false;
    }
    return true;
}

static bool render_value(struct render *r, const struct template_field *f)
{
    if (f->list) return false;
    if (!f->text.n) return true;
    struct str escaped = encode_html(r->arena, f->text);
    sbuf_add(&r->out, escaped);
    return escaped.p && !r->out.failed;
}

static bool render(struct render *r, struct str text, const struct template_scope *scope, int depth)
{
    struct str plain, body;
    struct tag tag;
    if (depth > DEPTH_MAX) return false;
    while (next_tag(&text, &plain, &tag)) {
        sbuf_add(&r->out, plain);
        const struct template_field *f = find(scope, tag.name);
        if (!f || tag.kind == TAG_END) return false;
        if (tag.kind == TAG_VALUE) {
            if (!render_value(r, f)) return false;
            continue;
        }
        if (!section_body(&text, tag.name, &body)) return false;
        if (!render_section(r, f, tag.kind == TAG_UNLESS, body, scope, depth + 1)) return false;
    }
    if (!plain.p) return false;
    sbuf_add(&r->out, plain);
    return !r->out.failed;
}

struct str template_render(struct arena *a, struct str text, const struct template_scope *scope, size_t max)
{
    struct render r = { .arena = a };
    sbuf_init(&r.out, a, max);
    return render(&r, text, scope, 0) ? sbuf_str(&r.out) : STR_NONE;
}
