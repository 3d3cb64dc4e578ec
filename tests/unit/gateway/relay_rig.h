// SPDX-License-Identifier: GPL-3.0-or-later
// Several workers with boards and callers: each worker has a port of its own, so that a test says which of
// them a board is on and where a call arrives. Boards are driven by hand, frame by frame.
#pragma once

#include "edge_rig.h"
#include "gateway/relay/hub.h"

enum { RELAY_DEVICES = 8, FRAME_ROOM = 128 * 1024 };

struct relay_rig {
    struct edge *e;
    struct edge at[EDGE_WORKERS]; // the same with the port of each worker
    struct shared shared[EDGE_WORKERS];
    int listen_fds[EDGE_WORKERS];
    bool running[EDGE_WORKERS];
    char cookie[256]; // of a visitor in the group staff
    uint8_t session[SESSION_ID_BYTES];
};
extern struct relay_rig relay_rig;

int relay_setup(void **state);
int relay_teardown(void **state);
void relay_stop(void); // the workers' threads, now
// Device n is "board-n" with the key "key-n"; those in the mask `without` are left out.
struct device_table *relay_table(unsigned without);
void relay_log_out(void);
// One more visitor, in this group (NULL: in none): the Cookie field for pico.example.com.
struct relay_visitor {
    uint8_t id[SESSION_ID_BYTES];
    char cookie[256];
};
void relay_log_in(struct relay_visitor *v, const char *subject, const char *group);
void relay_log_out_visitor(const struct relay_visitor *v);
// The next call of this mailbox' owner takes so long: what arrives meanwhile is found all at once.
void relay_nap(size_t worker, int ms);

struct board_peer {
    SSL *ssl;
    int fd;
    char in[FRAME_ROOM], text[FRAME_ROOM];
    size_t n;
    bool ended;
};
// Bytes that a board's socket takes without being read; 0: as usual.
extern int relay_rig_window;
// Connects to a worker, logs in as a device and registers functions (separated by spaces).
// False: refused, or cut off meanwhile.
bool board_try_connect(struct board_peer *b, size_t worker, int device, const char *functions);
void board_connect(struct board_peer *b, size_t worker, int device, const char *functions);
void board_send(struct board_peer *b, const char *text); // one masked text frame
void board_send_raw(struct board_peer *b, const void *p, size_t n);
// The next text frame, NUL-terminated; pings are answered, NULL: the connection ended or nothing came for
// RIG_WAIT_MS.
const char *board_next(struct board_peer *b);
// The next call: its id and function.
bool board_next_call(struct board_peer *b, char ret_id[64], char ret_function[64]);
void board_answer(struct board_peer *b, const char *id, const char *json);
bool board_is_closed(struct board_peer *b); // a close frame or the end comes within RIG_WAIT_MS
void board_hang_up(struct board_peer *b);

// A call of a person, on a connection to that worker.
void call_begin(struct client *c, size_t worker, const char *device, const char *function, const char *body);
// Until the board is known to a worker with that function (or known to be away).
void relay_await(size_t worker, int device, const char *function, bool online);
// The answer has this status and this part; the connection is closed then.
void relay_expect_answer(struct client *c, const char *status, const char *part);
// The board is called from this worker and answers.
void relay_expect_works(struct board_peer *b, size_t worker, const char *device, const char *function);
