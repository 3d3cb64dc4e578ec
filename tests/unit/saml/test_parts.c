// SPDX-License-Identifier: GPL-3.0-or-later
// The small parts: times, XML before and after the parser, the table of attribute names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <string.h>

#include "saml/mapping.h"
#include "saml/timestamp.h"
#include "saml/xml.h"

static struct arena *arena;

static int start(void **state)
{
    (void)state;
    xmlInitParser();
    arena = arena_new(64 << 20);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(arena);
    xmlCleanupParser();
    return 0;
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t t;
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2026-01-15T12:00:00Z", 1768478400 },
        { "2026-01-15T12:00:00.999999999999Z", 1768478400 },
        { "2026-01-15T14:00:00+02:00", 1768478400 },
        { "2026-01-15T06:30:00-05:30", 1768478400 },
        { "2024-02-29T00:00:00Z", 1709164800 },
        { "2000-03-01T00:00:00Z", 951868800 },
        { "2100-03-01T00:00:00Z", 4107542400 },
        { "9999-12-31T23:59:59Z", 253402300799 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t t = -1;
        if (!timestamp_parse(str_c(good[i].text), &t) || t != good[i].t)
            fail_msg("%s gave %lld", good[i].text, (long long)t);
    }
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-15",
        "2026-01-15T12:00:00",
        "2026-01-15 12:00:00Z",
        "2026-01-15T12:00Z",
        "2026-13-15T12:00:00Z",
        "2026-00-15T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-01-32T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "2026-01-15T24:00:00Z",
        "2026-01-15T12:60:00Z",
        "2026-01-15T12:00:60Z",
        "2026-01-15T12:00:00.Z",
        "2026-01-15T12:00:00ZZ",
        "2026-01-15T12:00:00+2:00",
        "2026-01-15T12:00:00+15:00",
        "2026-01-15T12:00:00+02",
        " 2026-01-15T12:00:00Z",
        "2026-01-15T12:00:00Z ",
        "-2026-01-15T12:00:00Z",
        "12026-01-15T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-1-15T12:00:00Z",
        "2026-01-15t12:00:00z",
        "1768478400",
        "2026-01-15T12:00:00+02:60",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t t = 42;
        if (timestamp_parse(str_c(bad[i]), &t) || t != 42) fail_msg("'%s' was accepted", bad[i]);
    }
    assert_true(str_eq_c(timestamp_format(arena, 1768478400), "2026-01-15T12:00:00Z"));
}

static enum err_code parse(struct str s)
{
    struct err err = { 0 };
    return xml_parse(arena, s, 1 << 20, &err) ? ERR_NONE : err.code;
}

static struct str with_attributes(int n)
{
    struct sbuf b;
    sbuf_init(&b, arena, 1 << 20);
    sbuf_add_c(&b, "<a><!-- = = --><![CDATA[ <x = ]]><b");
    for (int i = 0; i < n; i++) sbuf_addf(&b, " a%d='>=\"='", i);
    sbuf_add_c(&b, "/></a>");
    return sbuf_str(&b);
}

static void test_attributes_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(parse(with_attributes(XML_MAX_ATTRIBUTES)), ERR_NONE);
    assert_int_equal(parse(with_attributes(XML_MAX_ATTRIBUTES + 1)), ERR_SAML_XML);
}

static void test_documents(void **state)
{
    (void)state;
    assert_int_equal(parse(STR("<a/>")), ERR_NONE);
    assert_int_equal(parse(STR("\xef\xbb\xbf<a/>")), ERR_NONE);
    assert_int_equal(parse(STR("<?xml version='1.0'?><!-- c --><a>&amp;&#65;</a><!-- d -->")), ERR_NONE);
    static const char *const bad[] = {
        "<a>",
        "<a/><b/>",
        "text",
        "<a",
        "<a b='",
        "<!-- ",
        "<a><![CDATA[</a>",
        "<?pi",
        "<!DOCTYPE a><a/>",
        "<!doctype a><a/>",
        "<!ELEMENT a ANY><a/>",
        "<a>&b;</a>",
        "<a b='1' b='2'/>",
        "<x:a/>",
        "<a x:b='1'/>",
        "<a xml:id='x'/>",
        "<a><b xml:id='x'/></a>",
        "<a>&#0;</a>",
        "<a>\x01</a>",
        "<a b='<'/>",
        "<",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        "<!>",
        "<a/>\x1f",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(str_c(bad[i])) != ERR_SAML_XML)
            fail_msg("'%s' gave %s", bad[i], err_name(parse(str_c(bad[i]))));
    assert_int_equal(parse(STR("<\0a\0/\0>\0")), ERR_SAML_ENCODING);
}

// 300 levels are refused, and not by a crash.
static void test_depth(void **state)
{
    (void)state;
    struct sbuf b;
    sbuf_init(&b, arena, 1 << 20);
    for (int i = 0; i < 300; i++) sbuf_add_c(&b, "<a>");
    for (int i = 0; i < 300; i++) sbuf_add_c(&b, "</a>");
    assert_int_equal(parse(sbuf_str(&b)), ERR_SAML_XML);
}

static void test_mapping_table(void **state)
{
    (void)state;
    static const char *const fields[] = { "subject", "email", "username", "name", "groups" };
    size_t n, total = 0;
    const struct saml_default_name *names = saml_default_names(&n);
    for (size_t f = 0; f < 5; f++) {
        struct str room[MAPPING_MAX];
        struct strlist l = mapping_names(fields[f], (struct strlist){ NULL, 0 }, room);
        assert_true(l.n > 3);
        total += l.n;
    }
    assert_int_equal(total, n); // nothing cut off, nothing under another name
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(!strcmp(names[i].name, names[k].name) && !strcmp(names[i].field, names[k].field));
}

// The operators' page names every attribute that is understood, under its field.
static void test_the_manual_names_every_attribute(void **state)
{
    (void)state;
    static char text[64 * 1024];
    FILE *f = fopen(VECTOR_DIR "/../../../docs/identity-providers.md", "r");
    assert_non_null(f);
    assert_in_range(fread(text, 1, sizeof text - 1, f), 1, sizeof text - 2);
    fclose(f);
    size_t n;
    const struct saml_default_name *names = saml_default_names(&n);
    for (size_t i = 0; i < n; i++) {
        char row[32], quoted[256];
        snprintf(row, sizeof row, "\n| %s |", names[i].field);
        snprintf(quoted, sizeof quoted, "`%s`", names[i].name);
        char *start = strstr(text, row), *end = start ? strchr(start + 1, '\n') : NULL;
        char *hit = start ? strstr(start, quoted) : NULL;
        if (!hit || hit > end) fail_msg("%s: %s", names[i].field, names[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),         cmocka_unit_test(test_attributes_are_bounded),
        cmocka_unit_test(test_documents),     cmocka_unit_test(test_depth),
        cmocka_unit_test(test_mapping_table), cmocka_unit_test(test_the_manual_names_every_attribute),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
