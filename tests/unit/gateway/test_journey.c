// SPDX-License-Identifier: GPL-3.0-or-later
// The order of the journey is a promise: scrub before identity, decision before proxy. And what the
// application is told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "gateway/journey/identity_headers.h"
#include "gateway/journey/request.h"

static void test_order_of_the_phases(void **state)
{
    (void)state;
    static const char *const order[] = { "normalise", "client",  "scrub",    "plain",  "route",
                                         "uplink",    "session", "decide",   "answer", "redirect",
                                         "body",      "upgrade", "identity", "proxy" };
    assert_int_equal(request_phase_count, sizeof order / sizeof *order);
    for (size_t i = 0; i < request_phase_count; i++) assert_string_equal(request_phases[i].name, order[i]);
}

static struct str field(const struct http_fields *f, const char *name)
{
    struct str found = STR_NONE;
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed || !str_eq_nocase(f->v[i].name, str_c(name))) continue;
        assert_null(found.p); // never twice
        found = f->v[i].value;
    }
    return found;
}

static struct http_fields *fields_for(struct arena *a, unsigned presets, const struct identity *id)
{
    struct http_fields *f = arena_alloc(a, sizeof *f);
    assert_true(identity_headers_set(a, f, presets, id));
    return f;
}

static const struct identity ann = {
    .provider = STR_INIT("corp"),
    .subject = STR_INIT("s-1"),
    .email = STR_INIT("ann@example.com"),
    .email_verified = true,
    .username = STR_INIT("ann"),
    .groups = { (struct str[]){ STR_INIT("staff"), STR_INIT("a,admins"), STR_INIT(" admins"),
                                STR_INIT("admins "), STR_INIT(""), STR_INIT("it") },
                6 },
};

static void test_presets_say_who_it_is(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = fields_for(a, IDENTITY_SALLYPORT, &ann);
    assert_true(str_eq_c(field(f, "X-Sallyport-User"), "ann"));
    assert_true(str_eq_c(field(f, "X-Sallyport-Email"), "ann@example.com"));
    assert_null(field(f, "X-Sallyport-Name").p); // unknown: not sent at all
    assert_null(field(f, "Remote-User").p);
    f = fields_for(a, IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &ann);
    assert_true(str_eq_c(field(f, "X-Forwarded-User"), "s-1"));
    assert_true(str_eq_c(field(f, "X-Forwarded-Preferred-Username"), "ann"));
    assert_true(str_eq_c(field(f, "Remote-User"), "ann"));
    assert_null(field(f, "X-Sallyport-User").p);
    assert_int_equal(fields_for(a, IDENTITY_NONE, &ann)->n, 0);
    assert_int_equal(fields_for(a, IDENTITY_SALLYPORT, NULL)->n, 0);
    arena_free(a);
}

static void test_an_unverified_address_is_not_told(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct identity id = ann;
    id.email_verified = false;
    id.username = STR_NONE;
    struct http_fields *f =
        fields_for(a, IDENTITY_SALLYPORT | IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &id);
    assert_null(field(f, "X-Sallyport-Email").p);
    assert_null(field(f, "X-Forwarded-Email").p);
    assert_null(field(f, "Remote-Email").p);
    assert_true(str_eq_c(field(f, "X-Sallyport-User"), "s-1"));
    assert_true(str_eq_c(field(f, "Remote-User"), "s-1"));
    arena_free(a);
}

static void test_a_group_reads_as_itself_or_not_at_all(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = fields_for(a, IDENTITY_SALLYPORT, &ann);
    assert_true(str_eq_c(field(f, "X-Sallyport-Groups"), "staff,it"));
    arena_free(a);
}

static void test_a_name_that_readers_would_trim_is_not_told(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct identity evil = ann;
    evil.username = STR(" admin");
    evil.subject = STR("s-1 ");
    struct http_fields *f =
        fields_for(a, IDENTITY_SALLYPORT | IDENTITY_OAUTH2_PROXY | IDENTITY_REMOTE_USER, &evil);
    assert_null(field(f, "X-Sallyport-User").p);
    assert_null(field(f, "Remote-User").p);
    assert_null(field(f, "X-Forwarded-Preferred-Username").p);
    assert_null(field(f, "X-Forwarded-User").p);
    assert_true(str_eq_c(field(f, "X-Sallyport-Email"), "ann@example.com"));
    arena_free(a);
}

static void test_a_line_break_in_a_name_is_not_forwarded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = arena_alloc(a, sizeof *f);
    struct identity evil = ann;
    evil.name = STR("x\r\nX-Sallyport-Groups: admins");
    assert_false(identity_headers_set(a, f, IDENTITY_SALLYPORT, &evil));
    arena_free(a);
}

