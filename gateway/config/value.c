// SPDX-License-Identifier: GPL-3.0-or-later
// One value by its type: syntax, range, and a message that says what was expected.
#include <string.h>

#include "base/url.h"
#include "gateway/config/parse.h"

bool config_expect_kind(struct loader *l, const struct yaml_node *node, enum yaml_kind kind,
                        const char *example)
{
    if (node->kind == kind) return true;
    config_error_at(l, node, "expected %s, found %s", example, config_found(l, node));
    return false;
}

bool config_text(struct loader *l, const struct yaml_node *node, const char *expected, struct str *ret)
{
    if (node->kind != YAML_SCALAR || yaml_is_null(node) || str_trim(node->text).n == 0) {
        config_error_at(l, node, "expected %s, found %s", expected, config_found(l, node));
        return false;
    }
    *ret = arena_str(l->arena, node->text);
    return true;
}

struct str config_resolve_path(struct loader *l, struct str path)
{
    bool absolute = path.n && path.p[0] == '/';
    return arena_printf(l->arena, "%.*s%.*s", STR_FMT(absolute ? STR("") : l->folder), STR_FMT(path));
}

static bool add_item(struct loader *l, const struct yaml_node *item, struct strlist *list)
{
    struct str text;
    if (!config_text(l, item, "text", &text)) return false;
    if (strlist_has(*list, text)) {
        config_error_at(l, item, "%s is listed twice", config_found(l, item));
        return false;
    }
    list->v[list->n++] = text;
    return true;
}

// Defaults are written as words with spaces between.
static bool list_of_words(struct loader *l, struct str text, struct strlist *ret)
{
    struct strlist list = { arena_array(l->arena, text.n, sizeof *list.v), 0 };
    struct str rest = text, word;
    while (list.v && str_cut(&rest, ' ', &word)) list.v[list.n++] = word;
    *ret = list;
    return list.v != NULL;
}

bool config_list(struct loader *l, const struct yaml_node *node, struct strlist *ret)
{
    if (node->line == 0) return list_of_words(l, node->text, ret);
    if (!config_expect_kind(l, node, YAML_LIST, "a list in [ ]")) return false;
    if (node->n == 0) {
        config_error_at(l, node, "an empty list has no effect; leave the key out or name values");
        return false;
    }
    struct strlist list = { arena_array(l->arena, node->n, sizeof *list.v), 0 };
    bool ok = list.v != NULL;
    for (const struct yaml_node *item = node->first; item && list.v; item = item->next)
        ok = add_item(l, item, &list) && ok;
    if (ok) *ret = list;
    return ok;
}

static void host_error(struct loader *l, const struct yaml_node *node)
{
    const char *text = node->text.p;
    if (strstr(text, "://"))
        config_error_at(l, node, "expected a host name alone, such as wiki.example.com, found the URL \"%s\"",
                        text);
    else if (strchr(text, '*'))
        config_error_at(l, node, "wildcards are not accepted in host names; write one entry for each host");
    else if (strchr(text, ':'))
        config_error_at(
            l, node,
            "a port does not belong into a host name: write the host alone; the port in browsers' "
            "URLs is login.port (default: that of the first TLS listener)");
    else
        config_error_at(l, node, "expected a host name such as wiki.example.com, found \"%s\"", text);
}

bool config_host(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    struct str text;
    bool ipv6;
    if (!config_text(l, node, "a host name such as wiki.example.com", &text)) return false;
    if (host_canonical(l->arena, text, ret, &ipv6)) return true;
    host_error(l, node);
    return false;
}

static bool find_word(const char *const *words, struct str text, unsigned *ret)
{
    for (unsigned i = 0; words[i]; i++) {
        if (!str_eq_c(text, words[i])) continue;
        *ret = i;
        return true;
    }
    return false;
}

static bool word_value(struct loader *l, const struct yaml_node *node, const struct option *o, unsigned *ret)
{
    if (node->kind == YAML_SCALAR && find_word(o->words, node->text, ret)) return true;
    struct str known[16];
    struct strlist list = { known, 0 };
    while (list.n < 16 && o->words[list.n]) {
        known[list.n] = str_c(o->words[list.n]);
        list.n++;
    }
    config_error_at(l, node, "expected one of %s, found %s%s", config_type_text(l->scratch, o),
                    config_found(l, node), config_nearest(l, node->text, &list));
    return false;
}

