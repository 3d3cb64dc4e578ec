// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/store/store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/store/internal.h"

// Slots in the lock file: two generations of the gateway during a reload, workers of both, the operations
// threads. It is set by whoever creates the file.
enum { MAX_READERS = 512 };

bool store_fail(struct store *s, struct err *err, int rc, const char *what)
{
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_PANIC) {
        s->damaged = true;
        store_dir_distrust(&s->dir);
    }
    bool full = rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC;
    return err_set(err, full ? ERR_STORE_FULL : ERR_STORE, "%s: %s", what, mdb_strerror(rc));
}

// LMDB aborts the process when a page makes no sense. Without this the next process would meet the same page.
static void on_assert(MDB_env *env, const char *msg)
{
    (void)msg;
    struct store *s = mdb_env_get_userctx(env);
    store_dir_distrust(&s->dir);
}

static int env_configure(struct store *s, int64_t map_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    s->soft_pages = ((size_t)map_bytes + page - 1) / page;
    size_t map = (s->soft_pages + store_reserve_pages(s->soft_pages)) * page;
    int rc = mdb_env_set_userctx(s->env, s);
    if (!rc) rc = mdb_env_set_assert(s->env, on_assert);
    if (!rc) rc = mdb_env_set_mapsize(s->env, map);
    if (!rc) rc = mdb_env_set_maxdbs(s->env, DB_COUNT);
    if (!rc) rc = mdb_env_set_maxreaders(s->env, MAX_READERS);
    // NOTLS: a reader belongs to its handle, not to its thread. NOSYNC: see dir.c.
    if (!rc) rc = mdb_env_open(s->env, s->dir.path, MDB_NOTLS | MDB_NOSYNC, 0600);
    return rc;
}

// LMDB copies pages to change them: in a map that is full to the brim nothing can be removed either. So new
// things stop before: there is always room to sign out and to sweep.
size_t store_reserve_pages(size_t map_pages)
{
    return map_pages / 16 > 256 ? map_pages / 16 : 256;
}

// Pages in LMDB's list of free ones: each record of database 0 begins with their number.
static int free_pages(MDB_txn *txn, size_t *ret)
{
    MDB_cursor *c;
    MDB_val k, v;
    size_t n = 0, count;
    int rc = mdb_cursor_open(txn, 0, &c);
    if (rc) return rc;
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        if (v.mv_size < sizeof count) continue;
        memcpy(&count, v.mv_data, sizeof count);
        n += count;
    }
    mdb_cursor_close(c);
    *ret = n;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

bool store_has_room(struct store *s)
{
    MDB_envinfo info;
    MDB_txn *txn;
    size_t n = 0;
    if (mdb_env_info(s->env, &info)) return false;
    if (info.me_last_pgno < s->soft_pages) return true;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn)) return false;
    bool counted = free_pages(txn, &n) == 0;
    mdb_txn_abort(txn);
    return counted && info.me_last_pgno < s->soft_pages + n;
}

static int dbs_open(struct store *s)
{
    static const char *const names[DB_COUNT] = {
        [DB_SESSIONS] = "sessions", [DB_TICKETS] = "tickets", [DB_REPLAY] = "replay",
        [DB_EXPIRY] = "expiry",     [DB_BY_USER] = "by_user",
    };
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc == MDB_MAP_RESIZED) {
        rc = mdb_env_set_mapsize(s->env, 0);
        if (!rc) rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    }
    if (rc) return rc;
    for (int i = 0; !rc && i < DB_COUNT; i++) rc = mdb_dbi_open(txn, names[i], MDB_CREATE, &s->db[i]);
    if (!rc) return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static bool env_open(struct store *s, int64_t map_bytes, struct err *err)
{
    int rc = mdb_env_create(&s->env);
    if (!rc) rc = env_configure(s, map_bytes);
    if (!rc) rc = dbs_open(s);
    if (!rc) {
        int dead;
        rc = mdb_reader_check(s->env, &dead);
    }
    return rc ? store_fail(s, err, rc, "opening the store") : true;
}

static void env_close(struct store *s)
{
    if (s->env) mdb_env_close(s->env);
    s->env = NULL;
}

// Something in the directory that is not an LMDB file cannot be kept; a full disk or a missing right can be
// mended.
static bool env_open_or_reset(struct store *s, int64_t map_bytes, struct err *err)
{
    if (env_open(s, map_bytes, err)) return true;
    env_close(s);
    bool hopeless = strstr(err->detail, mdb_strerror(MDB_INVALID)) || s->damaged;
    if (!hopeless || !store_dir_alone(&s->dir)) return false;
    return store_dir_reset(&s->dir, err) && env_open(s, map_bytes, err);
}

static struct store *store_new(const uint8_t record_key[SEAL_KEY_BYTES], struct err *err)
{
    struct store *s = mem_calloc(1, sizeof *s);
    struct arena *scratch = arena_new(SCRATCH_BYTES);
    struct str key = { (const char *)record_key, SEAL_KEY_BYTES };
    if (!s || !scratch || !crypto_derive(key, "sallyport store index", s->index_key, sizeof s->index_key)) {
        err_set(err, ERR_NO_MEMORY, "opening the store");
        mem_free(s);
        arena_free(scratch);
        return NULL;
    }
    memcpy(s->record_key, record_key, SEAL_KEY_BYTES);
    s->scratch = scratch;
    s->tail = &s->head;
    s->dir = (struct store_dir){ .fd = -1, .lock_fd = -1 };
    pthread_mutex_init(&s->readers_lock, NULL);
    pthread_mutex_init(&s->txn_lock, NULL);
    pthread_mutex_init(&s->queue_lock, NULL);
    return s;
}

static void store_destroy(struct store *s)
{
    env_close(s);
    store_dir_close(&s->dir);
    arena_free(s->scratch);
    pthread_mutex_destroy(&s->readers_lock);
    pthread_mutex_destroy(&s->txn_lock);
    pthread_mutex_destroy(&s->queue_lock);
    crypto_cleanse(s, sizeof *s);
    mem_free(s);
}

struct store *store_open(struct str path, int64_t map_bytes, const uint8_t record_key[SEAL_KEY_BYTES],
                         struct err *err)
{
    if (map_bytes < 64 * 1024) {
        err_set(err, ERR_STORE, "a store of %lld bytes is too small", (long long)map_bytes);
        return NULL;
    }
    struct store *s = store_new(record_key, err);
    if (!s) return NULL;
    if (store_dir_open(&s->dir, path, err) && env_open_or_reset(s, map_bytes, err) &&
        store_writer_start(s, err))
        return s;
    store_destroy(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s) return;
    store_writer_stop(s);
    // The lock is kept until the environment is closed, so that nobody writes after the promise.
    if (store_dir_alone(&s->dir) && !s->damaged && mdb_env_sync(s->env, 1) == 0)
        store_dir_mark_clean(&s->dir);
    store_destroy(s);
}
