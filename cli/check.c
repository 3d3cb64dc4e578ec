// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>

#include "cli/cli.h"

static int run(const struct command *self, int argc, char **argv)
{
    struct config_flags f = { 0 };
    const struct flag flags[] = { { .name = "--config", .value = &f.config },
                                  { .name = "--env-file", .value = &f.env_file } };
    if (!args_parse(self, &argc, argv, flags, 2)) return EXIT_USAGE;
    if (argc > 0) return usage_error(self, "unexpected argument %s", argv[0]);
    int status;
    struct config *c = load_or_complain(self, &f, &status);
    if (!c) return status;
    printf("%s: ok; routes: %zu, identity providers: %zu, policies: %zu, listeners: %zu\n", f.config,
           c->routes.n, c->nproviders, c->npolicies, c->nlisteners);
    config_free(c);
    return EXIT_OK;
}

const struct command command_check = {
    "check", "--config FILE [--env-file FILE]",
    "Checks a configuration with everything that it names, without the network.",
    "Prints every error as FILE:LINE:COLUMN: KEY: what is wrong, what was expected, the nearest known "
    "word.\n" ENV_FILE_HELP "Exit code 0: no error; 1: errors; 2: called wrongly.\n",
    run
};
