// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/store.h"

enum { MAP = 16 * 1024 * 1024, NOW = 1000, LATER = 2000000000 };

struct fixture {
    char base[64], path[80];
    uint8_t key[SEAL_KEY_BYTES];
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
};

static void open_store(struct fixture *f, int64_t map)
{
    struct err err = { 0 };
    f->store = store_open(str_c(f->path), map, f->key, &err);
    if (!f->store) fail_msg("store_open: %s", err.detail);
    f->reader = store_reader_new(f->store, &err);
    assert_non_null(f->reader);
}

static void close_store(struct fixture *f)
{
    store_reader_free(f->reader);
    store_close(f->store);
    f->reader = NULL;
    f->store = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->base, "/dev/shm/store-test-XXXXXX"); // hundreds of flushes: not on a disk where it can be helped
    if (!mkdtemp(f->base)) {
        strcpy(f->base, "/tmp/store-test-XXXXXX");
        if (!mkdtemp(f->base)) return -1;
    }
    snprintf(f->path, sizeof f->path, "%s/s", f->base);
    memset(f->key, 9, sizeof f->key);
    f->arena = arena_new(64 * 1024 * 1024);
    open_store(f, MAP);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store) close_store(f);
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

static enum err_code run(struct store *s, struct store_op *op)
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

static struct session session_of(uint32_t n, struct str email, struct str subject, int64_t expires)
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

static enum err_code create(struct fixture *f, uint32_t n, struct str email, struct str subject,
                            int64_t expires)
{
    struct store_op op = { .kind = STORE_SESSION_CREATE,
                           .arena = f->arena,
                           .now = NOW,
                           .session = session_of(n, email, subject, expires) };
    return run(f->store, &op);
}

static enum err_code create_plain(struct fixture *f, uint32_t n)
{
    return create(f, n, STR("ann@example.com"), STR("s-1"), LATER);
}

static enum err_code look(struct fixture *f, uint32_t n)
{
    struct session s = session_of(n, STR_NONE, STR_NONE, 0), got;
    struct err err = { 0 };
    if (!store_session(f->reader, f->arena, s.id, &got, &err)) return err.code;
    assert_memory_equal(got.id, s.id, sizeof s.id);
    return ERR_NONE;
}

static size_t count(struct fixture *f)
{
    struct err err;
    size_t n = 0;
    assert_true(store_count(f->reader, &n, &err));
    return n;
}

