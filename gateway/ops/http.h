// SPDX-License-Identifier: GPL-3.0-or-later
// Inside the operations listener only: one request and its answer.
#pragma once

#include <microhttpd.h>

#include "gateway/ops/ops.h"

enum { OPS_BODY_BYTES = 4096, OPS_ARENA_BYTES = 8 * 1024 * 1024, OPS_ANSWER_BYTES = 2 * 1024 * 1024 };

struct ops {
    struct ops_setup setup;
    struct MHD_Daemon *daemon;
    bool quiet;                  // takes no new connections
    struct store_reader *reader; // of the listener's thread
};

struct ops_request {
    struct arena *arena;
    struct MHD_Connection *connection;
    struct str method, path;
    char body[OPS_BODY_BYTES];
    size_t body_n, dropped; // bytes beyond the limit are read and dropped
};

struct ops_answer {
    unsigned status;
    const char *content_type;
    const char *allow; // value of Allow, NULL: none
    struct str body;   // in the request's arena; absent: out of memory, which is answered with 503
};

struct ops_answer ops_json(unsigned status, struct str body);
// {"error": reason, "message": sentence, "status": status}
struct ops_answer ops_refuse(struct ops_request *r, unsigned status, const char *reason, const char *message);
struct ops_answer ops_failure(struct ops_request *r, const struct err *err);
// `,"name":` and `,"name":value`; the comma is left out after '{'.
void ops_json_key(struct sbuf *b, const char *name);
void ops_json_str(struct sbuf *b, const char *name, struct str value);
void ops_json_int(struct sbuf *b, const char *name, int64_t value);
void ops_json_bool(struct sbuf *b, const char *name, bool value);

// Matches method and path, checks where the request comes from, and answers.
struct ops_answer ops_dispatch(struct ops *o, struct ops_request *r);

struct ops_answer ops_healthz(struct ops *o, struct ops_request *r);
struct ops_answer ops_readyz(struct ops *o, struct ops_request *r);
struct ops_answer ops_metrics(struct ops *o, struct ops_request *r);
struct ops_answer ops_providers(struct ops *o, struct ops_request *r);
struct ops_answer ops_boards(struct ops *o, struct ops_request *r);
struct ops_answer ops_sessions(struct ops *o, struct ops_request *r);
struct ops_answer ops_revoke(struct ops *o, struct ops_request *r);
