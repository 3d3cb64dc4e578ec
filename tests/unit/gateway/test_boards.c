// SPDX-License-Identifier: GPL-3.0-or-later
// What a visitor is told of boards, once and as it changes. The directory, the client and the clock are the
// test's; policy, pages and answers are the real ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/visitor.h"
#include "gateway/pages/pages.h"
#include "gateway/relay/hub.h"

// --- the directory, policy's question, and clocks

enum { BOARDS_MAX = 4096, FUNCTIONS_MAX = 64 };

static struct rig {
    struct arena *arena;
    struct device devices[BOARDS_MAX];
    struct board boards[BOARDS_MAX];
    bool connected[BOARDS_MAX]; // since the gateway started
    struct device_table table;
    struct events events;
    struct board_watch *watch;
    struct timer *ping; // of the last stream that came
    int watched_sessions;
    size_t decisions;
    struct config config;
    struct shared shared;
    struct worker worker;
} * rig;

static struct rule rules[] = {
    { .devices = { (struct str[]){ STR_INIT("hidden") }, 1 } },
    { .allow = true,
      .groups = { (struct str[]){ STR_INIT("makers") }, 1 },
      .functions = { (struct str[]){ STR_INIT("flash"), STR_INIT("water"), STR_INIT("<b>\"&") }, 3 } },
    { .allow = true, .groups = { (struct str[]){ STR_INIT("staff") }, 1 } },
};
static const struct policy policy = { STR_INIT("makers"), rules, 3 };
static const struct route route = {
    STR_INIT("pico.example.com"), STR_INIT("/"), &policy, { NULL, 0 }, NULL, 1
};

const struct device_table *relay_devices(const struct relay_worker *r)
{
    assert_non_null(r);
    return &rig->table;
}

const struct board *relay_board(const struct relay_worker *r, struct str id)
{
    (void)r;
    for (size_t i = 0; i < rig->table.n; i++)
        if (str_eq(rig->devices[i].id, id)) return rig->connected[i] ? &rig->boards[i] : NULL;
    return NULL;
}

struct decision relay_decide(const struct exchange *x, const struct route *r, struct str device,
                             struct str function)
{
    struct policy_request request = { STR("POST"), STR("/.sallyport/pico/x/y"), x->address, device,
                                      function };
    rig->decisions++;
    return policy_decide(r, x->has_session ? &x->session.identity : NULL, &request);
}

void relay_watch(struct relay_worker *r, struct board_watch *w)
{
    (void)r;
    assert_null(rig->watch);
    rig->watch = w;
}

void relay_unwatch(struct relay_worker *r, struct board_watch *w)
{
    (void)r;
    assert_ptr_equal(rig->watch, w);
    rig->watch = NULL;
}

struct events *relay_events(struct relay_worker *r)
{
    (void)r;
    return &rig->events;
}

void visitor_watch(struct exchange *x)
{
    assert_true(x->has_session);
    rig->watched_sessions++;
}

void timer_set(struct loop *l, struct timer *t, int64_t ms)
{
    (void)l;
    t->next = t->prev = t;
    t->at = ms;
    if (ms == 20000) rig->ping = t;
}

void timer_clear(struct loop *l, struct timer *t)
{
    (void)l;
    t->next = t->prev = NULL;
}

struct str worker_date(struct worker *w)
{
    (void)w;
    return STR("Fri, 20 Nov 2026 15:00:00 GMT");
}

static void fire(struct timer *t)
{
    assert_non_null(t->next);
    t->next = t->prev = NULL;
    t->fire(t);
}

static void add_board(size_t i, const char *name, bool connected, const char *functions)
{
    struct str rest = arena_str_c(rig->arena, functions), one;
    struct strlist l = { arena_array(rig->arena, FUNCTIONS_MAX, sizeof *l.v), 0 };
    while (rest.n && str_cut(&rest, ' ', &one)) l.v[l.n++] = one;
    rig->devices[i] =
        (struct device){ .id = arena_printf(rig->arena, "id-%zu", i), .name = arena_str_c(rig->arena, name) };
    rig->boards[i] = (struct board){ .id = rig->devices[i].id, .online = true, .functions = l };
    rig->connected[i] = connected;
    if (i >= rig->table.n) rig->table.n = i + 1;
}

