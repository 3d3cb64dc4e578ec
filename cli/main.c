// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static int run_help(const struct command *self, int argc, char **argv);
static int run_version(const struct command *self, int argc, char **argv);
static const struct command command_help = { "help", "[COMMAND]", "Explains a command.", NULL, run_help };
static const struct command command_version = { "version", "", "Prints the version.", NULL, run_version };

static const struct command *const all[] = {
    &command_serve,       &command_check,       &command_explain,
    &command_metadata,    &command_certs_dev,   &command_config_reference,
    &command_pico_add,    &command_pico_list,   &command_pico_rotate,
    &command_pico_revoke, &command_pico_rename, &command_pico_functions,
    &command_help,        &command_version,     &command_verifier,
};
enum { ALL = sizeof all / sizeof *all };

// How many words of argv name `c`: 0 when it is another command.
static int words_of(const struct command *c, int argc, char **argv)
{
    struct str rest = str_c(c->name), word;
    int n = 0;
    for (; str_cut(&rest, ' ', &word); n++)
        if (n >= argc || !str_eq_c(word, argv[n])) return 0;
    return n;
}

static const struct command *find_command(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < ALL; i++) {
        *ret_words = words_of(all[i], argc, argv);
        if (*ret_words) return all[i];
    }
    return NULL;
}

static void list_commands(FILE *out)
{
    fprintf(out, "usage: sallyport COMMAND [OPTIONS]\n\nA single sign-on gateway: SAML 2.0 and OpenID "
                 "Connect in front of "
                 "web applications.\n\n");
    for (size_t i = 0; i < ALL; i++)
        if (all[i]->summary) fprintf(out, "  %-18s%s\n", all[i]->name, all[i]->summary);
    fprintf(out, "\n`sallyport COMMAND --help` says more. Exit codes: 0 done, 1 failed or refused, 2 called "
                 "wrongly.\n");
}

// `sallyport pico` alone: a word with which commands begin.
static bool begins_with(const struct command *c, const char *word)
{
    struct str name = str_c(c->name);
    size_t space = str_find(name, ' ');
    return space < name.n && str_eq_c(str_take(name, space), word);
}

// How many such commands there are, and one of them.
static size_t find_group(const char *word, const struct command **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < ALL; i++)
        if (begins_with(all[i], word)) n++, *ret = all[i];
    return n;
}

static void list_group(FILE *out, const char *word)
{
    fprintf(out, "usage: sallyport %s COMMAND [OPTIONS]\n\n", word);
    for (size_t i = 0; i < ALL; i++)
        if (begins_with(all[i], word)) fprintf(out, "  %-18s%s\n", all[i]->name, all[i]->summary);
    fprintf(out, "\n`sallyport %s COMMAND --help` says more.\n", word);
}

// Of `argv` no command is known.
static int no_such_command(const char *who, int argc, char **argv)
{
    const struct command *c;
    size_t n = find_group(argv[0], &c);
    fprintf(stderr, "%s: there is no command %s%s%s; ", who, argv[0], n && argc > 1 ? " " : "",
            n && argc > 1 ? argv[1] : "");
    if (n == 1)
        fprintf(stderr, "did you mean `sallyport %s`?\n", c->name);
    else if (n)
        fprintf(stderr, "`sallyport %s --help` lists them\n", argv[0]);
    else
        fprintf(stderr, "`sallyport help` lists them\n");
    return EXIT_USAGE;
}

static int run_help(const struct command *self, int argc, char **argv)
{
    (void)self;
    int words;
    const struct command *c = argc ? find_command(argc, argv, &words) : NULL, *one;
    bool group = argc == 1 && !c && find_group(argv[0], &one) > 1;
    if (argc && !c && !group) return no_such_command("sallyport help", argc, argv);
    if (group)
        list_group(stdout, argv[0]);
    else if (c)
        print_usage(c);
    else
        list_commands(stdout);
    return EXIT_OK;
}

static int run_version(const struct command *self, int argc, char **argv)
{
    (void)argv;
    if (argc > 0) return usage_error(self, "no arguments are expected");
    printf("sallyport %s\n", SALLYPORT_VERSION);
    return EXIT_OK;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

int main(int argc, char **argv)
{
    int words;
    if (argc < 2) {
        list_commands(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return run_help(&command_help, 0, NULL);
    if (strcmp(argv[1], "--version") == 0) return run_version(&command_version, 0, NULL);
    const struct command *c = find_command(argc - 1, argv + 1, &words);
    if (!c && argc > 2 && asks_for_help(1, argv + 2)) return run_help(&command_help, 1, argv + 1);
    if (!c) return no_such_command("sallyport", argc - 1, argv + 1);
    argc -= 1 + words;
    argv += 1 + words;
    if (asks_for_help(argc, argv)) {
        print_usage(c);
        return EXIT_OK;
    }
    return c->run(c, argc, argv);
}
