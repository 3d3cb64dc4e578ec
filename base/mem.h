// SPDX-License-Identifier: GPL-3.0-or-later
// The allocator of everything that parses. Same contract as malloc and friends; its one extra is a failure
// counter, so that a test can make the n-th allocation fail (jansson and libxml2 are pointed here by the
// tests as well).
#pragma once

#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc, alloc_size(1)));
void *mem_calloc(size_t count, size_t n);
void *mem_realloc(void *p, size_t n);
char *mem_strdup(const char *s);
void mem_free(void *p); // NULL is accepted

// How many allocations of this thread have failed: for what a library does not tell.
unsigned long mem_failures(void);

// Tests only: the n-th allocation of this thread from now (1 = the next) returns NULL, once. 0 switches it
// off.
void mem_fail_at(long n);
// Tests only: whether the armed failure has happened.
bool mem_failed(void);
