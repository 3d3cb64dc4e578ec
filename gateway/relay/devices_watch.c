// SPDX-License-Identifier: GPL-3.0-or-later
// The thread that reads the file of devices when it changes. inotify tells at once; because an event can be
// missed (the directory was exchanged, the queue overflowed, there are no watches left), the file is looked
// at every second as well.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/relay/devices.h"

enum {
    LOOK_MS = 1000,  // when nothing was heard
    SETTLE_MS = 200, // an editor may take the file away and put another there
    EVENTS_BYTES = 4096,
};
// Not IN_CREATE: there is nothing in it yet.
static const uint32_t EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB;

// What changes whenever the file does.
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
    int error; // of looking at it
};

struct devices_watch {
    char dir[4096], path[4096 + sizeof DEVICES_FILE];
    void (*changed)(void *context, struct device_table *t);
    void *context;
    pthread_t thread;
    int inotify, watched, stop; // watched: what inotify has for the directory, -1: nothing

    struct device_table *table; // the last good one
    int64_t expires;            // when the next of its keys expires; INT64_MAX: none
    struct stamp seen;
    bool failed; // to read what was seen: tried again, there may just have been no memory
    char complaint[sizeof(((struct err *)0)->detail)]; // that was logged about `seen`
};

static struct stamp stamp_of(const struct devices_watch *w)
{
    struct stat st;
    struct stamp s;
    memset(&s, 0, sizeof s); // compared whole
    if (lstat(w->path, &st) != 0) {
        s.error = errno;
        return s;
    }
    s.dev = st.st_dev;
    s.ino = st.st_ino;
    s.size = st.st_size;
    s.modified = st.st_mtim;
    s.changed = st.st_ctim;
    return s;
}

// --- what was read

static int64_t next_expiry(const struct device_table *t, int64_t now)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->v[i].nkeys; k++) {
            int64_t expires = t->v[i].keys[k].expires;
            if (expires > now && expires < next) next = expires;
        }
    return next;
}

static void publish(struct devices_watch *w)
{
    w->expires = next_expiry(w->table, (int64_t)time(NULL));
    w->changed(w->context, device_table_hold(w->table));
}

static void adopt(struct devices_watch *w, struct device_table *t)
{
    device_table_drop(w->table);
    w->table = t;
    w->complaint[0] = '\0';
    struct log_line l;
    log_begin(&l, LOG_INFO, "pico.devices");
    log_int(&l, "count", (int64_t)t->n);
    log_end(&l);
    publish(w);
}

static void complain(struct devices_watch *w, const struct err *err, bool again)
{
    if (!again && strcmp(w->complaint, err->detail) == 0) return;
    memcpy(w->complaint, err->detail, sizeof w->complaint);
    log_failure(LOG_ERROR, "pico.devices", err);
}

// --- waiting

// False: it is over.
static bool pause_ms(const struct devices_watch *w, int ms)
{
    struct pollfd p = { .fd = w->stop, .events = POLLIN };
    return poll(&p, 1, ms) <= 0;
}

static bool is_about_file(const struct inotify_event *e)
{
    // Without a name: the directory itself, or events were lost.
    return e->len == 0 || strcmp(e->name, DEVICES_FILE) == 0;
}

