// SPDX-License-Identifier: GPL-3.0-or-later
// Reading. A reader keeps one read transaction, reset between uses, so that a read takes no lock that another
// thread wants and pins no pages afterwards. Its mutex is its own and free except while the map grows.
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/store/internal.h"

enum { LIST_SLICE = 256 }; // records looked at in one transaction

struct store_reader {
    struct store *s;
    MDB_txn *txn;
    pthread_mutex_t lock;
    struct store_reader *next;
};

static int reader_begin(struct store *s, MDB_txn **ret)
{
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, ret);
    if (rc == MDB_MAP_RESIZED && store_adopt_map(s) == 0) rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, ret);
    if (rc != MDB_READERS_FULL) return rc;
    int dead = 0; // slots of processes that were killed
    mdb_reader_check(s->env, &dead);
    return dead ? mdb_txn_begin(s->env, NULL, MDB_RDONLY, ret) : rc;
}

struct store_reader *store_reader_new(struct store *s, struct err *err)
{
    struct store_reader *r = mem_calloc(1, sizeof *r);
    if (!r) {
        err_set(err, ERR_NO_MEMORY, "a reader of the store");
        return NULL;
    }
    int rc = reader_begin(s, &r->txn);
    if (rc) {
        store_fail(s, err, rc, "a reader of the store");
        mem_free(r);
        return NULL;
    }
    mdb_txn_reset(r->txn);
    pthread_mutex_init(&r->lock, NULL);
    r->s = s;
    pthread_mutex_lock(&s->readers_lock);
    r->next = s->readers;
    s->readers = r;
    pthread_mutex_unlock(&s->readers_lock);
    return r;
}

void store_reader_free(struct store_reader *r)
{
    if (!r) return;
    struct store *s = r->s;
    pthread_mutex_lock(&s->readers_lock);
    for (struct store_reader **p = &s->readers; *p; p = &(*p)->next) {
        if (*p != r) continue;
        *p = r->next;
        break;
    }
    pthread_mutex_unlock(&s->readers_lock);
    mdb_txn_abort(r->txn);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

int store_adopt_map(struct store *s)
{
    pthread_mutex_lock(&s->readers_lock);
    for (struct store_reader *r = s->readers; r; r = r->next) pthread_mutex_lock(&r->lock);
    pthread_mutex_lock(&s->txn_lock);
    int rc = mdb_env_set_mapsize(s->env, 0);
    MDB_envinfo info;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!rc && mdb_env_info(s->env, &info) == 0)
        s->soft_pages = info.me_mapsize / page - store_reserve_pages(info.me_mapsize / page);
    pthread_mutex_unlock(&s->txn_lock);
    for (struct store_reader *r = s->readers; r; r = r->next) pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&s->readers_lock);
    return rc;
}

static bool reader_enter(struct store_reader *r, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    int rc = mdb_txn_renew(r->txn);
    if (rc == MDB_MAP_RESIZED) {
        pthread_mutex_unlock(&r->lock);
        rc = store_adopt_map(r->s);
        pthread_mutex_lock(&r->lock);
        if (!rc) rc = mdb_txn_renew(r->txn);
    }
    if (!rc) return true;
    pthread_mutex_unlock(&r->lock);
    return store_fail(r->s, err, rc, "reading the store");
}

static void reader_leave(struct store_reader *r)
{
    mdb_txn_reset(r->txn);
    pthread_mutex_unlock(&r->lock);
}

// The record under `key`. Inside a transaction.
static bool record_find(struct store_reader *r, const struct hash *key, struct record *ret, struct err *err)
{
    MDB_val k = { HASH_BYTES, (void *)(uintptr_t)key->b }, v;
    int rc = mdb_get(r->txn, r->s->db[DB_SESSIONS], &k, &v);
    if (rc == MDB_NOTFOUND) return err_set(err, ERR_SESSION_UNKNOWN, "not in the store");
    if (rc) return store_fail(r->s, err, rc, "reading a session");
    if (record_split((struct str){ v.mv_data, v.mv_size }, ret) && ret->box.n >= SEAL_OVERHEAD) return true;
    return err_set(err, ERR_SESSION_RECORD, "not a record");
}

static bool session_open(struct store_reader *r, struct arena *a, const struct hash *key,
                         const struct record *rec, struct session *ret, struct err *err)
{
    struct str plain;
    if (!record_open(r->s, a, DB_SESSIONS, key, rec, &plain)) {
        if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading a session");
        return err_set(err, ERR_SESSION_RECORD, "sealed with another key, or changed");
    }
    if (session_decode(a, plain, ret, err)) return true;
    return arena_failed(a) ? err_set(err, ERR_NO_MEMORY, "reading a session") : false;
}

