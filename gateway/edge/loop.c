// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void update_clock(struct loop *l)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    l->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    clock_gettime(CLOCK_REALTIME, &t);
    l->now = t.tv_sec;
}

// --- mailbox

static bool mailbox_init(struct mailbox *m)
{
    *m = (struct mailbox){ .event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
    return m->event_fd >= 0;
}

void mailbox_post(struct mailbox *m, struct mail *mail)
{
    struct mail *below = atomic_load_explicit(&m->top, memory_order_relaxed);
    do {
        mail->next = below; // after the exchange the mail is the loop's: it is not touched again
    } while (!atomic_compare_exchange_weak_explicit(&m->top, &below, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (below) return; // the loop has been woken already
    uint64_t one = 1;
    ssize_t done = write(m->event_fd, &one, sizeof one);
    (void)done; // only fails when the counter is full, and then the loop is awake
}

void mailbox_deliver(struct mailbox *m)
{
    struct mail *newest = atomic_exchange_explicit(&m->top, NULL, memory_order_acquire), *oldest = NULL;
    while (newest) {
        struct mail *below = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = below;
    }
    while (oldest) {
        struct mail *next = oldest->next; // deliver may free it
        oldest->deliver(oldest);
        oldest = next;
    }
}

static void mail_ready(struct io *io, uint32_t events)
{
    (void)events;
    struct mailbox *m = &container_of(io, struct loop, mail_io)->mailbox;
    uint64_t count;
    ssize_t got = read(m->event_fd, &count, sizeof count);
    (void)got;
    mailbox_deliver(m);
}

// --- descriptors

bool loop_add(struct loop *l, struct io *io, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = io };
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &e) == 0;
}

void loop_remove(struct loop *l, struct io *io)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    for (int i = 0; i < l->nevents; i++)
        if (l->events[i].data.ptr == io) l->events[i].data.ptr = NULL;
    for (int i = 0; i < l->nagain; i++)
        if (l->again[i] == io) l->again[i] = NULL;
}

bool loop_again(struct loop *l, struct io *io)
{
    for (int i = 0; i < l->nagain; i++)
        if (l->again[i] == io) return true;
    if (l->nagain == LOOP_AGAIN) return false;
    l->again[l->nagain++] = io;
    return true;
}

// What was put off becomes the first events of this round.
static int take_again(struct loop *l)
{
    int n = 0;
    for (int i = 0; i < l->nagain; i++)
        if (l->again[i]) l->events[n++] = (struct epoll_event){ .data.ptr = l->again[i] };
    l->nagain = 0;
    return n;
}

void loop_defer_free(struct loop *l, void *p)
{
    if (l->ngraves == l->grave_room) {
        unsigned room = l->grave_room ? l->grave_room * 2 : 64;
        void **more = realloc(l->graves, room * sizeof *more);
        if (!more) return; // leaking a little beats freeing too early
        l->graves = more;
        l->grave_room = room;
    }
    l->graves[l->ngraves++] = p;
}

static void free_graves(struct loop *l)
{
    for (unsigned i = 0; i < l->ngraves; i++) free(l->graves[i]);
    l->ngraves = 0;
}

// --- timers: a wheel of lists; a timer beyond one turn stays in its slot until its time has come

static struct timer *slot_of(struct loop *l, int64_t at)
{
    return &l->wheel[(at / WHEEL_TICK_MS) % WHEEL_SLOTS];
}

void timer_clear(struct loop *l, struct timer *t)
{
    if (!t->next) return;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
    l->ntimers--;
}

void timer_set(struct loop *l, struct timer *t, int64_t ms)
{
    timer_clear(l, t);
    int64_t earliest = (l->tick + 1) * WHEEL_TICK_MS; // slots up to `tick` are served already
    t->at = l->now_ms + (ms > 0 ? ms : 0);
    if (t->at < earliest) t->at = earliest;
    struct timer *head = slot_of(l, t->at);
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
    l->ntimers++;
}

static void serve_slot(struct loop *l, struct timer *head)
{
    // `fire` may set and clear any timer, this slot's included: the due ones are moved to a list of their own
    // first.
    struct timer due = { .prev = &due, .next = &due };
    for (struct timer *t = head->next, *next; t != head; t = next) {
        next = t->next;
        if (t->at > l->now_ms) continue;
        t->prev->next = t->next;
        t->next->prev = t->prev;
        t->prev = due.prev;
        t->next = &due;
        due.prev->next = t;
        due.prev = t;
    }
    while (due.next != &due) {
        struct timer *t = due.next;
        timer_clear(l, t);
        t->fire(t);
    }
}

static void serve_timers(struct loop *l)
{
    int64_t tick = l->now_ms / WHEEL_TICK_MS;
    int64_t from = tick - l->tick > WHEEL_SLOTS ? tick - WHEEL_SLOTS : l->tick;
    l->tick = tick;
    for (int64_t i = from; i <= tick; i++) serve_slot(l, &l->wheel[i % WHEEL_SLOTS]);
}

// --- the loop

bool loop_init(struct loop *l)
{
    memset(l, 0, sizeof *l);
    for (int i = 0; i < WHEEL_SLOTS; i++) l->wheel[i].prev = l->wheel[i].next = &l->wheel[i];
    update_clock(l);
    l->tick = l->now_ms / WHEEL_TICK_MS;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0 || !mailbox_init(&l->mailbox)) return false;
    l->mail_io = (struct io){ l->mailbox.event_fd, mail_ready };
    return loop_add(l, &l->mail_io, EPOLLIN);
}

void loop_done(struct loop *l)
{
    free_graves(l);
    free(l->graves);
    close(l->epoll_fd);
    close(l->mailbox.event_fd);
}

void loop_run(struct loop *l, void (*after)(struct loop *l))
{
    while (!l->stop) {
        int first = take_again(l);
        int wait = first ? 0 : l->ntimers ? WHEEL_TICK_MS : 1000;
        int n = epoll_wait(l->epoll_fd, l->events + first, LOOP_EVENTS, wait);
        assert(n >= 0 || errno == EINTR);
        update_clock(l);
        l->nevents = first + (n > 0 ? n : 0);
        for (int i = 0; i < l->nevents; i++) {
            struct io *io = l->events[i].data.ptr;
            if (io) io->ready(io, l->events[i].events);
        }
        l->nevents = 0;
        serve_timers(l);
        if (after) after(l);
        free_graves(l);
    }
}
