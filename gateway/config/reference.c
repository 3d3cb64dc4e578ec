// SPDX-License-Identifier: GPL-3.0-or-later
// The table of options as Markdown.
#include "gateway/config/parse.h"

enum { REFERENCE_MAX = 256 * 1024 };

static const char *const type_texts[] = {
    [OPTION_TEXT] = "text",         [OPTION_PATH] = "path",
    [OPTION_HOST] = "host name",    [OPTION_BOOL] = "true or false",
    [OPTION_DURATION] = "duration", [OPTION_SIZE] = "size",
    [OPTION_NUMBER] = "number",     [OPTION_PORT] = "port",
    [OPTION_LIST] = "list",         [OPTION_SECRET] = "`{ file: PATH }` or `{ env: NAME }`",
    [OPTION_SECTION] = "map",       [OPTION_CUSTOM] = "value",
    [OPTION_COUNT] = "number",      [OPTION_WORD] = "word",
    [OPTION_CHOICE] = "word",
};

const char *config_type_text(struct arena *a, const struct option *option)
{
    if (option->kind) return option->kind;
    if (!option->words) return type_texts[option->type];
    struct sbuf b;
    sbuf_init(&b, a, 1024);
    for (size_t i = 0; option->words[i]; i++) sbuf_addf(&b, "%s%s", i ? ", " : "", option->words[i]);
    struct str text = sbuf_str(&b);
    return text.p ? text.p : type_texts[option->type];
}

static void add_default(struct sbuf *b, const struct option *o)
{
    bool list = o->preset && (o->type == OPTION_LIST || str_eq_c(str_c(o->kind), "list"));
    if (o->required)
        sbuf_add_c(b, "required");
    else if (list) {
        struct str rest = str_c(o->preset), word;
        sbuf_add_c(b, "`[");
        for (bool first = true; str_cut(&rest, ' ', &word); first = false)
            sbuf_addf(b, "%s%.*s", first ? " " : ", ", STR_FMT(word));
        sbuf_add_c(b, " ]`");
    } else if (o->preset)
        sbuf_addf(b, "`%s`", o->preset);
    else
        sbuf_add_c(b, o->absent ? o->absent : "");
}

static void add_option(struct sbuf *b, const struct option *o)
{
    sbuf_addf(b, "| `%s` | %s | ", o->name, config_type_text(b->arena, o));
    add_default(b, o);
    sbuf_addf(b, " | %s |\n", o->help);
}

static void add_section(struct sbuf *b, const struct section *s)
{
    sbuf_addf(b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", s->title);
    for (size_t i = 0; i < s->n; i++) add_option(b, &s->options[i]);
    for (size_t i = 0; i < s->n; i++) {
        if (s->options[i].section) add_section(b, s->options[i].section);
        if (s->options[i].section2) add_section(b, s->options[i].section2);
    }
}

struct str config_reference(struct arena *a)
{
    struct sbuf b;
    sbuf_init(&b, a, REFERENCE_MAX);
    sbuf_add_c(&b, "# Options of sallyport.yaml\n");
    add_section(&b, &section_root);
    return sbuf_str(&b);
}
