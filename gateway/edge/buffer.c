// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/buffer.h"

#include <stdlib.h>
#include <string.h>

void buffer_pool_init(struct buffer_pool *p, size_t size, unsigned max_kept)
{
    *p = (struct buffer_pool){ .size = size, .max = max_kept };
}

void buffer_pool_done(struct buffer_pool *p)
{
    while (p->free) {
        void *next = *(void **)p->free;
        free(p->free);
        p->free = next;
    }
    p->kept = 0;
}

bool buffer_take(struct buffer *b)
{
    if (b->p) return true;
    if (b->pool->free) {
        b->p = b->pool->free;
        b->pool->free = *(void **)b->pool->free;
        b->pool->kept--;
    } else {
        b->p = malloc(b->pool->size);
    }
    b->start = b->end = 0;
    return b->p != NULL;
}

void buffer_release(struct buffer *b)
{
    if (!b->p) return;
    if (b->pool->kept < b->pool->max) {
        *(void **)(void *)b->p = b->pool->free;
        b->pool->free = b->p;
        b->pool->kept++;
    } else {
        free(b->p);
    }
    b->p = NULL;
    b->start = b->end = 0;
}

void buffer_consume(struct buffer *b, size_t n)
{
    b->start += n;
    if (b->start == b->end) b->start = b->end = 0;
}

void buffer_compact(struct buffer *b)
{
    if (b->start == 0) return;
    memmove(b->p, b->p + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
}

bool buffer_append_slowly(struct buffer *b, struct str s)
{
    if (!buffer_take(b)) return false;
    if (s.n > buffer_room(b)) buffer_compact(b);
    if (s.n > buffer_room(b)) return false;
    if (s.n) memcpy(b->p + b->end, s.p, s.n);
    b->end += s.n;
    return true;
}
