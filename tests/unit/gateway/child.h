// SPDX-License-Identifier: GPL-3.0-or-later
// For tests that start the daemon's processes by exec.
#pragma once

#include <stdio.h>
#include <stdlib.h>

// In a forked child: what it executes from now on does not look for leaks at its end. The leak checker of a
// process stops that process through ptrace, and for a verifier that now and then never succeeds: it spins,
// and whoever waits for its end waits for ever. Leaks of the same code are found by the tests that call it.
static inline void child_without_leak_check(void)
{
    char options[512];
    const char *now = getenv("ASAN_OPTIONS");
    snprintf(options, sizeof options, "%s%sdetect_leaks=0", now ? now : "", now ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
}
