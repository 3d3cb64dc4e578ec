// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/pages/pages.h"
#include "gateway/pages/pages_embedded.h"
#include "gateway/pages/template.h"

// Breaks out of text, of both kinds of attribute, of JSON, of a template and of a comment, wherever it is
// left as it is.
#define EVIL "\"'><script>alert(1)</script>{{user}}--><!--&\\"
static const struct str evil = STR_INIT(EVIL);
static const struct str escaped =
    STR_INIT("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{user}}--&gt;&lt;!--&amp;\\");

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(16 * 1024 * 1024);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static bool has(struct str s, const char *needle)
{
    return str_search(s, str_c(needle)) < s.n;
}

static size_t occurrences(struct str s, struct str needle)
{
    size_t n = 0;
    for (size_t at; (at = str_search(s, needle)) < s.n; s = str_skip(s, at + needle.n)) n++;
    return n;
}

static struct page_common common_of(struct str s)
{
    return (struct page_common){ .site_name = s, .host = s, .request_id = s, .user = s };
}

static struct str whoami_of(struct arena *a, struct str s)
{
    struct page_common c = common_of(s);
    struct page_row rows[] = { { s, s }, { STR("Name"), s } };
    struct str groups[] = { s, STR("staff") };
    return page_whoami(a, &c, rows, 2, (struct strlist){ groups, 2 });
}

static struct str chooser_of(struct arena *a, struct str s, struct str href)
{
    struct page_common c = common_of(s);
    struct page_choice v[] = { { s, href, true }, { s, href, false } };
    return page_chooser(a, &c, v, 2, s);
}

static struct page_error error_of(struct str s, struct str href)
{
    return (struct page_error){ .status = 403,
                                .title = s,
                                .sentence = s,
                                .requirement = s,
                                .retry_href = href,
                                .retry_label = s,
                                .reason = s,
                                .offer_sign_out = true };
}

static struct str error_page_of(struct arena *a, struct str s, struct str href)
{
    struct page_common c = common_of(s);
    struct page_error e = error_of(s, href);
    return page_error(a, &c, &e);
}

static struct str boards_of(struct arena *a, struct str s)
{
    struct page_common c = common_of(s);
    struct str functions[] = { s, STR("flash") };
    struct page_board v[] = { { s, true, { functions, 2 } }, { s, false, { functions, 1 } } };
    return page_boards(a, &c, v, 2, true);
}

enum { BOARDS = 5, PAGES = 6 };

static struct str page_of(struct arena *a, int which, struct str s)
{
    struct page_common c = common_of(s);
    struct str href = arena_printf(a, "/%.*s", STR_FMT(s));
    switch (which) {
    case 0: return chooser_of(a, s, href);
    case 1: return whoami_of(a, s);
    case 2: return page_confirm_logout(a, &c, href);
    case 3: return page_signed_out(a, &c, href);
    case BOARDS: return boards_of(a, s);
    default: return error_page_of(a, s, href);
    }
}

static void test_every_value_is_escaped(void **state)
{
    (void)state;
    // Values that each page shows: four of the frame (site name twice), and its own.
    static const size_t shown[PAGES] = { 4 + 1 + 3, 4 + 1 + 3 + 1, 4 + 2, 4 + 1, 4 + 1 + 7, 4 + 1 + 4 };
    for (int i = 0; i < PAGES; i++) {
        struct str html = page_of(arena, i, evil);
        assert_non_null(html.p);
        assert_false(has(html, "<script>"));
        assert_false(has(html, "-->"));
        assert_false(has(html, EVIL));
        if (occurrences(html, escaped) != shown[i])
            fail_msg("page %d shows %zu values, not %zu", i, occurrences(html, escaped), shown[i]);
    }
}

