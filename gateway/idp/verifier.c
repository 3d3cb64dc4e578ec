// SPDX-License-Identifier: GPL-3.0-or-later
// A slot is one verifier process' connection with at most one outstanding message:
//
//   (no fd) --attach--> IDLE --task--> [SETUP -->] [METADATA -->] TASK --reply--> IDLE
//
// At any time back to (no fd): at EOF, after nonsense, or without an answer in time. The task that was under
// way fails (login.crashed), and the supervisor is told.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/idp/private.h"
#include "gateway/process/control.h"

enum {
    ANSWER_MS = (LIMIT_VERIFY_SECONDS + 2) * 1000,
    QUEUE_MS = LIMIT_BACKCHANNEL_SECONDS * 1000,
    TASK_MEMORY = 3 * LIMIT_WIRE_BYTES + 8 * 1024 * 1024,
    REPLY_MEMORY = 4 * 1024 * 1024,
    REPLY_MAX = 2 * 1024 * 1024,
};

static void task_end(struct verify_task *t, const struct verify_reply *r)
{
    t->done(t, r);
    arena_free(t->arena);
    mem_free(t);
}

static void task_fail(struct verify_task *t, enum err_code code, const char *why)
{
    struct verify_reply r = { 0 };
    err_set(&r.err, code, "%s", why);
    task_end(t, &r);
}

bool verify_submit(struct idp *idp, struct verify_request *q, struct idp_provider *needs,
                   void (*done)(struct verify_task *, const struct verify_reply *), void *context,
                   struct err *err)
{
    struct idp_provider *checks = NULL;
    if (q->kind == VERIFY_SAML_METADATA) {
        checks = needs;
        needs = NULL;
    }
    struct verify_task *t = mem_calloc(1, sizeof *t);
    struct arena *a = arena_new(TASK_MEMORY);
    q->id = ++idp->next_id;
    q->now = wall_s();
    struct str payload = a && t ? verify_request_encode(a, q) : STR_NONE;
    if (!payload.p) {
        arena_free(a);
        mem_free(t);
        return err_set(err, ERR_NO_MEMORY, "a message for a verifier could not be made");
    }
    *t = (struct verify_task){ .frame_payload = payload,
                               .arena = a,
                               .needs = needs,
                               .checks = checks,
                               .id = q->id,
                               .give_up_at = mono_ms() + QUEUE_MS,
                               .done = done,
                               .context = context };
    *idp->tasks_tail = t;
    idp->tasks_tail = &t->next;
    return true;
}

// ---- one slot

static void slot_clear_buffers(struct verifier_slot *s)
{
    mem_free(s->out);
    mem_free(s->in);
    s->out = s->in = NULL;
    s->out_n = s->out_done = s->in_n = s->in_need = 0;
}

// The connection is of no use any more. `told`: the process ended by itself or as announced.
static void slot_close(struct idp *idp, struct verifier_slot *s, const char *why, bool told)
{
    struct verify_task *t = s->task;
    uint32_t number = (uint32_t)(s - idp->slots);
    if (!told) {
        control_send(idp->control, &(struct control_message){ CONTROL_STUCK, number, s->serial }, -1);
        log_message(LOG_WARN, "verifier.lost", "verifier %u: %s", number, why);
    }
    close(s->fd);
    slot_clear_buffers(s);
    uint64_t *metadata = s->metadata;
    memset(metadata, 0, idp->config->nproviders * sizeof *metadata);
    *s = (struct verifier_slot){ .fd = -1, .metadata = metadata };
    if (t) task_fail(t, ERR_LOGIN_CRASHED, why);
}

static void slot_write(struct idp *idp, struct verifier_slot *s)
{
    while (s->out_done < s->out_n) {
        ssize_t n = send(s->fd, s->out + s->out_done, s->out_n - s->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            slot_close(idp, s, "the verifier ended", false);
            return;
        }
        s->out_done += (size_t)n;
    }
    mem_free(s->out);
    s->out = NULL;
    s->out_n = s->out_done = 0;
}

static void slot_send(struct idp *idp, struct verifier_slot *s, enum slot_step step, int64_t id,
                      struct str payload)
{
    s->out = mem_alloc(VERIFY_FRAME_HEAD + payload.n);
    if (!s->out) {
        struct verify_task *t = s->task;
        s->task = NULL;
        s->step = SLOT_IDLE;
        task_fail(t, ERR_NO_MEMORY, "a message for a verifier could not be made");
        return;
    }
    verify_frame_put((uint8_t *)s->out, payload.n);
    memcpy(s->out + VERIFY_FRAME_HEAD, payload.p, payload.n);
    s->out_n = VERIFY_FRAME_HEAD + payload.n;
    s->step = step;
    s->id = id;
    s->deadline = mono_ms() + ANSWER_MS;
    slot_write(idp, s);
}

