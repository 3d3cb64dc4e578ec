// SPDX-License-Identifier: GPL-3.0-or-later
// Answers that the gateway gives itself. Each sends the whole answer and ends the exchange: `x` is gone
// afterwards.
#pragma once

#include "gateway/edge/exchange.h"

// Before one of the answers below: adds a field.
void answer_add(struct exchange *x, const char *name, struct str value);
void answer_body(struct exchange *x, int status, const char *content_type, struct str body);
// 302 for GET and HEAD, 303 for everything else.
void answer_redirect(struct exchange *x, struct str url);
// A redirect that the configuration asks for. `remember`: for everybody the same, so anybody may keep it.
void answer_configured_redirect(struct exchange *x, int status, struct str url, bool remember);
// Where pages lead that lead back to the site: its front page, or our own where the host has none.
struct str answer_home(const struct exchange *x);
// A page of ours: HTML with its strict headers.
void answer_page(struct exchange *x, int status, struct str html);
// The one page that has a script (gateway/pages/pages.h): its Content-Security-Policy lets that run.
void answer_page_with_script(struct exchange *x, int status, struct str html);
// The head of an answer that has no end: its body follows piece by piece (x->engine->write). False: it could
// not be sent, and `x` is gone.
bool answer_stream(struct exchange *x, const char *content_type);
// x->err as a page for navigations, as JSON for everything else. Its status is the code's, the log line
// carries the reason. `retry` (may be absent) is a link that may help.
void answer_error(struct exchange *x, struct str retry);
// Sets x->err and answers.
void answer_failure(struct exchange *x, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
