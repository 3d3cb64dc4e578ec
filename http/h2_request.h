// SPDX-License-Identifier: GPL-3.0-or-later
// The head of an HTTP/2 request (RFC 9113 section 8.3) from its decoded fields, as strictly as the HTTP/1.1
// parser: what one of them refuses, the other refuses for the same reason. Pure: fields are handed in one by
// one and copied once, into the exchange's arena. Beyond the limits of a head nothing is stored any more, so
// that the client can be told.
#pragma once

#include "base/arena.h"
#include "http/head.h"

struct h2_crumb;

struct h2_request {
    struct arena *arena;
    struct http_request_head *head;
    struct str scheme, host;
    struct h2_crumb *crumbs, **last_crumb; // Cookie fields, to be joined
    size_t crumb_bytes;
    size_t bytes, fields, swallowed;
    bool regular;   // a field that is no pseudo-header has come
    struct err err; // why the request is refused; ERR_NONE: nothing wrong so far
};

enum { H2_SWALLOWED_FIELDS = 1024 }; // of a refused request, then it is not worth an answer

// Empties *head. Its strings will live in `a`.
void h2_request_begin(struct h2_request *r, struct arena *a, struct http_request_head *head);
// The next field as decoded; a wrong one is noted in r->err. False: so much has come that the stream should
// just be reset.
bool h2_request_field(struct h2_request *r, struct str name, struct str value);
// All fields have come: completes *head, or says what is wrong with the request. `body`: END_STREAM has not
// come with them. A body of unknown length is `chunked`, so that it is framed that way towards HTTP/1.1.
bool h2_request_end(struct h2_request *r, bool body, struct err *err);
