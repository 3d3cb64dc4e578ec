// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <string.h>

#include "http/head.h"

static void test_every_name_is_found_in_any_case(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct str name = http_field_name(id);
        if (id == FIELD_OTHER_IDENTITY) continue;
        assert_true(http_is_token(name));
        char *upper = arena_alloc(a, name.n + 2), *lower = arena_alloc(a, name.n + 2);
        for (size_t i = 0; i < name.n; i++) {
            lower[i] = ascii_lower(name.p[i]);
            upper[i] = lower[i] >= 'a' && lower[i] <= 'z' ? (char)(lower[i] - 32) : lower[i];
        }
        assert_int_equal(http_field_id(name), id);
        assert_int_equal(http_field_id(str_c(upper)), id);
        assert_int_equal(http_field_id(str_c(lower)), id);
        // One byte more, one less, another last byte: another name.
        upper[name.n] = 'X';
        assert_int_not_equal(http_field_id(str_c(upper)), id);
        assert_int_not_equal(http_field_id(str_take(name, name.n - 1)), id);
        upper[name.n] = '\0';
        upper[name.n - 1] = '~';
        assert_int_not_equal(http_field_id(str_c(upper)), id);
    }
    arena_free(a);
}

// CVE-2025-64484: X_Forwarded_User is HTTP_X_FORWARDED_USER for the application.
static void test_underscores_count_as_dashes_in_identity_names_only(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct str name = arena_str(a, http_field_name(id));
        if (str_find(name, '-') == name.n) continue;
        ((char *)name.p)[str_find(name, '-')] = '_';
        bool identity = http_field_flags(id) & FLAG_IDENTITY;
        enum field_id want = identity ? id : FIELD_OTHER;
        if (http_field_id(name) != want) fail_msg("%.*s", STR_FMT(name));
    }
    assert_int_equal(http_field_id(STR("x_forwarded_USER")), FIELD_X_FORWARDED_USER);
    assert_int_equal(http_field_id(STR("X_Sallyport-Anything")), FIELD_OTHER_IDENTITY);
    assert_int_equal(http_field_id(STR("Content_Length")), FIELD_OTHER);
    assert_int_equal(http_field_id(STR("Transfer_Encoding")), FIELD_OTHER);
    arena_free(a);
}

// Every name of every preset of identity headers, one by one.
static void test_identity_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "X-Sallyport-User",
        "X-Sallyport-Email",
        "X-Sallyport-Name",
        "X-Sallyport-Groups",
        "X-Sallyport-Subject",
        "X-Sallyport-Provider",
        "X-Sallyport-Assertion",
        "X-Sallyport-Something-New",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username",
        "X-Auth-Request-Access-Token",
        "Remote-User",
        "Remote-Groups",
        "Remote-Name",
        "Remote-Email",
        "X-Pomerium-Jwt-Assertion",
        "X-Pomerium-Claim-Email",
        "Cf-Access-Jwt-Assertion",
        "Cf-Access-Authenticated-User-Email",
        "x-goog-iap-jwt-assertion",
        "x-goog-authenticated-user-email",
        "x-goog-authenticated-user-id",
        "X-Auth-Userid",
        "X-Auth-Username",
        "X-Auth-Email",
        "X-Auth-Groups",
        "X-Auth-Roles",
        "X-Auth-Subject",
        "X-Remote-User",
        "X-Remote-Extra-Scopes",
        "X-WEBAUTH-USER",
        "X-authentik-username",
        "X-Vouch-User",
        "x-amzn-oidc-data",
        "X-MS-CLIENT-PRINCIPAL",
        "X-MS-CLIENT-PRINCIPAL-NAME",
        "X-MS-TOKEN-AAD-ID-TOKEN",
        "X-Forwarded-Client-Cert",
        "X-Forwarded-Roles",
        "x_forwarded_anything",
        "SSL-Client-S-DN",
        "X-SSL-Client-Verify",
        "OIDC-CLAIM-sub",
        "MELLON-uid",
        "Tailscale-User-Login",
        "X-Authenticated-Userid",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(http_field_flags(http_field_id(str_c(names[i]))) & FLAG_IDENTITY)) fail_msg("%s", names[i]);
}

// Names are compared by whole registers: each byte must count, in any case of its letters.
static void test_every_byte_of_a_name_counts(void **state)
{
    (void)state;
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct str name = http_field_name(id);
        char copy[64];
        for (size_t i = 0; i < name.n; i++) {
            memcpy(copy, name.p, name.n);
            copy[i] = ascii_is_alnum(copy[i]) && (unsigned char)copy[i] > '9' ? copy[i] ^ 0x20 : copy[i];
            if (http_field_id((struct str){ copy, name.n }) != id) fail_msg("%.*s", (int)name.n, copy);
            copy[i] = name.p[i] == 'q' ? 'z' : 'q';
            if (http_field_id((struct str){ copy, name.n }) == id) fail_msg("%.*s", (int)name.n, copy);
        }
        if (name.n && http_field_id(str_take(name, name.n - 1)) == id) fail_msg("%.*s", STR_FMT(name));
    }
}

