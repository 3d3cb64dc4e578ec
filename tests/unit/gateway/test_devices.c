// SPDX-License-Identifier: GPL-3.0-or-later
// The file of boards: who may have written it, changes by several at once and by root in somebody else's
// directory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "devices_rig.h"

static void refuses(const struct rig *r, enum err_code code, const char *words)
{
    struct device_table *t = NULL;
    struct err err = { 0 };
    bool ok = devices_read(str_c(r->dir), &t, &err);
    assert_false(ok);
    assert_null(t);
    assert_int_equal(err.code, code);
    if (!strstr(err.detail, words)) fail_msg("'%s' is missing in: %s", words, err.detail);
}

// --- reading

static void test_nothing_there_is_an_empty_table(void **state)
{
    struct rig *r = *state;
    struct err err = { 0 };
    assert_int_equal(rig_count(r), 0);
    rig_write(r, "");
    assert_int_equal(rig_count(r), 0);
    struct device_table *t;
    assert_true(devices_read(STR("/nonexistent/state"), &t, &err));
    assert_true(t->n == 0 && err.code == ERR_NONE);
    device_table_drop(t);
    assert_false(devices_read(STR(""), &t, &err));
    assert_false(devices_read(STR("/tmp\0x"), &t, &err));
    assert_false(devices_read(STR_NONE, &t, &err));
}

static void test_who_could_have_written_it(void **state)
{
    struct rig *r = *state;
    static const mode_t good[] = { 0600, 0400, 0640, 0644 }, bad[] = { 0620, 0602, 0660, 0666 };
    rig_write(r, RIG_LAMP);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(chmod(r->file, good[i]), 0);
        assert_int_equal(rig_count(r), 1);
        assert_int_equal(chmod(r->file, bad[i]), 0);
        refuses(r, ERR_FILE, "lets others write; mend it with: chmod 600");
    }
    assert_int_equal(chmod(r->file, 0600), 0);
    assert_int_equal(chmod(r->dir, 0720), 0);
    refuses(r, ERR_FILE, "lets others write");
    assert_int_equal(chmod(r->dir, 0702), 0);
    refuses(r, ERR_FILE, "lets others write");
    assert_int_equal(chmod(r->dir, 0755), 0);
    assert_int_equal(rig_count(r), 1);
    if (geteuid() != 0) return;
    assert_int_equal(chown(r->file, 12345, 12345), 0);
    refuses(r, ERR_FILE, "belongs to user id 12345");
    assert_int_equal(chown(r->dir, 12345, 12345), 0); // the gateway's, seen by root
    assert_int_equal(rig_count(r), 1);
}

static void test_what_is_no_file(void **state)
{
    struct rig *r = *state;
    char other[300];
    snprintf(other, sizeof other, "%s/other", r->dir);
    rig_write(r, RIG_LAMP);
    assert_int_equal(rename(r->file, other), 0);
    assert_int_equal(symlink(other, r->file), 0);
    refuses(r, ERR_FILE, "devices.json: this is a link");
    assert_int_equal(unlink(r->file), 0);
    assert_int_equal(mkdir(r->file, 0700), 0);
    refuses(r, ERR_FILE, "this is no file");
    assert_int_equal(rmdir(r->file), 0);
    assert_int_equal(mkfifo(r->file, 0600), 0);
    refuses(r, ERR_FILE, "this is no file");
    assert_int_equal(unlink(r->file), 0);
}

static void test_damage_is_named(void **state)
{
    struct rig *r = *state;
    rig_write(r, "{ \"version\": 1,\n  \"devices\": [ ] ]");
    refuses(r, ERR_PICO_DEVICES, "devices.json: line 2, column 18: no valid JSON: '}' expected");
    rig_write(r, "{ \"version\": 1, \"devices\": [ { \"id\": 1 } ] }");
    refuses(r, ERR_PICO_DEVICES, "devices.json: devices[0].id: 16 hex digits are expected");
    assert_int_equal(truncate(r->file, LIMIT_PICO_DEVICES_BYTES + 1), 0);
    refuses(r, ERR_PICO_DEVICES, "devices.json: 16777217 bytes; 16777216 are accepted");
}

// --- changing

