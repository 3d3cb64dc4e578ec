// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/cli.h"
#include "gateway/process/processes.h"

static int run(const struct command *self, int argc, char **argv)
{
    struct config_flags f = { 0 };
    const struct flag flags[] = { { .name = "--config", .value = &f.config },
                                  { .name = "--env-file", .value = &f.env_file } };
    if (!args_parse(self, &argc, argv, flags, 2)) return EXIT_USAGE;
    if (argc > 0) return usage_error(self, "unexpected argument %s", argv[0]);
    if (!f.config) return usage_error(self, "--config FILE is missing");
    if (!read_env_file(f.env_file)) return EXIT_FAILED;
    return supervisor_run(f.config);
}

const struct command command_serve = {
    "serve", "--config FILE [--env-file FILE]", "Runs the gateway in the foreground; logs go to stderr.",
    "SIGTERM and SIGINT end it when the requests under way are answered. SIGHUP takes up a changed\n"
    "configuration; one with errors is logged and changes nothing.\n" ENV_FILE_HELP
    "Exit code 0: ended by a signal; 1: could not start; 2: called wrongly.\n",
    run
};

static int run_verifier(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self, &argc, argv, NULL, 0) || argc > 0) return EXIT_USAGE;
    return verifier_run();
}

const struct command command_verifier = { "verifier", "", NULL, NULL, run_verifier };
