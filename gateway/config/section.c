// SPDX-License-Identifier: GPL-3.0-or-later
// The engine: fills a structure from a map by the table of its options.
#include "gateway/config/parse.h"

static void *field_of(void *base, const struct option *o)
{
    return (char *)base + o->offset;
}

static const struct option *find_option(const struct section *s, struct str name)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eq_c(name, s->options[i].name)) return &s->options[i];
    return NULL;
}

static void apply_default(struct loader *l, const struct option *o, void *base)
{
    if (o->preset) {
        struct yaml_node written = { .kind = YAML_SCALAR, .text = str_c(o->preset), .parent = l->root };
        config_value(l, &written, o, field_of(base, o));
    }
}

static const char *nearest_option(struct loader *l, const struct section *s, struct str name)
{
    struct strlist names = { arena_array(l->scratch, s->n, sizeof *names.v), 0 };
    if (!names.v) return "";
    for (size_t i = 0; i < s->n; i++) names.v[names.n++] = str_c(s->options[i].name);
    return config_nearest(l, name, &names);
}

// Where in the table `name` is an option: "login, routes[]".
static void add_sections(struct sbuf *b, const struct section *s, struct str name)
{
    if (!s) return;
    if (find_option(s, name)) sbuf_addf(b, "%s%s", b->n ? ", " : "", s->title);
    for (size_t i = 0; i < s->n; i++) {
        add_sections(b, s->options[i].section, name);
        add_sections(b, s->options[i].section2, name);
    }
}

// "; did you mean X?" for the nearest option here, else where X is an option; "" when it is none.
static const char *hint(struct loader *l, const struct section *s, struct str name)
{
    const char *nearest = nearest_option(l, s, name);
    if (*nearest) return nearest;
    struct sbuf b;
    sbuf_init(&b, l->scratch, LIMIT_CONFIG_BYTES);
    add_sections(&b, &section_root, name);
    if (!b.n) return "";
    struct str text = arena_printf(l->scratch, " here; it is an option of %.*s", STR_FMT(sbuf_str(&b)));
    return text.p ? text.p : "";
}

static void refuse_unknown(struct loader *l, const struct yaml_node *member, const struct section *s)
{
    if (s->sibling && find_option(s->sibling, member->key))
        config_error_key(l, member, "this key belongs to %s; it has no effect here", s->sibling->title);
    else
        config_error_key(l, member, "unknown key%s", hint(l, s, member->key));
}

static void check_required(struct loader *l, const struct yaml_node *node, const struct section *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->options[i].required && !yaml_get(node, s->options[i].name))
            config_error_key(l, node, "missing key \"%s\": %s", s->options[i].name, s->options[i].help);
}

void config_section(struct loader *l, const struct yaml_node *node, const struct section *section, void *base)
{
    bool is_map = node && config_expect_kind(l, node, YAML_MAP, "a map of options");
    // In the order of the table: routes take defaults from timeouts.
    for (size_t i = 0; i < section->n; i++) {
        const struct option *o = &section->options[i];
        const struct yaml_node *value = is_map ? yaml_get(node, o->name) : NULL;
        if (o->type == OPTION_SECTION)
            config_section(l, value, o->section, field_of(base, o));
        else if (value)
            config_value(l, value, o, field_of(base, o));
        else
            apply_default(l, o, base);
    }
    if (!is_map) return;
    for (const struct yaml_node *m = node->first; m; m = m->next)
        if (!find_option(section, m->key)) refuse_unknown(l, m, section);
    check_required(l, node, section);
}
