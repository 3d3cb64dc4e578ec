// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policy/policy.h"

#define LIST(...)                                                                                            \
    ((struct strlist){ (struct str[]){ __VA_ARGS__ },                                                        \
                       sizeof((struct str[]){ __VA_ARGS__ }) / sizeof(struct str) })
#define S(lit) STR_INIT(lit)

static struct decision ask(const struct route *route, const struct identity *id, struct str method,
                           struct str path)
{
    struct policy_request request = { .method = method, .path = path };
    return policy_decide(route, id, &request);
}

static struct decision decide(struct rule *rules, size_t n, const struct identity *id, const char *method,
                              const char *path)
{
    static struct policy policy;
    static struct route route;
    policy = (struct policy){ STR("p"), rules, n };
    route = (struct route){ .host = STR("h"), .path = STR("/"), .policy = &policy };
    return ask(&route, id, str_c(method), str_c(path));
}

static void assert_decided(struct decision d, enum verdict verdict, enum reason reason, size_t rule)
{
    assert_int_equal(d.verdict, verdict);
    assert_int_equal(d.reason, reason);
    assert_int_equal(d.rule_number, rule);
}

static struct identity ann(void)
{
    static struct str groups[] = { S("staff") };
    static struct str departments[] = { S("it"), S("ops") };
    static struct claim claims[] = { { S("department"), { departments, 2 } } };
    return (struct identity){ .provider = STR("corp"),
                              .subject = STR("1"),
                              .email = STR("Ann@example.com"),
                              .email_verified = true,
                              .groups = { groups, 1 },
                              .groups_known = true,
                              .claims = claims,
                              .nclaims = 1 };
}

static void test_prefixes_end_at_segments(void **state)
{
    (void)state;
    assert_true(path_has_prefix(STR("/admin"), STR("/admin")));
    assert_true(path_has_prefix(STR("/admin/x"), STR("/admin")));
    assert_true(path_has_prefix(STR("/admin"), STR("/admin/")));
    assert_true(path_has_prefix(STR("/anything"), STR("/")));
    assert_false(path_has_prefix(STR("/administer"), STR("/admin")));
    assert_false(path_has_prefix(STR("/adm"), STR("/admin")));
    assert_false(path_has_prefix(STR("*"), STR("/")));
    assert_false(path_has_prefix(STR("/x"), STR("")));
}

static void test_the_longest_path_of_the_exact_host_wins(void **state)
{
    (void)state;
    struct route v[] = {
        { .host = S("b.example.com"), .path = S("/") },       { .host = S("a.example.com"), .path = S("/") },
        { .host = S("a.example.com"), .path = S("/x/deep") }, { .host = S("a.example.com"), .path = S("/x") },
        { .host = S("c.example.com"), .path = S("/only") },
    };
    struct route_table t = { v, 5 };
    route_table_sort(&t);
    assert_true(str_eq_c(route_match(&t, STR("a.example.com"), STR("/x/deep/er"))->path, "/x/deep"));
    assert_true(str_eq_c(route_match(&t, STR("a.example.com"), STR("/x/deeper"))->path, "/x"));
    assert_true(str_eq_c(route_match(&t, STR("a.example.com"), STR("/xy"))->path, "/"));
    assert_true(str_eq_c(route_match(&t, STR("b.example.com"), STR("/x"))->host, "b.example.com"));
    assert_null(route_match(&t, STR("c.example.com"), STR("/")));
    assert_null(route_match(&t, STR("evil-a.example.com"), STR("/")));
    assert_null(route_match(&t, STR("a.example.com.evil"), STR("/")));
    assert_true(route_has_host(&t, STR("c.example.com")));
    assert_false(route_has_host(&t, STR("example.com")));
    struct route_table none = { NULL, 0 };
    route_table_sort(&none);
    assert_null(route_match(&none, STR("a"), STR("/")));
}

