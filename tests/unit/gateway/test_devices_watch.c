// SPDX-License-Identifier: GPL-3.0-or-later
// The thread that reads the file of boards when it changes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "devices_rig.h"

enum { AT_ONCE_MS = 600, LATER_MS = 5000 }; // the file is looked at every second when nothing was heard

// What the thread has told.
static struct seen {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct device_table *table;
    int calls;
    size_t least; // boards that a table had
} seen = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0 };

// A busy machine may be late now and then; without inotify about half of all would be.
static int waits, late;

static void note_time(int64_t ms)
{
    waits++;
    late += ms > AT_ONCE_MS;
}

static void changed(void *context, struct device_table *t)
{
    struct seen *s = context;
    pthread_mutex_lock(&s->lock);
    device_table_drop(s->table);
    s->table = t;
    s->calls++;
    if (t->n < s->least) s->least = t->n;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Whether it tells, within this time, of a table for which `is` holds. "At once" is counted, and may be
// later.
static bool comes(bool (*is)(const struct device_table *t, const void *what), const void *what, int64_t ms)
{
    struct timespec until;
    bool ok;
    clock_gettime(CLOCK_REALTIME, &until);
    bool at_once = ms == AT_ONCE_MS;
    if (at_once) ms = LATER_MS;
    until.tv_sec += ms / 1000 + 1;
    int64_t begun = now_ms(), end = begun + ms;
    pthread_mutex_lock(&seen.lock);
    while (!(ok = seen.table && is(seen.table, what)) && now_ms() < end)
        if (pthread_cond_timedwait(&seen.cond, &seen.lock, &until) == ETIMEDOUT) break;
    pthread_mutex_unlock(&seen.lock);
    if (at_once) note_time(now_ms() - begun);
    return ok && now_ms() <= end;
}

static bool has_n(const struct device_table *t, const void *n)
{
    return t->n == *(const size_t *)n;
}

static bool count_comes(size_t n, int64_t ms)
{
    return comes(has_n, &n, ms);
}

static bool has_name(const struct device_table *t, const void *name)
{
    return device_by_name(t, str_c(name)) != NULL;
}

static int calls(void)
{
    pthread_mutex_lock(&seen.lock);
    int n = seen.calls;
    pthread_mutex_unlock(&seen.lock);
    return n;
}

static struct devices_watch *start(const struct rig *r)
{
    struct err err = { 0 };
    seen.calls = 0;
    seen.least = SIZE_MAX;
    struct devices_watch *w = devices_watch_start(str_c(r->dir), changed, &seen, &err);
    if (!w) fail_msg("%s", err.detail);
    return w;
}

static void stop(struct devices_watch *w)
{
    int64_t before = now_ms();
    devices_watch_stop(w);
    note_time(now_ms() - before);
    device_table_drop(seen.table);
    seen.table = NULL;
}

// --- changes

static void test_each_change_is_told_at_once(void **state)
{
    struct rig *r = *state;
    rig_add(r, "lamp");
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS)); // it may have come after the gateway has read the file
    rig_add(r, "door");
    assert_true(count_comes(2, AT_ONCE_MS));
    assert_true(comes(has_name, "door", 0));
    usleep(300000);
    assert_in_range(calls(), 2, 3); // it may be seen just before it is heard
    rig_clear(r);
    assert_true(count_comes(0, AT_ONCE_MS));
    rig_write(r, RIG_LAMP); // in place, as an editor may do it
    assert_true(comes(has_name, "lamp", AT_ONCE_MS));
    stop(w);
}

// The first file of all, and none any more.
static void test_the_file_comes_and_goes(void **state)
{
    struct rig *r = *state;
    struct devices_watch *w = start(r);
    assert_true(count_comes(0, AT_ONCE_MS));
    rig_add(r, "lamp");
    assert_true(count_comes(1, AT_ONCE_MS));
    assert_int_equal(unlink(r->file), 0);
    assert_true(count_comes(0, AT_ONCE_MS));
    stop(w);
}