static int setup(void **state)
{
    rig = calloc(1, sizeof *rig);
    rig->arena = arena_new(64 * 1024 * 1024);
    rig->table.v = rig->devices;
    rig->config.site_name = STR("Makers");
    rig->shared.config = &rig->config;
    rig->worker.shared = &rig->shared;
    rig->worker.relay = (struct relay_worker *)rig; // nobody looks into it
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(rig->events.n, 0);
    assert_null(rig->watch);
    arena_free(rig->arena);
    free(rig);
    return 0;
}

// --- a client

struct client {
    struct exchange x;
    char *in;
    size_t n, room; // received; what it takes at once
    int writes, flushes;
    bool head, ended, aborted;
};

static void release(struct exchange *x)
{
    if (x->on_gone) x->on_gone(x);
    x->on_gone = NULL;
    x->engine = NULL;
}

static bool client_head(struct exchange *x)
{
    struct client *c = container_of(x, struct client, x);
    assert_false(c->head);
    return c->head = x->head_sent = true;
}

static size_t client_write(struct exchange *x, struct str data)
{
    struct client *c = container_of(x, struct client, x);
    assert_true(c->head && !c->ended && !c->aborted);
    size_t n = data.n < c->room ? data.n : c->room;
    char *grown = realloc(c->in, c->n + n + 1);
    assert_non_null(grown);
    c->in = grown;
    memcpy(c->in + c->n, data.p, n);
    c->n += n;
    c->in[c->n] = '\0';
    c->room -= n;
    c->writes++;
    return n;
}

static void client_flush(struct exchange *x)
{
    container_of(x, struct client, x)->flushes++;
}

static void client_end(struct exchange *x)
{
    container_of(x, struct client, x)->ended = true;
    release(x);
}

static void client_abort(struct exchange *x)
{
    container_of(x, struct client, x)->aborted = true;
    release(x);
}

static const struct engine engine = { .head = client_head,
                                      .write = client_write,
                                      .flush = client_flush,
                                      .end = client_end,
                                      .abort = client_abort };

static struct client *client_of(const char *subject, const char *group)
{
    struct client *c = calloc(1, sizeof *c);
    struct exchange *x = &c->x;
    x->worker = &rig->worker;
    x->engine = &engine;
    x->arena = arena_new(1024 * 1024);
    x->req.method = STR("GET");
    x->host = STR("pico.example.com");
    x->secure = true;
    x->has_session = true;
    struct str *groups = arena_alloc(x->arena, sizeof *groups);
    *groups = str_c(group);
    x->session.identity = (struct identity){
        .provider = STR("corp"), .subject = str_c(subject), .groups = { groups, 1 }, .groups_known = true
    };
    c->room = SIZE_MAX;
    return c;
}

static struct client *maker(void)
{
    return client_of("ann", "makers");
}

static void client_free(struct client *c)
{
    if (c->x.engine) release(&c->x);
    arena_free(c->x.arena);
    free(c->in);
    free(c);
}

static struct str field(const struct client *c, const char *name)
{
    struct str found = STR_NONE;
    for (size_t i = 0; i < c->x.answer.n; i++) {
        if (c->x.answer.v[i].removed || !str_eq_nocase(c->x.answer.v[i].name, str_c(name))) continue;
        assert_null(found.p);
        found = c->x.answer.v[i].value;
    }
    return found;
}

static void assert_in(const struct client *c, const char *want)
{
    if (strcmp(c->in ? c->in : "", want) != 0) fail_msg("'%s', not '%s'", c->in, want);
}

static size_t count(const struct client *c, const char *text)
{
    size_t n = 0;
    for (const char *p = c->in; p && (p = strstr(p, text)); p++) n++;
    return n;
}

static void forget(struct client *c)
{
    c->n = 0;
    if (c->in) c->in[0] = '\0';
}

// --- the list

static struct str json_for(struct client *c)
{
    struct offered_boards o;
    boards_offered(&c->x, &route, rig->arena, &o);
    return boards_json(rig->arena, &o);
}

