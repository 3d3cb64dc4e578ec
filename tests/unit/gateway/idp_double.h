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
struct idp_double {
    int port, listen_fd, stop[2];
    pthread_t thread;
    SSL_CTX *tls; // NULL: plain
    pthread_mutex_t lock;
    struct double_answer answers[DOUBLE_ANSWERS];
    size_t n;
    char request[16384]; // the last one, whole
};
void double_start(struct idp_double *d, int port);
// With TLS: the PEM files of certificate chain and key.
void double_start_tls(struct idp_double *d, int port, const char *cert, const char *key);
void double_stop(struct idp_double *d);
// Copies the body.
void double_set(struct idp_double *d, const char *path, int status, const char *type, const char *body);
void double_set_slow(struct idp_double *d, const char *path, int delay_ms);
void double_set_redirect(struct idp_double *d, const char *path, const char *location);
int double_hits(struct idp_double *d, const char *path);
bool double_last_request_has(struct idp_double *d, const char *text);
