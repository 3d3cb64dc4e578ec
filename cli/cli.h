// SPDX-License-Identifier: GPL-3.0-or-later
// The `sallyport` command: one table of subcommands, each in a file of its own. Exit codes: see EXIT_*.
#pragma once

#include "gateway/config/config.h"

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1, // the configuration has errors, access is not allowed, a file could not be written
    EXIT_USAGE = 2,  // the command was called wrongly
};

struct command {
    const char *name;     // one or two words: "certs dev"
    const char *synopsis; // what follows the name
    const char *summary;  // one line; NULL: not for people, left out of the list
    const char *help;     // further text
    int (*run)(const struct command *self, int argc, char **argv); // arguments behind the name
};

extern const struct command command_check, command_explain, command_certs_dev, command_config_reference,
    command_metadata, command_serve, command_verifier;
extern const struct command command_pico_add, command_pico_list, command_pico_rotate, command_pico_revoke,
    command_pico_rename, command_pico_functions;

// --- arguments (args.c)

// `--name VALUE` or `--name=VALUE`. `add` gets each value, so an option may come several times; else it is
// stored. With `given` it is `--name` alone.
struct flag {
    const char *name;
    const char **value;
    bool *given;
    bool (*add)(void *context, const char *value);
    void *context;
};
// Takes the flags out of argv and moves the rest to its front. False: unknown, without a value, or given
// twice; the complaint was printed. `--` ends the flags.
bool args_parse(const struct command *self, int *argc, char **argv, const struct flag *flags, size_t n);
int usage_error(const struct command *self, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void print_usage(const struct command *self);

// The flags of every command that reads a configuration, and a sentence for its help.
struct config_flags {
    const char *config, *env_file;
};
#define ENV_FILE_HELP                                                                                        \
    "--env-file sets variables from lines NAME=value where they are not set yet; only its owner may read "   \
    "it.\n"
// Loads it, or prints all problems to stderr: "FILE:LINE:COLUMN: KEY: MESSAGE". NULL with *ret_status then.
struct config *load_or_complain(const struct command *self, const struct config_flags *flags,
                                int *ret_status);
// Whether the env file (if any) could be read; complains.
bool read_env_file(const char *path);

// --- explain, for tests

struct explain_request {
    const char *user, *provider; // NULL: not logged in; NULL: the first that counts at the route
    const char *groups;          // separated by commas; NULL: the provider sent none
    struct claim *claims;
    size_t nclaims;
    const char *method, *url;
    const char *address; // of the client; NULL: not known
};
// The text, absent when the request makes no sense (*err says why). *ret_verdict is what the gateway would
// do.
struct str explain(struct arena *a, const struct config *c, const struct explain_request *r,
                   enum verdict *ret_verdict, struct err *err);
// Problems as lines, for `check`.
struct str errors_text(struct arena *a, const char *path, const struct config_errors *errors);