static void assert_json(struct client *c, const char *want)
{
    struct str json = json_for(c);
    if (!str_eq_c(json, want)) fail_msg("'%.*s', not '%s'", STR_FMT(json), want);
    client_free(c);
}

static void test_only_what_may_be_called_is_told(void **state)
{
    (void)state;
    add_board(0, "door", true, "open lock");
    add_board(1, "greenhouse", true, "reset water flash");
    rig->boards[1].online = false;
    add_board(2, "hidden", true, "flash");
    add_board(3, "lamp", true, "flash admin");
    add_board(4, "never", false, "flash");
    add_board(5, "silent", true, "");
    assert_json(maker(),
                "{\"boards\":["
                "{\"name\":\"greenhouse\",\"online\":false,\"functions\":["
                "{\"name\":\"flash\",\"online\":false},{\"name\":\"water\",\"online\":false}]},"
                "{\"name\":\"lamp\",\"online\":true,\"functions\":[{\"name\":\"flash\",\"online\":true}]}]}");
    assert_json(client_of("eve", "guests"), "{\"boards\":[]}");
    struct client *nobody = maker();
    nobody->x.has_session = false;
    assert_json(nobody, "{\"boards\":[]}");
    struct client *staff = client_of("bob", "staff");
    struct str json = json_for(staff);
    assert_true(str_search(json, STR("\"door\"")) < json.n && str_search(json, STR("\"reset\"")) < json.n);
    assert_true(str_search(json, STR("hidden")) == json.n);
    client_free(staff);
}

static void test_names_are_text_in_json(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "<b>\"&");
    struct client *c = maker();
    struct str json = json_for(c);
    assert_true(str_find(json, '<') == json.n && str_find(json, '&') == json.n);
    json_t *o = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *board = json_array_get(json_object_get(o, "boards"), 0);
    json_t *function = json_array_get(json_object_get(board, "functions"), 0);
    assert_string_equal(json_string_value(json_object_get(function, "name")), "<b>\"&");
    json_decref(o);
    client_free(c);
}

static void test_the_order_of_registration_does_not_matter(void **state)
{
    (void)state;
    struct client *c = maker();
    add_board(0, "lamp", true, "flash water");
    struct str before = json_for(c);
    add_board(0, "lamp", true, "water flash");
    assert_true(str_eq(json_for(c), before));
    client_free(c);
}

// Boards of 64 functions with the longest names: a hundred of them fill the list.
static void fill_with_large_boards(size_t n)
{
    char functions[FUNCTIONS_MAX * 130] = "";
    for (int i = 0; i < FUNCTIONS_MAX; i++)
        snprintf(functions + strlen(functions), sizeof functions - strlen(functions), "%0128d ", i);
    functions[strlen(functions) - 1] = '\0';
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, functions);
    }
}

static void test_a_list_without_end_is_cut(void **state)
{
    (void)state;
    struct client *c = client_of("bob", "staff");
    fill_with_large_boards(200);
    struct offered_boards o;
    boards_offered(&c->x, &route, rig->arena, &o);
    assert_true(o.more);
    assert_in_range(o.n, 90, 110);
    assert_in_range(o.decisions, o.n * 65, (o.n + 1) * 65); // and not those of all the others
    struct str json = boards_json(rig->arena, &o);
    assert_true(str_ends(json, STR("]}],\"more\":true}")));
    rig->table.n = 50;
    boards_offered(&c->x, &route, rig->arena, &o);
    assert_false(o.more);
    assert_int_equal(o.n, 50);
    json = boards_json(rig->arena, &o);
    assert_true(str_ends(json, STR("]}]}")));
    client_free(c);
}

