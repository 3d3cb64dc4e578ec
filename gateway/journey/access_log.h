// SPDX-License-Identifier: GPL-3.0-or-later
// One line per request when it has ended, with the field names of docs/logging.md.
#pragma once

#include "gateway/edge/exchange.h"

void access_log(const struct exchange *x);
