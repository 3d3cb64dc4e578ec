// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "idp_double.h"
#include "saml/names.h"
#include "vectors.h"

enum { ARENA = 64 << 20 };

struct rig {
    struct arena *arena;
    struct saml_sp sp;
    struct saml_client client;
    struct saml_idp *idp;
    struct saml_idp_info info;
};
static struct rig rig;

static int start(void **state)
{
    struct err err = { 0 };
    (void)state;
    if (!saml_init(&err)) return 1;
    double_start();
    rig.arena = arena_new(ARENA);
    double_sp(rig.arena, &rig.sp);
    rig.client = double_client();
    return saml_idp_parse(rig.arena, double_metadata(rig.arena), &rig.client, NOW, &rig.idp, &rig.info, &err)
               ? 0
               : 1;
}

static int stop(void **state)
{
    (void)state;
    arena_free(rig.arena);
    double_stop();
    saml_done();
    return 0;
}

static enum err_code verify(struct arena *a, const struct saml_client *client, struct str request,
                            struct str xml, struct saml_login *ret, struct err *err)
{
    struct saml_expect expect = { .request_id = request, .now = NOW };
    *err = (struct err){ 0 };
    if (saml_response_verify(a, &rig.sp, client, rig.idp, &expect, encode_base64(a, xml), ret, err))
        return ERR_NONE;
    assert_int_not_equal(err->code, ERR_NONE);
    return err->code;
}

static void expect_error(struct str xml, enum err_code want, const char *what)
{
    struct arena *a = arena_new(ARENA);
    struct saml_login login;
    struct err err;
    enum err_code got = verify(a, &rig.client, STR(REQUEST_ID), xml, &login, &err);
    if (got != want) fail_msg("%s: got %s (%s), want %s", what, err_name(got), err.detail, err_name(want));
    arena_free(a);
}

// --- vectors

static size_t bad_vectors;

static enum double_key key_by_name(struct str name)
{
    static const char *const names[KEYS] = { "rsa",      "rsa-next", "ec",   "ec384",
                                             "stranger", "sp",       "weak", "hmac" };
    for (int k = 0; k < KEYS; k++)
        if (str_eq_c(name, names[k])) return (enum double_key)k;
    if (name.p) fail_msg("no key %.*s", STR_FMT(name));
    return KEY_RSA;
}

static const char *c_string(struct arena *a, struct str s)
{
    return arena_str(a, s).p;
}

static void edits(const struct vector *v, const char *key, struct edit *room, size_t *n)
{
    while (vector_edit(v, key, *n, &room[*n].find, &room[*n].replace)) assert_true(++*n < 8);
}

static void run_signed(const struct vector *v, struct str sign)
{
    struct arena *a = arena_new(ARENA);
    struct recipe r = {
        .sign_response = str_eq_c(sign, "response") || str_eq_c(sign, "both"),
        .sign_assertion = str_eq_c(sign, "assertion") || str_eq_c(sign, "both"),
        .key = key_by_name(vector_get(v, "key")),
        .signature = c_string(a, vector_get(v, "signature")),
        .digest = c_string(a, vector_get(v, "digest")),
        .data_cipher = c_string(a, vector_get(v, "encrypt")),
        .key_cipher = c_string(a, vector_get(v, "keycipher")),
    };
    edits(v, "before", r.before, &r.nbefore);
    edits(v, "after", r.after, &r.nafter);
    edits(v, "inside", r.inside, &r.ninside);
    struct saml_client client = rig.client;
    struct str allow = vector_get(v, "allow");
    client.allow_sha1 = str_search(allow, STR("sha1")) < allow.n;
    client.allow_cbc = str_search(allow, STR("cbc")) < allow.n;
    client.allow_unsolicited = str_search(allow, STR("unsolicited")) < allow.n;
    struct saml_login login;
    struct err err;
    struct str want = vector_get(v, "expect");
    struct str request = str_eq_c(vector_get(v, "request"), "none") ? STR_NONE : STR(REQUEST_ID);
    enum err_code got = verify(a, &client, request, double_response(a, &r), &login, &err);
    if (!str_eq_c(want, got == ERR_NONE ? "ok" : err_name(got)))
        bad_vectors++,
            print_error("'%.*s', signed %.*s: got %s (%s), want %.*s\n", STR_FMT(vector_get(v, "name")),
                        STR_FMT(sign), got ? err_name(got) : "ok", err.detail, STR_FMT(want));
    arena_free(a);
}

