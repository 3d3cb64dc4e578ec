// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/wire.h"
#include "policy/identity.h"

enum { ARENA = 1024 * 1024 };

static struct str groups[] = { STR_INIT("staff"), STR_INIT("admins") };
static struct str departments[] = { STR_INIT("it"), STR_INIT("") };
static struct claim claims[] = { { STR_INIT("department"), { departments, 2 } },
                                 { STR_INIT("empty"), { NULL, 0 } } };

static struct identity sample(void)
{
    return (struct identity){
        .provider = STR("corp"),
        .subject = STR("s-1"),
        .email = STR("ann@example.com"),
        .email_verified = true,
        .username = STR("ann"),
        .name = STR("Ann Ex\xc3\xa4mple"),
        .groups = { groups, 2 },
        .groups_known = true,
        .claims = claims,
        .nclaims = 2,
        .auth_time = 1700000000,
        .not_after = 1700003600,
        .name_id = STR("nid"),
        .name_id_format = STR("urn:f"),
        .name_qualifier = STR("nq"),
        .sp_name_qualifier = STR("sq"),
        .session_index = STR("si"),
        .sid = STR("sid"),
    };
}

static void assert_same_list(struct strlist got, struct strlist want)
{
    assert_int_equal(got.n, want.n);
    for (size_t i = 0; i < got.n; i++) assert_true(str_eq(got.v[i], want.v[i]));
}

static void assert_same(const struct identity *a, const struct identity *b)
{
    const struct str *x = &a->provider, *y = &b->provider;
    assert_true(str_eq(*x, *y));
    assert_true(str_eq(a->subject, b->subject));
    assert_true(str_eq(a->email, b->email));
    assert_int_equal(a->email_verified, b->email_verified);
    assert_true(str_eq(a->username, b->username));
    assert_true(str_eq(a->name, b->name));
    assert_same_list(a->groups, b->groups);
    assert_int_equal(a->groups_known, b->groups_known);
    assert_int_equal(a->groups_overage, b->groups_overage);
    assert_int_equal(a->auth_time, b->auth_time);
    assert_int_equal(a->not_after, b->not_after);
    assert_true(str_eq(a->name_id, b->name_id));
    assert_true(str_eq(a->name_id_format, b->name_id_format));
    assert_true(str_eq(a->name_qualifier, b->name_qualifier));
    assert_true(str_eq(a->sp_name_qualifier, b->sp_name_qualifier));
    assert_true(str_eq(a->session_index, b->session_index));
    assert_true(str_eq(a->sid, b->sid));
    assert_int_equal(a->nclaims, b->nclaims);
    for (size_t i = 0; i < a->nclaims; i++) {
        assert_true(str_eq(a->claims[i].name, b->claims[i].name));
        assert_same_list(a->claims[i].values, b->claims[i].values);
    }
}

static void test_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct identity in = sample(), out;
    struct err err;
    assert_true(identity_decode(a, identity_encode(a, &in), &out, &err));
    assert_same(&in, &out);
    struct identity small = { .provider = STR("p"), .subject = STR("s"), .groups_overage = true };
    assert_true(identity_decode(a, identity_encode(a, &small), &out, &err));
    assert_same(&small, &out);
    assert_null(out.email.p);
    arena_free(a);
}

static void test_decode_refuses_every_truncation(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct identity in = sample(), out = { 0 };
    struct str whole = identity_encode(a, &in);
    size_t accepted = 0;
    for (size_t n = 0; n < whole.n; n++) {
        struct err err = { 0 };
        struct str part = arena_str(a, str_take(whole, n));
        if (identity_decode(a, part, &out, &err))
            accepted++; // cut between two fields after the required ones: a shorter identity, not a damaged
                        // one
        else
            assert_int_equal(err.code, ERR_WIRE);
        arena_clear(a);
        whole = identity_encode(a, &in);
    }
    assert_in_range(accepted, 1, 24);
    arena_free(a);
}

static struct str minimal(struct wire_writer *w, struct arena *a)
{
    wire_init(w, a, ARENA);
    wire_put(w, 1, STR("corp"));
    wire_put(w, 2, STR("s"));
    return wire_done(w);
}

static void assert_refused(struct arena *a, struct wire_writer *w)
{
    struct identity out;
    struct err err = { 0 };
    assert_false(identity_decode(a, wire_done(w), &out, &err));
    assert_int_equal(err.code, ERR_WIRE);
}

static void test_decode_refuses_damage(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 * ARENA);
    struct wire_writer w;
    struct identity out;
    struct err err;
    assert_true(identity_decode(a, minimal(&w, a), &out, &err));

    wire_put(&w, 2, STR("other")); // two subjects
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 4, STR("\2")); // a flag that is neither
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 11, STR("1234")); // a short number
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 5, STR("a\nb"));
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 7, STR("sta\xff"));
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 3, STR("a@evil.com@corp.com"));
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 10, STR("\0\1")); // a claim that is no message
    assert_refused(a, &w);
    minimal(&w, a);
    wire_put(&w, 10, STR("")); // a claim without a name
    assert_refused(a, &w);

    wire_init(&w, a, ARENA);
    wire_put(&w, 1, STR("corp"));
    assert_refused(a, &w); // no subject
    wire_init(&w, a, ARENA);
    wire_put(&w, 2, STR("s"));
    assert_refused(a, &w); // no provider
    arena_free(a);
}

