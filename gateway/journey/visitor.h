// SPDX-License-Identifier: GPL-3.0-or-later
// Who is there: the session behind the cookie, when a request begins, and again and again while an exchange
// lasts that is not over with one answer (WebSocket, event stream).
#pragma once

#include "gateway/edge/exchange.h"

enum visitor { VISITOR_NOBODY, VISITOR_KNOWN, VISITOR_UNCLEAR };

// Fills x->session. NOBODY: no cookie, a bad one, an ended session (x->session_end says which). UNCLEAR: the
// store cannot say, x->err has the reason and nothing may be decided.
enum visitor visitor_load(struct exchange *x);

// Whether this session is still good, as a look into the store says now. NOBODY: it has ended, and *ret_seen
// is not set. `err` says why, or why nobody can tell.
enum visitor visitor_look(struct worker *w, const uint8_t id[SESSION_ID_BYTES], int64_t *ret_seen,
                          struct err *err);

// From now on the session is looked up again every few seconds. When it has ended, the exchange is aborted.
// What the visitor sends meanwhile counts as use of the session, what the application sends does not.
void visitor_watch(struct exchange *x);
