// SPDX-License-Identifier: GPL-3.0-or-later
// A state directory with a file of boards.
#pragma once

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "gateway/relay/devices.h"

// A table with one board, "lamp", whose key is "a".
#define RIG_LAMP                                                                                             \
    "{ \"version\": 1, \"devices\": [ { \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 1, "  \
    "\"functions\": \"*\", \"keys\": [ { \"sha256\": "                                                       \
    "\"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\", \"created\": 1 } ] } ] }"

struct rig {
    char dir[200], file[220];
};

int rig_setup(void **state);
int rig_teardown(void **state);
void rig_remove(const struct rig *r); // with all that is in it

// Written in place, at once.
void rig_write_at(const char *path, const char *text);
void rig_write(const struct rig *r, const char *text);
void rig_read(const struct rig *r, char *buf, size_t n);
int rig_stat(const struct rig *r, const char *name, struct stat *ret);
bool rig_exists(const struct rig *r, const char *name);

// Through devices_change; the key of a board is its name.
bool rig_try_add(const struct rig *r, const char *name, struct err *err);
void rig_add(const struct rig *r, const char *name);
// Without any board.
void rig_clear(const struct rig *r);

// Through devices_read, which must succeed.
size_t rig_count(const struct rig *r);
bool rig_has(const struct rig *r, const char *name);
