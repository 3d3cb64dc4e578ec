// SPDX-License-Identifier: GPL-3.0-or-later
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

int box_open(void **state)
{
    struct box *b = calloc(1, sizeof *b);
    assert_non_null(b);
    strcpy(b->dir, "/tmp/test-certs-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->arena = arena_new(8 * 1024 * 1024);
    *state = b;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    char child[600];
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        if (unlink(child) != 0) remove_tree(child);
    }
    if (d) closedir(d);
    rmdir(path);
}

int box_close(void **state)
{
    struct box *b = *state;
    remove_tree(b->dir);
    arena_free(b->arena);
    free(b);
    return 0;
}

const char *box_path(struct box *b, const char *name)
{
    return arena_printf(b->arena, "%s/%s", b->dir, name).p;
}

void box_write(struct box *b, const char *name, struct str text, unsigned mode)
{
    assert_true(file_write(box_path(b, name), text, mode, &b->err));
}

struct made make_pair(struct box *b, EVP_PKEY *key, const char *host, int64_t from, int64_t until,
                      const char *usage)
{
    struct str hosts[] = { str_c(host) };
    struct x509_plan plan = { .common_name = "test",
                              .not_before = from,
                              .not_after = until,
                              .key = key,
                              .basic_constraints = "critical,CA:FALSE",
                              .key_usage = "critical,digitalSignature",
                              .extended_key_usage = usage,
                              .hosts = { hosts, host ? 1 : 0 } };
    X509 *cert = x509_make(&plan);
    assert_non_null(cert);
    struct made m = { x509_pem(b->arena, cert), pkey_pem(b->arena, key) };
    X509_free(cert);
    assert_non_null(m.cert.p);
    assert_non_null(m.key.p);
    return m;
}

void make_files(struct box *b, const char *name, const char *host)
{
    int64_t now = time(NULL);
    EVP_PKEY *key = pkey_make_p256();
    struct made m = make_pair(b, key, host, now - 60, now + 3600, "serverAuth");
    EVP_PKEY_free(key);
    box_write(b, arena_printf(b->arena, "%s.pem", name).p, m.cert, 0644);
    box_write(b, arena_printf(b->arena, "%s.key", name).p, m.key, 0600);
}

bool load(struct box *b, const char *name, struct cert_pair *ret)
{
    const char *cert = box_path(b, arena_printf(b->arena, "%s.pem", name).p);
    const char *key = box_path(b, arena_printf(b->arena, "%s.key", name).p);
    return cert_pair_load(b->arena, cert, key, time(NULL), ret, &b->err);
}

void assert_err(const struct box *b, enum err_code code, const char *part)
{
    if (b->err.code != code)
        fail_msg("got %s (%s), want %s", err_name(b->err.code), b->err.detail, err_name(code));
    if (!strstr(b->err.detail, part)) fail_msg("'%s' does not say '%s'", b->err.detail, part);
}
