// SPDX-License-Identifier: GPL-3.0-or-later
// A scripted HTTP server on 127.0.0.1 for tests of the login thread: one answer per path, one request per
// connection.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

enum { DOUBLE_ANSWERS = 16 };
struct double_answer {
    const char *path;
    int status;
    const char *type;
    char *body;
    const char *location;
    int delay_ms;
    int hits;
};
struct http_double {
    int port, listen_fd, stop[2];
    pthread_t thread;
    SSL_CTX *tls; // NULL: plain
    pthread_mutex_t lock;
    struct double_answer answers[DOUBLE_ANSWERS];
    size_t n;
    char request[16384]; // the last one, whole
};
void web_start(struct http_double *d); // on a free port, d->port
// With TLS: the PEM files of certificate chain and key.
void web_start_tls(struct http_double *d, const char *cert, const char *key);
void web_stop(struct http_double *d);
// Copies the body.
void web_set(struct http_double *d, const char *path, int status, const char *type, const char *body);
void web_set_slow(struct http_double *d, const char *path, int delay_ms);
void web_set_redirect(struct http_double *d, const char *path, const char *location);
int web_hits(struct http_double *d, const char *path);
bool web_last_request_has(struct http_double *d, const char *text);
