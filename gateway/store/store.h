// SPDX-License-Identifier: GPL-3.0-or-later
// The session store: sealed records in LMDB, found by SHA-256 of their id, so that neither the file nor a
// backup of it is worth anything to a thief. Any thread reads through a reader of its own; one writer thread
// commits in batches and reports each operation when it is committed: it survives the end of the process from
// then on. Also keeps one-use things: login tickets and the replay list. A store error is its own result and
// never reads as "not found".
#pragma once

#include "gateway/store/session.h"

struct store;
struct store_reader;

// Opens or creates the environment in directory `path` (made with 0700) and starts the writer thread, which
// also removes what has expired. After an unclean end of the machine (not of the process) it starts empty.
// One store per process and path; two processes may have it open at once (reload). Not to be used after fork.
struct store *store_open(struct str path, int64_t map_bytes, const uint8_t record_key[SEAL_KEY_BYTES],
                         struct err *err);
// Waits for operations already submitted. Readers must have been freed. NULL is accepted.
void store_close(struct store *s);

// One reader per thread.
struct store_reader *store_reader_new(struct store *s, struct err *err);
void store_reader_free(struct store_reader *r);
// ERR_SESSION_UNKNOWN, ERR_SESSION_RECORD (does not open or decode), ERR_STORE. The session's strings live in
// the arena.
bool store_session(struct store_reader *r, struct arena *a, const uint8_t id[SESSION_ID_BYTES],
                   struct session *ret, struct err *err);
// The same for who asks again and again. The key is where the record lies; the version is what came with the
// answer: a record has another one whenever it was written anew.
struct store_key {
    uint8_t b[SHA256_BYTES];
};
struct store_version {
    uint8_t seal[SEAL_OVERHEAD]; // nonce and tag; all zero: nothing was read yet
};
enum store_read { STORE_FAILED, STORE_SAME, STORE_READ };
bool store_key_of(const uint8_t id[SESSION_ID_BYTES], struct store_key *ret, struct err *err);
// SAME: the record is still that of `*version`; nothing else is done. READ: *ret has the session without its
// id, and *version is its version. With `ret` NULL a changed record is FAILED with ERR_SESSION_RECORD.
enum store_read store_session_read(struct store_reader *r, struct arena *a, const struct store_key *key,
                                   struct store_version *version, struct session *ret, struct err *err);
// Sessions whose identity has this e-mail address (any letter case) or subject, all sessions when `user` is
// empty; at most `max`. For the admin API: opens every record, not for workers.
struct session_summary {
    struct str handle; // hex of the record's key: names the session without being able to use it
    struct str user, provider;
    int64_t created, last_seen, expires;
};
bool store_list(struct store_reader *r, struct arena *a, struct str user, size_t max,
                struct session_summary **ret, size_t *ret_n, struct err *err);
bool store_count(struct store_reader *r, size_t *ret, struct err *err);

struct replay_key {
    struct str key; // "saml:corp:_assertion-id", "state:..."
    int64_t until;  // remembered until then
};

enum store_kind {
    STORE_SESSION_CREATE,  // session, replaces (optional), replay keys: all or nothing; ERR_LOGIN_REPLAY when
                           // a key was used
    STORE_SESSION_TOUCH,   // id, now: last_seen = now (skipped when the session is gone)
    STORE_SESSION_DELETE,  // id; success also when it is gone
    STORE_SESSIONS_REVOKE, // key: e-mail or subject of whom, or a handle; count returned
    STORE_TICKET_PUT,      // key, value, until
    STORE_TICKET_TAKE, // key, now: value returned and gone; ERR_LOGIN_TICKET when it is not there or too old
};

// One operation. The submitter owns it and keeps everything it points to until `done` was called (on the
// writer thread).
struct store_op {
    enum store_kind kind;
    struct arena *arena; // results are allocated here
    struct session session;
    const uint8_t *replaces; // session id to delete, or NULL
    struct replay_key replay[4];
    size_t nreplay;
    uint8_t id[SESSION_ID_BYTES];
    struct str key, value;
    int64_t now, until;

    struct err err; // result: code ERR_NONE when it was done
    struct str ret_value;
    size_t ret_count;
    void (*done)(struct store_op *op);
    void *context;
    struct store_op *next; // private
};
void store_submit(struct store *s, struct store_op *op);