static void run_vector(const struct vector *v)
{
    struct str sign = vector_get(v, "sign");
    if (sign.p) {
        run_signed(v, sign);
        return;
    }
    run_signed(v, STR("assertion"));
    run_signed(v, STR("response"));
    run_signed(v, STR("both"));
}

static void test_vectors(void **state)
{
    (void)state;
    assert_true(vectors_each(VECTOR_DIR "/responses.vec", run_vector) > 100);
    assert_int_equal(bad_vectors, 0);
}

// --- what a good one gives

static void assert_str(struct str got, const char *want)
{
    if (!str_eq_c(got, want)) fail_msg("got '%.*s', want '%s'", STR_FMT(got), want);
}

static struct saml_login login_of(struct arena *a, const struct saml_client *client, const struct recipe *r)
{
    struct saml_login login;
    struct err err;
    if (verify(a, client, STR(REQUEST_ID), double_response(a, r), &login, &err)) fail_msg("%s", err.detail);
    return login;
}

static void test_identity(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true };
    struct saml_login l = login_of(a, &rig.client, &r);
    assert_str(l.identity.provider, "corp");
    assert_str(l.identity.subject, "alice-id");
    assert_str(l.identity.email, "Alice@example.com");
    assert_true(l.identity.email_verified);
    assert_str(l.identity.username, "alice");
    assert_str(l.identity.name, "Alice Zo\xc3\xab");
    assert_true(l.identity.groups_known);
    assert_false(l.identity.groups_overage);
    assert_int_equal(l.identity.groups.n, 2);
    assert_str(l.identity.groups.v[1], "wiki");
    assert_int_equal(l.identity.nclaims, 4);
    assert_str(l.identity.claims[0].name, "urn:oid:0.9.2342.19200300.100.1.1");
    assert_int_equal(l.identity.auth_time, NOW - 120);
    assert_int_equal(l.identity.not_after, NOW + 8 * 3600);
    assert_str(l.identity.session_index, "_session1");
    assert_str(l.identity.name_id, "alice-id");
    assert_str(l.identity.name_id_format, SAML_FORMAT_PERSISTENT);
    assert_str(l.assertion_id, "_assertion");
    assert_int_equal(l.replay_until, NOW + 300 + 61);
    arena_free(a);
}

static struct saml_login changed(struct arena *a, const struct saml_client *client, struct str find,
                                 struct str replace)
{
    struct recipe r = { .sign_assertion = true, .before = { { find, replace } }, .nbefore = 1 };
    return login_of(a, client, &r);
}

// CVE-2017-11427 and its like: a comment must not cut a value.
static void test_comments_do_not_cut(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true,
                        .after = { { STR("alice-id"), STR("alice<!-- -->-<![CDATA[i]]>d") },
                                   { STR("Alice@Example.COM"), STR("Alice@Example<!---->.COM") } },
                        .nafter = 2 };
    struct saml_login l = login_of(a, &rig.client, &r);
    assert_str(l.identity.subject, "alice-id");
    assert_str(l.identity.email, "Alice@example.com");
    arena_free(a);
}

static void test_transient_subject(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_login l =
        changed(a, &rig.client, STR("nameid-format:persistent"), STR("nameid-format:transient"));
    assert_str(l.identity.subject, "alice");
    assert_str(l.identity.name_id, "alice-id");
    arena_free(a);
}