// The session under `key`; its strings are in the arena. Inside a transaction.
static bool session_load(struct store_reader *r, struct arena *a, const struct hash *key, struct session *ret,
                         struct err *err)
{
    struct record rec;
    return record_find(r, key, &rec, err) && session_open(r, a, key, &rec, ret, err);
}

bool store_key_of(const uint8_t id[SESSION_ID_BYTES], struct store_key *ret, struct err *err)
{
    struct hash h;
    if (!hash_of((struct str){ (const char *)id, SESSION_ID_BYTES }, &h))
        return err_set(err, ERR_CRYPTO, "hash of a session id");
    memcpy(ret->b, h.b, sizeof ret->b);
    return true;
}

// Nonce and tag: whoever has read the record with these knows what is in it.
static struct store_version version_of(const struct record *rec)
{
    struct store_version v;
    enum { NONCE_BYTES = 12, TAG_BYTES = SEAL_OVERHEAD - NONCE_BYTES };
    memcpy(v.seal, rec->box.p, NONCE_BYTES);
    memcpy(v.seal + NONCE_BYTES, rec->box.p + rec->box.n - TAG_BYTES, TAG_BYTES);
    return v;
}

static enum store_read session_read(struct store_reader *r, struct arena *a, const struct hash *key,
                                    struct store_version *version, struct session *ret, struct err *err)
{
    struct record rec;
    if (!record_find(r, key, &rec, err)) return STORE_FAILED;
    struct store_version now = version_of(&rec);
    if (memcmp(&now, version, sizeof now) == 0) return STORE_SAME;
    if (!ret) return err_set(err, ERR_SESSION_RECORD, "written anew"), STORE_FAILED;
    if (!session_open(r, a, key, &rec, ret, err)) return STORE_FAILED;
    *version = now;
    return STORE_READ;
}

enum store_read store_session_read(struct store_reader *r, struct arena *a, const struct store_key *key,
                                   struct store_version *version, struct session *ret, struct err *err)
{
    struct hash h;
    memcpy(h.b, key->b, sizeof h.b);
    if (!reader_enter(r, err)) return STORE_FAILED;
    enum store_read result = session_read(r, a, &h, version, ret, err);
    reader_leave(r);
    return result;
}

bool store_session(struct store_reader *r, struct arena *a, const uint8_t id[SESSION_ID_BYTES],
                   struct session *ret, struct err *err)
{
    struct store_key key;
    struct store_version version = { 0 };
    struct session session;
    if (!store_key_of(id, &key, err) || store_session_read(r, a, &key, &version, &session, err) != STORE_READ)
        return false;
    memcpy(session.id, id, SESSION_ID_BYTES);
    *ret = session;
    return true;
}

bool store_count(struct store_reader *r, size_t *ret, struct err *err)
{
    MDB_stat st;
    if (!reader_enter(r, err)) return false;
    int rc = mdb_stat(r->txn, r->s->db[DB_SESSIONS], &st);
    reader_leave(r);
    if (rc) return store_fail(r->s, err, rc, "counting sessions");
    *ret = st.ms_entries;
    return true;
}

// A walk over keys that begin with `prefix`, in slices: between two of them the transaction ends, so that a
// long list does not pin old pages while the writer goes on.
struct walk {
    struct store_reader *r;
    enum store_db db;
    struct str prefix;
    uint8_t last[BY_USER_KEY_BYTES]; // where to go on
    size_t nlast;
    struct hash found[LIST_SLICE]; // the sessions' keys: the last HASH_BYTES of each key
    size_t n;
};

static int walk_first(struct walk *w, MDB_cursor *c, MDB_val *k)
{
    struct str from = w->nlast ? (struct str){ (const char *)w->last, w->nlast } : w->prefix;
    if (!from.n) return mdb_cursor_get(c, k, NULL, MDB_FIRST);
    *k = (MDB_val){ from.n, (void *)(uintptr_t)from.p };
    int rc = mdb_cursor_get(c, k, NULL, MDB_SET_RANGE);
    bool again = !rc && w->nlast && k->mv_size == w->nlast && memcmp(k->mv_data, w->last, w->nlast) == 0;
    return again ? mdb_cursor_get(c, k, NULL, MDB_NEXT) : rc;
}

