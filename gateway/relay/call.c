// SPDX-License-Identifier: GPL-3.0-or-later
// POST /.sallyport/pico/<device>/<function>: a person calls a function on a board. Policy is asked before
// anything else is, so whoever may not call a board does not learn whether there is one. A call is never
// repeated by us: it acts on the world.
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/log.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/same_site.h"
#include "gateway/journey/visitor.h"
#include "gateway/journey/whole_body.h"
#include "gateway/relay/private.h"
#include "relay/message.h"

enum {
    CALL_ARENA = 512 * 1024,
    BODY_SPARE = 4096, // of a call's JSON, for its frame and spaces ...
    BODY_ESCAPES = 6,  // ... and so many times the arguments, for escapes
    LOOK_MS = 2000,
    LOST_MS = 5000, // beyond the call's limit, in which the board's worker says how it ended
};

// What is asked for, while its body is read; in the exchange's arena.
struct asked {
    const struct route *route;
    struct str device, function; // device "any": whichever has it
    struct decision decision;
};

// The caller of a call. It has memory of its own: the exchange may be gone when the call comes back.
struct caller {
    struct courier c; // its call's arena owns all of this
    struct exchange *x;
    struct asked asked;
    struct str user;
    struct timer look;
    char request_id[33], address[IP_TEXT_BYTES];
    int64_t began_ms;
    bool answered;
};

// --- the answer

// {"error": {"type", "message"}, "request_id"}
static void answer_json_error(struct exchange *x, struct str type, struct str message)
{
    struct str t = encode_json(x->arena, type), m = encode_json(x->arena, message);
    struct str text =
        arena_printf(x->arena, "{\"error\":{\"type\":%.*s,\"message\":%.*s},\"request_id\":\"%s\"}\n",
                     STR_FMT(t), STR_FMT(m), x->request_id);
    int status = err_status(x->err.code);
    if (status == 503) answer_add(x, "Retry-After", STR("1"));
    answer_add(x, "Cache-Control", STR("no-store"));
    answer_body(x, status, "application/json", text);
}

// What is wrong with arguments is said: it is about the caller's own, and quotes nothing.
static struct str text_of(struct exchange *x)
{
    if (x->err.code == ERR_POLICY_DENIED) return STR("You may not call this function.");
    struct str text = str_c(err_text(x->err.code));
    if (x->err.code != ERR_PICO_ARGUMENTS || !x->err.detail[0]) return text;
    return arena_printf(x->arena, "%.*s: %s.", STR_FMT(str_take(text, text.n - 1)), x->err.detail);
}

static void refuse(struct exchange *x)
{
    answer_json_error(x, str_c(err_name(x->err.code)), text_of(x));
}

static void answer_outcome(struct exchange *x, const struct relay_call *call)
{
    x->err = call->err;
    if (call->err.code == ERR_PICO_FUNCTION) {
        // A board's word may not pass for ours.
        bool own = call->error_type.p && err_by_name(call->error_type) == ERR_NONE;
        struct str type = own ? call->error_type : str_c(err_name(ERR_PICO_FUNCTION));
        // `raise ValueError` has no text; people are told something.
        bool said = call->error_message.n > 0;
        answer_json_error(x, type, said ? call->error_message : str_c(err_text(ERR_PICO_FUNCTION)));
    } else if (call->err.code != ERR_NONE) {
        refuse(x);
    } else {
        answer_add(x, "Cache-Control", STR("no-store"));
        answer_body(x, 200, "application/json",
                    arena_printf(x->arena, "{\"result\":%.*s}\n", STR_FMT(call->result)));
    }
}

// --- audit

// Who, what, by which rule, with what outcome; sizes, not contents, unless they are asked for. What a board
// says is escaped like everything in the log.
static void audit(struct worker *w, const struct asked *a, const struct relay_call *call,
                  const struct err *err, struct log_line *l)
{
    metric_add(&w->metrics.pico_calls_total, 1);
    if (err->code != ERR_NONE) metric_add(&w->metrics.pico_calls_failed_total, 1);
    log_str(l, "device", a->device);
    log_str(l, "function", a->function);
    log_str(l, "route", a->route->host);
    if (a->decision.rule_number) log_int(l, "rule", (int64_t)a->decision.rule_number);
    if (a->decision.reason != REASON_NONE) log_c(l, "decision", reason_name(a->decision.reason));
    log_c(l, "outcome", err->code == ERR_NONE ? "ok" : err_name(err->code));
    if (err->detail[0]) log_c(l, "detail", err->detail);
    if (!call) return;
    if (err->code == ERR_PICO_FUNCTION) log_str(l, "error", call->error_message);
    log_int(l, "waited_ms", call->waited_ms);
    log_int(l, "board_ms", call->board_ms);
    log_int(l, "bytes_in", (int64_t)(call->args.n + call->kwargs.n));
    log_int(l, "bytes_out", (int64_t)call->result.n);
    if (!a->route->target->pico.log_arguments) return;
    log_str(l, "args", call->args);
    log_str(l, "kwargs", call->kwargs);
}

