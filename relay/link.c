// SPDX-License-Identifier: GPL-3.0-or-later
// The life of a link: frames that arrive, the clocks, the end.
#include "relay/link_internal.h"

#include "base/mem.h"

enum { CLOSING_MS = 1000 }; // in which the last frames must be taken

struct link *link_new(const struct link_settings *s, const struct link_owner *owner, void *context,
                      int64_t now_ms)
{
    struct link *l = mem_calloc(1, sizeof *l);
    struct frame_reader *reader = frame_reader_new(LIMIT_PICO_MESSAGE_BYTES);
    if (!l || !reader) {
        frame_reader_free(reader);
        mem_free(l);
        return NULL;
    }
    l->settings = *s;
    l->owner = owner;
    l->context = context;
    l->reader = reader;
    l->now_ms = l->messages.at_ms = l->bytes.at_ms = now_ms;
    l->due_ms = now_ms + s->login_ms;
    l->end = &l->first;
    return l;
}

void link_free(struct link *l)
{
    if (!l) return;
    link_gone(l, l->now_ms);
    for (size_t i = 0; i < l->nfunctions; i++) mem_free((char *)l->functions[i].p);
    output_free(l);
    frame_reader_free(l->reader);
    mem_free(l);
}

// --- the end

static void begin_closing(struct link *l, const struct err *why)
{
    l->state = LINK_CLOSING;
    l->due_ms = l->now_ms + CLOSING_MS;
    l->owner->closing(l->context, why);
    calls_lose(l, why);
}

void link_shut(struct link *l, struct str text, uint16_t code, const struct err *why)
{
    if (l->state >= LINK_CLOSING) return;
    output_drop(l);
    output_farewell(l, text, code);
    begin_closing(l, why);
    if (!l->first) l->state = LINK_CLOSED;
    link_settle(l);
}

void link_shut_no_memory(struct link *l)
{
    struct err why;
    err_set(&why, ERR_NO_MEMORY, "for a message");
    link_shut(l, STR_NONE, WS_FAILED, &why);
}

void link_violates(struct link *l, uint16_t code, enum err_code reason, const char *detail)
{
    struct err why;
    err_set(&why, reason, "%s", detail);
    link_shut(l, STR_NONE, code, &why);
}

void link_close(struct link *l, uint16_t code, const struct err *why, int64_t now_ms)
{
    l->now_ms = now_ms;
    link_shut(l, STR_NONE, code, why);
}

void link_gone(struct link *l, int64_t now_ms)
{
    struct err why;
    l->now_ms = now_ms;
    output_drop(l);
    err_set(&why, ERR_UPLINK_CLOSED, "the connection ended");
    if (l->state < LINK_CLOSING) begin_closing(l, &why);
    l->state = LINK_CLOSED;
    link_settle(l);
}

void link_drain(struct link *l, int64_t now_ms)
{
    l->now_ms = now_ms;
    l->draining = true;
    if (l->state == LINK_WAITING) link_violates(l, WS_GOING_AWAY, ERR_DRAINING, "before the login");
    link_settle(l); // closes a link that has no calls
}

// --- frames

static void board_closes(struct link *l, uint16_t code)
{
    struct err why;
    err_set(&why, ERR_UPLINK_CLOSED, "the board closed it with code %u", code);
    link_shut(l, STR_NONE, code == WS_NO_CODE ? WS_NORMAL : code, &why);
}

// `level` rises with what comes and falls by `per_second` a second. False above `burst`.
static bool pour(struct bucket *b, int64_t now_ms, size_t n, int64_t burst, int64_t per_second)
{
    b->level -= (now_ms - b->at_ms) * per_second;
    if (b->level < 0) b->level = 0;
    b->at_ms = now_ms;
    b->level += (int64_t)n * MESSAGE_COST;
    return b->level <= burst * MESSAGE_COST;
}

static bool is_listening(const struct link *l)
{
    return l->state == LINK_WAITING || l->state == LINK_OPEN;
}

static void take_frame(struct link *l, const struct frame *f)
{
    l->heard_ms = l->now_ms;
    if (!pour(&l->messages, l->now_ms, 1, LIMIT_PICO_MESSAGES_BURST, LIMIT_PICO_MESSAGES_PER_SECOND)) {
        link_violates(l, WS_POLICY, ERR_UPLINK_FLOOD, "more messages than are accepted");
        return;
    }
    switch (f->opcode) {
    case FRAME_TEXT: link_take_text(l, f->payload); return;
    case FRAME_BINARY: link_take_binary(l); return;
    case FRAME_CLOSE: board_closes(l, f->close_code); return;
    case FRAME_PONG: return;
    // Before the login nothing but its reply may go out: anvil.pico takes the first frame for it.
    case FRAME_PING:
        if (l->state == LINK_OPEN) output_frame(l, FRAME_PONG, f->payload);
        return;
    }
}

