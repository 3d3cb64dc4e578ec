// SPDX-License-Identifier: GPL-3.0-or-later
// What the messages of a board do: its login, the names of its functions, what it asks, what it answers.
#include "relay/link_internal.h"

#include <string.h>

#include "base/mem.h"

// --- the login

// The text is what the board shows on its console.
void login_refuse(struct link *l, const struct err *why)
{
    struct arena *a = arena_new_small(MESSAGE_ARENA_BYTES, MESSAGE_FIRST_BYTES);
    struct str text = a ? message_login_failed(a, err_text(why->code)) : STR_NONE;
    link_shut(l, text, WS_POLICY, why);
    arena_free(a);
}

static bool is_login(const struct message *m, struct err *err)
{
    return m->kind == MESSAGE_LOGIN || err_set(err, ERR_UPLINK_LOGIN, "the first message is none");
}

// App Server 1.17: `v` is looked at before the key.
static bool version_is_new(const struct message *m, struct err *err)
{
    return m->version_ok || err_set(err, ERR_UPLINK_VERSION, "the version is below 5");
}

static bool key_is_known(struct link *l, const struct message *m, struct err *err)
{
    err_set(err, ERR_UPLINK_KEY, "the key is no string");
    if (m->key.p) l->device = l->owner->login(l->context, m->key, err);
    return l->device;
}

static void open_link(struct link *l, struct arena *a, bool old)
{
    struct str reply = message_login_ok(a);
    if (l->state != LINK_WAITING) return; // the owner closed it at the sight of the key
    l->state = LINK_OPEN;
    l->ping_ms = l->now_ms + l->settings.ping_ms;
    if (!reply.p) link_shut_no_memory(l);
    if (!output_frame(l, FRAME_TEXT, reply)) return;
    if (old)
        output_frame(l, FRAME_TEXT,
                     STR("{\"output\":\"You are using a deprecated version of the uplink library. "
                         "Please use 'pip install --upgrade anvil-uplink' to get a new one.\"}"));
    if (l->state == LINK_OPEN) l->owner->opened(l->context);
}

static void login(struct link *l, struct arena *a, const struct message *m)
{
    struct err why;
    if (is_login(m, &why) && version_is_new(m, &why) && key_is_known(l, m, &why))
        open_link(l, a, m->version_old);
    else
        login_refuse(l, &why);
}

// --- registrations

// Told once for each reason, counted always: a board may try as often as its rate lets it.
static void refuse_name(struct link *l, struct str name, bool *told, const struct err *why)
{
    l->counts.names_refused++;
    if (*told) return;
    *told = true;
    l->owner->name_refused(l->context,
                           str_take(name, name.n < FUNCTION_NAME_BYTES ? name.n : FUNCTION_NAME_BYTES), why);
}

static bool keep_name(struct link *l, struct str name)
{
    char *p = mem_alloc(name.n);
    if (!p) return false;
    memcpy(p, name.p, name.n);
    l->functions[l->nfunctions++] = (struct str){ p, name.n };
    return true;
}

static void register_name(struct link *l, struct str name)
{
    struct err why;
    if (!device_may_register(l->device, name)) {
        err_set(&why, ERR_UPLINK_NAME, "%s",
                function_name_valid(name) ? "the key does not allow it" : "no function can have this name");
        refuse_name(l, name, &l->told_name, &why);
    } else if (strlist_has(link_functions(l), name)) {
        return; // App Server counts such a function twice; here a board has it or has it not
    } else if (l->nfunctions == LIMIT_PICO_FUNCTIONS) {
        err_set(&why, ERR_UPLINK_NAMES, "more than %d", LIMIT_PICO_FUNCTIONS);
        refuse_name(l, name, &l->told_names, &why);
    } else if (!keep_name(l, name)) {
        link_shut_no_memory(l);
    } else {
        l->owner->registered(l->context, l->functions[l->nfunctions - 1]);
    }
}

// --- what the board asks

// Only who made a call that this very board works on at this moment.
static struct str email_of(struct link *l, struct arena *a, const struct message *m)
{
    struct relay_call *c = calls_pending(l, m->call_stack_id);
    struct str email = c ? l->owner->caller_email(l->context, c) : STR_NONE;
    l->counts.lookups++;
    return email.p ? message_string(a, email) : STR("null");
}

static struct str answer_to(struct link *l, struct arena *a, const struct message *m)
{
    if (str_eq_c(m->command, "anvil.private.echo")) return message_response(a, m->id, m->echo);
    if (str_eq_c(m->command, "anvil.private.users.get_current_user_email")) {
        struct str email = email_of(l, a, m);
        return email.p ? message_response(a, m->id, email) : STR_NONE;
    }
    return message_error(a, m->id, "Boards cannot call functions here.");
}

// Each call is answered, for the board would wait for ever. An error always fits: message_parse lets no long
// id through.
static void board_calls(struct link *l, struct arena *a, const struct message *m)
{
    if (!m->id.p) {
        l->counts.unknown++;
        return;
    }
    struct str text = answer_to(l, a, m);
    if (text.p && !output_fits(l, text.n)) text = message_error(a, m->id, "The answer is too large.");
    if (text.p)
        output_frame(l, FRAME_TEXT, text);
    else
        link_shut_no_memory(l);
}

// --- messages

static void broken(struct link *l, const struct message *m, const struct err *why)
{
    l->counts.broken++;
    calls_broken(l, m, why);
    if (++l->broken < LIMIT_PICO_BROKEN) return;
    link_violates(l, WS_NOT_UTF8, ERR_UPLINK_MESSAGE, why->detail);
}

static void message(struct link *l, struct arena *a, const struct message *m, const struct err *why)
{
    if (m->kind == MESSAGE_BROKEN) {
        broken(l, m, why);
        return;
    }
    l->broken = 0;
    switch (m->kind) {
    case MESSAGE_REGISTER: register_name(l, m->name); return;
    case MESSAGE_CALL: board_calls(l, a, m); return;
    case MESSAGE_RESULT:
    case MESSAGE_ERROR: calls_answered(l, m); return;
    default: l->counts.unknown++; return;
    }
}

void link_take_text(struct link *l, struct str text)
{
    struct err why;
    struct message m;
    struct arena *a = arena_new_small(MESSAGE_ARENA_BYTES, MESSAGE_FIRST_BYTES);
    if (!a || !message_parse(a, text, &m, &why))
        link_shut_no_memory(l);
    else if (l->state == LINK_WAITING)
        login(l, a, &m);
    else
        message(l, a, &m, &why);
    arena_free(a);
}

void link_take_binary(struct link *l)
{
    struct message none = { .kind = MESSAGE_BROKEN };
    struct err why;
    err_set(&why, l->state == LINK_WAITING ? ERR_UPLINK_LOGIN : ERR_UPLINK_MESSAGE, "a binary message");
    if (l->state == LINK_WAITING)
        login_refuse(l, &why);
    else
        broken(l, &none, &why);
}
