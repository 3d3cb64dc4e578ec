// SPDX-License-Identifier: GPL-3.0-or-later
// The head of a frame is collected here and checked before wslay sees it: wslay reports a frame with the
// first byte of its payload only, does not ask for a mask, takes any RSV bit and opcode, and knows nothing of
// messages. It does check what control frames may be and that a length has its shortest form, and it unmasks.
#include "relay/frame.h"

#include <string.h>
#include <wslay/wslay.h>

#include "base/mem.h"

enum {
    HEAD_START = 2, // opcode and first length
    HEAD_MAX = 14,  // with a length of 64 bits and a mask
    MASK_BYTES = 4,
    CONTROL_MAX = 125,
    BUFFER_MIN = 256,
    NO_CODE = 1005, // RFC 6455 section 7.1.5
};

struct frame_reader {
    wslay_frame_context_ptr wslay;
    size_t max;
    bool bad;

    // The frame that is being read.
    uint8_t head[HEAD_MAX];
    size_t nhead, head_given; // taken; passed on to wslay
    bool head_done;
    uint64_t announced, given, got; // bytes of payload: by the head, passed on to wslay, back from it
    struct str *in;                 // what frame_read was called with

    // The message that its data frames make up.
    uint8_t message_opcode; // 0: none has begun
    char *message;
    size_t n, cap;
    bool returned; // the message is the caller's until the next call

    char control[CONTROL_MAX];
    size_t ncontrol;
};

static uint8_t frame_opcode(const struct frame_reader *r)
{
    return r->head[0] & 0x0f;
}

static bool is_control(const struct frame_reader *r)
{
    return wslay_is_ctrl_frame(frame_opcode(r));
}

static bool is_final(const struct frame_reader *r)
{
    return r->head[0] & 0x80;
}

// wslay asks for bytes: the head first, then what is there of the payload, and nothing of the next frame.
static ssize_t give(uint8_t *buf, size_t room, int flags, void *context)
{
    (void)flags;
    struct frame_reader *r = context;
    size_t n = r->nhead - r->head_given;
    if (n > 0) {
        if (n > room) n = room;
        memcpy(buf, r->head + r->head_given, n);
        r->head_given += n;
        return (ssize_t)n;
    }
    n = r->in->n < room ? r->in->n : room;
    if (n > r->announced - r->given) n = (size_t)(r->announced - r->given);
    if (n == 0) return -1;
    memcpy(buf, r->in->p, n);
    *r->in = str_skip(*r->in, n);
    r->given += n;
    return (ssize_t)n;
}

struct frame_reader *frame_reader_new(size_t max)
{
    static const struct wslay_frame_callbacks callbacks = { .recv_callback = give };
    struct frame_reader *r = mem_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->max = max;
    if (wslay_frame_context_init(&r->wslay, &callbacks, r) == 0) return r;
    mem_free(r);
    return NULL;
}

void frame_reader_free(struct frame_reader *r)
{
    if (!r) return;
    wslay_frame_context_free(r->wslay);
    mem_free(r->message);
    mem_free(r);
}

// RFC 6455 section 5.1: "a server MUST close the connection upon receiving a frame that is not masked".
static bool check_mask(const struct frame_reader *r, struct err *err)
{
    if (r->head[1] & 0x80) return true;
    return err_set(err, ERR_UPLINK_FRAME, "a frame that is not masked");
}

// Section 5.2: RSV bits "MUST be 0 unless an extension is negotiated"; none is.
static bool check_rsv(const struct frame_reader *r, struct err *err)
{
    if ((r->head[0] & 0x70) == 0) return true;
    return err_set(err, ERR_UPLINK_FRAME, "a frame with RSV bits");
}

// Section 5.2: 3-7 and B-F are reserved.
static bool check_opcode(const struct frame_reader *r, struct err *err)
{
    uint8_t opcode = frame_opcode(r);
    if (opcode <= WSLAY_BINARY_FRAME || (opcode >= WSLAY_CONNECTION_CLOSE && opcode <= WSLAY_PONG))
        return true;
    return err_set(err, ERR_UPLINK_FRAME, "a frame of the reserved opcode %u", opcode);
}