// The worst that fits: every byte of every name becomes six.
static void test_the_longest_list_can_be_composed(void **state)
{
    (void)state;
    struct client *c = client_of("bob", "staff");
    fill_with_large_boards(200);
    for (size_t i = 0; i < rig->boards[0].functions.n; i++)
        memset((char *)rig->boards[0].functions.v[i].p, '<', rig->boards[0].functions.v[i].n);
    for (size_t i = 1; i < 200; i++) rig->boards[i].functions = rig->boards[0].functions;
    struct arena *a = arena_new(BOARDS_ARENA);
    struct offered_boards o;
    boards_offered(&c->x, &route, a, &o);
    struct str json = boards_json(a, &o);
    assert_true(json.n > 4 * 1024 * 1024);
    arena_free(a);
    c->x.navigation = true;
    boards_serve(&c->x, &route);
    assert_int_equal(c->x.status, 200);
    client_free(c);
}

static void test_half_a_list_is_none(void **state)
{
    (void)state;
    add_board(0, "greenhouse", true, "water flash");
    add_board(1, "lamp", true, "flash");
    struct client *c = maker();
    struct str whole = json_for(c);
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct offered_boards o;
        mem_fail_at(n);
        struct arena *a = arena_new(BOARDS_ARENA);
        struct str json = STR_NONE;
        if (a) boards_offered(&c->x, &route, a, &o);
        if (a) json = boards_json(a, &o);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed ? !json.p : str_eq(json, whole));
        arena_free(a);
    }
    // And of arenas that are full at any place.
    for (size_t limit = 64; limit < 4096; limit += 8) {
        struct offered_boards o;
        struct arena *a = arena_new(limit);
        boards_offered(&c->x, &route, a, &o);
        struct str json = boards_json(a, &o);
        assert_true(!json.p || str_eq(json, whole));
        arena_free(a);
    }
    fill_with_large_boards(10);
    struct offered_boards o;
    struct arena *small = arena_new(8192);
    struct client *staff = client_of("bob", "staff");
    boards_offered(&staff->x, &route, small, &o);
    client_free(staff);
    assert_true(arena_failed(small));
    assert_int_equal(o.n, 0);
    assert_null(boards_json(small, &o).p);
    arena_free(small);
    client_free(c);
}

// --- as an answer

static void test_a_browser_gets_the_page(void **state)
{
    (void)state;
    add_board(0, "greenhouse", true, "reset");
    add_board(1, "lamp", true, "flash <b>\"&");
    struct client *c = maker();
    c->x.navigation = true;
    boards_serve(&c->x, &route);
    assert_int_equal(c->x.status, 200);
    assert_true(c->ended);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/html; charset=utf-8"));
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_script_csp));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_true(str_eq_c(field(c, "X-Frame-Options"), "DENY"));
    assert_true(str_eq_c(field(c, "Referrer-Policy"), "no-referrer"));
    assert_int_equal(count(c, "<bdi>lamp</bdi>"), 1);
    assert_int_equal(count(c, "&lt;b&gt;&quot;&amp;"), 1);
    assert_int_equal(count(c, "greenhouse"), 0); // nothing there that they may call
    assert_int_equal(count(c, "reset"), 0);
    assert_int_equal(c->x.length, (int64_t)c->n);
    client_free(c);
}

static void test_a_program_gets_json(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash admin");
    struct client *c = maker();
    boards_serve(&c->x, &route);
    assert_true(str_eq_c(field(c, "Content-Type"), "application/json"));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_in(c, "{\"boards\":[{\"name\":\"lamp\",\"online\":true,\"functions\":["
                 "{\"name\":\"flash\",\"online\":true}]}]}");
    client_free(c);
}

// Only the page of boards lets a script run.
static void test_other_pages_have_no_script(void **state)
{
    (void)state;
    struct client *c = maker();
    answer_page(&c->x, 200, STR("x"));
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_csp));
    client_free(c);
    c = maker();
    c->x.navigation = true;
    answer_failure(&c->x, ERR_NOT_FOUND, "test");
    assert_true(str_eq_c(field(c, "Content-Security-Policy"), page_csp));
    client_free(c);
}

static void test_short_of_memory_is_said(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    for (int navigation = 0; navigation < 2; navigation++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct client *c = maker();
            c->x.navigation = navigation;
            mem_fail_at(n);
            boards_serve(&c->x, &route);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(c->ended);
            assert_int_equal(c->x.status, failed ? 503 : 200);
            client_free(c);
        }
    }
}

