// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "gateway/process/privileges.h"

// Root may make the keys, but they belong to the user that the gateway becomes: else a service that is
// started as that user could not read them.
static bool hand_over(const struct config *c, struct err *err)
{
    struct privileges p;
    return privileges_find(c, &p, err) && privileges_give_directories(&p, c, err);
}

static struct str make(struct arena *a, const struct config *c, struct err *err)
{
    struct state_keys keys;
    struct str name = arena_str(a, c->login_host), dir = arena_str(a, c->state_dir);
    if (!name.p || !dir.p) return STR_NONE;
    if (!state_keys_load(a, dir.p, name.p, time(NULL), &keys, err) || !hand_over(c, err)) return STR_NONE;
    struct saml_sp sp = config_saml_sp(a, c, &keys);
    if (sp.providers.n == 0) {
        err_set(err, ERR_CONFIG, "no identity provider has protocol: saml, so there is no metadata");
        return STR_NONE;
    }
    if (!saml_init(err)) return STR_NONE;
    struct str xml = saml_sp_metadata(a, &sp, err);
    saml_done();
    return xml;
}

static int print_metadata(const struct config *c)
{
    struct err err = { 0 };
    struct arena *a = arena_new(1024 * 1024);
    struct str xml = a ? make(a, c, &err) : STR_NONE;
    if (xml.p)
        printf("%.*s\n", STR_FMT(xml));
    else
        fprintf(stderr, "sallyport metadata: %s\n", err.code ? err.detail : "out of memory");
    arena_free(a);
    return xml.p ? EXIT_OK : EXIT_FAILED;
}

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
    status = print_metadata(c);
    config_free(c);
    return status;
}

const struct command command_metadata = {
    "metadata", "--config FILE [--env-file FILE]",
    "Prints our SAML metadata, for the identity provider's administrator.",
    "Makes the keys in the state directory when they are not there yet; run as root, it gives them to the\n"
    "user that the gateway becomes.\n" ENV_FILE_HELP
    "Exit code 0: printed; 1: not possible; 2: called wrongly.\n",
    run
};
