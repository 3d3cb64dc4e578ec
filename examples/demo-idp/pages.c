// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/encode.h"
#include "examples/demo-idp/idp.h"

#define HEAD                                                                                                 \
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "                \
    "content=\"width=device-width\"><title>Demo identity provider</title><style>body{font:16px/1.5 "         \
    "system-ui,"                                                                                             \
    "sans-serif;max-width:24rem;margin:12vh auto;padding:0 "                                                 \
    "1rem;color:#222;background:#faf6ef}input{font:inherit;"                                                 \
    "width:100%%;box-sizing:border-box;padding:.5rem;margin:.2rem 0 .8rem;border:1px solid "                 \
    "#998}button{font:inherit;"                                                                              \
    "padding:.6rem "                                                                                         \
    "1rem;border:0;background:#7a4b12;color:#fff;width:100%%}.note{background:#f3e3c3;padding:.6rem "        \
    ".8rem;font-size:.9rem}.wrong{color:#a00}</style></head><body>"                                          \
    "<p class=\"note\">Demo identity provider - not for production.</p>"

static void add_users(struct sbuf *b)
{
    for (size_t i = 0; i < demo_user_count; i++) {
        const struct demo_user *u = &demo_users[i];
        sbuf_addf(b, "<li><b>%s</b> / %s - %s, group%s %s%s%s</li>", u->name, u->password, u->display,
                  u->groups[1] ? "s" : "", u->groups[0], u->groups[1] ? ", " : "",
                  u->groups[1] ? u->groups[1] : "");
    }
}

struct str demo_login_page(struct arena *a, const char *action, struct str hidden, const char *wrong)
{
    struct sbuf b;
    struct str safe = encode_html(a, hidden);
    sbuf_init(&b, a, 256 * 1024);
    sbuf_addf(&b, HEAD "<h1>Who are you?</h1>");
    if (wrong) sbuf_addf(&b, "<p class=\"wrong\" role=\"alert\">%s</p>", wrong);
    sbuf_addf(&b,
              "<form method=\"post\" action=\"%s\"><input type=\"hidden\" name=\"request\" value=\"%.*s\">"
              "<label>User name<input name=\"username\" autocomplete=\"off\" autofocus></label>"
              "<label>Password<input name=\"password\" type=\"password\"></label>"
              "<button type=\"submit\">Sign in</button></form><p>Users (name / password):</p><ul>",
              action, STR_FMT(safe));
    add_users(&b);
    sbuf_add_c(&b, "</ul></body></html>");
    return sbuf_str(&b);
}

struct str demo_message_page(struct arena *a, const char *title, const char *sentence)
{
    return arena_printf(a, HEAD "<h1>%s</h1><p>%s</p></body></html>", title, sentence);
}
