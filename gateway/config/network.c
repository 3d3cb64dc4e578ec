// SPDX-License-Identifier: GPL-3.0-or-later
// Networks of addresses.
#include "gateway/config/parse.h"

void config_parse_networks(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist list;
    if (!config_list(l, node, &list)) return;
    struct ip_networks networks = { arena_array(l->arena, list.n, sizeof *networks.v), 0 };
    for (const struct yaml_node *item = node->first; item && networks.v; item = item->next) {
        struct err err = { 0 };
        if (ip_network_parse(item->text, &networks.v[networks.n], &err))
            networks.n++;
        else
            config_error_at(l, item, "%s", err.detail);
    }
    *(struct ip_networks *)field = networks;
}
