// SPDX-License-Identifier: GPL-3.0-or-later
// Clients of a worker that say something before TLS, or nothing that is TLS.
#pragma once

#include "edge_rig.h"

int raw_open(struct edge *e); // the caller closes it, or reads it to its end
void raw_send(int fd, const char *p, size_t n);
// What arrives until the gateway closes (static buffer), and closes `fd`; NULL: it does not, `fd` stays open.
const char *raw_read_to_end(int fd);
void assert_closed_silently(int fd);
const char *raw_ask(struct edge *e, const char *request);
// Sends a byte at a time; the time until the gateway closes.
int64_t ms_until_closed(int fd, const char *bytes, size_t n, int every_ms);
int64_t now_ms(void);

// TLS on a connection that is open already, and behind a PROXY protocol header.
void tls_on(struct client *c, int fd);
void open_behind(struct edge *e, struct client *c, const char *header, size_t n);
// The request as the backend gets it; the whole exchange has ended.
const char *seen_by_backend(struct edge *e, struct client *c, const char *request);
// Exactly these two networks are trusted proxies.
void trust(struct config *c, const char *first, const char *second);

#define assert_has(text, part)                                                                               \
    do {                                                                                                     \
        if (!strstr(text, part)) fail_msg("no '%s' in '%s'", part, text);                                    \
    } while (0)
#define assert_lacks(text, part)                                                                             \
    do {                                                                                                     \
        if (strstr(text, part)) fail_msg("'%s' is in '%s'", part, text);                                     \
    } while (0)

#define GET_AS(fields) "GET / HTTP/1.1\r\nHost: app.example.com\r\n" fields "\r\n"

#define EDGE_TEST(f) cmocka_unit_test_setup(f, edge_test_begin)
