// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/wire.h"
#include "gateway/process/control.h"
#include "gateway/verifier/verify_proto.h"

static struct str list_values[] = { STR_INIT("a"), STR_INIT("") };
static const struct strlist list = { list_values, 2 };

static struct verify_request full_request(void)
{
    return (struct verify_request){
        .kind = VERIFY_SETUP,
        .id = 7,
        .now = 1700000000,
        .provider = STR("corp"),
        .text = { "x\0y", 3 },
        .jwks = STR("{}"),
        .request_id = STR("_1"),
        .relay_state = STR(""),
        .nonce = STR("n"),
        .identity = STR("i"),
        .sp = { STR("e"), STR("k"), STR("c"), STR("b"), list, STR("o") },
        .saml = { .entity_id = STR("idp"),
                  .metadata_certificate_pem = STR("pem"),
                  .name_id_format = STR("f"),
                  .authn_context = list,
                  .force_authn = true,
                  .allow_unsolicited = true,
                  .allow_sha1 = true,
                  .allow_cbc = true },
        .oidc = { .issuer = STR("https://i"),
                  .client_id = STR("cid"),
                  .client_secret = STR("never sent"),
                  .token_auth = OIDC_AUTH_POST,
                  .scopes = list,
                  .algorithms = OIDC_RS256 | OIDC_EDDSA,
                  .userinfo = true },
        .mapping = { list, list, list, list, list },
        .clock_skew = -3,
    };
}

static void assert_str(struct str got, struct str want)
{
    assert_int_equal(got.p == NULL, want.p == NULL);
    assert_true(str_eq(got, want));
}

static void assert_list(struct strlist got)
{
    assert_int_equal(got.n, 2);
    assert_str(got.v[0], STR("a"));
    assert_str(got.v[1], STR(""));
}

static void test_request_round_trip(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_request q = full_request(), d;
    struct err err;
    assert_true(verify_request_decode(a, verify_request_encode(a, &q), &d, &err));
    assert_int_equal(d.kind, VERIFY_SETUP);
    assert_int_equal(d.id, 7);
    assert_int_equal(d.now, 1700000000);
    assert_str(d.text, q.text);
    assert_str(d.relay_state, STR(""));
    assert_str(d.sp.base_url, q.sp.base_url);
    assert_list(d.sp.providers);
    assert_list(d.saml.authn_context);
    assert_true(d.saml.force_authn && d.saml.allow_unsolicited && d.saml.allow_sha1 && d.saml.allow_cbc);
    assert_str(d.saml.provider, STR("corp"));
    assert_str(d.saml.metadata_certificate_pem, STR("pem"));
    assert_str(d.oidc.issuer, STR("https://i"));
    assert_int_equal(d.oidc.token_auth, OIDC_AUTH_POST);
    assert_int_equal(d.oidc.algorithms, OIDC_RS256 | OIDC_EDDSA);
    assert_true(d.oidc.userinfo);
    assert_list(d.oidc.mapping.groups);
    assert_list(d.saml.mapping.email);
    assert_int_equal(d.saml.clock_skew, -3);
    assert_int_equal(d.oidc.clock_skew, -3);
    arena_free(a);
}

static void test_client_secret_stays_with_the_gateway(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_request q = full_request();
    struct str bytes = verify_request_encode(a, &q);
    assert_int_equal(str_search(bytes, STR("never sent")), bytes.n);
    arena_free(a);
}

static void test_absent_stays_absent(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_request q = { .kind = VERIFY_SAML_RESPONSE,
                                .id = 1,
                                .now = 1,
                                .provider = STR("p"),
                                .text = STR("t") },
                          d;
    struct err err;
    assert_true(verify_request_decode(a, verify_request_encode(a, &q), &d, &err));
    assert_null(d.request_id.p); // absent means unsolicited, which is refused: it must not turn into "any"
    assert_int_equal(d.saml.mapping.groups.n, 0);
    assert_false(d.saml.allow_unsolicited);
    arena_free(a);
}

static void test_reply_round_trip(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct err err;
    struct verify_reply r = { .id = 9,
                              .last = true,
                              .url = STR("u"),
                              .identity = STR("i"),
                              .assertion_id = STR("_a"),
                              .replay_until = 5,
                              .access_token = STR("at"),
                              .id_token = STR("it"),
                              .info = { STR("e"), STR("s"), 77, 3 },
                              .endpoints = { STR("1"), STR("2"), STR("3"), STR("4"), STR("5"), true } },
                        d;
    assert_true(verify_reply_decode(a, verify_reply_encode(a, &r), &d, &err));
    assert_int_equal(d.err.code, ERR_NONE);
    assert_true(d.last && d.endpoints.iss_parameter_supported);
    assert_str(d.id_token, STR("it"));
    assert_int_equal(d.info.valid_until, 77);
    assert_int_equal(d.info.signing_keys, 3);
    assert_str(d.endpoints.end_session_endpoint, STR("5"));
    arena_free(a);
}

