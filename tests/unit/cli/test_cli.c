// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config_fixture.h"

static struct fixture f;
static struct config *c;

static const char yaml[] =
    "login: { host: login.example.com }\n"
    "listen:\n"
    "  - { address: \"[::]:443\", tls: { certificates: [ { cert: tls.pem, key: tls.key } ] } }\n"
    "identity_providers:\n"
    "  corp: { protocol: saml, metadata: idp.xml }\n"
    "  other: { protocol: saml, metadata: idp.xml }\n"
    "routes:\n"
    "  - { host: wiki.example.com, backends: [ \"http://10.0.0.5\" ], policy: staff, providers: [ other ] }\n"
    "  - { host: status.example.com, path: /app, backends: [ \"http://10.0.0.5\" ], policy: public }\n"
    "  - { host: login.example.com, path: /docs, backends: [ \"http://10.0.0.5\" ], policy: staff }\n"
    "  - { host: login.example.com, path: /office, backends: [ \"http://10.0.0.5\" ], policy: office }\n"
    "  - { host: login.example.com, path: /old, redirect: { to: /new, status: 308 }, policy: public }\n"
    "  - { host: login.example.com, path: /new, rewrite: /app, backends: [ \"http://10.0.0.5\" ], policy: "
    "public }\n"
    "policies:\n"
    "  staff:\n"
    "    - deny: { methods: [ DELETE ], paths: [ /keep ] }\n"
    "    - allow: { groups: [ staff ], claims: { department: [ it ] } }\n"
    "    - allow: { emails: [ ann@example.com ] }\n"
    "  office:\n"
    "    - allow: { public: true, addresses: [ 10.0.0.0/8 ] }\n";

static int setup(void **state)
{
    (void)state;
    fixture_make(&f);
    c = fixture_load(&f, str_c(yaml));
    if (!c) fail_msg("%s", fixture_errors(&f).p);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_free(c);
    fixture_remove(&f);
    return 0;
}

static void assert_explained(const struct explain_request *r, enum verdict verdict, const char *want)
{
    enum verdict got = VERDICT_STEP_UP;
    struct err err = { 0 };
    struct str text = explain(f.arena, c, r, &got, &err);
    if (!text.p) fail_msg("%s", err.detail);
    assert_string_equal(text.p, want);
    assert_int_equal(got, verdict);
}

static void assert_senseless(const struct explain_request *r, const char *want)
{
    enum verdict got = VERDICT_DENY;
    struct err err = { 0 };
    assert_null(explain(f.arena, c, r, &got, &err).p);
    if (!strstr(err.detail, want)) fail_msg("got '%s', want '%s'", err.detail, want);
    assert_int_equal(got, VERDICT_DENY);
}

static void test_explain_names_route_rule_and_lines(void **state)
{
    (void)state;
    struct str it = STR("it");
    struct claim claim = { STR("department"), { &it, 1 } };
    struct explain_request r = { .user = "bob@example.com",
                                 .groups = "x, staff",
                                 .claims = &claim,
                                 .nclaims = 1,
                                 .method = "GET",
                                 .url = "https://wiki.example.com/a" };
    assert_explained(
        &r, VERDICT_ALLOW,
        "GET https://wiki.example.com/a for bob@example.com from provider other, groups x, staff\n"
        "Route wiki.example.com/ (line 8), policy staff, rule 2 (line 17): allowed. A rule allows "
        "access. [policy.allow_rule]\n");
    r.groups = NULL;
    assert_explained(
        &r, VERDICT_DENY,
        "GET https://wiki.example.com/a for bob@example.com from provider other, groups not known "
        "(--groups names them)\n"
        "Route wiki.example.com/ (line 8), policy staff, rule 2 (line 17): denied. A rule asks for groups, "
        "and the sign-in service did not say which groups the account has. [policy.groups_unknown] The "
        "route asks for: group staff and department it; a listed e-mail address.\n");
    r.groups = "x, staff";
    r.nclaims = 0;
    assert_explained(
        &r, VERDICT_DENY,
        "GET https://wiki.example.com/a for bob@example.com from provider other, groups x, staff\n"
        "Route wiki.example.com/ (line 8), policy staff: denied. No rule allows access. "
        "[policy.no_rule] The route asks for: group staff and department it; a listed e-mail address.\n");
    r.method = "DELETE";
    r.url = "wiki.example.com/keep/x";
    assert_explained(
        &r, VERDICT_DENY,
        "DELETE https://wiki.example.com/keep/x for bob@example.com from provider other, groups x, staff\n"
        "Route wiki.example.com/ (line 8), policy staff, rule 1 (line 16): denied. A rule refuses access. "
        "[policy.deny_rule] The route asks for: group staff and department it; a listed e-mail address.\n");
}

