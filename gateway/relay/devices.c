// SPDX-License-Identifier: GPL-3.0-or-later
// Reading and writing the file. The command that writes it often runs as root in a directory of a user who
// may be hostile to root (the gateway's, after a break-in): no link is followed, nothing is opened by a path.
#include "gateway/relay/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"

#define LOCK_FILE "devices.lock"
#define NEW_FILE "devices.json.new"

enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 100, TEXT_ARENA = 3 * LIMIT_PICO_DEVICES_BYTES };

struct place {
    char path[4096]; // of the state directory
    int fd;
    struct stat st;
};

static bool fail(struct err *err, const struct place *d, const char *name, int cause)
{
    const char *text = cause == ELOOP && *name ? "this is a link, which is not followed" : strerror(cause);
    return err_set(err, ERR_FILE, "%s%s%s: %s", d->path, *name ? "/" : "", name, text);
}

// --- the directory

// Who can write to the directory can put another file in place of ours.
static bool directory_private(const struct place *d, struct err *err)
{
    if (d->st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_FILE, "%s: mode %04o lets others write; mend it with: chmod go-w %s", d->path,
                       (unsigned)d->st.st_mode & 07777, d->path);
    return true;
}

// *ret_missing: there is no directory, which is no failure for a reader.
static bool directory_open(struct place *d, struct str path, bool *ret_missing, struct err *err)
{
    *ret_missing = false;
    *d = (struct place){ .fd = -1 };
    if (path.n == 0 || path.n >= sizeof d->path || memchr(path.p, 0, path.n))
        return err_set(err, ERR_FILE, "the path of the state directory is not usable");
    memcpy(d->path, path.p, path.n);
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0) {
        *ret_missing = errno == ENOENT;
        return fail(err, d, "", errno);
    }
    if (fstat(d->fd, &d->st) != 0) return fail(err, d, "", errno);
    return directory_private(d, err);
}

static void directory_close(struct place *d)
{
    if (d->fd >= 0) close(d->fd);
}

// --- reading

static bool file_trusted(const struct place *d, const struct stat *st, struct err *err)
{
    if (!S_ISREG(st->st_mode)) return err_set(err, ERR_FILE, "%s/" DEVICES_FILE ": this is no file", d->path);
    if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != d->st.st_uid)
        return err_set(err, ERR_FILE,
                       "%s/" DEVICES_FILE
                       ": belongs to user id %u, neither to the owner of the directory nor to us",
                       d->path, (unsigned)st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_FILE,
                       "%s/" DEVICES_FILE
                       ": mode %04o lets others write; mend it with: chmod 600 %s/" DEVICES_FILE,
                       d->path, (unsigned)st->st_mode & 07777, d->path);
    return true;
}

// -1: not there (*ret_missing) or refused.
static int file_open(const struct place *d, bool *ret_missing, struct stat *ret, struct err *err)
{
    // Not blocking: it could be a pipe.
    int fd = openat(d->fd, DEVICES_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        *ret_missing = errno == ENOENT;
        fail(err, d, DEVICES_FILE, errno);
        return -1;
    }
    if (fstat(fd, ret) == 0 ? file_trusted(d, ret, err) : fail(err, d, DEVICES_FILE, errno)) return fd;
    close(fd);
    return -1;
}

static bool parse_file(const struct place *d, struct str text, struct device_table **ret, struct err *err)
{
    struct err why = { 0 };
    if (device_table_parse(text, ret, &why)) return true;
    return err_set(err, why.code, "%s/" DEVICES_FILE ": %s", d->path, why.detail);
}

static bool read_file(const struct place *d, int fd, const struct stat *st, struct device_table **ret,
                      struct err *err)
{
    size_t room =
        (size_t)st->st_size < LIMIT_PICO_DEVICES_BYTES ? (size_t)st->st_size : LIMIT_PICO_DEVICES_BYTES;
    size_t n = 0;
    char *buf = mem_alloc(++room); // the parser refuses what is too large
    if (!buf) return err_set(err, ERR_NO_MEMORY, "%s/" DEVICES_FILE, d->path);
    bool ok = file_read_up_to(fd, buf, room, &n) ? parse_file(d, (struct str){ buf, n }, ret, err)
                                                 : fail(err, d, DEVICES_FILE, errno);
    mem_free(buf);
    return ok;
}

static bool read_from(const struct place *d, struct device_table **ret, struct err *err)
{
    bool missing = false;
    struct stat st;
    struct err why = { 0 };
    int fd = file_open(d, &missing, &st, &why);
    if (missing) return device_table_parse(STR(""), ret, err);
    if (fd < 0) {
        *err = why;
        return false;
    }
    bool ok = read_file(d, fd, &st, ret, err);
    close(fd);
    return ok;
}