static void path_of(struct fixture *f, const char *name, char ret[160])
{
    snprintf(ret, 160, "%s/%s", f->path, name);
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
    char path[160];
    path_of(f, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

// Opens the environment as LMDB itself sees it, while the store is closed.
static MDB_env *raw_open(struct fixture *f, unsigned maxdbs)
{
    MDB_env *env;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, maxdbs);
    mdb_env_set_mapsize(env, MAP);
    assert_int_equal(mdb_env_open(env, f->path, 0, 0600), 0);
    return env;
}

static size_t raw_entries(struct fixture *f, const char *name)
{
    MDB_env *env = raw_open(f, 8);
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

static void test_session_is_found(void **state)
{
    struct fixture *f = *state;
    struct session s = session_of(1, STR("ann@example.com"), STR("s-1"), LATER), got;
    struct err err;
    s.id_token = STR("x.y.z");
    struct store_op op = { .kind = STORE_SESSION_CREATE, .arena = f->arena, .now = NOW, .session = s };
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_true(store_session(f->reader, f->arena, s.id, &got, &err));
    assert_memory_equal(got.id, s.id, sizeof s.id);
    assert_true(str_eq(got.identity.email, STR("ann@example.com")) && str_eq(got.id_token, STR("x.y.z")));
    assert_true(got.created == NOW && got.expires == LATER);
    assert_int_equal(look(f, 2), ERR_SESSION_UNKNOWN);
}

static void test_files_are_private(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "data.mdb", "lock.mdb", "boot", "users" };
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < 4; i++) {
        char path[160];
        path_of(f, names[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void test_directory_of_others_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };
    close_store(f);
    assert_int_equal(chmod(f->path, 0770), 0);
    assert_null(store_open(str_c(f->path), MAP, f->key, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_null(store_open(STR("/nonexistent/store"), MAP, f->key, &err));
    assert_null(store_open(STR(""), MAP, f->key, &err));
    assert_null(store_open(STR("/tmp\0x"), MAP, f->key, &err));
    assert_null(store_open(str_c(f->path), 1, f->key, &err));
    assert_int_equal(chmod(f->path, 0700), 0);
}

static void test_file_names_nobody(void **state)
{
    struct fixture *f = *state;
    struct store_op put = { .kind = STORE_TICKET_PUT,
                            .arena = f->arena,
                            .key = STR("ticket-key-planted"),
                            .value = STR("ticket-value-planted"),
                            .until = LATER };
    assert_int_equal(create(f, 7, STR("planted@example.com"), STR("planted-subject"), LATER), ERR_NONE);
    assert_int_equal(run(f->store, &put), ERR_NONE);
    struct session s = session_of(7, STR_NONE, STR_NONE, 0);
    close_store(f);
    char path[160];
    path_of(f, "data.mdb", path);
    FILE *file = fopen(path, "r");
    char *bytes = malloc(MAP);
    struct str all = { bytes, fread(bytes, 1, MAP, file) };
    fclose(file);
    assert_true(all.n > 4096);
    assert_int_equal(str_search(all, STR("planted")), all.n);
    assert_int_equal(str_search(all, STR("example.com")), all.n);
    assert_int_equal(str_search(all, (struct str){ (const char *)s.id, sizeof s.id }), all.n);
    free(bytes);
}

static void test_survives_close_and_reopen(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    close_store(f);
    open_store(f, MAP);
    assert_int_equal(look(f, 1), ERR_NONE);
}

// Another boot, no record of a clean end: pages may be torn, one-use things forgotten, signed-out sessions
// back.
static void test_unclean_boot_starts_empty(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    close_store(f);
    write_file(f, "boot", "00000000-0000-0000-0000-000000000000");
    open_store(f, MAP);
    assert_int_equal(look(f, 1), ERR_SESSION_UNKNOWN);
    assert_int_equal(create_plain(f, 2), ERR_NONE);
    close_store(f);
    open_store(f, MAP);
    assert_int_equal(look(f, 2), ERR_NONE);
    close_store(f);
    char path[160];
    path_of(f, "boot", path);
    unlink(path);
    open_store(f, MAP);
    assert_int_equal(look(f, 2), ERR_SESSION_UNKNOWN);
}

static void test_marker_is_this_boot_while_open(void **state)
{
    struct fixture *f = *state;
    char path[160], text[64] = "", boot[64] = "";
    path_of(f, "boot", path);
    FILE *file = fopen(path, "r");
    assert_true(fread(text, 1, 36, file) == 36);
    fclose(file);
    file = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_true(fread(boot, 1, 36, file) == 36);
    fclose(file);
    assert_string_equal(text, boot);
}

// Runs `body` in a child with a store of its own, which then dies without closing anything.
static int in_child(struct fixture *f, void (*body)(struct fixture *))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        alarm(60);
        setrlimit(RLIMIT_CORE, &none);
        if (!freopen("/dev/null", "w", stderr)) _exit(9);
        open_store(f, MAP);
        body(f);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void child_creates(struct fixture *f)
{
    create_plain(f, 42);
}

static void test_survives_kill_of_the_process(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    assert_int_equal(in_child(f, child_creates), SIGKILL);
    open_store(f, MAP);
    assert_int_equal(look(f, 42), ERR_NONE);
}

static void child_meets_damage(struct fixture *f)
{
    for (uint32_t i = 0; i < 400; i++) create_plain(f, i + 1000);
}

// Garbage in every page but the two meta pages. Whatever LMDB makes of it (an error, or abort): the next
// start works.
static void test_damage_does_not_last(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 300; i++) assert_int_equal(create_plain(f, i), ERR_NONE);
    close_store(f);
    char path[160], junk[4096];
    path_of(f, "data.mdb", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    memset(junk, 0x5A, sizeof junk);
    int fd = open(path, O_WRONLY);
    for (off_t at = 3 * 4096; at < st.st_size; at += 4096) assert_int_equal(pwrite(fd, junk, 64, at), 64);
    close(fd);
    for (int i = 0; i < 6; i++) in_child(f, child_meets_damage);
    open_store(f, MAP);
    assert_int_equal(create_plain(f, 5000), ERR_NONE);
    assert_int_equal(look(f, 5000), ERR_NONE);
}

static void test_not_a_database_starts_empty(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    char text[8193];
    memset(text, 'x', sizeof text - 1);
    text[8192] = 0;
    write_file(f, "data.mdb", text);
    open_store(f, MAP);
    assert_int_equal(create_plain(f, 1), ERR_NONE);
}

static void test_wrong_key_is_a_record_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    close_store(f);
    f->key[0] ^= 1;
    open_store(f, MAP);
    assert_int_equal(look(f, 1), ERR_SESSION_RECORD);
    struct store_op touch = { .kind = STORE_SESSION_TOUCH, .arena = f->arena, .now = NOW + 5 };
    memcpy(touch.id, session_of(1, STR_NONE, STR_NONE, 0).id, sizeof touch.id);
    assert_int_equal(run(f->store, &touch), ERR_SESSION_RECORD);
    // It can still be removed, with its index entries.
    struct store_op del = touch;
    del.kind = STORE_SESSION_DELETE;
    assert_int_equal(run(f->store, &del), ERR_NONE);
    assert_int_equal(look(f, 1), ERR_SESSION_UNKNOWN);
    close_store(f);
    assert_int_equal(raw_entries(f, "by_user"), 0);
    assert_int_equal(raw_entries(f, "expiry"), 0);
}

// Changes byte `at` of the only session's value (from the end when negative); SIZE_MAX: returns its length
// only.
static size_t raw_flip(struct fixture *f, size_t at)
{
    MDB_env *env = raw_open(f, 8);
    MDB_txn *txn;
    MDB_dbi db;
    MDB_cursor *c;
    MDB_val k, v;
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "sessions", 0, &db), 0);
    assert_int_equal(mdb_cursor_open(txn, db, &c), 0);
    assert_int_equal(mdb_cursor_get(c, &k, &v, MDB_FIRST), 0);
    size_t n = v.mv_size;
    if (at < n) {
        char *copy = malloc(n);
        memcpy(copy, v.mv_data, n);
        copy[at] ^= 0x10;
        MDB_val changed = { n, copy };
        assert_int_equal(mdb_cursor_put(c, &k, &changed, MDB_CURRENT), 0);
        free(copy);
    }
    mdb_cursor_close(c);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    return n;
}

static void test_every_changed_byte_of_a_value_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    close_store(f);
    size_t n = raw_flip(f, SIZE_MAX);
    for (size_t at = 0; at < n; at++) {
        raw_flip(f, at);
        open_store(f, MAP);
        assert_int_equal(look(f, 1), ERR_SESSION_RECORD); // the end in front of the box included
        close_store(f);
        raw_flip(f, at);
    }
    open_store(f, MAP);
    assert_int_equal(look(f, 1), ERR_NONE);
}

