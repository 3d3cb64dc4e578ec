// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_rig.h"

void rig_open(struct fixture *f, int64_t map)
{
    struct err err = { 0 };
    f->store = store_open(str_c(f->path), map, f->key, &err);
    if (!f->store) fail_msg("store_open: %s", err.detail);
    f->reader = store_reader_new(f->store, &err);
    assert_non_null(f->reader);
}

void rig_close(struct fixture *f)
{
    store_reader_free(f->reader);
    store_close(f->store);
    f->reader = NULL;
    f->store = NULL;
}

int rig_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->base,
           "/dev/shm/store-test-XXXXXX"); // hundreds of flushes: not on a disk where it can be helped
    if (!mkdtemp(f->base)) {
        strcpy(f->base, "/tmp/store-test-XXXXXX");
        if (!mkdtemp(f->base)) return -1;
    }
    snprintf(f->path, sizeof f->path, "%s/s", f->base);
    memset(f->key, 9, sizeof f->key);
    f->arena = arena_new(64 * 1024 * 1024);
    rig_open(f, MAP);
    *state = f;
    return 0;
}

int rig_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store) rig_close(f);
    arena_free(f->arena);
    static const char *const files[] = { "data.mdb", "lock.mdb", "boot", "boot.new", "users", "." };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s/%s", f->path, files[i]);
        if (files[i][0] == '.')
            rmdir(f->path);
        else
            unlink(name);
    }
    rmdir(f->base);
    free(f);
    return 0;
}

// Submits an operation and waits for it.
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void wake(struct store_op *op)
{
    struct waiter *w = op->context;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

enum err_code rig_run(struct store *s, struct store_op *op)
{
    struct waiter w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
    op->done = wake;
    op->context = &w;
    store_submit(s, op);
    pthread_mutex_lock(&w.lock);
    while (!w.done) pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return op->err.code;
}

struct session rig_session(uint32_t n, struct str email, struct str subject, int64_t expires)
{
    struct session s = {
        .identity = { .provider = STR("corp"), .subject = subject, .email = email },
        .created = NOW,
        .last_seen = NOW,
        .expires = expires,
    };
    memset(s.id, 0x11, sizeof s.id);
    memcpy(s.id, &n, sizeof n);
    return s;
}

enum err_code rig_create(struct fixture *f, uint32_t n, struct str email, struct str subject, int64_t expires)
{
    struct store_op op = { .kind = STORE_SESSION_CREATE,
                           .arena = f->arena,
                           .now = NOW,
                           .session = rig_session(n, email, subject, expires) };
    return rig_run(f->store, &op);
}

enum err_code rig_create_plain(struct fixture *f, uint32_t n)
{
    return rig_create(f, n, STR("ann@example.com"), STR("s-1"), LATER);
}

enum err_code rig_look(struct fixture *f, uint32_t n)
{
    struct session s = rig_session(n, STR_NONE, STR_NONE, 0), got;
    struct err err = { 0 };
    if (!store_session(f->reader, f->arena, s.id, &got, &err)) return err.code;
    assert_memory_equal(got.id, s.id, sizeof s.id);
    return ERR_NONE;
}

size_t rig_count(struct fixture *f)
{
    struct err err;
    size_t n = 0;
    assert_true(store_count(f->reader, &n, &err));
    return n;
}

void rig_path(struct fixture *f, const char *name, char ret[160])
{
    snprintf(ret, 160, "%s/%s", f->path, name);
}

void rig_write_file(struct fixture *f, const char *name, const char *text)
{
    char path[160];
    rig_path(f, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

MDB_env *rig_raw_open(struct fixture *f, unsigned maxdbs)
{
    MDB_env *env;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, maxdbs);
    mdb_env_set_mapsize(env, MAP);
    assert_int_equal(mdb_env_open(env, f->path, 0, 0600), 0);
    return env;
}

size_t rig_raw_entries(struct fixture *f, const char *name)
{
    MDB_env *env = rig_raw_open(f, 8);
    MDB_txn *txn;
    MDB_dbi db;
    MDB_stat st;
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, name, 0, &db), 0);
    assert_int_equal(mdb_stat(txn, db, &st), 0);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return st.ms_entries;
}

struct store_op rig_login(struct fixture *f, uint32_t n, struct str key, int64_t until)
{
    return (struct store_op){ .kind = STORE_SESSION_CREATE,
                              .arena = f->arena,
                              .now = NOW,
                              .session = rig_session(n, STR("ann@example.com"), STR("s-1"), LATER),
                              .replay = { { key, until }, { STR("state:other"), until } },
                              .nreplay = 1 };
}

enum err_code rig_ticket(struct fixture *f, enum store_kind kind, struct str key, int64_t time,
                         struct str *ret)
{
    struct store_op op = { .kind = kind,
                           .arena = f->arena,
                           .key = key,
                           .value = STR("session id and host"),
                           .now = time,
                           .until = time };
    enum err_code code = rig_run(f->store, &op);
    if (ret) *ret = op.ret_value;
    return code;
}
