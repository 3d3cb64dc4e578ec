// SPDX-License-Identifier: GPL-3.0-or-later
// The boards that may connect: `sallyport pico ...`. A running gateway watches the file that is written here.
// A key is printed once and kept as its hash only.
#include "cli/pico.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/process/privileges.h"

enum { PICO_ARENA = 8 * LIMIT_PICO_DEVICES_BYTES, GRACE_DEFAULT = 86400 };

// One command while it runs.
struct call {
    const struct command *self;
    struct config_flags flags;
    const char *functions, *host, *grace;
    bool now, json;
    struct config *config;
    struct arena *arena;
    struct pico_change change;
    char key[PICO_KEY_BYTES];
};

static int failed(const struct call *c, const struct err *err)
{
    fprintf(stderr, "sallyport %s: %s\n", c->self->name, err->code ? err->detail : "out of memory");
    return EXIT_FAILED;
}

// Notes are for people, so they are not on stdout.
static void note(struct str text)
{
    if (text.n) fprintf(stderr, "note: %.*s\n", STR_FMT(text));
}

static bool print(struct str text)
{
    return text.p && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
}

// --- the state directory

// On a machine where the gateway has not run yet. Made by root it belongs to the user that the gateway
// becomes.
static bool state_make(const struct config *c, struct err *err)
{
    struct privileges p;
    if (!privileges_find(c, &p, err)) return false;
    if (p.drop) return privileges_give_directories(&p, c, err);
    return mkdir(c->state_dir.p, 0700) == 0 ||
           err_set(err, ERR_FILE, "%s: %s", c->state_dir.p, strerror(errno));
}

static bool state_ready(const struct config *c, struct err *err)
{
    if (access(c->state_dir.p, F_OK) != 0 && errno == ENOENT) return state_make(c, err);
    if (faccessat(AT_FDCWD, c->state_dir.p, W_OK | X_OK, AT_EACCESS) == 0) return true;
    return err_set(err, ERR_FILE, "%s: %s; run this as root or as the gateway's user", c->state_dir.p,
                   strerror(errno));
}

static bool apply(struct call *c, bool (*change)(void *, struct device_list *, struct err *), struct err *err)
{
    return state_ready(c->config, err) && devices_change(c->config->state_dir, change, &c->change, err);
}

// --- the way that all of them go

static int with_config(struct call *c, int (*act)(struct call *c))
{
    int status;
    c->config = load_or_complain(c->self, &c->flags, &status);
    if (!c->config) return status;
    c->arena = arena_new(PICO_ARENA);
    c->change.now = (int64_t)time(NULL);
    status = c->arena ? act(c) : failed(c, &(struct err){ 0 });
    crypto_cleanse(c->key, sizeof c->key);
    arena_free(c->arena);
    config_free(c->config);
    return status;
}

#define CONFIG_FLAGS(call)                                                                                   \
    { .name = "--config", .value = &(call).flags.config },                                                   \
    {                                                                                                        \
        .name = "--env-file", .value = &(call).flags.env_file                                                \
    }
#define CONFIG_SYNOPSIS "--config FILE [--env-file FILE]"
#define CONFIG_HELP ENV_FILE_HELP "Exit code 0: done; 1: not possible; 2: called wrongly.\n"

static bool take_names(struct call *c, int argc, char **argv, int wanted, const char *what)
{
    struct err err = { 0 };
    if (argc != wanted) {
        usage_error(c->self, "expected %s", what);
        return false;
    }
    c->change.name = str_c(argv[0]);
    if (wanted < 2) return true;
    c->change.new_name = str_c(argv[1]);
    if (pico_name_check(argv[1], &err)) return true;
    usage_error(c->self, "%s", err.detail);
    return false;
}

// A key that was made and not printed is lost.
static int print_key(struct call *c, struct str text)
{
    if (print(text)) return EXIT_OK;
    fprintf(
        stderr,
        "sallyport %s: the key could not be printed, and cannot be shown again: `sallyport pico rotate --now "
        "%.*s` makes another\n",
        c->self->name, STR_FMT(c->change.name));
    return EXIT_FAILED;
}

// --- add

