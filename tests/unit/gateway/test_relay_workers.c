// SPDX-License-Identifier: GPL-3.0-or-later
// Boards on some workers, callers on others: every call gets one answer, whatever happens meanwhile.
#include "relay_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/relay/presence.h"

static struct board_peer boards[4];

static void expect_answer(struct client *c, const char *status, const char *body)
{
    client_expect(c, "\r\n\r\n");
    if (!strstr(c->in, status)) fail_msg("%s", c->in);
    client_expect(c, body);
    client_close(c);
}

static void test_a_call_finds_the_board_from_every_worker(void **state)
{
    (void)state;
    char id[64], function[64];
    board_connect(&boards[0], 1, 0, "flash");
    for (size_t i = 0; i < EDGE_WORKERS; i++) {
        struct client c;
        relay_await(i, 0, "flash", true);
        call_begin(&c, i, "board-0", "flash", "{\"args\": [21]}");
        assert_true(board_next_call(&boards[0], id, function));
        assert_string_equal(function, "flash");
        assert_int_equal(strlen(id), 32);
        board_answer(&boards[0], id, "{\"twice\": 42}");
        expect_answer(&c, "200 OK", "{\"result\":{\"twice\":42}}");
    }
    board_hang_up(&boards[0]);
    for (size_t i = 0; i < EDGE_WORKERS; i++) relay_await(i, 0, "flash", false);
}

static void test_a_later_login_supersedes_on_another_worker(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64];
    board_connect(&boards[0], 0, 1, "hold");
    relay_await(2, 1, "hold", true);
    call_begin(&c, 2, "board-1", "hold", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    board_connect(&boards[1], 1, 1, "hold"); // the old connection is left as it is
    expect_answer(&c, "502 Bad Gateway", "\"type\":\"pico.lost\"");
    assert_true(board_is_closed(&boards[0]));
    edge_expect_log(relay_rig.e, "pico.closed", "uplink.superseded");
    relay_await(2, 1, "hold", true);
    call_begin(&c, 2, "board-1", "hold", "{}");
    char second[64];
    assert_true(board_next_call(&boards[1], second, function));
    assert_string_not_equal(id, second);
    board_answer(&boards[1], id, "\"late\""); // the firmware answers the old call on the new connection
    board_answer(&boards[1], second, "\"right\"");
    expect_answer(&c, "200 OK", "{\"result\":\"right\"}");
    board_hang_up(&boards[0]);
    board_hang_up(&boards[1]);
    relay_await(2, 1, "hold", false);
}

static void test_a_removed_device_is_cut_off(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64];
    board_connect(&boards[0], 2, 2, "hold");
    relay_await(0, 2, "hold", true);
    call_begin(&c, 0, "board-2", "hold", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    relay_hub_devices(relay_rig.e->shared.relay, relay_table(1u << 2));
    expect_answer(&c, "502 Bad Gateway", "\"type\":\"pico.lost\"");
    assert_true(board_is_closed(&boards[0]));
    board_hang_up(&boards[0]);
    call_begin(&c, 0, "board-2", "hold", "{}");
    expect_answer(&c, "404 Not Found", "\"type\":\"pico.unknown\"");
    relay_hub_devices(relay_rig.e->shared.relay, relay_table(0));
}

static void test_the_board_hears_who_calls_until_they_sign_out(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64], ask[256];
    board_connect(&boards[0], 1, 3, "who");
    relay_await(0, 3, "who", true);
    call_begin(&c, 0, "board-3", "who", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    snprintf(ask, sizeof ask,
             "{\"type\":\"CALL\",\"id\":\"pico-call-1-1\",\"call-stack-id\":\"%s\",\"command\":"
             "\"anvil.private.users.get_current_user_email\",\"args\":[],\"kwargs\":{}}",
             id);
    board_send(&boards[0], ask);
    const char *answer = board_next(&boards[0]);
    assert_non_null(answer);
    assert_non_null(strstr(answer, "\"response\":\"ann@example.com\""));
    relay_log_out();
    board_send(&boards[0], ask);
    answer = board_next(&boards[0]);
    assert_non_null(answer);
    assert_non_null(strstr(answer, "\"response\":null"));
    expect_answer(&c, "401 Unauthorized", "\"type\":\"session.unknown\"");
    board_answer(&boards[0], id, "1"); // nobody waits for it
    board_hang_up(&boards[0]);
}

// The end of the old link is told late, when all have long heard of the new one.
static void test_an_old_end_is_no_end_of_the_new(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64];
    board_connect(&boards[0], 0, 4, "hold");
    relay_await(2, 4, "hold", true);
    relay_nap(0, 400);
    board_connect(&boards[1], 1, 4, "hold other");
    relay_await(2, 4, "other", true);
    edge_expect_log(relay_rig.e, "pico.closed", "uplink.superseded");
    usleep(100 * 1000); // what worker 0 said is with the others
    call_begin(&c, 2, "board-4", "hold", "{}");
    assert_true(board_next_call(&boards[1], id, function));
    board_answer(&boards[1], id, "1");
    expect_answer(&c, "200 OK", "{\"result\":1}");
    board_hang_up(&boards[0]);
    board_hang_up(&boards[1]);
    relay_await(2, 4, "hold", false);
}