static void test_configured_mapping(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_client client = rig.client;
    struct str subject[] = { STR("nothing"), STR("uid") }, email[] = { STR("nothing") },
               name[] = { STR("NameID") };
    struct str groups[] = { STR("urn:oid:0.9.2342.19200300.100.1.1") };
    client.mapping = (struct claim_mapping){
        .subject = { subject, 2 }, .email = { email, 1 }, .name = { name, 1 }, .groups = { groups, 1 }
    };
    struct recipe r = { .sign_response = true };
    struct saml_login l = login_of(a, &client, &r);
    assert_str(l.identity.subject, "alice");
    assert_null(l.identity.email.p);
    assert_false(l.identity.email_verified);
    assert_str(l.identity.name, "alice-id");
    assert_int_equal(l.identity.groups.n, 1);
    client.mapping.subject.n = 1;
    struct err err;
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), double_response(a, &r), &l, &err), ERR_SAML_SUBJECT);
    arena_free(a);
}

static void test_groups(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_login l = changed(a, &rig.client, STR("Name=\"groups\""), STR("Name=\"nothing\""));
    assert_false(l.identity.groups_known);
    l = changed(a, &rig.client, STR("Name=\"groups\""),
                STR("Name=\"http://schemas.microsoft.com/claims/groups.link\""));
    assert_false(l.identity.groups_known);
    assert_true(l.identity.groups_overage);
    l = changed(a, &rig.client,
                STR("<saml:AttributeValue>staff</saml:AttributeValue><saml:AttributeValue>wiki</"
                    "saml:AttributeValue>"),
                STR(""));
    assert_true(l.identity.groups_known);
    assert_int_equal(l.identity.groups.n, 0);
    // Each value in an element of its own; a value with a line break equals nothing and is left out.
    l = changed(a, &rig.client, STR("staff</saml:AttributeValue>"),
                STR(" st<b>a</b>ff </saml:AttributeValue></saml:Attribute><saml:Attribute Name=\"groups\">"
                    "<saml:AttributeValue>ad\nmin</saml:AttributeValue>"));
    assert_int_equal(l.identity.groups.n, 2);
    assert_str(l.identity.groups.v[0], "staff");
    assert_str(l.identity.groups.v[1], "wiki");
    arena_free(a);
}

static void test_email_of_name_id(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true,
                        .before = { { STR("Name=\"mail\""), STR("Name=\"x\"") },
                                    { STR(SAML_FORMAT_PERSISTENT), STR(SAML_FORMAT_EMAIL) },
                                    { STR("alice-id"), STR("Bob@Example.ORG") } },
                        .nbefore = 3 };
    assert_str(login_of(a, &rig.client, &r).identity.email, "Bob@example.org");
    r.before[2].replace = STR("bob@x@example.org");
    assert_null(login_of(a, &rig.client, &r).identity.email.p);
    arena_free(a);
}

static void test_encrypted_id(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true, .data_cipher = NS_XENC11 "aes256-gcm" };
    struct str id = STR("<saml:NameID Format=\"" SAML_FORMAT_PERSISTENT "\">alice-id</saml:NameID>");
    struct str box = double_encrypt(a, id, &r);
    r.data_cipher = NULL;
    r.before[0] =
        (struct edit){ id, arena_printf(a, "<saml:EncryptedID>%.*s</saml:EncryptedID>", STR_FMT(box)) };
    r.nbefore = 1;
    assert_str(login_of(a, &rig.client, &r).identity.subject, "alice-id");
    arena_free(a);
}

static void test_authn_context_and_force(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_client client = rig.client;
    struct str classes[] = { STR("urn:x:mfa"),
                             STR("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport") };
    struct saml_login l;
    struct err err;
    struct recipe r = { .sign_assertion = true };
    struct str xml = double_response(a, &r);
    client.authn_context = (struct strlist){ classes, 2 };
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), xml, &l, &err), ERR_NONE);
    client.authn_context.n = 1;
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), xml, &l, &err), ERR_SAML_AUTHN_STATEMENT);
    client.authn_context.n = 0;
    client.force_authn = true;
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), xml, &l, &err), ERR_NONE);
    r.before[r.nbefore++] = (struct edit){ STR("2026-01-15T11:58:00Z"), STR("2026-01-15T11:48:59Z") };
    xml = double_response(a, &r);
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), xml, &l, &err), ERR_SAML_AUTHN_STATEMENT);
    client.force_authn = false;
    assert_int_equal(verify(a, &client, STR(REQUEST_ID), xml, &l, &err), ERR_NONE);
    arena_free(a);
}

