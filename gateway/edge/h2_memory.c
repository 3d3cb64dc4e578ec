// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/h2_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool is_block(const struct h2_memory *m, const void *p)
{
    const char *at = p;
    return m->region && at >= m->region && at < m->region + m->blocks * H2_BLOCK_BYTES;
}

static void *take_block(struct h2_memory *m)
{
    if (m->nfree) return m->region + (size_t)m->free[--m->nfree] * H2_BLOCK_BYTES;
    return m->fresh < m->blocks ? m->region + m->fresh++ * H2_BLOCK_BYTES : NULL;
}

static void give_block(struct h2_memory *m, char *p)
{
    madvise(p, H2_BLOCK_BYTES, MADV_DONTNEED);
    m->free[m->nfree++] = (uint32_t)((size_t)(p - m->region) / H2_BLOCK_BYTES);
}

static void *allocate(size_t n, void *context)
{
    struct h2_memory *m = context;
    void *p = n >= H2_BLOCK_FROM && n <= H2_BLOCK_BYTES ? take_block(m) : NULL;
    return p ? p : malloc(n);
}

static void release(void *p, void *context)
{
    struct h2_memory *m = context;
    if (is_block(m, p))
        give_block(m, p);
    else
        free(p);
}

static void *allocate_zeroed(size_t count, size_t n, void *context)
{
    (void)context;
    return calloc(count, n);
}

static void *resize(void *p, size_t n, void *context)
{
    struct h2_memory *m = context;
    if (!p) return allocate(n, m);
    if (!is_block(m, p)) return realloc(p, n);
    if (n <= H2_BLOCK_BYTES) return p;
    void *larger = malloc(n);
    if (!larger) return NULL;
    memcpy(larger, p, H2_BLOCK_BYTES);
    give_block(m, p);
    return larger;
}

void h2_memory_init(struct h2_memory *m, size_t sessions)
{
    size_t blocks = sessions < H2_BLOCKS_MAX ? sessions : H2_BLOCKS_MAX;
    *m = (struct h2_memory){ .mem = { m, allocate, release, allocate_zeroed, resize }, .blocks = blocks };
    m->free = malloc(blocks * sizeof *m->free);
    void *region = mmap(NULL, blocks * H2_BLOCK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    m->region = region == MAP_FAILED ? NULL : region;
    if (m->region)
        madvise(region, blocks * H2_BLOCK_BYTES, MADV_NOHUGEPAGE); // or one touch brings two megabytes
    if (!m->free || !m->region) h2_memory_done(m);
}

void h2_memory_done(struct h2_memory *m)
{
    if (m->region) munmap(m->region, m->blocks * H2_BLOCK_BYTES);
    free(m->free);
    m->region = NULL;
    m->free = NULL;
    m->blocks = 0;
}