// A sealed value copied under the key of another session opens for nobody.
static void test_value_under_another_key_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create(f, 1, STR("ann@example.com"), STR("s-1"), LATER), ERR_NONE);
    assert_int_equal(create(f, 2, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    close_store(f);
    MDB_env *env = raw_open(f, 8);
    MDB_txn *txn;
    MDB_dbi db;
    MDB_cursor *c;
    MDB_val first, second, v;
    mdb_txn_begin(env, NULL, 0, &txn);
    mdb_dbi_open(txn, "sessions", 0, &db);
    mdb_cursor_open(txn, db, &c);
    assert_int_equal(mdb_cursor_get(c, &first, &v, MDB_FIRST), 0);
    char copy[4096];
    memcpy(copy, v.mv_data, v.mv_size);
    MDB_val moved = { v.mv_size, copy };
    assert_int_equal(mdb_cursor_get(c, &second, &v, MDB_NEXT), 0);
    assert_int_equal(mdb_cursor_put(c, &second, &moved, MDB_CURRENT), 0);
    mdb_cursor_close(c);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    open_store(f, MAP);
    enum err_code one = look(f, 1), two = look(f, 2);
    assert_true((one == ERR_NONE && two == ERR_SESSION_RECORD) ||
                (two == ERR_NONE && one == ERR_SESSION_RECORD));
}

static void test_touch_moves_last_seen_forward_only(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    struct session s = session_of(1, STR_NONE, STR_NONE, 0), got;
    struct err err;
    struct store_op op = { .kind = STORE_SESSION_TOUCH, .arena = f->arena, .now = NOW + 50 };
    memcpy(op.id, s.id, sizeof s.id);
    assert_int_equal(run(f->store, &op), ERR_NONE);
    op.now = NOW + 20;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_true(store_session(f->reader, f->arena, s.id, &got, &err));
    assert_int_equal(got.last_seen, NOW + 50);
    assert_int_equal(got.expires, LATER);
    // A touch under way does not bring a signed-out session back.
    op.kind = STORE_SESSION_DELETE;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_int_equal(run(f->store, &op), ERR_NONE);
    op.kind = STORE_SESSION_TOUCH;
    op.now = NOW + 90;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_int_equal(look(f, 1), ERR_SESSION_UNKNOWN);
}

static struct store_op login(struct fixture *f, uint32_t n, struct str key, int64_t until)
{
    return (struct store_op){ .kind = STORE_SESSION_CREATE,
                              .arena = f->arena,
                              .now = NOW,
                              .session = session_of(n, STR("ann@example.com"), STR("s-1"), LATER),
                              .replay = { { key, until }, { STR("state:other"), until } },
                              .nreplay = 1 };
}

static void test_replay_is_refused_and_creates_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_op op = login(f, 1, STR("saml:corp:_1"), LATER);
    assert_int_equal(run(f->store, &op), ERR_NONE);
    op = login(f, 2, STR("saml:corp:_1"), LATER);
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(look(f, 2), ERR_SESSION_UNKNOWN);
    // A refused login uses none of its other keys up, and none of its keys twice.
    op = login(f, 3, STR("saml:corp:_2"), LATER);
    op.replay[1].key = STR("saml:corp:_1");
    op.nreplay = 2;
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    op.replay[1].key = STR("saml:corp:_2");
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    op.nreplay = 1;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    // It is remembered across a restart.
    close_store(f);
    open_store(f, MAP);
    op = login(f, 4, STR("saml:corp:_2"), LATER);
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(count(f), 2);
}

