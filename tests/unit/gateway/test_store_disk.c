// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/store/internal.h"
#include "store_rig.h"

static void test_files_are_private(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "data.mdb", "lock.mdb", "boot", "users" };
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < 4; i++) {
        char path[160];
        rig_path(f, names[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void test_directory_of_others_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = { 0 };
    rig_close(f);
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
    assert_int_equal(rig_create(f, 7, STR("planted@example.com"), STR("planted-subject"), LATER), ERR_NONE);
    assert_int_equal(rig_run(f->store, &put), ERR_NONE);
    struct session s = rig_session(7, STR_NONE, STR_NONE, 0);
    rig_close(f);
    char path[160];
    rig_path(f, "data.mdb", path);
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
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    rig_close(f);
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_NONE);
}

// Another boot, no record of a clean end: pages may be torn, one-use things forgotten, signed-out sessions
// back.
static void test_unclean_boot_starts_empty(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    rig_close(f);
    rig_write_file(f, "boot", "00000000-0000-0000-0000-000000000000");
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
    assert_int_equal(rig_create_plain(f, 2), ERR_NONE);
    rig_close(f);
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 2), ERR_NONE);
    rig_close(f);
    char path[160];
    rig_path(f, "boot", path);
    unlink(path);
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 2), ERR_SESSION_UNKNOWN);
}

static void test_marker_is_this_boot_while_open(void **state)
{
    struct fixture *f = *state;
    char path[160], text[64] = "", boot[64] = "";
    rig_path(f, "boot", path);
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
        rig_open(f, MAP);
        body(f);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void child_creates(struct fixture *f)
{
    rig_create_plain(f, 42);
}

static void test_survives_kill_of_the_process(void **state)
{
    struct fixture *f = *state;
    rig_close(f);
    assert_int_equal(in_child(f, child_creates), SIGKILL);
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 42), ERR_NONE);
}

static void child_meets_damage(struct fixture *f)
{
    for (uint32_t i = 0; i < 400; i++) rig_create_plain(f, i + 1000);
}

// Garbage in every page but the two meta pages. Whatever LMDB makes of it (an error, or abort): the next
// start works.
static void test_damage_does_not_last(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 300; i++) assert_int_equal(rig_create_plain(f, i), ERR_NONE);
    rig_close(f);
    char path[160], junk[4096];
    rig_path(f, "data.mdb", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    memset(junk, 0x5A, sizeof junk);
    int fd = open(path, O_WRONLY);
    for (off_t at = 3 * 4096; at < st.st_size; at += 4096) assert_int_equal(pwrite(fd, junk, 64, at), 64);
    close(fd);
    for (int i = 0; i < 6; i++) in_child(f, child_meets_damage);
    rig_open(f, MAP);
    assert_int_equal(rig_create_plain(f, 5000), ERR_NONE);
    assert_int_equal(rig_look(f, 5000), ERR_NONE);
}

static void write_marker(struct fixture *f, const char *crashes)
{
    char boot[64] = "", text[80];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_true(fread(boot, 1, 36, file) == 36);
    fclose(file);
    snprintf(text, sizeof text, "%s%s", boot, crashes);
    rig_write_file(f, "boot", text);
}

static void test_crashes_in_a_row_are_counted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    rig_close(f);
    write_marker(f, " 3");
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_NONE);
    rig_close(f);
    rig_open(f, MAP); // a clean end: the count begins again
    rig_close(f);
    static const char *const distrusted[] = { " 4", " 99", " -1", " x", " ", "", "0", " 0 " };
    for (size_t i = 0; i < sizeof distrusted / sizeof *distrusted; i++) {
        write_marker(f, distrusted[i]);
        rig_open(f, MAP);
        assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
        assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
        rig_close(f);
    }
}

static void test_not_a_database_starts_empty(void **state)
{
    struct fixture *f = *state;
    rig_close(f);
    char text[8193];
    memset(text, 'x', sizeof text - 1);
    text[8192] = 0;
    rig_write_file(f, "data.mdb", text);
    rig_open(f, MAP);
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
}

