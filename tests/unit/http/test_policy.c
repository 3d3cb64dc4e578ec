// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <string.h>

#include "http/policy.h"

static struct http_fields fields;

// Lines of "Name: value" separated by '\n'.
static struct http_fields *with(const char *lines)
{
    struct str rest = str_c(lines), line;
    fields.n = 0;
    while (str_cut(&rest, '\n', &line)) {
        size_t colon = str_find(line, ':');
        if (colon == line.n) continue;
        struct str name = str_take(line, colon);
        assert_true(http_fields_add(&fields, http_field_id(name), name, str_trim(str_skip(line, colon + 1))));
    }
    return &fields;
}

static void assert_left(const char *want)
{
    struct arena *a = arena_new(100000);
    struct sbuf b;
    sbuf_init(&b, a, 50000);
    for (size_t i = 0; i < fields.n; i++)
        if (!fields.v[i].removed)
            sbuf_addf(&b, "%s%.*s: %.*s", b.n ? "\n" : "", STR_FMT(fields.v[i].name),
                      STR_FMT(fields.v[i].value));
    assert_str(sbuf_str(&b), want);
    arena_free(a);
}

static void request(const char *before, const char *after)
{
    http_scrub_request(with(before));
    assert_left(after);
}

static void test_identity_is_removed(void **state)
{
    (void)state;
    request("Host: a\nX-Forwarded-User: admin\nx-forwarded-USER: admin\nX-Forwarded-Email:\nAccept: b",
            "Host: a\nAccept: b");
    request("Remote-User: admin\nX-Sallyport-Whatever: x\nX-Auth-Request-User: x\nCf-Access-Jwt-Assertion: x",
            "");
    request("X_Forwarded_User: admin\nX-Forwarded_User: admin\nREMOTE_USER: admin\nx_sallyport_user: x", "");
    request("Authorization: Basic eDp5\nX-Auth-Token: t", "Authorization: Basic eDp5\nX-Auth-Token: t");
}

// Every name with a flag, and every one of them with '_': none of the table can be overlooked.
static void test_scrub_follows_the_table(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    for (enum field_id id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct str name = http_field_name(id);
        if (name.n == 0) continue;
        unsigned flags = http_field_flags(id);
        bool gone = flags & (FLAG_HOP | FLAG_IDENTITY | FLAG_FORWARDING);
        http_scrub_request(with(arena_printf(a, "%.*s: x", STR_FMT(name)).p));
        if (fields.v[0].removed != gone) fail_msg("%.*s", STR_FMT(name));
        size_t dash = str_find(name, '-');
        if (dash == name.n) continue;
        struct str under = arena_str(a, name);
        ((char *)under.p)[dash] = '_';
        http_scrub_request(with(arena_printf(a, "%.*s: x", STR_FMT(under)).p));
        if (!fields.v[0].removed) fail_msg("%.*s", STR_FMT(under));
    }
    arena_free(a);
}

static void test_underscores_are_removed(void **state)
{
    (void)state;
    request(
        "X_Real_IP: 1\nContent_Length: 5\nTransfer_Encoding: chunked\nX-App_Thing: 1\n_: 2\nX-App-Thing: 3",
        "X-App-Thing: 3");
}

// Apache httpd before 2.4 and lighttpd make HTTP_REMOTE_USER of these as well.
static void test_other_punctuation_is_removed(void **state)
{
    (void)state;
    request("Remote.User: admin\nX!Sallyport~User: admin\nX-Forwarded.For: 1\nX.A: 1\nX'B: 2\nX-9: 3",
            "X-9: 3");
    struct arena *a = arena_new(100000);
    for (int c = '!'; c < 0x7F; c++) {
        char name[] = "XxA";
        name[1] = (char)c;
        if (!http_is_token((struct str){ name, 3 })) continue;
        http_scrub_request(with(arena_printf(a, "%s: 1", name).p));
        assert_int_equal(fields.v[0].removed, !ascii_is_alnum((char)c) && c != '-');
    }
    arena_free(a);
}

static void test_forwarding_fields_are_removed(void **state)
{
    (void)state;
    const char *lines =
        "X-Forwarded-For: 10.0.0.1\nX-Original-URL: /admin\nX-Rewrite-URL: /admin\nForwarded: for=1.2.3.4\n"
        "X-Auth-Request-Redirect: https://a\nX-HTTP-Method-Override: DELETE";
    request(lines, "");
}

static void test_hop_by_hop_is_removed(void **state)
{
    (void)state;
    request("Connection: close\nKeep-Alive: 1\nProxy-Connection: x\nTransfer-Encoding: chunked\nTE: "
            "trailers\nTrailer: x\n"
            "Upgrade: websocket\nHTTP2-Settings: x\nProxy-Authorization: x\nProxy: http://evil\nX-A: 1",
            "X-A: 1");
}