// Some editors put the old file aside and then another there.
static void test_a_file_that_is_gone_for_a_moment(void **state)
{
    struct rig *r = *state;
    char aside[300], next[300];
    snprintf(aside, sizeof aside, "%s~", r->file);
    snprintf(next, sizeof next, "%s.swp", r->file);
    rig_add(r, "door");
    rig_write_at(next, RIG_LAMP);
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    assert_int_equal(rename(r->file, aside), 0);
    usleep(20000);
    assert_int_equal(rename(next, r->file), 0);
    assert_true(comes(has_name, "lamp", AT_ONCE_MS));
    assert_int_equal(seen.least, 1); // no table without boards in between
    stop(w);
}

// Whichever of many changes in a row is heard of: the last one counts.
static void test_replaced_again_and_again(void **state)
{
    struct rig *r = *state;
    struct devices_watch *w = start(r);
    for (size_t round = 0; round < 20; round++) {
        rig_clear(r);
        for (int i = 0; i < 5; i++) {
            char name[32];
            snprintf(name, sizeof name, "b%zu-%d", round, i);
            rig_add(r, name);
            if (i == 4) assert_true(comes(has_name, name, AT_ONCE_MS));
        }
        assert_true(count_comes(5, 0));
    }
    stop(w);
}

static void test_other_files_are_no_change(void **state)
{
    struct rig *r = *state;
    char other[300];
    snprintf(other, sizeof other, "%s/keys", r->dir);
    rig_add(r, "lamp");
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    for (int i = 0; i < 10; i++) rig_write_at(other, "x");
    usleep(1300000); // over a look without being told
    assert_int_equal(calls(), 1);
    stop(w);
}

// --- what is not heard

// No inotify at all: the last file descriptor is taken before it.
static void test_changes_that_nobody_tells(void **state)
{
    struct rig *r = *state;
    struct rlimit limit, none;
    struct err err = { 0 };
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int next = dup(0);
    close(next);
    none = (struct rlimit){ (rlim_t)next + 1, limit.rlim_max };
    log_to_fd(sink);
    rig_add(r, "lamp");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    seen.calls = 0;
    struct devices_watch *w = devices_watch_start(str_c(r->dir), changed, &seen, &err);
    usleep(200000); // the first reading has no descriptor either
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_non_null(w);
    assert_int_equal(calls(), 0);
    assert_true(count_comes(1, LATER_MS)); // what could not be read is tried again
    rig_add(r, "door");
    assert_true(count_comes(2, LATER_MS));
    int before = calls();
    usleep(1300000);
    assert_int_equal(calls(), before);
    stop(w);
    log_to_fd(2);
    close(sink);
}

static void test_a_directory_that_comes_later(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rmdir(r->dir), 0);
    struct devices_watch *w = start(r);
    assert_true(count_comes(0, AT_ONCE_MS));
    assert_int_equal(mkdir(r->dir, 0700), 0);
    rig_add(r, "lamp");
    assert_true(count_comes(1, LATER_MS));
    rig_add(r, "door"); // from now on it is heard
    assert_true(count_comes(2, AT_ONCE_MS));
    stop(w);
}

static void test_another_directory_in_its_place(void **state)
{
    struct rig *r = *state;
    struct rig aside = *r;
    strcat(aside.dir, ".old");
    snprintf(aside.file, sizeof aside.file, "%s/" DEVICES_FILE, aside.dir);
    rig_add(r, "lamp");
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    assert_int_equal(rename(r->dir, aside.dir), 0);
    assert_true(count_comes(0, LATER_MS));
    assert_int_equal(mkdir(r->dir, 0700), 0);
    rig_add(r, "door");
    assert_true(comes(has_name, "door", LATER_MS));
    rig_add(r, "gate");
    assert_true(comes(has_name, "gate", AT_ONCE_MS));
    usleep(200000);
    int before = calls();
    rig_add(&aside, "stale"); // of no interest any more
    usleep(200000);
    assert_int_equal(calls(), before);
    stop(w);
    rig_remove(&aside);
}

// --- damage

static size_t lines_with(const char *file, const char *word)
{
    char line[LOG_LINE_BYTES];
    size_t n = 0;
    FILE *f = fopen(file, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, word) && strstr(line, "\"event\":\"pico.devices\"");
    if (f) fclose(f);
    return n;
}

static bool logged(const char *file, const char *word, size_t n)
{
    for (int i = 0; i < 100 && lines_with(file, word) < n; i++) usleep(10000);
    return lines_with(file, word) == n;
}

