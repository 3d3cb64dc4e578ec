// SPDX-License-Identifier: GPL-3.0-or-later
// What a configuration that loads says about boards. What must not load is in tests/vectors/config.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "config_fixture.h"
#include "gateway/config/config.h"

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_make(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_remove(&f);
    return 0;
}

static struct str read_vector(const char *name)
{
    char path[400];
    struct str text;
    struct err err = { 0 };
    snprintf(path, sizeof path, VECTORS "/%s", name);
    if (!file_read(f.arena, path, 100000, &text, &err)) fail_msg("%s", err.detail);
    return text;
}

static struct config *load_vector(const char *name)
{
    struct config *c = fixture_load(&f, read_vector(name));
    if (!c) fail_msg("%s: %s", name, fixture_errors(&f).p);
    return c;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static bool is_plain(const struct pico *p, const char *address)
{
    struct ip_address a;
    assert_true(ip_parse(str_c(address), &a));
    return ip_networks_have(&p->plain, &a);
}

static void test_an_empty_section_means_boards(void **state)
{
    (void)state;
    struct config *c = load_vector("good-pico.yaml");
    const struct route_target *t = c->routes.v[0].target;
    assert_true(t->pico.served);
    assert_int_equal(t->nbackends, 0);
    assert_int_equal(t->pico.call_timeout, 30);
    assert_int_equal(t->pico.ntimeouts, 0);
    assert_int_equal(t->pico.dead_after, 60);
    assert_int_equal(t->pico.max_arguments, 8192);
    assert_int_equal(t->pico.plain.n, 0);
    assert_false(t->pico.log_arguments);
    config_free(c);
}

static void test_all_options(void **state)
{
    (void)state;
    struct config *c = load_vector("good-pico-all.yaml");
    const struct route *r = config_pico_route(c, STR("wiki.example.com"));
    assert_non_null(r);
    const struct pico *p = &r->target->pico;
    assert_int_equal(p->call_timeout, 20);
    assert_int_equal(p->ntimeouts, 2);
    assert_str(p->timeouts[0].function, "blink");
    assert_int_equal(p->timeouts[0].seconds, 300);
    assert_str(p->timeouts[1].function, "grüße");
    assert_int_equal(p->timeouts[1].seconds, 1);
    assert_int_equal(p->dead_after, 120);
    assert_int_equal(p->max_arguments, 16000);
    assert_true(is_plain(p, "192.168.7.9") && is_plain(p, "fd00::1"));
    assert_false(is_plain(p, "192.168.8.9") || is_plain(p, "fe00::1"));
    assert_true(p->log_arguments);
    assert_int_equal(r->providers.n, 1);
    config_free(c);
}

static void test_each_host_has_its_own_boards(void **state)
{
    (void)state;
    struct config *c = load_vector("good-pico-all.yaml");
    assert_true(config_has_pico(c));
    assert_str(config_pico_route(c, STR("wiki.example.com"))->path, "/boards");
    assert_str(config_pico_route(c, STR("status.example.com"))->host, "status.example.com");
    assert_null(config_pico_route(c, STR("login.example.com")));
    assert_null(config_pico_route(c, STR("example.com")));
    assert_null(config_pico_route(c, STR("")));
    config_free(c);
    c = load_vector("good-minimal.yaml");
    assert_false(config_has_pico(c));
    assert_false(c->routes.v[0].target->pico.served);
    assert_null(config_pico_route(c, STR("wiki.example.com")));
    config_free(c);
}

static void test_rules_name_boards_and_functions(void **state)
{
    (void)state;
    struct config *c = load_vector("good-pico-all.yaml");
    const struct policy *p = config_pico_route(c, STR("wiki.example.com"))->policy;
    assert_int_equal(p->nrules, 4);
    assert_true(!p->rules[0].allow && p->rules[0].devices.n == 1 && p->rules[0].functions.n == 1);
    assert_str(p->rules[0].devices.v[0], "door");
    assert_str(p->rules[0].functions.v[0], "open");
    assert_int_equal(p->rules[1].devices.n, 2);
    assert_str(p->rules[1].devices.v[1], "fan-2");
    assert_int_equal(p->rules[1].functions.n, 0);
    assert_str(p->rules[2].functions.v[1], "grüße");
    assert_int_equal(p->rules[3].devices.n, 0);
    config_free(c);
}

// Never a configuration with holes, never a refusal without a word.
static void fail_every_allocation(const char *name, bool loads)
{
    fixture_write(&f, "config.yaml", read_vector(name), 0644);
    for (long n = 1;; n++) {
        struct arena *a = arena_new(1 << 20);
        struct config_errors errors;
        mem_fail_at(n);
        struct config *c = config_load(f.config_path, a, &errors);
        bool fired = mem_failed();
        mem_fail_at(0);
        assert_true(c ? loads && errors.n == 0 && !fired : errors.n > 0);
        config_free(c);
        arena_free(a);
        if (!fired) break;
        assert_true(n < 2000);
    }
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    fail_every_allocation("good-pico-all.yaml", true);
    fail_every_allocation("pico-uplink-taken.yaml", false);
    fail_every_allocation("pico-rule-shared.yaml", false);
    fail_every_allocation("pico-rule-functions.yaml", false);
    fail_every_allocation("pico-timeouts-name.yaml", false);
}

// --- the manual

// An example in a page, made whole with what it leaves out; the page's rest stays in *page.
static struct str next_example(struct str *page)
{
    static const char head[] = "login: { host: login.example.com }\n"
                               "listen:\n"
                               "  - { address: \"[::]:443\", tls: { certificates: [ { cert: tls.pem, key: "
                               "tls.key } ] } }\n"
                               "identity_providers:\n"
                               "  corp: { protocol: saml, metadata: idp.xml }\n";
    static const char routes[] = "routes: [ { host: wiki.example.com, pico: {}, policy: led } ]\n";
    size_t at = str_search(*page, STR("```yaml\n"));
    if (at == page->n) return STR_NONE;
    *page = str_skip(*page, at + 8);
    struct str text = str_take(*page, str_search(*page, STR("\n```")));
    struct str host = STR("host: pico."); // the certificate of the tests has another
    at = str_search(text, host);
    if (at < text.n)
        text = arena_printf(f.arena, "%.*shost: wiki.%.*s", STR_FMT(str_take(text, at)),
                            STR_FMT(str_skip(text, at + host.n)));
    return arena_printf(f.arena, "%s%s%.*s\n", head, str_starts(text, STR("policies:")) ? routes : "",
                        STR_FMT(text));
}

static size_t load_examples(const char *name)
{
    char path[400];
    struct str page, text;
    struct err err = { 0 };
    size_t n = 0;
    snprintf(path, sizeof path, SOURCE "/%s", name);
    if (!file_read(f.arena, path, 1000000, &page, &err)) fail_msg("%s", err.detail);
    while ((text = next_example(&page)).p) {
        if (str_search(text, STR("\nlogin:")) < text.n) continue; // whole already: test_config.c
        struct config *c = fixture_load(&f, text);
        if (!c) fail_msg("%s: %s", name, fixture_errors(&f).p);
        assert_true(config_has_pico(c));
        config_free(c);
        n++;
    }
    return n;
}

static void test_the_examples_in_the_manual_load(void **state)
{
    (void)state;
    assert_int_equal(load_examples("README.md"), 1);
    assert_int_equal(load_examples("docs/pico.md"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_section_means_boards),
        cmocka_unit_test(test_all_options),
        cmocka_unit_test(test_each_host_has_its_own_boards),
        cmocka_unit_test(test_rules_name_boards_and_functions),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_the_examples_in_the_manual_load),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