static void test_reply_carries_the_error(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_reply r = { .id = 9 }, d;
    struct err err;
    err_set(&r.err, ERR_SAML_AUDIENCE, "meant for %s", "another");
    assert_true(verify_reply_decode(a, verify_reply_encode(a, &r), &d, &err));
    assert_int_equal(d.err.code, ERR_SAML_AUDIENCE);
    assert_string_equal(d.err.detail, "meant for another");
    arena_free(a);
}

static void put_basics(struct wire_writer *w, struct arena *a, int64_t kind)
{
    wire_init(w, a, 1 << 16);
    wire_put_int(w, VERIFY_TAG_KIND, kind);
    wire_put_int(w, VERIFY_TAG_ID, 1);
    wire_put_int(w, VERIFY_TAG_NOW, 1);
    wire_put(w, VERIFY_TAG_PROVIDER, STR("p"));
    wire_put(w, VERIFY_TAG_TEXT, STR("t"));
}

enum {
    AS_IT_IS,
    UNKNOWN_KIND,
    KIND_ZERO,
    NEGATIVE_KIND,
    TWICE,
    UNKNOWN_TAG,
    BAD_INT,
    BAD_BOOL,
    LONG_LIST,
    DAMAGES
};

static struct str damaged(struct arena *a, int how)
{
    struct wire_writer w;
    put_basics(&w, a,
               how == UNKNOWN_KIND    ? VERIFY_KIND_COUNT
               : how == KIND_ZERO     ? 0
               : how == NEGATIVE_KIND ? -1
                                      : VERIFY_SAML_RESPONSE);
    if (how == TWICE) wire_put(&w, VERIFY_TAG_TEXT, STR("another"));
    if (how == UNKNOWN_TAG) wire_put(&w, 9999, STR("x"));
    if (how == BAD_INT) wire_put(&w, VERIFY_TAG_CLOCK_SKEW, STR("1"));
    if (how == BAD_BOOL) wire_put(&w, VERIFY_TAG_SAML_UNSOLICITED, STR("\2"));
    for (int i = 0; how == LONG_LIST && i < 1025; i++) wire_put(&w, VERIFY_TAG_MAP_EMAIL, STR(""));
    return wire_done(&w);
}

static void test_damaged_requests_are_refused(void **state)
{
    (void)state;
    for (int how = 0; how < DAMAGES; how++) {
        struct arena *a = arena_new(1 << 20);
        struct verify_request q;
        struct err err = { 0 };
        bool ok = verify_request_decode(a, damaged(a, how), &q, &err);
        if (ok != (how == AS_IT_IS)) fail_msg("damage %d", how);
        if (!ok) assert_int_equal(err.code, ERR_WIRE);
        arena_free(a);
    }
}

static void test_cut_messages_are_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_request q;
    struct err err;
    struct wire_writer w;
    put_basics(&w, a, VERIFY_SAML_RESPONSE);
    struct str bytes = wire_done(&w);
    for (size_t n = 0; n < bytes.n; n++) assert_false(verify_request_decode(a, str_take(bytes, n), &q, &err));
    arena_free(a);
}

// A kind without what it cannot be without is refused before anything looks at it.
static void test_required_fields(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct err err;
    struct verify_request d, full = full_request();
    for (unsigned kind = 1; kind < VERIFY_KIND_COUNT; kind++) {
        struct verify_request bare = { .kind = kind, .id = 1, .now = 1 };
        assert_false(verify_request_decode(a, verify_request_encode(a, &bare), &d, &err));
        full.kind = kind;
        assert_true(verify_request_decode(a, verify_request_encode(a, &full), &d, &err));
    }
    struct verify_request no_nonce = full_request();
    no_nonce.kind = VERIFY_OIDC_LOGIN;
    no_nonce.nonce = STR_NONE;
    assert_false(verify_request_decode(a, verify_request_encode(a, &no_nonce), &d, &err));
    arena_free(a);
}

