// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/pages/pages.h"

#include "base/encode.h"
#include "gateway/pages/pages_embedded.h"
#include "gateway/pages/template.h"

enum {
    PAGE_BYTES_MAX = 512 * 1024,
    BOARDS_BYTES_MAX = 16 * 1024 * 1024, // LIMIT_PICO_LIST_BYTES of names, escaped, in their markup
    OPEN_BOARDS = 8,                     // more of them are folded up
};

#define CSP                                                                                                  \
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "            \
    "frame-ancestors 'none'"
const char page_csp[] = CSP;
const char page_script_csp[] =
    CSP "; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'";

#define SCOPE(f) ((struct template_scope){ (f), sizeof(f) / sizeof *(f), NULL })

static struct str flag(bool on)
{
    return on ? STR("1") : STR_NONE;
}

static struct template_field list_field(const char *name, const struct template_scope *rows, size_t n)
{
    return (struct template_field){ .name = name, .rows = rows, .nrows = n, .list = true };
}

// Escaping does not make "javascript:" harmless: a link leads to this site or to an http(s) address, or it is
// none.
static struct str safe_href(struct str href)
{
    bool path = str_starts(href, STR("/")) && !str_starts(href, STR("//")) && !str_starts(href, STR("/\\"));
    bool http = str_starts_nocase(href, STR("https://")) || str_starts_nocase(href, STR("http://"));
    return path || http ? href : STR_NONE;
}

// The first character of a label, for the round badge beside it.
static struct str initial_of(struct arena *a, struct str label)
{
    if (!str_is_utf8(label, false) || !label.n) return STR("?");
    uint8_t c = (uint8_t)label.p[0];
    if (c >= 'a' && c <= 'z') return arena_printf(a, "%c", c - 'a' + 'A');
    return str_take(label, c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4);
}

// What the layout needs, in front of the page's own fields.
static struct str page_of(struct arena *a, const char *name, const struct page_common *c, struct str title,
                          struct str reason, const struct template_scope *own, size_t max)
{
    const struct template_field common[] = {
        { .name = "page_title", .text = title },
        { .name = "site_name", .text = c->site_name.n ? c->site_name : STR("Sign-in") },
        { .name = "host", .text = c->host },
        { .name = "request_id", .text = c->request_id },
        { .name = "user", .text = c->user },
        { .name = "reason", .text = reason },
        { .name = "wide", .text = flag(max > PAGE_BYTES_MAX) },
    };
    struct template_scope outer = SCOPE(common), inner = *own;
    inner.parent = &outer;
    for (size_t i = 0; i < page_template_count; i++)
        if (str_eq_c(str_c(name), page_templates[i].name))
            return template_render(a, page_templates[i].text, &inner, max);
    return STR_NONE;
}

static struct str page(struct arena *a, const char *name, const struct page_common *c, struct str title,
                       struct str reason, const struct template_scope *own)
{
    return page_of(a, name, c, title, reason, own, PAGE_BYTES_MAX);
}

enum { CHOICE_FIELDS = 4 };

static bool choice_row(struct arena *a, const struct page_choice *v, struct template_scope *ret)
{
    struct template_field *f = arena_array(a, CHOICE_FIELDS, sizeof *f);
    if (!f) return false;
    struct str href = safe_href(v->href);
    f[0] = (struct template_field){ .name = "label", .text = v->label };
    f[1] = (struct template_field){ .name = "href", .text = href };
    f[2] = (struct template_field){ .name = "available", .text = flag(v->available && href.n) };
    f[3] = (struct template_field){ .name = "initial", .text = initial_of(a, v->label) };
    *ret = (struct template_scope){ f, CHOICE_FIELDS, NULL };
    return true;
}

struct str page_chooser(struct arena *a, const struct page_common *c, const struct page_choice *v, size_t n,
                        struct str target_host)
{
    struct template_scope *rows = arena_array(a, n, sizeof *rows);
    if (!rows) return STR_NONE;
    for (size_t i = 0; i < n; i++)
        if (!choice_row(a, &v[i], &rows[i])) return STR_NONE;
    struct template_field f[] = { { .name = "target_host", .text = target_host },
                                  list_field("choices", rows, n) };
    struct template_scope scope = SCOPE(f);
    return page(a, "chooser", c, STR("Sign in"), STR_NONE, &scope);
}

static struct template_scope *row_scopes(struct arena *a, const struct page_row *v, size_t n)
{
    struct template_scope *rows = arena_array(a, n, sizeof *rows);
    for (size_t i = 0; rows && i < n; i++) {
        struct template_field *f = arena_array(a, 2, sizeof *f);
        if (!f) return NULL;
        f[0] = (struct template_field){ .name = "name", .text = v[i].name };
        f[1] = (struct template_field){ .name = "value", .text = v[i].value };
        rows[i] = (struct template_scope){ f, 2, NULL };
    }
    return rows;
}

static struct template_scope *name_scopes(struct arena *a, const char *field, struct strlist names)
{
    struct template_scope *rows = arena_array(a, names.n, sizeof *rows);
    for (size_t i = 0; rows && i < names.n; i++) {
        struct template_field *f = arena_alloc(a, sizeof *f);
        if (!f) return NULL;
        *f = (struct template_field){ .name = field, .text = names.v[i] };
        rows[i] = (struct template_scope){ f, 1, NULL };
    }
    return rows;
}

