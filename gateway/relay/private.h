// SPDX-License-Identifier: GPL-3.0-or-later
// Inside of the relay's I/O half.
#pragma once

#include "gateway/relay/hub.h"
#include "gateway/relay/presence.h"
#include "relay/link.h"

enum { BOARD_BUCKETS = 1024 };

// How busy a board is, for `any`: written by the worker that has the link, read by all.
struct board_load {
    _Atomic unsigned refs, calls;
};

struct board_entry {
    struct board b; // first
    struct board_entry *next;
    struct arena *arena; // of `b` and this struct; the functions have one of their own
    struct arena *functions_arena;
    struct board_load *load;
    const struct device *device; // in the worker's table; NULL: it is not there any more
    struct uplink *uplink;       // when the link is on this worker
};

struct relay_hub {
    struct worker *workers;
    size_t nworkers;
    struct device_table *table; // the last one
    struct presence *presence;
    _Atomic uint64_t serial; // of logins
};

struct relay_worker {
    struct worker *w;
    struct relay_hub *hub;
    struct device_table *devices;
    struct board_entry *buckets[BOARD_BUCKETS];
    struct board_entry **v; // all of them, in no order
    size_t n, room;
    uint64_t dice; // for `any`
    struct uplink *uplinks;
    struct timer announce; // registrations of a moment travel together
    struct board_watch watches;
    struct timer watch_timer;
    struct throttle by_address, by_key;
    struct throttle told; // devices and addresses of which the log has heard enough
    struct events events;
    bool draining;
};

struct uplink {
    struct uplink *prev, *next;
    struct relay_worker *r;
    struct exchange *x;
    struct link *link;
    struct device_table *devices; // that `device` is from
    const struct device *device;
    uint8_t key_hash[SHA256_BYTES];
    char peer[IP_TEXT_BYTES], origin[IP_TEXT_BYTES], request_id[33];
    uint64_t serial; // 0: not logged in
    struct board_load *load;
    struct timer timer;
    struct err why; // of its end
    int64_t since_ms;
    int64_t until_ms; // when the connection ends, whatever waits to leave; 0: not over
    bool dirty;       // there is something to announce
    bool unread;      // bytes are left for the next round
    bool quiet;       // the log has heard enough of it
};

// A call on its way: made by the caller's worker, which also frees it.
struct courier {
    struct mail mail;
    struct relay_call call;
    struct relay_worker *home, *away;  // of the caller; of the board
    void (*back)(struct courier *c);   // at home
    uint8_t session[SESSION_ID_BYTES]; // whose call it is: asked about again when the board wants to know
    struct str email;                  // verified, in lower case; absent: none
};

// --- directory.c
void directory_init(struct relay_worker *r);
void directory_done(struct relay_worker *r);
struct board_entry *directory_entry(const struct relay_worker *r, struct str id); // NULL: none
// Tells every worker, this one at once, what a link of ours is worth now. `online` false: it is going, or has
// only just come. False: memory was short, somebody has not been told.
bool directory_announce(struct relay_worker *r, struct uplink *u, bool online);
void directory_devices_changed(struct relay_worker *r);
void directory_changed(struct relay_worker *r);
struct board_load *board_load_new(void);
struct board_load *board_load_hold(struct board_load *l);
void board_load_drop(struct board_load *l);

// --- uplink.c
struct uplink *uplink_of(struct relay_worker *r, struct str device_id); // NULL: not on this worker
void uplink_end(struct uplink *u, uint16_t code, enum err_code why, const char *detail);
void uplink_drain(struct uplink *u);
// Whether the device is still in the table and its key is valid; ends the link when not.
void uplink_recheck(struct uplink *u);
bool uplink_call(struct uplink *u, struct relay_call *c, struct err *err);

// --- uplink_owner.c
extern const struct link_owner uplink_owner; // the context is the uplink
void uplink_announce(struct uplink *u);

// --- call.c
// POST to a function, with both names decoded.
void call_serve(struct exchange *x, const struct route *route, struct str device, struct str function);
// The same for an address that cannot be one: 404 in the form that callers know.
void call_refuse(struct exchange *x);

// --- dispatch.c
// Takes the call to the board that `to` says; `back` is called at home, later, with its outcome.
void dispatch_send(struct relay_worker *r, const struct board *to, struct courier *c);
// The board's side is through with it.
void dispatch_return(struct courier *c);