static void test_a_change(void **state)
{
    struct rig *r = *state;
    struct stat st;
    mode_t mask = umask(0);
    rig_add(r, "lamp");
    rig_add(r, "door");
    umask(mask);
    assert_int_equal(rig_count(r), 2);
    assert_true(rig_has(r, "lamp") && rig_has(r, "door") && !rig_has(r, "other"));
    assert_int_equal(stat(r->file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(rig_exists(r, "devices.json.new"));
    struct rig nowhere = { .dir = "/nonexistent/state" };
    struct err err = { 0 };
    assert_false(rig_try_add(&nowhere, "lamp", &err));
    assert_int_equal(err.code, ERR_FILE);
}

static bool give_up(void *context, struct device_list *l, struct err *err)
{
    (void)context;
    l->n = 0;
    return err_set(err, ERR_PICO_UNKNOWN, "not this one");
}

static bool make_nonsense(void *context, struct device_list *l, struct err *err)
{
    (void)err;
    l->v[0].name = STR("No Name");
    *(bool *)context = true;
    return true;
}

static bool no_change(void *context, struct device_list *l, struct err *err)
{
    (void)l, (void)err;
    *(bool *)context = true;
    return true;
}

// Refused changes leave the same file, not another with the same content.
static void test_nothing_is_written_when_refused(void **state)
{
    struct rig *r = *state;
    struct err err = { 0 };
    struct stat before, after;
    bool called = false;
    rig_write(r, RIG_LAMP);
    assert_int_equal(stat(r->file, &before), 0);
    assert_false(devices_change(str_c(r->dir), give_up, NULL, &err));
    assert_string_equal(err.detail, "not this one");
    assert_false(devices_change(str_c(r->dir), make_nonsense, &called, &err));
    assert_int_equal(err.code, ERR_PICO_DEVICES);
    assert_true(called);
    called = false;
    assert_int_equal(stat(r->file, &after), 0);
    assert_true(before.st_ino == after.st_ino && rig_has(r, "lamp"));
    assert_false(rig_exists(r, "devices.json.new"));
    static const char damaged[] = "{ \"version\": 1, \"devices\": [ oops";
    rig_write(r, damaged);
    assert_false(devices_change(str_c(r->dir), no_change, &called, &err));
    assert_int_equal(err.code, ERR_PICO_DEVICES);
    assert_false(called);
    char text[64];
    rig_read(r, text, sizeof text);
    assert_string_equal(text, damaged);
}

// What root writes into the gateway's directory is the gateway's; what the gateway's user has put there does
// not lead root elsewhere.
static void test_root_in_a_directory_of_others(void **state)
{
    struct rig *r = *state;
    struct stat st;
    if (geteuid() != 0) skip();
    assert_int_equal(chown(r->dir, 12345, 23456), 0);
    rig_add(r, "lamp");
    static const char *const names[] = { "devices.json", "devices.lock" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(rig_stat(r, names[i], &st), 0);
        assert_true(st.st_uid == 12345 && st.st_gid == 23456);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void test_links_are_not_followed(void **state)
{
    struct rig *r = *state;
    char victim[300], path[300];
    struct err err = { 0 };
    struct stat before, after;
    snprintf(victim, sizeof victim, "%s/victim", r->dir);
    rig_write_at(victim, "mine");
    assert_int_equal(chmod(victim, 0444), 0);
    assert_int_equal(stat(victim, &before), 0);
    snprintf(path, sizeof path, "%s/devices.json.new", r->dir);
    assert_int_equal(symlink(victim, path), 0);
    rig_add(r, "lamp"); // the link gives way
    assert_int_equal(rig_count(r), 1);
    snprintf(path, sizeof path, "%s/devices.lock", r->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(victim, path), 0);
    assert_false(rig_try_add(r, "door", &err));
    assert_int_equal(unlink(path), 0);
    if (geteuid() == 0) {
        assert_int_equal(link(victim, path), 0);
        assert_false(rig_try_add(r, "door", &err));
        assert_non_null(strstr(err.detail, "not the file that it should be"));
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(stat(victim, &after), 0);
    assert_true(after.st_size == 4 && after.st_mode == before.st_mode && after.st_ctim.tv_sec >= 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(rig_try_add(r, "door", &err));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rig_count(r), 1);
}

static int in_child(void (*run)(const struct rig *), const struct rig *r)
{
    pid_t pid = fork();
    if (pid == 0) {
        run(r);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void add_as_somebody_else(const struct rig *r)
{
    struct err err = { 0 };
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(54321) != 0 || setuid(54321) != 0)) _exit(9);
    if (rig_try_add(r, "door", &err)) _exit(1);
    _exit(err.code == ERR_FILE && strstr(err.detail, "Permission denied") ? 7 : 2);
}

static void test_a_directory_that_one_may_not_write(void **state)
{
    struct rig *r = *state;
    rig_add(r, "lamp");
    assert_int_equal(chmod(r->dir, 0555), 0);
    char lock[300];
    snprintf(lock, sizeof lock, "%s/devices.lock", r->dir);
    assert_int_equal(unlink(lock) == 0 || geteuid() != 0, true);
    if (geteuid() != 0) assert_int_equal(chmod(lock, 0400), 0);
    assert_int_equal(in_child(add_as_somebody_else, r), 7);
    assert_int_equal(chmod(r->dir, 0700), 0);
    assert_int_equal(rig_count(r), 1);
}

static void add_with_a_full_disk(const struct rig *r)
{
    struct err err = { 0 };
    struct rlimit l = { 100, 100 };
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &l) != 0 || rig_try_add(r, "door", &err)) _exit(1);
    _exit(err.code == ERR_FILE && strstr(err.detail, "File too large") ? 7 : 2);
}

static void test_a_write_that_ends_early(void **state)
{
    struct rig *r = *state;
    rig_add(r, "lamp");
    assert_int_equal(in_child(add_with_a_full_disk, r), 7);
    assert_false(rig_exists(r, "devices.json.new"));
    assert_int_equal(rig_count(r), 1);
}

// --- several at once

enum { PROCESSES = 6, EACH = 12 };

static void add_many(const struct rig *r, int who)
{
    for (int i = 0; i < EACH; i++) {
        char name[32];
        struct err err = { 0 };
        snprintf(name, sizeof name, "b%d-%d", who, i);
        if (rig_try_add(r, name, &err)) continue;
        fprintf(stderr, "%s\n", err.detail);
        _exit(1);
    }
    _exit(0);
}

// Nobody's change is lost, and whoever reads meanwhile reads a whole file.
static void test_several_processes(void **state)
{
    struct rig *r = *state;
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) add_many(r, i);
    }
    size_t last = 0;
    for (int left = PROCESSES; left > 0;) {
        size_t now = rig_count(r);
        assert_true(now >= last);
        last = now;
        int status;
        pid_t done = waitpid(-1, &status, WNOHANG);
        if (done <= 0) continue;
        assert_int_equal(status, 0);
        left--;
    }
    assert_int_equal(rig_count(r), PROCESSES * EACH);
}

static void add_for_ever(const struct rig *r)
{
    for (int i = 0; i < 10000; i++) {
        char name[32];
        struct err err = { 0 };
        snprintf(name, sizeof name, "c%d-%d", (int)getpid(), i);
        rig_try_add(r, name, &err);
    }
    _exit(0);
}

// A command that is killed leaves the file as it was or as it should be, and no lock.
static void test_killed_at_any_moment(void **state)
{
    struct rig *r = *state;
    size_t last = 0;
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) add_for_ever(r);
        usleep(3000 + (useconds_t)i * 517);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        size_t now = rig_count(r);
        assert_true(now >= last);
        last = now;
    }
    assert_true(last > 0);
    rig_add(r, "lamp");
    assert_int_equal(rig_count(r), last + 1);
}

