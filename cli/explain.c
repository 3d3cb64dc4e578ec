// SPDX-License-Identifier: GPL-3.0-or-later
// "Why was I denied?": the decision that the gateway would make, from the configuration alone.
#include <stdio.h>
#include <string.h>

#include "base/url.h"
#include "cli/explain.h"
#include "gateway/config/parse.h"
#include "http/rewrite.h"

enum { CLAIMS_MAX = 32, EXPLAIN_ARENA = 1024 * 1024, EXPLAIN_MAX = 64 * 1024 };

static bool parse_url(struct arena *a, const char *text, struct question *q, struct err *err)
{
    struct url url;
    struct str full = strstr(text, "://") ? str_c(text) : arena_printf(a, "https://%s", text);
    if (!url_parse(a, full, &url, err)) return false;
    if (!url.https) return err_set(err, ERR_URL, "routes are reached over https://");
    if (!http_target_parse(a, url.path, &q->target, err)) return false;
    q->host = url.host;
    q->target.query = url.query;
    return true;
}

static bool parse_address(const char *text, struct question *q, struct err *err)
{
    return !text || ip_parse(str_c(text), &q->address) ||
           err_set(err, ERR_URL, "%s is not an IP address", text);
}

static struct strlist split_groups(struct arena *a, const char *groups)
{
    struct str rest = str_c(groups), one;
    struct strlist list = { arena_array(a, rest.n + 1, sizeof *list.v), 0 };
    while (list.v && str_cut(&rest, ',', &one))
        if (str_trim(one).n) list.v[list.n++] = str_trim(one);
    return list;
}

// Without --provider: one whose logins count at this route, since that is what somebody who asks means.
static struct str assumed_provider(const struct config *c, const struct route *route)
{
    if (route && route->providers.n) return route->providers.v[0];
    return c->nproviders ? c->providers[0].key : STR("none");
}

static bool make_identity(struct arena *a, const struct config *c, const struct explain_request *r,
                          struct question *q, struct err *err)
{
    q->logged_in = r->user != NULL;
    if (!q->logged_in) return true;
    struct str user = str_c(r->user), provider = str_c(r->provider);
    if (provider.p && !config_provider(c, provider))
        return err_set(err, ERR_LOGIN_PROVIDER, "there is no identity provider %s", r->provider);
    bool is_email = str_find(user, '@') < user.n;
    if (user.n == 0 || (is_email && !email_domain(user).p))
        return err_set(err, ERR_LOGIN_PROVIDER, "%s is not an e-mail address", r->user);
    q->identity = (struct identity){
        .provider = provider.p ? provider : assumed_provider(c, q->route),
        .subject = user,
        .email = is_email ? user : STR_NONE,
        .email_verified = is_email,
        .username = is_email ? STR_NONE : user,
        .groups = r->groups ? split_groups(a, r->groups) : (struct strlist){ NULL, 0 },
        .groups_known = r->groups != NULL,
        .claims = r->claims,
        .nclaims = r->nclaims,
    };
    return true;
}

static void add_identity(struct sbuf *b, const struct question *q)
{
    if (!q->logged_in) {
        sbuf_add_c(b, " for a visitor who is not logged in");
        return;
    }
    sbuf_addf(b, " for %.*s from provider %.*s, groups ", STR_FMT(q->identity.subject),
              STR_FMT(q->identity.provider));
    for (size_t i = 0; i < q->identity.groups.n; i++) {
        if (i) sbuf_add_c(b, ", ");
        sbuf_add(b, q->identity.groups.v[i]);
    }
    if (!q->identity.groups_known)
        sbuf_add_c(b, "not known (--groups names them)");
    else if (q->identity.groups.n == 0)
        sbuf_add_c(b, "none");
}

static bool asks_for_address(const struct policy *p)
{
    for (size_t i = 0; p && i < p->nrules; i++)
        if (p->rules[i].addresses.n) return true;
    return false;
}