struct str page_whoami(struct arena *a, const struct page_common *c, const struct page_row *rows,
                       size_t nrows, struct strlist groups)
{
    struct template_scope *r = row_scopes(a, rows, nrows), *g = name_scopes(a, "group", groups);
    if (!r || !g) return STR_NONE;
    struct template_field f[] = {
        { .name = "initial", .text = initial_of(a, c->user) },
        list_field("rows", r, nrows),
        { .name = "has_groups", .text = flag(groups.n > 0) },
        list_field("groups", g, groups.n),
    };
    struct template_scope scope = SCOPE(f);
    return page(a, "whoami", c, STR("Signed in"), STR_NONE, &scope);
}

struct str page_confirm_logout(struct arena *a, const struct page_common *c, struct str home_href)
{
    struct template_field f[] = { { .name = "home_href", .text = safe_href(home_href) } };
    struct template_scope scope = SCOPE(f);
    return page(a, "confirm_logout", c, STR("Sign out"), STR_NONE, &scope);
}

struct str page_signed_out(struct arena *a, const struct page_common *c, struct str home_href)
{
    struct template_field f[] = { { .name = "home_href", .text = safe_href(home_href) } };
    struct template_scope scope = SCOPE(f);
    return page(a, "signed_out", c, STR("Signed out"), STR_NONE, &scope);
}

static bool board_row(struct arena *a, const struct page_board *v, struct template_scope *ret)
{
    struct template_scope *functions = name_scopes(a, "function", v->functions);
    struct template_field *f = arena_array(a, 3, sizeof *f);
    if (!functions || !f) return false;
    f[0] = (struct template_field){ .name = "board", .text = v->name };
    f[1] = (struct template_field){ .name = "online", .text = flag(v->online) };
    f[2] = list_field("functions", functions, v->functions.n);
    *ret = (struct template_scope){ f, 3, NULL };
    return true;
}

struct str page_boards(struct arena *a, const struct page_common *c, const struct page_board *v, size_t n,
                       bool more)
{
    size_t shown = n < PAGE_BOARDS ? n : PAGE_BOARDS;
    struct template_scope *rows = arena_array(a, shown, sizeof *rows);
    if (!rows) return STR_NONE;
    for (size_t i = 0; i < shown; i++)
        if (!board_row(a, &v[i], &rows[i])) return STR_NONE;
    struct template_field f[] = {
        list_field("boards", rows, shown),
        { .name = "few", .text = flag(shown <= OPEN_BOARDS) },
        { .name = "more", .text = flag(more || shown < n) },
    };
    struct template_scope scope = SCOPE(f);
    return page_of(a, "boards", c, STR("Boards"), STR_NONE, &scope, BOARDS_BYTES_MAX);
}

struct str page_error(struct arena *a, const struct page_common *c, const struct page_error *e)
{
    struct str title = e->title.n ? e->title : str_c(page_title(e->status)), retry = safe_href(e->retry_href);
    struct str status = arena_printf(a, "%d", e->status);
    if (!status.p) return STR_NONE;
    struct template_field f[] = {
        { .name = "status", .text = status },
        { .name = "title", .text = title },
        { .name = "sentence", .text = e->sentence },
        { .name = "requirement", .text = e->requirement },
        { .name = "retry_href", .text = retry },
        { .name = "retry_label", .text = e->retry_label.n ? e->retry_label : STR("Try again") },
        { .name = "offer_sign_out", .text = flag(e->offer_sign_out) },
        { .name = "has_actions", .text = flag(retry.n || e->offer_sign_out) },
    };
    struct template_scope scope = SCOPE(f);
    return page(a, "error", c, title, e->reason, &scope);
}

static bool json_text(struct sbuf *b, struct arena *a, const char *name, struct str value)
{
    if (!value.p) return true;
    struct str text = encode_json(a, value);
    sbuf_addf(b, ", \"%s\": ", name);
    sbuf_add(b, text);
    return text.p != NULL;
}

struct str page_error_json(struct arena *a, const struct page_error *e, struct str request_id,
                           struct str login_href)
{
    struct sbuf b;
    sbuf_init(&b, a, PAGE_BYTES_MAX);
    sbuf_addf(&b, "{ \"status\": %d", e->status);
    bool ok = json_text(&b, a, "error", e->reason.p ? e->reason : STR("unknown")) &&
              json_text(&b, a, "message", e->sentence) && json_text(&b, a, "requirement", e->requirement) &&
              json_text(&b, a, "request_id", request_id) && json_text(&b, a, "login", login_href);
    sbuf_add_c(&b, " }\n");
    return ok ? sbuf_str(&b) : STR_NONE;
}

const char *page_title(int status)
{
    switch (status) {
    case 400: return "This request did not work";
    case 401: return "Please sign in";
    case 403: return "Not allowed";
    case 404: return "Not found";
    case 405: return "Not possible here";
    case 408: return "That took too long";
    case 413: return "Too large";
    case 421: return "Wrong site";
    case 431: return "Too many headers";
    case 500: return "Something went wrong";
    case 502: return "The application did not answer";
    case 503: return "Not available right now";
    case 504: return "The application took too long";
    default: return status >= 500 ? "Something went wrong" : "This request did not work";
    }
}

bool page_asset(struct str name, struct str *ret_body, const char **ret_content_type)
{
    for (size_t i = 0; i < page_asset_count; i++) {
        const struct page_asset *f = &page_assets[i];
        if (!str_eq_c(name, f->name) && !str_eq_c(name, f->hashed_name)) continue;
        *ret_body = f->body;
        *ret_content_type = f->content_type;
        return true;
    }
    return false;
}

bool page_asset_immutable(struct str name)
{
    for (size_t i = 0; i < page_asset_count; i++)
        if (str_eq_c(name, page_assets[i].hashed_name)) return true;
    return false;
}