// --- events

#define LAMP_ON                                                                                              \
    "event: boards\ndata: {\"boards\":[{\"name\":\"lamp\",\"online\":true,\"functions\":["                   \
    "{\"name\":\"flash\",\"online\":true}]}]}\n\n"
#define LAMP_OFF                                                                                             \
    "event: boards\ndata: {\"boards\":[{\"name\":\"lamp\",\"online\":false,\"functions\":["                  \
    "{\"name\":\"flash\",\"online\":false}]}]}\n\n"

static struct client *listener(struct client *c)
{
    events_serve(&c->x, &route);
    return c;
}

static void change(void)
{
    assert_non_null(rig->watch);
    rig->watch->changed(rig->watch);
}

static void look(void)
{
    fire(&rig->events.looking);
}

static void assert_nobody_looks(void)
{
    assert_null(rig->events.looking.next);
}

static void test_the_first_event_comes_at_once(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash admin");
    struct client *c = listener(maker());
    assert_int_equal(c->x.status, 200);
    assert_int_equal(c->x.length, -1);
    assert_true(c->x.endless);
    assert_int_equal(rig->watched_sessions, 1);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/event-stream"));
    assert_true(str_eq_c(field(c, "Cache-Control"), "no-store"));
    assert_true(str_eq_c(field(c, "X-Content-Type-Options"), "nosniff"));
    assert_true(str_eq_c(field(c, "Strict-Transport-Security"), "max-age=31536000"));
    assert_true(field(c, "Date").n > 0);
    assert_in(c, LAMP_ON);
    assert_true(c->flushes > 0);
    assert_false(c->ended);
    assert_nobody_looks();
    client_free(c);
}

static void test_even_nothing_is_an_event(void **state)
{
    (void)state;
    struct client *c = listener(maker());
    assert_in(c, "event: boards\ndata: {\"boards\":[]}\n\n");
    client_free(c);
}

static void test_what_changes_is_told_once(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = listener(maker());
    forget(c);
    rig->boards[0].online = false;
    for (int i = 0; i < 10; i++) change();
    assert_in(c, ""); // soon, and not now
    look();
    assert_in(c, LAMP_OFF);
    assert_nobody_looks();
    client_free(c);
}

static void test_what_a_visitor_may_not_see_is_no_change(void **state)
{
    (void)state;
    add_board(0, "hidden", true, "flash");
    add_board(1, "lamp", true, "flash");
    struct client *c = listener(maker()), *staff = listener(client_of("bob", "staff"));
    forget(c);
    forget(staff);
    rig->boards[0].online = false;
    change();
    look();
    assert_int_equal(c->n, 0);
    add_board(1, "lamp", true, "flash admin");
    change();
    look();
    assert_int_equal(c->n, 0);
    assert_int_equal(count(staff, "event: boards"), 1);
    assert_int_equal(count(staff, "admin"), 1);
    client_free(c);
    client_free(staff);
}

static void test_a_change_and_back_is_none(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = listener(maker());
    forget(c);
    rig->boards[0].online = false;
    change();
    rig->boards[0].online = true;
    change();
    look();
    assert_int_equal(c->n, 0);
    client_free(c);
}

static void test_a_slow_reader_has_one_state_to_read(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = maker();
    c->room = 10;
    listener(c);
    assert_int_equal(c->n, 10);
    size_t decisions = rig->decisions;
    for (int i = 0; i < 100; i++) {
        rig->boards[0].online = i % 2;
        change();
        if (rig->events.looking.next) look();
    }
    rig->boards[0].online = false;
    assert_int_equal(c->n, 10);
    assert_int_equal(rig->decisions, decisions); // nobody composes what nobody takes
    fire(rig->ping);                             // nor is a ping put into the middle of it
    assert_int_equal(c->n, 10);
    c->room = 7;
    c->x.on_writable(&c->x);
    assert_int_equal(c->n, 17);
    c->room = SIZE_MAX;
    c->x.on_writable(&c->x);
    assert_in(c, LAMP_ON); // the one that had begun, whole
    look();
    assert_in(c, LAMP_ON LAMP_OFF); // and then the last
    assert_nobody_looks();
    c->x.on_writable(&c->x); // nothing is left
    assert_in(c, LAMP_ON LAMP_OFF);
    client_free(c);
}

