// SPDX-License-Identifier: GPL-3.0-or-later
// The table of connections, and the log of those that were refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/admission.h"
#include "gateway/edge/refusal_log.h"

static struct ip_address address(const char *text)
{
    struct ip_address a;
    assert_true(ip_parse(str_c(text), &a));
    return a;
}

static struct admission *make(int64_t max, int64_t per_address)
{
    struct err err = { 0 };
    struct admission *a = admission_new(max, per_address, &err);
    assert_non_null(a);
    return a;
}

// Appendix A of the paper, and two more of its reference vectors.
static void test_siphash(void **state)
{
    (void)state;
    uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
    uint8_t in[16];
    for (uint8_t i = 0; i < sizeof in; i++) in[i] = i;
    assert_int_equal(admission_hash(key, in, 15), 0xa129ca6149be45e5);
    assert_int_equal(admission_hash(key, in, 0), 0x726fdb47dd0e0e31);
    assert_int_equal(admission_hash(key, in, 8), 0x93f5f5799a932462);
}

static void test_overall(void **state)
{
    (void)state;
    struct admission *a = make(2, 0);
    struct admission_ticket t[3] = { { .overall = false } };
    struct err err = { 0 };
    assert_true(admission_enter(a, &t[0], &err));
    assert_true(admission_enter(a, &t[1], &err));
    for (int i = 0; i < 100; i++) assert_false(admission_enter(a, &t[2], &err)); // refusals do not count
    assert_int_equal(err.code, ERR_CONNECTIONS);
    assert_false(t[2].overall);
    admission_leave(a, &t[2]); // was never in
    assert_false(admission_enter(a, &t[2], &err));
    admission_leave(a, &t[0]);
    admission_leave(a, &t[0]); // twice is once
    assert_true(admission_enter(a, &t[2], &err));
    assert_false(admission_enter(a, &t[0], &err));
    admission_free(a);
    admission_free(NULL);
}

static bool enter(struct admission *a, const char *who, struct admission_ticket *t)
{
    struct err err = { 0 };
    struct ip_address ip = address(who);
    *t = (struct admission_ticket){ .overall = false };
    bool ok = admission_enter_address(a, &ip, t, &err);
    if (!ok) assert_int_equal(err.code, ERR_CONNECTIONS_ADDRESS);
    return ok;
}

static void test_per_address(void **state)
{
    (void)state;
    struct admission *a = make(0, 2);
    struct admission_ticket t[4], more;
    assert_true(enter(a, "192.0.2.1", &t[0]));
    assert_true(enter(a, "192.0.2.1", &t[1]));
    for (int i = 0; i < 100; i++) assert_false(enter(a, "192.0.2.1", &more));
    assert_true(enter(a, "192.0.2.2", &t[2])); // IPv4: each its own
    assert_false(enter(a, "::ffff:192.0.2.1", &more));
    admission_leave(a, &t[0]);
    assert_true(enter(a, "192.0.2.1", &t[0]));
    assert_false(enter(a, "192.0.2.1", &more));
    // A /64 is one customer.
    assert_true(enter(a, "2001:db8::1", &t[0]));
    assert_true(enter(a, "2001:db8::ffff:ffff:ffff:ffff", &t[1]));
    assert_false(enter(a, "2001:db8::7:0:0:1", &more));
    assert_true(enter(a, "2001:db8:0:1::1", &t[3]));
    admission_free(a);
}

// 0: no limit, and then nothing is counted that could be refused.
static void test_no_limits(void **state)
{
    (void)state;
    struct admission *a = make(0, 0);
    struct admission_ticket t;
    struct err err = { 0 };
    for (int i = 0; i < 10000; i++) {
        assert_true(enter(a, "192.0.2.1", &t));
        assert_true(admission_enter(a, &t, &err));
    }
    admission_free(a);
}

// Ten thousand others, each with one connection, take no place of anybody who has two.
static void test_others_do_not_count(void **state)
{
    (void)state;
    enum { OTHERS = 10000 };
    struct admission *a = make(0, 4);
    struct admission_ticket *t = calloc(OTHERS, sizeof *t), mine[4], more;
    for (int i = 0; i < OTHERS; i++) {
        char who[32];
        snprintf(who, sizeof who, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(enter(a, who, &t[i]));
    }
    int refused = 0;
    for (int i = 0; i < 4; i++) refused += !enter(a, "192.0.2.1", &mine[i]);
    assert_in_range(refused, 0, 1); // about one address in forty shares both its slots
    assert_false(enter(a, "192.0.2.1", &more));
    for (int i = 0; i < OTHERS; i++) admission_leave(a, &t[i]);
    free(t);
    admission_free(a);
}

enum { THREADS = 4, ROUNDS = 20000, PLACES = 3 };

static void *come_and_go(void *arg)
{
    struct admission *a = arg;
    struct ip_address who = address("192.0.2.1");
    struct err err = { 0 };
    long inside = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct admission_ticket t[2] = { { .overall = false }, { .overall = false } };
        for (int k = 0; k < 2; k++)
            if (admission_enter(a, &t[k], &err)) inside += admission_enter_address(a, &who, &t[k], &err);
        for (int k = 0; k < 2; k++) admission_leave(a, &t[k]);
    }
    return (void *)inside;
}