static void test_connection_names_are_removed(void **state)
{
    (void)state;
    request("X-Hop: 1\nConnection: close, x-HOP ,,\nConnection: x-other\nX-Other: 2\nX-Stay: 3", "X-Stay: 3");
    request("X-A: X-Stay\nX-Stay: 1", "X-A: X-Stay\nX-Stay: 1");
    // Also when it comes before what it names.
    request("Connection: X-Hop\nX-Hop: 1", "");
}

// CVE-2022-31813: what is needed must not be taken out at a client's wish.
static void test_connection_cannot_name_what_is_needed(void **state)
{
    (void)state;
    request(
        "Connection: Host, Cookie, Content-Length, Authorization\nHost: a\nCookie: a=b\nContent-Length: 3\n"
        "Authorization: x",
        "Host: a\nCookie: a=b\nContent-Length: 3\nAuthorization: x");
}

// CVE-2025-48865: identity that is set after the scrub is there, whatever Connection named.
static void test_identity_set_after_the_scrub_stays(void **state)
{
    (void)state;
    http_scrub_request(with("Connection: X-Forwarded-User\nX-Forwarded-User: admin"));
    assert_true(http_fields_set(&fields, FIELD_X_FORWARDED_USER, STR("ann")));
    assert_left("X-Forwarded-User: ann");
}

static void test_response_scrub(void **state)
{
    (void)state;
    http_scrub_response(
        with("Server: x\nX-Powered-By: y\nX-AspNet-Version: 4\nConnection: X-Hop\nX-Hop: 1\nKeep-Alive: 2\n"
             "Transfer-Encoding: chunked\nSet-Cookie: a=1\nSet-Cookie: b=2\nX_A: 1\nDate: now\n"
             "Content-Length: 3"));
    assert_left("Set-Cookie: a=1\nSet-Cookie: b=2\nX_A: 1\nDate: now\nContent-Length: 3");
}

static void secured(const char *before, enum secure_headers level, const char *after)
{
    http_secure_response(with(before), level);
    assert_left(after);
}

static void test_secure_balanced(void **state)
{
    (void)state;
    secured("X: y", SECURE_OFF, "X: y");
    secured("", SECURE_BALANCED,
            "Strict-Transport-Security: max-age=31536000\nX-Content-Type-Options: nosniff\n"
            "Referrer-Policy: strict-origin-when-cross-origin\nX-Frame-Options: SAMEORIGIN\n"
            "Permissions-Policy: browsing-topics=(), hid=(self), midi=(self), serial=(self), usb=(self)");
}

static void test_secure_keeps_what_the_application_set(void **state)
{
    (void)state;
    const char *own =
        "strict-transport-security: max-age=5\nx-content-type-options: x\nReferrer-Policy: origin\n"
        "X-Frame-Options: DENY\nPermissions-Policy: usb=*";
    secured(own, SECURE_BALANCED, own);
}

static void test_secure_framing(void **state)
{
    (void)state;
    http_secure_response(with("Content-Security-Policy: default-src *; Frame-Ancestors https://x"),
                         SECURE_BALANCED);
    assert_null(http_fields_get(&fields, FIELD_X_FRAME_OPTIONS));
    http_secure_response(
        with("Content-Security-Policy: a\nContent-Security-Policy: b, frame-ancestors 'none'"),
        SECURE_STRICT);
    assert_null(http_fields_get(&fields, FIELD_X_FRAME_OPTIONS));
    // Not a directive of that name.
    http_secure_response(with("Content-Security-Policy: report-uri /frame-ancestors; frame-ancestorsx y"),
                         SECURE_BALANCED);
    assert_str(http_fields_value(&fields, FIELD_X_FRAME_OPTIONS), "SAMEORIGIN");
    http_secure_response(
        with("X-A: frame-ancestors *\nContent-Security-Policy-Report-Only: frame-ancestors *"),
        SECURE_BALANCED);
    assert_str(http_fields_value(&fields, FIELD_X_FRAME_OPTIONS), "SAMEORIGIN");
    // frame-ancestors would overrule the application's own choice.
    http_secure_response(with("X-Frame-Options: SAMEORIGIN"), SECURE_STRICT);
    struct str csp = http_fields_value(&fields, FIELD_CSP);
    assert_true(csp.n > 0 && str_search(csp, STR("frame-ancestors")) == csp.n);
}

