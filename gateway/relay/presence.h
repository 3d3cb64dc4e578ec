// SPDX-License-Identifier: GPL-3.0-or-later
// Which boards are connected, for operators: one list for the process. Written when a board comes or goes,
// never on the way of a call, so a lock does no harm.
#pragma once

#include "base/ip.h"
#include "relay/device.h"

struct presence;

// Holds `table`. NULL: out of memory.
struct presence *presence_new(struct device_table *table);
void presence_free(struct presence *p); // NULL is accepted
// Another table of devices, which is held; what is known of those that are in both stays. Out of memory: the
// old one stays.
void presence_devices(struct presence *p, struct device_table *table);

// The login of number `serial` of a device: it has come (again, with more functions) or gone. An earlier
// login than the last one known changes nothing.
void presence_come(struct presence *p, struct str device_id, uint64_t serial, int64_t since,
                   struct str client, size_t functions);
void presence_go(struct presence *p, struct str device_id, uint64_t serial, int64_t at);

struct presence_view {
    struct str name, id, client; // client absent: not seen since the gateway started
    bool online;
    int64_t since; // seconds since the epoch: of the login; offline: when it went; 0: not known
    size_t functions, keys;
};
// All devices, by name. False: out of memory.
bool presence_read(struct presence *p, struct arena *a, struct presence_view **ret, size_t *ret_n);
size_t presence_count(struct presence *p); // devices