static void test_replay_key_is_remembered_until_its_time(void **state)
{
    struct fixture *f = *state;
    struct store_op op = login(f, 1, STR("k"), LATER);
    assert_int_equal(run(f->store, &op), ERR_NONE);
    op = login(f, 2, STR("k"), LATER + 100);
    op.now = LATER;
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    op.now = LATER + 1;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    op = login(f, 3, STR("k"), LATER + 100);
    op.now = LATER + 2;
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    close_store(f);
    assert_int_equal(raw_entries(f, "replay"), 1);
    assert_int_equal(raw_entries(f, "expiry"), 3); // two sessions, one key
}

static void test_replaced_session_is_gone(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    struct session old = session_of(1, STR_NONE, STR_NONE, 0);
    struct store_op op = login(f, 2, STR("k"), LATER);
    op.replaces = old.id;
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_int_equal(look(f, 1), ERR_SESSION_UNKNOWN);
    assert_int_equal(look(f, 2), ERR_NONE);
    // A refused login leaves the old session alone.
    struct session now = session_of(2, STR_NONE, STR_NONE, 0);
    op = login(f, 3, STR("k"), LATER);
    op.replaces = now.id;
    assert_int_equal(run(f->store, &op), ERR_LOGIN_REPLAY);
    assert_int_equal(look(f, 2), ERR_NONE);
    // A planted id is not taken over (GHSA-f24x-5g9q-753f).
    op = login(f, 2, STR("k2"), LATER);
    op.replaces = now.id;
    assert_int_equal(run(f->store, &op), ERR_STORE_EXISTS);
}

