// SPDX-License-Identifier: GPL-3.0-or-later
// What the files of the store share. Nobody else includes this.
//
// Five named databases: sessions, tickets and replay hold the things, keyed by a SHA-256; expiry is keyed by
// the end of each of them, so that the sweep touches only what has ended; by_user finds the sessions of a
// person. Keys of by_user are HMACs: the file does not say whose sessions it holds.
#pragma once

#include <lmdb.h>
#include <pthread.h>

#include "gateway/store/store.h"

enum store_db { DB_SESSIONS, DB_TICKETS, DB_REPLAY, DB_EXPIRY, DB_BY_USER, DB_COUNT };

enum {
    HASH_BYTES = SHA256_BYTES,
    RECORD_INDEXES = 2,                    // a session is found by e-mail address and by subject
    EXPIRY_KEY_BYTES = 8 + 1 + HASH_BYTES, // end (big-endian), database, key there
    BY_USER_KEY_BYTES = 2 * HASH_BYTES,    // HMAC of the person, key of the session
    SWEEP_SLICE = 256,                     // records removed in one transaction
    BATCH_MAX = 512,                       // operations in one transaction
    SCRATCH_BYTES = 4 * 1024 * 1024,
};

struct hash {
    uint8_t b[HASH_BYTES];
};

// The directory of the environment: its lock and its marker (dir.c).
struct store_dir {
    char path[4096];
    char boot[37]; // id of this boot of the machine
    int fd, lock_fd;
};
// Makes or checks the directory, and empties it when what it holds cannot be trusted.
bool store_dir_open(struct store_dir *d, struct str path, struct err *err);
// Removes the environment's files. Only for who is alone in the directory.
bool store_dir_reset(struct store_dir *d, struct err *err);
// The next start begins empty, unless somebody marks it clean. Async-signal-safe: called on the way to
// abort().
void store_dir_distrust(struct store_dir *d);
// True, and nobody else may come in until store_dir_close, when no other process has the store open.
bool store_dir_alone(struct store_dir *d);
// This process has lived for a while: crashes before it do not count any more.
void store_dir_mark_stable(struct store_dir *d);
bool store_dir_mark_clean(struct store_dir *d);
void store_dir_close(struct store_dir *d);

struct store {
    MDB_env *env;
    MDB_dbi db[DB_COUNT];
    uint8_t record_key[SEAL_KEY_BYTES], index_key[SEAL_KEY_BYTES];
    struct store_dir dir;
    _Atomic size_t soft_pages; // pages for new sessions; what the map has beyond is for removing them
    _Atomic bool damaged;      // a page was not what LMDB expects: never mark the directory clean

    pthread_mutex_t readers_lock;
    struct store_reader *readers;
    pthread_mutex_t txn_lock; // held while a write transaction is open

    pthread_t writer;
    pthread_mutex_t queue_lock;
    pthread_cond_t queue_cond;
    struct store_op *head, **tail;
    bool stop;
    struct arena *scratch; // the writer thread's
};

// Sets ERR_STORE_FULL or ERR_STORE from LMDB's code; notes damage.
bool store_fail(struct store *s, struct err *err, int rc, const char *what);
// Whether new things may be added: the map is used up to the reserve and few pages inside are free.
bool store_has_room(struct store *s);
size_t store_reserve_pages(size_t map_pages);
// Adopts the larger map of another process (MDB_MAP_RESIZED). No transaction of this process may be open
// meanwhile, so it holds every lock; the caller holds none.
int store_adopt_map(struct store *s);

// Records (record.c).
struct record {
    int64_t until;
    struct hash index[RECORD_INDEXES];
    size_t nindex;
    struct str head, box; // borrow from the value
};
bool hash_of(struct str key, struct hash *ret);
// The by_user keys of a session (what a person is found by), or of one name asked for.
bool hash_of_email(const struct store *s, struct str email, struct hash *ret);
bool hash_of_subject(const struct store *s, struct str subject, struct hash *ret);
// Seals `plain`. Absent on failure.
struct str record_pack(const struct store *s, struct arena *a, enum store_db db, const struct hash *key,
                       const struct record *r, struct str plain);
bool record_split(struct str value, struct record *ret);
bool record_open(const struct store *s, struct arena *a, enum store_db db, const struct hash *key,
                 const struct record *r, struct str *ret_plain);
void expiry_key_make(uint8_t ret[EXPIRY_KEY_BYTES], enum store_db db, const struct hash *key, int64_t until);
void by_user_key_make(uint8_t ret[BY_USER_KEY_BYTES], const struct hash *person, const struct hash *session);
void store_put_int(uint8_t ret[8], int64_t v);
int64_t store_get_int(const uint8_t p[8]);

// A write transaction (ops.c). What it reports through `op->err` is final unless it returns false: then
// the transaction is unusable and must be aborted, and the operation may be tried again in one of its own.
struct write {
    struct store *s;
    MDB_txn *txn;
    enum { ROOM_UNKNOWN, ROOM_YES, ROOM_NO } room; // for new things
};
bool store_execute(struct write *w, struct store_op *op);
// Removes at most SWEEP_SLICE things that ended before `now`.
bool store_sweep(struct write *w, int64_t now, size_t *ret_removed, struct err *err);

// The thread (writer.c).
bool store_writer_start(struct store *s, struct err *err);
void store_writer_stop(struct store *s);