bool devices_read(struct str state_dir, struct device_table **ret, struct err *err)
{
    struct place d;
    struct err why = { 0 };
    bool missing, ok = directory_open(&d, state_dir, &missing, &why);
    if (missing) return device_table_parse(STR(""), ret, err);
    if (ok)
        ok = read_from(&d, ret, err);
    else
        *err = why;
    directory_close(&d);
    return ok;
}

// --- writing

// Run as root, what is made belongs to the owner of the directory: the gateway must be able to read it.
static bool make_ours(const struct place *d, int fd)
{
    if (fchmod(fd, 0600) != 0) return false;
    return geteuid() != 0 || fchown(fd, d->st.st_uid, d->st.st_gid) == 0;
}

static bool write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        text = str_skip(text, (size_t)n);
    }
    return true;
}

static bool write_new(const struct place *d, struct str text)
{
    // What an interrupted command has left. Nobody else writes, there is the lock.
    if (unlinkat(d->fd, NEW_FILE, 0) != 0 && errno != ENOENT) return false;
    int fd = openat(d->fd, NEW_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool ok = make_ours(d, fd) && write_all(fd, text) && fsync(fd) == 0;
    int cause = errno;
    if (close(fd) != 0 && ok) ok = false, cause = errno;
    if (!ok) unlinkat(d->fd, NEW_FILE, 0);
    errno = cause;
    return ok;
}

static bool write_file(const struct place *d, struct str text, struct err *err)
{
    if (!write_new(d, text)) return fail(err, d, NEW_FILE, errno);
    if (renameat(d->fd, NEW_FILE, d->fd, DEVICES_FILE) != 0) {
        int cause = errno;
        unlinkat(d->fd, NEW_FILE, 0);
        return fail(err, d, DEVICES_FILE, cause);
    }
    // A rename is on disk when its directory is.
    return fsync(d->fd) == 0 || fail(err, d, "", errno);
}

// What is written can be read: nothing may take the gateway its boards.
static bool write_list(const struct place *d, const struct device_list *list, struct err *err)
{
    struct device_table *check;
    struct str text = device_table_text(list->arena, list->v, list->n);
    if (!text.p)
        return err_set(err, ERR_NO_MEMORY, "the list of boards, of at most %d bytes",
                       LIMIT_PICO_DEVICES_BYTES);
    if (!device_table_parse(text, &check, err)) return false;
    device_table_drop(check);
    return write_file(d, text, err);
}

static bool change_table(const struct place *d, const struct device_table *t,
                         bool (*change)(void *context, struct device_list *list, struct err *err),
                         void *context, struct err *err)
{
    struct device_list list = { .arena = arena_new(TEXT_ARENA), .n = t->n };
    if (list.arena) list.v = arena_array(list.arena, t->n, sizeof *list.v);
    if (list.v && t->n) memcpy(list.v, t->v, t->n * sizeof *list.v);
    bool ok = list.v ? change(context, &list, err) && write_list(d, &list, err)
                     : err_set(err, ERR_NO_MEMORY, "the list of boards");
    arena_free(list.arena);
    return ok;
}

// Not for ever: whoever may open the lock file may hold it.
static bool lock_take(const struct place *d, int fd, struct err *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno != EWOULDBLOCK && errno != EINTR) return fail(err, d, LOCK_FILE, errno);
        poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return err_set(err, ERR_FILE, "%s/" LOCK_FILE ": another command has held the lock for %d seconds",
                   d->path, LOCK_TRIES * LOCK_PAUSE_MS / 1000);
}

// The lock is on a file that stays: the one with the devices is another file after each change.
static int lock_open(const struct place *d, struct err *err)
{
    int fd = openat(d->fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0) {
        fail(err, d, LOCK_FILE, errno);
        return -1;
    }
    bool ok = fstat(fd, &st) == 0 || fail(err, d, LOCK_FILE, errno);
    // Whatever it may be a link to is not given away.
    if (ok && (!S_ISREG(st.st_mode) || st.st_nlink != 1))
        ok = err_set(err, ERR_FILE, "%s/" LOCK_FILE ": this is not the file that it should be", d->path);
    if (ok && (make_ours(d, fd) || fail(err, d, LOCK_FILE, errno)) && lock_take(d, fd, err)) return fd;
    close(fd);
    return -1;
}

static bool change_locked(const struct place *d,
                          bool (*change)(void *context, struct device_list *list, struct err *err),
                          void *context, struct err *err)
{
    struct device_table *t;
    if (!read_from(d, &t, err)) return false;
    bool ok = change_table(d, t, change, context, err);
    device_table_drop(t);
    return ok;
}

bool devices_change(struct str state_dir,
                    bool (*change)(void *context, struct device_list *list, struct err *err), void *context,
                    struct err *err)
{
    struct place d;
    bool missing;
    int lock = directory_open(&d, state_dir, &missing, err) ? lock_open(&d, err) : -1;
    bool ok = lock >= 0 && change_locked(&d, change, context, err);
    if (lock >= 0) close(lock);
    directory_close(&d);
    return ok;
}
