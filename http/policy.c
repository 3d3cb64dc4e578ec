// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/policy.h"

#include "http/parse.h"

// What a field named in Connection must be for its removal to change nothing that the gateway or the next hop
// relies on: a client could else have the proxy in front of us or us take out what it wrote (CVE-2022-31813,
// CVE-2025-48865).
static bool may_be_nominated(enum field_id id)
{
    return id == FIELD_OTHER;
}

static void remove_nominated(struct http_fields *f, struct str options)
{
    struct str option;
    while (str_cut(&options, ',', &option)) {
        option = str_trim(option);
        if (HTTP_IS(option, "close") || HTTP_IS(option, "keep-alive")) continue;
        for (size_t i = 0; i < f->n; i++)
            if (may_be_nominated(f->v[i].id) && str_eq_nocase(f->v[i].name, option)) f->v[i].removed = true;
    }
}

// RFC 9110 section 7.6.1: before forwarding, the fields that Connection names, then Connection itself.
static void remove_all_nominated(struct http_fields *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_CONNECTION) remove_nominated(f, f->v[i].value);
}

// CGI, WSGI, Rack and PHP turn '-' into '_', some servers every byte that is neither letter nor digit: for
// these X_Remote_User, X.Remote.User and X~Remote~User are one variable (CVE-2025-64484 was the first).
static bool has_other_spellings(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!http_byte_is(name.p[i], BYTE_NAME)) return true;
    return false;
}

void http_scrub_request(struct http_fields *f)
{
    const unsigned removed = FLAG_HOP | FLAG_IDENTITY | FLAG_FORWARDING;
    remove_all_nominated(f);
    for (size_t i = 0; i < f->n; i++) {
        struct http_field *field = &f->v[i];
        if (field->id == FIELD_OTHER ? has_other_spellings(field->name)
                                     : (http_field_flags(field->id) & removed) != 0)
            field->removed = true;
    }
}

void http_scrub_response(struct http_fields *f)
{
    remove_all_nominated(f);
    for (size_t i = 0; i < f->n; i++)
        if (http_field_flags(f->v[i].id) & (FLAG_HOP | FLAG_DISCLOSING)) f->v[i].removed = true;
}

// RFC 7239 section 4: a token, or a quoted-string.
static void add_value(struct sbuf *b, struct str value)
{
    if (http_is_token(value)) {
        sbuf_add(b, value);
        return;
    }
    sbuf_add_c(b, "\"");
    if (str_find(value, '"') == value.n && str_find(value, '\\') == value.n) {
        sbuf_add(b, value);
        sbuf_add_c(b, "\"");
        return;
    }
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\') sbuf_add_c(b, "\\");
        sbuf_add(b, (struct str){ value.p + i, 1 });
    }
    sbuf_add_c(b, "\"");
}

// Section 6: IPv6 addresses in brackets; "unknown" when there is none to tell.
static void add_node(struct sbuf *b, struct arena *a, struct str client)
{
    bool bare_v6 = str_find(client, ':') < client.n && client.p[0] != '[';
    if (client.n == 0)
        sbuf_add_c(b, "unknown");
    else
        add_value(b, bare_v6 ? arena_printf(a, "[%.*s]", STR_FMT(client)) : client);
}

struct str http_forwarded(struct arena *a, struct str client, struct str host, bool https)
{
    struct sbuf b;
    if (!http_is_field_value(client) || !http_is_field_value(host)) return STR_NONE;
    sbuf_init(&b, a, 4096);
    sbuf_add_c(&b, "for=");
    add_node(&b, a, client);
    sbuf_add_c(&b, ";host=");
    add_value(&b, host);
    sbuf_add_c(&b, https ? ";proto=https" : ";proto=http");
    return arena_failed(a) ? STR_NONE : sbuf_str(&b);
}

static bool accepts_html(struct str accept)
{
    struct str range, type = STR_NONE;
    while (str_cut(&accept, ',', &range)) {
        str_cut(&range, ';', &type);
        if (str_eq_nocase(str_trim(type), STR("text/html"))) return true;
    }
    return false;
}

// A speculative load is thrown away when it leads elsewhere; a login begun for it would only leave a cookie
// behind.
static bool is_prefetch(const struct http_fields *f)
{
    struct str purpose = http_fields_value(f, FIELD_SEC_PURPOSE);
    return str_starts_nocase(purpose, STR("prefetch"));
}

bool http_is_navigation(const struct http_request_head *head)
{
    const struct http_fields *f = &head->fields;
    struct str mode = http_fields_value(f, FIELD_SEC_FETCH_MODE);
    bool get = str_eq(head->method, STR("GET")) || str_eq(head->method, STR("HEAD"));
    // A form that a page sends. Scripts use the same method, so here the browser must say so.
    bool form = str_eq(head->method, STR("POST")) && mode.p;
    if (!get && !form) return false;
    if (head->upgrade || http_fields_get(f, FIELD_X_REQUESTED_WITH) || is_prefetch(f)) return false;
    if (mode.p && !str_eq(mode, STR("navigate"))) return false;
    return accepts_html(http_fields_value(f, FIELD_ACCEPT));
}
