// SPDX-License-Identifier: GPL-3.0-or-later
// One shape for every failure: a typed code plus a detail for the log. The callee fills the caller's struct
// and either reports or logs, never both. The table in errors.def maps each code to its reason name (log
// field `reason`), the HTTP status of the page it leads to, and a sentence that is safe to show anyone.
#pragma once

#include "base/str.h"

enum err_code {
    ERR_NONE = 0,
#define ERR(code, name, status, text) code,
#include "base/errors.def"
#undef ERR
    ERR_COUNT
};

struct err {
    enum err_code code;
    char detail[240]; // for the log and for operators; may hold names from the input, never secrets
};

// Sets code and detail and returns false, so that `return err_set(...)` ends a bool function. `err` must not
// be NULL.
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *err_name(enum err_code code); // "saml.audience"
int err_status(enum err_code code);       // 403
const char *err_text(enum err_code code); // "Your identity provider's answer was meant for another service."
// The code whose name is `name`, or ERR_NONE: for test vectors.
enum err_code err_by_name(struct str name);
