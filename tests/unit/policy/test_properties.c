// SPDX-License-Identifier: GPL-3.0-or-later
// What holds for every policy: random rules and random people, the same ones in every run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/policy.h"

enum { RULES = 5, POLICIES = 20000, PEOPLE = 20 };

static uint64_t seed;

static unsigned roll(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

static struct str groups[] = { STR_INIT("g1"), STR_INIT("g2") };
static struct str emails[] = { STR_INIT("a@x.org"), STR_INIT("b@y.org") };
static struct str domains[] = { STR_INIT("x.org"), STR_INIT("y.org") };
static struct str providers[] = { STR_INIT("p1"), STR_INIT("p2") };
static struct str methods[] = { STR_INIT("GET"), STR_INIT("POST") };
static struct str paths[] = { STR_INIT("/a"), STR_INIT("/a/b") };
static struct str devices[] = { STR_INIT("lamp"), STR_INIT("fan") };
static struct str functions[] = { STR_INIT("flash"), STR_INIT("blink") };
#define IPV4(a, b, c, d)                                                                                     \
    {                                                                                                        \
        {                                                                                                    \
            [10] = 0xff, 0xff, a, b, c, d                                                                    \
        }                                                                                                    \
    }
static struct ip_network networks[] = { { IPV4(10, 0, 0, 0), 104 }, { IPV4(192, 0, 2, 0), 120 } };
static const struct ip_address addresses[] = { { { 0 } }, IPV4(10, 1, 2, 3), IPV4(192, 0, 2, 9) };

// None, the first, the second or both of a pair.
static struct strlist some(struct str pair[2], unsigned none)
{
    unsigned n = roll(none + 3);
    if (n < none) return (struct strlist){ NULL, 0 };
    return (struct strlist){ pair + (n == none + 1), n == none + 2 ? 2 : 1 };
}

static struct rule random_rule(void)
{
    struct rule r = { .allow = roll(2), .methods = some(methods, 6), .paths = some(paths, 6) };
    r.devices = some(devices, 16);
    r.functions = some(functions, 16);
    if (roll(3) == 0) r.addresses = (struct ip_networks){ networks + roll(2), 1 };
    if (r.allow && roll(4) == 0) {
        r.is_public = true;
        return r;
    }
    r.groups = some(groups, 4);
    r.emails = some(emails, 8);
    r.email_domains = some(domains, 8);
    r.providers = some(providers, 8);
    return r;
}

static struct identity random_person(void)
{
    return (struct identity){ .provider = providers[roll(2)],
                              .subject = STR("s"),
                              .email = emails[roll(2)],
                              .email_verified = true,
                              .groups = some(groups, 1),
                              .groups_known = true };
}

struct world {
    struct rule rules[RULES];
    struct policy policy;
    struct route route;
    struct policy_request request;
};

static void random_world(struct world *w)
{
    for (size_t i = 0; i < RULES; i++) w->rules[i] = random_rule();
    w->policy = (struct policy){ STR("p"), w->rules, 1 + roll(RULES) };
    w->route = (struct route){ .host = STR("h"), .path = STR("/"), .policy = &w->policy };
    struct str path = (struct str[]){ STR("/"), STR("/a"), STR("/a/b/c"), STR("/ab") }[roll(4)];
    w->request =
        (struct policy_request){ .method = methods[roll(2)], .path = path, .address = addresses[roll(3)] };
    if (roll(2)) { // a call
        w->request.device = devices[roll(2)];
        w->request.function = functions[roll(2)];
    }
}

static void copy_world(struct world *to, const struct world *from)
{
    *to = *from;
    to->policy.rules = to->rules;
    to->route.policy = &to->policy;
}

static struct decision decide(const struct world *w, const struct identity *id)
{
    return policy_decide(&w->route, id, &w->request);
}

static void test_visitors_get_what_everybody_gets(void **state)
{
    (void)state;
    seed = 1;
    size_t seen[256] = { 0 };
    for (int i = 0; i < POLICIES; i++) {
        struct world w;
        random_world(&w);
        enum verdict visitor = decide(&w, NULL).verdict;
        seen[visitor]++;
        for (int k = 0; k < PEOPLE && visitor != VERDICT_LOGIN; k++) {
            struct identity id = random_person();
            assert_int_equal(decide(&w, &id).verdict, visitor);
        }
    }
    assert_true(seen[VERDICT_ALLOW] > 1000 && seen[VERDICT_DENY] > 1000 && seen[VERDICT_LOGIN] > 1000);
}

static void test_missing_facts_never_open_anything(void **state)
{
    (void)state;
    seed = 2;
    size_t narrowed = 0;
    for (int i = 0; i < POLICIES; i++) {
        struct world w;
        random_world(&w);
        for (int k = 0; k < PEOPLE; k++) {
            struct identity id = random_person(), less = id;
            unsigned missing = 1 + roll(3);
            if (missing & 1) less.groups_known = false;
            if (missing & 2) less.email_verified = false;
            bool open = decide(&w, &less).verdict == VERDICT_ALLOW,
                 full = decide(&w, &id).verdict == VERDICT_ALLOW;
            assert_true(full || !open);
            narrowed += full && !open;
        }
    }
    assert_true(narrowed > 1000);
}

static void test_an_unknown_address_never_opens_anything(void **state)
{
    (void)state;
    seed = 5;
    size_t narrowed = 0;
    for (int i = 0; i < POLICIES; i++) {
        struct world w, less;
        random_world(&w);
        struct identity id = random_person();
        copy_world(&less, &w);
        less.request.address = addresses[0];
        for (int visitor = 0; visitor < 2; visitor++) {
            bool open = decide(&less, visitor ? NULL : &id).verdict == VERDICT_ALLOW,
                 full = decide(&w, visitor ? NULL : &id).verdict == VERDICT_ALLOW;
            assert_true(full || !open);
            narrowed += full && !open;
        }
    }
    assert_true(narrowed > 1000);
}

static bool asks_for_call(const struct rule *r)
{
    return r->devices.n || r->functions.n;
}

static struct world without_rules_about_calls(const struct world *w)
{
    struct world less = *w;
    less.policy.nrules = 0;
    for (size_t i = 0; i < w->policy.nrules; i++)
        if (!asks_for_call(&w->rules[i])) less.rules[less.policy.nrules++] = w->rules[i];
    return less;
}

static void test_rules_about_calls_leave_other_requests_alone(void **state)
{
    (void)state;
    seed = 6;
    size_t fewer = 0;
    for (int i = 0; i < POLICIES; i++) {
        struct world w, rest;
        random_world(&w);
        w.request.device = w.request.function = STR_NONE;
        struct identity id = random_person();
        struct world less = without_rules_about_calls(&w);
        copy_world(&rest, &less);
        assert_int_equal(decide(&w, &id).verdict, decide(&rest, &id).verdict);
        assert_int_equal(decide(&w, NULL).verdict, decide(&rest, NULL).verdict);
        fewer += rest.policy.nrules < w.policy.nrules;
    }
    assert_true(fewer > 1000);
}

// Rules that name other boards are as good as absent.
static void test_a_call_of_an_unknown_board_meets_no_rule_that_names_boards(void **state)
{
    (void)state;
    seed = 7;
    size_t allowed = 0;
    for (int i = 0; i < POLICIES; i++) {
        struct world w;
        random_world(&w);
        for (size_t k = 0; k < w.policy.nrules; k++) w.rules[k].devices = some(devices, 0);
        w.request.device = STR("door");
        w.request.function = functions[roll(2)];
        struct identity id = random_person();
        assert_int_equal(decide(&w, &id).reason, REASON_NO_RULE);
        assert_int_equal(decide(&w, NULL).reason, REASON_NO_RULE);
        w.request.device = devices[0];
        allowed += decide(&w, &id).verdict == VERDICT_ALLOW;
    }
    assert_true(allowed > 1000);
}

static void test_a_deny_rule_in_front_never_opens_anything(void **state)
{
    (void)state;
    seed = 3;
    for (int i = 0; i < POLICIES; i++) {
        struct world w;
        random_world(&w);
        struct identity id = random_person();
        struct rule more[RULES + 1] = { random_rule() };
        more[0].allow = more[0].is_public = false;
        for (size_t k = 0; k < w.policy.nrules; k++) more[k + 1] = w.rules[k];
        bool before = decide(&w, &id).verdict == VERDICT_ALLOW,
             visitor = decide(&w, NULL).verdict == VERDICT_ALLOW;
        w.policy = (struct policy){ STR("p"), more, w.policy.nrules + 1 };
        assert_true(before || decide(&w, &id).verdict != VERDICT_ALLOW);
        assert_true(visitor || decide(&w, NULL).verdict != VERDICT_ALLOW);
    }
}

static void test_logins_that_do_not_count_get_what_visitors_get(void **state)
{
    (void)state;
    seed = 4;
    struct str elsewhere[] = { STR_INIT("p3") };
    for (int i = 0; i < POLICIES; i++) {
        struct world w;
        random_world(&w);
        w.route.providers = (struct strlist){ elsewhere, 1 };
        struct identity id = random_person();
        assert_int_equal(decide(&w, &id).verdict, decide(&w, NULL).verdict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_visitors_get_what_everybody_gets),
        cmocka_unit_test(test_missing_facts_never_open_anything),
        cmocka_unit_test(test_an_unknown_address_never_opens_anything),
        cmocka_unit_test(test_rules_about_calls_leave_other_requests_alone),
        cmocka_unit_test(test_a_call_of_an_unknown_board_meets_no_rule_that_names_boards),
        cmocka_unit_test(test_a_deny_rule_in_front_never_opens_anything),
        cmocka_unit_test(test_logins_that_do_not_count_get_what_visitors_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