static enum err_code ticket(struct fixture *f, enum store_kind kind, struct str key, int64_t time,
                            struct str *ret)
{
    struct store_op op = { .kind = kind,
                           .arena = f->arena,
                           .key = key,
                           .value = STR("session id and host"),
                           .now = time,
                           .until = time };
    enum err_code code = run(f->store, &op);
    if (ret) *ret = op.ret_value;
    return code;
}

static void test_ticket_is_good_once_and_in_time(void **state)
{
    struct fixture *f = *state;
    struct str value;
    assert_int_equal(ticket(f, STORE_TICKET_PUT, STR("t1"), LATER, NULL), ERR_NONE);
    assert_int_equal(ticket(f, STORE_TICKET_PUT, STR("t1"), LATER, NULL), ERR_STORE_EXISTS);
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR("t2"), NOW, &value), ERR_LOGIN_TICKET);
    assert_null(value.p);
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR("t1"), NOW, &value), ERR_NONE);
    assert_true(str_eq(value, STR("session id and host")));
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR("t1"), NOW, &value), ERR_LOGIN_TICKET);
    assert_null(value.p);
    assert_int_equal(ticket(f, STORE_TICKET_PUT, STR("t3"), LATER, NULL), ERR_NONE);
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR("t3"), LATER, &value), ERR_LOGIN_TICKET);
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR("t3"), NOW, &value),
                     ERR_LOGIN_TICKET); // too late is gone
    assert_int_equal(ticket(f, STORE_TICKET_TAKE, STR(""), NOW, &value), ERR_LOGIN_TICKET);
    close_store(f);
    assert_int_equal(raw_entries(f, "tickets"), 0);
    assert_int_equal(raw_entries(f, "expiry"), 0);
}

struct taker {
    struct fixture *f;
    struct arena *arena;
    int won;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "t%d", i);
        struct store_op op = { .kind = STORE_TICKET_TAKE, .arena = t->arena, .key = str_c(key), .now = NOW };
        enum err_code code = run(t->f->store, &op);
        if (code == ERR_NONE)
            t->won++;
        else if (code != ERR_LOGIN_TICKET)
            abort();
    }
    return NULL;
}

static void test_ticket_has_one_winner(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "t%d", i);
        assert_int_equal(ticket(f, STORE_TICKET_PUT, str_c(key), LATER, NULL), ERR_NONE);
    }
    struct taker t[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (struct taker){ f, arena_new(1024 * 1024), 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &t[i]), 0);
    }
    int won = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        won += t[i].won;
        arena_free(t[i].arena);
    }
    assert_int_equal(won, 200);
}

static void wait_for_sweep(struct fixture *f, size_t left)
{
    for (int i = 0; i < 500 && count(f) != left; i++) usleep(10000);
    assert_int_equal(count(f), left);
}

static void test_what_has_ended_is_swept(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 700; i++)
        assert_int_equal(create(f, i, STR("a@b.c"), STR("s"), NOW + i), ERR_NONE);
    assert_int_equal(create(f, 900, STR("a@b.c"), STR("s"), LATER), ERR_NONE);
    struct store_op op = login(f, 901, STR("old"), NOW);
    assert_int_equal(run(f->store, &op), ERR_NONE);
    assert_int_equal(ticket(f, STORE_TICKET_PUT, STR("t"), NOW, NULL), ERR_NONE);
    close_store(f);
    open_store(f, MAP); // sweeps at the start, in slices
    wait_for_sweep(f, 2);
    assert_int_equal(look(f, 900), ERR_NONE);
    close_store(f);
    assert_int_equal(raw_entries(f, "by_user"), 4);
    assert_int_equal(raw_entries(f, "replay"), 0);
    assert_int_equal(raw_entries(f, "tickets"), 0);
    assert_int_equal(raw_entries(f, "expiry"), 2);
}

static size_t revoke_all(struct fixture *f, struct str key)
{
    struct store_op op = { .kind = STORE_SESSIONS_REVOKE, .arena = f->arena, .key = key, .now = NOW };
    run(f->store, &op);
    return op.ret_count;
}

