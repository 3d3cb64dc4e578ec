// SPDX-License-Identifier: GPL-3.0-or-later
// A store in a directory of its own, for the tests of the store.
#pragma once

#include <lmdb.h>

#include "gateway/store/store.h"

enum { MAP = 16 * 1024 * 1024, NOW = 1000, LATER = 2000000000 };

struct fixture {
    char base[64], path[80];
    uint8_t key[SEAL_KEY_BYTES];
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
};

void rig_open(struct fixture *f, int64_t map);
void rig_close(struct fixture *f);
int rig_setup(void **state);
int rig_teardown(void **state);
enum err_code rig_run(struct store *s, struct store_op *op);
struct session rig_session(uint32_t n, struct str email, struct str subject, int64_t expires);
enum err_code rig_create(struct fixture *f, uint32_t n, struct str email, struct str subject,
                         int64_t expires);
enum err_code rig_create_plain(struct fixture *f, uint32_t n);
enum err_code rig_look(struct fixture *f, uint32_t n);
size_t rig_count(struct fixture *f);
void rig_path(struct fixture *f, const char *name, char ret[160]);
void rig_write_file(struct fixture *f, const char *name, const char *text);
// Opens the environment as LMDB itself sees it, while the store is closed.
MDB_env *rig_raw_open(struct fixture *f, unsigned maxdbs);
size_t rig_raw_entries(struct fixture *f, const char *name);
struct store_op rig_login(struct fixture *f, uint32_t n, struct str key, int64_t until);
enum err_code rig_ticket(struct fixture *f, enum store_kind kind, struct str key, int64_t time,
                         struct str *ret);