// Whoever can open the lock file can hold it, but not for ever.
static void test_a_lock_that_is_never_released(void **state)
{
    struct rig *r = *state;
    struct err err = { 0 };
    char path[300];
    rig_add(r, "lamp");
    snprintf(path, sizeof path, "%s/devices.lock", r->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_false(rig_try_add(r, "door", &err));
    assert_non_null(strstr(err.detail, "another command has held the lock for 5 seconds"));
    close(fd);
    rig_add(r, "door");
    assert_int_equal(rig_count(r), 2);
}

// --- memory

static void test_every_allocation_fails_once(void **state)
{
    struct rig *r = *state;
    rig_write(r, RIG_LAMP);
    for (long n = 1;; n++) {
        struct err err = { 0 };
        struct device_table *t = NULL;
        mem_fail_at(n);
        bool read = devices_read(str_c(r->dir), &t, &err);
        bool changed = read && rig_try_add(r, "door", &err), failed = mem_failed();
        mem_fail_at(0);
        device_table_drop(t);
        assert_int_equal(changed, !failed);
        assert_int_equal(rig_count(r), failed ? 1 : 2);
        if (!failed) {
            assert_true(n > 30);
            return;
        }
        assert_int_equal(err.code, ERR_NO_MEMORY);
    }
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_nothing_there_is_an_empty_table),
        RIG_TEST(test_who_could_have_written_it),
        RIG_TEST(test_what_is_no_file),
        RIG_TEST(test_damage_is_named),
        RIG_TEST(test_a_change),
        RIG_TEST(test_nothing_is_written_when_refused),
        RIG_TEST(test_root_in_a_directory_of_others),
        RIG_TEST(test_links_are_not_followed),
        RIG_TEST(test_a_directory_that_one_may_not_write),
        RIG_TEST(test_a_write_that_ends_early),
        RIG_TEST(test_several_processes),
        RIG_TEST(test_killed_at_any_moment),
        RIG_TEST(test_a_lock_that_is_never_released),
        RIG_TEST(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
