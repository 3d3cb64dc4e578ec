// SPDX-License-Identifier: GPL-3.0-or-later
// A fixed-size byte buffer, taken from its worker's pool while there is something in it, so that idle
// connections hold none.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"

struct buffer_pool {
    size_t size;        // of every buffer here
    unsigned kept, max; // free ones held, and how many at most
    void *free;
};
void buffer_pool_init(struct buffer_pool *p, size_t size, unsigned max_kept);
void buffer_pool_done(struct buffer_pool *p);

struct buffer {
    struct buffer_pool *pool;
    char *p; // NULL: none taken
    size_t start, end;
};
// Makes sure that memory is there. False when out of memory.
bool buffer_take(struct buffer *b);
// Gives the memory back; whatever is in it is lost.
void buffer_release(struct buffer *b);
static inline size_t buffer_used(const struct buffer *b)
{
    return b->end - b->start;
}
// Free bytes after `end`.
static inline size_t buffer_room(const struct buffer *b)
{
    return b->p ? b->pool->size - b->end : b->pool->size;
}
static inline struct str buffer_str(const struct buffer *b)
{
    return (struct str){ b->p ? b->p + b->start : NULL, b->end - b->start };
}
// Takes n bytes off the front; an empty buffer starts again at 0.
void buffer_consume(struct buffer *b, size_t n);
// Moves what is there to the front.
void buffer_compact(struct buffer *b);
// Appends all of s; false (and nothing appended) when it does not fit or memory is short.
bool buffer_append_slowly(struct buffer *b, struct str s);
static inline bool buffer_append(struct buffer *b, struct str s)
{
    if (!b->p || s.n > buffer_room(b)) return buffer_append_slowly(b, s);
    if (s.n) memcpy(b->p + b->end, s.p, s.n);
    b->end += s.n;
    return true;
}