static _Atomic bool known;

static void look_at_board_5(struct worker *w)
{
    known = relay_board(w->relay, STR("0000000000000006")) != NULL;
}

// The directory does not grow with each board that there ever was.
static void test_a_removed_device_is_forgotten(void **state)
{
    (void)state;
    board_connect(&boards[0], 0, 5, "hold");
    relay_await(0, 5, "hold", true);
    board_hang_up(&boards[0]);
    relay_await(0, 5, "hold", false);
    edge_on_thread(relay_rig.e, look_at_board_5);
    assert_true(known);
    relay_hub_devices(relay_rig.e->shared.relay, relay_table(1u << 5));
    edge_on_thread(relay_rig.e, look_at_board_5);
    assert_false(known);
    relay_hub_devices(relay_rig.e->shared.relay, relay_table(0));
}

static _Atomic uint64_t calls, failures, links;

static void look_at_metrics(struct worker *w)
{
    calls = w->metrics.pico_calls_total;
    failures = w->metrics.pico_calls_failed_total;
    links = w->metrics.pico_links_open;
}

static void expect_metrics(uint64_t more_calls, uint64_t more_failures, uint64_t links_now)
{
    uint64_t calls_before = calls, failures_before = failures;
    edge_on_thread(relay_rig.e, look_at_metrics);
    assert_int_equal(calls, calls_before + more_calls);
    assert_int_equal(failures, failures_before + more_failures);
    assert_int_equal(links, links_now);
}

// As operators are told.
static bool is_present(const char *name)
{
    struct arena *a = arena_new(1 << 20);
    struct presence_view *v;
    size_t n;
    bool found = false;
    assert_true(presence_read(relay_hub_presence(relay_rig.e->shared.relay), a, &v, &n));
    for (size_t i = 0; i < n; i++) found |= str_eq_c(v[i].name, name) && v[i].online;
    arena_free(a);
    return found;
}

static void test_calls_and_links_are_counted(void **state)
{
    (void)state;
    struct client c;
    char id[64], function[64];
    edge_on_thread(relay_rig.e, look_at_metrics);
    board_connect(&boards[0], 0, 6, "flash");
    relay_await(0, 6, "flash", true);
    expect_metrics(0, 0, 1);
    assert_true(is_present("board-6"));
    call_begin(&c, 0, "board-6", "flash", "{}");
    assert_true(board_next_call(&boards[0], id, function));
    board_answer(&boards[0], id, "1");
    expect_answer(&c, "200 OK", "{\"result\":1}");
    expect_metrics(1, 0, 1);
    call_begin(&c, 0, "board-6", "other", "{}");
    expect_answer(&c, "404 Not Found", "\"type\":\"pico.unknown\"");
    expect_metrics(1, 1, 1);
    board_hang_up(&boards[0]);
    relay_await(0, 6, "flash", false);
    expect_metrics(0, 0, 0);
    assert_false(is_present("board-6"));
}

static struct str other_provider[] = { STR_INIT("another") };

static void change_providers(struct worker *w)
{
    struct route *r = (struct route *)config_pico_route(w->shared->config, STR("pico.example.com"));
    r->providers = (struct strlist){ other_provider, r->providers.n ? 0 : 1 };
}

static void expect_status(const char *cookie, const char *request, const char *status)
{
    struct client c;
    char text[1024];
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: pico.example.com\r\n%s", request, cookie);
    client_open(&relay_rig.at[0], &c);
    client_send(&c, text);
    client_send(&c, "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    client_expect(&c, "\r\n\r\n");
    if (!strstr(c.in, status)) fail_msg("%s: not %s: %s", request, status, c.in);
    client_close(&c);
}

static void expect_strangers(const char *cookie)
{
    expect_status(cookie, "GET /.sallyport/pico/", "401 ");
    expect_status(cookie, "GET /.sallyport/pico/events", "401 ");
    expect_status(cookie, "POST /.sallyport/pico/board-0/flash", "401 ");
    expect_status(cookie, "POST /.sallyport/pico/any/flash", "401 ");
}

// A login with a provider that does not count at the route is none: there is nothing to see, and nobody to
// call.
static void test_logins_that_do_not_count(void **state)
{
    (void)state;
    expect_strangers("");
    edge_on_thread(relay_rig.e, change_providers);
    expect_strangers(relay_rig.cookie);
    edge_on_thread(relay_rig.e, change_providers);
    expect_status(relay_rig.cookie, "GET /.sallyport/pico/", "200 ");
    expect_status(relay_rig.cookie, "GET /.sallyport/pico/events", "200 ");
    expect_status(relay_rig.cookie, "POST /.sallyport/pico/nobody/flash", "404 ");
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_call_finds_the_board_from_every_worker),
        T(test_a_later_login_supersedes_on_another_worker),
        T(test_a_removed_device_is_cut_off),
        T(test_logins_that_do_not_count),
        T(test_an_old_end_is_no_end_of_the_new),
        T(test_calls_and_links_are_counted),
        T(test_a_removed_device_is_forgotten),
        T(test_the_board_hears_who_calls_until_they_sign_out), // the last: it signs out
    };
    return cmocka_run_group_tests_name("relay: several workers", tests, relay_setup, relay_teardown);
}