static void test_a_slow_reader_may_leave(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *c = maker();
    c->room = 10;
    listener(c);
    change();
    client_free(c); // what it did not take is freed
    assert_null(rig->watch);
    assert_nobody_looks();
}

static void test_silence_is_broken_by_pings(void **state)
{
    (void)state;
    struct client *c = listener(maker());
    struct timer *ping = rig->ping;
    forget(c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ping->at, 20000);
        int flushes = c->flushes;
        fire(ping);
        assert_true(c->flushes > flushes);
    }
    assert_in(c, ": ping\n\n: ping\n\n: ping\n\n");
    client_free(c);
}

static void test_streams_of_one_visitor_are_limited(void **state)
{
    (void)state;
    struct client *v[LIMIT_PICO_EVENT_STREAMS_USER];
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS_USER; i++) v[i] = listener(maker());
    struct client *more = listener(maker());
    assert_int_equal(more->x.status, 503);
    assert_int_equal(more->x.err.code, ERR_PICO_STREAMS);
    assert_true(more->ended);
    client_free(more);
    // The same name at another provider is somebody else.
    struct client *other = maker();
    other->x.session.identity.provider = STR("google");
    assert_int_equal(listener(other)->x.status, 200);
    client_free(v[0]);
    more = listener(maker());
    assert_int_equal(more->x.status, 200);
    client_free(more);
    client_free(other);
    for (int i = 1; i < LIMIT_PICO_EVENT_STREAMS_USER; i++) client_free(v[i]);
}

static struct client *listener_number(int i)
{
    struct client *c = maker();
    c->x.session.identity.subject = arena_printf(c->x.arena, "u%d", i);
    return listener(c);
}

static void test_streams_of_a_worker_are_limited(void **state)
{
    (void)state;
    static struct client *v[LIMIT_PICO_EVENT_STREAMS];
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS; i++) {
        v[i] = listener_number(i);
        assert_int_equal(v[i]->x.status, 200);
    }
    struct client *more = listener_number(-1);
    assert_int_equal(more->x.status, 503);
    assert_int_equal(more->x.err.code, ERR_PICO_STREAMS);
    client_free(more);
    for (int i = 0; i < LIMIT_PICO_EVENT_STREAMS; i++) client_free(v[i]);
}

// Many streams, many boards, and boards that come and go without pause: one look costs no more than its
// share, and everybody's turn comes.
static void test_looks_are_shared_out(void **state)
{
    (void)state;
    enum { STREAMS = 40, BOARDS = 500 };
    struct client *v[STREAMS];
    for (size_t i = 0; i < BOARDS; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, "flash water");
    }
    for (int i = 0; i < STREAMS; i++) {
        v[i] = listener_number(i);
        forget(v[i]);
    }
    int looks = 0;
    for (; looks < 100; looks++) {
        rig->boards[looks].online = false;
        change();
        size_t before = rig->decisions;
        look();
        assert_in_range(rig->decisions - before, 1, 4096 + 2 * BOARDS);
        int told = 0;
        for (int i = 0; i < STREAMS; i++) told += v[i]->n > 0;
        if (told == STREAMS) break;
    }
    assert_in_range(looks, 10, 14);
    while (rig->events.looking.next) look();
    for (int i = 0; i < STREAMS; i++) {
        forget(v[i]);
        client_free(v[i]);
    }
}

// A single look at very many boards takes its time; the next one comes the later.
static void test_an_expensive_look_is_followed_by_a_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < BOARDS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "board-%04zu", i);
        add_board(i, name, true, "flash water reset admin");
    }
    struct client *c = listener(maker());
    rig->worker.loop.now_ms = 5000;
    change();
    assert_int_equal(rig->events.looking.at, 100);
    look();
    rig->worker.loop.now_ms = 5050;
    change();
    assert_int_equal(rig->events.looking.at, 450);
    rig->events.looking.next = NULL;
    rig->worker.loop.now_ms = 6000;
    change();
    assert_int_equal(rig->events.looking.at, 100);
    client_free(c);
}

