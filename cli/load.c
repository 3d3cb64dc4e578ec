// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>

#include "cli/cli.h"

enum { ERRORS_ARENA = 1024 * 1024 };

static void add_error(struct sbuf *b, const char *path, const struct config_error *e)
{
    sbuf_add_c(b, path);
    if (e->line) sbuf_addf(b, ":%u:%u", e->line, e->column);
    if (e->key.n) sbuf_addf(b, ": %.*s", STR_FMT(e->key));
    sbuf_addf(b, ": %.*s\n", STR_FMT(e->message));
}

struct str errors_text(struct arena *a, const char *path, const struct config_errors *errors)
{
    struct sbuf b;
    sbuf_init(&b, a, ERRORS_ARENA / 2);
    for (size_t i = 0; i < errors->n; i++) add_error(&b, path, &errors->v[i]);
    if (errors->n == LIMIT_CONFIG_ERRORS) sbuf_addf(&b, "%s: further errors are not shown\n", path);
    return sbuf_str(&b);
}

bool read_env_file(const char *path)
{
    struct err err = { 0 };
    if (!path || config_env_file(path, &err)) return true;
    fprintf(stderr, "sallyport: --env-file %s: %s\n", path, err.detail);
    return false;
}

struct config *load_or_complain(const struct command *self, const struct config_flags *flags, int *ret_status)
{
    static struct config_errors errors;
    *ret_status = EXIT_FAILED;
    if (!flags->config) {
        *ret_status = usage_error(self, "--config FILE is missing");
        return NULL;
    }
    if (!read_env_file(flags->env_file)) return NULL;
    struct arena *a = arena_new(ERRORS_ARENA);
    struct config *c = a ? config_load(flags->config, a, &errors) : NULL;
    struct str text = a && !c ? errors_text(a, flags->config, &errors) : STR_NONE;
    if (!c) fprintf(stderr, "%s", text.p ? text.p : "sallyport: out of memory\n");
    if (!c && errors.n) fprintf(stderr, "%zu %s\n", errors.n, errors.n == 1 ? "error" : "errors");
    arena_free(a);
    return c;
}