static void add_visitor(struct sbuf *b, const struct question *q, bool address_given)
{
    char text[IP_TEXT_BYTES];
    add_identity(b, q);
    ip_text(&q->address, text);
    if (address_given)
        sbuf_addf(b, ", address %s", text);
    else if (q->route && asks_for_address(q->route->policy))
        sbuf_add_c(b, ", address not known (--address names it)");
    sbuf_add_c(b, "\n");
}

static void add_nearest_host(struct sbuf *b, struct arena *a, const struct config *c, struct str host)
{
    struct loader l = { .scratch = a };
    struct strlist hosts = { arena_array(a, c->routes.n, sizeof *hosts.v), 0 };
    for (size_t i = 0; hosts.v && i < c->routes.n; i++) hosts.v[hosts.n++] = c->routes.v[i].host;
    sbuf_addf(b, "No route has the host %.*s%s\n", STR_FMT(host), config_nearest(&l, host, &hosts));
}

static bool is_own_endpoint(struct str path)
{
    return path_has_prefix(path, STR("/.sallyport"));
}

// Where an allowed request goes, when it goes elsewhere than one would think.
static void add_way(struct sbuf *b, struct arena *a, const struct route_target *t,
                    const struct http_target *target)
{
    bool takes_off = t->strip_prefix || t->rewrite.p;
    if (t->redirect.to.p) {
        struct str prefix = t->redirect.keep_path ? t->prefix : STR_NONE;
        struct str to = http_redirect_location(a, t->redirect.to, target, prefix);
        sbuf_addf(b, "The answer is a redirect (%d) to %.*s\n", t->redirect.status, STR_FMT(to));
    } else if (takes_off) {
        struct str there =
            http_rewrite_path(a, target->path, t->prefix, t->rewrite.p ? t->rewrite : STR("/"));
        sbuf_addf(b, "The backend is asked for %.*s\n", STR_FMT(there));
    }
}

static void add_decision(struct sbuf *b, struct arena *a, const struct config *c, const struct question *q,
                         const struct decision *d)
{
    if (!d->route && !route_has_host(&c->routes, q->host) && !str_eq(q->host, c->login_host))
        add_nearest_host(b, a, c, q->host);
    else if (!d->route)
        sbuf_addf(b, "No route of %.*s begins with this path.\n", STR_FMT(q->host));
    struct str text = decision_explain(a, d);
    sbuf_addf(b, "%.*s\n", STR_FMT(text));
    if (d->verdict == VERDICT_ALLOW) add_way(b, a, d->route->target, &q->target);
}

static struct str finished(struct sbuf *b, struct err *err)
{
    struct str text = arena_failed(b->arena) ? STR_NONE : sbuf_str(b); // part of it would be another answer
    if (!text.p) err_set(err, ERR_NO_MEMORY, "explain");
    return text;
}

struct str explain(struct arena *a, const struct config *c, const struct explain_request *r,
                   enum verdict *ret_verdict, struct err *err)
{
    struct question q = { .method = r->method };
    if (!parse_url(a, r->url, &q, err) || !parse_address(r->address, &q, err)) return STR_NONE;
    const struct route *boards = explain_pico_route(c, q.host, q.target.path);
    q.route = boards ? boards : route_match(&c->routes, q.host, q.target.path);
    if (!make_identity(a, c, r, &q, err)) return STR_NONE;
    struct sbuf b;
    sbuf_init(&b, a, EXPLAIN_MAX);
    sbuf_addf(&b, "%s https://%.*s%.*s", r->method, STR_FMT(q.host), STR_FMT(q.target.path));
    add_visitor(&b, &q, r->address != NULL);
    if (boards) {
        explain_pico(&b, a, &q, ret_verdict);
        return finished(&b, err);
    }
    if (is_own_endpoint(q.target.path)) {
        if (path_has_prefix(q.target.path, STR("/.sallyport/pico")))
            sbuf_addf(&b, "No route of %.*s has boards (pico), so there is nothing here.\n", STR_FMT(q.host));
        else
            sbuf_add_c(&b, "The gateway answers this itself; no route and no policy is asked.\n");
        *ret_verdict = VERDICT_DENY;
        return finished(&b, err);
    }
    struct policy_request request = { .method = str_c(r->method),
                                      .path = q.target.path,
                                      .address = q.address };
    struct decision d = policy_decide(q.route, q.logged_in ? &q.identity : NULL, &request);
    add_decision(&b, a, c, &q, &d);
    *ret_verdict = d.verdict;
    return finished(&b, err);
}

