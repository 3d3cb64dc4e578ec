// SPDX-License-Identifier: GPL-3.0-or-later
// The operations, inside a write transaction. Each looks first and refuses before it has written anything, so
// that one refusal does not spoil the batch; what fails after the first write makes the transaction unusable
// (false).
#include <string.h>

#include "base/encode.h"
#include "gateway/store/internal.h"

static MDB_val val(const void *p, size_t n)
{
    return (MDB_val){ n, (void *)(uintptr_t)p };
}

static bool broken(struct write *w, struct err *err, int rc, const char *what)
{
    store_fail(w->s, err, rc, what);
    return false;
}

static int get(struct write *w, enum store_db db, const struct hash *key, struct str *ret)
{
    MDB_val k = val(key->b, HASH_BYTES), v;
    int rc = mdb_get(w->txn, w->s->db[db], &k, &v);
    if (!rc) *ret = (struct str){ v.mv_data, v.mv_size };
    return rc;
}

static int del_key(struct write *w, enum store_db db, const void *key, size_t n)
{
    MDB_val k = val(key, n);
    int rc = mdb_del(w->txn, w->s->db[db], &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_key(struct write *w, enum store_db db, const void *key, size_t n)
{
    MDB_val k = val(key, n), none = val("", 0);
    return mdb_put(w->txn, w->s->db[db], &k, &none, 0);
}

static int expiry_put(struct write *w, enum store_db db, const struct hash *key, int64_t until)
{
    uint8_t e[EXPIRY_KEY_BYTES];
    expiry_key_make(e, db, key, until);
    return put_key(w, DB_EXPIRY, e, sizeof e);
}

static int expiry_del(struct write *w, enum store_db db, const struct hash *key, int64_t until)
{
    uint8_t e[EXPIRY_KEY_BYTES];
    expiry_key_make(e, db, key, until);
    return del_key(w, DB_EXPIRY, e, sizeof e);
}

static int index_change(struct write *w, const struct record *r, const struct hash *key,
                        int (*change)(struct write *, enum store_db, const void *, size_t))
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->nindex; i++) {
        uint8_t k[BY_USER_KEY_BYTES];
        by_user_key_make(k, &r->index[i], key);
        rc = change(w, DB_BY_USER, k, sizeof k);
    }
    return rc;
}

// Removes a session or a ticket with everything that points to it. Gone already is fine.
static int record_remove(struct write *w, enum store_db db, const struct hash *key)
{
    struct str value;
    struct record r = { 0 };
    int rc = get(w, db, key, &value);
    if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
    bool known = record_split(value, &r); // r.index is a copy: the value moves when the tree changes
    rc = known ? index_change(w, &r, key, del_key) : 0;
    if (!rc && known) rc = expiry_del(w, db, key, r.until);
    return rc ? rc : del_key(w, db, key->b, HASH_BYTES);
}

static int record_insert(struct write *w, enum store_db db, const struct hash *key, const struct record *r,
                         struct str sealed)
{
    MDB_val k = val(key->b, HASH_BYTES), v = val(sealed.p, sealed.n);
    int rc = mdb_put(w->txn, w->s->db[db], &k, &v, MDB_NOOVERWRITE);
    if (!rc) rc = expiry_put(w, db, key, r->until);
    return rc ? rc : index_change(w, r, key, put_key);
}

// Remembered and not over yet: the key was used. LMDB's own errors are refusals too: a replay check fails
// closed.
static bool replay_unused(struct write *w, const struct replay_key *key, int64_t now, struct hash *ret_hash,
                          struct err *err, bool *ret_sound)
{
    struct str value;
    if (!hash_of(key->key, ret_hash)) return err_set(err, ERR_CRYPTO, "hash of a replay key");
    int rc = get(w, DB_REPLAY, ret_hash, &value);
    if (rc == MDB_NOTFOUND) return true;
    if (rc) {
        *ret_sound = false;
        return store_fail(w->s, err, rc, "looking for a replay");
    }
    if (value.n == 8 && store_get_int((const uint8_t *)value.p) < now) return true;
    // The kind alone: the rest may be a login's state, which has no place in a log.
    struct str kind = str_take(key->key, str_find(key->key, ':'));
    return err_set(err, ERR_LOGIN_REPLAY, "this %.*s was used before", STR_FMT(kind));
}

