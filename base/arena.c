// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK_SIZE = 4096, ALIGN = 16 };

struct block {
    struct block *next;
    size_t used, size;
    _Alignas(ALIGN) char data[];
};

struct deferred {
    struct deferred *next;
    void (*release)(void *);
    void *object;
};

struct arena {
    struct block *head; // newest first; the last one is `first`
    struct block *first;
    struct deferred *deferred;
    size_t used, limit;
    bool failed;
};

static struct block *block_new(size_t size)
{
    struct block *b = mem_alloc(sizeof *b + size);
    if (!b) return NULL;
    *b = (struct block){ .size = size };
    return b;
}

struct arena *arena_new(size_t limit)
{
    return arena_new_small(limit, BLOCK_SIZE);
}

struct arena *arena_new_small(size_t limit, size_t first)
{
    struct arena *a = mem_alloc(sizeof *a);
    struct block *b = block_new(first);
    if (!a || !b) {
        mem_free(a);
        mem_free(b);
        return NULL;
    }
    *a = (struct arena){ .head = b, .first = b, .limit = limit };
    return a;
}

void arena_clear(struct arena *a)
{
    // The list nodes live in the arena itself, so releases run before any block goes.
    for (struct deferred *d = a->deferred; d; d = d->next) d->release(d->object);
    a->deferred = NULL;
    while (a->head != a->first) {
        struct block *b = a->head;
        a->head = b->next;
        mem_free(b);
    }
    a->first->used = 0;
    a->used = 0;
    a->failed = false;
}

void arena_free(struct arena *a)
{
    if (!a) return;
    arena_clear(a);
    mem_free(a->first);
    mem_free(a);
}

bool arena_failed(const struct arena *a)
{
    return a->failed;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (need == 0) need = ALIGN;
    if (a->failed || need < n || need > a->limit - a->used) {
        a->failed = true;
        return NULL;
    }
    if (need > a->head->size - a->head->used) {
        struct block *b = block_new(need > BLOCK_SIZE ? need : BLOCK_SIZE);
        if (!b) {
            a->failed = true;
            return NULL;
        }
        b->next = a->head;
        a->head = b;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += need;
    a->used += need;
    return memset(p, 0, need);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, count * size);
}

struct str arena_str(struct arena *a, struct str s)
{
    if (!s.p) return STR_NONE;
    char *p = arena_alloc(a, s.n + 1);
    if (!p) return STR_NONE;
    if (s.n) memcpy(p, s.p, s.n);
    return (struct str){ p, s.n };
}

struct str arena_str_c(struct arena *a, const char *s)
{
    return arena_str(a, str_c(s));
}

struct strlist arena_strlist(struct arena *a, struct strlist l)
{
    struct strlist copy = { arena_array(a, l.n, sizeof *l.v), l.n };
    if (!copy.v) return (struct strlist){ NULL, 0 };
    for (size_t i = 0; i < l.n; i++) copy.v[i] = arena_str(a, l.v[i]);
    return copy;
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? (struct str){ p, (size_t)n } : STR_NONE;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

bool arena_defer(struct arena *a, void (*release)(void *), void *object)
{
    struct deferred *d = arena_alloc(a, sizeof *d);
    if (!d) {
        release(object);
        return false;
    }
    *d = (struct deferred){ a->deferred, release, object };
    a->deferred = d;
    return true;
}

void sbuf_init(struct sbuf *b, struct arena *a, size_t max)
{
    *b = (struct sbuf){ .arena = a, .max = max };
}

// Room for `n` more bytes and a terminator; false (and sticky) when that exceeds the maximum or the arena.
static bool sbuf_reserve(struct sbuf *b, size_t n)
{
    if (b->failed || n > b->max - b->n) {
        b->failed = true;
        return false;
    }
    if (b->n + n + 1 <= b->cap) return true;
    size_t cap = b->cap ? b->cap * 2 : 256;
    while (cap < b->n + n + 1) cap *= 2;
    char *p = arena_alloc(b->arena, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    if (b->n) memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = cap;
    return true;
}

void sbuf_add(struct sbuf *b, struct str s)
{
    if (!sbuf_reserve(b, s.n)) return;
    if (s.n) memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    b->p[b->n] = '\0';
}

void sbuf_add_c(struct sbuf *b, const char *s)
{
    sbuf_add(b, str_c(s));
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && sbuf_reserve(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

struct str sbuf_str(struct sbuf *b)
{
    if (b->failed) return STR_NONE;
    if (!b->p) return STR("");
    return (struct str){ b->p, b->n };
}