// `waits`: whoever called is there to hear of it.
static void audit_caller(const struct caller *k, bool waits)
{
    struct worker *w = k->c.home->w;
    struct log_line l;
    log_begin(&l, LOG_INFO, "pico.call");
    log_c(&l, "request_id", k->request_id);
    log_c(&l, "client", k->address);
    log_str(&l, "user", k->user);
    audit(w, &k->asked, &k->c.call, &k->c.call.err, &l);
    if (!waits) log_c(&l, "caller", "left");
    log_int(&l, "duration_ms", w->loop.now_ms - k->began_ms);
    log_end(&l);
}

// A call that never was one: x->err says why.
static void refuse_call(struct exchange *x, const struct asked *a)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "pico.call");
    log_c(&l, "request_id", x->request_id);
    log_str(&l, "client", x->client);
    if (x->has_session) log_str(&l, "user", identity_label(&x->session.identity));
    audit(x->worker, a, NULL, &x->err, &l);
    log_end(&l);
    refuse(x);
}

static void caller_free(struct caller *k)
{
    timer_clear(&k->c.home->w->loop, &k->look);
    arena_free(k->c.call.arena);
}

// Before it was sent: nobody but us has it.
static void fail(struct caller *k)
{
    struct exchange *x = k->x;
    k->c.call.err = x->err;
    audit_caller(k, true);
    caller_free(k);
    refuse(x);
}

// --- on its way

static void come_back(struct courier *c)
{
    struct caller *k = container_of(c, struct caller, c);
    struct exchange *x = k->x;
    bool waits = exchange_job_done(x) && !k->answered;
    audit_caller(k, waits);
    if (waits) {
        timer_clear(&c->home->w->loop, &k->look);
        x->on_gone = NULL;
        x->endless = false;
        answer_outcome(x, &c->call);
    }
    caller_free(k);
}

static void on_gone(struct exchange *x)
{
    struct caller *k = x->work;
    timer_clear(&x->worker->loop, &k->look);
    atomic_store_explicit(&k->c.call.gone, true, memory_order_relaxed);
}

// The caller gets this answer, whatever becomes of the call.
static void give_up(struct caller *k, const struct err *why)
{
    struct exchange *x = k->x;
    on_gone(x);
    k->answered = true;
    x->on_gone = NULL;
    x->endless = false;
    x->err = *why;
    refuse(x);
}

// The board's worker keeps the limit; but one that ends at this moment may not send anything back.
static bool is_lost(const struct caller *k, struct err *err)
{
    int64_t waited = k->x->worker->loop.now_ms - k->began_ms;
    return waited > k->c.call.limit_ms + LOST_MS &&
           !err_set(err, ERR_PICO_TIMEOUT, "no word from the board's worker");
}

// Whoever signs out does not wait for an answer any more; the board hears of nobody from then on.
static void look_again(struct timer *t)
{
    struct caller *k = container_of(t, struct caller, look);
    struct worker *w = k->x->worker;
    int64_t seen;
    struct err err = { 0 };
    if (is_lost(k, &err) || visitor_look(w, k->c.session, &seen, &err) == VISITOR_NOBODY)
        give_up(k, &err);
    else
        timer_set(&w->loop, &k->look, LOOK_MS);
}

static void send_to(struct caller *k, const struct board *b)
{
    struct exchange *x = k->x;
    struct relay_call *call = &k->c.call;
    uint8_t id[CALL_ID_DIGITS / 2];
    call->device_id = arena_str(call->arena, b->id);
    struct str hex = crypto_random(id, sizeof id)
                         ? encode_hex(call->arena, (struct str){ (const char *)id, sizeof id })
                         : STR_NONE;
    if (arena_failed(call->arena) || !hex.p) {
        err_set(&x->err, hex.p ? ERR_NO_MEMORY : ERR_CRYPTO, "a call");
        fail(k);
        return;
    }
    memcpy(call->id, hex.p, CALL_ID_DIGITS);
    x->jobs++;
    x->endless = true; // a page that was closed with a goodbye does not wait: its call need not be sent
    x->work = k;
    x->on_gone = on_gone;
    k->c.back = come_back;
    k->look.fire = look_again;
    timer_set(&x->worker->loop, &k->look, LOOK_MS);
    dispatch_send(x->worker->relay, b, &k->c);
}

