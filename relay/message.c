// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay/message.h"

#include <string.h>

#include "base/limits.h"
#include "relay/json.h"
#include "relay/json_text.h"

enum {
    ID_MAX = 128,
    VERSION_MIN = 5, // of the uplink library; with one below 7 Anvil's server is "using a deprecated version"
    VERSION_NEW = 7,
    // What is written here was in a message, and an escape has six bytes.
    TEXT_MAX = 8 * LIMIT_PICO_MESSAGE_BYTES,
};

static struct str member(const json_t *object, const char *name)
{
    return relay_json_str(json_object_get(object, name));
}

static bool member_is(const json_t *object, const char *name, const char *value)
{
    return str_eq_c(member(object, name), value);
}

// A board's integers have any size, jansson's 64 bits: longer ones become the nearest double, which is what a
// browser would make of them.
static json_t *read_tree(struct arena *a, struct str text, json_error_t *e, bool *no_memory)
{
    json_t *tree = relay_json_read(a, text, JSON_ALLOW_NUL, e, no_memory);
    if (tree || *no_memory || json_error_code(e) != json_error_numeric_overflow) return tree;
    return relay_json_read(a, text, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, e, no_memory);
}

// NULL: err says why, ERR_NO_MEMORY or ERR_UPLINK_MESSAGE.
static const json_t *read_object(struct arena *a, struct str text, struct err *err)
{
    json_error_t e = { .position = 0 };
    bool no_memory = false;
    const json_t *tree = NULL;
    if (relay_json_deeper(text, LIMIT_PICO_DEPTH)) {
        err_set(err, ERR_UPLINK_MESSAGE, "JSON nested deeper than %d", LIMIT_PICO_DEPTH);
        return NULL;
    }
    tree = read_tree(a, text, &e, &no_memory);
    if (no_memory) err_set(err, ERR_NO_MEMORY, "reading a message");
    // The parser's own words may quote the input, and with it a key.
    else if (!tree)
        err_set(err, ERR_UPLINK_MESSAGE, "no JSON, or a member twice (byte %d)", e.position);
    else if (!json_is_object(tree))
        err_set(err, ERR_UPLINK_MESSAGE, "JSON that is no object");
    return json_is_object(tree) ? tree : NULL;
}

// What the id of a broken text is made of: no escapes, nothing that a reader could take differently.
static bool id_char(char c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool skip_token(struct str *rest, struct str token)
{
    while (rest->n > 0 && strchr(" \t\r\n", rest->p[0]) && rest->p[0]) *rest = str_skip(*rest, 1);
    if (!str_starts(*rest, token)) return false;
    *rest = str_skip(*rest, token.n);
    return true;
}

// `{"id": "...",` at the very beginning, and nowhere else: what follows is the board's, and a string in its
// answer could hold the id of another call.
static struct str salvage_id(struct arena *a, struct str text)
{
    if (!skip_token(&text, STR("{")) || !skip_token(&text, STR("\"id\"")) || !skip_token(&text, STR(":")) ||
        !skip_token(&text, STR("\"")))
        return STR_NONE;
    size_t n = 0;
    while (n < text.n && id_char(text.p[n])) n++;
    if (n == 0 || n > ID_MAX) return STR_NONE;
    struct str id = str_take(text, n), rest = str_skip(text, n);
    if (!str_starts(rest, STR("\"")) || !(rest = str_skip(rest, 1), skip_token(&rest, STR(","))))
        return STR_NONE;
    return arena_str(a, id);
}

// One that is there is a string of a sensible length.
static bool check_id(const json_t *object, struct err *err)
{
    const json_t *id = json_object_get(object, "id");
    size_t n = json_string_length(id);
    if (!id || json_is_null(id) || (json_is_string(id) && n > 0 && n <= ID_MAX)) return true;
    return err_set(err, ERR_UPLINK_MESSAGE, "an id that is no string of at most %d bytes", ID_MAX);
}

// Serialised objects stand for what the plain JSON says null for: without them an answer is not what the
// function returned. A call that has them is answered all the same, else the board waits for ever.
static bool check_objects(const json_t *object, struct err *err)
{
    const json_t *objects = json_object_get(object, "objects");
    bool list = json_is_array(objects) || json_is_object(objects);
    bool empty = !objects || json_is_null(objects) ||
                 (list && json_array_size(objects) + json_object_size(objects) == 0);
    if (empty || member_is(object, "type", "CALL")) return true;
    return err_set(err, ERR_UPLINK_MESSAGE, "a message with serialised objects");
}

// Readers differ in what they look for first.
static bool check_one_meaning(const json_t *object, struct err *err)
{
    int meanings = member_is(object, "type", "CALL") + member_is(object, "type", "REGISTER");
    meanings += json_object_get(object, "key") != NULL;
    meanings += json_object_get(object, "response") != NULL;
    meanings += json_object_get(object, "error") != NULL;
    if (meanings <= 1) return true;
    return err_set(err, ERR_UPLINK_MESSAGE, "a message with several meanings");
}

static void read_login(const json_t *object, struct message *m)
{
    double version = json_number_value(json_object_get(object, "v")); // 0 when it is no number
    m->kind = MESSAGE_LOGIN;
    m->key = member(object, "key");
    m->device = member(object, "device");
    m->version_ok = version >= VERSION_MIN;
    m->version_old = m->version_ok && version < VERSION_NEW;
}

static struct str json_text(struct arena *a, const json_t *value)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    relay_json_add(&b, value);
    return sbuf_str(&b);
}

