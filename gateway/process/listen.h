// SPDX-License-Identifier: GPL-3.0-or-later
// Binding. The supervisor binds once; gateway processes, one generation after the other, inherit the
// descriptors.
#pragma once

#include "gateway/config/config.h"

enum { LISTEN_BACKLOG = 4096 };

// A listening TCP socket: non-blocking, close-on-exec, "[::]" serves IPv4 too. -1 and ERR_FILE with address
// and cause.
int listen_tcp(struct str host, uint16_t port, struct err *err);

// Sockets by what they are bound to, so that a reload keeps those that stay.
struct bound {
    struct bound *next;
    int fd;
    bool wanted;
    char name[300];
};
// The socket called `name` ("[::]:443" as host and port, or the operations address), bound now if it is not
// there. -1 on failure.
int bound_get(struct bound **list, const struct listener *l, struct err *err);
int bound_get_operations(struct bound **list, struct str address, struct err *err);
void bound_unwant_all(struct bound *list);
// Closes those that no call of bound_get asked for since bound_unwant_all.
void bound_close_unwanted(struct bound **list);
