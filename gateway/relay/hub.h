// SPDX-License-Identifier: GPL-3.0-or-later
// Where boards and callers meet. A board is connected to one worker; a call may arrive on any. Every worker
// has a directory of its own, which says of each board where it is connected and what it offers; the worker
// that has the link tells all others by mail when that changes. A call travels to that worker as a message
// and comes back as one, so nothing here is locked, and nothing is shared but the table of devices
// (immutable) and one counter.
//
//   devices.c     the thread that reads the file of devices when it changes
//   directory.c   who is online, as this worker knows it
//   uplink.c      a board's connection: from the upgrade to the last frame; uplink_owner.c: what comes of it
//   dispatch.c    calls between workers
//   call.c        POST /.sallyport/pico/<device>/<function>
//   boards.c      what a visitor may use: GET /.sallyport/pico/, as a page and as JSON
//   events.c      the same as it changes: GET /.sallyport/pico/events
#pragma once

#include "gateway/edge/exchange.h"
#include "relay/call.h"
#include "relay/device.h"
#include "relay/throttle.h"

struct relay_hub;
struct relay_worker;

// One for the gateway process; `table` comes from devices.c and is taken over. NULL: out of memory.
struct relay_hub *relay_hub_new(struct device_table *table);
void relay_hub_free(struct relay_hub *h); // NULL is accepted; after the workers
// The threads that boards and callers are on. Before any of them runs.
void relay_hub_connect(struct relay_hub *h, struct worker *workers, size_t n);
// Any thread: a new table of devices, taken over. Links whose key is not in it are closed.
void relay_hub_devices(struct relay_hub *h, struct device_table *table);

struct presence *relay_hub_presence(struct relay_hub *h); // for operators

// A worker's part. NULL: out of memory.
struct relay_worker *relay_worker_new(struct worker *w, struct relay_hub *h);
void relay_worker_drain(struct relay_worker *r); // links end after their calls, event streams at once
void relay_worker_free(struct relay_worker *r);  // after its connections; NULL is accepted

// --- the directory of a worker: what it knows of each board that was connected since the gateway started

struct board {
    struct str id;   // of the device
    uint64_t serial; // of the login: a greater one supersedes
    bool online;
    size_t worker;            // where the link is
    struct strlist functions; // registered; offline: what it had registered last
    _Atomic unsigned *load;   // calls that the link has, roughly; shared by all workers
};

const struct device_table *
relay_devices(const struct relay_worker *r); // valid until the next round of the loop
// NULL: not connected since the gateway started.
const struct board *relay_board(const struct relay_worker *r, struct str device_id);
bool board_has(const struct board *b, struct str function);

// Is told (soon, and once for many changes) when boards come, go, or register something, or the devices
// change.
struct board_watch {
    struct board_watch *prev, *next;
    void (*changed)(struct board_watch *w); // may remove itself and others
};
void relay_watch(struct relay_worker *r, struct board_watch *w);
void relay_unwatch(struct relay_worker *r, struct board_watch *w); // also when it does not watch

// --- what a visitor may use (boards.c)

struct offered_function {
    struct str name;
    bool online; // may be called now
};
struct offered_board {
    struct str name; // of the device
    bool online;
    struct offered_function *functions;
    size_t nfunctions;
};
enum {
    // All memory for one list in whatever form: every byte of its names may become six, in a buffer that
    // grows by doubling.
    BOARDS_ARENA = 40 * LIMIT_PICO_LIST_BYTES,
};
struct offered_boards {
    struct offered_board *v;
    size_t n;
    bool more;        // there are others that the visitor may use: LIMIT_PICO_LIST_BYTES
    size_t decisions; // of policy that this has cost, and boards that were looked for
};
// The boards of which policy lets this exchange's visitor call at least one function, in order of their
// names; of those that are offline, with the functions that they had. The strings are the directory's: valid
// until the next round of the loop. Absent memory: none, and the arena has failed.
void boards_offered(struct exchange *x, const struct route *route, struct arena *a,
                    struct offered_boards *ret);
// {"boards":[{"name","online","functions":[{"name","online"}]}]}, and "more":true when there are others.
struct str boards_json(struct arena *a, const struct offered_boards *o);
// GET /.sallyport/pico/ and GET /.sallyport/pico/events. The visitor is logged in.
void boards_serve(struct exchange *x, const struct route *route);
void events_serve(struct exchange *x, const struct route *route);

// The event streams of a worker (events.c): zero at first, part of struct relay_worker.
struct event_stream;
struct events {
    struct event_stream *first, *last; // the one that has waited longest for a look comes first
    size_t n;
    struct board_watch watch; // while there are streams
    struct timer looking;     // set: some of them may have to be told something
    int64_t rest_until_ms;    // before that nobody looks again
};
struct events *relay_events(struct relay_worker *r);
void events_drain(struct relay_worker *r); // ends them all, now

// --- endpoints

// The route of x->host that has boards, NULL when there is none.
const struct route *relay_route(const struct exchange *x);
// Everything under /.sallyport/pico; answers. `path` is what follows it.
void relay_serve(struct exchange *x, struct str path);
// Whether this request belongs to a board and not to a person: <route>/uplink, <route>/_/uplink.
bool uplink_is_asked(const struct exchange *x, const struct route *route);
void uplink_serve(struct exchange *x, const struct route *route);
// What a call may do, decided for one board and function.
struct decision relay_decide(const struct exchange *x, const struct route *route, struct str device,
                             struct str function);