static void read_call(struct arena *a, const json_t *object, struct message *m)
{
    const json_t *first = json_array_get(json_object_get(object, "args"), 0);
    m->kind = MESSAGE_CALL;
    m->command = member(object, "command");
    m->call_stack_id = member(object, "call-stack-id");
    m->echo = first ? json_text(a, first) : STR("null");
}

// Not in the middle of a character.
static struct str cut_text(struct str text)
{
    size_t n = LIMIT_PICO_ERROR_BYTES;
    if (text.n <= n) return text;
    while (n > 0 && ((uint8_t)text.p[n] & 0xC0) == 0x80) n--;
    return str_take(text, n);
}

static void read_error(const json_t *object, struct message *m)
{
    const json_t *e = json_object_get(object, "error");
    m->kind = MESSAGE_ERROR;
    m->error_type = cut_text(member(e, "type"));
    m->error_message = cut_text(json_is_string(e) ? relay_json_str(e) : member(e, "message"));
}

static void read_answer(struct arena *a, const json_t *object, struct message *m)
{
    const json_t *response = json_object_get(object, "response");
    if (!m->id.p) return; // nobody's
    if (!response) {
        read_error(object, m);
        return;
    }
    m->kind = MESSAGE_RESULT;
    m->response = json_text(a, response);
}

static void read_members(struct arena *a, const json_t *object, struct message *m)
{
    if (member_is(object, "type", "CALL")) {
        read_call(a, object, m);
    } else if (member_is(object, "type", "REGISTER")) {
        m->kind = MESSAGE_REGISTER;
        m->name = member(object, "name");
    } else if (json_object_get(object, "key")) {
        read_login(object, m);
    } else if (json_object_get(object, "response") || json_object_get(object, "error")) {
        read_answer(a, object, m);
    }
}

static struct message read_message(struct arena *a, struct str text, struct err *err)
{
    struct message m = { .kind = MESSAGE_BROKEN };
    const json_t *object = read_object(a, text, err);
    if (!object) {
        m.id = salvage_id(a, text);
        return m;
    }
    if (!check_id(object, err)) return m;
    m.id = member(object, "id");
    if (!check_objects(object, err) || !check_one_meaning(object, err)) return m;
    m.kind = MESSAGE_OTHER;
    read_members(a, object, &m);
    return m;
}

bool message_parse(struct arena *a, struct str text, struct message *ret, struct err *err)
{
    struct err why = { .code = ERR_NONE };
    struct message m = read_message(a, text, &why);
    if (why.code == ERR_NO_MEMORY || arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading a message");
    if (m.kind == MESSAGE_BROKEN) *err = why;
    *ret = m;
    return true;
}
