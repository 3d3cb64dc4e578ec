// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>

#include "cli/cli.h"
#include "gateway/config/parse.h"

static int run(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self, &argc, argv, NULL, 0)) return EXIT_USAGE;
    if (argc > 0) return usage_error(self, "unexpected argument %s", argv[0]);
    struct arena *a = arena_new(1024 * 1024);
    struct str text = a ? config_reference(a) : STR_NONE;
    bool ok = text.p && fwrite(text.p, 1, text.n, stdout) == text.n;
    arena_free(a);
    return ok ? EXIT_OK : EXIT_FAILED;
}

const struct command command_config_reference = { "config reference", "",
                                                  "Prints all options of the configuration as Markdown.",
                                                  NULL, run };
