// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to logins when a verifier crashes, hangs or is not there, when there are too many, and when
// the thread stops.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "idp_rig.h"

// ---- verifiers

static void wait_stopped(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

static void test_crash_costs_one_login(void **state)
{
    (void)state;
    rig_run(&world.r, 1);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000) && rig_wait_ready(&world.r, SAML, true, 5000));
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    struct login l;
    wait_stopped(world.r.verifiers[0]);
    login_begin(&world.r, &l, IDP_START, SAML, NULL);
    usleep(200 * 1000); // it has the message now
    kill(world.r.verifiers[0], SIGSEGV);
    kill(world.r.verifiers[0], SIGCONT);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_CRASHED);
    login_free(&l);
    waitpid(world.r.verifiers[0], NULL, 0);
    rig_attach(&world.r, 0); // knows nothing: is told our SP and the metadata anew
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_int_equal(web_hits(&world.d, "/metadata"), 1);
}

static void test_second_verifier_learns_the_metadata(void **state)
{
    (void)state;
    rig_run(&world.r, 1);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    rig_attach(&world.r, 1);
    struct login l[16];
    for (int i = 0; i < 16; i++) login_begin(&world.r, &l[i], IDP_START, SAML, NULL);
    for (int i = 0; i < 16; i++) {
        login_wait(&l[i]);
        assert_int_equal(l[i].job.err.code, ERR_NONE);
        login_free(&l[i]);
    }
}

// Whatever was served when this began has been fetched and checked when it returns: the second fetch from now
// does not start before the first is done with.
static void wait_refreshed(void)
{
    int enough = web_hits(&world.d, "/metadata") + 2;
    for (int i = 0; i < 500 && web_hits(&world.d, "/metadata") < enough; i++) usleep(10 * 1000);
    assert_true(web_hits(&world.d, "/metadata") >= enough);
}

static bool has_ended(struct login *l)
{
    pthread_mutex_lock(&l->lock);
    bool ended = l->ended;
    pthread_mutex_unlock(&l->lock);
    return ended;
}

// One login of two, the one that the second verifier has been given, and which is no further than to have
// been sent with the metadata. Either of the verifiers may have been stopped over a refresh instead: what has
// been submitted before another login that has ended is not waiting any more, so then which is which is
// known.
static struct login *begin_stuck(struct login two[2])
{
    for (int attempt = 0; attempt < 20; attempt++) {
        for (int i = 0; i < 2; i++) wait_stopped(world.r.verifiers[i]);
        for (int i = 0; i < 2; i++) login_begin(&world.r, &two[i], IDP_START, SAML, NULL);
        usleep(100 * 1000);
        kill(world.r.verifiers[0], SIGCONT);
        assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
        int stuck = has_ended(&two[0]) ? 1 : 0;
        bool found = !has_ended(&two[stuck]);
        login_wait(&two[!stuck]);
        assert_int_equal(two[!stuck].job.err.code, ERR_NONE);
        login_free(&two[!stuck]);
        if (found) return &two[stuck];
        login_free(&two[stuck]);
        kill(world.r.verifiers[1], SIGCONT);
        usleep(100 * 1000);
    }
    fail_msg("the second verifier never got a login");
    return NULL;
}

// A verifier that was sent metadata when newer ones came must not be taken to have the newer ones: it would
// go on to believe a key that the provider has withdrawn.
static void test_newer_metadata_reach_a_busy_verifier(void **state)
{
    (void)state;
    world.r.providers[SAML].metadata_refresh = 1; // well below what a verifier may take
    rig_run(&world.r, 2);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    struct login two[2], *stuck = begin_stuck(two);
    kill(world.r.verifiers[1], SIGCONT);
    login_wait(stuck); // both are set up now
    login_free(stuck);
    wait_refreshed();
    stuck = begin_stuck(two);
    char *metadata = saml_metadata(&world.r, NULL), *sso = strstr(metadata, "/sso\"");
    memcpy(sso, "/new", 4);
    web_set(&world.d, "/metadata", 200, "application/xml", metadata);
    free(metadata);
    wait_refreshed();
    kill(world.r.verifiers[1], SIGCONT);
    login_wait(stuck);
    assert_int_equal(stuck->job.err.code, ERR_NONE);
    assert_true(str_starts(stuck->job.redirect_url, STR("https://idp.example.com/new?")));
    login_free(stuck);
}