// Takes all events; whether one of them is about the file.
static bool hear(const struct devices_watch *w)
{
    _Alignas(struct inotify_event) char buf[EVENTS_BYTES];
    bool told = false;
    for (ssize_t n; (n = read(w->inotify, buf, sizeof buf)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(buf + at);
            told |= is_about_file(e);
            at += (ssize_t)(sizeof *e + e->len);
        }
    return told;
}

// False: it is over. *ret_told: the file has changed, whatever it looks like.
static bool wait_for_change(const struct devices_watch *w, bool *ret_told)
{
    struct pollfd p[] = { { .fd = w->stop, .events = POLLIN }, { .fd = w->inotify, .events = POLLIN } };
    if (poll(p, 2, LOOK_MS) > 0 && p[0].revents) return false;
    *ret_told = p[1].revents && hear(w);
    return true;
}

// The directory may have come only now, or be another one than before: then true.
static bool follow_directory(struct devices_watch *w)
{
    if (w->inotify < 0) return false;
    int wd = inotify_add_watch(w->inotify, w->dir, EVENTS | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    if (wd == w->watched) return false;
    if (w->watched >= 0) inotify_rm_watch(w->inotify, w->watched);
    w->watched = wd;
    return true;
}

// --- looking

// An editor takes the file away, or its content, for a moment; boards need not fall for that. False: it is
// over.
static bool settle(struct devices_watch *w, struct stamp *now)
{
    bool nothing = now->error || now->size == 0;
    if (!nothing || !w->table || !w->table->n) return true;
    if (!pause_ms(w, SETTLE_MS)) return false;
    hear(w);
    *now = stamp_of(w);
    return true;
}

static void look(struct devices_watch *w, bool told)
{
    struct device_table *t;
    struct err err = { 0 };
    told |= w->inotify >= 0 && hear(w); // of what is looked at now: it need not be read again for that
    struct stamp now = stamp_of(w);     // before it is read: what comes in between is seen the next time
    bool other = memcmp(&now, &w->seen, sizeof now) != 0;
    if (!told && !other && !w->failed) {
        if (w->table && (int64_t)time(NULL) >= w->expires) publish(w);
        return;
    }
    if (!settle(w, &now)) return;
    w->seen = now;
    w->failed = !devices_read(str_c(w->dir), &t, &err);
    if (w->failed)
        complain(w, &err, other);
    else
        adopt(w, t);
}

static void *watch_main(void *arg)
{
    struct devices_watch *w = arg;
    bool told = true; // what was written since the gateway has read it
    do {
        told |= follow_directory(w);
        look(w, told);
    } while (wait_for_change(w, &told));
    return NULL;
}

// --- from outside

static void watch_free(struct devices_watch *w)
{
    if (w->inotify >= 0) close(w->inotify);
    if (w->stop >= 0) close(w->stop);
    device_table_drop(w->table);
    mem_free(w);
}

static bool watch_begin(struct devices_watch *w, struct str dir, struct err *err)
{
    if (dir.n == 0 || dir.n >= sizeof w->dir || memchr(dir.p, 0, dir.n))
        return err_set(err, ERR_FILE, "the path of the state directory is not usable");
    snprintf(w->dir, sizeof w->dir, "%.*s", STR_FMT(dir));
    snprintf(w->path, sizeof w->path, "%.*s/" DEVICES_FILE, STR_FMT(dir));
    w->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->stop < 0) return err_set(err, ERR_FILE, "eventfd: %s", strerror(errno));
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->inotify < 0)
        log_message(LOG_WARN, "pico.devices", "inotify: %s; changes are seen up to a second late",
                    strerror(errno));
    int rc = pthread_create(&w->thread, NULL, watch_main, w);
    return rc == 0 || err_set(err, ERR_INTERNAL, "the thread that watches the boards: %s", strerror(rc));
}

struct devices_watch *devices_watch_start(struct str state_dir,
                                          void (*changed)(void *context, struct device_table *t),
                                          void *context, struct err *err)
{
    struct devices_watch *w = mem_calloc(1, sizeof *w);
    if (!w) {
        err_set(err, ERR_NO_MEMORY, "the thread that watches the boards");
        return NULL;
    }
    w->changed = changed;
    w->context = context;
    w->inotify = w->watched = w->stop = -1;
    if (watch_begin(w, state_dir, err)) return w;
    watch_free(w);
    return NULL;
}

void devices_watch_stop(struct devices_watch *w)
{
    if (!w) return;
    uint64_t one = 1;
    // A counter that is full is readable as well.
    if (write(w->stop, &one, sizeof one) < 0) errno = 0;
    pthread_join(w->thread, NULL);
    watch_free(w);
}
