// SPDX-License-Identifier: GPL-3.0-or-later
// The admin API's boards: all devices, and which of them are connected.
#include "gateway/ops/http.h"
#include "gateway/relay/presence.h"

static void add_board(struct sbuf *b, const struct presence_view *v, bool first)
{
    sbuf_add_c(b, first ? "{" : ",{");
    ops_json_str(b, "name", v->name);
    ops_json_str(b, "id", v->id);
    ops_json_bool(b, "online", v->online);
    ops_json_int(b, "since", v->since);
    ops_json_str(b, "client", v->client);
    ops_json_int(b, "functions", (int64_t)v->functions);
    ops_json_int(b, "keys", (int64_t)v->keys);
    sbuf_add_c(b, "}");
}

struct ops_answer ops_boards(struct ops *o, struct ops_request *r)
{
    struct presence_view *v = NULL;
    size_t n = 0;
    if (o->setup.boards && !presence_read(o->setup.boards, r->arena, &v, &n)) return ops_json(503, STR_NONE);
    struct sbuf b;
    sbuf_init(&b, r->arena, OPS_ANSWER_BYTES);
    sbuf_add_c(&b, "{\"boards\":[");
    for (size_t i = 0; i < n; i++) add_board(&b, &v[i], i == 0);
    sbuf_add_c(&b, "]}\n");
    return ops_json(200, sbuf_str(&b));
}
