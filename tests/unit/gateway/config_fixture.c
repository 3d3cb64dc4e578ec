// SPDX-License-Identifier: GPL-3.0-or-later
#include "config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fixture_write(const struct fixture *f, const char *name, struct str content, unsigned mode)
{
    char path[160];
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    if (!file_write(path, content, mode, &err)) fail_msg("%s", err.detail);
}

static void copy(const struct fixture *f, const char *from, const char *to, unsigned mode)
{
    char path[160];
    struct str content;
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/%s", f->dir, from);
    if (!file_read(f->arena, path, 100000, &content, &err)) fail_msg("%s", err.detail);
    fixture_write(f, to, content, mode);
}

static void make_certificates(const struct fixture *f)
{
    struct str hosts[] = { STR_INIT("login.example.com"), STR_INIT("wiki.example.com"),
                           STR_INIT("status.example.com") };
    struct str other[] = { STR_INIT("other.example.com") };
    struct err err = { 0 };
    if (!cert_dev_ca(f->dir, &err) || !cert_dev_leaf(f->dir, "tls", (struct strlist){ hosts, 3 }, &err) ||
        !cert_dev_leaf(f->dir, "other", (struct strlist){ other, 1 }, &err))
        fail_msg("%s", err.detail);
    copy(f, "tls.key", "open.key", 0644);
}

// A good certificate and one that is not: the second must not be passed over.
static void make_damaged(const struct fixture *f)
{
    char path[160];
    struct str good;
    struct err err = { 0 };
    snprintf(path, sizeof path, "%s/ca.pem", f->dir);
    if (!file_read(f->arena, path, 100000, &good, &err)) fail_msg("%s", err.detail);
    struct str both = arena_printf(
        f->arena, "%.*s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", STR_FMT(good));
    fixture_write(f, "damaged.pem", both, 0644);
}

void fixture_make(struct fixture *f)
{
    strcpy(f->dir, "/tmp/sallyport-config-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->config_path, sizeof f->config_path, "%s/config.yaml", f->dir);
    f->arena = arena_new(64 * 1024 * 1024);
    assert_non_null(f->arena);
    make_certificates(f);
    make_damaged(f);
    fixture_write(f, "secret", STR("hunter2\n"), 0600);
    fixture_write(f, "secret-open", STR("x\n"), 0644);
    fixture_write(f, "secret-empty", STR("\n"), 0600);
    fixture_write(f, "secret-lines", STR("a\nb\n"), 0600);
    fixture_write(f, "idp.xml", STR("<x/>"), 0644);
    fixture_write(f, "text", STR("no certificate\n"), 0644);
    setenv("TEST_SECRET", "s", 1);
    setenv("TEST_EMPTY", "", 1);
    unsetenv("TEST_NOT_THERE");
}

void fixture_remove(struct fixture *f)
{
    DIR *d = opendir(f->dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", f->dir, e->d_name);
        unlink(path);
    }
    if (d) closedir(d);
    rmdir(f->dir);
    arena_free(f->arena);
}

struct config *fixture_load(struct fixture *f, struct str yaml)
{
    fixture_write(f, "config.yaml", yaml, 0644);
    return config_load(f->config_path, f->arena, &f->errors);
}

static void add_without_folder(struct sbuf *b, const struct fixture *f, struct str text)
{
    struct str folder = arena_printf(f->arena, "%s/", f->dir);
    for (size_t at; (at = str_search(text, folder)) < text.n; text = str_skip(text, at + folder.n))
        sbuf_add(b, str_take(text, at));
    sbuf_add(b, text);
}

struct str fixture_errors(struct fixture *f)
{
    struct sbuf b;
    sbuf_init(&b, f->arena, 1024 * 1024);
    for (size_t i = 0; i < f->errors.n; i++) {
        const struct config_error *e = &f->errors.v[i];
        sbuf_addf(&b, "%u:%u: ", e->line, e->column);
        if (e->key.n) sbuf_addf(&b, "%.*s: ", STR_FMT(e->key));
        add_without_folder(&b, f, e->message);
        sbuf_add_c(&b, "\n");
    }
    return sbuf_str(&b);
}
