// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config_fixture.h"
#include "gateway/config/parse.h"

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

// --- vectors: "# error: LINE:COLUMN: KEY: MESSAGE" at the top, none for a configuration that must load

static struct str wanted_errors(struct str text)
{
    struct sbuf b;
    struct str line, mark = STR("# error: ");
    sbuf_init(&b, f.arena, 100000);
    while (str_cut(&text, '\n', &line) && str_starts(line, mark)) {
        sbuf_add(&b, str_skip(line, mark.n));
        sbuf_add_c(&b, "\n");
    }
    return sbuf_str(&b);
}

static size_t check_vector(const char *name)
{
    struct str text = read_vector(name), want = wanted_errors(text);
    struct config *c = fixture_load(&f, text);
    struct str got = c ? STR("") : fixture_errors(&f);
    bool ok = str_eq(got, want) && (c != NULL) == (want.n == 0);
    if (!ok) print_error("%s\n got: %.*swant: %.*s", name, STR_FMT(got), STR_FMT(want));
    config_free(c);
    return ok ? 0 : 1;
}

static void test_vectors(void **state)
{
    (void)state;
    DIR *d = opendir(VECTORS);
    assert_non_null(d);
    size_t wrong = 0, n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!strstr(e->d_name, ".yaml")) continue;
        wrong += check_vector(e->d_name);
        n++;
    }
    closedir(d);
    assert_int_equal(wrong, 0);
    assert_true(n >= 305);
}

// --- what a configuration that loads contains

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static void assert_words(struct strlist got, const char *want)
{
    char text[400] = "";
    for (size_t i = 0; i < got.n; i++) {
        if (i) strcat(text, " ");
        strncat(text, got.v[i].p, got.v[i].n);
    }
    assert_string_equal(text, want);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *c = load_vector("good-minimal.yaml");
    assert_str(c->login_host, "login.example.com");
    assert_str(c->site_name, "login.example.com");
    assert_int_equal(c->public_port, 443);
    assert_str(c->state_dir, "/var/lib/sallyport");
    assert_str(c->store_path, "/var/lib/sallyport/sessions");
    assert_int_equal(c->store_size, 1 << 30);
    assert_int_equal(c->session_idle, 3600);
    assert_int_equal(c->session_lifetime, 8 * 3600);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->verifiers, 2);
    assert_int_equal(c->timeout_request_head, 10);
    assert_int_equal(c->timeout_idle, 60);
    assert_int_equal(c->timeout_drain, 30);
    assert_null(c->operations.p);
    assert_null(c->user.p);
    assert_str(c->log_level, "info");
    assert_str(c->saml_entity_id, "https://login.example.com/.sallyport/saml/metadata");
    const struct route *r = &c->routes.v[0];
    assert_str(r->path, "/");
    assert_int_equal(r->providers.n, 0);
    assert_int_equal(r->target->identity, IDENTITY_SALLYPORT);
    assert_int_equal(r->target->secure_headers, SECURE_BALANCED);
    assert_int_equal(r->target->connect_timeout, 5);
    assert_int_equal(r->target->response_timeout, 60);
    assert_str(r->policy->name, "staff");
    assert_int_equal(r->line, 7);
    assert_int_equal(r->policy->rules[0].line, 10);
    config_free(c);
}

static void test_all_saml_options(void **state)
{
    (void)state;
    struct config *c = load_vector("good-saml-all.yaml");
    const struct provider *p = config_provider(c, STR("corp"));
    assert_non_null(p);
    assert_null(config_provider(c, STR("corp2")));
    assert_int_equal(p->protocol, PROTOCOL_SAML);
    assert_str(p->label, "Corp");
    assert_str(p->metadata, "https://idp.example.com/metadata");
    assert_true(p->metadata_is_url);
    assert_int_equal(p->metadata_refresh, 7200);
    assert_true(str_starts(p->saml.metadata_certificate_pem, STR("-----BEGIN CERTIFICATE-----")));
    assert_str(p->saml.provider, "corp");
    assert_str(p->saml.entity_id, "https://idp.example.com/");
    assert_str(p->saml.name_id_format, "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress");
    assert_words(p->saml.authn_context, "urn:x");
    assert_true(p->saml.force_authn && p->saml.allow_unsolicited && p->saml.allow_sha1 && p->saml.allow_cbc);
    assert_int_equal(p->saml.clock_skew, 0);
    assert_true(str_starts(p->ca_pem, STR("-----BEGIN CERTIFICATE-----")));
    assert_words(p->saml.mapping.groups, "eduPersonAffiliation");
    assert_words(p->saml.mapping.username, "uid");
    assert_str(c->saml_entity_id, "urn:example:sp");
    config_free(c);
    c = load_vector("good-minimal.yaml");
    p = &c->providers[0];
    assert_false(p->saml.force_authn || p->saml.allow_unsolicited || p->saml.allow_sha1 || p->saml.allow_cbc);
    assert_int_equal(p->saml.clock_skew, 60);
    assert_int_equal(p->metadata_refresh, 3600);
    assert_false(p->metadata_is_url);
    assert_int_equal(p->saml.mapping.subject.n + p->saml.mapping.email.n + p->saml.mapping.groups.n, 0);
    assert_str(p->label, "corp");
    config_free(c);
}