static int act_add(struct call *c)
{
    struct err err = { 0 };
    if (!pico_functions_parse(c->arena, c->functions ? c->functions : "*", &c->change, &err))
        return usage_error(c->self, "--functions: %s", err.detail);
    if (!pico_key_make(c->key, c->change.key_hash, &err)) return failed(c, &err);
    struct str text = pico_main_py(c->arena, c->config, str_c(c->host), c->change.name, c->key, &err);
    if (!text.p || !apply(c, pico_change_add, &err)) return failed(c, &err);
    return print_key(c, text);
}

static int run_add(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    struct err err = { 0 };
    const struct flag flags[] = { CONFIG_FLAGS(c),
                                  { .name = "--functions", .value = &c.functions },
                                  { .name = "--host", .value = &c.host } };
    if (!args_parse(self, &argc, argv, flags, 4)) return EXIT_USAGE;
    if (!take_names(&c, argc, argv, 1, "the NAME of the board")) return EXIT_USAGE;
    if (!pico_name_check(argv[0], &err)) return usage_error(self, "%s", err.detail);
    return with_config(&c, act_add);
}

const struct command command_pico_add = {
    "pico add", "NAME [--functions A,B] [--host HOST] " CONFIG_SYNOPSIS,
    "Lets a board connect: prints its key, once, and what its main.py needs.",
    "NAME is part of addresses: a-z, 0-9 and -. The key is the board's identity; the gateway keeps a hash of "
    "it.\n"
    "--functions lists the functions that the board may register; without it, or with '*', any.\n"
    "--host chooses among several hosts that boards can connect to; without it all are named.\n"
    "A running gateway knows the board at once. Whom it serves is said by the policy of its "
    "route.\n" CONFIG_HELP,
    run_add
};

// --- list

static int act_list(struct call *c)
{
    struct err err = { 0 };
    struct device_table *t;
    if (!devices_read(c->config->state_dir, &t, &err)) return failed(c, &err);
    struct str text =
        c->json ? pico_list_json(c->arena, t, c->change.now) : pico_list_text(c->arena, t, c->change.now);
    bool none = t->n == 0 && !c->json;
    device_table_drop(t);
    if (none) {
        note(STR("there are no boards; `sallyport pico add` makes one"));
        return EXIT_OK;
    }
    if (print(text)) return EXIT_OK;
    if (text.p) err_set(&err, ERR_FILE, "the list could not be printed: %s", strerror(errno));
    return failed(c, &err);
}

static int run_list(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    const struct flag flags[] = { CONFIG_FLAGS(c), { .name = "--json", .given = &c.json } };
    if (!args_parse(self, &argc, argv, flags, 3)) return EXIT_USAGE;
    if (argc > 0) return usage_error(self, "unexpected argument %s", argv[0]);
    return with_config(&c, act_list);
}

const struct command command_pico_list = { "pico list", "[--json] " CONFIG_SYNOPSIS,
                                           "Prints the boards that may connect.",
                                           "The age of each board's key, how long the one before it stays "
                                           "valid, and the functions that it may register.\n"
                                           "With --json the same for programs; times are seconds since 1970. "
                                           "Whether boards are online is on the gateway's\n"
                                           "page /.sallyport/pico/ and in its metrics.\n" CONFIG_HELP,
                                           run_list };

// --- rotate

static int act_rotate(struct call *c)
{
    struct err err = { 0 };
    c->change.grace = c->now ? 0 : GRACE_DEFAULT;
    if (c->grace && !pico_grace_parse(c->arena, c->grace, &c->change.grace, &err))
        return usage_error(c->self, "%s", err.detail);
    if (!pico_key_make(c->key, c->change.key_hash, &err)) return failed(c, &err);
    if (!apply(c, pico_change_rotate, &err)) return failed(c, &err);
    return print_key(c, pico_rotated(c->arena, &c->change, c->key));
}

static int run_rotate(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    const struct flag flags[] = { CONFIG_FLAGS(c),
                                  { .name = "--grace", .value = &c.grace },
                                  { .name = "--now", .given = &c.now } };
    if (!args_parse(self, &argc, argv, flags, 4)) return EXIT_USAGE;
    if (!take_names(&c, argc, argv, 1, "the NAME of the board")) return EXIT_USAGE;
    if (c.now && c.grace) return usage_error(self, "--grace and --now exclude each other");
    return with_config(&c, act_rotate);
}

