// SPDX-License-Identifier: GPL-3.0-or-later
// Backends on unix sockets in the rig's directory, driven by hand.
#pragma once

#include "edge_rig.h"

#define GET(host) "GET / HTTP/1.1\r\nHost: " host ".example.com\r\n\r\n"
#define GET_PATH(host, path) "GET " path " HTTP/1.1\r\nHost: " host ".example.com\r\n\r\n"

int unix_listen(struct edge *e, const char *name, int backlog);
// The next connection. -1: none within `ms`; unix_take fails the test instead.
int unix_take_some(int fd, int ms);
int unix_take(int fd);
// A new client's request, taken by the backend that listens on `fd` and left unanswered.
int unix_ask(struct edge *e, struct client *c, const char *request, int fd);
// The last answer on this connection.
void unix_answer(struct client *c, int b);
// A new client's request gets this answer, and the log says why.
void expect_status(struct edge *e, const char *request, const char *status, const char *reason);
