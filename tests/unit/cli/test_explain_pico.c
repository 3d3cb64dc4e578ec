// SPDX-License-Identifier: GPL-3.0-or-later
// `sallyport explain` about boards.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
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
    "  - { host: status.example.com, backends: [ \"http://10.0.0.5\" ], policy: staff }\n"
    "  - { host: status.example.com, path: /boards, pico: {}, policy: boards, providers: [ other ] }\n"
    "  - { host: wiki.example.com, pico: {}, policy: staff }\n"
    "policies:\n"
    "  boards:\n"
    "    - deny: { devices: [ door ], functions: [ open ] }\n"
    "    - allow: { groups: [ staff ], devices: [ lamp, door ] }\n"
    "    - allow: { emails: [ ann@example.com ], functions: [ flash, \"gr\\u00fc\\u00dfe\" ] }\n"
    "    - allow: { devices: [ fan ], addresses: [ 10.0.0.0/8 ] }\n"
    "  staff:\n"
    "    - allow: { groups: [ staff ] }\n";

#define POLICY "Route status.example.com/boards (line 9), policy boards"
#define WANTED                                                                                                 \
    " The route asks for: group staff (on lamp, door); a listed e-mail address (calling flash, grüße); any " \
    "signed-in account (on fan from a listed address).\n"
#define CALLS "https://status.example.com/.sallyport/pico/"

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
    const char *answer = strchr(text.p, '\n') + 1; // the first line says what was asked
    assert_string_equal(answer, want);
    assert_int_equal(got, verdict);
}

static void test_a_call_is_decided_by_its_names(void **state)
{
    (void)state;
    struct explain_request r = {
        .user = "bob@example.com", .groups = "staff", .method = "POST", .url = CALLS "lamp/flash"
    };
    assert_explained(&r, VERDICT_ALLOW,
                     "A call of flash on lamp.\n" POLICY
                     ", rule 2 (line 14): allowed. A rule allows access. [policy.allow_rule]\n");
    r.url = CALLS "door/open";
    assert_explained(&r, VERDICT_DENY,
                     "A call of open on door.\n" POLICY
                     ", rule 1 (line 13): denied. A rule refuses access. [policy.deny_rule]" WANTED);
    r.url = CALLS "radio/flash";
    assert_explained(&r, VERDICT_DENY,
                     "A call of flash on radio.\n" POLICY
                     ": denied. No rule allows access. [policy.no_rule]" WANTED);
    r.user = "ann@example.com";
    r.url = CALLS "radio/gr%c3%bc%C3%9Fe";
    assert_explained(&r, VERDICT_ALLOW,
                     "A call of grüße on radio.\n" POLICY
                     ", rule 3 (line 15): allowed. A rule allows access. [policy.allow_rule]\n");
    // The rules of the host's other route are not asked.
    r.url = CALLS "lamp/%66lash";
    r.provider = "corp";
    assert_explained(&r, VERDICT_LOGIN,
                     "A call of flash on lamp.\n" POLICY
                     ", rule 2 (line 14): a login is needed. The account comes from a sign-in service that "
                     "does not count here. [policy.provider]" WANTED);
}

static void test_a_call_needs_a_login_and_an_address_where_rules_ask_for_one(void **state)
{
    (void)state;
    struct explain_request r = { .method = "POST", .url = CALLS "lamp/flash" };
    assert_explained(&r, VERDICT_LOGIN,
                     "A call of flash on lamp.\n" POLICY
                     ", rule 2 (line 14): a login is needed. A sign-in is needed here. "
                     "[policy.not_logged_in]" WANTED);
    r = (struct explain_request){
        .user = "bob", .address = "10.1.2.3", .method = "POST", .url = CALLS "fan/spin"
    };
    assert_explained(&r, VERDICT_ALLOW,
                     "A call of spin on fan.\n" POLICY
                     ", rule 4 (line 16): allowed. A rule allows access. [policy.allow_rule]\n");
    r.method = "GET";
    assert_explained(&r, VERDICT_DENY, "A call is a POST; GET is answered with 405.\n");
}

static void test_any_board_is_decided_for_each(void **state)
{
    (void)state;
    struct explain_request r = { .user = "ann@example.com",
                                 .groups = "",
                                 .method = "POST",
                                 .url = CALLS "any/open",
                                 .address = "10.1.2.3" };
    assert_explained(
        &r, VERDICT_ALLOW,
        "A call of open on any board goes to the least busy one that has it. It is decided for each:\n"
        "door: " POLICY ", rule 1 (line 13): denied. A rule refuses access. [policy.deny_rule]" WANTED
        "lamp: " POLICY ": denied. No rule allows access. [policy.no_rule]" WANTED "fan: " POLICY
        ", rule 4 (line 16): allowed. A rule allows access. [policy.allow_rule]\n"
        "Boards that no rule names: " POLICY ": denied. No rule allows access. [policy.no_rule]" WANTED);
    r.url = "https://wiki.example.com/.sallyport/pico/any/open";
    assert_explained(
        &r, VERDICT_DENY,
        "A call of open on any board goes to the least busy one that has it. It is decided for each:\n"
        "Every board: Route wiki.example.com/ (line 10), policy staff: denied. No rule allows access. "
        "[policy.no_rule] The route asks for: group staff.\n");
    r.groups = "staff";
    assert_explained(
        &r, VERDICT_ALLOW,
        "A call of open on any board goes to the least busy one that has it. It is decided for each:\n"
        "Every board: Route wiki.example.com/ (line 10), policy staff, rule 1 (line 18): allowed. A rule "
        "allows access. [policy.allow_rule]\n");
}

