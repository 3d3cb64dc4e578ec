// SPDX-License-Identifier: GPL-3.0-or-later
// From a file to a configuration that was checked as a whole, or to the list of all its problems.
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "gateway/config/parse.h"

enum { CONFIG_ARENA = 64 * 1024 * 1024 };

static struct str folder_of(struct str path)
{
    while (path.n && path.p[path.n - 1] != '/') path.n--;
    return path;
}

static void error_without_node(struct loader *l, unsigned line, unsigned column, const char *text)
{
    struct yaml_node place = { .line = line, .column = column };
    config_error_at(l, &place, "%s", text);
}

static bool read_tree(struct loader *l, const char *path)
{
    struct str text;
    struct err err = { 0 };
    struct yaml_error problem;
    struct yaml_node *root;
    if (!file_read(l->scratch, path, LIMIT_CONFIG_BYTES, &text, &err)) {
        struct str why = str_c(err.detail), name = str_c(path); // the reader is told the name anyway
        if (str_starts(why, name) && str_starts(str_skip(why, name.n), STR(": ")))
            why = str_skip(why, name.n + 2);
        error_without_node(l, 0, 0, why.p);
        return false;
    }
    if (!yaml_read(l->scratch, text, &root, &problem)) {
        error_without_node(l, problem.line, problem.column, problem.text);
        return false;
    }
    l->root = root;
    return true;
}

// Defaults that depend on other options.
static void derive_defaults(struct loader *l)
{
    struct config *c = &l->draft->config;
    if (!c->site_name.p) c->site_name = c->login_host;
    if (!c->store_path.p) c->store_path = arena_printf(l->arena, "%.*s/sessions", STR_FMT(c->state_dir));
    if (!c->saml_entity_id.p) {
        struct str origin = config_origin(l->arena, c, c->login_host);
        c->saml_entity_id = arena_printf(l->arena, "%.*s/.sallyport/saml/metadata", STR_FMT(origin));
    }
}

static bool load(struct loader *l, const char *path)
{
    if (!read_tree(l, path)) return false;
    // timeouts come before routes, which take their defaults from there.
    config_section(l, l->root, &section_root, l->draft);
    if (l->root->kind != YAML_MAP) return false;
    config_check(l);
    derive_defaults(l);
    route_table_sort(&l->draft->config.routes);
    return l->errors->n == 0;
}

static struct config *load_into(struct arena *arena, struct arena *scratch, const char *path,
                                struct arena *errors_arena, struct config_errors *errors)
{
    struct config_draft *draft = arena_alloc(arena, sizeof *draft);
    if (!draft) return NULL;
    struct loader l = { .draft = draft,
                        .arena = arena,
                        .scratch = scratch,
                        .errors_arena = errors_arena,
                        .errors = errors,
                        .now = time(NULL) };
    draft->config.arena = arena;
    draft->config.path = arena_str_c(arena, path);
    l.folder = folder_of(draft->config.path);
    bool ok = load(&l, path);
    config_errors_sort(errors);
    return ok && !arena_failed(arena) && !arena_failed(scratch) ? &draft->config : NULL;
}

struct config *config_load(const char *path, struct arena *errors_arena, struct config_errors *errors)
{
    errors->n = 0;
    struct arena *arena = arena_new(CONFIG_ARENA), *scratch = arena_new(CONFIG_ARENA);
    struct config *c = arena && scratch ? load_into(arena, scratch, path, errors_arena, errors) : NULL;
    arena_free(scratch);
    if (c) return c;
    arena_free(arena);
    if (errors->n == 0) errors->v[errors->n++] = (struct config_error){ 0, 0, STR(""), STR("out of memory") };
    return NULL;
}

void config_free(struct config *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->nproviders; i++) {
        struct str secret = c->providers[i].oidc.client_secret;
        if (secret.p) crypto_cleanse((char *)(uintptr_t)secret.p, secret.n);
    }
    arena_free(c->arena);
}
