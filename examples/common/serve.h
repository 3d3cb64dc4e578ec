// SPDX-License-Identifier: GPL-3.0-or-later
// The few lines of libmicrohttpd that the example programs share: complete requests in, complete answers out.
#pragma once

#include <stdbool.h>

#include "base/arena.h"

// One request. Strings live in its arena.
struct demo_request {
    struct arena *arena;
    const char *method, *path;
    struct str query;         // raw; absent: none
    struct str body;          // raw; absent: none
    struct str authorization; // field value; absent: none
    void *connection;         // for demo_each_header
};

struct demo_answer {
    unsigned status;          // 200 unless set
    const char *content_type; // HTML unless set
    struct str body;
    struct str location; // absent: none
};

// Calls visit for each header field of the request.
void demo_each_header(const struct demo_request *r,
                      void (*visit)(void *context, const char *name, const char *value), void *context);

struct demo_server {
    const char *address; // to listen on, numeric
    unsigned port;
    const char *certificate_pem, *key_pem; // NULL: plain HTTP
    void (*handle)(const struct demo_request *r, struct demo_answer *ret);
};
// Serves until SIGTERM or SIGINT. False when it cannot listen.
bool demo_serve(const struct demo_server *s);