static void test_oidc_options(void **state)
{
    (void)state;
    struct config *c = load_vector("good-oidc.yaml");
    const struct oidc_client *o = &c->providers[0].oidc;
    assert_int_equal(c->providers[0].protocol, PROTOCOL_OIDC);
    assert_str(o->provider, "corp");
    assert_str(o->client_secret, "hunter2"); // without the line's end
    assert_int_equal(o->token_auth, OIDC_AUTH_BASIC);
    assert_words(o->scopes, "openid email profile");
    assert_int_equal(o->algorithms, OIDC_RS256 | OIDC_ES256);
    assert_false(o->userinfo);
    assert_int_equal(o->clock_skew, 60);
    assert_words(o->mapping.subject, "sub");
    assert_words(o->mapping.email, "email");
    assert_words(o->mapping.username, "preferred_username");
    assert_words(o->mapping.name, "name");
    assert_words(o->mapping.groups, "groups");
    config_free(c);

    c = load_vector("good-oidc-all.yaml");
    o = &c->providers[0].oidc;
    assert_int_equal(o->token_auth, OIDC_AUTH_POST);
    assert_words(o->scopes, "openid email"); // openid is added
    assert_int_equal(o->algorithms, OIDC_EDDSA);
    assert_true(o->userinfo && o->trust_email);
    assert_words(o->mapping.subject, "oid sub");
    assert_words(o->mapping.email, "email"); // what is not named keeps its default
    config_free(c);

    c = load_vector("good-oidc-env.yaml");
    assert_str(c->providers[0].oidc.client_secret, "s");
    config_free(c);
}

static void test_all_general_options(void **state)
{
    (void)state;
    struct config *c = load_vector("good-all.yaml");
    assert_str(c->site_name, "Example");
    assert_str(c->operations, "127.0.0.1:9090");
    assert_true(str_starts(c->state_dir, str_c(f.dir)));
    assert_true(str_ends(c->store_path, STR("/sessions")) && str_starts(c->store_path, str_c(f.dir)));
    assert_str(c->user, "nobody");
    assert_int_equal(c->workers, 4);
    assert_int_equal(c->verifiers, 3);
    assert_str(c->log_level, "warn");
    assert_int_equal(c->session_idle, 7200);
    assert_int_equal(c->session_lifetime, 86400);
    assert_int_equal(c->store_size, 512 << 20);
    assert_int_equal(c->timeout_request_head, 5);
    assert_int_equal(c->timeout_idle, 30);
    assert_int_equal(c->timeout_drain, 10);
    assert_int_equal(c->nlisteners, 2);
    assert_true(c->listeners[0].tls && !c->listeners[0].redirect_to_https);
    assert_str(c->listeners[0].host, "::");
    assert_int_equal(c->listeners[0].port, 443);
    assert_int_equal(c->listeners[0].ncertificates, 1);
    assert_true(!c->listeners[1].tls && c->listeners[1].redirect_to_https);
    const struct route *r = &c->routes.v[0];
    assert_str(r->path, "/x"); // without the slash at the end
    assert_words(r->providers, "corp");
    assert_int_equal(r->target->identity, IDENTITY_SALLYPORT | IDENTITY_REMOTE_USER);
    assert_int_equal(r->target->secure_headers, SECURE_STRICT);
    assert_int_equal(r->target->connect_timeout, 1);
    assert_int_equal(r->target->response_timeout, 120);
    assert_str(r->target->backends[0].authority, "10.0.0.5:3000");
    assert_int_equal(r->target->backends[0].port, 3000);
    config_free(c);
}

