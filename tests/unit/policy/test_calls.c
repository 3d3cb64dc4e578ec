// SPDX-License-Identifier: GPL-3.0-or-later
// Rules about calls of boards.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/policy.h"

#define LIST(...)                                                                                            \
    ((struct strlist){ (struct str[]){ __VA_ARGS__ },                                                        \
                       sizeof((struct str[]){ __VA_ARGS__ }) / sizeof(struct str) })
#define S(lit) STR_INIT(lit)

static void assert_decided(struct decision d, enum verdict verdict, enum reason reason, size_t rule)
{
    assert_int_equal(d.verdict, verdict);
    assert_int_equal(d.reason, reason);
    assert_int_equal(d.rule_number, rule);
}

static struct decision call(struct rule *rules, size_t n, const struct identity *id, struct str device,
                            struct str function)
{
    struct policy policy = { STR("p"), rules, n };
    struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy };
    struct policy_request request = {
        .method = STR("POST"), .path = STR("/"), .device = device, .function = function
    };
    struct decision d = policy_decide(&route, id, &request);
    d.route = NULL; // it is gone with this function
    return d;
}

static void test_calls_are_allowed_by_exact_names(void **state)
{
    (void)state;
    struct identity id = {
        .provider = STR("corp"), .subject = STR("1"), .groups = LIST(S("staff")), .groups_known = true
    };
    struct rule r = { .allow = true, .devices = LIST(S("lamp"), S("fan")), .functions = LIST(S("flash")) };
    struct str lamp = STR("lamp"), flash = STR("flash");
    assert_decided(call(&r, 1, &id, lamp, flash), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    assert_decided(call(&r, 1, &id, STR("fan"), flash), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    const char *other_devices[] = { "door", "Lamp", "lamp2", "lam", "lamp ", "fan,lamp", "any", "*" };
    const char *other_functions[] = { "Flash", "flash2", "flas", "flash ", "lamp", "*", "flash\n" };
    for (size_t i = 0; i < sizeof other_devices / sizeof *other_devices; i++)
        assert_decided(call(&r, 1, &id, str_c(other_devices[i]), flash), VERDICT_DENY, REASON_NO_RULE, 0);
    for (size_t i = 0; i < sizeof other_functions / sizeof *other_functions; i++)
        assert_decided(call(&r, 1, &id, lamp, str_c(other_functions[i])), VERDICT_DENY, REASON_NO_RULE, 0);
    // A visitor may come back logged in, but not for what nobody may call.
    assert_decided(call(&r, 1, NULL, lamp, flash), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 1);
    assert_decided(call(&r, 1, NULL, STR("door"), flash), VERDICT_DENY, REASON_NO_RULE, 0);
    // One kind alone leaves the other open.
    r.functions = (struct strlist){ 0 };
    assert_decided(call(&r, 1, &id, lamp, STR("anything")), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    assert_decided(call(&r, 1, &id, STR("door"), flash), VERDICT_DENY, REASON_NO_RULE, 0);
    r = (struct rule){ .allow = true, .functions = LIST(S("flash")) };
    assert_decided(call(&r, 1, &id, STR("door"), flash), VERDICT_ALLOW, REASON_ALLOW_RULE, 1);
    assert_decided(call(&r, 1, &id, STR("door"), STR("open")), VERDICT_DENY, REASON_NO_RULE, 0);
}

static void test_deny_rules_about_calls(void **state)
{
    (void)state;
    struct identity id = {
        .provider = STR("corp"), .subject = STR("1"), .groups = LIST(S("staff")), .groups_known = true
    };
    struct rule rules[] = { { .devices = LIST(S("door")), .functions = LIST(S("open")) },
                            { .allow = true, .groups = LIST(S("staff")) } };
    assert_decided(call(rules, 2, &id, STR("door"), STR("open")), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(call(rules, 2, &id, STR("door"), STR("bell")), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
    assert_decided(call(rules, 2, &id, STR("lamp"), STR("open")), VERDICT_ALLOW, REASON_ALLOW_RULE, 2);
    // Nobody may, so a login is of no use.
    assert_decided(call(rules, 2, NULL, STR("door"), STR("open")), VERDICT_DENY, REASON_DENY_RULE, 1);
    assert_decided(call(rules, 2, NULL, STR("door"), STR("bell")), VERDICT_LOGIN, REASON_NOT_LOGGED_IN, 2);
}

static void test_requests_that_are_no_calls_meet_no_rule_about_calls(void **state)
{
    (void)state;
    struct identity id = {
        .provider = STR("corp"), .subject = STR("1"), .groups = LIST(S("staff")), .groups_known = true
    };
    struct rule rules[] = { { .allow = true, .devices = LIST(S("lamp"), S("")) },
                            { .allow = true, .functions = LIST(S("flash"), S("")) } };
    struct str lamp = STR("lamp"), flash = STR("flash"), none = STR_NONE, empty = STR("");
    for (size_t i = 0; i < 2; i++) {
        assert_decided(call(&rules[i], 1, &id, none, none), VERDICT_DENY, REASON_NO_RULE, 0);
        assert_decided(call(&rules[i], 1, &id, empty, empty), VERDICT_DENY, REASON_NO_RULE, 0);
        // Half a call is none.
        assert_decided(call(&rules[i], 1, &id, lamp, none), VERDICT_DENY, REASON_NO_RULE, 0);
        assert_decided(call(&rules[i], 1, &id, none, flash), VERDICT_DENY, REASON_NO_RULE, 0);
    }
}

static void test_requirements_name_boards_and_functions(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    struct ip_network network;
    assert_true(ip_network_parse(STR("10.0.0.0/8"), &network, NULL));
    struct rule rules[] = {
        { .allow = true,
          .groups = LIST(S("staff")),
          .devices = LIST(S("lamp"), S("fan")),
          .functions = LIST(S("flash"), S("blink")) },
        { .allow = true, .devices = LIST(S("lamp")) },
        { .allow = true, .functions = LIST(S("flash")), .addresses = { &network, 1 } },
        { .devices = LIST(S("door")) },
    };
    struct policy policy = { STR("p"), rules, 4 };
    struct route route = { .host = STR("h"), .path = STR("/"), .policy = &policy };
    assert_string_equal(policy_requirements(a, &route).p,
                        "group staff (calling flash, blink on lamp, fan); any signed-in account (on lamp); "
                        "any signed-in account (calling flash from a listed address)");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_allowed_by_exact_names),
        cmocka_unit_test(test_deny_rules_about_calls),
        cmocka_unit_test(test_requests_that_are_no_calls_meet_no_rule_about_calls),
        cmocka_unit_test(test_requirements_name_boards_and_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