// Each statement must hold, and the earliest end counts.
static void test_several_statements(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct str second =
        STR("<saml:AuthnStatement AuthnInstant=\"2026-01-15T11:00:00Z\" SessionIndex=\"_second\" "
            "SessionNotOnOrAfter=\"2026-01-15T13:00:00Z\"/><saml:AttributeStatement>");
    struct saml_login l = changed(a, &rig.client, STR("<saml:AttributeStatement>"), second);
    assert_int_equal(l.identity.not_after, NOW + 3600);
    assert_str(l.identity.session_index, "_session1");
    assert_int_equal(l.identity.auth_time, NOW - 120);
    second = double_replace(a, second, STR("13:00:00Z"), STR("11:59:00Z"), true);
    struct recipe r = { .sign_assertion = true,
                        .before = { { STR("<saml:AttributeStatement>"), second } },
                        .nbefore = 1 };
    expect_error(double_response(a, &r), ERR_SAML_TIME, "the second session has ended");
    arena_free(a);
}

static void expect_with_attributes(size_t attributes, size_t values, enum err_code want)
{
    struct arena *a = arena_new(ARENA);
    struct sbuf b;
    sbuf_init(&b, a, 1 << 20);
    for (size_t i = 0; i < attributes; i++) {
        sbuf_addf(&b, "<saml:Attribute Name=\"a%zu\">", i);
        for (size_t k = 0; k < values; k++) sbuf_add_c(&b, "<saml:AttributeValue/>");
        sbuf_add_c(&b, "</saml:Attribute>");
    }
    sbuf_add_c(&b, "</saml:AttributeStatement>");
    struct recipe r = { .sign_assertion = true,
                        .before = { { STR("</saml:AttributeStatement>"), sbuf_str(&b) } },
                        .nbefore = 1 };
    expect_error(double_response(a, &r), want, "many attributes");
    arena_free(a);
}

// The template has 4 attributes with 5 values. Cutting the list off instead would lose what a rule denies.
static void test_attributes_are_bounded(void **state)
{
    (void)state;
    expect_with_attributes(LIMIT_ATTRIBUTES - 4, 1, ERR_NONE);
    expect_with_attributes(LIMIT_ATTRIBUTES - 3, 1, ERR_SAML_STRUCTURE);
    expect_with_attributes(1, LIMIT_ATTRIBUTE_VALUES - 5, ERR_NONE);
    expect_with_attributes(1, LIMIT_ATTRIBUTE_VALUES - 4, ERR_SAML_STRUCTURE);
}

// --- signature wrapping: the signed piece moves to where only a verifier looks, a forged one takes its place

struct pieces {
    struct str head, middle, tail; // the response around the assertion
    struct str original, bare, evil,
        signature; // the assertion; without signature; forged without; its signature
};

static struct str between(struct str text, const char *from, const char *to)
{
    size_t start_at = str_search(text, str_c(from));
    size_t end_at = str_search(text, str_c(to)) + strlen(to);
    assert_true(start_at < end_at && end_at <= text.n);
    return (struct str){ text.p + start_at, end_at - start_at };
}

static struct pieces cut_up(struct arena *a, struct str xml)
{
    struct pieces p = { .original = between(xml, "<saml:Assertion", "</saml:Assertion>") };
    p.head = (struct str){ xml.p, (size_t)(p.original.p - xml.p) };
    p.tail = str_skip(xml, p.head.n + p.original.n);
    p.signature = between(p.original, "<ds:Signature ", "</ds:Signature>");
    p.bare = double_replace(a, p.original, p.signature, STR(""), true);
    p.evil = double_replace(a, p.bare, STR("alice-id"), STR("root-id"), true);
    p.evil = double_replace(a, p.evil, STR("ID=\"_assertion\""), STR("ID=\"_evil\""), true);
    return p;
}

