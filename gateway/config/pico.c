// SPDX-License-Identifier: GPL-3.0-or-later
// Boards: the section `pico` of a route, and conditions of rules on boards and their functions.
#include "base/ip.h"
#include "gateway/config/parse.h"
#include "relay/device.h"

static bool has_star(struct str s)
{
    return str_find(s, '*') < s.n;
}

static void check_device(struct loader *l, const struct yaml_node *item)
{
    if (has_star(item->text) || str_eq_c(item->text, "any"))
        config_error_at(l, item, "names are compared exactly; leave the key out to mean all boards");
    else if (!device_name_valid(item->text))
        config_error_at(l, item, "no board can have this name: expected one such as lamp-2, found %s",
                        config_found(l, item));
}

void config_parse_devices(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    for (const struct yaml_node *item = node->first; item; item = item->next) check_device(l, item);
    *(struct strlist *)field = list;
}

// Patterns would be the worst kind of mistake in a deny rule.
static bool check_function(struct loader *l, const struct yaml_node *node, struct str name, const char *all)
{
    if (has_star(name))
        config_error_at(l, node, "names are compared exactly; %s", all);
    else if (!function_name_valid(name))
        config_error_at(l, node, "no function can have this name: expected one such as flash, found \"%.*s\"",
                        STR_FMT(name));
    else
        return true;
    return false;
}

void config_parse_functions(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    for (const struct yaml_node *item = node->first; item; item = item->next)
        check_function(l, item, item->text, "leave the key out to mean all functions");
    *(struct strlist *)field = list;
}

void config_parse_pico_timeouts(struct loader *l, const struct yaml_node *node, void *field)
{
    static const struct option limit = { .type = OPTION_DURATION, .min = 1, .max = PICO_CALL_MAX };
    struct pico *pico = field;
    if (!config_expect_kind(l, node, YAML_MAP, "a map such as { blink: 2m }")) return;
    if (node->n == 0)
        config_error_at(l, node, "an empty map has no effect; leave the key out or name functions");
    pico->timeouts = arena_array(l->arena, node->n, sizeof *pico->timeouts);
    for (const struct yaml_node *m = node->first; m && pico->timeouts; m = m->next) {
        if (!check_function(l, m, m->key, "call_timeout is for all the others")) continue;
        struct pico_timeout *t = &pico->timeouts[pico->ntimeouts++];
        t->function = arena_str(l->arena, m->key);
        config_value(l, m, &limit, &t->seconds);
    }
}
