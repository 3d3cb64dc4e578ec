// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>

#include "cli/cli.h"

enum { HOSTS_MAX = 64 };

static int make(const char *dir, struct strlist hosts)
{
    struct err err = { 0 };
    const char *name = hosts.v[0].p; // from argv, so it ends with NUL
    if (!cert_dev_ca(dir, &err) || !cert_dev_leaf(dir, name, hosts, &err)) {
        fprintf(stderr, "sallyport certs dev: %s\n", err.detail);
        return EXIT_FAILED;
    }
    printf("certificate:  %s/%s.pem\nprivate key:  %s/%s.key\nauthority:    %s/ca.pem (import it into the "
           "browser; for "
           "development only)\n",
           dir, name, dir, name, dir);
    return EXIT_OK;
}

static int run(const struct command *self, int argc, char **argv)
{
    const char *dir = NULL;
    const struct flag flags[] = { { .name = "--dir", .value = &dir } };
    struct str v[HOSTS_MAX];
    if (!args_parse(self, &argc, argv, flags, 1)) return EXIT_USAGE;
    if (!dir) return usage_error(self, "--dir DIR is missing");
    if (argc < 1 || argc > HOSTS_MAX) return usage_error(self, "expected 1 to %d host names", HOSTS_MAX);
    for (int i = 0; i < argc; i++) v[i] = str_c(argv[i]);
    return make(dir, (struct strlist){ v, (size_t)argc });
}

const struct command command_certs_dev = {
    "certs dev", "--dir DIR HOST...", "Makes a certificate authority and a certificate for development.",
    "The authority is made once and used again. The certificate is named after the first host.\n"
    "Exit code 0: made; 1: not made; 2: called wrongly.\n",
    run
};