static struct str wrap(struct arena *a, const struct pieces *p, struct str content)
{
    return arena_printf(a, "%.*s%.*s%.*s", STR_FMT(p->head), STR_FMT(content), STR_FMT(p->tail));
}

// `text` with `add` before its closing tag, or behind its first element's Issuer.
static struct str into_end(struct arena *a, struct str text, struct str add)
{
    struct str close = STR("</saml:Assertion>");
    return arena_printf(a, "%.*s%.*s%.*s", STR_FMT(str_take(text, text.n - close.n)), STR_FMT(add),
                        STR_FMT(close));
}

static struct str after_issuer(struct arena *a, struct str text, struct str add)
{
    struct str close = STR("</saml:Issuer>");
    return double_replace(a, text, close, arena_printf(a, "%.*s%.*s", STR_FMT(close), STR_FMT(add)), true);
}

static struct str signature_with(struct arena *a, struct str signature, struct str object)
{
    return double_replace(a, signature, STR("</ds:Signature>"),
                          arena_printf(a, "<ds:Object>%.*s</ds:Object></ds:Signature>", STR_FMT(object)),
                          true);
}

static void test_wrapped_assertions(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true };
    struct pieces p = cut_up(a, double_response(a, &r));
    struct str both = arena_printf(a, "%.*s%.*s", STR_FMT(p.evil), STR_FMT(p.original));
    expect_error(wrap(a, &p, p.original), ERR_NONE, "cut up and put together");
    expect_error(wrap(a, &p, both), ERR_SAML_ASSERTION_COUNT, "XSW3: forged beside signed");
    both = arena_printf(a, "%.*s%.*s", STR_FMT(p.original), STR_FMT(p.evil));
    expect_error(wrap(a, &p, both), ERR_SAML_ASSERTION_COUNT, "XSW3: signed beside forged");
    expect_error(wrap(a, &p, into_end(a, p.evil, p.original)), ERR_SAML_ASSERTION_COUNT,
                 "XSW4: signed in forged");
    struct str evil_signed = after_issuer(a, p.evil, p.signature);
    both = arena_printf(a, "%.*s%.*s", STR_FMT(evil_signed), STR_FMT(p.bare));
    expect_error(wrap(a, &p, both), ERR_SAML_ASSERTION_COUNT, "XSW5: signature moved to the forged one");
    expect_error(wrap(a, &p, evil_signed), ERR_SAML_SIGNATURE, "signature refers to an ID that is not there");
    struct str carrying = after_issuer(a, p.evil, signature_with(a, p.signature, p.bare));
    expect_error(wrap(a, &p, carrying), ERR_SAML_STRUCTURE, "XSW6/8: signed inside the signature");
    struct str extension = arena_printf(a, "<samlp:Extensions>%.*s</samlp:Extensions>%.*s", STR_FMT(p.evil),
                                        STR_FMT(p.original));
    expect_error(wrap(a, &p, extension), ERR_SAML_ASSERTION_COUNT, "XSW7: forged in the extensions");
    extension = arena_printf(a, "<samlp:Extensions>%.*s</samlp:Extensions>%.*s", STR_FMT(p.original),
                             STR_FMT(p.evil));
    expect_error(wrap(a, &p, extension), ERR_SAML_ASSERTION_COUNT, "signed in the extensions");
    // The same, each element with a name that the counting does not look for.
    struct str hidden =
        arena_printf(a, "%.*s<x xmlns=\"urn:x\" ID=\"_assertion\">%.*s</x>", STR_FMT(evil_signed),
                     STR_FMT(str_skip(p.bare, str_find(p.bare, '>') + 1)));
    hidden = double_replace(a, hidden, STR("</saml:Assertion></x>"), STR("</x>"), true);
    expect_error(wrap(a, &p, hidden), ERR_SAML_SIGNATURE, "signature refers to another element");
    // Two elements with the signed ID: the verifier could take the one, the reader the other.
    struct str same = double_replace(a, evil_signed, STR("_evil"), STR("_assertion"), true);
    expect_error(wrap(a, &p, same), ERR_SAML_SIGNATURE, "forged content under the signed ID");
    both = arena_printf(a, "%.*s%.*s", STR_FMT(same), STR_FMT(p.bare));
    expect_error(wrap(a, &p, both), ERR_SAML_DUPLICATE_ID, "forged and signed with one ID");
    arena_free(a);
}

