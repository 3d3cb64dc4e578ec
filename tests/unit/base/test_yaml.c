// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/yaml.h"

enum { ARENA = 64 * 1024 * 1024 };

static struct arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_new(ARENA);
    return a ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

static struct yaml_node *read_ok(const char *text)
{
    struct yaml_node *root = NULL;
    struct yaml_error error;
    if (!yaml_read(a, str_c(text), &root, &error))
        fail_msg("%u:%u: %s", error.line, error.column, error.text);
    return root;
}

static void assert_refused(struct str text, unsigned line, unsigned column, const char *why)
{
    struct yaml_node *root = NULL;
    struct yaml_error error = { 0 };
    assert_false(yaml_read(a, text, &root, &error));
    assert_null(root);
    if (!strstr(error.text, why)) fail_msg("got '%s', want '%s'", error.text, why);
    assert_int_equal(error.line, line);
    assert_int_equal(error.column, column);
}

static void test_positions_and_paths(void **state)
{
    (void)state;
    const struct yaml_node *root =
        read_ok("a: 1\nroutes:\n  - host: x\n  - { host: \"y\", list: [ p, q ] }\n");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->n, 2);
    assert_null(yaml_get(root, "b"));
    assert_null(yaml_get(NULL, "b"));
    const struct yaml_node *second = yaml_get(root, "routes")->first->next;
    assert_int_equal(second->line, 4);
    assert_int_equal(second->column, 5);
    const struct yaml_node *host = yaml_get(second, "host"), *list = yaml_get(second, "list");
    assert_true(host->quoted);
    assert_false(yaml_get(root, "a")->quoted);
    assert_string_equal(host->text.p, "y");
    assert_int_equal(host->key_column, 7);
    assert_int_equal(host->column, 13);
    assert_string_equal(yaml_path(a, list->first->next).p, "routes[1].list[1]");
    assert_string_equal(yaml_path(a, root).p, "");
    assert_null(yaml_get(list, "p"));
}

static void test_null_is_only_what_stands_plainly(void **state)
{
    (void)state;
    const struct yaml_node *root = read_ok("a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\nf: x\ng: []\n");
    assert_true(yaml_is_null(yaml_get(root, "a")));
    assert_true(yaml_is_null(yaml_get(root, "b")));
    assert_true(yaml_is_null(yaml_get(root, "c")));
    assert_false(yaml_is_null(yaml_get(root, "d")));
    assert_false(yaml_is_null(yaml_get(root, "e")));
    assert_false(yaml_is_null(yaml_get(root, "f")));
    assert_false(yaml_is_null(yaml_get(root, "g")));
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused(STR(""), 1, 1, "empty");
    assert_refused(STR("# only a comment\n"), 2, 1, "empty");
    assert_refused(STR("a: &x b\n"), 1, 4, "anchors");
    assert_refused(STR("a: &x { b: c }\n"), 1, 4, "anchors");
    assert_refused(STR("a: &x [ b ]\n"), 1, 4, "anchors");
    assert_refused(STR("a: *x\n"), 1, 4, "aliases");
    assert_refused(STR("*x : a\n"), 1, 1, "plain text");
    assert_refused(STR("a: !!int 1\n"), 1, 4, "tags");
    assert_refused(STR("a: ! 1\n"), 1, 4, "tags");
    assert_refused(STR("a: !x { b: c }\n"), 1, 4, "tags");
    assert_refused(STR("!!str a: b\n"), 1, 1, "tags");
    assert_refused(STR("a: 1\nb: 2\na: 3\n"), 3, 1, "given before");
    assert_refused(STR("a: 1\n\"a\": 3\n"), 2, 1, "given before"); // another spelling of the same key
    assert_refused(STR("a: 1\n---\nb: 1\n"), 2, 1, "one document");
    assert_refused(STR("? [ a ]\n: b\n"), 1, 3, "plain text");
    assert_refused(STR("a: \"x\\0y\"\n"), 1, 4, "control");
    assert_refused(STR("a: |\n  x\n  y\n"), 1, 4, "control");
    assert_refused(STR("a: \"\\e\"\n"), 1, 4, "control");
    assert_refused(STR("a: \xff\n"), 1, 1, "UTF-8");
    assert_refused(STR("a: {\n"), 2, 1, "did not find");
    assert_refused(STR("a: b: c\n"), 1, 5, "mapping values");
}

static void test_depth_and_size_are_bounded(void **state)
{
    (void)state;
    char deep[2 * LIMIT_YAML_DEPTH + 2];
    memset(deep, '[', sizeof deep);
    assert_refused((struct str){ deep, LIMIT_YAML_DEPTH + 1 }, 1, LIMIT_YAML_DEPTH + 1, "deeply");
    memset(deep + LIMIT_YAML_DEPTH - 1, ']', LIMIT_YAML_DEPTH - 1);
    deep[2 * LIMIT_YAML_DEPTH - 2] = '\0';
    read_ok(deep);
    struct sbuf b;
    sbuf_init(&b, a, ARENA);
    for (int i = 0; i < LIMIT_YAML_ENTRIES; i++) sbuf_add_c(&b, "- x\n");
    assert_int_equal(read_ok(sbuf_str(&b).p)->n, LIMIT_YAML_ENTRIES);
    sbuf_add_c(&b, "- x\n");
    assert_refused(sbuf_str(&b), LIMIT_YAML_ENTRIES + 1, 3, "too large");
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    // Long enough for several blocks of the arena.
    char text[8000] = "list: [";
    for (int i = 0; i < 500; i++) strcat(text, "item, ");
    strcat(text, "]\nmap: { a: { b: c } }\n");
    for (long n = 1;; n++) {
        struct yaml_node *root = NULL;
        struct yaml_error error = { 0 };
        mem_fail_at(n);
        struct arena *small = arena_new(ARENA);
        bool ok = small && yaml_read(small, str_c(text), &root, &error);
        bool fired = mem_failed();
        mem_fail_at(0);
        assert_true(ok ? root != NULL : fired);
        assert_true(ok || !small || error.text[0]);
        arena_free(small);
        if (!fired) break;
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions_and_paths),
        cmocka_unit_test(test_null_is_only_what_stands_plainly),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth_and_size_are_bounded),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