static void test_wrong_key_is_a_record_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    rig_close(f);
    f->key[0] ^= 1;
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_RECORD);
    struct store_op touch = { .kind = STORE_SESSION_TOUCH, .arena = f->arena, .now = NOW + 5 };
    memcpy(touch.id, rig_session(1, STR_NONE, STR_NONE, 0).id, sizeof touch.id);
    assert_int_equal(rig_run(f->store, &touch), ERR_SESSION_RECORD);
    // It can still be removed, with its index entries.
    struct store_op del = touch;
    del.kind = STORE_SESSION_DELETE;
    assert_int_equal(rig_run(f->store, &del), ERR_NONE);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
    rig_close(f);
    assert_int_equal(rig_raw_entries(f, "by_user"), 0);
    assert_int_equal(rig_raw_entries(f, "expiry"), 0);
}

// Changes byte `at` of the only session's value (from the end when negative); SIZE_MAX: returns its length
// only.
static size_t raw_flip(struct fixture *f, size_t at)
{
    MDB_env *env = rig_raw_open(f, 8);
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
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    rig_close(f);
    size_t n = raw_flip(f, SIZE_MAX);
    for (size_t at = 0; at < n; at++) {
        raw_flip(f, at);
        rig_open(f, MAP);
        assert_int_equal(rig_look(f, 1), ERR_SESSION_RECORD); // the end in front of the box included
        rig_close(f);
        raw_flip(f, at);
    }
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_NONE);
}

// A sealed value copied under the key of another session opens for nobody.
static void test_value_under_another_key_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rig_create(f, 1, STR("ann@example.com"), STR("s-1"), LATER), ERR_NONE);
    assert_int_equal(rig_create(f, 2, STR("bob@example.com"), STR("s-2"), LATER), ERR_NONE);
    rig_close(f);
    MDB_env *env = rig_raw_open(f, 8);
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
    rig_open(f, MAP);
    enum err_code one = rig_look(f, 1), two = rig_look(f, 2);
    assert_true((one == ERR_NONE && two == ERR_SESSION_RECORD) ||
                (two == ERR_NONE && one == ERR_SESSION_RECORD));
}

static void test_full_map_refuses_and_recovers(void **state)
{
    struct fixture *f = *state;
    rig_close(f);
    rig_open(f, 512 * 1024);
    uint32_t n = 0;
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && n < 5000) {
        // Different people: the index grows with the sessions.
        char subject[16];
        snprintf(subject, sizeof subject, "s-%u", n);
        code = rig_create(f, n++, STR("ann@example.com"), str_c(subject), LATER);
    }
    assert_int_equal(code, ERR_STORE_FULL);
    assert_int_equal(rig_look(f, 0), ERR_NONE); // those who are in stay in
    assert_int_equal(rig_look(f, n - 1), ERR_SESSION_UNKNOWN);
    // Signing out still works, and makes room again.
    assert_true(n > 200);
    for (uint32_t i = 0; i < n * 3 / 4; i++) {
        struct store_op op = { .kind = STORE_SESSION_DELETE, .arena = f->arena };
        memcpy(op.id, rig_session(i, STR_NONE, STR_NONE, 0).id, sizeof op.id);
        assert_int_equal(rig_run(f->store, &op), ERR_NONE);
    }
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(rig_create_plain(f, 10000 + i), ERR_NONE);
}

static void test_full_map_is_swept_first(void **state)
{
    struct fixture *f = *state;
    rig_close(f);
    rig_open(f, 512 * 1024);
    usleep(50000); // the sweep of the start is over; the next one is a minute away
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(rig_create(f, i, STR("a@b.c"), STR("s"), NOW), ERR_NONE);
    assert_true(rig_count(f) < 5000);
}