static int replay_remember(struct write *w, const struct hash *hash, int64_t until)
{
    struct str old;
    uint8_t bytes[8];
    int rc = get(w, DB_REPLAY, hash, &old);
    if (!rc && old.n == 8) rc = expiry_del(w, DB_REPLAY, hash, store_get_int((const uint8_t *)old.p));
    if (rc && rc != MDB_NOTFOUND) return rc;
    store_put_int(bytes, until);
    MDB_val k = val(hash->b, HASH_BYTES), v = val(bytes, sizeof bytes);
    rc = mdb_put(w->txn, w->s->db[DB_REPLAY], &k, &v, 0);
    return rc ? rc : expiry_put(w, DB_REPLAY, hash, until);
}

// What a session is found by later: its person's e-mail address and subject.
static bool session_record(struct write *w, const struct session *s, struct record *ret)
{
    struct record r = { .until = s->expires };
    if (s->identity.email.n && !hash_of_email(w->s, s->identity.email, &r.index[r.nindex++])) return false;
    if (s->identity.subject.n && !hash_of_subject(w->s, s->identity.subject, &r.index[r.nindex++]))
        return false;
    *ret = r;
    return true;
}

static struct str session_seal(struct write *w, const struct session *s, const struct hash *key,
                               const struct record *r)
{
    struct str plain = session_encode(w->s->scratch, s);
    return record_pack(w->s, w->s->scratch, DB_SESSIONS, key, r, plain);
}

static bool same_key_twice(const struct store_op *op)
{
    for (size_t i = 0; i < op->nreplay; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(op->replay[i].key, op->replay[k].key)) return true;
    return false;
}

struct create {
    struct hash key, replaces, replay[4];
    struct record record;
    struct str sealed;
};

// Everything that can refuse a new session, before anything is written. False in *ret_sound: LMDB failed.
static bool create_check(struct write *w, struct store_op *op, struct create *c, bool *ret_sound)
{
    struct str old;
    if (op->nreplay > 4 || same_key_twice(op))
        return err_set(&op->err, ERR_LOGIN_REPLAY, "a key given twice");
    for (size_t i = 0; i < op->nreplay; i++)
        if (!replay_unused(w, &op->replay[i], op->now, &c->replay[i], &op->err, ret_sound)) return false;
    if (!hash_of((struct str){ (const char *)op->session.id, SESSION_ID_BYTES }, &c->key) ||
        (op->replaces &&
         !hash_of((struct str){ (const char *)op->replaces, SESSION_ID_BYTES }, &c->replaces)))
        return err_set(&op->err, ERR_CRYPTO, "hash of a session id");
    // A login never continues an id that exists already (GHSA-f24x-5g9q-753f: a planted cookie survives the
    // login).
    int rc = get(w, DB_SESSIONS, &c->key, &old);
    if (rc == 0) return err_set(&op->err, ERR_STORE_EXISTS, "a session with this id");
    if (rc != MDB_NOTFOUND) {
        *ret_sound = false;
        return store_fail(w->s, &op->err, rc, "creating a session");
    }
    if (session_record(w, &op->session, &c->record))
        c->sealed = session_seal(w, &op->session, &c->key, &c->record);
    return c->sealed.p || err_set(&op->err, ERR_TOO_LARGE, "a session could not be sealed");
}

// False is worth a sweep and another try, so it counts as a broken transaction.
static bool has_room(struct write *w, struct err *err)
{
    if (w->room == ROOM_UNKNOWN) w->room = store_has_room(w->s) ? ROOM_YES : ROOM_NO;
    return w->room == ROOM_YES || broken(w, err, MDB_MAP_FULL, "room for something new");
}

static bool session_create(struct write *w, struct store_op *op)
{
    struct create c = { 0 };
    bool sound = true;
    if (!create_check(w, op, &c, &sound)) return sound;
    if (!has_room(w, &op->err)) return false;
    int rc = record_insert(w, DB_SESSIONS, &c.key, &c.record, c.sealed);
    for (size_t i = 0; !rc && i < op->nreplay; i++)
        rc = replay_remember(w, &c.replay[i], op->replay[i].until);
    if (!rc && op->replaces) rc = record_remove(w, DB_SESSIONS, &c.replaces);
    return rc ? broken(w, &op->err, rc, "creating a session") : true;
}