static void test_too_many_fields_are_not_forwarded(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct http_fields *f = arena_alloc(a, sizeof *f);
    while (http_fields_add(f, FIELD_OTHER, STR("X"), STR("y"))) continue;
    assert_false(identity_headers_set(a, f, IDENTITY_SALLYPORT, &ann));
    arena_free(a);
}

// --- the session phase, with a store that says what the test wants

static enum err_code store_says;
enum store_read __wrap_store_session_read(struct store_reader *r, struct arena *a,
                                          const struct store_key *key, struct store_version *version,
                                          struct session *ret, struct err *err);
enum store_read __wrap_store_session_read(struct store_reader *r, struct arena *a,
                                          const struct store_key *key, struct store_version *version,
                                          struct session *ret, struct err *err)
{
    (void)r, (void)a, (void)key, (void)version;
    if (store_says != ERR_NONE) return err_set(err, store_says, "as the test wants"), STORE_FAILED;
    *ret = (struct session){ .identity = ann, .last_seen = 1000, .expires = 2000 };
    return STORE_READ;
}

static bool take_head(struct exchange *x)
{
    (void)x;
    return true;
}

static size_t take_body(struct exchange *x, struct str data)
{
    (void)x;
    return data.n;
}

static void take_end(struct exchange *x)
{
    (void)x;
}

// Runs the phase for a visitor with a good cookie of ours; gives the status of the answer, 0: the journey
// goes on.
static int run_session_phase(struct arena *a, const struct config *c, struct exchange *x)
{
    static const struct engine engine = { .head = take_head, .write = take_body, .end = take_end };
    struct shared *shared = arena_alloc(a, sizeof *shared);
    struct worker *worker = arena_alloc(a, sizeof *worker);
    uint8_t master[SEAL_KEY_BYTES] = { 7 }, id[SESSION_ID_BYTES] = { 1 };
    shared->config = c;
    assert_true(session_keys_derive(master, &shared->keys));
    worker->shared = shared;
    worker->loop.now = 1000;
    *x =
        (struct exchange){ .worker = worker, .engine = &engine, .arena = a, .host = STR("wiki.example.com") };
    struct str cookie = session_cookie_make(a, &shared->keys, x->host, id, 1000);
    http_fields_add(&x->req.fields, FIELD_COOKIE, STR("Cookie"),
                    arena_printf(a, SESSION_COOKIE "=%.*s", STR_FMT(cookie)));
    enum phase_result result = PHASE_DONE;
    for (size_t i = 0; i < request_phase_count; i++)
        if (!strcmp(request_phases[i].name, "session")) result = request_phases[i].run(x);
    session_cache_release(x->kept_session);
    session_cache_clear(&worker->sessions);
    return result == PHASE_NEXT ? 0 : x->status;
}

// A store that fails must not turn everybody into visitors who are not logged in: public pages would show
// them another face, and logins would pile up.
static void test_only_an_answer_of_the_store_ends_a_session(void **state)
{
    (void)state;
    struct arena *a = arena_new(8 << 20);
    struct exchange *x = arena_alloc(a, sizeof *x);
    struct provider corp = { .key = STR("corp") };
    const struct config c = { .providers = &corp, .nproviders = 1, .session_idle = 3600 },
                        without = { .session_idle = 3600 };
    store_says = ERR_NONE;
    assert_int_equal(run_session_phase(a, &c, x), 0);
    assert_true(x->has_session && !x->stale_cookie);
    assert_int_equal(run_session_phase(a, &without, x), 0); // its provider is configured no more
    assert_true(!x->has_session && x->stale_cookie);
    store_says = ERR_SESSION_UNKNOWN;
    assert_int_equal(run_session_phase(a, &c, x), 0);
    assert_true(!x->has_session && x->stale_cookie);
    static const enum err_code ours[] = { ERR_STORE, ERR_NO_MEMORY, ERR_INTERNAL, ERR_CRYPTO };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        store_says = ours[i];
        assert_in_range(run_session_phase(a, &c, x), 500, 599);
        assert_true(!x->has_session && !x->stale_cookie);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_the_phases),
        cmocka_unit_test(test_presets_say_who_it_is),
        cmocka_unit_test(test_an_unverified_address_is_not_told),
        cmocka_unit_test(test_a_group_reads_as_itself_or_not_at_all),
        cmocka_unit_test(test_a_name_that_readers_would_trim_is_not_told),
        cmocka_unit_test(test_a_line_break_in_a_name_is_not_forwarded),
        cmocka_unit_test(test_only_an_answer_of_the_store_ends_a_session),
        cmocka_unit_test(test_too_many_fields_are_not_forwarded),
    };
    return cmocka_run_group_tests_name("journey", tests, NULL, NULL);
}