const struct command command_pico_rotate = { "pico rotate", "NAME [--grace 24h | --now] " CONFIG_SYNOPSIS,
                                             "Gives a board a new key, which is printed once.",
                                             "The old key stays valid for the time of --grace (24h unless "
                                             "given, such as 30m or 7d), so that the board can\n"
                                             "connect until it has the new one. --now ends it at once, and "
                                             "the connection that was made with it.\n" CONFIG_HELP,
                                             run_rotate };

// --- revoke

static int act_revoke(struct call *c)
{
    struct err err = { 0 };
    if (!apply(c, pico_change_revoke, &err)) return failed(c, &err);
    printf("%.*s may not connect any more; a running gateway closes its connection\n",
           STR_FMT(c->change.name));
    note(pico_rules_naming(c->arena, c->config, c->change.name));
    return EXIT_OK;
}

static int run_revoke(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    const struct flag flags[] = { CONFIG_FLAGS(c) };
    if (!args_parse(self, &argc, argv, flags, 2)) return EXIT_USAGE;
    if (!take_names(&c, argc, argv, 1, "the NAME of the board")) return EXIT_USAGE;
    return with_config(&c, act_revoke);
}

const struct command command_pico_revoke = {
    "pico revoke", "NAME " CONFIG_SYNOPSIS, "Lets a board connect no more.",
    "Its keys are not valid from now on; a running gateway closes its connection at once.\n" CONFIG_HELP,
    run_revoke
};

// --- rename

static int act_rename(struct call *c)
{
    struct err err = { 0 };
    if (!apply(c, pico_change_rename, &err)) return failed(c, &err);
    printf("%.*s is now %.*s; its key stays\n", STR_FMT(c->change.name), STR_FMT(c->change.new_name));
    note(pico_rules_naming(c->arena, c->config, c->change.name));
    note(pico_rules_naming(c->arena, c->config, c->change.new_name));
    return EXIT_OK;
}

static int run_rename(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    const struct flag flags[] = { CONFIG_FLAGS(c) };
    if (!args_parse(self, &argc, argv, flags, 2)) return EXIT_USAGE;
    if (!take_names(&c, argc, argv, 2, "the OLD and the NEW name of the board")) return EXIT_USAGE;
    return with_config(&c, act_rename);
}

const struct command command_pico_rename = {
    "pico rename", "OLD NEW " CONFIG_SYNOPSIS, "Gives a board another name.",
    "Its key stays, and so does its connection. Rules that name the board in `devices` name boards by what "
    "they\n"
    "are called at the time of a call: those that name OLD or NEW are pointed out.\n" CONFIG_HELP,
    run_rename
};

// --- functions

static int act_functions(struct call *c)
{
    struct err err = { 0 };
    if (!pico_functions_parse(c->arena, c->functions, &c->change, &err))
        return usage_error(c->self, "--functions: %s", err.detail);
    if (!apply(c, pico_change_functions, &err)) return failed(c, &err);
    struct str text = pico_functions_text(c->arena, c->change.any_function, c->change.functions);
    printf("functions of %.*s: %.*s\n", STR_FMT(c->change.name), STR_FMT(text));
    return EXIT_OK;
}

static int run_functions(const struct command *self, int argc, char **argv)
{
    struct call c = { .self = self };
    const struct flag flags[] = { CONFIG_FLAGS(c), { .name = "--functions", .value = &c.functions } };
    if (!args_parse(self, &argc, argv, flags, 3)) return EXIT_USAGE;
    if (!take_names(&c, argc, argv, 1, "the NAME of the board")) return EXIT_USAGE;
    if (!c.functions) return usage_error(self, "--functions A,B or --functions '*' is missing");
    return with_config(&c, act_functions);
}

const struct command command_pico_functions = {
    "pico functions", "NAME --functions A,B|* " CONFIG_SYNOPSIS,
    "Changes which functions a board may register.",
    "The list replaces the one before it; '*' (in quotes, for the shell) allows any.\n"
    "A board that is connected has to connect anew, which it does within seconds.\n" CONFIG_HELP,
    run_functions
};
