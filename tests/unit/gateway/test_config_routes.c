// SPDX-License-Identifier: GPL-3.0-or-later
// What a configuration that loads says about routes, backends and who connects. What must not load is in
// tests/vectors/config, which test_config.c runs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

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

static struct config *load_vector(const char *name)
{
    char path[400];
    struct str text;
    struct err err = { 0 };
    snprintf(path, sizeof path, VECTORS "/%s", name);
    if (!file_read(f.arena, path, 100000, &text, &err)) fail_msg("%s", err.detail);
    struct config *c = fixture_load(&f, text);
    if (!c) fail_msg("%s: %s", name, fixture_errors(&f).p);
    return c;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static void assert_words(struct strlist got, const char *want)
{
    struct sbuf b;
    sbuf_init(&b, f.arena, 1000);
    for (size_t i = 0; i < got.n; i++) sbuf_addf(&b, "%s%.*s", i ? " " : "", STR_FMT(got.v[i]));
    assert_str(sbuf_str(&b), want);
}

static void test_defaults_of_the_data_plane(void **state)
{
    (void)state;
    struct config *c = load_vector("good-minimal.yaml");
    assert_int_equal(c->max_connections, 16384);
    assert_int_equal(c->max_connections_per_address, 512);
    assert_int_equal(c->max_streams, 100);
    assert_int_equal(c->trusted_proxies.n, 0);
    assert_false(c->listeners[0].proxy_protocol);
    assert_int_equal(c->nbackends, 1);
    const struct route_target *t = c->routes.v[0].target;
    assert_int_equal(t->balance, BALANCE_ROUND_ROBIN);
    assert_true(t->tls.verify);
    assert_null(t->tls.ca_pem.p);
    assert_null(t->tls.cert_pem.p);
    assert_null(t->tls.server_name.p);
    assert_null(t->health.path.p);
    assert_int_equal(t->eject.failures, 3);
    assert_int_equal(t->eject.seconds, 10);
    assert_int_equal(t->max_connections, 0);
    assert_int_equal(t->max_queue, 128);
    assert_int_equal(t->queue_timeout, 10);
    assert_int_equal(t->max_body, -1);
    assert_int_equal(t->stream_timeout, 3600);
    assert_str(t->prefix, "/");
    assert_false(t->strip_prefix);
    assert_null(t->rewrite.p);
    assert_true(t->preserve_host);
    assert_true(t->websocket.allowed);
    assert_int_equal(t->websocket.origins.n, 0);
    assert_null(t->redirect.to.p);
    assert_int_equal(c->routes.v[0].policy->rules[0].addresses.n, 0);
    config_free(c);
}

static void assert_in(const struct ip_networks *networks, const char *address, bool want)
{
    struct ip_address a;
    assert_true(ip_parse(str_c(address), &a));
    if (ip_networks_have(networks, &a) != want) fail_msg("%s", address);
}

static void test_backends(void **state)
{
    (void)state;
    struct config *c = load_vector("good-route-all.yaml");
    const struct route_target *t = c->routes.v[0].target;
    const struct backend *b = t->backends;
    assert_int_equal(t->nbackends, 4);
    assert_true(!b[0].tls && b[0].port == 3000 && !b[0].unix_path.p);
    assert_str(b[0].authority, "10.0.0.5:3000");
    assert_true(b[1].tls && b[1].port == 443);
    assert_str(b[1].authority, "app.internal");
    assert_str(b[1].host, "app.internal");
    assert_str(b[2].authority, "[2001:db8::1]:8443");
    assert_str(b[2].host, "2001:db8::1");
    assert_false(b[3].tls);
    assert_str(b[3].host, "localhost");
    assert_true(str_starts(b[3].unix_path, str_c(f.dir)) && str_ends(b[3].unix_path, STR("/app.sock")));
    assert_true(str_starts(b[3].authority, STR("unix:/")));
    assert_int_equal(t->balance, BALANCE_LEAST_CONNECTIONS);
    assert_true(t->tls.verify);
    assert_true(str_starts(t->tls.ca_pem, STR("-----BEGIN CERTIFICATE-----")));
    assert_true(str_starts(t->tls.cert_pem, STR("-----BEGIN CERTIFICATE-----")));
    assert_true(str_search(t->tls.key_pem, STR("PRIVATE KEY-----")) < t->tls.key_pem.n);
    assert_true(str_ends(t->tls.cert_path, STR("/tls.pem")) && str_ends(t->tls.key_path, STR("/tls.key")));
    assert_str(t->tls.server_name, "app.internal");
    config_free(c);
    c = load_vector("good-strip-prefix.yaml");
    assert_false(c->routes.v[0].target->tls.verify);
    // Numbers go on from route to route.
    assert_int_equal(c->nbackends, 2);
    assert_int_equal(c->routes.v[0].target->backends[0].index, 0);
    assert_int_equal(c->routes.v[1].target->backends[0].index, 1);
    config_free(c);
}

static void test_all_route_options(void **state)
{
    (void)state;
    struct config *c = load_vector("good-route-all.yaml");
    const struct route_target *t = c->routes.v[0].target;
    assert_str(t->health.path, "/healthz?full=1");
    assert_int_equal(t->health.interval, 2);
    assert_int_equal(t->health.timeout, 2); // the default gives way
    assert_int_equal(t->health.rise, 1);
    assert_int_equal(t->health.fall, 5);
    assert_int_equal(t->eject.failures, 7);
    assert_int_equal(t->eject.seconds, 60);
    assert_int_equal(t->max_connections, 50);
    assert_int_equal(t->max_queue, 10);
    assert_int_equal(t->queue_timeout, 3);
    assert_int_equal(t->max_body, 2 << 20);
    assert_int_equal(t->stream_timeout, 7200);
    assert_str(t->prefix, "/x");
    assert_str(t->rewrite, "/app"); // without the slash at the end
    assert_false(t->preserve_host);
    assert_words(t->websocket.origins,
                 "https://other.example.com http://[::1]:8080"); // as browsers write them
    assert_true(c->listeners[0].proxy_protocol);
    assert_in(&c->trusted_proxies, "10.1.2.3", true);
    assert_in(&c->trusted_proxies, "2001:db8::9", true);
    assert_in(&c->trusted_proxies, "11.1.2.3", false);
    assert_int_equal(c->max_connections, 1000);
    assert_int_equal(c->max_connections_per_address, 1000);
    assert_int_equal(c->max_streams, 50);
    config_free(c);
    c = load_vector("good-strip-prefix.yaml");
    t = c->routes.v[0].target;
    assert_true(t->strip_prefix && !t->websocket.allowed && t->max_body == 1024 && t->eject.failures == 0);
    assert_words(c->routes.v[1].target->websocket.origins, "*");
    assert_int_equal(c->routes.v[1].target->health.timeout, 1);
    config_free(c);
}

static const struct redirect *redirect_of(const struct config *c, const char *host, const char *path)
{
    const struct route *r = route_match(&c->routes, str_c(host), str_c(path));
    assert_non_null(r);
    return &r->target->redirect;
}

static void test_redirects(void **state)
{
    (void)state;
    struct config *c = load_vector("good-redirect.yaml");
    const struct redirect *r = redirect_of(c, "wiki.example.com", "/");
    assert_str(r->to, "/new");
    assert_int_equal(r->status, 302);
    assert_true(r->keep_path);
    r = redirect_of(c, "wiki.example.com", "/old");
    assert_str(r->to, "https://wiki.example.com/new/a?b#c");
    assert_int_equal(r->status, 308);
    assert_false(r->keep_path);
    assert_null(redirect_of(c, "wiki.example.com", "/new")->to.p);
    config_free(c);
}

static void test_addresses_of_rules(void **state)
{
    (void)state;
    struct config *c = load_vector("good-rules-addresses.yaml");
    const struct rule *r = c->routes.v[0].policy->rules;
    assert_true(r[0].allow && r[0].is_public);
    assert_in(&r[0].addresses, "10.255.0.1", true);
    assert_in(&r[0].addresses, "2001:db8::1", true);
    assert_in(&r[0].addresses, "192.0.2.1", true);
    assert_in(&r[0].addresses, "192.0.2.2", false);
    assert_in(&r[1].addresses, "192.0.2.2", true);
    assert_in(&r[2].addresses, "10.0.1.1", true);
    assert_in(&r[2].addresses, "10.1.0.1", false);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_of_the_data_plane), cmocka_unit_test(test_backends),
        cmocka_unit_test(test_all_route_options),          cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_addresses_of_rules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