static void test_decode_is_bounded(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 * ARENA);
    struct wire_writer w;
    struct identity out;
    struct err err;
    minimal(&w, a);
    for (size_t i = 0; i < LIMIT_ATTRIBUTE_VALUES; i++) wire_put(&w, 7, STR("g"));
    assert_true(identity_decode(a, wire_done(&w), &out, &err));
    wire_put(&w, 7, STR("g"));
    assert_refused(a, &w);
    struct wire_writer part;
    wire_init(&part, a, 100);
    wire_put(&part, 19, STR("name"));
    minimal(&w, a); // values count together, wherever they stand
    for (size_t i = 0; i < LIMIT_ATTRIBUTE_VALUES; i++) wire_put(&w, 7, STR("g"));
    wire_put(&w, 10, wire_done(&part));
    assert_true(identity_decode(a, wire_done(&w), &out, &err));
    wire_put(&part, 20, STR("one more"));
    wire_put(&w, 10, wire_done(&part));
    assert_refused(a, &w);
    wire_init(&part, a, 100);
    wire_put(&part, 19, STR("name"));
    minimal(&w, a);
    for (size_t i = 0; i < LIMIT_ATTRIBUTES; i++) wire_put(&w, 10, wire_done(&part));
    assert_true(identity_decode(a, wire_done(&w), &out, &err));
    wire_put(&w, 10, wire_done(&part));
    assert_refused(a, &w);
    arena_free(a);
}

static void test_decode_skips_unknown_fields(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct wire_writer w;
    struct identity out;
    struct err err;
    minimal(&w, a);
    wire_put(&w, 9999, STR("from the future"));
    assert_true(identity_decode(a, wire_done(&w), &out, &err));
    assert_true(str_eq_c(out.subject, "s"));
    arena_free(a);
}

static void test_encode_refuses_what_is_too_large(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 * ARENA);
    static char big[LIMIT_IDENTITY_BYTES];
    memset(big, 'x', sizeof big);
    struct identity id = sample();
    id.name = (struct str){ big, sizeof big - 10 };
    assert_null(identity_encode(a, &id).p);
    struct str value[] = { { big, sizeof big - 10 } };
    struct claim claim = { STR("c"), { value, 1 } };
    id = (struct identity){ .provider = STR("p"), .subject = STR("s"), .claims = &claim, .nclaims = 1 };
    assert_null(identity_encode(a, &id).p);
    arena_free(a);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct identity in = sample(), out;
    for (long n = 1;; n++) {
        mem_fail_at(n);
        struct arena *a = arena_new(ARENA);
        struct err err = { 0 };
        bool ok = false;
        if (a) {
            // Use the arena up so that each step needs a block of its own.
            arena_alloc(a, 4096 - 64);
            struct str bytes = identity_encode(a, &in);
            ok = bytes.p && identity_decode(a, bytes, &out, &err);
        }
        bool fired = mem_failed();
        mem_fail_at(0);
        assert_true(ok || fired);
        if (ok) assert_same(&in, &out);
        arena_free(a);
        if (!fired) break;
        assert_true(n < 1000);
    }
}

static void test_email_domain(void **state)
{
    (void)state;
    assert_true(str_eq_c(email_domain(STR("ann@example.com")), "example.com"));
    assert_null(email_domain(STR("a@evil.com@corp.com")).p);
    assert_null(email_domain(STR("corp.com")).p);
    assert_null(email_domain(STR("@corp.com")).p);
    assert_null(email_domain(STR("ann@")).p);
    assert_null(email_domain(STR("ann@@corp.com")).p);
    assert_null(email_domain(STR("")).p);
    assert_null(email_domain(STR_NONE).p);
}

static void test_claims_are_found_by_exact_name(void **state)
{
    (void)state;
    struct identity id = sample();
    assert_int_equal(identity_claim(&id, STR("department")).n, 2);
    assert_int_equal(identity_claim(&id, STR("Department")).n, 0);
    assert_int_equal(identity_claim(&id, STR("groups")).n, 0); // a field is not a claim
}

static void test_label(void **state)
{
    (void)state;
    struct identity id = sample();
    assert_true(str_eq_c(identity_label(&id), "ann"));
    id.username = STR_NONE;
    assert_true(str_eq_c(identity_label(&id), "ann@example.com"));
    id.email_verified = false; // an address that anybody could have typed in names nobody
    assert_true(str_eq_c(identity_label(&id), "s-1"));
    id.email_verified = true;
    id.email = STR_NONE;
    assert_true(str_eq_c(identity_label(&id), "s-1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_decode_refuses_every_truncation),
        cmocka_unit_test(test_decode_refuses_damage),
        cmocka_unit_test(test_decode_is_bounded),
        cmocka_unit_test(test_decode_skips_unknown_fields),
        cmocka_unit_test(test_encode_refuses_what_is_too_large),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_email_domain),
        cmocka_unit_test(test_claims_are_found_by_exact_name),
        cmocka_unit_test(test_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