static void bad_frame(struct link *l, const struct err *why)
{
    uint16_t code = why->code == ERR_UPLINK_TOO_LARGE ? WS_TOO_LARGE
                    : why->code == ERR_NO_MEMORY      ? WS_FAILED
                                                      : WS_PROTOCOL;
    link_shut(l, STR_NONE, code, why);
}

// When the frame or message that is not whole yet has begun. A control frame between two fragments does not
// start the clock anew.
static void note_partial(struct link *l)
{
    bool partial = frame_is_partial(l->reader);
    if (partial && !l->partial) l->partial_ms = l->now_ms;
    l->partial = partial;
}

static void read_frames(struct link *l, struct str bytes)
{
    struct frame f;
    struct err why;
    while (is_listening(l)) {
        enum frame_event event = frame_read(l->reader, &bytes, &f, &why);
        note_partial(l);
        if (event == FRAME_BAD) bad_frame(l, &why);
        if (event != FRAME_MESSAGE) return;
        take_frame(l, &f);
    }
}

// --- clocks

static bool frame_is_late(const struct link *l)
{
    return l->partial && l->now_ms - l->partial_ms >= l->settings.frame_ms;
}

// What is late although bytes are here now. Silence is not among it.
static void look_at_limits(struct link *l)
{
    struct err why;
    if (l->state == LINK_CLOSING && l->now_ms >= l->due_ms) link_gone(l, l->now_ms);
    if (l->state == LINK_WAITING && l->now_ms >= l->due_ms) {
        err_set(&why, ERR_UPLINK_LOGIN, "no login within %lld ms", (long long)l->settings.login_ms);
        login_refuse(l, &why);
    }
    if (is_listening(l) && frame_is_late(l))
        link_violates(l, WS_POLICY, ERR_UPLINK_SLOW, "a frame was not completed in time");
    calls_expire(l);
    link_settle(l);
}

void link_receive(struct link *l, struct str bytes, int64_t now_ms)
{
    l->now_ms = now_ms;
    look_at_limits(l);
    if (!is_listening(l)) return;
    if (pour(&l->bytes, now_ms, bytes.n, LIMIT_PICO_BYTES_BURST, LIMIT_PICO_BYTES_PER_SECOND))
        read_frames(l, bytes);
    else
        link_violates(l, WS_POLICY, ERR_UPLINK_FLOOD, "more bytes than are accepted");
    link_settle(l);
}

void link_tick(struct link *l, int64_t now_ms)
{
    l->now_ms = now_ms;
    look_at_limits(l);
    if (l->state != LINK_OPEN) return;
    if (now_ms - l->heard_ms >= l->settings.dead_ms) {
        link_violates(l, WS_POLICY, ERR_UPLINK_SILENT, "no frame came");
    } else if (now_ms >= output_due(l)) {
        link_violates(l, WS_POLICY, ERR_UPLINK_OUTPUT, "it took no frame");
    } else if (now_ms >= l->ping_ms) {
        l->ping_ms = now_ms + l->settings.ping_ms;
        if (output_frame(l, FRAME_PING, STR(""))) l->counts.pings++;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t link_due(const struct link *l)
{
    int64_t due = INT64_MAX;
    if (l->state == LINK_CLOSED) return due;
    if (l->state != LINK_OPEN) due = l->due_ms;
    if (is_listening(l) && l->partial) due = earlier(due, l->partial_ms + l->settings.frame_ms);
    if (l->state != LINK_OPEN) return due;
    due = earlier(due, earlier(l->ping_ms, l->heard_ms + l->settings.dead_ms));
    return earlier(due, earlier(output_due(l), calls_due(l)));
}

// --- questions

enum link_state link_state(const struct link *l)
{
    return l->state;
}

const struct device *link_device(const struct link *l)
{
    return l->device;
}

void link_device_moved(struct link *l, const struct device *d)
{
    l->device = d;
}

struct strlist link_functions(const struct link *l)
{
    return (struct strlist){ (struct str *)l->functions, l->nfunctions };
}

struct link_counts link_counts(const struct link *l)
{
    return l->counts;
}
