// SPDX-License-Identifier: GPL-3.0-or-later
// The writer thread. While it commits, operations gather in the queue; then all of them go into the next
// transaction, so the batch grows with the load and an operation alone waits for nobody. When a transaction
// breaks, the batch is tried again after a sweep, then each operation in a transaction of its own: one that
// cannot be stored does not take the others with it, and a sign-out still succeeds when the map is too full
// for new sessions.
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "gateway/store/internal.h"

enum { SWEEP_SECONDS = 60 };

static int64_t wall_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec;
}

static int64_t steady_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static int txn_begin(struct write *w)
{
    pthread_mutex_lock(&w->s->txn_lock);
    int rc = mdb_txn_begin(w->s->env, NULL, 0, &w->txn);
    if (rc == MDB_MAP_RESIZED) {
        pthread_mutex_unlock(&w->s->txn_lock);
        rc = store_adopt_map(w->s);
        pthread_mutex_lock(&w->s->txn_lock);
        if (!rc) rc = mdb_txn_begin(w->s->env, NULL, 0, &w->txn);
    }
    if (rc) pthread_mutex_unlock(&w->s->txn_lock);
    return rc;
}

static int txn_end(struct write *w, bool commit)
{
    int rc = 0;
    if (commit)
        rc = mdb_txn_commit(w->txn);
    else
        mdb_txn_abort(w->txn);
    pthread_mutex_unlock(&w->s->txn_lock);
    return rc;
}

// All operations from `first` up to `last` in one transaction. False: nothing was written, *ret_err says why.
static bool batch_try(struct store *s, struct store_op *first, const struct store_op *end,
                      struct err *ret_err)
{
    struct write w = { .s = s };
    int rc = txn_begin(&w);
    if (rc) return store_fail(s, ret_err, rc, "opening a transaction");
    for (struct store_op *op = first; op != end; op = op->next) {
        if (store_execute(&w, op)) continue;
        *ret_err = op->err;
        txn_end(&w, false);
        return false;
    }
    rc = txn_end(&w, true);
    return rc ? store_fail(s, ret_err, rc, "committing") : true;
}

// One slice of the sweep in a transaction of its own. True when there may be more.
static bool sweep_once(struct store *s)
{
    struct write w = { .s = s };
    struct err err = { 0 };
    size_t removed = 0;
    int rc = txn_begin(&w);
    if (rc)
        store_fail(s, &err, rc, "opening a transaction");
    else if (!store_sweep(&w, wall_now(), &removed, &err))
        txn_end(&w, false);
    else if ((rc = txn_end(&w, removed > 0)) != 0)
        store_fail(s, &err, rc, "committing a sweep");
    if (err.code) log_failure(LOG_WARN, "store.sweep", &err);
    return !err.code && removed == SWEEP_SLICE;
}

static void make_room(struct store *s)
{
    int dead; // a reader that was killed keeps old pages from being used again
    mdb_reader_check(s->env, &dead);
    while (sweep_once(s)) {
    }
}

static void each_alone(struct store *s, struct store_op *first, const struct store_op *end)
{
    for (struct store_op *op = first; op != end; op = op->next) {
        struct err err;
        if (batch_try(s, op, op->next, &err)) continue;
        op->err = err;
        op->ret_value = STR_NONE;
        op->ret_count = 0;
        log_failure(LOG_ERROR, "store.write", &err);
    }
}

static void batch_run(struct store *s, struct store_op *first, struct store_op *end)
{
    struct err err = { 0 };
    bool ok = batch_try(s, first, end, &err);
    if (!ok && err.code == ERR_STORE_FULL) {
        make_room(s);
        ok = batch_try(s, first, end, &err);
    }
    if (!ok) each_alone(s, first, end);
    for (struct store_op *op = first, *next; op != end; op = next) {
        next = op->next; // `done` may free the operation
        op->done(op);
    }
}

static void run_all(struct store *s, struct store_op *op)
{
    while (op) {
        struct store_op *end = op;
        for (int n = 0; end && n < BATCH_MAX; n++) end = end->next;
        batch_run(s, op, end);
        op = end;
    }
}

// Waits until there is something to do or `until` (CLOCK_MONOTONIC seconds). Takes the whole queue.
static struct store_op *queue_take(struct store *s, int64_t until, bool *ret_stop)
{
    struct timespec ts = { .tv_sec = until };
    pthread_mutex_lock(&s->queue_lock);
    while (!s->head && !s->stop)
        if (pthread_cond_timedwait(&s->queue_cond, &s->queue_lock, &ts) == ETIMEDOUT) break;
    struct store_op *op = s->head;
    s->head = NULL;
    s->tail = &s->head;
    *ret_stop = s->stop && !op;
    pthread_mutex_unlock(&s->queue_lock);
    return op;
}

static void *writer_main(void *arg)
{
    struct store *s = arg;
    int64_t next_sweep = steady_now(); // at once: the daemon may have been away for long
    unsigned rounds = 0;
    for (bool stop = false; !stop;) {
        run_all(s, queue_take(s, next_sweep, &stop));
        if (stop || steady_now() < next_sweep) continue;
        // Between two slices the queue has its turn.
        if (sweep_once(s)) continue;
        int dead;
        mdb_reader_check(s->env, &dead);
        if (rounds++ == 1) store_dir_mark_stable(&s->dir);
        next_sweep = steady_now() + SWEEP_SECONDS;
    }
    return NULL;
}

bool store_writer_start(struct store *s, struct err *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->queue_cond, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&s->writer, NULL, writer_main, s) == 0) return true;
    pthread_cond_destroy(&s->queue_cond);
    return err_set(err, ERR_STORE, "the writer thread could not be started");
}

void store_writer_stop(struct store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    s->stop = true;
    pthread_cond_signal(&s->queue_cond);
    pthread_mutex_unlock(&s->queue_lock);
    pthread_join(s->writer, NULL);
    pthread_cond_destroy(&s->queue_cond);
}

void store_submit(struct store *s, struct store_op *op)
{
    op->next = NULL;
    pthread_mutex_lock(&s->queue_lock);
    *s->tail = op;
    s->tail = &op->next;
    pthread_cond_signal(&s->queue_cond);
    pthread_mutex_unlock(&s->queue_lock);
}
