// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/cookie.h"

#define OURS STR("__Host-sallyport")

static struct http_fields fields;

static struct http_fields *with(const char *first, const char *second)
{
    fields.n = 0;
    http_fields_add(&fields, FIELD_ACCEPT, STR("Accept"), STR("__Host-sallyport=not-a-cookie"));
    http_fields_add(&fields, FIELD_COOKIE, STR("Cookie"), str_c(first));
    if (second) http_fields_add(&fields, FIELD_COOKIE, STR("cookie"), str_c(second));
    return &fields;
}

static void test_pairs(void **state)
{
    (void)state;
    struct cookie_iter it = { .fields = with(" a=1;b = \"2, 3\" ;; =4;c;d=5=6;", "\xff\t=\x80;e=") };
    static const char *const want[][2] = { { "a", "1" },   { "b", "\"2, 3\"" }, { "", "4" }, { "", "c" },
                                           { "d", "5=6" }, { "\xff", "\x80" },  { "e", "" } };
    struct cookie c;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(cookie_next(&it, &c));
        assert_str(c.name, want[i][0]);
        assert_str(c.value, want[i][1]);
    }
    assert_false(cookie_next(&it, &c));
    assert_false(cookie_next(&it, &c));
}

static void test_empty_and_separators_only(void **state)
{
    (void)state;
    static const char *const values[] = { "", ";", " ", ";;;;", "; ;\t;", " \t " };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct cookie_iter it = { .fields = with(values[i], ";") };
        struct cookie c;
        assert_false(cookie_next(&it, &c));
    }
}

static void test_get(void **state)
{
    (void)state;
    assert_str(cookie_get(with("a=1; __Host-sallyport=x", NULL), OURS), "x");
    assert_str(cookie_get(with("a=1", "__Host-sallyport=x"), OURS), "x");
    assert_str(cookie_get(with("__Host-sallyport=x; __Host-sallyport=x", NULL), OURS), "x");
    assert_null(cookie_get(with("a=1", NULL), OURS).p);
    // Names are compared exactly; what else the value has in it is not ours.
    assert_null(cookie_get(with("__host-sallyport=x", NULL), OURS).p);
    assert_null(cookie_get(with("__Host-sallyport2=x", NULL), OURS).p);
    assert_null(cookie_get(with("__Host-sallyport", NULL), OURS).p);
    assert_null(cookie_get(with("a=\"; b=__Host-sallyport=x\"", NULL), OURS).p);
    fields.v[1].removed = true;
}

// One of the two was planted (from a sister host, or through plain HTTP), and nobody knows which.
static void test_get_refuses_two_values(void **state)
{
    (void)state;
    assert_null(cookie_get(with("__Host-sallyport=x; __Host-sallyport=y", NULL), OURS).p);
    assert_null(cookie_get(with("__Host-sallyport=x", "a=1; __Host-sallyport=y"), OURS).p);
    assert_null(cookie_get(with("__Host-sallyport=x; __Host-sallyport=", NULL), OURS).p);
    assert_null(
        cookie_get(with("__Host-sallyport=y; a=1; __Host-sallyport=x; __Host-sallyport=x", NULL), OURS).p);
}

static struct str many(struct arena *a, size_t n, const char *last)
{
    struct sbuf b;
    sbuf_init(&b, a, 100000);
    while (n--) sbuf_add_c(&b, "a=1; ");
    sbuf_add_c(&b, last);
    return sbuf_str(&b);
}

static void test_number_is_bounded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    const char *ours = "__Host-sallyport=x";
    assert_str(cookie_get(with(many(a, LIMIT_COOKIES - 1, ours).p, NULL), OURS), "x");
    assert_null(cookie_get(with(many(a, LIMIT_COOKIES, ours).p, NULL), OURS).p);
    struct cookie_iter it = { .fields = with(many(a, 3 * LIMIT_COOKIES, ours).p, NULL) };
    struct cookie c;
    size_t n = 0;
    while (n <= LIMIT_COOKIES && cookie_next(&it, &c)) n++;
    assert_int_equal(n, LIMIT_COOKIES);
    assert_true(it.too_many);
    // A second value behind the limit makes the first no better.
    assert_null(cookie_get(with(ours, many(a, LIMIT_COOKIES, "__Host-sallyport=y").p), OURS).p);
    // What is taken out is taken out wherever it is.
    assert_true(cookie_strip(a, with(many(a, 3 * LIMIT_COOKIES, ours).p, NULL), OURS));
    struct str left = http_fields_value(&fields, FIELD_COOKIE);
    assert_int_equal(str_search(left, STR("sallyport")), left.n);
    arena_free(a);
}

static void stripped(const char *before, const char *after)
{
    struct arena *a = arena_new(100000);
    assert_true(cookie_strip(a, with(before, NULL), OURS));
    struct str got = http_fields_value(&fields, FIELD_COOKIE);
    if (!after)
        assert_null(got.p);
    else
        assert_str(got, after);
    arena_free(a);
}

