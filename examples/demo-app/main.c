// SPDX-License-Identifier: GPL-3.0-or-later
// The demo application: shows whom the gateway says the visitor is, and everything else that arrived. It has
// no login code.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "examples/common/serve.h"

#define STYLE                                                                                                \
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:8vh auto;padding:0 "                     \
    "1rem;color:#1c2430;background:"                                                                         \
    "#f6f8fa}h1{margin-bottom:.2em}.who{background:#fff;border:1px solid "                                   \
    "#d5dbe3;border-radius:10px;padding:1rem "                                                               \
    "1.4rem}dt{color:#5a6675;font-size:.85rem}dd{margin:0 0 "                                                \
    ".6rem;font-weight:600;overflow-wrap:anywhere}table{"                                                    \
    "border-collapse:collapse;font-size:.85rem;width:100%%}td{border-top:1px solid #d5dbe3;padding:.3rem "   \
    ".5rem;"                                                                                                 \
    "vertical-align:top;overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{background:#12161c;"   \
    "color:"                                                                                                 \
    "#e6eaf0}.who{background:#1b212a;border-color:#36404d}td{border-color:#36404d}dt{color:#9aa7b6}a{color:" \
    "#8bb8ff}}"

struct page {
    struct arena *arena;
    struct sbuf who, rows, json;
};

static void add_header(void *context, const char *name, const char *value)
{
    struct page *p = context;
    struct str n = encode_html(p->arena, str_c(name)), v = encode_html(p->arena, str_c(value)),
               jn = encode_json(p->arena, str_c(name)), jv = encode_json(p->arena, str_c(value));
    sbuf_addf(&p->rows, "<tr><td>%.*s</td><td>%.*s</td></tr>", STR_FMT(n), STR_FMT(v));
    sbuf_addf(&p->json, "%s%.*s:%.*s", p->json.n > 1 ? "," : "", STR_FMT(jn), STR_FMT(jv));
    if (str_starts_nocase(str_c(name), STR("X-Sallyport-")))
        sbuf_addf(&p->who, "<dt>%.*s</dt><dd>%.*s</dd>", STR_FMT(n), STR_FMT(v));
}

static void serve(const struct demo_request *r, struct demo_answer *ret)
{
    struct page p = { .arena = r->arena };
    sbuf_init(&p.who, r->arena, 256 * 1024);
    sbuf_init(&p.rows, r->arena, 512 * 1024);
    sbuf_init(&p.json, r->arena, 512 * 1024);
    sbuf_add_c(&p.json, "{");
    demo_each_header(r, add_header, &p);
    sbuf_add_c(&p.json, "}\n");
    if (strcmp(r->path, "/headers.json") == 0) {
        ret->content_type = "application/json";
        ret->body = sbuf_str(&p.json);
        return;
    }
    bool known = p.who.n > 0;
    ret->body = arena_printf(
        r->arena,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>Demo application</title><style>" STYLE "</style></head><body>"
        "<h1>Demo application</h1><p>This application has no login code. It reads who you are from the "
        "request's "
        "headers.</p><div class=\"who\">%s<dl>%.*s</dl></div><p><a href=\"/.sallyport/\">Your session, sign "
        "out</a></p>"
        "<details><summary>All headers that arrived</summary><table>%.*s</table></details></body></html>",
        known ? "<b>The gateway says that you are</b>"
              : "<b>The gateway sent no identity: this page is public.</b>",
        STR_FMT(sbuf_str(&p.who)), STR_FMT(sbuf_str(&p.rows)));
}

int main(int argc, char **argv)
{
    unsigned port = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (port == 0) {
        fprintf(stderr,
                "usage: demo-app PORT\nListens on 127.0.0.1:PORT and shows the headers that it receives.\n");
        return 2;
    }
    struct demo_server server = { .address = "127.0.0.1", .port = port, .handle = serve };
    if (demo_serve(&server)) return 0;
    fprintf(stderr, "demo-app: cannot listen on 127.0.0.1:%u\n", port);
    return 1;
}