// Section 5.4: the fragments of a message follow each other, with control frames between them at most.
static bool check_sequence(const struct frame_reader *r, struct err *err)
{
    if (is_control(r)) return true;
    bool continuation = frame_opcode(r) == WSLAY_CONTINUATION_FRAME;
    if (continuation == (r->message_opcode != 0)) return true;
    return err_set(err, ERR_UPLINK_FRAME, "%s",
                   continuation ? "a continuation of no message" : "a message within another one");
}

static bool check_start(const struct frame_reader *r, struct err *err)
{
    return check_mask(r, err) && check_rsv(r, err) && check_opcode(r, err) && check_sequence(r, err);
}

static size_t length_bytes(const struct frame_reader *r)
{
    uint8_t first = r->head[1] & 0x7f;
    return first == 127 ? 8 : first == 126 ? 2 : 0;
}

static uint64_t announced_length(const struct frame_reader *r)
{
    size_t n = length_bytes(r);
    if (n == 0) return r->head[1] & 0x7f;
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | r->head[HEAD_START + i];
    return v;
}

// Section 5.2: of 64 bits "the most significant bit MUST be 0".
static bool check_top_bit(const struct frame_reader *r, struct err *err)
{
    if (r->announced >> 63 == 0) return true;
    return err_set(err, ERR_UPLINK_FRAME, "a frame with a negative length");
}

static bool check_total(const struct frame_reader *r, struct err *err)
{
    if (is_control(r) || r->announced <= r->max - r->n) return true;
    return err_set(err, ERR_UPLINK_TOO_LARGE, "a message of more than %zu bytes", r->max);
}

// Takes bytes of the head, as many as there are, and checks what they say.
static bool take_head(struct frame_reader *r, struct str *in, struct err *err)
{
    while (!r->head_done && in->n > 0) {
        r->head[r->nhead++] = (uint8_t)in->p[0];
        *in = str_skip(*in, 1);
        if (r->nhead < HEAD_START) continue;
        if (r->nhead == HEAD_START && !check_start(r, err)) return false;
        if (r->nhead < HEAD_START + length_bytes(r) + MASK_BYTES) continue;
        r->announced = announced_length(r);
        r->head_done = true;
        return check_top_bit(r, err) && check_total(r, err);
    }
    return true;
}

// Memory follows the bytes that came, not the length that was announced.
static bool message_room(struct frame_reader *r, size_t n)
{
    if (n <= r->cap - r->n) return true;
    size_t cap = r->cap ? 2 * r->cap : BUFFER_MIN;
    while (cap < r->n + n) cap *= 2;
    if (cap > r->max) cap = r->max;
    char *p = mem_realloc(r->message, cap);
    if (!p) return false;
    r->message = p;
    r->cap = cap;
    return true;
}

static bool add_payload(struct frame_reader *r, const struct wslay_frame_iocb *f, struct err *err)
{
    if (f->payload_length != r->announced || f->data_length > r->announced - r->got)
        return err_set(err, ERR_UPLINK_FRAME, "a frame that is read in two ways");
    r->got += f->data_length;
    if (f->data_length == 0) return true;
    if (is_control(r)) {
        if (f->data_length > sizeof r->control - r->ncontrol)
            return err_set(err, ERR_UPLINK_FRAME, "a control frame that is too long");
        memcpy(r->control + r->ncontrol, f->data, f->data_length);
        r->ncontrol += f->data_length;
        return true;
    }
    if (!message_room(r, f->data_length)) return err_set(err, ERR_NO_MEMORY, "reading a message");
    memcpy(r->message + r->n, f->data, f->data_length);
    r->n += f->data_length;
    return true;
}

// Passes on to wslay what is there: first the head, which it may refuse too.
static bool take_payload(struct frame_reader *r, struct str *in, bool *ret_whole, struct err *err)
{
    struct wslay_frame_iocb f;
    ssize_t n;
    r->in = in;
    while ((n = wslay_frame_recv(r->wslay, &f)) >= 0) {
        if (!add_payload(r, &f, err)) return false;
        if (r->got < r->announced) continue;
        *ret_whole = true;
        return true;
    }
    return n == WSLAY_ERR_WANT_READ ||
           err_set(err, ERR_UPLINK_FRAME, "a control frame or a length that is not allowed");
}

// Section 7.4: codes that may stand in a frame.
static bool close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != NO_CODE && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

