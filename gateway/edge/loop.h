// SPDX-License-Identifier: GPL-3.0-or-later
// One thread's event loop: edge-triggered epoll, timers in a wheel, and a mailbox that other threads post to.
// Nothing here blocks but the wait itself. All functions but mailbox_post belong to the loop's thread.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

// The struct of `type` whose `member` is at `ptr`.
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

// A file descriptor in the loop, embedded in its owner. `ready` gets EPOLL* bits; edge-triggered: the owner
// reads and writes until EAGAIN. After loop_remove no further call happens, also not for events already
// fetched.
struct io {
    int fd;
    void (*ready)(struct io *io, uint32_t events);
};

// Memory that may still be named in fetched events is freed at the end of the round (loop_defer_free).
struct timer {
    struct timer *prev, *next; // NULL when not set
    int64_t at;                // ms, monotonic
    void (*fire)(struct timer *t);
};

// A message from another thread, embedded in what it carries.
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *m);
};

// A stack that anybody may push to and the loop takes whole, then turns round: no lock.
struct mailbox {
    struct mail *_Atomic top;
    int event_fd;
};

enum { WHEEL_SLOTS = 512, WHEEL_TICK_MS = 50, LOOP_EVENTS = 128, LOOP_AGAIN = 64 };

struct loop {
    int epoll_fd;
    int64_t now_ms; // monotonic, taken once per round
    int64_t now;    // seconds since the epoch, taken once per round
    bool stop;
    struct timer wheel[WHEEL_SLOTS]; // list heads
    int64_t tick;                    // last tick that was served
    unsigned ntimers;
    struct mailbox mailbox;
    struct io mail_io;
    struct epoll_event events[LOOP_AGAIN + LOOP_EVENTS];
    int nevents;
    struct io *again[LOOP_AGAIN];
    int nagain;
    void **graves;
    unsigned ngraves, grave_room;
};

bool loop_init(struct loop *l);
void loop_done(struct loop *l);
// Runs until loop->stop. `after` (may be NULL) is called at the end of each round.
void loop_run(struct loop *l, void (*after)(struct loop *l));

bool loop_add(struct loop *l, struct io *io, uint32_t events);
// Takes io->fd out (does not close it) and drops events already fetched for it.
void loop_remove(struct loop *l, struct io *io);
// Whoever stops before EAGAIN so that others get their turn: `ready` is called in the next round, without
// events. False: no room to remember it, go on now.
bool loop_again(struct loop *l, struct io *io);
// free(p) at the end of the round.
void loop_defer_free(struct loop *l, void *p);

void timer_set(struct loop *l, struct timer *t, int64_t ms); // again: replaces
void timer_clear(struct loop *l, struct timer *t);

// Any thread. The mail belongs to the loop until `deliver` is called there, in order of posting.
void mailbox_post(struct mailbox *m, struct mail *mail);
// The loop's thread, or after it has ended: delivers what is there.
void mailbox_deliver(struct mailbox *m);
