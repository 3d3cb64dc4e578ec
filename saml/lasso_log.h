// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps liblasso from ending the process when it logs an error.
#pragma once

#include <glib.h>

// Called by liblasso instead of its own.
void lasso_log(GLogLevelFlags level, const char *filename, int line, const char *function, const char *format,
               ...) __attribute__((format(printf, 5, 6), visibility("default")));
// How often that happened.
unsigned long lasso_log_calls(void);