static void test_wrapped_responses(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_response = true };
    struct str xml = double_response(a, &r);
    struct str signature = between(xml, "<ds:Signature ", "</ds:Signature>");
    struct str bare = double_replace(a, xml, signature, STR(""), true);
    struct str evil = double_replace(a, bare, STR("alice-id"), STR("root-id"), true);
    evil = double_replace(a, evil, STR("ID=\"_response\""), STR("ID=\"_evil\""), true);
    struct str evil_other =
        double_replace(a, evil, STR("ID=\"_assertion\""), STR("ID=\"_assertion2\""), true);
    expect_error(after_issuer(a, evil_other, signature_with(a, signature, bare)), ERR_SAML_STRUCTURE, "XSW1");
    struct str siblings = arena_printf(a, "%.*s%.*s", STR_FMT(bare), STR_FMT(signature));
    expect_error(after_issuer(a, evil_other, siblings), ERR_SAML_STRUCTURE, "XSW2");
    expect_error(after_issuer(a, evil, signature), ERR_SAML_SIGNATURE, "signature on another response");
    expect_error(after_issuer(a, evil_other, arena_printf(a, "<x xmlns=\"urn:x\">%.*s</x>", STR_FMT(xml))),
                 ERR_SAML_STRUCTURE, "signed response inside");
    // The assertion's signature dropped from a response that lost its own: nothing is signed any more.
    expect_error(bare, ERR_SAML_UNSIGNED, "signature removed");
    arena_free(a);
}

// A signature that is broken is a refusal even where another one would do.
static void test_every_signature_counts(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe good = { .key = KEY_RSA };
    static const char *const ciphers[] = { NULL, NS_XENC11 "aes256-gcm" };
    for (size_t i = 0; i < 2; i++) {
        for (int k = KEY_RSA; k <= KEY_STRANGER; k += KEY_STRANGER - KEY_RSA) {
            struct recipe r = { .sign_assertion = true,
                                .key = (enum double_key)k,
                                .data_cipher = ciphers[i] };
            struct str sig = double_signature_template(a, "_response", &good);
            struct str xml = double_sign(a, after_issuer(a, double_response(a, &r), sig), "_response", &good);
            expect_error(xml, k == KEY_RSA ? ERR_NONE : ERR_SAML_SIGNATURE, "assertion signed by a stranger");
        }
    }
    arena_free(a);
}

// A key that came with the message is nobody's key.
static void test_key_info_is_no_key(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true, .key = KEY_STRANGER };
    struct str info = arena_printf(a,
                                   "</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%.*s"
                                   "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>",
                                   STR_FMT(double_certificate(a, KEY_STRANGER)));
    r.before[r.nbefore++] = (struct edit){ STR("</ds:SignatureValue>"), info };
    expect_error(double_response(a, &r), ERR_SAML_SIGNATURE, "certificate of a stranger in KeyInfo");
    r.before[0].replace = STR("</ds:SignatureValue><ds:KeyInfo><ds:KeyValue/></ds:KeyInfo>");
    expect_error(double_response(a, &r), ERR_SAML_SIGNATURE, "KeyValue of a stranger in KeyInfo");
    r.key = KEY_RSA;
    r.before[0].replace = info;
    expect_error(double_response(a, &r), ERR_NONE, "KeyInfo is not looked at");
    arena_free(a);
}