static void test_forgotten_and_missing_are_denied(void **state)
{
    (void)state;
    struct identity id = ann();
    struct decision zero = { 0 };
    assert_int_equal(zero.verdict, VERDICT_DENY);
    assert_decided(ask(NULL, &id, STR("GET"), STR("/")), VERDICT_DENY, REASON_NO_ROUTE, 0);
    struct route route = { .host = STR("h"), .path = STR("/") };
    assert_decided(ask(&route, &id, STR("GET"), STR("/")), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide(NULL, 0, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide(NULL, 0, NULL, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
}

static void test_every_kind_must_be_met(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule r = { .allow = true,
                      .groups = LIST(S("x"), S("staff")),
                      .email_domains = LIST(S("EXAMPLE.com")) };
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    r.providers = LIST(S("google"));
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    r.providers = LIST(S("google"), S("corp"));
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    struct claim_condition claims[] = { { S("department"), LIST(S("ops")) }, { S("level"), LIST(S("1")) } };
    r.claims = claims;
    r.nclaims = 1;
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    r.nclaims = 2; // absent claim
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
}

static void test_emails_fold_case_and_compare_whole(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule r = { .allow = true, .emails = LIST(S("ann@EXAMPLE.com")) };
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    id.email = STR("ann@example.com.evil");
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    r.emails.n = 0;
    r.email_domains = LIST(S("corp.com"));
    id.email = STR("a@evil-corp.com");
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    id.email = STR("a@sub.corp.com");
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    id.email = STR("a@evil.com@corp.com");
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_EMAIL_UNKNOWN, 1);
    id.email = STR("a@corp.com");
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
}

static void test_unverified_email_does_not_count(void **state)
{
    (void)state;
    struct identity id = ann();
    id.email_verified = false;
    struct rule r = { .allow = true, .emails = LIST(S("ann@example.com")) };
    assert_decided(decide(&r, 1, &id, "GET", "/"), VERDICT_DENY, REASON_EMAIL_UNKNOWN, 1);
    // Leaving the verified address out is no way around a deny rule.
    struct rule rules[] = { { .email_domains = LIST(S("contractor.com")) },
                            { .allow = true, .groups = LIST(S("staff")) } };
    assert_decided(decide(rules, 2, &id, "GET", "/"), VERDICT_DENY, REASON_EMAIL_UNKNOWN, 1);
    id.email_verified = true;
    assert_decided(decide(rules, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
}

static void test_unknown_groups_are_not_no_groups(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule allow = { .allow = true, .groups = LIST(S("staff")) };
    struct rule deny[] = { { .groups = LIST(S("suspended")) },
                           { .allow = true, .providers = LIST(S("corp")) } };
    assert_decided(decide(deny, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
    id.groups_known = false;
    assert_decided(decide(&allow, 1, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_UNKNOWN, 1);
    assert_decided(decide(deny, 2, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_UNKNOWN, 1);
    id.groups_overage = true;
    assert_decided(decide(&allow, 1, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_OVERAGE, 1);
    assert_decided(decide(deny, 2, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_OVERAGE, 1);
    id.groups_known = true; // some groups arrived, but not all
    assert_decided(decide(deny, 2, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_OVERAGE, 1);
    // A later rule that does not need them still allows.
    struct rule other[] = { allow, { .allow = true, .providers = LIST(S("corp")) } };
    assert_decided(decide(other, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
    // The first rule that lacked a fact is the one to tell.
    id.groups_overage = id.groups_known = id.email_verified = false;
    struct rule both[] = { allow, { .allow = true, .emails = LIST(S("ann@example.com")) } };
    assert_decided(decide(both, 2, &id, "GET", "/"), VERDICT_DENY, REASON_GROUPS_UNKNOWN, 1);
    id.groups_known = true;
    // An empty list that was sent is known.
    id.groups_overage = false;
    id.groups.n = 0;
    assert_decided(decide(&allow, 1, &id, "GET", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide(deny, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
}

static void test_a_failed_condition_outweighs_an_unknown_one(void **state)
{
    (void)state;
    struct identity id = ann();
    id.groups_known = false;
    struct rule rules[] = { { .groups = LIST(S("x")), .providers = LIST(S("google")) },
                            { .allow = true, .providers = LIST(S("corp")) } };
    assert_decided(decide(rules, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
}

static void test_the_first_rule_that_applies_decides(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule rules[] = { { .groups = LIST(S("staff")) }, { .allow = true, .groups = LIST(S("staff")) } };
    assert_decided(decide(rules, 2, &id, "GET", "/"), VERDICT_DENY, REASON_DENY_RULE, 1);
    struct rule turned[] = { rules[1], rules[0] };
    assert_decided(decide(turned, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
}

static void test_methods(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule rules[] = { { .methods = LIST(S("DELETE")) }, { .allow = true, .groups = LIST(S("staff")) } };
    assert_decided(decide(rules, 2, &id, "delete", "/"), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(decide(rules, 2, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
    struct rule allow = { .allow = true, .groups = LIST(S("staff")), .methods = LIST(S("GET")) };
    assert_decided(decide(&allow, 1, &id, "get", "/"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide(&allow, 1, &id, "GET", "/"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
}

static void test_paths(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule rules[] = { { .paths = LIST(S("/x"), S("/admin")) },
                            { .allow = true, .groups = LIST(S("staff")) } };
    assert_decided(decide(rules, 2, &id, "GET", "/admin/users"), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(decide(rules, 2, &id, "GET", "/administer"), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
}

static void test_visitors_without_login(void **state)
{
    (void)state;
    struct rule staff = { .allow = true, .groups = LIST(S("staff")) };
    struct rule assets = { .allow = true, .is_public = true, .paths = LIST(S("/assets")) };
    struct rule suspended = { .groups = LIST(S("suspended")) };
    struct rule closed = { .paths = LIST(S("/assets/private")) };
    struct rule anybody = { .allow = true, .methods = LIST(S("GET")) };

    assert_decided(decide(&staff, 1, NULL, "GET", "/"), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
    assert_decided(decide(&assets, 1, NULL, "GET", "/assets/a.css"), VERDICT_ALLOW, REASON_PUBLIC, 1);
    assert_decided(decide(&assets, 1, NULL, "GET", "/other"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide(&anybody, 1, NULL, "GET", "/"), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
    assert_decided(decide(&anybody, 1, NULL, "POST", "/"), VERDICT_DENY, REASON_NO_RULE, 0);

    struct rule behind_allow[] = { staff, assets };
    assert_decided(decide(behind_allow, 2, NULL, "GET", "/assets/a.css"), VERDICT_ALLOW, REASON_PUBLIC, 2);
    struct rule behind_deny[] = { suspended, assets };
    assert_decided(decide(behind_deny, 2, NULL, "GET", "/assets/a.css"), VERDICT_LOGIN, REASON_NOT_LOGGED_IN,
                   1);
    struct rule closed_first[] = { closed, assets };
    assert_decided(decide(closed_first, 2, NULL, "GET", "/assets/private"), VERDICT_DENY, REASON_DENY_RULE,
                   1);
    struct rule closed_last[] = { staff, closed, assets };
    assert_decided(decide(closed_last, 3, NULL, "GET", "/assets/private"), VERDICT_LOGIN,
                   REASON_NOT_LOGGED_IN, 1);
    // `public` together with a condition on people is refused in the configuration; here it must not open
    // anything.
    struct rule odd = staff;
    odd.is_public = true;
    assert_decided(decide(&odd, 1, NULL, "GET", "/"), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
}

static void test_a_login_that_does_not_count_is_no_login(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule rules[] = { { .allow = true, .groups = LIST(S("staff")) },
                            { .allow = true, .is_public = true, .paths = LIST(S("/assets")) },
                            { .paths = LIST(S("/closed")) } };
    struct policy policy = { STR("p"), rules, 3 };
    struct route route = {
        .host = STR("h"), .path = STR("/"), .policy = &policy, .providers = LIST(S("google"))
    };
    struct decision d = ask(&route, &id, STR("GET"), STR("/"));
    assert_decided(d, VERDICT_LOGIN, REASON_PROVIDER, 1);
    d = ask(&route, &id, STR("GET"), STR("/assets/a"));
    assert_decided(d, VERDICT_ALLOW, REASON_PUBLIC, 2);
    route.providers = LIST(S("google"), S("corp"));
    d = ask(&route, &id, STR("GET"), STR("/"));
    assert_decided(d, VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
}

static struct decision decide_from(struct rule *rules, size_t n, const struct identity *id,
                                   const char *address)
{
    struct policy policy = { STR("p"), rules, n };
    struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy };
    struct policy_request request = { .method = STR("GET"), .path = STR("/x") };
    if (address) assert_true(ip_parse(str_c(address), &request.address));
    struct decision d = policy_decide(&route, id, &request);
    d.route = NULL; // it is gone when we return
    return d;
}

static struct ip_networks network(const char *text)
{
    static struct ip_network v[1];
    struct err err = { 0 };
    if (!ip_network_parse(str_c(text), v, &err)) fail_msg("%s", err.detail);
    return (struct ip_networks){ v, 1 };
}

static void test_addresses_of_allow_rules(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule signed_in = { .allow = true, .addresses = network("10.0.0.0/8") };
    assert_decided(decide_from(&signed_in, 1, &id, "10.1.2.3"), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    assert_decided(decide_from(&signed_in, 1, &id, "11.1.2.3"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide_from(&signed_in, 1, &id, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    // Nobody is sent to a login that cannot help.
    assert_decided(decide_from(&signed_in, 1, NULL, "10.1.2.3"), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
    assert_decided(decide_from(&signed_in, 1, NULL, "11.1.2.3"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide_from(&signed_in, 1, NULL, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    struct rule open = { .allow = true, .is_public = true, .addresses = network("10.0.0.0/8") };
    assert_decided(decide_from(&open, 1, NULL, "10.1.2.3"), VERDICT_ALLOW, REASON_PUBLIC, 1);
    assert_decided(decide_from(&open, 1, NULL, "11.1.2.3"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide_from(&open, 1, NULL, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    // The other conditions count beside it.
    struct rule both = signed_in;
    both.groups = LIST(S("admins"));
    assert_decided(decide_from(&both, 1, &id, "10.1.2.3"), VERDICT_DENY, REASON_NO_RULE, 0);
    assert_decided(decide_from(&both, 1, &id, NULL), VERDICT_DENY, REASON_NO_RULE, 0);
    id.groups_known = false;
    assert_decided(decide_from(&both, 1, &id, NULL), VERDICT_DENY, REASON_GROUPS_UNKNOWN, 1);
}

static void test_addresses_of_deny_rules(void **state)
{
    (void)state;
    struct identity id = ann();
    struct rule rules[] = { { .addresses = network("10.0.0.0/8") }, { .allow = true, .is_public = true } };
    assert_decided(decide_from(rules, 2, &id, "10.1.2.3"), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(decide_from(rules, 2, &id, "11.1.2.3"), VERDICT_ALLOW, REASON_PUBLIC, 2);
    assert_decided(decide_from(rules, 2, &id, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    assert_decided(decide_from(rules, 2, NULL, "10.1.2.3"), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(decide_from(rules, 2, NULL, "11.1.2.3"), VERDICT_ALLOW, REASON_PUBLIC, 2);
    assert_decided(decide_from(rules, 2, NULL, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    // About people and addresses: whom it means stays open until somebody logs in.
    rules[0].groups = LIST(S("staff"));
    assert_decided(decide_from(rules, 2, NULL, NULL), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
    assert_decided(decide_from(rules, 2, &id, NULL), VERDICT_DENY, REASON_ADDRESS_UNKNOWN, 1);
    rules[0].groups = LIST(S("suspended"));
    assert_decided(decide_from(rules, 2, &id, NULL), VERDICT_ALLOW, REASON_PUBLIC, 2);
}

static void test_the_public_policy(void **state)
{
    (void)state;
    struct identity id = ann();
    struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy_public };
    assert_decided(ask(&route, NULL, STR("BREW"), STR("/x")), VERDICT_ALLOW, REASON_PUBLIC, 1);
    assert_decided(ask(&route, &id, STR("GET"), STR("/x")), VERDICT_ALLOW, REASON_PUBLIC, 1);
}

static void test_requirements_keep_addresses_to_themselves(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    struct claim_condition claims[] = { { S("department"), LIST(S("it"), S("ops")) } };
    struct rule rules[] = {
        { .groups = LIST(S("suspended")) },
        { .allow = true, .groups = LIST(S("staff"), S("admins")) },
        { .allow = true,
          .emails = LIST(S("bob@example.com")),
          .methods = LIST(S("GET")),
          .paths = LIST(S("/docs")) },
        { .allow = true, .email_domains = LIST(S("example.com")), .claims = claims, .nclaims = 1 },
        { .allow = true, .paths = LIST(S("/a")), .addresses = network("10.0.0.0/8") },
    };
    struct policy policy = { STR("p"), rules, 5 };
    struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy };
    assert_string_equal(policy_requirements(a, &route).p,
                        "groups staff or admins; a listed e-mail address (GET under /docs); "
                        "an address at example.com and department it or ops; "
                        "any signed-in account (under /a from a listed address)");
    struct rule many[20];
    for (size_t i = 0; i < 20; i++) many[i] = rules[1];
    policy = (struct policy){ STR("p"), many, 20 };
    assert_non_null(strstr(policy_requirements(a, &route).p, "; or one of further rules"));
    policy.nrules = 0;
    assert_string_equal(policy_requirements(a, &route).p, "nobody is allowed here");
    arena_free(a);
}

static void test_explanations_name_lines(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    struct rule rules[] = { { .groups = LIST(S("suspended")), .line = 20 },
                            { .allow = true, .groups = LIST(S("staff")), .line = 21 } };
    struct policy policy = { STR("people"), rules, 2 };
    struct route route = { .host = STR("wiki"), .path = STR("/x"), .policy = &policy, .line = 10 };
    struct identity id = ann();
    struct decision d = ask(&route, &id, STR("GET"), STR("/x"));
    assert_string_equal(decision_explain(a, &d).p,
                        "Route wiki/x (line 10), policy people, rule 2 (line 21): allowed. A "
                        "rule allows access. [policy.allow_rule]");
    id.groups.n = 0;
    d = ask(&route, &id, STR("GET"), STR("/x"));
    assert_string_equal(
        decision_explain(a, &d).p,
        "Route wiki/x (line 10), policy people: denied. No rule allows access. [policy.no_rule] The "
        "route asks for: group staff.");
    d = ask(NULL, &id, STR("GET"), STR("/x"));
    assert_string_equal(decision_explain(a, &d).p,
                        "denied. There is nothing at this address. [policy.no_route]");
    arena_free(a);
}

static void test_every_reason_has_words(void **state)
{
    (void)state;
    for (int r = 0; r < REASON_COUNT; r++) {
        assert_non_null(reason_name((enum reason)r));
        assert_true(strlen(reason_text((enum reason)r)) > 10);
        for (int s = 0; s < r; s++)
            assert_string_not_equal(reason_name((enum reason)r), reason_name((enum reason)s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes_end_at_segments),
        cmocka_unit_test(test_the_longest_path_of_the_exact_host_wins),
        cmocka_unit_test(test_forgotten_and_missing_are_denied),
        cmocka_unit_test(test_every_kind_must_be_met),
        cmocka_unit_test(test_emails_fold_case_and_compare_whole),
        cmocka_unit_test(test_unverified_email_does_not_count),
        cmocka_unit_test(test_unknown_groups_are_not_no_groups),
        cmocka_unit_test(test_a_failed_condition_outweighs_an_unknown_one),
        cmocka_unit_test(test_the_first_rule_that_applies_decides),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_visitors_without_login),
        cmocka_unit_test(test_a_login_that_does_not_count_is_no_login),
        cmocka_unit_test(test_addresses_of_allow_rules),
        cmocka_unit_test(test_addresses_of_deny_rules),
        cmocka_unit_test(test_the_public_policy),
        cmocka_unit_test(test_requirements_keep_addresses_to_themselves),
        cmocka_unit_test(test_explanations_name_lines),
        cmocka_unit_test(test_every_reason_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