// last_seen of a record that opens; one that does not is left for the sweep.
static bool session_touch(struct write *w, struct store_op *op)
{
    struct hash key;
    struct str value, plain;
    struct record r;
    struct session s;
    if (!hash_of((struct str){ (const char *)op->id, SESSION_ID_BYTES }, &key))
        return err_set(&op->err, ERR_CRYPTO, "hash of a session id") || true;
    int rc = get(w, DB_SESSIONS, &key, &value);
    if (rc == MDB_NOTFOUND) return true;
    if (rc) return broken(w, &op->err, rc, "touching a session");
    if (!record_split(value, &r) || !record_open(w->s, w->s->scratch, DB_SESSIONS, &key, &r, &plain))
        return err_set(&op->err, ERR_SESSION_RECORD, "sealed with another key, or changed") || true;
    if (!session_decode(w->s->scratch, plain, &s, &op->err)) return true;
    if (op->now <= s.last_seen) return true; // two workers touched it, the later one came first
    s.last_seen = op->now;
    struct str sealed = session_seal(w, &s, &key, &r);
    if (!sealed.p) return err_set(&op->err, ERR_NO_MEMORY, "touching a session") || true;
    MDB_val k = val(key.b, HASH_BYTES), v = val(sealed.p, sealed.n);
    rc = mdb_put(w->txn, w->s->db[DB_SESSIONS], &k, &v, 0);
    return rc ? broken(w, &op->err, rc, "touching a session") : true;
}

static bool session_delete(struct write *w, struct store_op *op)
{
    struct hash key;
    if (!hash_of((struct str){ (const char *)op->id, SESSION_ID_BYTES }, &key))
        return err_set(&op->err, ERR_CRYPTO, "hash of a session id") || true;
    int rc = record_remove(w, DB_SESSIONS, &key);
    return rc ? broken(w, &op->err, rc, "removing a session") : true;
}

// The first session of a person, MDB_NOTFOUND when there is none.
static int person_session(struct write *w, const struct hash *person, struct hash *ret)
{
    MDB_cursor *c;
    MDB_val k = val(person->b, HASH_BYTES);
    int rc = mdb_cursor_open(w->txn, w->s->db[DB_BY_USER], &c);
    if (rc) return rc;
    rc = mdb_cursor_get(c, &k, NULL, MDB_SET_RANGE);
    bool theirs = !rc && k.mv_size == BY_USER_KEY_BYTES && memcmp(k.mv_data, person->b, HASH_BYTES) == 0;
    if (theirs) memcpy(ret->b, (const uint8_t *)k.mv_data + HASH_BYTES, HASH_BYTES);
    mdb_cursor_close(c);
    return rc ? rc : theirs ? 0 : MDB_NOTFOUND;
}

