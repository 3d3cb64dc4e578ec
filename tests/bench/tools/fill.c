// SPDX-License-Identifier: GPL-3.0-or-later
// Fills the session store of a gateway that does not run, for ./bench: COUNT copies of the session that a
// real cookie names, under ids and subjects of their own. `fill STATE-DIRECTORY LOGIN-HOST HOST BYTES COUNT
// COOKIES COOKIE`; prints COOKIES cookies for HOST, spread over all of them.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "certs/certs.h"
#include "gateway/store/store.h"

enum { BATCH = 2000, TELL = 100 * 1000 };

struct filler {
    struct arena *arena; // as long as the program
    struct session_keys keys;
    struct store *store;
    struct session model;
    struct str host;
    int64_t now;
    // One batch at a time
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t left, failed;
    struct arena *scratch;
    struct store_op ops[BATCH];
};

static void one_done(struct store_op *op)
{
    struct filler *f = op->context;
    pthread_mutex_lock(&f->lock);
    if (op->err.code != ERR_NONE) f->failed++;
    if (--f->left == 0) pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static bool prepare(struct filler *f, struct store_op *op, size_t number)
{
    *op = (struct store_op){ .kind = STORE_SESSION_CREATE,
                             .arena = f->scratch,
                             .now = f->now,
                             .session = f->model,
                             .done = one_done,
                             .context = f };
    op->session.identity.subject = arena_printf(f->scratch, "subject-%zu", number);
    op->session.created = op->session.last_seen = f->now;
    return op->session.identity.subject.p && crypto_random(op->session.id, sizeof op->session.id);
}

static bool print_cookie(struct filler *f, const struct session *s)
{
    struct str cookie = session_cookie_make(f->scratch, &f->keys, f->host, s->id, f->now);
    return cookie.p && printf("%.*s\n", STR_FMT(cookie)) > 0;
}

static bool batch(struct filler *f, size_t first, size_t n, size_t every)
{
    arena_clear(f->scratch);
    f->left = n;
    for (size_t i = 0; i < n; i++)
        if (!prepare(f, &f->ops[i], first + i)) return false;
    for (size_t i = 0; i < n; i++)
        if ((first + i) % every == 0 && !print_cookie(f, &f->ops[i].session)) return false;
    for (size_t i = 0; i < n; i++) store_submit(f->store, &f->ops[i]);
    pthread_mutex_lock(&f->lock);
    while (f->left > 0) pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
    return f->failed == 0;
}

static bool fill(struct filler *f, size_t count, size_t cookies)
{
    size_t every = cookies < count ? count / cookies : 1;
    for (size_t first = 0; first < count; first += BATCH) {
        if (first > 0 && first % TELL == 0) fprintf(stderr, "%zu of %zu sessions\n", first, count);
        if (!batch(f, first, count - first < BATCH ? count - first : BATCH, every)) return false;
    }
    return true;
}

static bool find_model(struct filler *f, const char *cookie, struct err *err)
{
    uint8_t id[SESSION_ID_BYTES];
    struct store_reader *reader = store_reader_new(f->store, err);
    bool ok = reader && session_cookie_check(f->arena, &f->keys, f->host, str_c(cookie), id, err) &&
              store_session(reader, f->arena, id, &f->model, err);
    store_reader_free(reader);
    return ok;
}

static bool open_all(struct filler *f, char **argv, struct err *err)
{
    struct state_keys keys;
    f->now = (int64_t)time(NULL);
    f->host = str_c(argv[3]);
    if (!state_keys_load(f->arena, argv[1], argv[2], f->now, &keys, err)) return false;
    if (!session_keys_derive(keys.master, &f->keys)) return err_set(err, ERR_CRYPTO, "keys");
    struct str path = arena_printf(f->arena, "%s/sessions", argv[1]);
    f->store = store_open(path, atoll(argv[4]), f->keys.record, err);
    return f->store != NULL;
}

int main(int argc, char **argv)
{
    static struct filler f = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
    struct err err = { 0 };
    if (argc != 8)
        return fprintf(stderr, "usage: fill STATE LOGIN-HOST HOST BYTES COUNT COOKIES COOKIE\n"), 2;
    f.arena = arena_new(16 * 1024 * 1024);
    f.scratch = arena_new(1024 * 1024 * 1024);
    if (!f.arena || !f.scratch || !open_all(&f, argv, &err) || !find_model(&f, argv[7], &err))
        return fprintf(stderr, "fill: %s\n", err.detail), 1;
    bool ok = fill(&f, strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10));
    if (!ok) fprintf(stderr, "fill: %zu sessions were refused: %s\n", f.failed, f.ops[0].err.detail);
    store_close(f.store);
    arena_free(f.scratch);
    arena_free(f.arena);
    return ok ? 0 : 1;
}