// --- which board

// It has the function, or had it when it was here, and this visitor may call it.
static bool is_offered(const struct caller *k, const struct board_entry *e)
{
    return e->device && board_has(&e->b, k->asked.function) &&
           relay_decide(k->x, k->asked.route, e->device->name, k->asked.function).verdict == VERDICT_ALLOW;
}

static unsigned load_of(const struct board *b)
{
    return b->load ? atomic_load_explicit(b->load, memory_order_relaxed) : 0;
}

// True once in `n` times.
static bool one_in(struct relay_worker *r, uint64_t n)
{
    r->dice = r->dice * 6364136223846793005u + 1442695040888963407u; // chance, no secret
    return (r->dice >> 33) % n == 0;
}

// The least busy one that has the function and that this visitor may use; of several, each with the same
// chance. (Taking turns would need to know who else calls what: with two callers in step, one board would
// get everything.)
static const struct board_entry *choose(const struct caller *k)
{
    struct relay_worker *r = k->x->worker->relay;
    const struct board_entry *best = NULL;
    unsigned least = 0;
    uint64_t equal = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct board_entry *e = r->v[i];
        if (!e->b.online || !is_offered(k, e)) continue;
        unsigned load = load_of(&e->b); // changes under our eyes
        if (best && load > least) continue;
        equal = best && load == least ? equal + 1 : 1;
        if (one_in(r, equal)) best = e;
        least = load;
    }
    return best;
}

// Whether one of the boards that had the function may be called by this visitor.
static bool one_is_away(const struct caller *k)
{
    const struct relay_worker *r = k->x->worker->relay;
    for (size_t i = 0; i < r->n; i++)
        if (is_offered(k, r->v[i])) return true;
    return false;
}

static bool one_is_allowed(struct caller *k)
{
    const struct device_table *t = k->x->worker->relay->devices;
    for (size_t i = 0; i < t->n; i++) {
        k->asked.decision = relay_decide(k->x, k->asked.route, t->v[i].name, k->asked.function);
        if (k->asked.decision.verdict == VERDICT_ALLOW) return true;
    }
    return false;
}

static void call_any(struct caller *k)
{
    struct exchange *x = k->x;
    const struct board_entry *e = choose(k);
    if (e) {
        k->asked.device = arena_str(k->c.call.arena, e->device->name);
        k->asked.decision = relay_decide(x, k->asked.route, e->device->name, k->asked.function);
        send_to(k, &e->b);
        return;
    }
    if (one_is_away(k))
        err_set(&x->err, ERR_PICO_OFFLINE, "no board with this function is connected");
    else if (one_is_allowed(k))
        err_set(&x->err, ERR_PICO_UNKNOWN, "no board has this function");
    else if (k->asked.decision.verdict == VERDICT_LOGIN)
        err_set(&x->err, ERR_POLICY_LOGIN, "%s", reason_text(k->asked.decision.reason));
    else
        err_set(&x->err, ERR_POLICY_DENIED, "on no board");
    fail(k);
}

static void call_device(struct caller *k)
{
    struct exchange *x = k->x;
    struct relay_worker *r = x->worker->relay;
    const struct device *d = device_by_name(r->devices, k->asked.device);
    const struct board *b = d ? relay_board(r, d->id) : NULL;
    // What it had registered last tells a board that is away from a function that there is not. One that has
    // just come for the first time has said nothing yet.
    bool has = b && board_has(b, k->asked.function);
    bool unheard = !b || (!b->online && b->functions.n == 0);
    if (!d)
        err_set(&x->err, ERR_PICO_UNKNOWN, "there is no such board");
    else if (!has && !unheard)
        err_set(&x->err, ERR_PICO_UNKNOWN, "the board has no such function");
    else if (unheard || !b->online)
        err_set(&x->err, ERR_PICO_OFFLINE, "the board is not connected");
    if (x->err.code == ERR_NONE)
        send_to(k, b);
    else
        fail(k);
}

// --- the request

static int64_t limit_ms(const struct pico *p, struct str function)
{
    for (size_t i = 0; i < p->ntimeouts; i++)
        if (str_eq(p->timeouts[i].function, function)) return p->timeouts[i].seconds * 1000;
    return p->call_timeout * 1000;
}

static struct str lower_case(struct arena *a, struct str s)
{
    char *copy = s.p ? arena_alloc(a, s.n + 1) : NULL;
    for (size_t i = 0; copy && i < s.n; i++) copy[i] = ascii_lower(s.p[i]);
    return (struct str){ copy, copy ? s.n : 0 };
}

