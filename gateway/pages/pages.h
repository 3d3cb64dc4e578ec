// SPDX-License-Identifier: GPL-3.0-or-later
// The gateway's own pages. Templates (gateway/pages/*.html) are compiled in; every value is escaped for its
// place. One style sheet and icon served from /.sallyport/assets/, strict CSP, light and dark, phone and
// keyboard. No script at all, but on one page: that of the boards.
#pragma once

#include "base/arena.h"
#include "base/err.h"

// The Content-Security-Policy of every page here.
extern const char page_csp[];
// That of the page of boards, which has a script of ours (boards.js): calling a function and seeing its
// answer, and boards that come and go while what somebody has typed stays, cannot be done without. It may
// speak to this site only, and may not make markup out of text: what boards say is text.
extern const char page_script_csp[];

struct page_common {
    struct str site_name;  // title
    struct str host;       // where the visitor is
    struct str request_id; // correlation id, shown small
    struct str user;       // label of who is logged in; absent: nobody
};

struct page_choice {
    struct str label, href; // "Corporate login", "/.sallyport/login?rd=...&idp=corp"
    bool available;         // false: shown with a note that it cannot be reached now
};
struct str page_chooser(struct arena *a, const struct page_common *c, const struct page_choice *v, size_t n,
                        struct str target_host);

struct page_row {
    struct str name, value;
};
// Who am I: identity rows, groups, session times (already formatted), a sign-out form (POST to
// /.sallyport/logout).
struct str page_whoami(struct arena *a, const struct page_common *c, const struct page_row *rows,
                       size_t nrows, struct strlist groups);
// GET of /.sallyport/logout while logged in: asks with a button.
struct str page_confirm_logout(struct arena *a, const struct page_common *c, struct str home_href);
struct str page_signed_out(struct arena *a, const struct page_common *c, struct str home_href);

struct page_board {
    struct str name;
    bool online;
    struct strlist functions;
};
// The boards that the visitor may use; `more`: there are others. Without a script it is a list, of the first
// PAGE_BOARDS boards at most.
enum { PAGE_BOARDS = 200 };
struct str page_boards(struct arena *a, const struct page_common *c, const struct page_board *v, size_t n,
                       bool more);

struct page_error {
    int status;
    struct str title;       // "Not allowed"
    struct str sentence;    // plain
    struct str requirement; // 403: what the rule asks for; absent otherwise
    struct str retry_href;  // absent: no link
    struct str retry_label;
    struct str reason;   // reason code, shown small beside the request id
    bool offer_sign_out; // 403 while logged in: "sign in as somebody else"
};
struct str page_error(struct arena *a, const struct page_common *c, const struct page_error *e);
// JSON for requests that are not page navigations: {"error": reason, "message": sentence, "status": 403,
// "request_id": ..., "login": url or absent}.
struct str page_error_json(struct arena *a, const struct page_error *e, struct str request_id,
                           struct str login_href);
// A title for a status: "Not found".
const char *page_title(int status);

// A file under /.sallyport/assets/ ("style.css"): false when there is none. Bytes are static.
bool page_asset(struct str name, struct str *ret_body, const char **ret_content_type);
// Pages name assets with a hash of their content ("style.0123456789ab.css"), and both names are found. True
// for the name with the hash: it may be kept for ever (Cache-Control: public, max-age=31536000, immutable).
bool page_asset_immutable(struct str name);
