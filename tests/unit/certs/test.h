// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of certs/ share: a temporary directory and certificates of every wrong kind.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "certs/certs.h"
#include "certs/x509.h"

struct box {
    struct arena *arena;
    char dir[64];
    struct err err;
};
int box_open(void **state);
int box_close(void **state);
// "<dir>/<name>", in the arena.
const char *box_path(struct box *b, const char *name);
void box_write(struct box *b, const char *name, struct str text, unsigned mode);

// A self-signed certificate for `host` (NULL: without subjectAltName) with `key`: PEM text.
struct made {
    struct str cert, key;
};
struct made make_pair(struct box *b, EVP_PKEY *key, const char *host, int64_t from, int64_t until,
                      const char *usage);
// Files NAME.pem and NAME.key of a fresh P-256 pair that is valid now.
void make_files(struct box *b, const char *name, const char *host);
bool load(struct box *b, const char *name, struct cert_pair *ret);
void assert_err(const struct box *b, enum err_code code, const char *part);

int run_certs_tests(void);
int run_tls_tests(void);
