// SPDX-License-Identifier: GPL-3.0-or-later
// The list of boards, as JSON and as a page.
#include "boards_rig.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

// --- the list

static struct str json_for(struct client *c)
{
    struct offered_boards o;
    boards_offered(&c->x, &route, rig->arena, &o);
    return boards_json(rig->arena, &o);
}

static void assert_json(struct client *c, const char *want)
{
    struct str json = json_for(c);
    if (!str_eq_c(json, want)) fail_msg("'%.*s', not '%s'", STR_FMT(json), want);
    client_free(c);
}

static void test_only_what_may_be_called_is_told(void **state)
{
    (void)state;
    add_board(0, "door", true, "open lock");
    add_board(1, "greenhouse", true, "reset water flash");
    rig->boards[1].online = false;
    add_board(2, "hidden", true, "flash");
    add_board(3, "lamp", true, "flash admin");
    add_board(4, "never", false, "flash");
    add_board(5, "silent", true, "");
    assert_json(maker(),
                "{\"boards\":["
                "{\"name\":\"greenhouse\",\"online\":false,\"functions\":["
                "{\"name\":\"flash\",\"online\":false},{\"name\":\"water\",\"online\":false}]},"
                "{\"name\":\"lamp\",\"online\":true,\"functions\":[{\"name\":\"flash\",\"online\":true}]}]}");
    assert_json(client_of("eve", "guests"), "{\"boards\":[]}");
    struct client *nobody = maker();
    nobody->x.has_session = false;
    assert_json(nobody, "{\"boards\":[]}");
    struct client *staff = client_of("bob", "staff");
    struct str json = json_for(staff);
    assert_true(str_search(json, STR("\"door\"")) < json.n && str_search(json, STR("\"reset\"")) < json.n);
    assert_true(str_search(json, STR("hidden")) == json.n);
    client_free(staff);
}

static void test_names_are_text_in_json(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "<b>\"&");
    struct client *c = maker();
    struct str json = json_for(c);
    assert_true(str_find(json, '<') == json.n && str_find(json, '&') == json.n);
    json_t *o = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *board = json_array_get(json_object_get(o, "boards"), 0);
    json_t *function = json_array_get(json_object_get(board, "functions"), 0);
    assert_string_equal(json_string_value(json_object_get(function, "name")), "<b>\"&");
    json_decref(o);
    client_free(c);
}

static void test_the_order_of_registration_does_not_matter(void **state)
{
    (void)state;
    struct client *c = maker();
    add_board(0, "lamp", true, "flash water");
    struct str before = json_for(c);
    add_board(0, "lamp", true, "water flash");
    assert_true(str_eq(json_for(c), before));
    client_free(c);
}

// Boards of 64 functions with the longest names: a hundred of them fill the list.
static void fill_with_large_boards(size_t n)
{
    char functions[FUNCTIONS_MAX * 130] = "";
    for (int i = 0; i < FUNCTIONS_MAX; i++)
        snprintf(functions + strlen(functions), sizeof functions - strlen(functions), "%0128d ", i);
    functions[strlen(functions) - 1] = '\0';
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, functions);
    }
}

static void test_a_list_without_end_is_cut(void **state)
{
    (void)state;
    struct client *c = client_of("bob", "staff");
    fill_with_large_boards(200);
    struct offered_boards o;
    boards_offered(&c->x, &route, rig->arena, &o);
    assert_true(o.more);
    assert_in_range(o.n, 90, 110);
    assert_in_range(o.decisions, o.n * 65, (o.n + 1) * 65); // and not those of all the others
    struct str json = boards_json(rig->arena, &o);
    assert_true(str_ends(json, STR("]}],\"more\":true}")));
    rig->table.n = 50;
    boards_offered(&c->x, &route, rig->arena, &o);
    assert_false(o.more);
    assert_int_equal(o.n, 50);
    json = boards_json(rig->arena, &o);
    assert_true(str_ends(json, STR("]}]}")));
    client_free(c);
}