static void test_rules(void **state)
{
    (void)state;
    struct config *c = load_vector("good-all.yaml");
    const struct policy *p = c->routes.v[0].policy;
    assert_int_equal(p->nrules, 4);
    assert_false(p->rules[0].allow);
    assert_words(p->rules[0].methods, "DELETE");
    assert_true(p->rules[1].allow && p->rules[1].is_public);
    assert_words(p->rules[1].paths, "/assets");
    assert_words(p->rules[2].groups, "suspended");
    assert_int_equal(p->rules[2].nclaims, 1);
    assert_str(p->rules[2].claims[0].name, "level");
    assert_words(p->rules[2].claims[0].values, "0");
    assert_words(p->rules[3].emails, "ann@example.com");
    assert_words(p->rules[3].email_domains, "example.com");
    assert_words(p->rules[3].providers, "corp");
    assert_words(p->rules[3].methods, "GET HEAD");
    config_free(c);
}

static void test_route_timeouts_come_from_the_general_ones(void **state)
{
    (void)state;
    // `timeouts` stands behind `routes` in the file.
    struct str text = arena_printf(f.arena, "%stimeouts: { connect: 7s, response: 9s, stream: 11s }\n",
                                   read_vector("good-minimal.yaml").p);
    struct config *c = fixture_load(&f, text);
    assert_non_null(c);
    assert_int_equal(c->routes.v[0].target->connect_timeout, 7);
    assert_int_equal(c->routes.v[0].target->response_timeout, 9);
    assert_int_equal(c->routes.v[0].target->stream_timeout, 11);
    config_free(c);
}

static void test_origins(void **state)
{
    (void)state;
    struct config *c = load_vector("good-minimal.yaml");
    assert_str(config_origin(f.arena, c, STR("wiki.example.com")), "https://wiki.example.com");
    config_free(c);
    c = load_vector("good-port.yaml");
    assert_int_equal(c->public_port, 8443);
    assert_str(config_origin(f.arena, c, STR("wiki.example.com")), "https://wiki.example.com:8443");
    assert_str(config_origin(f.arena, c, STR("::1")), "https://[::1]:8443");
    struct state_keys keys = { .saml_key_pem = STR("k"), .saml_certificate_pem = STR("c") };
    struct saml_sp sp = config_saml_sp(f.arena, c, &keys);
    assert_str(sp.entity_id, "https://login.example.com:8443/.sallyport/saml/metadata");
    assert_str(sp.base_url, "https://login.example.com:8443/.sallyport/saml");
    assert_words(sp.providers, "corp");
    assert_str(sp.key_pem, "k");
    config_free(c);
    c = load_vector("good-oidc.yaml");
    assert_int_equal(config_saml_sp(f.arena, c, &keys).providers.n, 0);
    config_free(c);
}

static void test_missing_file(void **state)
{
    (void)state;
    assert_null(config_load("/nonexistent/x.yaml", f.arena, &f.errors));
    assert_int_equal(f.errors.n, 1);
    assert_non_null(strstr(f.errors.v[0].message.p, "No such file"));
}

static void test_errors_are_bounded(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, f.arena, 100000);
    for (int i = 0; i < 200; i++) sbuf_addf(&b, "unknown%d: x\n", i);
    assert_null(fixture_load(&f, sbuf_str(&b)));
    assert_int_equal(f.errors.n, LIMIT_CONFIG_ERRORS);
}

static void test_swapped_letters_are_one_slip(void **state)
{
    (void)state;
    struct loader l = { .scratch = f.arena };
    struct str words[] = { STR_INIT("crxx"), STR_INIT("cart") };
    const struct strlist known = { words, 2 };
    assert_string_equal(config_nearest(&l, STR("crat"), &known), "; did you mean cart?");
    assert_string_equal(config_nearest(&l, STR("zzzz"), &known), "");
    assert_string_equal(config_nearest(&l, STR(""), &known), "");
}

static void test_secrets_do_not_reach_messages(void **state)
{
    (void)state;
    static const char *const vectors[] = { "secret-inline.yaml", "secret-list.yaml", "secret-lines.yaml" };
    for (size_t i = 0; i < 3; i++) {
        assert_null(fixture_load(&f, read_vector(vectors[i])));
        assert_null(strstr(fixture_errors(&f).p, "hunter2"));
    }
}

