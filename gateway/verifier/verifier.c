// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/verifier/verifier.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "base/crypto.h"
#include "base/log.h"
#include "gateway/process/processes.h"
#include "gateway/verifier/sandbox.h"

enum { VERIFIER_FD = 3 };

static bool read_full(void *buf, size_t n)
{
    for (char *p = buf; n > 0;) {
        ssize_t got = read(VERIFIER_FD, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool write_full(const void *buf, size_t n)
{
    for (const char *p = buf; n > 0;) {
        ssize_t put = write(VERIFIER_FD, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

enum served { SERVED, SERVED_CLOSED, SERVED_BAD };

// SIGALRM keeps its default action: a message that takes too long ends the process, and with it that one
// login.
static enum served serve_one(struct verifier *v, struct arena **message,
                             const uint8_t head[VERIFY_FRAME_HEAD], bool last)
{
    size_t n;
    if (!verify_frame_get(head, &n)) return SERVED_BAD;
    char *payload = arena_alloc(*message, n);
    if (!payload) return SERVED_BAD;
    if (!read_full(payload, n)) return SERVED_CLOSED;
    struct str reply;
    if (!verifier_answer(v, message, (struct str){ payload, n }, last, &reply)) return SERVED_BAD;
    uint8_t reply_head[VERIFY_FRAME_HEAD];
    verify_frame_put(reply_head, reply.n);
    bool sent = write_full(reply_head, sizeof reply_head) && write_full(reply.p, reply.n);
    return sent && !last ? SERVED : SERVED_CLOSED; // the gateway may have given up meanwhile
}

// 0: the gateway closed the connection or the CPU time is used; 1: something was wrong.
static int serve(struct verifier *v, struct arena **message)
{
    uint8_t head[VERIFY_FRAME_HEAD];
    enum served served = SERVED;
    while (served == SERVED && read_full(head, sizeof head)) {
        alarm(LIMIT_VERIFY_SECONDS);
        served = serve_one(v, message, head, sandbox_spent());
        alarm(0);
        arena_clear(*message);
    }
    return served == SERVED_BAD ? 1 : 0;
}

// What libraries load on first use must be there before the doors close.
static bool warm_up(struct err *err)
{
    uint8_t byte;
    tzset();
    json_object_seed(0); // from the kernel; in the sandbox it would fall back to the clock
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    if (!crypto_random(&byte, 1)) return err_set(err, ERR_CRYPTO, "no random bytes");
    return saml_init(err);
}

int verifier_run(void)
{
    struct err err = { 0 };
    log_init(LOG_INFO, "verifier");
    prctl(PR_SET_NAME, "verifier", 0, 0, 0); // it was started as /proc/self/exe: ps would say "exe"
    signal(SIGPIPE, SIG_IGN);
    // Ctrl-C reaches every process of a terminal, and others signal whole groups. Who is signing in may
    // finish: the end of the gateway's connection, or a SIGKILL, ends a verifier.
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (!warm_up(&err) || !sandbox_enter(&err)) {
        log_failure(LOG_ERROR, "verifier.start", &err);
        return 1;
    }
    struct verifier *v = verifier_new();
    struct arena *message = arena_new(VERIFIER_MESSAGE_MEMORY);
    int status = v && message ? serve(v, &message) : 1;
    if (status != 0) log_message(LOG_ERROR, "verifier.message", "a message could not be answered");
    arena_free(message);
    verifier_free(v);
    return status;
}