static void test_explain_without_login_and_with_the_wrong_one(void **state)
{
    (void)state;
    struct explain_request r = { .method = "GET", .url = "https://wiki.example.com/" };
    assert_explained(
        &r, VERDICT_LOGIN,
        "GET https://wiki.example.com/ for a visitor who is not logged in\n"
        "Route wiki.example.com/ (line 8), policy staff, rule 2 (line 17): a login is needed. A sign-in is "
        "needed here. [policy.not_logged_in] The route asks for: group staff and department it; a listed "
        "e-mail address.\n");
    r.user = "ann@example.com";
    r.provider = "corp";
    r.groups = "";
    assert_explained(
        &r, VERDICT_LOGIN,
        "GET https://wiki.example.com/ for ann@example.com from provider corp, groups none\n"
        "Route wiki.example.com/ (line 8), policy staff, rule 2 (line 17): a login is needed. The account "
        "comes from a sign-in service that does not count here. [policy.provider] The route asks for: "
        "group staff and department it; a listed e-mail address.\n");
}

static void test_explain_without_a_route(void **state)
{
    (void)state;
    struct explain_request r = { .method = "GET", .url = "https://wikl.example.com/" };
    assert_explained(&r, VERDICT_DENY,
                     "GET https://wikl.example.com/ for a visitor who is not logged in\n"
                     "No route has the host wikl.example.com; did you mean wiki.example.com?\n"
                     "denied. There is nothing at this address. [policy.no_route]\n");
    r.url = "https://status.example.com/apps";
    assert_explained(&r, VERDICT_DENY,
                     "GET https://status.example.com/apps for a visitor who is not logged in\n"
                     "No route of status.example.com begins with this path.\n"
                     "denied. There is nothing at this address. [policy.no_route]\n");
    r.url = "https://wiki.example.com/.sallyport/userinfo";
    assert_explained(&r, VERDICT_DENY,
                     "GET https://wiki.example.com/.sallyport/userinfo for a visitor who is not logged in\n"
                     "The gateway answers this itself; no route and no policy is asked.\n");
}

static void test_explain_takes_an_address(void **state)
{
    (void)state;
    struct explain_request r = { .method = "GET", .url = "https://login.example.com/office" };
    assert_explained(
        &r, VERDICT_DENY,
        "GET https://login.example.com/office for a visitor who is not logged in, address not "
        "known (--address names it)\n"
        "Route login.example.com/office (line 11), policy office, rule 1 (line 20): denied. A rule "
        "asks for the address of the request, which is not known. [policy.address_unknown] The "
        "route asks for: any visitor (from a listed address).\n");
    r.address = "10.1.2.3";
    assert_explained(
        &r, VERDICT_ALLOW,
        "GET https://login.example.com/office for a visitor who is not logged in, address "
        "10.1.2.3\n"
        "Route login.example.com/office (line 11), policy office, rule 1 (line 20): allowed. This "
        "page is open to everyone. [policy.public]\n");
    r.address = "10.1.2";
    assert_senseless(&r, "10.1.2 is not an IP address");
}