// --- the env file

static void assert_env_refused(const char *text, const char *want)
{
    struct err err = { 0 };
    char path[160];
    snprintf(path, sizeof path, "%s/env", f.dir);
    fixture_write(&f, "env", str_c(text), 0600);
    assert_false(config_env_file(path, &err));
    assert_string_equal(err.detail, want);
}

static void test_env_file(void **state)
{
    (void)state;
    struct err err = { 0 };
    char path[160];
    snprintf(path, sizeof path, "%s/env", f.dir);
    unsetenv("T_A");
    unsetenv("T_B");
    setenv("T_C", "kept", 1);
    fixture_write(&f, "env",
                  STR("# comment\n\nT_A= plain text \nexport T_B='a \"b\" #c'\r\nT_C=other\nT_D=\"\"\n"),
                  0600);
    assert_true(config_env_file(path, &err));
    assert_string_equal(getenv("T_A"), "plain text");
    assert_string_equal(getenv("T_B"), "a \"b\" #c");
    assert_string_equal(getenv("T_C"), "kept");
    assert_string_equal(getenv("T_D"), "");
    assert_env_refused("\nT_X\n", "line 2: expected NAME=value");
    assert_env_refused("1X=a\n", "line 1: expected NAME=value");
    assert_env_refused("=a\n", "line 1: expected NAME=value");
    assert_env_refused("T-X=a\n", "line 1: expected NAME=value");
    assert_env_refused("T_X='a\n", "line 1: a quote is not closed");
    assert_env_refused("T_X='a'b'\n", "line 1: a quote is not closed");
    assert_env_refused("T_X=a\001b\n", "line 1: the value is not clean text");
    assert_null(getenv("T_X"));
    fixture_write(&f, "env", STR("T_X=a\n"), 0644);
    assert_false(config_env_file(path, &err)); // others could read the secrets in it
    assert_int_equal(err.code, ERR_CERT_PERMISSIONS);
    assert_null(getenv("T_X"));
}

// --- every allocation fails once

