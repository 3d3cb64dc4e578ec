// SPDX-License-Identifier: GPL-3.0-or-later
// Problems with their place, and the nearest word to a misspelt one.
#include <stdlib.h>

#include "gateway/config/parse.h"

enum { WORD_MAX = 48 };

__attribute__((format(printf, 5, 0))) static void add(struct loader *l, unsigned line, unsigned column,
                                                      const struct yaml_node *node, const char *fmt,
                                                      va_list ap)
{
    if (l->errors->n == LIMIT_CONFIG_ERRORS) return;
    struct config_error *e = &l->errors->v[l->errors->n++];
    *e = (struct config_error){ line, column, yaml_path(l->errors_arena, node),
                                arena_vprintf(l->errors_arena, fmt, ap) };
    // A problem must not get lost for want of memory: the count stays, the words are these.
    if (!e->key.p) e->key = STR("");
    if (!e->message.p) e->message = STR("(out of memory)");
}

void config_error_at(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(l, node->line, node->column, node, fmt, ap);
    va_end(ap);
}

void config_error_key(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool has_key = node->key.p != NULL;
    add(l, has_key ? node->key_line : node->line, has_key ? node->key_column : node->column, node, fmt, ap);
    va_end(ap);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

// Edits (insert, delete, replace, swap of neighbours) from `a` to `b`, both at most WORD_MAX bytes.
static size_t distance(struct str a, struct str b)
{
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a.n; i++) d[i][0] = i;
    for (size_t j = 0; j <= b.n; j++) d[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && ascii_lower(a.p[i - 2]) == y;
            if (swapped && d[i - 2][j - 2] + 1 < d[i][j]) d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[a.n][b.n];
}

const char *config_nearest(struct loader *l, struct str word, const struct strlist *known)
{
    struct str best = STR_NONE;
    size_t best_distance = word.n / 3 + 2; // beyond that it is another word
    for (size_t i = 0; i < known->n && word.n <= WORD_MAX; i++) {
        if (known->v[i].n > WORD_MAX) continue;
        size_t d = distance(word, known->v[i]);
        if (word.n >= 3 && d > 1 && str_starts(known->v[i], word)) d = 1; // its beginning
        if (d >= best_distance) continue;
        best_distance = d;
        best = known->v[i];
    }
    struct str text = best.p ? arena_printf(l->scratch, "; did you mean %.*s?", STR_FMT(best)) : STR_NONE;
    return text.p ? text.p : "";
}

const char *config_found(struct loader *l, const struct yaml_node *node)
{
    if (node->kind == YAML_LIST) return "a list";
    if (node->kind == YAML_MAP) return "a map";
    if (yaml_is_null(node)) return "nothing";
    struct str text = arena_printf(l->scratch, "\"%.*s\"", STR_FMT(node->text));
    return text.p ? text.p : "another value";
}

static int by_place(const void *va, const void *vb)
{
    const struct config_error *a = va, *b = vb;
    if (a->line != b->line) return a->line < b->line ? -1 : 1;
    if (a->column != b->column) return a->column < b->column ? -1 : 1;
    return str_cmp(a->message, b->message);
}

void config_errors_sort(struct config_errors *errors)
{
    if (errors->n > 1) qsort(errors->v, errors->n, sizeof *errors->v, by_place);
}