// --- bytes

static enum err_code verify_text(struct arena *a, struct str text)
{
    struct saml_expect expect = { .request_id = STR(REQUEST_ID), .now = NOW };
    struct saml_login login;
    struct err err = { 0 };
    return saml_response_verify(a, &rig.sp, &rig.client, rig.idp, &expect, text, &login, &err) ? ERR_NONE
                                                                                               : err.code;
}

static void test_bytes(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct recipe r = { .sign_assertion = true };
    struct str xml = double_response(a, &r), b64 = encode_base64(a, xml);
    assert_int_equal(verify_text(a, b64), ERR_NONE);
    struct str lines =
        arena_printf(a, "%.*s\r\n%.*s\n", STR_FMT(str_take(b64, 76)), STR_FMT(str_skip(b64, 76)));
    assert_int_equal(verify_text(a, lines), ERR_NONE);
    assert_int_equal(verify_text(a, arena_printf(a, "%.*s!", STR_FMT(b64))), ERR_SAML_ENCODING);
    assert_int_equal(verify_text(a, arena_printf(a, "%.*sAAAA", STR_FMT(b64))), ERR_SAML_ENCODING);
    assert_int_equal(verify_text(a, xml), ERR_SAML_ENCODING);
    assert_int_equal(verify_text(a, STR("")), ERR_SAML_ENCODING);
    char *copy = (char *)arena_str(a, xml).p;
    copy[xml.n - 1] = '\0';
    assert_int_equal(verify_text(a, encode_base64(a, (struct str){ copy, xml.n })), ERR_SAML_ENCODING);
    copy[xml.n - 1] = '\xff';
    assert_int_equal(verify_text(a, encode_base64(a, (struct str){ copy, xml.n })), ERR_SAML_ENCODING);
    size_t big = LIMIT_SAML_MESSAGE_BYTES;
    char *room = arena_alloc(a, big + 1);
    memset(room, ' ', big + 1);
    memcpy(room, xml.p, xml.n);
    assert_int_equal(verify_text(a, encode_base64(a, (struct str){ room, big })), ERR_NONE);
    assert_int_equal(verify_text(a, encode_base64(a, (struct str){ room, big + 1 })), ERR_TOO_LARGE);
    arena_free(a);
}

static void test_expired_metadata(void **state)
{
    (void)state;
    struct arena *a = arena_new(ARENA);
    struct saml_idp *idp;
    struct saml_idp_info info;
    struct err err = { 0 };
    struct str md = double_replace(a, double_metadata(a), STR("ID=\"_md\""),
                                   STR("validUntil=\"2026-01-15T12:00:01Z\""), true);
    assert_true(saml_idp_parse(a, md, &rig.client, NOW, &idp, &info, &err));
    struct recipe r = { .sign_assertion = true };
    struct str text = encode_base64(a, double_response(a, &r));
    struct saml_expect expect = { STR(REQUEST_ID), NOW };
    struct saml_login login;
    assert_true(saml_response_verify(a, &rig.sp, &rig.client, idp, &expect, text, &login, &err));
    expect.now = NOW + 1;
    assert_false(saml_response_verify(a, &rig.sp, &rig.client, idp, &expect, text, &login, &err));
    assert_int_equal(err.code, ERR_SAML_METADATA_EXPIRED);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_comments_do_not_cut),
        cmocka_unit_test(test_transient_subject),
        cmocka_unit_test(test_configured_mapping),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_email_of_name_id),
        cmocka_unit_test(test_encrypted_id),
        cmocka_unit_test(test_authn_context_and_force),
        cmocka_unit_test(test_several_statements),
        cmocka_unit_test(test_attributes_are_bounded),
        cmocka_unit_test(test_wrapped_assertions),
        cmocka_unit_test(test_wrapped_responses),
        cmocka_unit_test(test_every_signature_counts),
        cmocka_unit_test(test_key_info_is_no_key),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_expired_metadata),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