// The worst that fits: every byte of every name becomes six.
static void test_the_longest_list_can_be_composed(void **state)
{
    (void)state;
    struct client *c = client_of("bob", "staff");
    fill_with_large_boards(200);
    for (size_t i = 0; i < rig->boards[0].functions.n; i++)
        memset((char *)rig->boards[0].functions.v[i].p, '<', rig->boards[0].functions.v[i].n);
    for (size_t i = 1; i < 200; i++) rig->boards[i].functions = rig->boards[0].functions;
    struct arena *a = arena_new(BOARDS_ARENA);
    struct offered_boards o;
    boards_offered(&c->x, &route, a, &o);
    struct str json = boards_json(a, &o);
    assert_true(json.n > 4 * 1024 * 1024);
    arena_free(a);
    c->x.navigation = true;
    boards_serve(&c->x, &route);
    assert_int_equal(c->x.status, 200);
    client_free(c);
}

static void test_half_a_list_is_none(void **state)
{
    (void)state;
    add_board(0, "greenhouse", true, "water flash");
    add_board(1, "lamp", true, "flash");
    struct client *c = maker();
    struct str whole = json_for(c);
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct offered_boards o;
        mem_fail_at(n);
        struct arena *a = arena_new(BOARDS_ARENA);
        struct str json = STR_NONE;
        if (a) boards_offered(&c->x, &route, a, &o);
        if (a) json = boards_json(a, &o);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed ? !json.p : str_eq(json, whole));
        arena_free(a);
    }
    // And of arenas that are full at any place.
    for (size_t limit = 64; limit < 4096; limit += 8) {
        struct offered_boards o;
        struct arena *a = arena_new(limit);
        boards_offered(&c->x, &route, a, &o);
        struct str json = boards_json(a, &o);
        assert_true(!json.p || str_eq(json, whole));
        arena_free(a);
    }
    fill_with_large_boards(10);
    struct offered_boards o;
    struct arena *small = arena_new(8192);
    struct client *staff = client_of("bob", "staff");
    boards_offered(&staff->x, &route, small, &o);
    client_free(staff);
    assert_true(arena_failed(small));
    assert_int_equal(o.n, 0);
    assert_null(boards_json(small, &o).p);
    arena_free(small);
    client_free(c);
}

// --- as an answer

static void test_a_browser_gets_the_page(void **state)
{
    (void)state;
    add_board(0, "greenhouse", true, "reset");
    add_board(1, "lamp", true, "flash <b>\"&");
    struct client *c = maker();
    c->x.navigation = true;
    boards_serve(&c->x, &route);
    assert_int_equal(c->x.status, 200);
    assert_true(c->ended);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/html; charset=utf-8"));
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_script_csp));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_true(str_eq_c(field(c, "X-Frame-Options"), "DENY"));
    assert_true(str_eq_c(field(c, "Referrer-Policy"), "no-referrer"));
    assert_int_equal(count(c, "<bdi>lamp</bdi>"), 1);
    assert_int_equal(count(c, "&lt;b&gt;&quot;&amp;"), 1);
    assert_int_equal(count(c, "greenhouse"), 0); // nothing there that they may call
    assert_int_equal(count(c, "reset"), 0);
    assert_int_equal(c->x.length, (int64_t)c->n);
    client_free(c);
}

static void test_a_program_gets_json(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash admin");
    struct client *c = maker();
    boards_serve(&c->x, &route);
    assert_true(str_eq_c(field(c, "Content-Type"), "application/json"));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_in(c, "{\"boards\":[{\"name\":\"lamp\",\"online\":true,\"functions\":["
                 "{\"name\":\"flash\",\"online\":true}]}]}");
    client_free(c);
}

// Only the page of boards lets a script run.
static void test_other_pages_have_no_script(void **state)
{
    (void)state;
    struct client *c = maker();
    answer_page(&c->x, 200, STR("x"));
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_csp));
    client_free(c);
    c = maker();
    c->x.navigation = true;
    answer_failure(&c->x, ERR_NOT_FOUND, "test");
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_csp));
    client_free(c);
}

static void test_short_of_memory_is_said(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    for (int navigation = 0; navigation < 2; navigation++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct client *c = maker();
            c->x.navigation = navigation;
            mem_fail_at(n);
            boards_serve(&c->x, &route);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(c->ended);
            assert_int_equal(c->x.status, failed ? 503 : 200);
            client_free(c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_only_what_may_be_called_is_told),
        TEST(test_names_are_text_in_json),
        TEST(test_the_order_of_registration_does_not_matter),
        TEST(test_a_list_without_end_is_cut),
        TEST(test_the_longest_list_can_be_composed),
        TEST(test_half_a_list_is_none),
        TEST(test_a_browser_gets_the_page),
        TEST(test_a_program_gets_json),
        TEST(test_other_pages_have_no_script),
        TEST(test_short_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