static void test_strip(void **state)
{
    (void)state;
    stripped("__Host-sallyport=x", NULL);
    stripped("a=1; __Host-sallyport=x; b=2", "a=1; b=2");
    stripped("__Host-sallyport=x; a=1", "a=1");
    stripped("a=1; __Host-sallyport=x", "a=1");
    stripped("__Host-sallyport=x; __Host-sallyport-login-1=y;a=1;b=2", "a=1; b=2");
    stripped("__Host-sallyport=x;;  ;", NULL);
    // Every spelling that some reader takes for ours.
    stripped("__HOST-SALLYPORT=x; a=1", "a=1");
    stripped("\t \"__Host-sallyport\"=x; a=1", "a=1");
    stripped("'__Host-sallyport'=x; a=1", "a=1");
    stripped("=__Host-sallyport=x; a=1", "a=1");
    stripped("__Host-sallyport; a=1", "a=1");
    stripped("__Host-sallyport =x; a=1", "a=1");
    stripped("q=\"; __Host-sallyport=x; b=\"", "q=\"; b=\"");
}

static void test_strip_leaves_others_as_they_are(void **state)
{
    (void)state;
    stripped("a=1;b=\"2\" ;; c", "a=1;b=\"2\" ;; c");
    stripped("x__Host-sallyport=1", "x__Host-sallyport=1");
    stripped("a=__Host-sallyport=1", "a=__Host-sallyport=1");
    stripped("", "");
    assert_str(fields.v[0].value, "__Host-sallyport=not-a-cookie");
}

static void test_strip_looks_at_every_field(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    assert_true(cookie_strip(a, with("a=1", "__Host-sallyport=x; b=2"), OURS));
    assert_str(fields.v[1].value, "a=1");
    assert_str(fields.v[2].value, "b=2");
    assert_true(cookie_strip(a, with("__Host-sallyport=x", "b=2"), OURS));
    assert_str(http_fields_value(&fields, FIELD_COOKIE), "b=2");
    arena_free(a);
}

// A cookie that could not be taken out must not be forwarded: the failure has to be visible.
static void test_strip_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct arena *a = arena_new(64 * 1024);
    struct str longer = many(a, 2000, "__Host-sallyport=x");
    for (long n = 1; n < 5; n++) {
        struct arena *b = arena_new(64 * 1024);
        with(longer.p, NULL);
        mem_fail_at(n);
        bool ok = cookie_strip(b, &fields, OURS);
        assert_int_equal(ok, !mem_failed());
        mem_fail_at(0);
        arena_free(b);
    }
    struct arena *small = arena_new(100);
    assert_false(cookie_strip(small, with(longer.p, NULL), OURS));
    arena_free(small);
    arena_free(a);
}

static void test_set(void **state)
{
    (void)state;
    struct arena *a = arena_new(10000);
    assert_str(cookie_set(a, OURS, STR("x-1_."), SAME_SITE_LAX, -1),
               "__Host-sallyport=x-1_.; Path=/; Secure; HttpOnly; SameSite=Lax");
    assert_str(cookie_set(a, STR("n"), STR(""), SAME_SITE_NONE, 0),
               "n=; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=0");
    assert_str(cookie_set(a, STR("n"), STR("v"), SAME_SITE_STRICT, 600),
               "n=v; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=600");
    static const char *const bad[] = { "a;b", "a b", "a,b", "a\"b", "a\\b", "a\r\nX: y", "a\xe9", "a\x7f" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(cookie_set(a, STR("n"), str_c(bad[i]), SAME_SITE_LAX, -1).p);
        assert_null(cookie_set(a, str_c(bad[i]), STR("v"), SAME_SITE_LAX, -1).p);
    }
    assert_null(cookie_set(a, STR(""), STR("v"), SAME_SITE_LAX, -1).p);
    assert_null(cookie_set(a, STR("a=b"), STR("v"), SAME_SITE_LAX, -1).p);
    arena_free(a);
    a = arena_new(16);
    assert_null(cookie_set(a, STR("n"), STR("v"), SAME_SITE_LAX, -1).p);
    arena_free(a);
}

static void test_backend_must_not_set_ours(void **state)
{
    (void)state;
    assert_true(cookie_sets_prefix(STR("__Host-sallyport=x; Path=/"), OURS));
    assert_true(cookie_sets_prefix(STR(" __host-SALLYPORT-login=x"), OURS));
    assert_true(cookie_sets_prefix(STR("__Host-sallyport"), OURS));
    assert_true(cookie_sets_prefix(STR("=__Host-sallyport=x"), OURS));
    assert_true(cookie_sets_prefix(STR("\t= __Host-sallyport=x"), OURS));
    assert_false(cookie_sets_prefix(STR("a=__Host-sallyport=x"), OURS));
    assert_false(cookie_sets_prefix(STR("__Host-other=x"), OURS));
    assert_false(cookie_sets_prefix(STR(""), OURS));
    assert_false(cookie_sets_prefix((struct str){ "\0__Host-sallyport", 17 }, OURS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_empty_and_separators_only),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_get_refuses_two_values),
        cmocka_unit_test(test_number_is_bounded),
        cmocka_unit_test(test_strip),
        cmocka_unit_test(test_strip_leaves_others_as_they_are),
        cmocka_unit_test(test_strip_looks_at_every_field),
        cmocka_unit_test(test_strip_survives_every_failed_allocation),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_backend_must_not_set_ours),
    };
    return cmocka_run_group_tests_name("http cookie", tests, NULL, NULL);
}