static void test_leaving_while_others_are_looked_at(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    struct client *v[3];
    for (int i = 0; i < 3; i++) {
        v[i] = listener_number(i);
        forget(v[i]);
    }
    rig->boards[0].online = false;
    change();
    client_free(v[1]);
    look();
    assert_in(v[0], LAMP_OFF);
    assert_in(v[2], LAMP_OFF);
    client_free(v[2]);
    assert_non_null(rig->watch);
    client_free(v[0]);
    assert_null(rig->watch);
}

// Without memory for the next state, a stream ends, and the page comes back; the others go on.
static void test_without_memory_a_stream_ends(void **state)
{
    (void)state;
    bool failed = true;
    for (long n = 1; failed; n++) {
        add_board(0, "lamp", true, "flash");
        struct client *first = listener_number(1), *second = listener_number(2);
        rig->boards[0].online = false;
        first->room = second->room = 30; // so that something has to be kept as well
        forget(first);
        forget(second);
        change();
        mem_fail_at(n);
        look();
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(first->aborted + second->aborted, failed);
        assert_int_equal(rig->events.n, failed ? 1 : 2);
        client_free(first);
        client_free(second);
    }
}

static void test_a_stream_that_cannot_begin(void **state)
{
    (void)state;
    add_board(0, "lamp", true, "flash");
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct client *c = maker();
        mem_fail_at(n);
        events_serve(&c->x, &route);
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rig->events.n, failed ? 0 : 1);
        assert_true(failed == (c->ended || c->aborted));
        client_free(c);
    }
}

static void test_draining_ends_all_and_lets_nobody_in(void **state)
{
    (void)state;
    struct client *a = listener_number(1), *b = listener_number(2);
    rig->worker.draining = true;
    events_drain(rig->worker.relay);
    assert_true(a->ended && b->ended);
    assert_int_equal(rig->events.n, 0);
    assert_null(rig->watch);
    struct client *late = listener_number(3);
    assert_int_equal(late->x.status, 503);
    assert_int_equal(late->x.err.code, ERR_DRAINING);
    client_free(a);
    client_free(b);
    client_free(late);
}

static void test_a_head_is_a_head(void **state)
{
    (void)state;
    struct client *c = maker();
    c->x.req.method = STR("HEAD");
    listener(c);
    assert_true(c->head && c->ended);
    assert_int_equal(c->n, 0);
    assert_true(str_eq_c(field(c, "Content-Type"), "text/event-stream"));
    assert_int_equal(rig->events.n, 0);
    client_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_only_what_may_be_called_is_told),
        TEST(test_names_are_text_in_json),
        TEST(test_the_order_of_registration_does_not_matter),
        TEST(test_a_list_without_end_is_cut),
        TEST(test_the_longest_list_can_be_composed),
        TEST(test_half_a_list_is_none),
        TEST(test_a_browser_gets_the_page),
        TEST(test_a_program_gets_json),
        TEST(test_other_pages_have_no_script),
        TEST(test_short_of_memory_is_said),
        TEST(test_the_first_event_comes_at_once),
        TEST(test_even_nothing_is_an_event),
        TEST(test_what_changes_is_told_once),
        TEST(test_what_a_visitor_may_not_see_is_no_change),
        TEST(test_a_change_and_back_is_none),
        TEST(test_a_slow_reader_has_one_state_to_read),
        TEST(test_a_slow_reader_may_leave),
        TEST(test_silence_is_broken_by_pings),
        TEST(test_streams_of_one_visitor_are_limited),
        TEST(test_streams_of_a_worker_are_limited),
        TEST(test_looks_are_shared_out),
        TEST(test_an_expensive_look_is_followed_by_a_rest),
        TEST(test_leaving_while_others_are_looked_at),
        TEST(test_without_memory_a_stream_ends),
        TEST(test_a_stream_that_cannot_begin),
        TEST(test_draining_ends_all_and_lets_nobody_in),
        TEST(test_a_head_is_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