static void test_revoke_by_person_and_handle(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(create_plain(f, i), ERR_NONE);
    assert_int_equal(create(f, 10, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    assert_int_equal(create(f, 11, STR_NONE, STR("S-1"), LATER), ERR_NONE);
    assert_int_equal(create(f, 12, STR_NONE, STR("s-2"), LATER), ERR_NONE);
    assert_int_equal(revoke_all(f, STR("")), 0);
    assert_int_equal(revoke_all(f, STR("ann@example.co")), 0);
    assert_int_equal(count(f), 8);
    assert_int_equal(revoke_all(f, STR("Ann@Example.com")), 5);
    assert_int_equal(look(f, 3), ERR_SESSION_UNKNOWN);
    assert_int_equal(look(f, 11), ERR_NONE); // subjects are compared exactly
    assert_int_equal(revoke_all(f, STR("s-2")), 2);
    struct session_summary *v;
    size_t n;
    struct err err;
    assert_true(store_list(f->reader, f->arena, STR_NONE, 10, &v, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(revoke_all(f, v[0].handle), 1);
    assert_int_equal(revoke_all(f, v[0].handle), 0);
    close_store(f);
    assert_int_equal(raw_entries(f, "by_user"), 0);
    assert_int_equal(raw_entries(f, "expiry"), 0);
}

static void test_list_of_all_and_of_one(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 600; i++) assert_int_equal(create_plain(f, i), ERR_NONE);
    assert_int_equal(create(f, 1000, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    // The e-mail address of one is the subject of another; one is found twice but listed once.
    assert_int_equal(create(f, 1001, STR("bob@example.com"), STR("bob@example.com"), LATER), ERR_NONE);
    struct session_summary *v;
    size_t n;
    struct err err;
    assert_true(store_list(f->reader, f->arena, STR_NONE, 10000, &v, &n, &err));
    assert_int_equal(n, 602);
    for (size_t i = 1; i < n; i++) assert_true(str_cmp(v[i - 1].handle, v[i].handle) < 0);
    assert_true(store_list(f->reader, f->arena, STR("BOB@example.com"), 100, &v, &n, &err));
    assert_int_equal(n, 2);
    assert_true(store_list(f->reader, f->arena, STR("bob@example.com"), 100, &v, &n, &err));
    assert_int_equal(n, 2);
    assert_true(str_eq(v[0].user, STR("bob@example.com")) && str_eq(v[0].provider, STR("corp")));
    assert_true(store_list(f->reader, f->arena, STR("ann@example.com"), 300, &v, &n, &err));
    assert_int_equal(n, 300);
    assert_true(store_list(f->reader, f->arena, STR("nobody"), 300, &v, &n, &err));
    assert_int_equal(n, 0);
    struct arena *small = arena_new(1024);
    assert_false(store_list(f->reader, small, STR_NONE, 10000, &v, &n, &err));
    assert_int_equal(err.code, ERR_NO_MEMORY);
    arena_free(small);
}

static void test_full_map_refuses_and_recovers(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    open_store(f, 512 * 1024);
    uint32_t n = 0;
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && n < 5000) {
        // Different people: the index grows with the sessions.
        char subject[16];
        snprintf(subject, sizeof subject, "s-%u", n);
        code = create(f, n++, STR("ann@example.com"), str_c(subject), LATER);
    }
    assert_int_equal(code, ERR_STORE_FULL);
    assert_int_equal(look(f, 0), ERR_NONE); // those who are in stay in
    assert_int_equal(look(f, n - 1), ERR_SESSION_UNKNOWN);
    // Signing out still works, and makes room again.
    assert_true(n > 200);
    for (uint32_t i = 0; i < n * 3 / 4; i++) {
        struct store_op op = { .kind = STORE_SESSION_DELETE, .arena = f->arena };
        memcpy(op.id, session_of(i, STR_NONE, STR_NONE, 0).id, sizeof op.id);
        assert_int_equal(run(f->store, &op), ERR_NONE);
    }
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(create_plain(f, 10000 + i), ERR_NONE);
}

static void test_full_map_is_swept_first(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    open_store(f, 512 * 1024);
    usleep(50000); // the sweep of the start is over; the next one is a minute away
    for (uint32_t i = 0; i < 5000; i++) assert_int_equal(create(f, i, STR("a@b.c"), STR("s"), NOW), ERR_NONE);
    assert_true(count(f) < 5000);
}

static void test_reader_slots_run_out(void **state)
{
    struct fixture *f = *state;
    struct store_reader *readers[600];
    struct err err = { 0 };
    size_t n = 0;
    while (n < 600 && (readers[n] = store_reader_new(f->store, &err))) n++;
    assert_true(n >= 256 && n < 600);
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(create_plain(f, 1), ERR_NONE); // who has a slot goes on
    assert_int_equal(look(f, 1), ERR_NONE);
    for (size_t i = 0; i < n; i++) store_reader_free(readers[i]);
    struct store_reader *again = store_reader_new(f->store, &err);
    assert_non_null(again);
    store_reader_free(again);
}

static void test_no_memory_is_said(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_plain(f, 1), ERR_NONE);
    struct session s = session_of(1, STR_NONE, STR_NONE, 0), got;
    for (size_t limit = 16;; limit += 16) {
        struct arena *a = arena_new(limit);
        struct err err = { 0 };
        bool ok = store_session(f->reader, a, s.id, &got, &err);
        if (!ok) assert_int_equal(err.code, ERR_NO_MEMORY);
        arena_free(a);
        if (ok) break;
    }
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        struct store_reader *r = store_reader_new(f->store, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed == !r);
        store_reader_free(r);
        if (!failed) break;
    }
    close_store(f);
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        f->store = store_open(str_c(f->path), MAP, f->key, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        assert_true(failed == !f->store);
        store_close(f->store);
        f->store = NULL;
        if (!failed) break;
    }
    open_store(f, MAP);
}

static void test_too_large_session_is_refused_alone(void **state)
{
    struct fixture *f = *state;
    struct store_op op = login(f, 1, STR("k"), LATER);
    char *big = arena_alloc(f->arena, 200000);
    op.session.id_token = (struct str){ big, 200000 };
    assert_int_equal(run(f->store, &op), ERR_TOO_LARGE);
    op.session.id_token = STR_NONE;
    assert_int_equal(run(f->store, &op), ERR_NONE); // its replay key was not used up
}

struct traffic {
    struct fixture *f;
    uint32_t from;
    _Atomic bool *stop;
    long reads;
};

static void *read_on(void *arg)
{
    struct traffic *t = arg;
    struct err err;
    struct store_reader *r = store_reader_new(t->f->store, &err);
    struct arena *a = arena_new(1024 * 1024);
    while (!*t->stop) {
        struct session s = session_of((uint32_t)(t->reads % 64), STR_NONE, STR_NONE, 0), got;
        arena_clear(a);
        if (store_session(r, a, s.id, &got, &err) && !str_eq(got.identity.subject, STR("s-1"))) abort();
        if (err.code == ERR_STORE || err.code == ERR_SESSION_RECORD) abort();
        t->reads++;
    }
    arena_free(a);
    store_reader_free(r);
    return NULL;
}

static void *write_on(void *arg)
{
    struct traffic *t = arg;
    struct arena *a = arena_new(1024 * 1024);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t n = t->from + i % 32;
        struct store_op op = { .kind = STORE_SESSION_CREATE,
                               .arena = a,
                               .now = NOW,
                               .session = session_of(n, STR("ann@example.com"), STR("s-1"), LATER) };
        if (run(t->f->store, &op) != ERR_NONE) abort();
        memcpy(op.id, op.session.id, sizeof op.id);
        op.kind = STORE_SESSION_TOUCH;
        if (run(t->f->store, &op) != ERR_NONE) abort();
        op.kind = STORE_SESSION_DELETE;
        if (run(t->f->store, &op) != ERR_NONE) abort();
        arena_clear(a);
    }
    arena_free(a);
    return NULL;
}

static void test_readers_and_writers_together(void **state)
{
    struct fixture *f = *state;
    _Atomic bool stop = false;
    struct traffic t[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = (struct traffic){ f, 32 * (i / 2), &stop, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? read_on : write_on, &t[i]), 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[2], NULL);
    stop = true;
    pthread_join(threads[1], NULL);
    pthread_join(threads[3], NULL);
    assert_int_equal(count(f), 0);
    assert_true(t[1].reads > 0 && t[3].reads > 0);
}

static _Atomic int submitted_done;

static void count_done(struct store_op *op)
{
    if (op->err.code == ERR_NONE) submitted_done++;
}

static void test_close_waits_for_what_was_submitted(void **state)
{
    struct fixture *f = *state;
    static struct store_op ops[1500];
    submitted_done = 0;
    for (uint32_t i = 0; i < 1500; i++) {
        ops[i] = (struct store_op){ .kind = STORE_SESSION_CREATE,
                                    .arena = f->arena,
                                    .now = NOW,
                                    .done = count_done,
                                    .session = session_of(i, STR("ann@example.com"), STR("s-1"), LATER) };
        store_submit(f->store, &ops[i]);
    }
    close_store(f);
    assert_int_equal(submitted_done, 1500);
    open_store(f, MAP);
    assert_int_equal(count(f), 1500);
}

// Two generations of the gateway during a reload. The new one has a larger map; the old one closes first,
// which must not promise a clean end in the name of the other.
static void test_two_processes_share_the_store(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    int up[2], down[2];
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char go;
        alarm(60); // never outlives the test
        open_store(f, MAP);
        if (read(down[0], &go, 1) != 1) _exit(2); // the other process has opened it as well
        for (uint32_t i = 0; i < 6000; i++)
            if (create_plain(f, i) != ERR_NONE) _exit(3);
        if (write(up[1], "x", 1) != 1 || read(down[0], &go, 1) != 1) _exit(4);
        kill(getpid(), SIGKILL);
    }
    open_store(f, 1024 * 1024);
    assert_int_equal(create_plain(f, 9000), ERR_NONE);
    char go;
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(read(up[0], &go, 1), 1);
    assert_int_equal(look(f, 5999), ERR_NONE); // the map of this process is too small by now and grows
    assert_int_equal(create_plain(f, 9001), ERR_NONE);
    close_store(f);
    char path[160], text[8] = "";
    path_of(f, "boot", path);
    FILE *file = fopen(path, "r");
    assert_true(fread(text, 1, 5, file) == 5);
    fclose(file);
    assert_string_not_equal(text, "clean");
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(up[0]), close(up[1]), close(down[0]), close(down[1]);
    open_store(f, MAP);
    assert_int_equal(count(f), 6002);
}

