// SPDX-License-Identifier: GPL-3.0-or-later
// An arena: memory whose lifetime is one request, one message or one configuration. Bounded: an allocation
// beyond the limit, or one the system refuses, puts the arena in a sticky failed state in which every later
// allocation returns NULL; so code may allocate freely and ask arena_failed() once at the end.
#pragma once

#include <stdarg.h>

#include "base/str.h"

struct arena;

// A new arena that will hold at most `limit` bytes. NULL when out of memory.
struct arena *arena_new(size_t limit);
// The same for what is kept by the thousand: the first block has `first` bytes, not a page.
struct arena *arena_new_small(size_t limit, size_t first);
// Runs the deferred releases, last first, and frees everything. NULL is accepted.
void arena_free(struct arena *a);
// Back to empty (deferred releases run); the first block is kept, so a reused arena does not touch malloc.
void arena_clear(struct arena *a);
bool arena_failed(const struct arena *a);
// Bytes handed out so far.
size_t arena_used(const struct arena *a);

// Zeroed memory aligned for any type, or NULL (sticky).
void *arena_alloc(struct arena *a, size_t n);
void *arena_array(struct arena *a, size_t count, size_t size);
// Copies; the result is NUL-terminated (the NUL is not counted). Absent stays absent. Absent on failure.
struct str arena_str(struct arena *a, struct str s);
struct str arena_str_c(struct arena *a, const char *s);
struct strlist arena_strlist(struct arena *a, struct strlist l);
// printf into the arena, NUL-terminated. Absent on failure.
struct str arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
// Calls release(object) when the arena is cleared or freed: the owner of foreign handles (json_t, xmlDoc,
// EVP_PKEY). When registration fails release(object) is called at once and false returned.
bool arena_defer(struct arena *a, void (*release)(void *), void *object);

// A growing byte buffer in an arena, for composing text. Never exceeds `max` bytes; past it `failed` is set.
struct sbuf {
    struct arena *arena;
    char *p;
    size_t n, cap, max;
    bool failed;
};
void sbuf_init(struct sbuf *b, struct arena *a, size_t max);
void sbuf_add(struct sbuf *b, struct str s);
void sbuf_add_c(struct sbuf *b, const char *s);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// The text so far (NUL-terminated), absent when failed.
struct str sbuf_str(struct sbuf *b);
