// SPDX-License-Identifier: GPL-3.0-or-later
// A very small template language for the gateway's pages: {{name}} is the value escaped for HTML text and
// quoted attributes;
// {{#name}}...{{/name}} is there when the value is (once per row of a list), {{^name}}...{{/name}} when it is
// not. There is no way to write a value unescaped. A template that names something unknown or is not well
// formed gives no page at all.
#pragma once

#include "base/arena.h"

struct template_scope;

struct template_field {
    const char *name;
    struct str text;                   // absent or empty: a section of it is left out
    const struct template_scope *rows; // a list instead of a text
    size_t nrows;
    bool list;
};

// Fields are looked for here, then in the parent.
struct template_scope {
    const struct template_field *fields;
    size_t nfields;
    const struct template_scope *parent;
};

// The page, absent when the template is wrong, memory is short, or the result would be larger than `max`.
struct str template_render(struct arena *a, struct str text, const struct template_scope *scope, size_t max);