static void test_links_lead_to_sites_only(void **state)
{
    (void)state;
    static const char *const bad[] = { "javascript:alert(1)",
                                       "JavaScript:alert(1)",
                                       " javascript:x",
                                       "data:text/html,x",
                                       "//evil.example",
                                       "/\\evil.example",
                                       "",
                                       "x",
                                       "vbscript:x",
                                       "\tjavascript:x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str href = str_c(bad[i]), chooser = chooser_of(arena, STR("a"), href);
        struct page_common c = common_of(STR("a"));
        assert_false(has(chooser, "class=\"choice\" href"));
        assert_true(has(chooser, "Cannot be reached"));
        assert_false(has(error_page_of(arena, STR("a"), href), "<a "));
        assert_false(has(page_signed_out(arena, &c, href), "<a "));
        assert_false(has(page_confirm_logout(arena, &c, href), "<a "));
    }
    static const char *const good[] = { "/", "/.sallyport/login?a=b", "https://a.example/",
                                        "HTTPS://a.example" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(has(error_page_of(arena, STR("a"), str_c(good[i])), good[i]));
}

static void test_chooser_tells_what_cannot_be_reached(void **state)
{
    (void)state;
    struct page_common c = common_of(STR("x"));
    struct page_choice v[] = { { STR("Corp"), STR("/in"), true }, { STR("Away"), STR("/out"), false } };
    struct str html = page_chooser(arena, &c, v, 2, STR("wiki.example.com"));
    assert_true(has(html, "href=\"/in\""));
    assert_false(has(html, "href=\"/out\""));
    assert_true(has(html, "Away") && has(html, "Cannot be reached") && has(html, "wiki.example.com"));
    html = page_chooser(arena, &c, v, 0, STR_NONE);
    assert_true(has(html, "no way to sign in"));
    assert_true(has(page_chooser(arena, &c, v, 1, STR_NONE), "Continue with:"));
}

static void test_parts_without_a_value_are_left_out(void **state)
{
    (void)state;
    struct page_common nobody = { .site_name = STR("Site") };
    struct page_error e = { .status = 502, .sentence = STR("s") };
    struct str html = page_error(arena, &nobody, &e);
    assert_true(has(html, "The application did not answer") && has(html, "Error 502"));
    assert_false(has(html, "<form") || has(html, "<a ") || has(html, "Request") || has(html, "Reason"));
    assert_false(has(html, "asks for") || has(html, "signed in as"));
    html = page_whoami(arena, &nobody, NULL, 0, (struct strlist){ NULL, 0 });
    assert_false(has(html, "Groups"));
    assert_true(has(html, "method=\"post\" action=\"/.sallyport/logout\""));
}

// What the policy in page_csp forbids would only fail in a browser: inline style or script, other origins.
static void test_pages_keep_the_content_policy(void **state)
{
    (void)state;
    static const char *const never[] = { "<script", "<style",    " style=",     " onclick",
                                         " onload", " onsubmit", "javascript:", "src=\"http",
                                         "<iframe", "<object",   "<base",       "http-equiv" };
    static const char *const always[] = { "<!doctype html>",
                                          "<html lang=\"en\">",
                                          "<main",
                                          "<header",
                                          "<footer",
                                          "<h1",
                                          "name=\"viewport\"",
                                          "rel=\"stylesheet\" href=\"/.sallyport/assets/style." };
    for (int p = 0; p < PAGES; p++) {
        struct str html = page_of(arena, p, STR("a"));
        for (size_t i = p == BOARDS; i < sizeof never / sizeof *never; i++)
            if (has(html, never[i])) fail_msg("page %d has %s", p, never[i]);
        for (size_t i = 0; i < sizeof always / sizeof *always; i++)
            if (!has(html, always[i])) fail_msg("page %d lacks %s", p, always[i]);
        assert_int_equal(occurrences(html, STR("<h1")), 1);
    }
    for (size_t i = 0; i < page_template_count; i++)
        for (size_t k = !strcmp(page_templates[i].name, "boards"); k < sizeof never / sizeof *never; k++)
            assert_false(has(page_templates[i].text, never[k]));
    assert_string_equal(page_csp, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                                  "base-uri 'none'; frame-ancestors 'none'");
    struct str css;
    const char *type;
    assert_true(page_asset(STR("style.css"), &css, &type));
    assert_false(has(css, "url(") || has(css, "@import"));
    assert_true(has(css, "prefers-color-scheme: dark") && has(css, "prefers-reduced-motion") &&
                has(css, ":focus-visible"));
}

// The one page with a script: a file of ours, and nothing else is let in by its policy.
static void test_boards_have_a_script_and_no_other(void **state)
{
    (void)state;
    struct str html = boards_of(arena, STR("a")), js;
    const char *type;
    assert_int_equal(occurrences(html, STR("<script")), 1);
    assert_true(has(html, "<script src=\"/.sallyport/assets/boards."));
    assert_true(has(html, "\" defer></script>"));
    assert_string_equal(page_script_csp,
                        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                        "base-uri 'none'; frame-ancestors 'none'; script-src 'self'; connect-src 'self'; "
                        "require-trusted-types-for 'script'; trusted-types 'none'");
    assert_false(has(str_c(page_csp), "script"));
    assert_true(page_asset(STR("boards.js"), &js, &type));
    assert_string_equal(type, "text/javascript; charset=utf-8");
    // Text of boards would become markup or code in these.
    static const char *const never[] = {
        "innerHTML", "outerHTML",         "insertAdjacent", "document.write",
        "eval(",     "Function(",         "DOMParser",      "createContextualFragment",
        "srcdoc",    "setAttribute(\"on", ".style",         "import("
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (has(js, never[i])) fail_msg("boards.js has %s", never[i]);
    assert_true(has(js, "textContent"));
}

static void test_boards_are_a_list_without_the_script(void **state)
{
    (void)state;
    struct page_common c = common_of(STR("x"));
    struct str functions[] = { STR("flash"), STR("water") };
    struct page_board v[PAGE_BOARDS + 1] = { { STR("lamp"), true, { functions, 2 } } };
    struct str html = page_boards(arena, &c, v, 1, false);
    assert_true(has(html, "<bdi>lamp</bdi>") && has(html, "<bdi>flash</bdi>") &&
                has(html, "<bdi>water</bdi>"));
    assert_true(has(html, "Online") && has(html, "<details open>"));
    assert_true(has(html, "id=\"none\" class=\"empty\" hidden") &&
                has(html, "id=\"more\" class=\"hint\" hidden"));
    v[0].online = false;
    assert_false(has(page_boards(arena, &c, v, 1, false), "Online"));
    html = page_boards(arena, &c, v, 0, false);
    assert_true(has(html, "No board is connected that you may use.") && has(html, "docs/pico.md"));
    assert_true(has(html, "id=\"none\" class=\"empty\">"));
    for (size_t i = 1; i <= PAGE_BOARDS; i++) v[i] = v[0];
    html = page_boards(arena, &c, v, PAGE_BOARDS + 1, false);
    assert_int_equal(occurrences(html, STR("<bdi>lamp</bdi>")), PAGE_BOARDS);
    assert_true(has(html, "id=\"more\" class=\"hint\">"));
    assert_false(has(html, "<details open>"));
    html = page_boards(arena, &c, v, PAGE_BOARDS, false);
    assert_true(has(html, "id=\"more\" class=\"hint\" hidden"));
}

// As many names as the list may have, of the longest kind, all of characters that are escaped.
static void test_the_longest_list_of_boards_fits(void **state)
{
    (void)state;
    static struct page_board v[PAGE_BOARDS];
    static struct str functions[64];
    static char longest[128];
    struct page_common c = common_of(STR("x"));
    memset(longest, '"', sizeof longest);
    for (int i = 0; i < 64; i++) functions[i] = (struct str){ longest, sizeof longest };
    // 32 for each name beside its bytes: 1 MiB holds about a hundred such boards.
    size_t n = 1024 * 1024 / (64 * (sizeof longest + 32));
    for (size_t i = 0; i < n; i++) v[i] = (struct page_board){ STR("b"), true, { functions, 64 } };
    struct arena *a = arena_new(40 * 1024 * 1024);
    assert_non_null(page_boards(a, &c, v, n, false).p);
    arena_free(a);
}

static void test_assets_of_a_page_are_there(void **state)
{
    (void)state;
    struct str html = page_of(arena, 0, STR("a")), prefix = STR("\"/.sallyport/assets/"), body, rest = html;
    const char *type;
    size_t n = 0;
    for (size_t at; (at = str_search(rest, prefix)) < rest.n; n++) {
        rest = str_skip(rest, at + prefix.n);
        struct str name = str_take(rest, str_find(rest, '"'));
        assert_true(page_asset(name, &body, &type));
        assert_true(page_asset_immutable(name));
        assert_true(body.n > 100);
    }
    assert_int_equal(n, 3);
    assert_true(page_asset(STR("icon.svg"), &body, &type));
    assert_string_equal(type, "image/svg+xml");
    assert_true(str_starts(body, STR("<svg")) && !has(body, "script"));
    assert_false(page_asset_immutable(STR("style.css")));
}

static void test_unknown_assets_are_not_found(void **state)
{
    (void)state;
    static const struct str bad[] = { STR_INIT(""),
                                      STR_INIT("x"),
                                      STR_INIT("../style.css"),
                                      STR_INIT("style.css/"),
                                      STR_INIT("/style.css"),
                                      STR_INIT("STYLE.CSS"),
                                      STR_INIT("style.css\0"),
                                      STR_INIT("style.000000000000.css"),
                                      STR_INIT("..%2fstyle.css"),
                                      STR_INIT("layout.html"),
                                      STR_INIT("error"),
                                      STR_INIT("../../etc/passwd") };
    struct str body;
    const char *type;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(page_asset(bad[i], &body, &type));
    assert_false(page_asset(STR_NONE, &body, &type));
}

static void assert_json(json_t *o, const char *name, const char *want)
{
    const char *got = json_string_value(json_object_get(o, name));
    assert_non_null(got);
    assert_string_equal(got, want);
}

static void test_json_is_json(void **state)
{
    (void)state;
    struct page_error e = error_of(evil, STR("/"));
    struct str text = page_error_json(arena, &e, evil, STR("https://login.example.com/?a=\"b\""));
    json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_false(has(text, "<script"));
    assert_int_equal(json_integer_value(json_object_get(o, "status")), 403);
    assert_json(o, "error", EVIL);
    assert_json(o, "message", EVIL);
    assert_json(o, "request_id", EVIL);
    assert_json(o, "login", "https://login.example.com/?a=\"b\"");
    json_decref(o);
    struct page_error bare = { .status = 500, .sentence = STR("\x01\xff\n") };
    text = page_error_json(arena, &bare, STR_NONE, STR_NONE);
    o = json_loadb(text.p, text.n, 0, NULL);
    assert_non_null(o);
    assert_json(o, "error", "unknown");
    assert_null(json_object_get(o, "login"));
    json_decref(o);
}

static void test_every_status_has_a_title(void **state)
{
    (void)state;
    for (int status = 0; status < 1000; status++) assert_true(strlen(page_title(status)) > 5);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    for (int p = 0; p <= PAGES; p++) {
        for (long n = 1;; n++) {
            struct page_error e = error_of(STR("abc"), STR("/"));
            mem_fail_at(n);
            struct arena *a = arena_new(1024 * 1024);
            struct str got = STR_NONE;
            if (a) got = p < PAGES ? page_of(a, p, STR("abc")) : page_error_json(a, &e, STR("1"), STR("/"));
            bool failed = mem_failed();
            mem_fail_at(0);
            // A page is whole or absent.
            if (failed)
                assert_null(got.p);
            else
                assert_true(str_ends(got, p < PAGES ? STR("</html>\n") : STR("}\n")));
            arena_free(a);
            if (!failed) break;
        }
    }
}

static struct str render(const char *text)
{
    static const struct template_field one[] = { { .name = "n", .text = STR_INIT("1") } };
    static const struct template_field two[] = { { .name = "n", .text = STR_INIT("2<") } };
    static const struct template_scope rows[] = { { one, 1, NULL }, { two, 1, NULL } };
    static const struct template_field f[] = { { .name = "v", .text = STR_INIT("<v>") },
                                               { .name = "none" },
                                               { .name = "rows", .rows = rows, .nrows = 2, .list = true },
                                               { .name = "empty", .list = true } };
    struct template_scope scope = { f, 4, NULL };
    return template_render(arena, str_c(text), &scope, 1000);
}

static void assert_renders(const char *text, const char *want)
{
    struct str got = render(text);
    if (!str_eq_c(got, want)) fail_msg("'%s' gives '%.*s', not '%s'", text, STR_FMT(got), want);
}

static void test_template_language(void **state)
{
    (void)state;
    assert_renders("", "");
    assert_renders("a{b}c", "a{b}c");
    assert_renders("{{v}}{{none}}.", "&lt;v&gt;.");
    assert_renders("{{#v}}yes{{/v}}{{^v}}no{{/v}}", "yes");
    assert_renders("{{#none}}yes{{/none}}{{^none}}no{{/none}}", "no");
    assert_renders("{{#rows}}{{n}}{{v}},{{/rows}}", "1&lt;v&gt;,2&lt;&lt;v&gt;,");
    assert_renders("{{^rows}}no{{/rows}}{{#empty}}x{{/empty}}{{^empty}}none{{/empty}}", "none");
    assert_renders("{{#v}}a{{#none}}b{{/none}}c{{/v}}d", "acd");
    assert_renders("{{#v}}{{#v}}x{{/v}}y{{/v}}", "xy");
}

static void test_wrong_templates_give_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = { "{{unknown}}",
                                       "{{",
                                       "{{v",
                                       "{{#v}}x",
                                       "{{/v}}",
                                       "{{#v}}x{{/none}}",
                                       "{{#unknown}}{{/unknown}}",
                                       "{{}}",
                                       "{{#}}{{/}}",
                                       "{{rows}}",
                                       "{{#v}}{{unknown}}{{/v}}",
                                       "{{#v}}{{#none}}{{/v}}{{/none}}",
                                       "{{{v}}}",
                                       "{{&v}}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (render(bad[i]).p) fail_msg("'%s' gives something", bad[i]);
    char deep[200] = "";
    for (int i = 0; i < 12; i++) strcat(deep, "{{#v}}");
    for (int i = 0; i < 12; i++) strcat(deep, "{{/v}}");
    assert_null(render(deep).p);
    char big[1100];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_null(render(big).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_value_is_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links_lead_to_sites_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chooser_tells_what_cannot_be_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_without_a_value_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_keep_the_content_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_boards_have_a_script_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_boards_are_a_list_without_the_script, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_longest_list_of_boards_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_assets_of_a_page_are_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_assets_are_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_is_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_status_has_a_title, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_template_language, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_templates_give_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
