// SPDX-License-Identifier: GPL-3.0-or-later
// Frames on their way to a board. Each is kept whole, because a board reads a frame right only if it comes in
// one TLS record; so the owner gets one at a time. What waits here are answers and control frames: calls
// become frames only when nothing else waits (link_calls.c).
#include "relay/link_internal.h"

#include "base/mem.h"

enum { CLOSE_FRAME_BYTES = 2 + 125 };

static struct out_frame *frame_new(size_t room)
{
    struct out_frame *f = mem_alloc(sizeof *f + room);
    if (f) *f = (struct out_frame){ .n = 0 };
    return f;
}

static void append(struct link *l, struct out_frame *f)
{
    if (!l->first) l->out_ms = l->now_ms;
    *l->end = f;
    l->end = &f->next;
    l->out_bytes += sizeof *f + f->n;
}

static void remove_first(struct link *l)
{
    struct out_frame *f = l->first;
    l->first = f->next;
    if (!l->first) l->end = &l->first;
    l->out_bytes -= sizeof *f + f->n;
    l->out_ms = l->now_ms;
    mem_free(f);
}

bool output_fits(const struct link *l, size_t n)
{
    return n + FRAME_HEAD_BYTES <= l->settings.output_max;
}

bool output_frame(struct link *l, enum frame_opcode opcode, struct str payload)
{
    if (l->state != LINK_OPEN) return false;
    size_t room = payload.n + FRAME_HEAD_BYTES;
    if (l->out_bytes + sizeof(struct out_frame) + room > LIMIT_PICO_OUTPUT_BYTES) {
        struct err why;
        err_set(&why, ERR_UPLINK_OUTPUT, "%zu bytes wait for the board", l->out_bytes);
        link_shut(l, STR_NONE, WS_POLICY, &why);
        return false;
    }
    struct out_frame *f = frame_new(room);
    if (f) f->n = frame_write(f->bytes, room, opcode, payload);
    if (!f || f->n == 0) {
        mem_free(f);
        link_shut_no_memory(l);
        return false;
    }
    append(l, f);
    return true;
}

void output_farewell(struct link *l, struct str text, uint16_t code)
{
    struct out_frame *f = text.p ? frame_new(text.n + FRAME_HEAD_BYTES) : NULL;
    if (f) {
        f->n = frame_write(f->bytes, text.n + FRAME_HEAD_BYTES, FRAME_TEXT, text);
        append(l, f);
    }
    f = frame_new(CLOSE_FRAME_BYTES);
    if (!f) return;
    f->n = frame_write_close(f->bytes, CLOSE_FRAME_BYTES, code, STR(""));
    append(l, f);
}

// Whoever takes nothing is as dead as who says nothing: its calls would wait for nothing.
int64_t output_due(const struct link *l)
{
    return l->first ? l->out_ms + l->settings.dead_ms : INT64_MAX;
}

void output_drop(struct link *l)
{
    struct out_frame *kept = l->in_hand ? l->first : NULL, *f = kept ? kept->next : l->first;
    l->out_bytes = kept ? sizeof *kept + kept->n : 0;
    l->first = kept;
    l->end = kept ? &kept->next : &l->first;
    *l->end = NULL;
    while (f) {
        struct out_frame *next = f->next;
        mem_free(f);
        f = next;
    }
}

void output_free(struct link *l)
{
    while (l->first) remove_first(l);
}

struct str link_output(struct link *l)
{
    if (l->state == LINK_OPEN) calls_send(l);
    if (l->state == LINK_CLOSED || !l->first) return STR_NONE;
    l->in_hand = true;
    return (struct str){ l->first->bytes, l->first->n };
}

void link_sent(struct link *l)
{
    if (!l->in_hand) return;
    l->in_hand = false;
    remove_first(l);
    if (l->state == LINK_CLOSING && !l->first) l->state = LINK_CLOSED;
}