static void test_explain_says_where_requests_go(void **state)
{
    (void)state;
    struct explain_request r = { .method = "GET", .url = "https://login.example.com/old/a?b=1" };
    assert_explained(
        &r, VERDICT_ALLOW,
        "GET https://login.example.com/old/a for a visitor who is not logged in\n"
        "Route login.example.com/old (line 12), policy public, rule 1: allowed. This page is open "
        "to everyone. [policy.public]\n"
        "The answer is a redirect (308) to /new/a?b=1\n");
    r.url = "https://login.example.com/new/a";
    assert_explained(
        &r, VERDICT_ALLOW,
        "GET https://login.example.com/new/a for a visitor who is not logged in\n"
        "Route login.example.com/new (line 13), policy public, rule 1: allowed. This page is open "
        "to everyone. [policy.public]\n"
        "The backend is asked for /app/a\n");
}

static void test_explain_refuses_nonsense(void **state)
{
    (void)state;
    struct explain_request r = { .method = "GET", .url = "http://wiki.example.com/" };
    assert_senseless(&r, "https://");
    r.url = "https://wiki.example.com/a%2fb";
    assert_senseless(&r, "encoded slash");
    r.url = "https://wiki.example.com:x/";
    assert_senseless(&r, "");
    r.url = "https://wiki.example.com/";
    r.user = "a@b@example.com";
    assert_senseless(&r, "not an e-mail address");
    r.user = "ann@example.com";
    r.provider = "nobody";
    assert_senseless(&r, "no identity provider nobody");
}

static void test_error_lines(void **state)
{
    (void)state;
    struct config_errors errors = {
        { { 3, 5, STR_INIT("a.b"), STR_INIT("bad") }, { 0, 0, STR_INIT(""), STR_INIT("x") } }, 2
    };
    assert_string_equal(errors_text(f.arena, "F", &errors).p, "F:3:5: a.b: bad\nF: x\n");
}

// --- arguments

static const struct command self = { "test", "ARGS", NULL, NULL, NULL };

static bool count(void *context, const char *value)
{
    (void)value;
    ++*(int *)context;
    return true;
}

static bool parse(int *argc, const char **argv, const char **value, int *counter)
{
    const struct flag flags[] = { { .name = "--one", .value = value },
                                  { .name = "--many", .add = count, .context = counter } };
    char *copy[8];
    for (int i = 0; i < *argc; i++) copy[i] = (char *)(uintptr_t)argv[i];
    bool ok = args_parse(&self, argc, copy, flags, 2);
    for (int i = 0; ok && i < *argc; i++) argv[i] = copy[i];
    return ok;
}

static void test_arguments(void **state)
{
    (void)state;
    const char *value = NULL, *argv[8] = { "a", "--one", "x", "--many=1", "b", "--many", "2", "-" };
    int argc = 8, many = 0;
    assert_true(parse(&argc, argv, &value, &many));
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "b");
    assert_string_equal(argv[2], "-");
    assert_string_equal(value, "x");
    assert_int_equal(many, 2);
    const char *after[] = { "--", "--one" };
    argc = 2;
    value = NULL;
    assert_true(parse(&argc, after, &value, &many));
    assert_int_equal(argc, 1);
    assert_string_equal(after[0], "--one");
    assert_null(value);
}

static void test_arguments_refused(void **state)
{
    (void)state;
    static const char *bad[][4] = {
        { "--two", "x" }, { "--one" }, { "--one", "x", "--one", "y" }, { "-x" }, { "--on", "x" }
    };
    static const int counts[] = { 2, 1, 4, 1, 2 };
    for (size_t i = 0; i < 5; i++) {
        const char *value = NULL;
        int argc = counts[i], many = 0;
        assert_false(parse(&argc, bad[i], &value, &many));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain_names_route_rule_and_lines),
        cmocka_unit_test(test_explain_without_login_and_with_the_wrong_one),
        cmocka_unit_test(test_explain_without_a_route),
        cmocka_unit_test(test_explain_takes_an_address),
        cmocka_unit_test(test_explain_says_where_requests_go),
        cmocka_unit_test(test_explain_refuses_nonsense),
        cmocka_unit_test(test_error_lines),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_arguments_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