static void test_the_page_needs_a_login_alone(void **state)
{
    (void)state;
    static const char *const pages[] = { CALLS, "https://status.example.com/.sallyport/pico",
                                         CALLS "events" };
    struct explain_request nobody = { .method = "GET" }, bob = { .user = "bob", .method = "GET" },
                           other = { .user = "bob", .provider = "corp", .method = "GET" };
    struct explain_request post = { .user = "bob", .method = "POST", .url = CALLS };
    assert_explained(&post, VERDICT_DENY, "This is there for reading; POST is answered with 405.\n");
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        nobody.url = bob.url = other.url = pages[i];
        static const char login[] =
            "A login is needed; then the boards and functions are shown that the visitor may call, and no "
            "others.\nCalls are for: group staff (on lamp, door); a listed e-mail address (calling flash, "
            "grüße); any signed-in account (on fan from a listed address).\n";
        assert_explained(&nobody, VERDICT_LOGIN, login);
        assert_explained(&other, VERDICT_LOGIN, login);
        assert_explained(&bob, VERDICT_ALLOW,
                         "Allowed: everybody who is logged in sees the boards and functions that they may "
                         "call, and no others.\nCalls are for: group staff (on lamp, door); a listed e-mail "
                         "address (calling flash, grüße); any signed-in account (on fan from a listed "
                         "address).\n");
    }
}

static void test_where_boards_connect_nobody_is_asked(void **state)
{
    (void)state;
    static const char board[] = "Boards connect here and log in with their key; no policy is asked, and "
                                "people have no business here.\n";
    struct explain_request r = { .method = "GET", .url = "https://status.example.com/boards/uplink" };
    assert_explained(&r, VERDICT_DENY, board);
    r.url = "https://status.example.com/boards/_/uplink";
    assert_explained(&r, VERDICT_DENY, board);
    r.url = "https://wiki.example.com/uplink";
    assert_explained(&r, VERDICT_DENY, board);
    r.url = "https://wiki.example.com/_/uplink";
    assert_explained(&r, VERDICT_DENY, board);
    r.url = "https://status.example.com/boards";
    assert_explained(&r, VERDICT_DENY, "This route has boards: people are sent to " CALLS "\n");
    static const char nothing[] = "This route has boards, and there is nothing here: the answer is 404.\n";
    r.url = "https://status.example.com/boards/uplink/x";
    assert_explained(&r, VERDICT_DENY, nothing);
    r.url = "https://wiki.example.com/docs";
    assert_explained(&r, VERDICT_DENY, nothing);
    r.url = "https://wiki.example.com/";
    assert_explained(&r, VERDICT_DENY,
                     "This route has boards: people are sent to "
                     "https://wiki.example.com/.sallyport/pico/\n");
    // Below and beside the paths that boards know there is none.
    r.url = "https://status.example.com/uplink";
    assert_explained(
        &r, VERDICT_LOGIN,
        "Route status.example.com/ (line 8), policy staff, rule 1 (line 18): a login is needed. A "
        "sign-in is needed here. [policy.not_logged_in] The route asks for: group staff.\n");
}

static void test_addresses_without_meaning(void **state)
{
    (void)state;
    static const char *const senseless[] = {
        CALLS "lamp",       CALLS "lamp/",   CALLS "lamp/flash/",  CALLS "lamp/flash/more",
        CALLS "Lamp/flash", CALLS "-/flash", CALLS "lamp/anvil.x", CALLS "lamp/a:b",
    };
    struct explain_request r = { .user = "bob", .groups = "staff", .method = "POST" };
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        r.url = senseless[i];
        assert_explained(&r, VERDICT_DENY,
                         "There is nothing here: calls go to /.sallyport/pico/BOARD/FUNCTION.\n");
    }
    r.url = "https://login.example.com/.sallyport/pico/lamp/flash";
    assert_explained(&r, VERDICT_DENY,
                     "No route of login.example.com has boards (pico), so there is nothing here.\n");
    r.url = "https://login.example.com/.sallyport/picon";
    assert_explained(&r, VERDICT_DENY, "The gateway answers this itself; no route and no policy is asked.\n");
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct explain_request r = { .user = "ann@example.com", .method = "POST", .url = CALLS "any/flash" };
    enum verdict verdict = VERDICT_DENY;
    struct err err = { 0 };
    struct str whole = explain(f.arena, c, &r, &verdict, &err);
    assert_true(whole.p && verdict == VERDICT_ALLOW);
    for (long n = 1;; n++) {
        verdict = VERDICT_DENY;
        err = (struct err){ 0 };
        mem_fail_at(n);
        struct arena *a = arena_new(100000);
        struct str text = a ? explain(a, c, &r, &verdict, &err) : STR_NONE;
        bool fired = mem_failed();
        mem_fail_at(0);
        assert_true(text.p ? str_eq(text, whole) : !a || err.code != ERR_NONE);
        arena_free(a);
        if (!fired) break;
        assert_true(n < 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_is_decided_by_its_names),
        cmocka_unit_test(test_a_call_needs_a_login_and_an_address_where_rules_ask_for_one),
        cmocka_unit_test(test_any_board_is_decided_for_each),
        cmocka_unit_test(test_the_page_needs_a_login_alone),
        cmocka_unit_test(test_where_boards_connect_nobody_is_asked),
        cmocka_unit_test(test_addresses_without_meaning),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