// A message that the slot itself needs before the task: our SP, or the provider's metadata.
static void slot_send_request(struct idp *idp, struct verifier_slot *s, enum slot_step step,
                              struct verify_request *q)
{
    struct arena *a = arena_new(TASK_MEMORY);
    q->id = ++idp->next_id;
    q->now = wall_s();
    struct str payload = a ? verify_request_encode(a, q) : STR_NONE;
    if (payload.p) {
        slot_send(idp, s, step, q->id, payload);
    } else {
        struct verify_task *t = s->task;
        s->task = NULL;
        s->step = SLOT_IDLE;
        task_fail(t, ERR_NO_MEMORY, "a message for a verifier could not be made");
    }
    arena_free(a);
}

static void slot_send_metadata(struct idp *idp, struct verifier_slot *s, struct idp_provider *p)
{
    const struct saml_client *c = &p->config->saml;
    s->sent_generation = p->metadata.generation;
    struct verify_request q = { .kind = VERIFY_SAML_METADATA,
                                .provider = p->config->key,
                                .saml = *c,
                                .mapping = c->mapping,
                                .clock_skew = c->clock_skew,
                                .text = { p->metadata.text, p->metadata.n } };
    slot_send_request(idp, s, SLOT_METADATA, &q);
}

// What the process still lacks comes first, then the task.
static void slot_advance(struct idp *idp, struct verifier_slot *s)
{
    struct verify_task *t = s->task;
    struct idp_provider *p = t->needs;
    if (p && !s->has_setup) {
        slot_send_request(idp, s, SLOT_SETUP,
                          &(struct verify_request){ .kind = VERIFY_SETUP, .sp = idp->sp });
    } else if (p && s->metadata[p->config->index] != p->metadata.generation) {
        slot_send_metadata(idp, s, p);
    } else {
        if (t->checks) s->metadata[t->checks->config->index] = 0; // it keeps the candidate when that is good
        slot_send(idp, s, SLOT_TASK, t->id, t->frame_payload);
    }
}

static void slot_task_replied(struct idp *idp, struct verifier_slot *s, const struct verify_reply *r)
{
    struct verify_task *t = s->task;
    s->task = NULL;
    s->step = SLOT_IDLE;
    if (r->last) slot_close(idp, s, "the verifier has used its time", true);
    task_end(t, r);
}

// Preparations have no result of their own: when one is refused, so is the task.
static void slot_prepared(struct idp *idp, struct verifier_slot *s, const struct verify_reply *r)
{
    if (r->err.code != ERR_NONE || r->last) {
        struct verify_reply failed = *r;
        if (failed.err.code == ERR_NONE)
            err_set(&failed.err, ERR_LOGIN_CRASHED, "the verifier has used its time");
        slot_task_replied(idp, s, &failed);
        return;
    }
    if (s->step == SLOT_SETUP)
        s->has_setup = true;
    else
        s->metadata[s->task->needs->config->index] = s->sent_generation; // newer ones may have come meanwhile
    slot_advance(idp, s);
}

static void slot_frame(struct idp *idp, struct verifier_slot *s)
{
    struct verify_reply r;
    struct err err;
    struct arena *a = arena_new(REPLY_MEMORY);
    char *frame = s->in;
    struct str payload = { frame + VERIFY_FRAME_HEAD, s->in_n - VERIFY_FRAME_HEAD };
    s->in = NULL;
    s->in_n = s->in_need = 0;
    if (!a || !verify_reply_decode(a, payload, &r, &err) || s->step == SLOT_IDLE || r.id != s->id || s->out)
        slot_close(idp, s, "the verifier sent nonsense", false);
    else if (s->step == SLOT_TASK)
        slot_task_replied(idp, s, &r);
    else
        slot_prepared(idp, s, &r);
    arena_free(a);
    mem_free(frame);
}

// Makes room for the frame's head, then for all of it once its length is known. False: nonsense or no memory.
static bool slot_make_room(struct verifier_slot *s)
{
    size_t need = VERIFY_FRAME_HEAD, body;
    if (s->in_n >= VERIFY_FRAME_HEAD) {
        if (!verify_frame_get((const uint8_t *)s->in, &body) || body > REPLY_MAX) return false;
        need += body;
    }
    if (need == s->in_need) return true;
    char *bigger = mem_realloc(s->in, need);
    if (!bigger) return false;
    s->in = bigger;
    s->in_need = need;
    return true;
}

