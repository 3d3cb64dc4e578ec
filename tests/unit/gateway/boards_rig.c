// SPDX-License-Identifier: GPL-3.0-or-later
#include "boards_rig.h"

#include <stdlib.h>
#include <string.h>

// --- the directory, policy's question, and clocks

struct rig *rig;

static struct rule rules[] = {
    { .devices = { (struct str[]){ STR_INIT("hidden") }, 1 } },
    { .allow = true,
      .groups = { (struct str[]){ STR_INIT("makers") }, 1 },
      .functions = { (struct str[]){ STR_INIT("flash"), STR_INIT("water"), STR_INIT("<b>\"&") }, 3 } },
    { .allow = true, .groups = { (struct str[]){ STR_INIT("staff") }, 1 } },
};
static const struct policy policy = { STR_INIT("makers"), rules, 3 };
const struct route route = { STR_INIT("pico.example.com"), STR_INIT("/"), &policy, { NULL, 0 }, NULL, 1 };

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

void fire(struct timer *t)
{
    assert_non_null(t->next);
    t->next = t->prev = NULL;
    t->fire(t);
}

void add_board(size_t i, const char *name, bool connected, const char *functions)
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

int boards_setup(void **state)
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

int boards_teardown(void **state)
{
    (void)state;
    assert_int_equal(rig->events.n, 0);
    assert_null(rig->watch);
    arena_free(rig->arena);
    free(rig);
    return 0;
}

// --- a client

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

struct client *client_of(const char *subject, const char *group)
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

struct client *maker(void)
{
    return client_of("ann", "makers");
}

void client_free(struct client *c)
{
    if (c->x.engine) release(&c->x);
    arena_free(c->x.arena);
    free(c->in);
    free(c);
}

struct str field(const struct client *c, const char *name)
{
    struct str found = STR_NONE;
    for (size_t i = 0; i < c->x.answer.n; i++) {
        if (c->x.answer.v[i].removed || !str_eq_nocase(c->x.answer.v[i].name, str_c(name))) continue;
        assert_null(found.p);
        found = c->x.answer.v[i].value;
    }
    return found;
}

void assert_in(const struct client *c, const char *want)
{
    if (strcmp(c->in ? c->in : "", want) != 0) fail_msg("'%s', not '%s'", c->in, want);
}

size_t count(const struct client *c, const char *text)
{
    size_t n = 0;
    for (const char *p = c->in; p && (p = strstr(p, text)); p++) n++;
    return n;
}

void forget(struct client *c)
{
    c->n = 0;
    if (c->in) c->in[0] = '\0';
}