static void bool_value(struct loader *l, const struct yaml_node *node, bool *ret)
{
    bool yes = str_eq_c(node->text, "true"), no = str_eq_c(node->text, "false");
    if (node->kind == YAML_SCALAR && !node->quoted && (yes || no))
        *ret = yes;
    else
        config_error_at(l, node, "expected true or false, found %s", config_found(l, node));
}

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit durations[] = { { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { 0 } };
static const struct unit sizes[] = {
    { "B", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { 0 }
};
static const struct unit plain[] = { { "", 1 }, { 0 } };

static bool parse_amount(struct str text, const struct unit *units, int64_t *ret)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9') digits++;
    uint64_t n;
    if (!str_to_u64(str_take(text, digits), (uint64_t)1 << 32, &n)) return false;
    for (; units->name; units++) {
        if (!str_eq_c(str_skip(text, digits), units->name)) continue;
        *ret = (int64_t)n * units->factor;
        return true;
    }
    return false;
}

// The largest unit that gives a whole number.
static const char *amount_text(struct loader *l, int64_t amount, const struct unit *units)
{
    const struct unit *best = units;
    for (const struct unit *u = units; u->name; u++)
        if (amount >= u->factor && amount % u->factor == 0) best = u;
    struct str text = arena_printf(l->scratch, "%lld%s", (long long)(amount / best->factor), best->name);
    return text.p ? text.p : "";
}

static bool amount_value(struct loader *l, const struct yaml_node *node, const struct option *o,
                         const struct unit *units, const char *expected, int64_t *ret)
{
    int64_t amount;
    if (node->kind != YAML_SCALAR || !parse_amount(node->text, units, &amount)) {
        config_error_at(l, node, "expected %s, found %s", expected, config_found(l, node));
        return false;
    }
    if (amount < o->min || amount > o->max) {
        config_error_at(l, node, "must be between %s and %s, found %s", amount_text(l, o->min, units),
                        amount_text(l, o->max, units), config_found(l, node));
        return false;
    }
    *ret = amount;
    return true;
}

static void number_value(struct loader *l, const struct yaml_node *node, const struct option *o, void *field)
{
    int64_t n;
    if (!amount_value(l, node, o, plain, "a whole number", &n)) return;
    if (o->type == OPTION_PORT)
        *(uint16_t *)field = (uint16_t)n;
    else if (o->type == OPTION_COUNT)
        *(int64_t *)field = n;
    else
        *(unsigned *)field = (unsigned)n;
}

static void path_value(struct loader *l, const struct yaml_node *node, struct str *ret)
{
    struct str text;
    if (config_text(l, node, "a path", &text)) *ret = config_resolve_path(l, text);
}

static void word_or_choice(struct loader *l, const struct yaml_node *node, const struct option *o,
                           void *field)
{
    unsigned word;
    if (!word_value(l, node, o, &word)) return;
    if (o->type == OPTION_WORD)
        *(struct str *)field = str_c(o->words[word]);
    else
        *(unsigned *)field = word; // an enum whose values are the positions in `words`
}

void config_value(struct loader *l, const struct yaml_node *node, const struct option *o, void *field)
{
    switch (o->type) {
    case OPTION_TEXT: config_text(l, node, "text", field); break;
    case OPTION_PATH: path_value(l, node, field); break;
    case OPTION_HOST: config_host(l, node, field); break;
    case OPTION_WORD:
    case OPTION_CHOICE: word_or_choice(l, node, o, field); break;
    case OPTION_BOOL: bool_value(l, node, field); break;
    case OPTION_DURATION:
        amount_value(l, node, o, durations, "a duration such as 30s, 10m, 8h or 1d", field);
        break;
    case OPTION_SIZE:
        amount_value(l, node, o, sizes, "a size such as 800B, 512KiB, 64MiB or 1GiB", field);
        break;
    case OPTION_NUMBER:
    case OPTION_COUNT:
    case OPTION_PORT: number_value(l, node, o, field); break;
    case OPTION_LIST: config_list(l, node, field); break;
    case OPTION_SECRET: config_secret(l, node, field); break;
    case OPTION_CUSTOM: o->parse(l, node, field); break;
    case OPTION_SECTION: break; // config_section
    }
}
