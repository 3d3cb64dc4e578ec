// SPDX-License-Identifier: GPL-3.0-or-later
// Which boards are connected, as operators see it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/relay/presence.h"

static struct device_table *table_of(int n, const char *const names[])
{
    static char ids[4][17];
    struct device v[4];
    struct device_table *t = NULL;
    struct err err = { 0 };
    struct arena *a = arena_new(1 << 16);
    for (int i = 0; i < n; i++) {
        char id = names[i][0];
        for (int k = 0; k < 16; k++) ids[i][k] = id;
        v[i] = (struct device){ .id = { ids[i], 16 },
                                .name = str_c(names[i]),
                                .created = 1,
                                .any_function = true,
                                .nkeys = 1,
                                .keys = { { .hash = { (uint8_t)id }, .created = 1 } } };
    }
    if (!device_table_parse(device_table_text(a, v, (size_t)n), &t, &err)) fail_msg("%s", err.detail);
    arena_free(a);
    return t;
}

static struct presence *presence_of(int n, const char *const names[])
{
    struct device_table *t = table_of(n, names);
    struct presence *p = presence_new(t);
    device_table_drop(t);
    assert_non_null(p);
    return p;
}

static struct presence_view view_of(struct presence *p, struct arena *a, const char *name)
{
    struct presence_view *v;
    size_t n;
    assert_true(presence_read(p, a, &v, &n));
    for (size_t i = 0; i < n; i++)
        if (str_eq_c(v[i].name, name)) return v[i];
    fail_msg("no board %s", name);
    return v[0];
}

static const char *const two[] = { "a-lamp", "b-fan" };
#define A STR("aaaaaaaaaaaaaaaa")

static void test_boards_come_and_go(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 16);
    struct presence *p = presence_of(2, two);
    assert_int_equal(presence_count(p), 2);
    assert_false(view_of(p, a, "a-lamp").online);
    assert_null(view_of(p, a, "a-lamp").client.p);
    presence_come(p, A, 5, 1000, STR("192.0.2.7"), 3);
    struct presence_view v = view_of(p, a, "a-lamp");
    assert_true(v.online && v.since == 1000 && v.functions == 3 && v.keys == 1);
    assert_true(str_eq_c(v.client, "192.0.2.7"));
    assert_false(view_of(p, a, "b-fan").online);
    presence_go(p, A, 5, 2000);
    v = view_of(p, a, "a-lamp");
    assert_true(!v.online && v.since == 2000 && str_eq_c(v.client, "192.0.2.7"));
    presence_free(p);
    arena_free(a);
}

// The news of two workers may be told in the wrong order.
static void test_an_earlier_login_changes_nothing(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 16);
    struct presence *p = presence_of(2, two);
    presence_come(p, A, 6, 1000, STR("192.0.2.7"), 0);
    presence_come(p, A, 5, 900, STR("192.0.2.8"), 0);
    assert_true(str_eq_c(view_of(p, a, "a-lamp").client, "192.0.2.7"));
    presence_go(p, A, 5, 1001);
    assert_true(view_of(p, a, "a-lamp").online);
    presence_come(p, STR("0000000000000000"), 7, 1, STR("x"), 0); // no such device
    presence_free(p);
    arena_free(a);
}

static void test_another_table_keeps_what_is_known(void **state)
{
    (void)state;
    static const char *const other[] = { "a-light", "c-new" };
    struct arena *a = arena_new(1 << 16);
    struct presence *p = presence_of(2, two);
    presence_come(p, A, 6, 1000, STR("192.0.2.7"), 0);
    struct device_table *t = table_of(2, other);
    presence_devices(p, t);
    device_table_drop(t);
    assert_true(view_of(p, a, "a-light").online); // renamed
    assert_false(view_of(p, a, "c-new").online);
    presence_free(p);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boards_come_and_go),
        cmocka_unit_test(test_an_earlier_login_changes_nothing),
        cmocka_unit_test(test_another_table_keeps_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