// Two generations of the gateway during a reload. The new one has a larger map; the old one closes first,
// which must not promise a clean end in the name of the other.
static void share(struct fixture *f, bool write_first)
{
    rig_close(f);
    int up[2], down[2];
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char go;
        alarm(60); // never outlives the test
        rig_open(f, MAP);
        if (read(down[0], &go, 1) != 1) _exit(2); // the other process has opened it as well
        for (uint32_t i = 0; i < 6000; i++)
            if (rig_create_plain(f, i) != ERR_NONE) _exit(3);
        if (write(up[1], "x", 1) != 1 || read(down[0], &go, 1) != 1) _exit(4);
        kill(getpid(), SIGKILL);
    }
    rig_open(f, 1024 * 1024);
    assert_int_equal(rig_create_plain(f, 9000), ERR_NONE);
    char go;
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(read(up[0], &go, 1), 1);
    // The map of this process is too small by now and grows, whether it reads or writes next.
    if (write_first) assert_int_equal(rig_create_plain(f, 9001), ERR_NONE);
    assert_int_equal(rig_look(f, 5999), ERR_NONE);
    if (!write_first) assert_int_equal(rig_create_plain(f, 9001), ERR_NONE);
    rig_close(f);
    char path[160], text[8] = "";
    rig_path(f, "boot", path);
    FILE *file = fopen(path, "r");
    assert_true(fread(text, 1, 5, file) == 5);
    fclose(file);
    assert_string_not_equal(text, "clean");
    assert_int_equal(write(down[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(up[0]), close(up[1]), close(down[0]), close(down[1]);
    rig_open(f, MAP);
    assert_int_equal(rig_count(f), 6002);
}

static void test_two_processes_share_the_store(void **state)
{
    share(*state, false);
}

static void test_writer_follows_a_larger_map(void **state)
{
    share(*state, true);
}

static void child_sees_damage(struct fixture *f)
{
    struct err err;
    rig_create_plain(f, 1);
    store_fail(f->store, &err, MDB_CORRUPTED, "a page");
}

static void test_damage_that_was_seen_is_not_kept(void **state)
{
    struct fixture *f = *state;
    rig_close(f);
    assert_int_equal(in_child(f, child_sees_damage), SIGKILL);
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
    assert_int_equal(rig_create_plain(f, 1), ERR_NONE);
    struct err err;
    store_fail(f->store, &err, MDB_PAGE_NOTFOUND, "a page");
    rig_close(f); // and no clean end is claimed
    rig_open(f, MAP);
    assert_int_equal(rig_look(f, 1), ERR_SESSION_UNKNOWN);
}

static _Atomic int left;

static void count_down(struct store_op *op)
{
    (void)op;
    left--;
}

// In a full store, those who sign out do not suffer from those who sign in in the same batch.
static void test_full_map_refuses_only_what_is_new(void **state)
{
    struct fixture *f = *state;
    static struct store_op ops[200];
    uint32_t n = 0;
    rig_close(f);
    rig_open(f, 512 * 1024);
    while (n < 5000 && rig_create_plain(f, n) == ERR_NONE) n++;
    assert_true(n > 200 && n < 5000);
    left = 200;
    for (uint32_t i = 0; i < 200; i++) {
        ops[i] = (struct store_op){ .kind = i % 2 ? STORE_SESSION_DELETE : STORE_SESSION_CREATE,
                                    .arena = f->arena,
                                    .now = NOW,
                                    .done = count_down,
                                    .session = rig_session(90000 + i, STR("a@b.c"), STR("s"), LATER) };
        memcpy(ops[i].id, rig_session(i, STR_NONE, STR_NONE, 0).id, SESSION_ID_BYTES);
        store_submit(f->store, &ops[i]);
    }
    while (left > 0) usleep(1000);
    assert_int_equal(ops[0].err.code, ERR_STORE_FULL);
    for (uint32_t i = 0; i < 200; i++) {
        enum err_code created = rig_look(f, 90000 + i);
        if (i % 2)
            assert_int_equal(rig_look(f, i), ERR_SESSION_UNKNOWN);
        else
            assert_int_equal(created, ops[i].err.code ? ERR_SESSION_UNKNOWN : ERR_NONE);
    }
}

int main(void)
{
    log_to_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_files_are_private),
        TEST(test_directory_of_others_is_refused),
        TEST(test_file_names_nobody),
        TEST(test_survives_close_and_reopen),
        TEST(test_unclean_boot_starts_empty),
        TEST(test_marker_is_this_boot_while_open),
        TEST(test_survives_kill_of_the_process),
        TEST(test_damage_does_not_last),
        TEST(test_crashes_in_a_row_are_counted),
        TEST(test_not_a_database_starts_empty),
        TEST(test_wrong_key_is_a_record_error),
        TEST(test_every_changed_byte_of_a_value_is_refused),
        TEST(test_value_under_another_key_is_refused),
        TEST(test_full_map_refuses_and_recovers),
        TEST(test_full_map_is_swept_first),
        TEST(test_two_processes_share_the_store),
        TEST(test_writer_follows_a_larger_map),
        TEST(test_damage_that_was_seen_is_not_kept),
        TEST(test_full_map_refuses_only_what_is_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
