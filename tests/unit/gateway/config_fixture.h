// SPDX-License-Identifier: GPL-3.0-or-later
// A folder with the certificates, secrets and other files that the test configurations name.
#pragma once

#include "gateway/config/config.h"

struct fixture {
    char dir[64];
    char config_path[80];
    struct arena *arena; // of errors and texts
    struct config_errors errors;
};
void fixture_make(struct fixture *f);
void fixture_remove(struct fixture *f);
void fixture_write(const struct fixture *f, const char *name, struct str content, unsigned mode);
// Writes `yaml` as the configuration and loads it.
struct config *fixture_load(struct fixture *f, struct str yaml);
// "LINE:COLUMN: KEY: MESSAGE" per error, with the fixture's folder cut out.
struct str fixture_errors(struct fixture *f);