static void slot_read(struct idp *idp, struct verifier_slot *s)
{
    for (;;) {
        if (!slot_make_room(s)) {
            slot_close(idp, s, "the verifier sent nonsense", false);
            return;
        }
        if (s->in_n == s->in_need) break;
        ssize_t n = recv(s->fd, s->in + s->in_n, s->in_need - s->in_n, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            slot_close(idp, s, "the verifier ended in mid-message", s->task == NULL);
            return;
        }
        s->in_n += (size_t)n;
    }
    slot_frame(idp, s);
}

void verifier_io(struct idp *idp, struct verifier_slot *s, short revents)
{
    if (s->fd >= 0 && s->out && revents & POLLOUT) slot_write(idp, s);
    if (s->fd >= 0 && revents & (POLLIN | POLLHUP | POLLERR)) slot_read(idp, s);
}

// ---- the pool

bool verifier_pool_init(struct idp *idp)
{
    idp->tasks_tail = &idp->tasks;
    idp->nslots = idp->config->verifiers ? idp->config->verifiers : 1;
    idp->slots = arena_array(idp->arena, idp->nslots, sizeof *idp->slots);
    for (size_t i = 0; idp->slots && i < idp->nslots; i++) {
        idp->slots[i].fd = -1;
        idp->slots[i].metadata = arena_array(idp->arena, idp->config->nproviders, sizeof(uint64_t));
    }
    return !arena_failed(idp->arena);
}

// Ends every task, so that whoever waits for one lets go of what it holds.
void verifier_pool_done(struct idp *idp)
{
    for (size_t i = 0; i < idp->nslots; i++) {
        struct verifier_slot *s = &idp->slots[i];
        if (s->fd >= 0) close(s->fd);
        slot_clear_buffers(s);
        s->fd = -1;
        if (s->task) task_fail(s->task, ERR_DRAINING, "stopping");
        s->task = NULL;
    }
    while (idp->tasks) {
        struct verify_task *t = idp->tasks;
        idp->tasks = t->next;
        if (!idp->tasks) idp->tasks_tail = &idp->tasks;
        task_fail(t, ERR_DRAINING, "stopping");
    }
}

void verifier_attach(struct idp *idp, uint32_t slot, uint32_t serial, int fd)
{
    if (slot >= idp->nslots) {
        close(fd);
        return;
    }
    struct verifier_slot *s = &idp->slots[slot];
    if (s->fd >= 0) slot_close(idp, s, "the verifier was replaced", true);
    s->fd = fd;
    s->serial = serial;
}

static void tasks_expire(struct idp *idp, int64_t now)
{
    while (idp->tasks && idp->tasks->give_up_at <= now) { // all wait equally long, so the oldest is first
        struct verify_task *t = idp->tasks;
        idp->tasks = t->next;
        if (!idp->tasks) idp->tasks_tail = &idp->tasks;
        task_fail(t, ERR_LOGIN_BUSY, "no verifier was free in time");
    }
}

static void slot_take_next(struct idp *idp, struct verifier_slot *s)
{
    struct verify_task *t = idp->tasks;
    idp->tasks = t->next;
    if (!idp->tasks) idp->tasks_tail = &idp->tasks;
    t->next = NULL;
    s->task = t;
    slot_advance(idp, s);
}

void verifier_tick(struct idp *idp, int64_t now)
{
    for (size_t i = 0; i < idp->nslots; i++) {
        struct verifier_slot *s = &idp->slots[i];
        if (s->fd >= 0 && s->step != SLOT_IDLE && s->deadline <= now)
            slot_close(idp, s, "the verifier did not answer", false);
    }
    tasks_expire(idp, now);
    for (size_t i = 0; i < idp->nslots; i++) {
        struct verifier_slot *s = &idp->slots[i];
        if (idp->tasks && s->fd >= 0 && s->step == SLOT_IDLE) slot_take_next(idp, s);
    }
}

int64_t verifier_deadline(const struct idp *idp)
{
    int64_t at = idp->tasks ? idp->tasks->give_up_at : INT64_MAX;
    for (size_t i = 0; i < idp->nslots; i++) {
        const struct verifier_slot *s = &idp->slots[i];
        if (s->fd >= 0 && s->step != SLOT_IDLE && s->deadline < at) at = s->deadline;
        if (s->fd >= 0 && s->step == SLOT_IDLE && idp->tasks) at = 0; // work for a free verifier
    }
    return at;
}