int main(void)
{
    int null = open("/dev/null", O_WRONLY);
    log_to_fd(null);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_session_is_found),
        TEST(test_files_are_private),
        TEST(test_directory_of_others_is_refused),
        TEST(test_file_names_nobody),
        TEST(test_survives_close_and_reopen),
        TEST(test_unclean_boot_starts_empty),
        TEST(test_marker_is_this_boot_while_open),
        TEST(test_survives_kill_of_the_process),
        TEST(test_damage_does_not_last),
        TEST(test_not_a_database_starts_empty),
        TEST(test_wrong_key_is_a_record_error),
        TEST(test_every_changed_byte_of_a_value_is_refused),
        TEST(test_value_under_another_key_is_refused),
        TEST(test_touch_moves_last_seen_forward_only),
        TEST(test_replay_is_refused_and_creates_nothing),
        TEST(test_replay_key_is_remembered_until_its_time),
        TEST(test_replaced_session_is_gone),
        TEST(test_ticket_is_good_once_and_in_time),
        TEST(test_ticket_has_one_winner),
        TEST(test_what_has_ended_is_swept),
        TEST(test_revoke_by_person_and_handle),
        TEST(test_list_of_all_and_of_one),
        TEST(test_full_map_refuses_and_recovers),
        TEST(test_full_map_is_swept_first),
        TEST(test_reader_slots_run_out),
        TEST(test_no_memory_is_said),
        TEST(test_too_large_session_is_refused_alone),
        TEST(test_readers_and_writers_together),
        TEST(test_close_waits_for_what_was_submitted),
        TEST(test_two_processes_share_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
