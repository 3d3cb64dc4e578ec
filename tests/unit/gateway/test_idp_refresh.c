// SPDX-License-Identifier: GPL-3.0-or-later
// SAML logins and the documents that logins need: when they are fetched, what is kept, what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/encode.h"
#include "idp_double.h"
#include "idp_rig.h"

// ---- SAML

// A response for this moment, in base64, signed with that key.
static char *response_now(struct arena *a, enum double_key key, char times[7][32])
{
    static const struct {
        const char *in_template;
        int offset;
    } at[7] = { { "2026-01-15T12:00:00Z", 0 },     { "2026-01-15T12:00:00Z", 0 },
                { "2026-01-15T12:05:00Z", 300 },   { "2026-01-15T11:59:00Z", -60 },
                { "2026-01-15T12:10:00.5Z", 600 }, { "2026-01-15T11:58:00Z", -120 },
                { "2026-01-15T20:00:00Z", 28800 } };
    struct recipe r = { .sign_response = true, .key = key, .nbefore = 7 };
    for (int i = 0; i < 7; i++) {
        time_t t = time(NULL) + at[i].offset;
        strftime(times[i], 32, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
        r.before[i] = (struct edit){ str_c(at[i].in_template), str_c(times[i]) };
    }
    return (char *)(uintptr_t)encode_base64(a, double_response(a, &r)).p;
}

static void assert_saml_finish(enum double_key key, enum err_code code)
{
    struct arena *a = arena_new(1 << 22);
    char times[7][32];
    struct login l;
    login_begin(&world.r, &l, IDP_FINISH, SAML, response_now(a, key, times));
    login_wait(&l);
    if (l.job.err.code != code) fail_msg("%s: %s", err_name(l.job.err.code), l.job.err.detail);
    if (code == ERR_NONE) {
        assert_true(str_eq_c(l.job.identity.provider, "corp") && l.job.identity.subject.n > 0);
        assert_true(str_eq_c(l.job.assertion_id, "_assertion") && l.job.replay_until > time(NULL));
    }
    login_free(&l);
    arena_free(a);
}

// The provider changed its key: its metadata is looked at again, once a minute at most, and who is still
// unknown stays out.
static void test_saml_login_and_new_keys(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, SAML, true, 5000));
    web_set(&world.d, "/metadata", 200, "application/xml", double_metadata(world.r.arena).p);
    assert_saml_finish(KEY_RSA, ERR_NONE);
    assert_int_equal(web_hits(&world.d, "/metadata"), 2);
    assert_saml_finish(KEY_RSA_NEXT, ERR_NONE);
    assert_saml_finish(KEY_STRANGER, ERR_SAML_SIGNATURE);
    assert_int_equal(web_hits(&world.d, "/metadata"), 2);
}

static void test_saml_finish_without_a_response(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    struct login l;
    login_begin(&world.r, &l, IDP_FINISH, SAML, NULL);
    login_wait(&l);
    assert_int_equal(l.job.err.code, ERR_SAML_ENCODING);
    login_free(&l);
}

// ---- availability

static void test_provider_that_comes_up(void **state)
{
    (void)state;
    web_set(&world.d, DISCOVERY, 503, "text/plain", "");
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    int hits = web_hits(&world.d, DISCOVERY);
    for (int i = 0; i < 20; i++) assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&world.d, DISCOVERY), hits); // visitors do not make a flood
    op_script(&world.r, &world.d, "k1");
    usleep(5100 * 1000);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_NONE);
    assert_int_equal(rig_finish_code(&world.r), ERR_NONE);
}

static void provider_goes_away(void)
{
    web_set(&world.d, DISCOVERY, 503, "text/plain", "");
    web_set(&world.d, "/jwks", 503, "text/plain", "");
    web_set(&world.d, "/metadata", 503, "text/plain", "");
}

static void test_last_good_copies(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, OIDC, true, 5000) && rig_wait_ready(&world.r, SAML, true, 5000));
    rig_halt(&world.r);
    provider_goes_away();
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_NONE);
    assert_int_equal(rig_finish_code(&world.r), ERR_NONE);
    assert_true(rig_status(&world.r, OIDC).from_disk && rig_status(&world.r, SAML).from_disk);
    struct stat st;
    char path[128];
    snprintf(path, sizeof path, "%s/idp/op.jwks.json", world.r.state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

// The same key in the configuration, another provider behind it: the old one's keys must not be believed.
static void test_copy_of_another_source(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, SAML, true, 5000) && rig_wait_ready(&world.r, OIDC, true, 5000));
    rig_halt(&world.r);
    provider_goes_away();
    strcat(world.r.metadata_url, "-of-another");
    world.r.providers[SAML].metadata = str_c(world.r.metadata_url);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
}