static void test_names_that_stay(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Authorization",  "X-Auth-Token", "X-Api-Key", "X-Auth", "X-Sallyport", "X-User",
        "X-Goog-Api-Key", "X-Csrf-Token", "Remote",    "",       "x",           "Accept-Language"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_field_flags(http_field_id(str_c(names[i]))) != FLAG_PLAIN) fail_msg("%s", names[i]);
    assert_int_equal(http_field_id(STR("X-Auth-Request-Redirect")), FIELD_X_AUTH_REQUEST_REDIRECT);
    assert_int_equal(http_field_flags(FIELD_X_AUTH_REQUEST_REDIRECT), FLAG_FORWARDING);
}

static void test_long_names_are_safe(void **state)
{
    (void)state;
    char name[3000];
    memset(name, '_', sizeof name);
    for (size_t n = 0; n < sizeof name; n++)
        assert_int_equal(http_field_id((struct str){ name, n }), FIELD_OTHER);
    memcpy(name, "X_Sallyport_", 12);
    assert_int_equal(http_field_id((struct str){ name, sizeof name }), FIELD_OTHER_IDENTITY);
    assert_str(http_field_name(FIELD_COUNT), "");
    assert_str(http_field_name(FIELD_OTHER), "");
    assert_int_equal(http_field_flags(FIELD_COUNT), FLAG_PLAIN);
}

static void test_list(void **state)
{
    (void)state;
    static struct http_fields f;
    f.n = 0;
    assert_true(http_fields_add(&f, FIELD_COOKIE, STR("Cookie"), STR("a=1")));
    assert_true(http_fields_add(&f, FIELD_COOKIE, STR("cookie"), STR("b=1")));
    assert_str(http_fields_value(&f, FIELD_COOKIE), "a=1");
    f.v[0].removed = true;
    assert_str(http_fields_value(&f, FIELD_COOKIE), "b=1");
    assert_true(http_fields_add(&f, FIELD_DATE, STR("Date"), STR("now")));
    http_fields_remove(&f, FIELD_COOKIE);
    assert_str(http_fields_value(&f, FIELD_DATE), "now");
    assert_null(http_fields_get(&f, FIELD_COOKIE));
    assert_null(http_fields_value(&f, FIELD_COOKIE).p);
    assert_true(http_fields_set(&f, FIELD_X_FORWARDED_USER, STR("ann")));
    assert_true(http_fields_set(&f, FIELD_X_FORWARDED_USER, STR("bob")));
    assert_str(http_fields_value(&f, FIELD_X_FORWARDED_USER), "bob");
    assert_str(http_fields_get(&f, FIELD_X_FORWARDED_USER)->name, "X-Forwarded-User");
    while (f.n < LIMIT_HEADERS + LIMIT_HEADERS_ADDED)
        assert_true(http_fields_add(&f, FIELD_OTHER, STR("a"), STR("b")));
    assert_false(http_fields_add(&f, FIELD_OTHER, STR("a"), STR("b")));
    assert_int_equal(f.n, LIMIT_HEADERS + LIMIT_HEADERS_ADDED);
}

static void test_tokens_and_values(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        struct str s = { &byte, 1 };
        bool token = (c && strchr("!#$%&'*+-.^_`|~", c)) || (c < 0x80 && ascii_is_alnum(byte));
        assert_int_equal(http_is_token(s), token);
        assert_int_equal(http_is_field_value(s), c == '\t' || (c >= 0x20 && c != 0x7F));
    }
    assert_false(http_is_token(STR("")));
    assert_false(http_is_token(STR("a b")));
    assert_true(http_is_field_value(STR("")));
    assert_true(http_is_field_value(STR_NONE));
    assert_false(http_is_field_value(STR("0123456789\r\nSet-Cookie: a=b")));
}

static void test_media_types(void **state)
{
    (void)state;
    assert_true(http_media_type_is(STR("application/json"), "application/json"));
    assert_true(http_media_type_is(STR(" Application/JSON ; charset=utf-8"), "application/json"));
    assert_false(http_media_type_is(STR("text/plain; application/json"), "application/json"));
    assert_false(http_media_type_is(STR("application/jsonp"), "application/json"));
    assert_false(http_media_type_is(STR("application/json, text/plain"), "application/json"));
    assert_false(http_media_type_is(STR(""), "application/json"));
    assert_false(http_media_type_is(STR_NONE, "application/json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_is_found_in_any_case),
        cmocka_unit_test(test_underscores_count_as_dashes_in_identity_names_only),
        cmocka_unit_test(test_identity_names),
        cmocka_unit_test(test_every_byte_of_a_name_counts),
        cmocka_unit_test(test_names_that_stay),
        cmocka_unit_test(test_long_names_are_safe),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_tokens_and_values),
        cmocka_unit_test(test_media_types),
    };
    return cmocka_run_group_tests_name("http fields", tests, NULL, NULL);
}