static void fill_call(struct caller *k, struct arena *a, const struct asked *asked)
{
    const struct identity *id = &k->x->session.identity;
    struct relay_call *call = &k->c.call;
    call->arena = a;
    k->asked = *asked;
    k->asked.device = arena_str(a, asked->device);
    k->asked.function = call->function = arena_str(a, asked->function);
    call->user = arena_printf(a, "%.*s %.*s", STR_FMT(id->provider), STR_FMT(id->subject));
    call->limit_ms = limit_ms(&asked->route->target->pico, asked->function);
    k->user = arena_str(a, identity_label(id));
    k->c.email = lower_case(a, identity_email(id));
    memcpy(k->c.session, k->x->session.id, SESSION_ID_BYTES);
}

static struct caller *caller_new(struct exchange *x, const struct asked *asked)
{
    struct arena *a = arena_new_small(CALL_ARENA, 2048);
    struct caller *k = a ? arena_alloc(a, sizeof *k) : NULL;
    if (k) {
        k->x = x;
        k->c.home = x->worker->relay;
        k->began_ms = x->worker->loop.now_ms;
        memcpy(k->request_id, x->request_id, sizeof k->request_id);
        snprintf(k->address, sizeof k->address, "%.*s", STR_FMT(x->client));
        fill_call(k, a, asked);
        if (!arena_failed(a)) return k;
    }
    arena_free(a);
    return NULL;
}

static void on_json(struct exchange *x, struct str body, void *context)
{
    const struct asked *asked = context;
    struct caller *k = caller_new(x, asked);
    if (!k) {
        err_set(&x->err, ERR_NO_MEMORY, "a call");
        refuse_call(x, asked);
        return;
    }
    struct relay_call *call = &k->c.call;
    size_t max = (size_t)asked->route->target->pico.max_arguments;
    if (!message_arguments(call->arena, body, max, &call->args, &call->kwargs, &x->err))
        fail(k);
    else if (str_eq_c(k->asked.device, "any"))
        call_any(k);
    else
        call_device(k);
}

static void on_no_body(struct exchange *x, void *context)
{
    struct err why = x->err;
    if (why.code == ERR_TOO_LARGE) err_set(&x->err, ERR_PICO_ARGUMENTS_LARGE, "%s", why.detail);
    refuse_call(x, context);
}

static bool is_json(const struct exchange *x)
{
    struct str type = http_fields_value(&x->req.fields, FIELD_CONTENT_TYPE);
    return http_media_type_is(type, "application/json");
}

static bool is_allowed(struct exchange *x, const struct asked *a)
{
    if (!x->has_session) // whatever policy says: nobody calls a board without a name
        return err_set(&x->err, ERR_POLICY_LOGIN, "not logged in");
    if (str_eq_c(a->device, "any") || a->decision.verdict == VERDICT_ALLOW) return true;
    enum err_code code = a->decision.verdict == VERDICT_LOGIN ? ERR_POLICY_LOGIN : ERR_POLICY_DENIED;
    return err_set(&x->err, code, "%s", reason_text(a->decision.reason));
}

// A form of another site cannot have this type, and a script there is asked by its browser first (CORS).
static bool may_call(struct exchange *x, const struct asked *a)
{
    if (!str_eq_c(x->req.method, "POST")) {
        answer_add(x, "Allow", STR("POST"));
        return err_set(&x->err, ERR_METHOD_NOT_ALLOWED, "a call is a POST");
    }
    if (!same_site_is(x)) return err_set(&x->err, ERR_LOGIN_CROSS_SITE, "a call from another site");
    if (!is_allowed(x, a)) return false;
    return is_json(x) || err_set(&x->err, ERR_PICO_ARGUMENTS, "the body is not application/json");
}

void call_refuse(struct exchange *x)
{
    err_set(&x->err, ERR_PICO_UNKNOWN, "no board and no function can have such a name");
    refuse(x);
}

void call_serve(struct exchange *x, const struct route *route, struct str device, struct str function)
{
    size_t max = (size_t)route->target->pico.max_arguments * BODY_ESCAPES + BODY_SPARE;
    struct asked local = { route, device, function, { 0 } }, *a = arena_alloc(x->arena, sizeof *a);
    if (!str_eq_c(device, "any")) local.decision = relay_decide(x, route, device, function);
    x->route = route;
    x->decision = local.decision;
    if (!a) err_set(&x->err, ERR_NO_MEMORY, "a call");
    if (!a || !may_call(x, &local)) {
        refuse_call(x, &local);
        return;
    }
    *a = local;
    struct whole_body_reader reader = { .done = on_json, .failed = on_no_body, .context = a };
    whole_body_read(x, max, &reader);
}