static void test_damaged_replies_are_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct verify_reply d;
    struct err err;
    struct wire_writer w;
    wire_init(&w, a, 1024);
    wire_put(&w, VERIFY_TAG_IDENTITY, STR("i"));
    assert_false(verify_reply_decode(a, wire_done(&w), &d, &err)); // no id
    wire_init(&w, a, 1024);
    wire_put_int(&w, VERIFY_TAG_ID, 1);
    wire_put_int(&w, VERIFY_TAG_ERR, ERR_COUNT);
    assert_false(verify_reply_decode(a, wire_done(&w), &d, &err));
    wire_init(&w, a, 1024);
    wire_put_int(&w, VERIFY_TAG_ID, 1);
    wire_put_int(&w, VERIFY_TAG_ERR, (int64_t)1 << 32); // must not become 0, which reads as success
    assert_false(verify_reply_decode(a, wire_done(&w), &d, &err));
    wire_init(&w, a, 1024);
    wire_put_int(&w, VERIFY_TAG_ID, 1);
    wire_put(&w, VERIFY_TAG_TEXT, STR("a request's field"));
    assert_false(verify_reply_decode(a, wire_done(&w), &d, &err));
    arena_free(a);
}

static void test_too_large_is_absent(void **state)
{
    (void)state;
    struct arena *a = arena_new((size_t)64 << 20);
    char *big = calloc(1, LIMIT_WIRE_BYTES);
    struct verify_request q = {
        .kind = VERIFY_OIDC_JWKS, .id = 1, .now = 1, .text = { big, LIMIT_WIRE_BYTES }
    };
    assert_null(verify_request_encode(a, &q).p);
    free(big);
    arena_free(a);
}

static void test_frame_heads(void **state)
{
    (void)state;
    uint8_t head[VERIFY_FRAME_HEAD];
    size_t n;
    verify_frame_put(head, 0x00010203);
    assert_true(verify_frame_get(head, &n));
    assert_int_equal(n, 0x00010203);
    verify_frame_put(head, 0);
    assert_false(verify_frame_get(head, &n));
    verify_frame_put(head, LIMIT_WIRE_BYTES);
    assert_true(verify_frame_get(head, &n));
    verify_frame_put(head, LIMIT_WIRE_BYTES + 1);
    assert_false(verify_frame_get(head, &n));
    memset(head, 0xFF, sizeof head);
    assert_false(verify_frame_get(head, &n));
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    struct verify_request q = full_request();
    for (long n = 1;; n++) {
        struct verify_request d;
        struct err err;
        mem_fail_at(n);
        struct arena *a = arena_new(1 << 20);
        struct str bytes = a ? verify_request_encode(a, &q) : STR_NONE;
        bool ok = bytes.p && verify_request_decode(a, bytes, &d, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        arena_free(a);
        assert_true(ok || failed);
        assert_false(ok && failed);
        if (!failed) break;
    }
}

static void test_control_passes_descriptors(void **state)
{
    (void)state;
    int pair[2], fd;
    struct control_message m;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(control_receive(pair[1], &m, &fd), CONTROL_NOTHING);
    int null = open("/dev/null", O_RDONLY);
    assert_true(control_send(pair[0], &(struct control_message){ CONTROL_VERIFIER, 3, 8 }, null));
    assert_true(control_ready(pair[0]));
    assert_int_equal(control_receive(pair[1], &m, &fd), CONTROL_GOT);
    assert_int_equal(m.slot, 3);
    assert_int_equal(m.serial, 8);
    assert_true(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    assert_int_equal(control_receive(pair[1], &m, &fd), CONTROL_GOT);
    assert_int_equal(m.kind, CONTROL_READY);
    assert_int_equal(fd, -1);
    // Packets of the wrong shape are skipped: cut, without the descriptor, with one that does not belong.
    assert_int_equal(send(pair[0], "abc", 3, 0), 3);
    assert_true(control_send(pair[0], &(struct control_message){ CONTROL_VERIFIER, 1, 1 }, -1));
    assert_true(control_send(pair[0], &(struct control_message){ CONTROL_STUCK, 1, 1 }, null));
    assert_int_equal(control_receive(pair[1], &m, &fd), CONTROL_NOTHING);
    close(null);
    close(pair[0]);
    assert_int_equal(control_receive(pair[1], &m, &fd), CONTROL_CLOSED);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_round_trip),
        cmocka_unit_test(test_client_secret_stays_with_the_gateway),
        cmocka_unit_test(test_absent_stays_absent),
        cmocka_unit_test(test_reply_round_trip),
        cmocka_unit_test(test_reply_carries_the_error),
        cmocka_unit_test(test_damaged_requests_are_refused),
        cmocka_unit_test(test_cut_messages_are_refused),
        cmocka_unit_test(test_required_fields),
        cmocka_unit_test(test_damaged_replies_are_refused),
        cmocka_unit_test(test_too_large_is_absent),
        cmocka_unit_test(test_frame_heads),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_control_passes_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
