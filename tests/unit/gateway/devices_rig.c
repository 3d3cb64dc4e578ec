// SPDX-License-Identifier: GPL-3.0-or-later
#include "devices_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

int rig_setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    strcpy(r->dir, "/tmp/sallyport-devices-XXXXXX");
    if (!mkdtemp(r->dir)) return -1;
    snprintf(r->file, sizeof r->file, "%s/" DEVICES_FILE, r->dir);
    *state = r;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void rig_remove(const struct rig *r)
{
    chmod(r->dir, 0700);
    assert_int_equal(nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int rig_teardown(void **state)
{
    rig_remove(*state);
    free(*state);
    return 0;
}

void rig_write_at(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fchmod(fileno(f), 0600) == 0 && fputs(text, f) >= 0 && fclose(f) == 0);
}

void rig_write(const struct rig *r, const char *text)
{
    rig_write_at(r->file, text);
}

void rig_read(const struct rig *r, char *buf, size_t n)
{
    FILE *f = fopen(r->file, "r");
    assert_non_null(f);
    buf[fread(buf, 1, n - 1, f)] = '\0';
    fclose(f);
}

int rig_stat(const struct rig *r, const char *name, struct stat *ret)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return lstat(path, ret);
}

bool rig_exists(const struct rig *r, const char *name)
{
    struct stat st;
    return rig_stat(r, name, &st) == 0;
}

// The id is the beginning of the key's hash.
static bool add(void *context, struct device_list *l, struct err *err)
{
    struct str name = str_c(context);
    struct device *v = arena_array(l->arena, l->n + 1, sizeof *v);
    struct device_key key = { .created = 1 };
    if (!v || !crypto_sha256(name, key.hash)) return err_set(err, ERR_NO_MEMORY, "adding");
    if (l->n) memcpy(v, l->v, l->n * sizeof *v);
    char *id = arena_alloc(l->arena, DEVICE_ID_DIGITS + 1);
    if (!id) return err_set(err, ERR_NO_MEMORY, "adding");
    for (size_t i = 0; i < DEVICE_ID_DIGITS / 2; i++) snprintf(id + 2 * i, 3, "%02x", key.hash[i]);
    v[l->n] = (struct device){ str_c(id), name, 1, true, .keys = { key }, .nkeys = 1 };
    l->v = v;
    l->n++;
    return true;
}

bool rig_try_add(const struct rig *r, const char *name, struct err *err)
{
    return devices_change(str_c(r->dir), add, (void *)name, err);
}

void rig_add(const struct rig *r, const char *name)
{
    struct err err = { 0 };
    if (!rig_try_add(r, name, &err)) fail_msg("%s", err.detail);
}

static bool clear(void *context, struct device_list *l, struct err *err)
{
    (void)context, (void)err;
    l->n = 0;
    return true;
}

void rig_clear(const struct rig *r)
{
    struct err err = { 0 };
    if (!devices_change(str_c(r->dir), clear, NULL, &err)) fail_msg("%s", err.detail);
}

static struct device_table *table(const struct rig *r)
{
    struct device_table *t = NULL;
    struct err err = { 0 };
    if (!devices_read(str_c(r->dir), &t, &err)) fail_msg("%s", err.detail);
    return t;
}

size_t rig_count(const struct rig *r)
{
    struct device_table *t = table(r);
    size_t n = t->n;
    device_table_drop(t);
    return n;
}

bool rig_has(const struct rig *r, const char *name)
{
    struct device_table *t = table(r);
    bool has = device_by_name(t, str_c(name)) != NULL;
    device_table_drop(t);
    return has;
}