static void test_secure_strict(void **state)
{
    (void)state;
    http_secure_response(with(""), SECURE_STRICT);
    assert_str(http_fields_value(&fields, FIELD_HSTS), "max-age=31536000; includeSubDomains");
    assert_str(http_fields_value(&fields, FIELD_X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_str(http_fields_value(&fields, FIELD_REFERRER_POLICY), "no-referrer");
    assert_str(http_fields_value(&fields, FIELD_X_FRAME_OPTIONS), "deny");
    assert_str(http_fields_value(&fields, FIELD_X_PERMITTED_CROSS_DOMAIN_POLICIES), "none");
    assert_str(http_fields_value(&fields, FIELD_COOP), "same-origin");
    assert_str(http_fields_value(&fields, FIELD_COEP), "require-corp");
    assert_str(http_fields_value(&fields, FIELD_CORP), "same-origin");
    assert_str(
        http_fields_value(&fields, FIELD_CSP),
        "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; "
        "upgrade-insecure-requests");
    assert_true(str_starts(http_fields_value(&fields, FIELD_PERMISSIONS_POLICY), STR("accelerometer=(), ")));
}

static void test_secure_has_room_after_the_largest_head(void **state)
{
    (void)state;
    with("");
    while (fields.n < LIMIT_HEADERS) http_fields_add(&fields, FIELD_OTHER, STR("a"), STR("b"));
    http_secure_response(&fields, SECURE_STRICT);
    assert_non_null(http_fields_get(&fields, FIELD_CSP));
}

static void test_forwarded(void **state)
{
    (void)state;
    struct arena *a = arena_new(100000);
    assert_str(http_forwarded(a, STR("10.0.0.1"), STR("a.example"), true),
               "for=10.0.0.1;host=a.example;proto=https");
    assert_str(http_forwarded(a, STR("2001:db8::1"), STR("a.example:8443"), false),
               "for=\"[2001:db8::1]\";host=\"a.example:8443\";proto=http");
    assert_str(http_forwarded(a, STR_NONE, STR("[::1]"), true), "for=unknown;host=\"[::1]\";proto=https");
    assert_str(http_forwarded(a, STR("1.2.3.4"), STR("a\";for=\"evil\\"), true),
               "for=1.2.3.4;host=\"a\\\";for=\\\"evil\\\\\";proto=https");
    assert_null(http_forwarded(a, STR("1.2.3.4"), STR("a\r\nX: y"), true).p);
    arena_free(a);
    a = arena_new(64);
    assert_null(http_forwarded(a, STR("2001:db8::1"), STR("a.example"), true).p);
    arena_free(a);
}

static bool navigates(const char *method, const char *lines, bool upgrade)
{
    static struct http_request_head head;
    head.method = str_c(method);
    head.fields = *with(lines);
    head.upgrade = upgrade;
    return http_is_navigation(&head);
}

static void test_navigation(void **state)
{
    (void)state;
    const char *browser = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\nSec-Fetch-Mode: navigate";
    assert_true(navigates("GET", browser, false));
    assert_true(navigates("HEAD", "Accept: */*;q=0.1, TEXT/HTML ; level=1", false));
    assert_true(navigates("POST", browser, false));
    assert_false(navigates("POST", "Accept: text/html", false)); // perhaps a script
    assert_false(navigates("POST", "Accept: text/html\nSec-Fetch-Mode: cors", false));
    assert_false(navigates("PUT", browser, false));
    assert_false(navigates("get", browser, false));
    assert_false(navigates("GET", browser, true));
    assert_false(navigates("GET", "", false));
    assert_false(navigates("GET", "Accept: */*", false));
    assert_false(navigates("GET", "Accept: application/json, text/htmlx", false));
    assert_false(navigates("GET", "Accept: text/html\nSec-Fetch-Mode: cors", false));
    assert_false(navigates("GET", "Accept: text/html\nSec-Fetch-Mode: ", false));
    assert_false(navigates("GET", "Accept: text/html\nX-Requested-With: XMLHttpRequest", false));
    assert_false(navigates("GET", "Accept: text/html\nSec-Purpose: prefetch;prerender", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_is_removed),
        cmocka_unit_test(test_scrub_follows_the_table),
        cmocka_unit_test(test_underscores_are_removed),
        cmocka_unit_test(test_other_punctuation_is_removed),
        cmocka_unit_test(test_forwarding_fields_are_removed),
        cmocka_unit_test(test_hop_by_hop_is_removed),
        cmocka_unit_test(test_connection_names_are_removed),
        cmocka_unit_test(test_connection_cannot_name_what_is_needed),
        cmocka_unit_test(test_identity_set_after_the_scrub_stays),
        cmocka_unit_test(test_response_scrub),
        cmocka_unit_test(test_secure_balanced),
        cmocka_unit_test(test_secure_keeps_what_the_application_set),
        cmocka_unit_test(test_secure_framing),
        cmocka_unit_test(test_secure_strict),
        cmocka_unit_test(test_secure_has_room_after_the_largest_head),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_navigation),
    };
    return cmocka_run_group_tests_name("http policy", tests, NULL, NULL);
}