static void fail_every_allocation(const char *vector, bool loads)
{
    fixture_write(&f, "config.yaml", read_vector(vector), 0644);
    for (long n = 1;; n++) {
        struct arena *a = arena_new(1024 * 1024);
        static struct config_errors errors;
        mem_fail_at(n);
        struct config *c = config_load(f.config_path, a, &errors);
        bool fired = mem_failed();
        mem_fail_at(0);
        // Never a configuration with holes, never a refusal without a word.
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
    fail_every_allocation("good-all.yaml", true);
    fail_every_allocation("good-oidc-all.yaml", true);
    fail_every_allocation("good-route-all.yaml", true);
    fail_every_allocation("good-redirect.yaml", true);
    fail_every_allocation("many-errors.yaml", false);
}

static void test_reference_lists_every_option(void **state)
{
    (void)state;
    struct str text = config_reference(f.arena);
    static const char *const rows[] = {
        "| `host` | host name | required | The host in the browser's address. |",
        "| `idle` | duration | `1h` |",
        "| `scopes` | list | `[ openid, email, profile ]` |",
        "| `log_level` | debug, info, warn, error | `info` |",
        "## policies.NAME[].allow and policies.NAME[].deny",
        "## identity_providers.NAME with protocol: oidc",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strstr(text.p, rows[i])) fail_msg("missing: %s", rows[i]);
}

// --- the manual

static struct str read_source(const char *name)
{
    char path[400];
    struct str text;
    struct err err = { 0 };
    snprintf(path, sizeof path, SOURCE "/%s", name);
    if (!file_read(f.arena, path, 1000000, &text, &err)) fail_msg("%s", err.detail);
    return text;
}

static void assert_documented(struct str manual, struct str page, const struct section *s)
{
    struct str head = arena_printf(f.arena, ".SS %s\n", s->title);
    const char *at = strstr(page.p, head.p);
    if (!at) fail_msg("the man page has no section %s", s->title);
    const char *next = strstr(at + head.n, "\n.S");
    struct str part = arena_str(f.arena, (struct str){ at, next ? (size_t)(next - at) + 1 : strlen(at) });
    for (size_t i = 0; i < s->n; i++) {
        const struct option *o = &s->options[i];
        if (!strstr(part.p, arena_printf(f.arena, "\n.TP\n.B %s\n", o->name).p))
            fail_msg("the man page does not know %s %s", s->title, o->name);
        if (!strstr(part.p, arena_printf(f.arena, "\n%s\n", o->help).p))
            fail_msg("the man page says something else about %s %s", s->title, o->name);
        if (str_search(manual, arena_printf(f.arena, "%s:", o->name)) == manual.n)
            fail_msg("docs/configuration.md does not know %s", o->name);
        if (o->section) assert_documented(manual, page, o->section);
        if (o->section2) assert_documented(manual, page, o->section2);
    }
}

static size_t count_options(const struct section *s)
{
    size_t n = s->n;
    for (size_t i = 0; i < s->n; i++) {
        if (s->options[i].section) n += count_options(s->options[i].section);
        if (s->options[i].section2) n += count_options(s->options[i].section2);
    }
    return n;
}

static void test_every_option_is_documented(void **state)
{
    (void)state;
    struct str page = read_source("man/sallyport.yaml.5");
    assert_documented(read_source("docs/configuration.md"), page, &section_root);
    size_t entries = 0;
    for (const char *at = page.p; (at = strstr(at, "\n.TP\n.B ")); at++) entries++;
    assert_int_equal(entries, count_options(&section_root)); // nothing is documented that does not exist
}

static struct str replace(struct str text, struct str what, struct str with)
{
    size_t at = str_search(text, what);
    assert_true(at < text.n);
    return arena_printf(f.arena, "%.*s%.*s%.*s", STR_FMT(str_take(text, at)), STR_FMT(with),
                        STR_FMT(str_skip(text, at + what.n)));
}

// The next example in a page; the page's rest stays in *text.
static struct str next_example(struct str *text)
{
    size_t at = str_search(*text, STR("```yaml\n"));
    if (at == text->n) return STR_NONE;
    *text = str_skip(*text, at + 8);
    return str_take(*text, str_search(*text, STR("\n```")));
}

static void test_the_example_in_the_manual_loads(void **state)
{
    (void)state;
    struct str page = read_source("docs/configuration.md"), text = next_example(&page), certificate;
    struct err err = { 0 };
    char path[160];
    text = replace(text, STR("/run/secrets/google"), STR("secret"));
    snprintf(path, sizeof path, "%s/ca.pem", f.dir);
    assert_true(file_read(f.arena, path, 100000, &certificate, &err));
    fixture_write(&f, "private-ca.pem", certificate, 0644);
    fixture_write(&f, "idp-metadata.pem", certificate, 0644);
    struct config *c = fixture_load(&f, text);
    if (!c) fail_msg("%s", fixture_errors(&f).p);
    config_free(c);
}

static void test_the_examples_in_the_readme_load(void **state)
{
    (void)state;
    struct str page = read_source("README.md"), text;
    unsigned protocols = 0;
    while ((text = next_example(&page)).p) {
        if (!str_starts(text, STR("login:"))) continue; // about boards: test_config_pico.c
        text = replace(text, STR("/etc/sallyport/tls.pem"), STR("tls.pem"));
        text = replace(text, STR("/etc/sallyport/tls.key"), STR("tls.key"));
        if (str_search(text, STR("/etc/sallyport/google-secret")) < text.n)
            text = replace(text, STR("/etc/sallyport/google-secret"), STR("secret"));
        struct config *c = fixture_load(&f, text);
        if (!c) fail_msg("%s", fixture_errors(&f).p);
        assert_int_equal(c->nproviders, 1);
        protocols |= 1U << c->providers[0].protocol;
        config_free(c);
    }
    assert_int_equal(protocols, 1U << PROTOCOL_SAML | 1U << PROTOCOL_OIDC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_saml_options),
        cmocka_unit_test(test_oidc_options),
        cmocka_unit_test(test_all_general_options),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_route_timeouts_come_from_the_general_ones),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_errors_are_bounded),
        cmocka_unit_test(test_swapped_letters_are_one_slip),
        cmocka_unit_test(test_secrets_do_not_reach_messages),
        cmocka_unit_test(test_env_file),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_reference_lists_every_option),
        cmocka_unit_test(test_every_option_is_documented),
        cmocka_unit_test(test_the_example_in_the_manual_loads),
        cmocka_unit_test(test_the_examples_in_the_readme_load),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
