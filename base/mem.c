// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local long fail_countdown;
static _Thread_local bool fail_happened;
static _Thread_local unsigned long failures;

static bool must_fail(void)
{
    if (fail_countdown == 0 || --fail_countdown > 0) return false;
    fail_happened = true;
    return true;
}

void mem_fail_at(long n)
{
    fail_countdown = n;
    fail_happened = false;
}

bool mem_failed(void)
{
    return fail_happened;
}

unsigned long mem_failures(void)
{
    return failures;
}

static void *counted(void *p)
{
    if (!p) failures++;
    return p;
}

void *mem_alloc(size_t n)
{
    return counted(must_fail() ? NULL : malloc(n ? n : 1));
}

void *mem_calloc(size_t count, size_t n)
{
    return counted(must_fail() ? NULL : calloc(count ? count : 1, n ? n : 1));
}

void *mem_realloc(void *p, size_t n)
{
    return counted(must_fail() ? NULL : realloc(p, n ? n : 1));
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = mem_alloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void mem_free(void *p)
{
    free(p);
}
