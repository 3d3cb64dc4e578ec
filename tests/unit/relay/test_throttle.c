// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/throttle.h"

enum { MAX = 5, WINDOW = 60000 };

static struct throttle *t;

static int begin(void **state)
{
    (void)state;
    t = malloc(sizeof *t);
    throttle_init(t, 42, MAX, WINDOW);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(t);
    return 0;
}

static void fails(const char *who, int times, int64_t now)
{
    for (int i = 0; i < times; i++) throttle_failed(t, str_c(who), now);
}

static bool refuses(const char *who, int64_t now)
{
    return throttle_refuses(t, str_c(who), now);
}

static void test_counts(void **state)
{
    (void)state;
    assert_false(refuses("10.0.0.1", 0)); // an empty table refuses nobody
    fails("10.0.0.1", MAX - 1, 1000);
    assert_false(refuses("10.0.0.1", 1000));
    fails("10.0.0.1", 1, 2000);
    assert_true(refuses("10.0.0.1", 2000));
    // Nobody else: not the beginning of it, not more than it, not nothing.
    assert_false(refuses("10.0.0.", 2000));
    assert_false(refuses("10.0.0.11", 2000));
    assert_false(refuses("", 2000));
}

static void test_window(void **state)
{
    (void)state;
    fails("a", MAX, 1000);
    assert_true(refuses("a", 1000 + WINDOW - 1));
    assert_false(refuses("a", 1000 + WINDOW));
    // It begins anew, with nothing left of the old count.
    fails("a", MAX - 1, 1000 + WINDOW);
    assert_false(refuses("a", 1000 + WINDOW));
    fails("a", 1, 1000 + WINDOW);
    assert_true(refuses("a", 1000 + WINDOW));
}

// Failures spread over more than a window are none too many.
static void test_slow_failures(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        fails("a", 1, i * (WINDOW / (MAX - 1)));
        assert_false(refuses("a", i * (WINDOW / (MAX - 1))));
    }
}

// Far more enemies than there are entries; whoever is refused stays refused, though each of them fails once.
static void test_many(void **state)
{
    (void)state;
    char who[32];
    fails("victim", MAX, 0);
    for (int i = 0; i < 5 * THROTTLE_ENTRIES; i++) {
        snprintf(who, sizeof who, "enemy %d", i);
        fails(who, 1, 1 + i / 1000);
        assert_false(refuses(who, 1 + i / 1000));
    }
    assert_true(refuses("victim", 1000));
    fails("late", MAX, 1000); // and there is room for another
    assert_true(refuses("late", 1000));
}

// When all entries of a set are full, the oldest gives way: memory does not grow, newcomers are counted.
static void test_full(void **state)
{
    (void)state;
    char who[32];
    int refused = 0, early = 0;
    for (int i = 0; i < 3 * THROTTLE_ENTRIES; i++) {
        snprintf(who, sizeof who, "enemy %d", i);
        fails(who, MAX, i);
        assert_true(refuses(who, i));
    }
    for (int i = 0; i < 3 * THROTTLE_ENTRIES; i++) {
        snprintf(who, sizeof who, "enemy %d", i);
        refused += refuses(who, 3 * THROTTLE_ENTRIES);
        if (i < THROTTLE_ENTRIES) early = refused;
    }
    assert_true(early < refused / 8);
    assert_in_range(refused, THROTTLE_ENTRIES / 2, THROTTLE_ENTRIES);
}

// What is over makes room first, however much it had counted: the others do not lose theirs.
static void test_what_is_over_makes_room(void **state)
{
    (void)state;
    char who[32];
    for (int i = 0; i < 4 * THROTTLE_ENTRIES; i++) {
        snprintf(who, sizeof who, "old %d", i);
        fails(who, MAX, 0);
    }
    int counted = 0;
    for (int i = 0; i < THROTTLE_ENTRIES / 8; i++) {
        snprintf(who, sizeof who, "new %d", i);
        fails(who, MAX - 1, WINDOW);
    }
    for (int i = 0; i < THROTTLE_ENTRIES / 8; i++) {
        snprintf(who, sizeof who, "new %d", i);
        fails(who, 1, WINDOW);
        counted += refuses(who, WINDOW);
    }
    assert_true(counted > THROTTLE_ENTRIES / 8 - 8); // but for sets with more than four of them
}

// Where an entry lies depends on the seed: with another one, others share a set.
static void test_seed(void **state)
{
    (void)state;
    struct throttle *other = malloc(sizeof *other);
    size_t same = 0;
    throttle_init(other, 43, MAX, WINDOW);
    for (int i = 0; i < 50; i++) {
        char who[32];
        snprintf(who, sizeof who, "who %d", i);
        throttle_failed(t, str_c(who), 0);
        throttle_failed(other, str_c(who), 0);
    }
    for (size_t i = 0; i < THROTTLE_ENTRIES; i++) same += t->v[i].who != 0 && t->v[i].who == other->v[i].who;
    assert_int_equal(same, 0);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, begin, end),
        cmocka_unit_test_setup_teardown(test_window, begin, end),
        cmocka_unit_test_setup_teardown(test_slow_failures, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
        cmocka_unit_test_setup_teardown(test_full, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_over_makes_room, begin, end),
        cmocka_unit_test_setup_teardown(test_seed, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
