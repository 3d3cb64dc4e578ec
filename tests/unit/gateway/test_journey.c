// SPDX-License-Identifier: GPL-3.0-or-later
// The order of the journey is a promise: scrub before identity, decision before proxy. And what the
// application is told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/journey/identity_headers.h"
#include "gateway/journey/request.h"

static void test_order_of_the_phases(void **state)
{
    (void)state;
    static const char *const order[] = { "normalise", "scrub",  "plain",    "route", "session",
                                         "decide",    "answer", "identity", "proxy" };
    assert_int_equal(request_phase_count, sizeof order / sizeof *order);
    for (size_t i = 0; i < request_phase_count; i++) assert_string_equal(request_phases[i].name, order[i]);
}

static struct str field(const struct http_fields *f, const char *name)
{
    struct str found = STR_NONE;
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed || !str_eq_nocase(f->v[i].name, str_c(name))) continue;
        assert_null(found.p); // never twice
        found = f->v[i].value;
    }
    return found;
}

static struct http_fields *fields_for(struct arena *a, unsigned presets, const struct identity *id)
{
    struct http_fields *f = arena_alloc(a, sizeof *f);
    assert_true(identity_headers_set(a, f, presets, id));
    return f;
}

static const struct identity ann = {
    .provider = STR_INIT("corp"),
    .subject = STR_INIT("s-1"),
    .email = STR_INIT("ann@example.com"),
    .email_verified = true,
    .username = STR_INIT("ann"),
    .groups = { (struct str[]){ STR_INIT("staff"), STR_INIT("a,admins"), STR_INIT(" admins"),
                                STR_INIT("admins "), STR_INIT(""), STR_INIT("it") },
                6 },
};

static void test_presets_say_who_it_is(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = fields_for(a, IDENTITY_SALLYPORT, &ann);
    assert_true(str_eq_c(field(f, "X-Sallyport-User"), "ann"));
    assert_true(str_eq_c(field(f, "X-Sallyport-Email"), "ann@example.com"));
    assert_null(field(f, "X-Sallyport-Name").p); // unknown: not sent at all
    assert_null(field(f, "Remote-User").p);
    f = fields_for(a, IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &ann);
    assert_true(str_eq_c(field(f, "X-Forwarded-User"), "s-1"));
    assert_true(str_eq_c(field(f, "X-Forwarded-Preferred-Username"), "ann"));
    assert_true(str_eq_c(field(f, "Remote-User"), "ann"));
    assert_null(field(f, "X-Sallyport-User").p);
    assert_int_equal(fields_for(a, IDENTITY_NONE, &ann)->n, 0);
    assert_int_equal(fields_for(a, IDENTITY_SALLYPORT, NULL)->n, 0);
    arena_free(a);
}

static void test_an_unverified_address_is_not_told(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct identity id = ann;
    id.email_verified = false;
    id.username = STR_NONE;
    struct http_fields *f =
        fields_for(a, IDENTITY_SALLYPORT | IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &id);
    assert_null(field(f, "X-Sallyport-Email").p);
    assert_null(field(f, "X-Forwarded-Email").p);
    assert_null(field(f, "Remote-Email").p);
    assert_true(str_eq_c(field(f, "X-Sallyport-User"), "s-1"));
    assert_true(str_eq_c(field(f, "Remote-User"), "s-1"));
    arena_free(a);
}

static void test_a_group_reads_as_itself_or_not_at_all(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = fields_for(a, IDENTITY_SALLYPORT, &ann);
    assert_true(str_eq_c(field(f, "X-Sallyport-Groups"), "staff,it"));
    arena_free(a);
}

static void test_a_name_that_readers_would_trim_is_not_told(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct identity evil = ann;
    evil.username = STR(" admin");
    evil.subject = STR("s-1 ");
    struct http_fields *f =
        fields_for(a, IDENTITY_SALLYPORT | IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &evil);
    assert_null(field(f, "X-Sallyport-User").p);
    assert_null(field(f, "Remote-User").p);
    assert_null(field(f, "X-Forwarded-Preferred-Username").p);
    assert_null(field(f, "X-Forwarded-User").p);
    assert_true(str_eq_c(field(f, "X-Sallyport-Email"), "ann@example.com"));
    arena_free(a);
}

static void test_a_line_break_in_a_name_is_not_forwarded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = arena_alloc(a, sizeof *f);
    struct identity evil = ann;
    evil.name = STR("x\r\nX-Sallyport-Groups: admins");
    assert_false(identity_headers_set(a, f, IDENTITY_SALLYPORT, &evil));
    arena_free(a);
}

static void test_too_many_fields_are_not_forwarded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = arena_alloc(a, sizeof *f);
    while (http_fields_add(f, FIELD_OTHER, STR("X"), STR("y"))) continue;
    assert_false(identity_headers_set(a, f, IDENTITY_SALLYPORT, &ann));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_the_phases),
        cmocka_unit_test(test_presets_say_who_it_is),
        cmocka_unit_test(test_an_unverified_address_is_not_told),
        cmocka_unit_test(test_a_group_reads_as_itself_or_not_at_all),
        cmocka_unit_test(test_a_name_that_readers_would_trim_is_not_told),
        cmocka_unit_test(test_a_line_break_in_a_name_is_not_forwarded),
        cmocka_unit_test(test_too_many_fields_are_not_forwarded),
    };
    return cmocka_run_group_tests_name("journey", tests, NULL, NULL);
}
