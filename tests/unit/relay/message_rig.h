// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of messages share: an arena, comparing texts, deep nesting.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"

static struct arena *arena;

static inline int arena_up(void **state)
{
    (void)state;
    arena = arena_new(64u << 20);
    return arena ? 0 : -1;
}

static inline int arena_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

#define assert_str(s, text) assert_text(s, text, __FILE__, __LINE__)

// NULL: absent.
static inline void assert_text(struct str s, const char *text, const char *file, int line)
{
    bool ok = text ? str_eq_c(s, text) && s.p : !s.p;
    if (ok) return;
    print_error("'%.*s' (%s) instead of '%s'\n", STR_FMT(s), s.p ? "there" : "absent",
                text ? text : "absent");
    _fail(file, line);
}

// `depth` brackets of one kind around nothing.
static inline size_t put_nested(char *p, size_t depth, bool objects)
{
    size_t n = 0;
    for (size_t i = 0; i < depth; i++) {
        const char *open = objects ? i + 1 < depth ? "{\"a\":" : "{" : "[";
        memcpy(p + n, open, strlen(open));
        n += strlen(open);
    }
    memset(p + n, objects ? '}' : ']', depth);
    return n + depth;
}
