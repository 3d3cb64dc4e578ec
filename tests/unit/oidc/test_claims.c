// SPDX-License-Identifier: GPL-3.0-or-later
// From claims to an identity, and what userinfo may add to it.
#include "tests/unit/oidc/tokens.h"

#include <stdio.h>

#include "base/limits.h"

static int setup(void **state)
{
    *state = arena_new(16 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

// The usual claims with more members.
static struct str payload_with(struct arena *a, const char *more)
{
    return arena_printf(a, "%.*s,%s}", (int)strlen(PAYLOAD) - 1, PAYLOAD, more);
}

static enum err_code login_as(struct arena *a, const struct oidc_client *client, struct str payload,
                              struct identity *ret)
{
    struct oidc_expect expect = { STR(NONCE), NOW };
    struct oidc_tokens tokens;
    struct err err = { 0 };
    struct str token = test_token(a, KEY_P256, "ES256", "{\"alg\":\"ES256\",\"kid\":\"k\"}", payload);
    bool ok = oidc_login_verify(a, client, &expect, test_answer(a, token), test_jwks_of(a, KEY_P256), ret,
                                &tokens, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    return err.code;
}

static struct identity identity_of(struct arena *a, const char *more)
{
    struct oidc_client client = test_client();
    struct identity id = { 0 };
    assert_code(login_as(a, &client, payload_with(a, more), &id), ERR_NONE);
    return id;
}

static const struct claim *claim(const struct identity *id, const char *name)
{
    for (size_t i = 0; i < id->nclaims; i++)
        if (str_eq_c(id->claims[i].name, name)) return &id->claims[i];
    return NULL;
}

static void assert_list(struct strlist l, const char *want)
{
    char text[512] = "";
    for (size_t i = 0; i < l.n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i ? "," : "", STR_FMT(l.v[i]));
    assert_string_equal(text, want);
}

static void test_a_full_identity(void **state)
{
    struct arena *a = *state;
    struct identity id =
        identity_of(a, "\"email\":\"Ann@Example.COM\",\"email_verified\":true,\"preferred_username\":\"ann\","
                       "\"name\":\"Ann \xC3\x89\","
                       "\"groups\":[\"staff\",\"it\"],\"sid\":\"s1\",\"auth_time\":1699990000");
    assert_str(id.provider, "corp");
    assert_str(id.subject, "248289761001");
    assert_str(id.email, "Ann@example.com");
    assert_true(id.email_verified);
    assert_str(id.username, "ann");
    assert_str(id.name, "Ann \xC3\x89");
    assert_list(id.groups, "staff,it");
    assert_true(id.groups_known);
    assert_false(id.groups_overage);
    assert_str(id.sid, "s1");
    assert_int_equal(id.auth_time, 1699990000);
    assert_int_equal(id.not_after, 0);
}

static void test_what_is_not_said_is_absent(void **state)
{
    struct arena *a = *state;
    struct identity id =
        identity_of(a, "\"foo\":null,\"groups\":null,\"email\":\"\",\"email_verified\":true");
    assert_null(id.email.p);
    assert_false(id.email_verified);
    assert_null(id.username.p);
    assert_null(id.name.p);
    assert_null(id.sid.p);
    assert_false(id.groups_known);
    assert_int_equal(id.groups.n, 0);
    assert_int_equal(id.auth_time, NOW); // iat
}

static void test_email_verified_is_the_json_value(void **state)
{
    struct arena *a = *state;
    static const char *const not_true[] = { "\"true\"", "1",       "[true]",      "false",
                                            "null",     "\"yes\"", "{\"a\":true}" };
    for (size_t i = 0; i < sizeof not_true / sizeof *not_true; i++) {
        struct str more = arena_printf(a, "\"email\":\"a@x.org\",\"email_verified\":%s", not_true[i]);
        struct identity id = identity_of(a, more.p);
        const struct claim *c = claim(&id, "email_verified");
        assert_str(id.email, "a@x.org");
        assert_false(id.email_verified);
        // Nor does it reach a rule on the claim.
        assert_true(!c || c->values.n == 0 || !str_eq_c(c->values.v[0], "true"));
    }
    assert_false(identity_of(a, "\"email\":\"a@x.org\"").email_verified);
}

static void test_trusted_addresses_count_unless_the_provider_denies(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct identity id;
    const char *silent = "\"email\":\"a@x.org\"";
    assert_code(login_as(a, &client, payload_with(a, silent), &id), ERR_NONE);
    assert_false(id.email_verified);
    client.trust_email = true;
    assert_code(login_as(a, &client, payload_with(a, silent), &id), ERR_NONE);
    assert_true(id.email_verified);
    static const char *const noes[] = { "false", "\"false\"", "\"true\"", "null", "0", "{}" };
    for (size_t i = 0; i < sizeof noes / sizeof *noes; i++) {
        struct str more = arena_printf(a, "%s,\"email_verified\":%s", silent, noes[i]);
        assert_code(login_as(a, &client, payload_with(a, more.p), &id), ERR_NONE);
        assert_false(id.email_verified);
    }
}

// email_verified speaks of `email`; another claim that is mapped to the address gains nothing from it.
static void test_email_verified_speaks_of_email(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct str names[] = { STR("upn"), STR("email") };
    struct identity id;
    client.mapping.email = (struct strlist){ names, 2 };
    const char *other = "\"upn\":\"root@corp.com\",\"email\":\"a@x.org\",\"email_verified\":true";
    assert_code(login_as(a, &client, payload_with(a, other), &id), ERR_NONE);
    assert_str(id.email, "root@corp.com");
    assert_false(id.email_verified);
    const char *same = "\"upn\":\"a@x.org\",\"email\":\"a@x.org\",\"email_verified\":true";
    assert_code(login_as(a, &client, payload_with(a, same), &id), ERR_NONE);
    assert_true(id.email_verified);
    const char *second = "\"email\":\"a@x.org\",\"email_verified\":true";
    assert_code(login_as(a, &client, payload_with(a, second), &id), ERR_NONE);
    assert_str(id.email, "a@x.org");
    assert_true(id.email_verified);
}

static void test_groups_in_every_shape(void **state)
{
    struct arena *a = *state;
    static const struct {
        const char *json, *want;
        bool known;
    } rows[] = {
        { "\"groups\":\"staff\"", "staff", true },
        { "\"groups\":[]", "", true },
        { "\"groups\":[\"a\",\"b,c\",1,null,true,{\"x\":1},[\"d\"]]", "a,b,c,1,true", true },
        { "\"groups\":[\"staff\\n\",\"ok\"]", "ok", true },
        { "\"groups\":\"staff\\u001b\"", "", true },
        { "\"groups\":{\"staff\":true}", "", false },
        { "\"Groups\":[\"staff\"]", "", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct identity id = identity_of(a, rows[i].json);
        assert_list(id.groups, rows[i].want);
        assert_int_equal(id.groups_known, rows[i].known);
    }
}

static void test_entra_overage(void **state)
{
    struct arena *a = *state;
    struct identity id = identity_of(a, "\"_claim_names\":{\"groups\":\"src1\"},\"_claim_sources\":{\"src1\":"
                                        "{\"endpoint\":\"https://graph.windows.net/x\"}}");
    assert_true(id.groups_overage);
    assert_false(id.groups_known);
    assert_null(claim(&id, "_claim_names"));
    assert_true(identity_of(a, "\"hasgroups\":true").groups_overage);
    assert_false(identity_of(a, "\"_claim_names\":{\"address\":\"src1\"}").groups_overage);
    assert_false(identity_of(a, "\"_claim_names\":[\"groups\"]").groups_overage);
    // The answer of userinfo settles it.
    struct oidc_client client = test_client();
    struct err err = { 0 };
    struct str answer = STR("{\"sub\":\"248289761001\",\"groups\":[\"a\"]}");
    assert_true(oidc_userinfo_merge(a, &client, answer, &id, &err));
    assert_false(id.groups_overage);
    assert_true(id.groups_known);
}

static void test_nested_names(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct str names[] = { STR("realm_access.roles") };
    struct identity id;
    client.mapping.groups = (struct strlist){ names, 1 };
    const char *nested = "\"realm_access\":{\"roles\":[\"admin\",\"user\"]}";
    assert_code(login_as(a, &client, payload_with(a, nested), &id), ERR_NONE);
    assert_list(id.groups, "admin,user");
    assert_list(claim(&id, "realm_access.roles")->values, "admin,user");
    // A claim of the literal name comes first.
    const char *both = "\"realm_access\":{\"roles\":[\"admin\"]},\"realm_access.roles\":[\"user\"]";
    assert_code(login_as(a, &client, payload_with(a, both), &id), ERR_NONE);
    assert_list(id.groups, "user");
    const char *literal_null = "\"realm_access\":{\"roles\":[\"admin\"]},\"realm_access.roles\":null";
    assert_code(login_as(a, &client, payload_with(a, literal_null), &id), ERR_NONE);
    assert_false(id.groups_known);
    static const char *const nothing[] = { "\"realm_access\":[\"roles\"]", "\"realm_access\":{}",
                                           "\"roles\":[\"x\"]", "\"realm_access\":\"roles\"",
                                           "\"realm_access\":{\"roles\":{\"a\":1}}" };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        assert_code(login_as(a, &client, payload_with(a, nothing[i]), &id), ERR_NONE);
        assert_false(id.groups_known);
    }
    // Names with dots inside the path, as client ids of Keycloak have.
    names[0] = STR("resource_access.my.app.roles");
    const char *dots = "\"resource_access\":{\"my\":{\"x\":1},\"my.app\":{\"roles\":[\"ed\"]}}";
    assert_code(login_as(a, &client, payload_with(a, dots), &id), ERR_NONE);
    assert_list(id.groups, "ed");
    // Only a dot parts names.
    names[0] = STR("realm_access.roles");
    assert_code(login_as(a, &client, payload_with(a, "\"realm\":{\"access.roles\":[\"x\"]}"), &id), ERR_NONE);
    assert_false(id.groups_known);
    names[0] = STR("_claim_names.groups");
    assert_code(login_as(a, &client, payload_with(a, "\"_claim_names\":{\"groups\":\"x\"}"), &id), ERR_NONE);
    assert_false(id.groups_known);
}

// What is wrong deep inside is as wrong as at the top.
static void test_nested_values_are_checked_too(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct str names[] = { STR("contact.mail") };
    struct identity id;
    struct sbuf b;
    client.mapping.email = (struct strlist){ names, 1 };
    client.mapping.username = (struct strlist){ names, 1 };
    const char *good = "\"contact\":{\"mail\":\"a@x.org\"}";
    assert_code(login_as(a, &client, payload_with(a, good), &id), ERR_NONE);
    assert_str(id.email, "a@x.org");
    assert_str(id.username, "a@x.org");
    assert_int_equal(id.nclaims, 4); // iss, sub, aud, and the nested one once
    const char *control = "\"contact\":{\"mail\":\"a@x.org\\u0007\"}";
    assert_code(login_as(a, &client, payload_with(a, control), &id), ERR_OIDC_CLAIM);
    sbuf_init(&b, a, 100000);
    sbuf_add_c(&b, good);
    for (size_t i = 0; i < LIMIT_ATTRIBUTES - 3; i++) sbuf_addf(&b, ",\"c%zu\":1", i);
    assert_code(login_as(a, &client, payload_with(a, sbuf_str(&b).p), &id), ERR_OIDC_CLAIM);
}

static void test_names_of_claims_are_checked(void **state)
{
    struct arena *a = *state;
    char name[258];
    memset(name, 'n', 257);
    name[257] = '\0';
    struct identity id =
        identity_of(a, arena_printf(a, "\"\":1,\"a\\u007f\":1,\"%s\":1,\"%s\":1", name, name + 1).p);
    assert_int_equal(id.nclaims, 4); // iss, sub, aud, and the one of 256 bytes
    assert_non_null(claim(&id, name + 1));
}

static void test_mapping_takes_the_first_present(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct str subject[] = { STR("oid"), STR("sub") }, user[] = { STR("a"), STR("b") },
               only[] = { STR("oid") };
    struct identity id;
    client.mapping.subject = (struct strlist){ subject, 2 };
    client.mapping.username = (struct strlist){ user, 2 };
    assert_code(login_as(a, &client, payload_with(a, "\"oid\":7,\"b\":\"x\""), &id), ERR_NONE);
    assert_str(id.subject, "7");
    assert_str(id.username, "x");
    assert_code(login_as(a, &client, payload_with(a, "\"a\":\"y\",\"b\":\"x\""), &id), ERR_NONE);
    assert_str(id.subject, "248289761001");
    assert_str(id.username, "y");
    // A subject that was asked for and is not there is not replaced by another one.
    client.mapping.subject = (struct strlist){ only, 1 };
    assert_code(login_as(a, &client, payload_with(a, "\"x\":1"), &id), ERR_OIDC_SUBJECT);
    assert_code(login_as(a, &client, payload_with(a, "\"oid\":\"\""), &id), ERR_OIDC_SUBJECT);
    assert_code(login_as(a, &client, payload_with(a, "\"oid\":\"a\\u0007\""), &id), ERR_OIDC_CLAIM);
}

static void test_values_keep_their_spelling(void **state)
{
    struct arena *a = *state;
    struct identity id =
        identity_of(a, "\"i\":-42,\"r\":1.5,\"t\":true,\"f\":false,\"s\":\"x\",\"o\":{\"a\":1},"
                       "\"l\":[1,\"two\",false],\"bad\\u001fname\":\"x\",\"e\":1e300");
    assert_list(claim(&id, "i")->values, "-42");
    assert_list(claim(&id, "r")->values, "1.5");
    assert_list(claim(&id, "t")->values, "true");
    assert_list(claim(&id, "f")->values, "false");
    assert_list(claim(&id, "l")->values, "1,two,false");
    assert_int_equal(claim(&id, "e")->values.n, 1);
    assert_null(claim(&id, "o"));
    for (size_t i = 0; i < id.nclaims; i++) assert_true(str_is_utf8(id.claims[i].name, true));
    static const char *const left_out[] = { "nonce", "exp", "iat", "at_hash" };
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++) assert_null(claim(&id, left_out[i]));
    assert_list(claim(&id, "sub")->values, "248289761001");
}

// Exactly the limit passes; the vectors hold one more.
static void test_the_most_claims(void **state)
{
    struct arena *a = *state;
    struct sbuf b;
    sbuf_init(&b, a, 100000);
    for (size_t i = 0; i < LIMIT_ATTRIBUTES - 3; i++) sbuf_addf(&b, "%s\"c%zu\":1", i ? "," : "", i);
    struct identity id = identity_of(a, sbuf_str(&b).p);
    assert_int_equal(id.nclaims, LIMIT_ATTRIBUTES); // with iss, sub and aud
    sbuf_init(&b, a, 100000);
    sbuf_add_c(&b, "\"groups\":[\"g\"");
    for (size_t i = 0; i < LIMIT_ATTRIBUTE_VALUES - 4; i++) sbuf_add_c(&b, ",\"g\"");
    sbuf_add_c(&b, "]");
    assert_int_equal(identity_of(a, sbuf_str(&b).p).groups.n, LIMIT_ATTRIBUTE_VALUES - 3);
}

static enum err_code merge(struct arena *a, struct identity *id, const char *json)
{
    struct oidc_client client = test_client();
    struct err err = { 0 };
    struct identity before = *id;
    bool ok = oidc_userinfo_merge(a, &client, str_c(json), id, &err);
    assert_int_equal(ok, err.code == ERR_NONE);
    if (!ok) assert_memory_equal(&before, id, sizeof before);
    return err.code;
}

static void test_userinfo_adds(void **state)
{
    struct arena *a = *state;
    struct identity id = identity_of(a, "\"name\":\"Ann\",\"sid\":\"s1\"");
    assert_code(
        merge(a, &id,
              "{\"sub\":\"248289761001\",\"name\":\"Eve\",\"email\":\"a@x.org\",\"email_verified\":true,"
              "\"groups\":[\"staff\"],\"sid\":\"evil\",\"acr\":\"high\",\"dept\":\"it\"}"),
        ERR_NONE);
    assert_str(id.subject, "248289761001");
    assert_str(id.name, "Ann");
    assert_str(id.email, "a@x.org");
    assert_true(id.email_verified);
    assert_list(id.groups, "staff");
    assert_str(id.sid, "s1");
    assert_null(claim(&id, "acr"));
    assert_list(claim(&id, "dept")->values, "it");
}

// Not even when they are mapped to something.
static void test_userinfo_says_nothing_about_the_login(void **state)
{
    struct arena *a = *state;
    struct oidc_client client = test_client();
    struct str names[] = { STR("acr"), STR("nonce"), STR("sid") };
    struct identity id;
    struct err err = { 0 };
    client.mapping.username = client.mapping.groups = (struct strlist){ names, 3 };
    assert_code(login_as(a, &client, STR(PAYLOAD), &id), ERR_NONE);
    assert_null(id.username.p);
    struct str answer = STR("{\"sub\":\"248289761001\",\"acr\":\"high\",\"nonce\":\"x\",\"sid\":\"s\"}");
    assert_true(oidc_userinfo_merge(a, &client, answer, &id, &err));
    assert_null(id.username.p);
    assert_null(id.sid.p);
    assert_false(id.groups_known);
}

static void test_userinfo_of_somebody_else(void **state)
{
    struct arena *a = *state;
    struct identity id = identity_of(a, "\"name\":\"Ann\"");
    static const char *const bad[] = {
        "{\"sub\":\"248289761002\",\"groups\":[\"admin\"]}",
        "{\"groups\":[\"admin\"]}",
        "{\"sub\":\"\"}",
        "{\"sub\":null}",
        "{\"sub\":248289761001}",
        "{\"sub\":[\"248289761001\"]}",
        "{\"sub\":\"248289761001 \"}",
        "{\"sub\":\"x\",\"sub\":\"248289761001\"}",
        "[{\"sub\":\"248289761001\"}]",
        "",
        "eyJhbGciOiJub25lIn0.e30.",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_code(merge(a, &id, bad[i]), ERR_OIDC_USERINFO);
    // The subject may be mapped from elsewhere; what counts is the claim `sub`.
    id.subject = STR("other");
    assert_code(merge(a, &id, "{\"sub\":\"other\"}"), ERR_OIDC_USERINFO);
    assert_code(merge(a, &id, "{\"sub\":\"248289761001\",\"oid\":\"evil\"}"), ERR_NONE);
    assert_str(id.subject, "other");
    struct identity nobody = { .subject = STR("x") };
    assert_code(merge(a, &nobody, "{\"sub\":\"\"}"), ERR_OIDC_USERINFO);
    assert_code(merge(a, &nobody, "{}"), ERR_OIDC_USERINFO);
}

static void test_userinfo_verifies_only_its_own_address(void **state)
{
    struct arena *a = *state;
    struct identity id = identity_of(a, "\"email\":\"boss@corp.com\"");
    assert_code(merge(a, &id, "{\"sub\":\"248289761001\",\"email\":\"a@x.org\",\"email_verified\":true}"),
                ERR_NONE);
    assert_str(id.email, "boss@corp.com");
    assert_false(id.email_verified);
    id = identity_of(a, "\"email\":\"boss@corp.com\"");
    assert_code(merge(a, &id, "{\"sub\":\"248289761001\",\"email_verified\":true}"), ERR_NONE);
    assert_false(id.email_verified);
    id = identity_of(a, "\"email\":\"boss@corp.com\"");
    assert_code(
        merge(a, &id, "{\"sub\":\"248289761001\",\"email\":\"boss@corp.com\",\"email_verified\":true}"),
        ERR_NONE);
    assert_true(id.email_verified);
    id = identity_of(a, "\"email_verified\":true");
    assert_code(merge(a, &id, "{\"sub\":\"248289761001\",\"email\":\"a@x.org\"}"), ERR_NONE);
    assert_str(id.email, "a@x.org");
    assert_false(id.email_verified);
    id = identity_of(a, "\"email\":\"boss@corp.com\",\"email_verified\":false");
    assert_code(
        merge(a, &id, "{\"sub\":\"248289761001\",\"email\":\"boss@corp.com\",\"email_verified\":true}"),
        ERR_NONE);
    assert_false(id.email_verified);
}

static void test_userinfo_is_bounded(void **state)
{
    struct arena *a = *state;
    struct identity id = identity_of(a, "\"name\":\"Ann\"");
    struct sbuf b;
    sbuf_init(&b, a, 2 << 20);
    sbuf_add_c(&b, "{\"sub\":\"248289761001\"");
    for (size_t i = 0; i < LIMIT_ATTRIBUTES - 4; i++) sbuf_addf(&b, ",\"c%zu\":1", i);
    struct identity full = id;
    assert_code(merge(a, &full, arena_printf(a, "%s}", sbuf_str(&b).p).p), ERR_NONE);
    assert_int_equal(full.nclaims, LIMIT_ATTRIBUTES);
    sbuf_add_c(&b, ",\"one_more\":1");
    struct str over = arena_printf(a, "%s}", sbuf_str(&b).p);
    assert_code(merge(a, &id, over.p), ERR_OIDC_CLAIM); // together with the four of the token
    assert_code(merge(a, &id, "{\"sub\":\"248289761001\",\"email\":\"a@evil.com@corp.com\"}"),
                ERR_OIDC_CLAIM);
    char *pad = arena_alloc(a, LIMIT_JSON_BYTES + 1);
    memset(pad, ' ', LIMIT_JSON_BYTES);
    struct str large = arena_printf(a, "{\"sub\":\"248289761001\"}%s", pad);
    assert_code(merge(a, &id, large.p), ERR_OIDC_USERINFO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_full_identity),
        TEST(test_what_is_not_said_is_absent),
        TEST(test_email_verified_is_the_json_value),
        TEST(test_trusted_addresses_count_unless_the_provider_denies),
        TEST(test_email_verified_speaks_of_email),
        TEST(test_groups_in_every_shape),
        TEST(test_entra_overage),
        TEST(test_nested_names),
        TEST(test_nested_values_are_checked_too),
        TEST(test_names_of_claims_are_checked),
        TEST(test_mapping_takes_the_first_present),
        TEST(test_values_keep_their_spelling),
        TEST(test_the_most_claims),
        TEST(test_userinfo_adds),
        TEST(test_userinfo_says_nothing_about_the_login),
        TEST(test_userinfo_of_somebody_else),
        TEST(test_userinfo_verifies_only_its_own_address),
        TEST(test_userinfo_is_bounded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_keys_free();
    return failed;
}
