// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 clients for a worker of edge_rig.h: nghttp2 as a client, whose windows and bodies the test decides
// on, and one that sends frames made by hand.
#pragma once

#include <nghttp2/nghttp2.h>

#include "edge_rig.h"

enum { H2_STREAMS = 600 };

struct h2_seen {
    int status, interim; // interim: how many 1xx
    char fields[4096];   // "name: value\n"
    char body[256];      // its beginning
    size_t bytes;        // of the body
    uint32_t sum;        // of its bytes
    bool end;            // END_STREAM
    bool closed;
    uint32_t error; // of RST_STREAM
};

struct h2_client {
    int fd;
    SSL *ssl;
    nghttp2_session *session;        // NULL: frames by hand
    struct h2_seen seen[H2_STREAMS]; // [stream id / 2]
    bool ended;                      // the connection
    int goaways;
    int32_t goaway_last;
    uint32_t goaway_error;
    // The body that requests send, as much as the server takes.
    const char *body;
    size_t body_n, body_at;
    bool body_open; // more will come
};

// `window`: of each stream, never updated; 0: the usual ones, updated as bytes arrive.
void h2_open(struct edge *e, struct h2_client *c, int window);
void h2_close(struct h2_client *c);
// Whatever is there within `ms` after the last byte is read; answers of the protocol are sent.
void h2_exchange(struct h2_client *c, int ms);
// The same until `done(c)`; fails the test after RIG_WAIT_MS.
void h2_until(struct h2_client *c, bool (*done)(struct h2_client *c));
void h2_until_closed(struct h2_client *c, int32_t id); // the stream
void h2_until_status(struct h2_client *c, int32_t id);
void h2_until_ended(struct h2_client *c); // the connection
bool h2_until_bytes(struct h2_client *c, int32_t id, size_t n);
struct h2_seen *h2_seen(struct h2_client *c, int32_t id);

// "name: value" strings beside the pseudo-headers of app.example.com.
int32_t h2_get(struct h2_client *c, const char *path);
int32_t h2_request(struct h2_client *c, const char *method, const char *path, const char *const *fields,
                   bool body);
// All fields as they are, pseudo-headers included: "name", "value", ..., NULL.
int32_t h2_request_raw(struct h2_client *c, const char *const *fields);
int32_t h2_request_raw_body(struct h2_client *c, const char *const *fields); // and a body

// A frame by hand.
void h2_frame(struct h2_client *c, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n);
// Opens a connection for them: preface and empty SETTINGS are sent.
void h2_open_raw(struct edge *e, struct h2_client *c);
// A GET for /.sallyport/x, as HPACK that uses no table. Returns its length.
size_t h2_hand_made_head(uint8_t *out);
// Reads frames by hand until one of this type; its payload (static), or NULL: the connection ended.
const uint8_t *h2_await_frame(struct h2_client *c, uint8_t type, size_t *ret_n);
