// SPDX-License-Identifier: GPL-3.0-or-later
// The directory of the store: who is in it, and whether what it holds can be trusted.
//
// Commits are not flushed to the disk (MDB_NOSYNC): 0.006 ms instead of 0.13 ms or a whole disk write, and a
// sign-in never waits for a disk. The death of the process loses nothing then, because the kernel has the
// pages; the death of the machine may leave a torn tree, and LMDB has no checksums: it would abort on a
// damaged page at every start. It could also bring back a session that was signed out, or forget that a
// ticket was used. So a file `boot` beside the data says in which boot of the machine it was written, or that
// it was flushed and closed; any other past means: start empty, everybody signs in again.
//
// Damage can also come from a failing disk, and LMDB may then crash instead of reporting it. So the marker
// counts the process deaths in a row: the start after CRASHES_MAX of them begins empty, instead of crashing
// for ever.
//
// During a reload two processes have the store open. A shared lock on the file `users` tells whether one is
// alone; only who is alone may empty the directory or mark it clean.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/store/internal.h"

#define MARKER "boot"
#define MARKER_NEW "boot.new"
#define CLEAN "clean"

enum { MARKER_BYTES = 64, BOOT_ID_BYTES = 36, CRASHES_MAX = 5 };

static bool dir_fail(struct err *err, const struct store_dir *d, const char *what)
{
    return err_set(err, ERR_STORE, "%s: %s: %s", d->path, what, strerror(errno));
}

// Somebody else who can write here could exchange the files under us.
static bool dir_private(const struct store_dir *d, struct err *err)
{
    struct stat st;
    if (fstat(d->fd, &st) < 0) return dir_fail(err, d, "stat");
    if (st.st_uid != geteuid())
        return err_set(err, ERR_STORE, "%s: owned by uid %u", d->path, (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(err, ERR_STORE, "%s: mode %04o lets others write (chmod 700)", d->path,
                       (unsigned)st.st_mode & 07777);
    return true;
}

static bool file_private(const struct store_dir *d, const char *name, struct err *err)
{
    // By name: opening and closing lock.mdb would drop LMDB's own locks on it.
    if (fchmodat(d->fd, name, 0600, 0) < 0 && errno != ENOENT) return dir_fail(err, d, name);
    return true;
}

static ssize_t read_small(int dir, const char *name, char *buf, size_t n)
{
    int fd =
        dir < 0 ? open(name, O_RDONLY | O_CLOEXEC) : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    ssize_t got = read(fd, buf, n - 1);
    close(fd);
    if (got >= 0) buf[got] = '\0';
    return got;
}

// This boot of the machine; empty when the system does not say.
static void boot_id(struct store_dir *d)
{
    if (read_small(-1, "/proc/sys/kernel/random/boot_id", d->boot, sizeof d->boot) != BOOT_ID_BYTES)
        d->boot[0] = '\0';
}

// Durable before anything else is written: otherwise a crash could leave new pages under an old promise.
static bool marker_write(const struct store_dir *d, const char *text)
{
    int fd = openat(d->fd, MARKER_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return false;
    ssize_t n = (ssize_t)strlen(text);
    bool ok = write(fd, text, (size_t)n) == n && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok && renameat(d->fd, MARKER_NEW, d->fd, MARKER) == 0 && fsync(d->fd) == 0;
}

// Whether the data was flushed and closed, or belongs to this boot and did not crash again and again.
// *ret_crashes counts the end of the last process as one more if it was unclean.
static bool marker_trusted(const struct store_dir *d, int *ret_crashes)
{
    char was[MARKER_BYTES];
    uint64_t crashes;
    *ret_crashes = 0;
    if (read_small(d->fd, MARKER, was, sizeof was) <= 0) return false;
    struct str rest = str_c(was), boot;
    if (str_eq_c(rest, CLEAN)) return true;
    if (!d->boot[0] || !str_cut(&rest, ' ', &boot) || !str_eq_c(boot, d->boot)) return false;
    if (!str_to_u64(rest, CRASHES_MAX, &crashes) || crashes + 1 >= CRASHES_MAX) return false;
    *ret_crashes = (int)crashes + 1;
    return true;
}

static bool marker_open(const struct store_dir *d, int crashes)
{
    char text[MARKER_BYTES];
    snprintf(text, sizeof text, "%s %d", d->boot[0] ? d->boot : "unknown-boot", crashes);
    return marker_write(d, text);
}

static bool remove_file(struct store_dir *d, const char *name, struct err *err)
{
    if (unlinkat(d->fd, name, 0) < 0 && errno != ENOENT) return dir_fail(err, d, name);
    return true;
}

bool store_dir_reset(struct store_dir *d, struct err *err)
{
    return remove_file(d, "data.mdb", err) && remove_file(d, "lock.mdb", err);
}

static bool dir_prepare(struct store_dir *d, struct err *err)
{
    int crashes;
    boot_id(d);
    // While another process of this boot has the store open, it vouches for what is in it.
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        if (!marker_trusted(d, &crashes) && !store_dir_reset(d, err)) return false;
        if (!marker_open(d, crashes)) return dir_fail(err, d, MARKER);
    }
    if (flock(d->lock_fd, LOCK_SH) < 0) return dir_fail(err, d, "lock");
    return file_private(d, "data.mdb", err) && file_private(d, "lock.mdb", err);
}

static bool dir_enter(struct store_dir *d, struct err *err)
{
    if (mkdir(d->path, 0700) < 0 && errno != EEXIST) return dir_fail(err, d, "mkdir");
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0) return dir_fail(err, d, "open");
    if (!dir_private(d, err)) return false;
    d->lock_fd = openat(d->fd, "users", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return d->lock_fd >= 0 ? dir_prepare(d, err) : dir_fail(err, d, "users");
}

bool store_dir_open(struct store_dir *d, struct str path, struct err *err)
{
    *d = (struct store_dir){ .fd = -1, .lock_fd = -1 };
    if (path.n == 0 || path.n >= sizeof d->path || memchr(path.p, 0, path.n))
        return err_set(err, ERR_STORE, "the path of the store is not usable");
    memcpy(d->path, path.p, path.n);
    if (dir_enter(d, err)) return true;
    store_dir_close(d);
    return false;
}

void store_dir_distrust(struct store_dir *d)
{
    unlinkat(d->fd, MARKER, 0);
}

bool store_dir_alone(struct store_dir *d)
{
    return flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0;
}

void store_dir_mark_stable(struct store_dir *d)
{
    char was[MARKER_BYTES];
    // Damage seen by the other process of a reload stays seen.
    if (read_small(d->fd, MARKER, was, sizeof was) > 0 && !str_ends(str_c(was), STR(" 0"))) marker_open(d, 0);
}

bool store_dir_mark_clean(struct store_dir *d)
{
    return marker_write(d, CLEAN);
}

void store_dir_close(struct store_dir *d)
{
    if (d->lock_fd >= 0) close(d->lock_fd);
    if (d->fd >= 0) close(d->fd);
    d->fd = d->lock_fd = -1;
}
