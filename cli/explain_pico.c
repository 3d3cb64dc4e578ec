// SPDX-License-Identifier: GPL-3.0-or-later
// Boards: who may call which function, who sees the page, who connects.
#include "base/encode.h"
#include "cli/explain.h"
#include "relay/device.h"

#define PICO "/.sallyport/pico"

static bool is_uplink(const struct route *r, struct str path)
{
    struct str folder = str_eq_c(r->path, "/") ? STR("") : r->path;
    struct str rest = str_starts(path, folder) ? str_skip(path, folder.n) : STR("");
    return str_eq_c(rest, "/uplink") || str_eq_c(rest, "/_/uplink");
}

const struct route *explain_pico_route(const struct config *c, struct str host, struct str path)
{
    const struct route *route =
        path_has_prefix(path, STR(PICO)) ? config_pico_route(c, host) : route_match(&c->routes, host, path);
    return route && route->target->pico.served ? route : NULL;
}

// --- calls

static struct decision decide(const struct question *q, struct str device, struct str function)
{
    struct policy_request request = { .method = str_c(q->method),
                                      .path = q->target.path,
                                      .address = q->address,
                                      .device = device,
                                      .function = function };
    return policy_decide(q->route, q->logged_in ? &q->identity : NULL, &request);
}

static void add_decision(struct sbuf *b, struct arena *a, const struct decision *d)
{
    struct str text = decision_explain(a, d);
    sbuf_addf(b, "%.*s\n", STR_FMT(text));
}

// The boards that the policy names, once each.
static struct strlist named_boards(struct arena *a, const struct policy *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->nrules; i++) n += p->rules[i].devices.n;
    struct strlist names = { arena_array(a, n, sizeof *names.v), 0 };
    for (size_t i = 0; names.v && i < p->nrules; i++)
        for (size_t k = 0; k < p->rules[i].devices.n; k++)
            if (!strlist_has(names, p->rules[i].devices.v[k])) names.v[names.n++] = p->rules[i].devices.v[k];
    return names;
}

// The best of them, which is what somebody who does not care for the board gets. A login and a permission do
// not come together: either nobody is logged in, or somebody is.
static void note_verdict(enum verdict verdict, enum verdict *ret)
{
    if (*ret == VERDICT_DENY) *ret = verdict;
}

static void explain_any(struct sbuf *b, struct arena *a, const struct question *q, struct str function,
                        enum verdict *ret)
{
    const struct str unnamed = STR("*"); // no rule can have this name
    struct strlist names = named_boards(a, q->route->policy);
    sbuf_addf(b,
              "A call of %.*s on any board goes to the least busy one that has it. It is decided for each:\n",
              STR_FMT(function));
    for (size_t i = 0; i < names.n; i++) {
        struct decision d = decide(q, names.v[i], function);
        sbuf_addf(b, "%.*s: ", STR_FMT(names.v[i]));
        add_decision(b, a, &d);
        note_verdict(d.verdict, ret);
    }
    struct decision d = decide(q, unnamed, function);
    sbuf_add_c(b, names.n ? "Boards that no rule names: " : "Every board: ");
    add_decision(b, a, &d);
    note_verdict(d.verdict, ret);
}

static void explain_call(struct sbuf *b, struct arena *a, const struct question *q, struct str device,
                         struct str function, enum verdict *ret)
{
    if (!str_eq_c(str_c(q->method), "POST"))
        sbuf_addf(b, "A call is a POST; %s is answered with 405.\n", q->method);
    else if (str_eq_c(device, "any"))
        explain_any(b, a, q, function, ret);
    else {
        struct decision d = decide(q, device, function);
        sbuf_addf(b, "A call of %.*s on %.*s.\n", STR_FMT(function), STR_FMT(device));
        add_decision(b, a, &d);
        *ret = d.verdict;
    }
}

// --- the page

static void explain_page(struct sbuf *b, struct arena *a, const struct question *q, enum verdict *ret)
{
    if (!str_eq_c(str_c(q->method), "GET") && !str_eq_c(str_c(q->method), "HEAD")) {
        sbuf_addf(b, "This is there for reading; %s is answered with 405.\n", q->method);
        return;
    }
    bool counts = q->logged_in && route_takes_provider(q->route, q->identity.provider);
    struct str rules = policy_requirements(a, q->route);
    sbuf_add_c(b, counts ? "Allowed: everybody who is logged in sees the boards and functions that they may "
                           "call, and no others.\n"
                         : "A login is needed; then the boards and functions are shown that the visitor may "
                           "call, and no others.\n");
    sbuf_addf(b, "Calls are for: %.*s.\n", STR_FMT(rules));
    *ret = counts ? VERDICT_ALLOW : VERDICT_LOGIN;
}

// --- which of them

static bool is_page(struct str rest)
{
    return rest.n == 0 || str_eq_c(rest, "/") || str_eq_c(rest, "/events");
}

// "/lamp/flash", with the function as the board registered it.
static bool is_call(struct arena *a, struct str rest, struct str *ret_device, struct str *ret_function)
{
    struct str device, function = str_skip(rest, 1);
    if (!str_cut(&function, '/', &device) || !decode_percent(a, device, false, ret_device) ||
        !decode_percent(a, function, false, ret_function))
        return false;
    return function_name_valid(*ret_function) &&
           (str_eq_c(*ret_device, "any") || device_name_valid(*ret_device));
}

static void explain_own(struct sbuf *b, struct arena *a, const struct question *q, enum verdict *ret)
{
    struct str rest = str_skip(q->target.path, STR(PICO).n), device, function;
    if (is_page(rest))
        explain_page(b, a, q, ret);
    else if (is_call(a, rest, &device, &function))
        explain_call(b, a, q, device, function, ret);
    else
        sbuf_add_c(b, "There is nothing here: calls go to " PICO "/BOARD/FUNCTION.\n");
}

void explain_pico(struct sbuf *b, struct arena *a, const struct question *q, enum verdict *ret_verdict)
{
    *ret_verdict = VERDICT_DENY;
    if (path_has_prefix(q->target.path, STR(PICO)))
        explain_own(b, a, q, ret_verdict);
    else if (is_uplink(q->route, q->target.path))
        sbuf_add_c(b, "Boards connect here and log in with their key; no policy is asked, and people have no "
                      "business here.\n");
    else if (!str_eq(q->target.path, q->route->path))
        sbuf_add_c(b, "This route has boards, and there is nothing here: the answer is 404.\n");
    else
        sbuf_addf(b, "This route has boards: people are sent to https://%.*s" PICO "/\n", STR_FMT(q->host));
}