// Section 5.5.1: a body begins with a code of two bytes, and a reason in UTF-8 may follow.
static bool read_close(struct frame *f, struct err *err)
{
    const uint8_t *p = (const uint8_t *)f->payload.p;
    f->close_code = NO_CODE;
    if (f->payload.n == 0) return true;
    unsigned code = f->payload.n >= 2 ? (unsigned)p[0] << 8 | p[1] : 0;
    if (!close_code_valid(code)) return err_set(err, ERR_UPLINK_FRAME, "a close frame with no valid code");
    f->close_code = (uint16_t)code;
    f->payload = str_skip(f->payload, 2);
    if (str_is_utf8(f->payload, false)) return true;
    return err_set(err, ERR_UPLINK_FRAME, "a close frame whose reason is not UTF-8");
}

static void frame_end(struct frame_reader *r)
{
    r->nhead = r->head_given = 0;
    r->head_done = false;
    r->announced = r->given = r->got = 0;
}

static bool finish_control(struct frame_reader *r, struct frame *ret, struct err *err)
{
    struct frame f = { .opcode = frame_opcode(r), .payload = { r->control, r->ncontrol } };
    frame_end(r);
    r->ncontrol = 0;
    if (f.opcode == FRAME_CLOSE && !read_close(&f, err)) return false;
    *ret = f;
    return true;
}

// Whether the message is complete with the frame that has just ended.
static bool finish_data(struct frame_reader *r, struct frame *ret)
{
    if (r->message_opcode == 0) r->message_opcode = frame_opcode(r);
    bool final = is_final(r);
    frame_end(r);
    if (!final) return false;
    struct str payload = { r->message ? r->message : "", r->n };
    *ret = (struct frame){ .opcode = r->message_opcode, .payload = payload };
    r->message_opcode = 0;
    r->n = 0;
    r->returned = true;
    return true;
}

static void take_back(struct frame_reader *r)
{
    if (!r->returned) return;
    mem_free(r->message);
    r->message = NULL;
    r->cap = 0;
    r->returned = false;
}

static enum frame_event bad(struct frame_reader *r)
{
    r->bad = true;
    return FRAME_BAD;
}

enum frame_event frame_read(struct frame_reader *r, struct str *in, struct frame *ret, struct err *err)
{
    take_back(r);
    if (r->bad) {
        err_set(err, ERR_UPLINK_FRAME, "bytes after a bad frame");
        return FRAME_BAD;
    }
    for (;;) {
        bool whole = false;
        if (!take_head(r, in, err)) return bad(r);
        if (!r->head_done) return FRAME_MORE;
        if (!take_payload(r, in, &whole, err)) return bad(r);
        if (!whole) return FRAME_MORE;
        if (is_control(r)) return finish_control(r, ret, err) ? FRAME_MESSAGE : bad(r);
        if (finish_data(r, ret)) return FRAME_MESSAGE;
    }
}

bool frame_is_partial(const struct frame_reader *r)
{
    return r->nhead > 0 || r->message_opcode != 0;
}

size_t frame_write(char *buf, size_t room, enum frame_opcode opcode, struct str payload)
{
    bool control = wslay_is_ctrl_frame((unsigned)opcode);
    size_t head = payload.n <= CONTROL_MAX ? 2 : FRAME_HEAD_BYTES;
    if (payload.n > (control ? CONTROL_MAX : UINT16_MAX) || head > room || payload.n > room - head) return 0;
    if (payload.n) memmove(buf + head, payload.p, payload.n);
    buf[0] = (char)(0x80 | opcode);
    buf[1] = (char)(head == 2 ? payload.n : 126);
    if (head > 2) {
        buf[2] = (char)(payload.n >> 8);
        buf[3] = (char)(payload.n & 0xff);
    }
    return head + payload.n;
}

size_t frame_write_close(char *buf, size_t room, uint16_t code, struct str reason)
{
    char payload[CONTROL_MAX] = { (char)(code >> 8), (char)(code & 0xff) };
    size_t n = reason.n;
    if (n > sizeof payload - 2) n = sizeof payload - 2;
    while (n > 0 && n < reason.n && ((uint8_t)reason.p[n] & 0xC0) == 0x80) n--; // at a character's end
    if (n) memcpy(payload + 2, reason.p, n);
    return frame_write(buf, room, FRAME_CLOSE, (struct str){ payload, 2 + n });
}