static int walk_collect(struct walk *w, MDB_cursor *c)
{
    MDB_val k;
    int rc = walk_first(w, c, &k);
    for (; !rc && w->n < LIST_SLICE; rc = mdb_cursor_get(c, &k, NULL, MDB_NEXT)) {
        struct str key = { k.mv_data, k.mv_size };
        if (key.n < HASH_BYTES || key.n > sizeof w->last || !str_starts(key, w->prefix)) return MDB_NOTFOUND;
        memcpy(w->last, key.p, key.n);
        w->nlast = key.n;
        memcpy(w->found[w->n++].b, key.p + key.n - HASH_BYTES, HASH_BYTES);
    }
    return rc;
}

// The next slice of keys; MDB_NOTFOUND with w->n == 0 at the end. Inside a transaction.
static int walk_next(struct walk *w)
{
    MDB_cursor *c;
    w->n = 0;
    int rc = mdb_cursor_open(w->r->txn, w->r->s->db[w->db], &c);
    if (rc) return rc;
    rc = walk_collect(w, c);
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct listing {
    struct arena *a, *scratch; // one record at a time is opened in scratch
    struct session_summary *v;
    size_t n, max;
};

static void listing_add(struct listing *l, const struct hash *key, const struct session *s)
{
    l->v[l->n++] = (struct session_summary){
        .handle = encode_hex(l->a, (struct str){ (const char *)key->b, HASH_BYTES }),
        .user = arena_str(l->a, identity_label(&s->identity)),
        .provider = arena_str(l->a, s->identity.provider),
        .created = s->created,
        .last_seen = s->last_seen,
        .expires = s->expires,
    };
}

static bool listing_has(const struct listing *l, struct arena *scratch, const struct hash *key)
{
    struct str handle = encode_hex(scratch, (struct str){ (const char *)key->b, HASH_BYTES });
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->v[i].handle, handle)) return true;
    return false;
}

// Adds what one slice found. Records that do not open (an old key) belong to nobody who could be named; they
// are left out.
static bool listing_slice(struct listing *l, struct walk *w, bool unique, struct err *err)
{
    for (size_t i = 0; i < w->n && l->n < l->max; i++) {
        struct session s;
        struct err cause;
        arena_clear(l->scratch);
        if (unique && listing_has(l, l->scratch, &w->found[i])) continue;
        if (session_load(w->r, l->scratch, &w->found[i], &s, &cause))
            listing_add(l, &w->found[i], &s);
        else if (cause.code == ERR_STORE || cause.code == ERR_NO_MEMORY)
            return err_set(err, cause.code, "%s", cause.detail);
    }
    return !arena_failed(l->a) || err_set(err, ERR_NO_MEMORY, "listing sessions");
}

static bool listing_walk(struct listing *l, struct walk *w, struct err *err)
{
    bool unique = w->db == DB_BY_USER, more = true;
    while (more && l->n < l->max) {
        if (!reader_enter(w->r, err)) return false;
        int rc = walk_next(w);
        bool ok = rc ? store_fail(w->r->s, err, rc, "listing sessions") : listing_slice(l, w, unique, err);
        reader_leave(w->r);
        if (!ok) return false;
        more = w->n > 0;
    }
    return true;
}

static bool listing_fill(struct listing *l, struct store_reader *r, struct str user, struct err *err)
{
    if (user.n == 0) {
        struct walk all = { .r = r, .db = DB_SESSIONS };
        return listing_walk(l, &all, err);
    }
    struct hash email, subject;
    if (!hash_of_email(r->s, user, &email) || !hash_of_subject(r->s, user, &subject))
        return err_set(err, ERR_CRYPTO, "listing sessions");
    struct walk by_email = { .r = r, .db = DB_BY_USER, .prefix = { (const char *)email.b, HASH_BYTES } };
    struct walk by_subject = { .r = r, .db = DB_BY_USER, .prefix = { (const char *)subject.b, HASH_BYTES } };
    return listing_walk(l, &by_email, err) && listing_walk(l, &by_subject, err);
}

bool store_list(struct store_reader *r, struct arena *a, struct str user, size_t max,
                struct session_summary **ret, size_t *ret_n, struct err *err)
{
    struct listing l = { .a = a, .max = max, .v = arena_array(a, max, sizeof *l.v) };
    l.scratch = arena_new((size_t)4 * LIMIT_SESSION_BYTES);
    bool ok =
        l.v && l.scratch ? listing_fill(&l, r, user, err) : err_set(err, ERR_NO_MEMORY, "listing sessions");
    arena_free(l.scratch);
    if (!ok) return false;
    *ret = l.v;
    *ret_n = l.n;
    return true;
}