static void overwrite(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/idp/%s", world.r.state, name);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void test_copies_are_checked_anew(void **state)
{
    (void)state;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_true(rig_wait_ready(&world.r, SAML, true, 5000) && rig_wait_ready(&world.r, OIDC, true, 5000));
    rig_halt(&world.r);
    provider_goes_away();
    char *expired = saml_metadata(&world.r, "2020-01-01T00:00:00Z"), *text;
    assert_true(asprintf(&text, "sallyport copy of %s\n%s", world.r.metadata_url, expired) > 0);
    overwrite("corp.metadata.xml", text);
    overwrite("op.discovery.json", "damaged");
    free(expired);
    free(text);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(rig_start_code(&world.r, OIDC), ERR_LOGIN_UNAVAILABLE);
}

static void test_metadata_is_enforced_until_it_expires(void **state)
{
    (void)state;
    char until[32];
    time_t at = time(NULL) + 3;
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime(&at));
    char *metadata = saml_metadata(&world.r, until);
    web_set(&world.d, "/metadata", 200, "application/xml", metadata);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_int_equal(rig_status(&world.r, SAML).valid_until, at);
    sleep(4);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
    free(metadata);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

// A file is read again when it changes; a bad one changes nothing.
static void test_metadata_from_a_file(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s/metadata.xml", world.r.state);
    world.r.providers[SAML].metadata = str_c(path);
    world.r.providers[SAML].metadata_is_url = false;
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
    char *metadata = saml_metadata(&world.r, NULL);
    write_file(path, metadata);
    assert_true(rig_wait_ready(&world.r, SAML, true, 12000));
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    write_file(path, "<broken");
    for (int i = 0; i < 600 && !rig_status(&world.r, SAML).error[0]; i++) usleep(20000);
    assert_non_null(strstr(rig_status(&world.r, SAML).error, "saml."));
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_int_equal(web_hits(&world.d, "/metadata"), 0);
    free(metadata);
}

// As large as it may be, from the network and from the state directory.
static void test_large_metadata(void **state)
{
    (void)state;
    char *metadata = saml_metadata(&world.r, NULL), *end = strstr(metadata, "</md:EntityDescriptor>");
    size_t n = LIMIT_SAML_METADATA_BYTES - 10, head = (size_t)(end - metadata), tail = strlen(end);
    char *large = malloc(n + 1);
    memset(large, ' ', n);
    memcpy(large, metadata, head);
    memcpy(large + n - tail, end, tail + 1);
    web_set(&world.d, "/metadata", 200, "application/xml", large);
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    rig_halt(&world.r);
    provider_goes_away();
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    assert_true(rig_status(&world.r, SAML).from_disk);
    free(metadata);
    free(large);
}

// ---- TLS

struct tls_world {
    struct http_double d;
    char dir[64], ca[96];
};

static void tls_start(struct tls_world *t, const char *host)
{
    struct err err = { 0 };
    struct str hosts[] = { str_c(host) };
    char cert[96], key[96];
    strcpy(t->dir, "/tmp/sallyport-test-tls-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    if (!cert_dev_ca(t->dir, &err) || !cert_dev_leaf(t->dir, "leaf", (struct strlist){ hosts, 1 }, &err))
        fail_msg("%s", err.detail);
    snprintf(t->ca, sizeof t->ca, "%s/ca.pem", t->dir);
    snprintf(cert, sizeof cert, "%s/leaf.pem", t->dir);
    snprintf(key, sizeof key, "%s/leaf.key", t->dir);
    web_start_tls(&t->d, cert, key);
    snprintf(world.r.metadata_url, sizeof world.r.metadata_url, "https://localhost:%d/metadata", t->d.port);
    world.r.providers[SAML].metadata = str_c(world.r.metadata_url);
    char *metadata = saml_metadata(&world.r, NULL);
    web_set(&t->d, "/metadata", 200, "application/xml", metadata);
    free(metadata);
}

static void tls_stop(struct tls_world *t)
{
    web_stop(&t->d);
    rig_remove(t->dir);
}

static void test_tls_with_the_configured_ca(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "localhost");
    struct err err;
    assert_true(file_read(world.r.arena, t.ca, 1 << 16, &world.r.providers[SAML].ca_pem, &err));
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_NONE);
    tls_stop(&t);
}

static void test_tls_of_an_unknown_ca_is_refused(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "localhost");
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&t.d, "/metadata"), 0);
    tls_stop(&t);
}

static void test_tls_of_another_host_is_refused(void **state)
{
    (void)state;
    static struct tls_world t;
    tls_start(&t, "elsewhere.example.com");
    struct err err;
    assert_true(file_read(world.r.arena, t.ca, 1 << 16, &world.r.providers[SAML].ca_pem, &err));
    rig_run(&world.r, RIG_VERIFIERS);
    assert_int_equal(rig_start_code(&world.r, SAML), ERR_LOGIN_UNAVAILABLE);
    assert_int_equal(web_hits(&t.d, "/metadata"), 0);
    tls_stop(&t);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(saml_login_and_new_keys),
        T(saml_finish_without_a_response),
        T(provider_that_comes_up),
        T(last_good_copies),
        T(copy_of_another_source),
        T(copies_are_checked_anew),
        T(metadata_is_enforced_until_it_expires),
        T(metadata_from_a_file),
        T(large_metadata),
        T(tls_with_the_configured_ca),
        T(tls_of_an_unknown_ca_is_refused),
        T(tls_of_another_host_is_refused),
    };
    return world_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
