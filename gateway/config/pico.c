// SPDX-License-Identifier: GPL-3.0-or-later
// Boards: the section `pico` of a route, and conditions of rules on boards and their functions.
#include "gateway/config/parse.h"

void config_parse_devices(struct loader *l, const struct yaml_node *node, void *field)
{
    config_list(l, node, field);
}

void config_parse_functions(struct loader *l, const struct yaml_node *node, void *field)
{
    config_list(l, node, field);
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
        struct pico_timeout *t = &pico->timeouts[pico->ntimeouts++];
        t->function = arena_str(l->arena, m->key);
        config_value(l, m, &limit, &t->seconds);
    }
}
