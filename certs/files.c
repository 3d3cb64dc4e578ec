// SPDX-License-Identifier: GPL-3.0-or-later
// Reading and writing whole small files.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "certs/certs.h"

static void close_cleanup(int *fd)
{
    if (*fd >= 0) close(*fd);
}
#define AUTO_CLOSE __attribute__((cleanup(close_cleanup)))

// O_NONBLOCK: a named pipe in place of a file must not hang the start.
static int file_open(const char *path, struct stat *ret, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        err_set(err, ERR_FILE, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, ret) == 0 && !S_ISDIR(ret->st_mode)) return fd;
    err_set(err, ERR_FILE, "%s: is a directory, a file is needed", path);
    close(fd);
    return -1;
}

static bool file_slurp(struct arena *a, int fd, const struct stat *st, const char *path, size_t max,
                       struct str *ret, struct err *err)
{
    if (st->st_size > 0 && (uint64_t)st->st_size > max)
        return err_set(err, ERR_FILE, "%s: has %lld bytes, at most %zu are accepted", path,
                       (long long)st->st_size, max);
    size_t room = st->st_size > 0 ? (size_t)st->st_size + 1 : max + 1, n = 0;
    char *buf = mem_alloc(room);
    if (!buf) return err_set(err, ERR_NO_MEMORY, "%s", path);
    bool ok = file_read_up_to(fd, buf, room, &n);
    if (!ok) err_set(err, ERR_FILE, "%s: %s", path, strerror(errno));
    if (ok && n > max) ok = err_set(err, ERR_FILE, "%s: is larger than the %zu bytes accepted", path, max);
    struct str copy = ok ? arena_str(a, (struct str){ buf, n }) : STR_NONE;
    if (ok && !copy.p) ok = err_set(err, ERR_NO_MEMORY, "%s", path);
    crypto_cleanse(buf, room); // it may have been a key
    mem_free(buf);
    if (ok) *ret = copy;
    return ok;
}

bool file_read(struct arena *a, const char *path, size_t max, struct str *ret, struct err *err)
{
    struct stat st;
    AUTO_CLOSE int fd = file_open(path, &st, err);
    return fd >= 0 && file_slurp(a, fd, &st, path, max, ret, err);
}

// Group access is somebody's intent when root gave it and gave reading alone ("root:ssl-cert 0640").
static bool mode_is_private(const struct stat *st)
{
    unsigned forbidden = st->st_uid == 0 ? 0037 : 0077;
    return (st->st_mode & forbidden) == 0;
}

static bool check_private(const struct stat *st, const char *path, struct err *err)
{
    uid_t me = geteuid();
    if (!S_ISREG(st->st_mode)) return err_set(err, ERR_CERT_PERMISSIONS, "%s: is not a regular file", path);
    // Root may use the files of the account that the daemon runs as.
    if (me != 0 && st->st_uid != me && st->st_uid != 0)
        return err_set(err, ERR_CERT_PERMISSIONS,
                       "%s: belongs to user %u, who can read it; mend it with: chown %u %s", path, st->st_uid,
                       me, path);
    if (mode_is_private(st)) return true;
    return err_set(err, ERR_CERT_PERMISSIONS, "%s: mode %04o lets others at it; mend it with: chmod 600 %s",
                   path, (unsigned)st->st_mode & 07777, path);
}

// The checks look at the open file, not at its name: it cannot be exchanged in between.
bool file_read_private(struct arena *a, const char *path, size_t max, struct str *ret, struct err *err)
{
    struct stat st;
    AUTO_CLOSE int fd = file_open(path, &st, err);
    return fd >= 0 && check_private(&st, path, err) && file_slurp(a, fd, &st, path, max, ret, err);
}

static bool write_all(int fd, struct str content)
{
    while (content.n > 0) {
        ssize_t n = write(fd, content.p, content.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        content = str_skip(content, (size_t)n);
    }
    return true;
}

// A rename is on disk when its directory is.
static bool sync_directory(const char *path)
{
    char *copy = mem_strdup(path);
    if (!copy) return false;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    mem_free(copy);
    return ok;
}

static bool write_temporary(int fd, struct str content, unsigned mode)
{
    return fchmod(fd, (mode_t)mode) == 0 && write_all(fd, content) && fsync(fd) == 0;
}

bool file_write(const char *path, struct str content, unsigned mode, struct err *err)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.new.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof temporary)
        return err_set(err, ERR_FILE, "%s: %s", path, strerror(ENAMETOOLONG));
    int fd = mkostemp(temporary, O_CLOEXEC); // 0600 until the mode is set
    if (fd < 0) return err_set(err, ERR_FILE, "%s: %s", path, strerror(errno));
    bool ok = write_temporary(fd, content, mode);
    int cause = errno;
    if (close(fd) != 0 && ok) ok = false, cause = errno;
    if (ok && rename(temporary, path) != 0) ok = false, cause = errno;
    if (!ok) {
        unlink(temporary);
        return err_set(err, ERR_FILE, "%s: %s", path, strerror(cause));
    }
    if (!sync_directory(path)) return err_set(err, ERR_FILE, "%s: the directory: %s", path, strerror(errno));
    return true;
}