// However many workers count at the same time, at the end nobody is in.
static void test_threads(void **state)
{
    (void)state;
    struct admission *a = make(100, PLACES);
    pthread_t threads[THREADS];
    struct admission_ticket t[PLACES], more;
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, a), 0);
    for (int i = 0; i < THREADS; i++) {
        void *inside;
        pthread_join(threads[i], &inside);
        assert_true((long)inside > 0);
    }
    for (int i = 0; i < PLACES; i++) assert_true(enter(a, "192.0.2.1", &t[i]));
    assert_false(enter(a, "192.0.2.1", &more));
    struct err err = { 0 };
    struct admission_ticket all[101] = { { .overall = false } };
    for (int i = 0; i < 100; i++) assert_true(admission_enter(a, &all[i], &err));
    assert_false(admission_enter(a, &all[100], &err));
    admission_free(a);
}

static void test_descriptors(void **state)
{
    (void)state;
    assert_int_equal(admission_for_descriptors(1024), 720);
    assert_int_equal(admission_for_descriptors(64), 36);
    assert_int_equal(admission_for_descriptors(1), 1);
    assert_int_equal(admission_for_descriptors(0), 1);
    for (int64_t n = 8; n < 100000; n += 7) {
        int64_t clients = admission_for_descriptors(n);
        assert_true(clients >= 1 && clients < n);
    }
}

// --- the log

struct rig {
    struct loop loop;
    struct refusal_log log;
    int fd;
};

static struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof *r);
    char path[] = "/tmp/refusals-XXXXXX";
    r->fd = mkstemp(path);
    assert_true(r->fd >= 0 && loop_init(&r->loop));
    unlink(path);
    log_init(LOG_INFO, "test");
    log_to_fd(r->fd);
    refusal_log_init(&r->log, &r->loop);
    return r;
}

static const char *rig_text(struct rig *r)
{
    static char text[64 * 1024];
    ssize_t n = pread(r->fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int lines(struct rig *r, const char *with)
{
    int n = 0;
    for (const char *p = rig_text(r); (p = strstr(p, with)); p++) n++;
    return n;
}

static void rig_free(struct rig *r)
{
    log_to_fd(2);
    close(r->fd);
    loop_done(&r->loop);
    free(r);
}

static void refuse(struct rig *r, const char *who, enum err_code code)
{
    struct ip_address a = address(who);
    struct err err = { 0 };
    err_set(&err, code, "because");
    refusal_log_add(&r->log, &a, &err);
}

static void test_a_flood_is_two_lines(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    for (int i = 0; i < 1000; i++) refuse(r, "192.0.2.1", ERR_CONNECTIONS_ADDRESS);
    assert_int_equal(lines(r, "connection.refused"), 1);
    assert_int_equal(lines(r, "\"client\":\"192.0.2.1\""), 1);
    refuse(r, "192.0.2.1", ERR_PROXY_PROTOCOL); // another reason is news
    assert_int_equal(lines(r, "connection.refused"), 2);
    r->loop.now_ms += REFUSAL_MS + 1;
    r->log.timer.fire(&r->log.timer);
    assert_int_equal(lines(r, "connection.refused"), 3);
    assert_int_equal(lines(r, "\"count\":999"), 1);
    refuse(r, "192.0.2.1", ERR_CONNECTIONS_ADDRESS); // later it is news again
    assert_int_equal(lines(r, "connection.refused"), 4);
    rig_free(r);
}

static void test_a_flood_from_everywhere_is_a_few_lines(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    for (int i = 0; i < 1000; i++) {
        char who[32];
        snprintf(who, sizeof who, "10.0.%d.%d", i >> 8, i & 255);
        refuse(r, who, ERR_CONNECTIONS);
    }
    assert_int_equal(lines(r, "connection.refused"), REFUSALS_KEPT);
    refusal_log_done(&r->log);
    assert_int_equal(lines(r, "connection.refused"), REFUSALS_KEPT + 1);
    assert_int_equal(lines(r, "\"count\":992"), 1);
    refusal_log_done(&r->log);
    assert_int_equal(lines(r, "connection.refused"), REFUSALS_KEPT + 1);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_overall),
        cmocka_unit_test(test_per_address),
        cmocka_unit_test(test_no_limits),
        cmocka_unit_test(test_others_do_not_count),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_a_flood_is_two_lines),
        cmocka_unit_test(test_a_flood_from_everywhere_is_a_few_lines),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
