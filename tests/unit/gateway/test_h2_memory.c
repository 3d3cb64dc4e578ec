// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/h2_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static bool inside(const struct h2_memory *m, const char *p)
{
    return p >= m->region && p < m->region + m->blocks * H2_BLOCK_BYTES;
}

// As nghttp2 asks: realloc without a pointer is how it gets its frame buffer.
static void test_only_frame_buffers_get_blocks(void **state)
{
    (void)state;
    struct h2_memory m;
    h2_memory_init(&m, 2);
    char *small = m.mem.malloc(100, &m), *a = m.mem.realloc(NULL, 16394, &m), *b = m.mem.malloc(16384, &m),
         *none_left = m.mem.malloc(16384, &m), *zeroed = m.mem.calloc(1, 16384, &m);
    assert_true(inside(&m, a) && inside(&m, b) && a != b);
    assert_false(inside(&m, small) || inside(&m, none_left) || inside(&m, zeroed));
    memset(a, 1, H2_BLOCK_BYTES);
    memset(b, 2, H2_BLOCK_BYTES);
    assert_int_equal(a[0] + a[H2_BLOCK_BYTES - 1] + b[0] + b[H2_BLOCK_BYTES - 1], 6);
    m.mem.free(a, &m);
    assert_ptr_equal(m.mem.malloc(16394, &m), a); // used again, and empty
    assert_int_equal(a[0], 0);
    char *const all[] = { small, a, b, none_left, zeroed, NULL };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) m.mem.free(all[i], &m);
    h2_memory_done(&m);
}

static void test_blocks_that_grow(void **state)
{
    (void)state;
    struct h2_memory m;
    h2_memory_init(&m, 1);
    char *p = m.mem.realloc(NULL, 16384, &m);
    memset(p, 7, 16384);
    assert_ptr_equal(m.mem.realloc(p, H2_BLOCK_BYTES, &m), p);
    p = m.mem.realloc(p, 40000, &m);
    assert_false(inside(&m, p));
    assert_int_equal(p[16383], 7);
    assert_true(inside(&m, m.mem.malloc(16384, &m))); // its block is free again
    p = m.mem.realloc(p, 10, &m);
    assert_int_equal(p[9], 7);
    m.mem.free(p, &m);
    h2_memory_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_only_frame_buffers_get_blocks),
                                        cmocka_unit_test(test_blocks_that_grow) };
    return cmocka_run_group_tests_name("h2 memory", tests, NULL, NULL);
}
