// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/process/privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { GIVE_DEPTH = 4 };

static const struct passwd *default_user(void)
{
    const struct passwd *pw = getpwnam("sallyport");
    if (pw) return pw;
    log_message(LOG_WARN, "privileges.nobody", "there is no user sallyport; running as nobody (set `user`)");
    return getpwnam("nobody");
}

bool privileges_find(const struct config *c, struct privileges *ret, struct err *err)
{
    if (geteuid() != 0) {
        *ret = (struct privileges){ .drop = false, .uid = geteuid(), .gid = getegid() };
        return true;
    }
    const struct passwd *pw = c->user.n ? getpwnam(c->user.p) : default_user();
    if (!pw)
        return err_set(err, ERR_CONFIG, "started as root, but the user %.*s to become does not exist",
                       STR_FMT(c->user.n ? c->user : STR("sallyport")));
    if (pw->pw_uid == 0) return err_set(err, ERR_CONFIG, "`user` must not be root");
    *ret = (struct privileges){ .drop = true, .uid = pw->pw_uid, .gid = pw->pw_gid };
    return true;
}

// A directory that an unprivileged user could have prepared must not make root give away other files.
static bool may_give(const struct privileges *p, const struct stat *st)
{
    if (st->st_uid != 0 && st->st_uid != p->uid) return false;
    return S_ISDIR(st->st_mode) || (S_ISREG(st->st_mode) && st->st_nlink == 1) || S_ISSOCK(st->st_mode);
}

static void give_entries(const struct privileges *p, int dir, int depth);

static void give_at(const struct privileges *p, int dir, const char *name, int depth)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && may_give(p, &st) && fchown(fd, p->uid, p->gid) == 0 && S_ISDIR(st.st_mode) &&
        depth > 0)
        give_entries(p, fd, depth - 1);
    close(fd);
}

static void give_entries(const struct privileges *p, int dir, int depth)
{
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        if (copy >= 0) close(copy);
        return;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) give_at(p, dir, e->d_name, depth);
    closedir(d);
}

static bool give_directory(const struct privileges *p, struct str path, struct err *err)
{
    if (mkdir(path.p, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_FILE, "%s: %s", path.p, strerror(errno));
    give_at(p, AT_FDCWD, path.p, GIVE_DEPTH);
    struct stat st;
    if (stat(path.p, &st) != 0) return err_set(err, ERR_FILE, "%s: %s", path.p, strerror(errno));
    return st.st_uid == p->uid ||
           err_set(err, ERR_FILE, "%s must belong to user id %u: chown it", path.p, (unsigned)p->uid);
}

// The admin API is for root and the gateway's own user.
static bool give_socket(const struct privileges *p, struct str operations, struct err *err)
{
    if (!str_starts(operations, STR("unix:"))) return true;
    const char *path = operations.p + 5;
    return lchown(path, p->uid, p->gid) == 0 || err_set(err, ERR_FILE, "%s: %s", path, strerror(errno));
}

bool privileges_give_directories(const struct privileges *p, const struct config *c, struct err *err)
{
    if (!p->drop) return true;
    return give_directory(p, c->state_dir, err) &&
           (!c->store_path.n || give_directory(p, c->store_path, err));
}

bool privileges_give_state(const struct privileges *p, const struct config *c, struct err *err)
{
    return privileges_give_directories(p, c, err) && (!p->drop || give_socket(p, c->operations, err));
}

bool privileges_drop(const struct privileges *p, struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(err, ERR_INTERNAL, "no_new_privs: %s", strerror(errno));
    if (!p->drop) return true;
    if (setgroups(0, NULL) != 0 || setresgid(p->gid, p->gid, p->gid) != 0 ||
        setresuid(p->uid, p->uid, p->uid) != 0)
        return err_set(err, ERR_INTERNAL, "cannot become user id %u: %s", (unsigned)p->uid, strerror(errno));
    uid_t r, e, s;
    gid_t rg, eg, sg;
    if (getresuid(&r, &e, &s) != 0 || getresgid(&rg, &eg, &sg) != 0 || r != p->uid || e != p->uid ||
        s != p->uid || rg != p->gid || eg != p->gid || sg != p->gid || getgroups(0, NULL) != 0 ||
        setuid(0) == 0)
        return err_set(err, ERR_INTERNAL, "root privileges did not go away");
    return true;
}