static void test_hang_costs_one_login(void **state)
{
    (void)state;
    rig_run(&world.r, 2);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000));
    struct login l;
    wait_stopped(world.r.verifiers[0]);
    int64_t begun = now_ms();
    login_begin(&world.r, &l, IDP_START, SAML, NULL);           // goes to the first free one: slot 0
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE); // slot 1 goes on
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_LOGIN_CRASHED);
    assert_in_range(now_ms() - begun, LIMIT_VERIFY_SECONDS * 1000, (LIMIT_VERIFY_SECONDS + 4) * 1000);
    login_free(&l);
    struct control_message m;
    int fd;
    assert_int_equal(control_receive(world.r.control, &m, &fd), CONTROL_GOT);
    assert_int_equal(m.kind, CONTROL_STUCK);
    assert_int_equal(m.slot, 0);
    assert_int_equal(m.serial, 1);
    kill(world.r.verifiers[0], SIGKILL);
}

static void test_no_verifier_at_all(void **state)
{
    (void)state;
    rig_run(&world.r, 0);
    int64_t begun = now_ms();
    assert_int_not_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_true(now_ms() - begun < 2 * LIMIT_BACKCHANNEL_SECONDS * 1000 + 1000);
}

// ---- limits and ends

static void test_too_many_logins(void **state)
{
    (void)state;
    static struct login l[LIMIT_LOGINS_PENDING + 1];
    web_set_slow(&world.d, DISCOVERY, 1000);
    rig_run(&world.r, 1);
    for (int i = 0; i <= LIMIT_LOGINS_PENDING; i++) login_begin(&world.r, &l[i], IDP_START, OIDC, NULL);
    assert_int_equal(l[LIMIT_LOGINS_PENDING].job.err.code, ERR_LOGIN_BUSY);
    for (int i = 0; i <= LIMIT_LOGINS_PENDING; i++) {
        login_wait(&l[i]);
        if (i < LIMIT_LOGINS_PENDING) assert_int_equal(l[i].job.err.code, ERR_NONE);
        login_free(&l[i]);
    }
    assert_int_equal(web_hits(&world.d, DISCOVERY), 1);
}

static void test_stopping_ends_every_login(void **state)
{
    (void)state;
    struct login waiting, asking;
    rig_run(&world.r, 1);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000));
    web_set_slow(&world.d, "/token", 8000);
    login_begin(&world.r, &asking, IDP_FINISH, OIDC, "state=planted-state&code=planted-code");
    wait_stopped(world.r.verifiers[0]);
    login_begin(&world.r, &waiting, IDP_START, SAML, NULL);
    usleep(300 * 1000);
    kill(world.r.verifiers[0], SIGKILL);
    rig_halt(&world.r);
    assert_true(asking.ended && waiting.ended);
    assert_int_equal(asking.job.err.code, ERR_DRAINING);
    assert_int_not_equal(waiting.job.err.code, ERR_NONE);
    login_free(&asking);
    login_free(&waiting);
    rig_run(&world.r, 0); // for the teardown
}

// Everything that is secret in a login is planted above; debug logs of good and bad logins must not hold it.
static void test_logs_hold_no_secrets(void **state)
{
    (void)state;
    char path[] = "/tmp/sallyport-test-log-XXXXXX", *text = NULL;
    int fd = mkstemp(path);
    size_t size;
    log_to_fd(fd);
    log_init(LOG_DEBUG, "test");
    world.r.providers[OIDC].oidc.userinfo = true;
    rig_run(&world.r, RIG_VERIFIERS);
    rig_start_code(&world.r, OIDC);
    rig_finish_code(&world.r);
    web_set(&world.d, "/token", 400, "application/json", "{\"error\":\"invalid_grant\"}");
    rig_finish_code(&world.r);
    rig_start_code(&world.r, SAML);
    log_init(LOG_ERROR, "test");
    log_to_fd(2);
    FILE *f = fopen(path, "r");
    assert_true(getdelim(&text, &size, 0, f) > 0);
    assert_non_null(strstr(text, "idp.refreshed")); // it is the log
    assert_null(strstr(text, "planted"));
    free(text);
    fclose(f);
    close(fd);
    unlink(path);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(crash_costs_one_login),
        T(second_verifier_learns_the_metadata),
        T(newer_metadata_reach_a_busy_verifier),
        T(hang_costs_one_login),
        T(no_verifier_at_all),
        T(too_many_logins),
        T(stopping_ends_every_login),
        T(logs_hold_no_secrets),
    };
    return world_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
