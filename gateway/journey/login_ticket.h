// SPDX-License-Identifier: GPL-3.0-or-later
// From the login host to the application's host: a one-use ticket of 30 seconds, bound to the host and to the
// browser that asked for it (the application host's "enter" cookie, of which the login host only ever sees
// the hash).
#pragma once

#include "gateway/journey/login_job.h"

// The hash of this browser's enter cookie on this host; sets the cookie with the answer when there is none
// yet. Absent on failure.
struct str login_binding(struct exchange *x);
// Sends the logged-in visitor to j->state.target: at once when it is on this host, else through a ticket for
// j->session. Answers the exchange and frees the job.
void login_go_to_target(struct login_job *j);