// --- the command

struct claim_args {
    struct claim v[CLAIMS_MAX];
    struct str values[CLAIMS_MAX][CLAIMS_MAX];
    size_t n, given;
};

// The same name again adds a value.
static void add_claim_value(struct claim_args *args, struct str name, struct str value)
{
    size_t i = 0;
    while (i < args->n && !str_eq(args->v[i].name, name)) i++;
    if (i == args->n) args->v[args->n++] = (struct claim){ name, { args->values[i], 0 } };
    args->values[i][args->v[i].values.n++] = value;
}

static bool add_claim(void *context, const char *value)
{
    struct claim_args *args = context;
    struct str text = str_c(value);
    size_t equals = str_find(text, '=');
    if (equals == 0 || equals == text.n || args->given++ == CLAIMS_MAX) {
        fprintf(stderr, "sallyport explain: --claim expects NAME=VALUE, at most %d times\n", CLAIMS_MAX);
        return false;
    }
    add_claim_value(args, str_take(text, equals), str_skip(text, equals + 1));
    return true;
}

static int print_explanation(const struct command *self, const struct config *c,
                             const struct explain_request *r)
{
    struct err err = { 0 };
    enum verdict verdict = VERDICT_DENY;
    struct arena *a = arena_new(EXPLAIN_ARENA);
    struct str text = a ? explain(a, c, r, &verdict, &err) : STR_NONE;
    int status = verdict == VERDICT_ALLOW ? EXIT_OK : EXIT_FAILED;
    if (text.p)
        printf("%s", text.p);
    else
        status = usage_error(self, "%s", err.detail);
    arena_free(a);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct config_flags f = { 0 };
    struct explain_request r = { 0 };
    static struct claim_args claims;
    const struct flag flags[] = {
        { .name = "--config", .value = &f.config },
        { .name = "--env-file", .value = &f.env_file },
        { .name = "--user", .value = &r.user },
        { .name = "--groups", .value = &r.groups },
        { .name = "--provider", .value = &r.provider },
        { .name = "--address", .value = &r.address },
        { .name = "--claim", .add = add_claim, .context = &claims },
    };
    claims.n = claims.given = 0;
    if (!args_parse(self, &argc, argv, flags, sizeof flags / sizeof *flags)) return EXIT_USAGE;
    if (argc != 2) return usage_error(self, "expected METHOD and URL");
    if (!r.user && (r.groups || r.provider || claims.n))
        return usage_error(self, "--groups, --provider and --claim need --user");
    r.method = argv[0];
    r.url = argv[1];
    r.claims = claims.v;
    r.nclaims = claims.n;
    int status;
    struct config *c = load_or_complain(self, &f, &status);
    if (!c) return status;
    status = print_explanation(self, c, &r);
    config_free(c);
    return status;
}

const struct command command_explain = {
    "explain",
    "--config FILE [--env-file FILE] [--user EMAIL [--groups A,B] [--provider KEY] [--claim NAME=VALUE]...] "
    "[--address IP] METHOD URL",
    "Prints route, rule, verdict and reason for a request.",
    "Without --user the visitor is not logged in. --user also takes a user name in place of an address, "
    "which\n"
    "counts as verified. Without --groups the identity provider sent none. Without --provider the login "
    "came\n"
    "from one that counts at the route. Without --address the client's address is not known.\n" ENV_FILE_HELP
    "Exit code 0: allowed; 1: not allowed, or the configuration has errors; 2: called wrongly.\n",
    run
};
