// SPDX-License-Identifier: GPL-3.0-or-later
// liblasso logs some errors of its input with G_LOG_LEVEL_ERROR, after which GLib ends the process no matter
// what handlers say. The function is exported and called through the PLT, so one of the same name in the
// executable takes its place. The linker puts it into the dynamic table of the executable because liblasso.so
// has the name too; no flag is needed. saml_init compares the address, which makes the linker take this file
// out of the archive and notices a build in which it did not work (a shared library, -Wl,--exclude-libs).
#include "saml/lasso_log.h"

#include <stdatomic.h>

static atomic_ulong calls;

void lasso_log(GLogLevelFlags level, const char *filename, int line, const char *function, const char *format,
               ...)
{
    (void)level, (void)filename, (void)line, (void)function, (void)format;
    atomic_fetch_add(&calls, 1);
}

unsigned long lasso_log_calls(void)
{
    return atomic_load(&calls);
}
