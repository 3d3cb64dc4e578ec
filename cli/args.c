// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

void print_usage(const struct command *self)
{
    printf("usage: sallyport %s%s%s\n", self->name, self->synopsis[0] ? " " : "", self->synopsis);
    if (self->summary) printf("\n%s\n", self->summary);
    if (self->help) printf("\n%s", self->help);
}

int usage_error(const struct command *self, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "sallyport %s: ", self->name);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\nusage: sallyport %s %s\n", self->name, self->synopsis);
    va_end(ap);
    return EXIT_USAGE;
}

static const struct flag *find_flag(struct str name, const struct flag *flags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_c(name, flags[i].name)) return &flags[i];
    return NULL;
}

static bool store_flag(const struct command *self, const struct flag *f, const char *value)
{
    if (f->add) return f->add(f->context, value);
    if (*f->value) {
        usage_error(self, "%s was given twice", f->name);
        return false;
    }
    *f->value = value;
    return true;
}

static int set_flag(const struct command *self, const struct flag *f, bool with_value)
{
    if (with_value || *f->given) {
        usage_error(self, with_value ? "%s takes no value" : "%s was given twice", f->name);
        return 0;
    }
    *f->given = true;
    return 1;
}

// Handles argv[i]; returns how many arguments it took, 0 after a complaint.
static int take_flag(const struct command *self, int left, char **argv, const struct flag *flags, size_t n)
{
    struct str text = str_c(argv[0]);
    size_t equals = str_find(text, '=');
    const struct flag *f = find_flag(str_take(text, equals), flags, n);
    if (!f) {
        usage_error(self, "unknown option %.*s", (int)equals, text.p);
        return 0;
    }
    bool joined = equals < text.n;
    if (f->given) return set_flag(self, f, joined);
    if (!joined && left < 2) {
        usage_error(self, "%s needs a value", f->name);
        return 0;
    }
    if (!store_flag(self, f, joined ? text.p + equals + 1 : argv[1])) return 0;
    return joined ? 1 : 2;
}

bool args_parse(const struct command *self, int *argc, char **argv, const struct flag *flags, size_t n)
{
    int kept = 0, i = 0;
    while (i < *argc) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i++];
            continue;
        }
        int taken = take_flag(self, *argc - i, argv + i, flags, n);
        if (taken == 0) return false;
        i += taken;
    }
    while (i < *argc) argv[kept++] = argv[i++];
    *argc = kept;
    return true;
}