// An index entry without its session cannot be left behind, or this would find it again and again.
static int person_revoke(struct write *w, const struct hash *person, size_t *count)
{
    struct hash session;
    struct str value;
    uint8_t k[BY_USER_KEY_BYTES];
    int rc;
    while ((rc = person_session(w, person, &session)) == 0) {
        *count += get(w, DB_SESSIONS, &session, &value) == 0;
        rc = record_remove(w, DB_SESSIONS, &session);
        by_user_key_make(k, person, &session);
        if (!rc) rc = del_key(w, DB_BY_USER, k, sizeof k);
        if (rc) return rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int handle_revoke(struct write *w, struct str handle, size_t *count)
{
    struct hash key;
    struct str value;
    if (!decode_hex(handle, key.b, HASH_BYTES)) return 0;
    int rc = get(w, DB_SESSIONS, &key, &value);
    if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
    ++*count;
    return record_remove(w, DB_SESSIONS, &key);
}

static bool sessions_revoke(struct write *w, struct store_op *op)
{
    struct hash email, subject;
    size_t count = 0;
    // No name must not find the sessions of those who have none.
    if (!op->key.n) return err_set(&op->err, ERR_STORE_NOT_FOUND, "nobody was named") || true;
    if (!hash_of_email(w->s, op->key, &email) || !hash_of_subject(w->s, op->key, &subject))
        return err_set(&op->err, ERR_CRYPTO, "hash of a name") || true;
    int rc = handle_revoke(w, op->key, &count);
    if (!rc) rc = person_revoke(w, &email, &count);
    if (!rc) rc = person_revoke(w, &subject, &count);
    op->ret_count = count;
    return rc ? broken(w, &op->err, rc, "revoking sessions") : true;
}

static bool ticket_put(struct write *w, struct store_op *op)
{
    struct hash key;
    struct str old;
    struct record r = { .until = op->until };
    if (!op->key.n || !hash_of(op->key, &key))
        return err_set(&op->err, ERR_CRYPTO, "hash of a ticket") || true;
    int rc = get(w, DB_TICKETS, &key, &old);
    if (rc == 0) return err_set(&op->err, ERR_STORE_EXISTS, "a ticket with this key") || true;
    if (rc != MDB_NOTFOUND) return broken(w, &op->err, rc, "keeping a ticket");
    struct str sealed = record_pack(w->s, w->s->scratch, DB_TICKETS, &key, &r, op->value);
    if (!sealed.p) return err_set(&op->err, ERR_TOO_LARGE, "a ticket could not be sealed") || true;
    if (!has_room(w, &op->err)) return false;
    rc = record_insert(w, DB_TICKETS, &key, &r, sealed);
    return rc ? broken(w, &op->err, rc, "keeping a ticket") : true;
}

// One use: looked at and removed in the same transaction, whatever comes of it.
static bool ticket_take(struct write *w, struct store_op *op)
{
    struct hash key;
    struct str value, plain = STR_NONE;
    struct record r;
    if (!op->key.n || !hash_of(op->key, &key))
        return err_set(&op->err, ERR_LOGIN_TICKET, "no ticket") || true;
    int rc = get(w, DB_TICKETS, &key, &value);
    if (rc == MDB_NOTFOUND) return err_set(&op->err, ERR_LOGIN_TICKET, "not there, or used") || true;
    if (rc) return broken(w, &op->err, rc, "taking a ticket");
    bool opens = record_split(value, &r) && record_open(w->s, op->arena, DB_TICKETS, &key, &r, &plain);
    rc = record_remove(w, DB_TICKETS, &key);
    if (rc) return broken(w, &op->err, rc, "taking a ticket");
    if (!opens) return err_set(&op->err, ERR_LOGIN_TICKET, "sealed with another key, or changed") || true;
    if (op->now >= r.until) return err_set(&op->err, ERR_LOGIN_TICKET, "too old") || true;
    op->ret_value = plain;
    return true;
}

bool store_execute(struct write *w, struct store_op *op)
{
    op->err = (struct err){ 0 };
    op->ret_value = STR_NONE;
    op->ret_count = 0;
    arena_clear(w->s->scratch);
    switch (op->kind) {
    case STORE_SESSION_CREATE: return session_create(w, op);
    case STORE_SESSION_TOUCH: return session_touch(w, op);
    case STORE_SESSION_DELETE: return session_delete(w, op);
    case STORE_SESSIONS_REVOKE: return sessions_revoke(w, op);
    case STORE_TICKET_PUT: return ticket_put(w, op);
    case STORE_TICKET_TAKE: return ticket_take(w, op);
    }
    err_set(&op->err, ERR_STORE, "unknown operation %d", (int)op->kind);
    return true;
}

struct ended {
    uint8_t key[EXPIRY_KEY_BYTES];
};

// Keys of what has ended, oldest first. Collected before anything is removed: the cursor would move under us.
static int ended_collect(struct write *w, int64_t now, struct ended *v, size_t *ret_n)
{
    MDB_cursor *c;
    MDB_val k;
    size_t n = 0;
    int rc = mdb_cursor_open(w->txn, w->s->db[DB_EXPIRY], &c);
    if (rc) return rc;
    for (rc = mdb_cursor_get(c, &k, NULL, MDB_FIRST); !rc && n < SWEEP_SLICE;
         rc = mdb_cursor_get(c, &k, NULL, MDB_NEXT)) {
        if (k.mv_size != EXPIRY_KEY_BYTES || store_get_int(k.mv_data) >= now) break;
        memcpy(v[n++].key, k.mv_data, EXPIRY_KEY_BYTES);
    }
    mdb_cursor_close(c);
    *ret_n = n;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int ended_remove(struct write *w, const struct ended *e)
{
    struct hash key;
    memcpy(key.b, e->key + 9, HASH_BYTES);
    int rc = 0;
    if (e->key[8] == DB_SESSIONS || e->key[8] == DB_TICKETS)
        rc = record_remove(w, e->key[8], &key);
    else if (e->key[8] == DB_REPLAY)
        rc = del_key(w, DB_REPLAY, key.b, HASH_BYTES);
    return rc ? rc : del_key(w, DB_EXPIRY, e->key, sizeof e->key);
}

bool store_sweep(struct write *w, int64_t now, size_t *ret_removed, struct err *err)
{
    struct ended v[SWEEP_SLICE];
    size_t n = 0;
    int rc = ended_collect(w, now, v, &n);
    for (size_t i = 0; !rc && i < n; i++) rc = ended_remove(w, &v[i]);
    if (rc) return broken(w, err, rc, "removing what has ended");
    *ret_removed = n;
    return true;
}
