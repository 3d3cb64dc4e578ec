// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/limits.h"

struct reader {
    yaml_parser_t parser;
    struct arena *arena;
    struct yaml_error *error;
};

static bool fail_at(struct reader *r, const yaml_mark_t *at, const char *text)
{
    *r->error = (struct yaml_error){ (unsigned)at->line + 1, (unsigned)at->column + 1, "" };
    snprintf(r->error->text, sizeof r->error->text, "%s", text);
    return false;
}

static bool fail_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return fail_at(r, &p->mark, "out of memory");
    if (p->error == YAML_READER_ERROR) return fail_at(r, &p->mark, "the file is not UTF-8 text");
    fail_at(r, &p->problem_mark, p->problem ? p->problem : "not YAML");
    size_t n = strlen(r->error->text);
    if (p->context) snprintf(r->error->text + n, sizeof r->error->text - n, " (%s)", p->context);
    return false;
}

static bool next_event(struct reader *r, yaml_event_t *ret)
{
    return yaml_parser_parse(&r->parser, ret) || fail_parser(r);
}

static void position(struct yaml_node *node, const yaml_event_t *e)
{
    node->line = (unsigned)e->start_mark.line + 1;
    node->column = (unsigned)e->start_mark.column + 1;
}

static bool refuse_decoration(struct reader *r, const yaml_event_t *e, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor) return fail_at(r, &e->start_mark, "anchors (&) are not accepted here");
    if (tag) return fail_at(r, &e->start_mark, "tags (!) are not accepted here");
    return true;
}

static bool read_scalar(struct reader *r, const yaml_event_t *e, struct yaml_node *node)
{
    if (!refuse_decoration(r, e, e->data.scalar.anchor, e->data.scalar.tag)) return false;
    struct str text = { (const char *)e->data.scalar.value, e->data.scalar.length };
    if (!str_is_utf8(text, true))
        return fail_at(r, &e->start_mark, "text must not contain control characters or line breaks");
    node->kind = YAML_SCALAR;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = arena_str(r->arena, text);
    return node->text.p || fail_at(r, &e->start_mark, "the file is too large");
}

static bool read_node(struct reader *r, yaml_event_t *e, unsigned depth, struct yaml_node *node);

static struct yaml_node *new_member(struct reader *r, const yaml_event_t *e, const struct yaml_node *parent)
{
    struct yaml_node *node = arena_alloc(r->arena, sizeof *node);
    if (!node || parent->n == LIMIT_YAML_ENTRIES) {
        fail_at(r, &e->start_mark, "the file is too large");
        return NULL;
    }
    node->parent = parent;
    node->index = parent->n;
    return node;
}

static void append(struct yaml_node *parent, struct yaml_node ***tail, struct yaml_node *node)
{
    **tail = node;
    *tail = &node->next;
    parent->n++;
}

static bool read_list(struct reader *r, unsigned depth, struct yaml_node *list)
{
    struct yaml_node **tail = &list->first;
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, &e)) return false;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return true;
        }
        struct yaml_node *node = new_member(r, &e, list);
        bool ok = node && read_node(r, &e, depth, node);
        yaml_event_delete(&e);
        if (!ok) return false;
        append(list, &tail, node);
    }
}

static bool read_key(struct reader *r, const yaml_event_t *e, struct yaml_node *map, struct yaml_node *member)
{
    if (e->type != YAML_SCALAR_EVENT) return fail_at(r, &e->start_mark, "a key must be plain text");
    struct yaml_node scalar = { 0 };
    if (!read_scalar(r, e, &scalar)) return false;
    for (const struct yaml_node *m = map->first; m; m = m->next)
        if (str_eq(m->key, scalar.text)) return fail_at(r, &e->start_mark, "this key was given before");
    member->key = scalar.text;
    member->key_line = (unsigned)e->start_mark.line + 1;
    member->key_column = (unsigned)e->start_mark.column + 1;
    return true;
}

static bool read_value(struct reader *r, unsigned depth, struct yaml_node *member)
{
    yaml_event_t e;
    if (!next_event(r, &e)) return false;
    bool ok = read_node(r, &e, depth, member);
    yaml_event_delete(&e);
    return ok;
}

static bool read_map(struct reader *r, unsigned depth, struct yaml_node *map)
{
    struct yaml_node **tail = &map->first;
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, &e)) return false;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return true;
        }
        struct yaml_node *member = new_member(r, &e, map);
        bool ok = member && read_key(r, &e, map, member);
        yaml_event_delete(&e);
        if (!ok || !read_value(r, depth, member)) return false;
        append(map, &tail, member);
    }
}

static bool read_node(struct reader *r, yaml_event_t *e, unsigned depth, struct yaml_node *node)
{
    position(node, e);
    if (depth == LIMIT_YAML_DEPTH) return fail_at(r, &e->start_mark, "nested too deeply");
    switch ((int)e->type) {
    case YAML_SCALAR_EVENT: return read_scalar(r, e, node);
    case YAML_SEQUENCE_START_EVENT:
        node->kind = YAML_LIST;
        return refuse_decoration(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag) &&
               read_list(r, depth + 1, node);
    case YAML_MAPPING_START_EVENT:
        node->kind = YAML_MAP;
        return refuse_decoration(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag) &&
               read_map(r, depth + 1, node);
    case YAML_ALIAS_EVENT: return fail_at(r, &e->start_mark, "aliases (*) are not accepted here");
    default: return fail_at(r, &e->start_mark, "the file is empty");
    }
}

static bool expect(struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    yaml_event_t e;
    if (!next_event(r, &e)) return false;
    bool ok = e.type == type || fail_at(r, &e.start_mark, otherwise);
    yaml_event_delete(&e);
    return ok;
}

static bool read_document(struct reader *r, struct yaml_node *root)
{
    return expect(r, YAML_STREAM_START_EVENT, "not YAML") &&
           expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty") && read_value(r, 0, root) &&
           expect(r, YAML_DOCUMENT_END_EVENT, "not YAML") &&
           expect(r, YAML_STREAM_END_EVENT, "only one document is accepted in a file");
}

bool yaml_read(struct arena *a, struct str text, struct yaml_node **ret, struct yaml_error *ret_error)
{
    struct reader r = { .arena = a, .error = ret_error };
    struct yaml_node *root = arena_alloc(a, sizeof *root);
    if (!root || !yaml_parser_initialize(&r.parser)) {
        *ret_error = (struct yaml_error){ 1, 1, "out of memory" };
        return false;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
    bool ok = read_document(&r, root);
    yaml_parser_delete(&r.parser);
    if (ok) *ret = root;
    return ok;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP) return NULL;
    for (const struct yaml_node *m = map->first; m; m = m->next)
        if (str_eq_c(m->key, key)) return m;
    return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR || node->quoted) return false;
    return node->text.n == 0 || str_eq_c(node->text, "~") || str_eq_c(node->text, "null");
}

struct str yaml_path(struct arena *a, const struct yaml_node *node)
{
    if (!node->parent) return STR("");
    struct str above = yaml_path(a, node->parent);
    if (!above.p) return STR_NONE;
    if (!node->key.p) return arena_printf(a, "%.*s[%zu]", STR_FMT(above), node->index);
    return arena_printf(a, "%.*s%s%.*s", STR_FMT(above), above.n ? "." : "", STR_FMT(node->key));
}