static void test_damage_changes_nothing_and_is_logged_once(void **state)
{
    struct rig *r = *state;
    char log[300];
    snprintf(log, sizeof log, "%s/log", r->dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_to_fd(fd);
    rig_add(r, "lamp");
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    assert_true(logged(log, "\"count\":1", 1));
    rig_write(r, "{ \"version\": 1, \"devices\": [ oops");
    assert_true(logged(log, "line 1, column", 1));
    usleep(2300000); // it is tried again, and not said again
    assert_int_equal(lines_with(log, "line 1, column"), 1);
    assert_int_equal(lines_with(log, "\"level\":\"error\""), 1);
    assert_int_equal(calls(), 1);
    assert_true(count_comes(1, 0));
    rig_write(r, "{ \"version\": 2, \"devices\": [] }");
    assert_true(logged(log, "version: 1 is expected", 1));
    assert_int_equal(chmod(r->file, 0666), 0);
    assert_true(logged(log, "lets others write", 1));
    assert_int_equal(calls(), 1);
    assert_int_equal(unlink(r->file), 0);
    assert_true(count_comes(0, AT_ONCE_MS));
    rig_add(r, "door");
    assert_true(comes(has_name, "door", AT_ONCE_MS));
    rig_write(r, "{ \"version\": 1, \"devices\": [ oops"); // the same again is another time
    assert_true(logged(log, "line 1, column", 2));
    stop(w);
    log_to_fd(2);
    close(fd);
}

// --- keys that expire

static void test_the_end_of_a_key_is_told(void **state)
{
    struct rig *r = *state;
    char text[600];
    long long expires = (long long)time(NULL) + 2;
    snprintf(
        text, sizeof text,
        "{ \"version\": 1, \"devices\": [ { \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": "
        "1, "
        "\"functions\": \"*\", \"keys\": [ { \"sha256\": "
        "\"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\", \"created\": 1, \"expires\": "
        "%lld } ] } ] }",
        expires);
    rig_write(r, text);
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    for (int i = 0; i < 80 && calls() < 2; i++) usleep(100000);
    assert_int_equal(calls(), 2);
    assert_true((long long)time(NULL) >= expires);
    assert_true(count_comes(1, 0));
    usleep(1300000); // once only
    assert_int_equal(calls(), 2);
    stop(w);
}

// --- its end

static void test_it_stops_at_any_moment(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 20; i++) {
        struct devices_watch *w = start(r);
        usleep((useconds_t)i * 100);
        if (i % 2) rig_add(r, "lamp");
        stop(w);
        unlink(r->file);
    }
    rig_add(r, "lamp");
    struct devices_watch *w = start(r);
    assert_true(count_comes(1, AT_ONCE_MS));
    assert_int_equal(unlink(r->file), 0); // it waits whether the file comes back
    usleep(20000);
    int64_t before = now_ms();
    stop(w);
    assert_in_range(now_ms() - before, 0, 150);
    devices_watch_stop(NULL);
}

static void test_where_it_cannot_start(void **state)
{
    (void)state;
    struct err err = { 0 };
    assert_null(devices_watch_start(STR(""), changed, &seen, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_null(devices_watch_start(STR("/tmp\0x"), changed, &seen, &err));
}

static int quiet(void **state)
{
    log_init(LOG_ERROR, "gateway");
    return rig_setup(state);
}

static int loud(void **state)
{
    log_init(LOG_INFO, "gateway");
    return rig_setup(state);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, quiet, rig_teardown)

static void test_nearly_all_was_at_once(void **state)
{
    (void)state;
    assert_true(waits > 30);
    assert_in_range(late, 0, waits / 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_each_change_is_told_at_once),
        RIG_TEST(test_the_file_comes_and_goes),
        RIG_TEST(test_a_file_that_is_gone_for_a_moment),
        RIG_TEST(test_replaced_again_and_again),
        RIG_TEST(test_other_files_are_no_change),
        RIG_TEST(test_changes_that_nobody_tells),
        RIG_TEST(test_a_directory_that_comes_later),
        RIG_TEST(test_another_directory_in_its_place),
        cmocka_unit_test_setup_teardown(test_damage_changes_nothing_and_is_logged_once, loud, rig_teardown),
        RIG_TEST(test_the_end_of_a_key_is_told),
        RIG_TEST(test_it_stops_at_any_moment),
        RIG_TEST(test_where_it_cannot_start),
        cmocka_unit_test(test_nearly_all_was_at_once), // the last
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
