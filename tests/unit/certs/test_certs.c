// SPDX-License-Identifier: GPL-3.0-or-later
// Files, pairs, the development CA and the state keys. Each refusal is tried on what differs from a good pair
// in one thing.
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "test.h"

static void test_file_read_is_bounded(void **state)
{
    struct box *b = *state;
    struct str s = STR("untouched");
    box_write(b, "five", STR("12345"), 0600);
    assert_true(file_read(b->arena, box_path(b, "five"), 5, &s, &b->err));
    assert_true(str_eq_c(s, "12345"));
    assert_false(file_read(b->arena, box_path(b, "five"), 4, &s, &b->err));
    assert_err(b, ERR_FILE, "at most 4");
    assert_true(str_eq_c(s, "12345"));
    assert_true(file_read(b->arena, "/proc/self/stat", 8192, &s, &b->err)); // has no size
    assert_true(s.n > 10);
    assert_false(file_read(b->arena, "/proc/self/stat", 10, &s, &b->err));
    assert_err(b, ERR_FILE, "10 bytes");
}

static void test_file_read_names_the_cause(void **state)
{
    struct box *b = *state;
    struct str s;
    assert_false(file_read(b->arena, box_path(b, "none"), 100, &s, &b->err));
    assert_err(b, ERR_FILE, "No such file");
    assert_false(file_read(b->arena, b->dir, 100, &s, &b->err));
    assert_err(b, ERR_FILE, "directory");
    box_write(b, "empty", STR(""), 0600);
    assert_true(file_read(b->arena, box_path(b, "empty"), 100, &s, &b->err));
    assert_int_equal(s.n, 0);
    assert_non_null(s.p);
}

static void test_private_files_are_private(void **state)
{
    struct box *b = *state;
    struct str s;
    static const unsigned bad[] = { 0604, 0602, 0601, 0660, 0620, 0650, 0644, 0777 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        box_write(b, "k", STR("secret"), bad[i]);
        assert_false(file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err));
        assert_err(b, ERR_CERT_PERMISSIONS, "chmod 600");
    }
    box_write(b, "k", STR("secret"), 0400);
    assert_true(file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err));
    // Group reading is by intent when root gave it; of a person's own file it is a slip.
    box_write(b, "k", STR("secret"), 0640);
    assert_int_equal(file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err), geteuid() == 0);
}

static void test_private_files_of_a_person(void **state)
{
    struct box *b = *state;
    struct str s;
    if (geteuid() != 0) skip();
    box_write(b, "k", STR("secret"), 0640);
    assert_int_equal(chown(box_path(b, "k"), 12345, 12345), 0);
    assert_false(file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err));
    assert_err(b, ERR_CERT_PERMISSIONS, "0640");
    assert_int_equal(chmod(box_path(b, "k"), 0600), 0);
    assert_true(file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err));
    assert_int_equal(chmod(box_path(b, "k"), 0644), 0);
    assert_int_equal(chmod(b->dir, 0755), 0);
    assert_int_equal(seteuid(54321), 0);
    bool ok = file_read_private(b->arena, box_path(b, "k"), 100, &s, &b->err);
    assert_int_equal(seteuid(0), 0);
    assert_false(ok);
    assert_err(b, ERR_CERT_PERMISSIONS, "belongs to user 12345");
}

static void test_private_refuses_pipes(void **state)
{
    struct box *b = *state;
    struct str s;
    assert_int_equal(mkfifo(box_path(b, "pipe"), 0600), 0);
    assert_false(file_read_private(b->arena, box_path(b, "pipe"), 100, &s, &b->err));
    assert_err(b, ERR_CERT_PERMISSIONS, "regular");
}

static void test_file_write_replaces_whole(void **state)
{
    struct box *b = *state;
    struct str s;
    struct stat st;
    box_write(b, "f", STR("a longer first text"), 0644);
    box_write(b, "f", STR("second"), 0600);
    assert_true(file_read(b->arena, box_path(b, "f"), 100, &s, &b->err));
    assert_true(str_eq_c(s, "second"));
    assert_int_equal(stat(box_path(b, "f"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(file_write(box_path(b, "no/f"), STR("x"), 0600, &b->err));
    assert_err(b, ERR_FILE, "No such file");
    assert_int_equal(mkdir(box_path(b, "d"), 0700), 0);
    assert_false(file_write(box_path(b, "d"), STR("x"), 0600, &b->err)); // and leaves no temporary file
    assert_int_equal(system(arena_printf(b->arena, "test -z \"$(ls %s | grep new)\"", b->dir).p), 0);
}

static void test_pair_loads(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "Wiki.Example.com");
    assert_true(load(b, "a", &p));
    assert_int_equal(p.names.n, 1);
    assert_true(str_eq_c(p.names.v[0], "wiki.example.com"));
    assert_true(p.not_after > time(NULL) + 3500 && p.not_after < time(NULL) + 3700);
    assert_true(cert_pair_covers(&p, STR("wiki.example.com")));
    assert_false(cert_pair_covers(&p, STR("example.com")));
}

static void test_wildcards_stand_for_one_label(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "w", "*.example.com");
    assert_true(load(b, "w", &p));
    assert_true(cert_pair_covers(&p, STR("a.example.com")));
    assert_false(cert_pair_covers(&p, STR("example.com")));
    assert_false(cert_pair_covers(&p, STR("a.b.example.com")));
    assert_false(cert_pair_covers(&p, STR(".example.com")));
    assert_false(cert_pair_covers(&p, STR("evilexample.com")));
    assert_false(cert_pair_covers(&p, STR("")));
    struct str odd[] = { STR("w*.example.com"), STR("*"), STR("a.*.com"), { "a\0.example.com", 14 } };
    struct cert_pair q = { .names = { odd, 4 } };
    assert_false(cert_pair_covers(&q, STR("wiki.example.com")));
    assert_false(cert_pair_covers(&q, STR("localhost")));
    assert_false(cert_pair_covers(&q, STR("a.b.com")));
    assert_false(cert_pair_covers(&q, STR("a")));
}

static void refused(struct box *b, EVP_PKEY *key, const char *host, int64_t from, int64_t until,
                    const char *usage, enum err_code code, const char *part)
{
    struct cert_pair p;
    struct made m = make_pair(b, key, host, time(NULL) + from, time(NULL) + until, usage);
    box_write(b, "x.pem", m.cert, 0644);
    box_write(b, "x.key", m.key, 0600);
    assert_false(load(b, "x", &p));
    assert_err(b, code, part);
}

static void test_pair_checks_the_certificate(void **state)
{
    struct box *b = *state;
    EVP_PKEY *k = pkey_make_p256();
    refused(b, k, "a.example", -7200, -3600, "serverAuth", ERR_CERT_EXPIRED, "expired 1 hours ago");
    refused(b, k, "a.example", 3600, 7200, "serverAuth", ERR_CERT_NOT_YET_VALID, "future");
    refused(b, k, NULL, -60, 3600, "serverAuth", ERR_CERT, "subjectAltName");
    refused(b, k, "a.example", -60, 3600, "clientAuth", ERR_CERT, "not for servers");
    EVP_PKEY_free(k);
}

static void test_pair_checks_the_key(void **state)
{
    struct box *b = *state;
    EVP_PKEY *weak = pkey_make_rsa(1024), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "RSA-PSS", (size_t)2048);
    EVP_PKEY *odd = EVP_EC_gen("secp256k1"), *good = pkey_make_rsa(2048);
    refused(b, weak, "a.example", -60, 3600, "serverAuth", ERR_CERT_KEY, "1024 bits");
    refused(b, odd, "a.example", -60, 3600, "serverAuth", ERR_CERT_KEY, "secp256k1");
    if (ed) refused(b, ed, "a.example", -60, 3600, "serverAuth", ERR_CERT_KEY, "type");
    struct made m = make_pair(b, good, "a.example", time(NULL) - 60, time(NULL) + 60, NULL);
    struct cert_pair p;
    box_write(b, "g.pem", m.cert, 0644);
    box_write(b, "g.key", m.key, 0600);
    assert_true(load(b, "g", &p)); // the bound is not above 2048, and no extended key usage is fine
    EVP_PKEY_free(weak);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(odd);
    EVP_PKEY_free(good);
}

static void test_pair_must_match(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "a.example");
    make_files(b, "b", "b.example");
    assert_false(
        cert_pair_load(b->arena, box_path(b, "a.pem"), box_path(b, "b.key"), time(NULL), &p, &b->err));
    assert_err(b, ERR_CERT_MISMATCH, "does not belong");
}

static struct str join(struct box *b, struct str x, struct str y)
{
    return arena_printf(b->arena, "%.*s%.*s", STR_FMT(x), STR_FMT(y));
}

static struct str slurp(struct box *b, const char *name)
{
    struct str s;
    assert_true(file_read(b->arena, box_path(b, name), 100000, &s, &b->err));
    return s;
}

static void test_pair_checks_the_chain(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    struct str hosts[] = { STR("a.example") };
    assert_true(cert_dev_ca(b->dir, &b->err));
    assert_true(cert_dev_leaf(b->dir, "leaf", (struct strlist){ hosts, 1 }, &b->err));
    struct str leaf = slurp(b, "leaf.pem"), ca = slurp(b, "ca.pem"), key = slurp(b, "leaf.key");
    box_write(b, "c.key", key, 0600);
    box_write(b, "c.pem", join(b, leaf, ca), 0644);
    assert_true(load(b, "c", &p));
    box_write(b, "c.pem", join(b, ca, leaf), 0644);
    assert_false(load(b, "c", &p));
    assert_err(b, ERR_CERT_MISMATCH, "must come first");
    make_files(b, "other", "a.example");
    box_write(b, "c.pem", join(b, leaf, slurp(b, "other.pem")), 0644);
    assert_false(load(b, "c", &p));
    assert_err(b, ERR_CERT, "did not issue");
}

static void test_pair_refuses_rubbish(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "a.example");
    struct str cert = slurp(b, "a.pem"), key = slurp(b, "a.key");
    const struct {
        struct str cert, key;
        enum err_code code;
        const char *part;
    } v[] = {
        { STR(""), key, ERR_CERT, "holds no certificate" },
        { STR("garbage\n"), key, ERR_CERT, "holds no certificate" },
        { key, key, ERR_CERT, "holds no certificate" },
        { STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), key, ERR_CERT, "damaged" },
        { join(b, cert, STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), key, ERR_CERT,
          "certificate 2 is damaged" },
        { str_take(cert, cert.n - 40), key, ERR_CERT, "damaged" },
        { cert, STR(""), ERR_CERT_KEY, "holds no private key" },
        { cert, cert, ERR_CERT_KEY, "holds no private key" },
        { cert, STR("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), ERR_CERT_KEY,
          "damaged" },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        box_write(b, "x.pem", v[i].cert, 0644);
        box_write(b, "x.key", v[i].key, 0600);
        assert_false(load(b, "x", &p));
        assert_err(b, v[i].code, v[i].part);
    }
}

static void test_pair_refuses_encrypted_keys_without_asking(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "a.example");
    EVP_PKEY *k = pkey_make_p256();
    FILE *f = fopen(box_path(b, "a.key"), "w");
    char pass[] = "pass";
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, k, EVP_aes_128_cbc(), pass, 4, NULL, NULL), 1);
    fclose(f);
    EVP_PKEY_free(k);
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_CERT_KEY, "encrypted");
}

static void test_pair_checks_the_files(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "a.example");
    assert_int_equal(chmod(box_path(b, "a.key"), 0644), 0);
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_CERT_PERMISSIONS, "0644");
    assert_int_equal(chmod(box_path(b, "a.key"), 0660), 0);
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_CERT_PERMISSIONS, "0660");
    unlink(box_path(b, "a.key"));
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_FILE, "a.key: No such file");
    unlink(box_path(b, "a.pem"));
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_FILE, "a.pem: No such file");
    mkdir(box_path(b, "a.pem"), 0700);
    assert_false(load(b, "a", &p));
    assert_err(b, ERR_FILE, "directory");
}

static void test_pair_survives_no_memory(void **state)
{
    struct box *b = *state;
    struct cert_pair p;
    make_files(b, "a", "a.example");
    const char *cert = box_path(b, "a.pem"), *key = box_path(b, "a.key");
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct arena *a = arena_new(1024 * 1024);
        mem_fail_at(n);
        bool ok = cert_pair_load(a, cert, key, time(NULL), &p, &b->err);
        failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(ok, !failed);
        if (failed) assert_int_equal(b->err.code, ERR_NO_MEMORY);
        arena_free(a);
        assert_true(n < 1000);
    }
}

static void test_dev_ca_is_made_once(void **state)
{
    struct box *b = *state;
    struct str hosts[] = { STR("localhost"), STR("*.localhost"), STR("127.0.0.1"), STR("::1") };
    struct cert_pair p;
    assert_true(cert_dev_ca(b->dir, &b->err));
    struct str first = slurp(b, "ca.pem");
    assert_true(cert_dev_ca(b->dir, &b->err));
    assert_true(str_eq(slurp(b, "ca.pem"), first));
    assert_true(cert_dev_leaf(b->dir, "web", (struct strlist){ hosts, 4 }, &b->err));
    assert_true(load(b, "web", &p));
    assert_int_equal(p.names.n, 2);
    assert_true(cert_pair_covers(&p, STR("app.localhost")));
    assert_true(p.not_after - time(NULL) <= 825 * 86400);
    const char *cmd =
        arena_printf(b->arena,
                     "openssl verify -x509_strict -purpose sslserver -verify_ip 127.0.0.1 -CAfile %s/ca.pem "
                     "%s/web.pem >/dev/null",
                     b->dir, b->dir)
            .p;
    assert_int_equal(system(cmd), 0);
}

static void test_dev_leaf_refuses_injection(void **state)
{
    struct box *b = *state;
    static const char *const bad[] = {
        "a.example,DNS:evil.example", "a example", "", "*", "a.*.b", "*.127.0.0.1", "a\nb"
    };
    assert_true(cert_dev_ca(b->dir, &b->err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str host[] = { str_c(bad[i]) };
        if (cert_dev_leaf(b->dir, "x", (struct strlist){ host, 1 }, &b->err))
            fail_msg("made for '%s'", bad[i]);
        assert_int_equal(b->err.code, ERR_CERT);
    }
    struct str good[] = { STR("a.example") };
    static const char *const names[] = { "../x", "", ".x", "a/b", "ca" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_false(cert_dev_leaf(b->dir, names[i], (struct strlist){ good, 1 }, &b->err));
    assert_false(cert_dev_leaf(b->dir, "x", (struct strlist){ NULL, 0 }, &b->err));
}

static void test_dev_ca_half_there_is_an_error(void **state)
{
    struct box *b = *state;
    assert_true(cert_dev_ca(b->dir, &b->err));
    unlink(box_path(b, "ca.key"));
    assert_false(cert_dev_ca(b->dir, &b->err));
    assert_err(b, ERR_FILE, "ca.key");
    make_files(b, "ca2", "a.example");
    rename(box_path(b, "ca2.key"), box_path(b, "ca.key"));
    assert_false(cert_dev_ca(b->dir, &b->err));
    assert_err(b, ERR_CERT_MISMATCH, "ca.key");
}

static bool load_state(struct box *b, struct state_keys *ret)
{
    return state_keys_load(b->arena, box_path(b, "state"), "login.example.com", time(NULL), ret, &b->err);
}

static void test_state_keys_stay(void **state)
{
    struct box *b = *state;
    struct state_keys one, two;
    struct stat st;
    assert_true(load_state(b, &one));
    assert_true(load_state(b, &two));
    assert_memory_equal(one.master, two.master, sizeof one.master);
    assert_true(str_eq(one.saml_key_pem, two.saml_key_pem));
    assert_true(str_eq(one.saml_certificate_pem, two.saml_certificate_pem));
    static const char *const files[] = { "state/keys", "state/saml.key", "state/saml.pem" };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(box_path(b, files[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    assert_int_equal(stat(box_path(b, "state"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_state_directory_that_cannot_be_made(void **state)
{
    struct box *b = *state;
    struct state_keys k;
    assert_false(state_keys_load(b->arena, box_path(b, "none/state"), "a.example", time(NULL), &k, &b->err));
    assert_err(b, ERR_FILE, "none/state: the state directory cannot be made: No such file");
}

static void test_state_saml_pair_is_strong(void **state)
{
    struct box *b = *state;
    struct state_keys k;
    assert_true(load_state(b, &k));
    EVP_PKEY *key = pkey_parse(k.saml_key_pem, "", &b->err);
    STACK_OF(X509) *chain = x509_parse_chain(k.saml_certificate_pem, "", &b->err);
    X509 *cert = sk_X509_value(chain, 0);
    assert_int_equal(EVP_PKEY_get_bits(key), 3072);
    assert_int_equal(X509_verify(cert, key), 1);
    char cn[80];
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, "login.example.com");
    int days, seconds;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)), 1);
    assert_true(days >= 3649 && days <= 3650);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
}

static void test_state_never_replaces_what_is_damaged(void **state)
{
    struct box *b = *state;
    struct state_keys k;
    assert_true(load_state(b, &k));
    struct str keys = slurp(b, "state/keys");
    static const struct str bad[] = { STR_INIT(""), STR_INIT("sallyport-keys 1\nmaster "),
                                      STR_INIT("sallyport-keys 2\n") };
    for (size_t i = 0; i < 3; i++) {
        box_write(b, "state/keys", bad[i], 0600);
        assert_false(load_state(b, &k));
        assert_err(b, ERR_CERT_KEY, "damaged");
    }
    box_write(b, "state/keys", str_take(keys, keys.n - 3), 0600);
    assert_false(load_state(b, &k));
    box_write(b, "state/keys", join(b, keys, STR("00\n")), 0600);
    assert_false(load_state(b, &k));
    box_write(b, "state/keys", keys, 0644);
    assert_false(load_state(b, &k));
    assert_err(b, ERR_CERT_PERMISSIONS, "chmod");
    box_write(b, "state/keys", keys, 0600);
    unlink(box_path(b, "state/saml.pem"));
    assert_false(load_state(b, &k));
    assert_err(b, ERR_FILE, "saml.pem is missing");
    make_files(b, "other", "a.example");
    rename(box_path(b, "other.pem"), box_path(b, "state/saml.pem"));
    assert_false(load_state(b, &k));
    assert_err(b, ERR_CERT_MISMATCH, "saml.key");
}

static void test_state_directory_is_ours(void **state)
{
    struct box *b = *state;
    struct state_keys k;
    assert_int_equal(mkdir(box_path(b, "state"), 0700), 0);
    assert_int_equal(chmod(box_path(b, "state"), 0777), 0);
    assert_false(load_state(b, &k));
    assert_err(b, ERR_CERT_PERMISSIONS, "0777");
    rmdir(box_path(b, "state"));
    box_write(b, "state", STR("x"), 0600);
    assert_false(load_state(b, &k));
    assert_err(b, ERR_FILE, "not a directory");
}

static void test_long_common_name_is_cut(void **state)
{
    struct box *b = *state;
    EVP_PKEY *k = pkey_make_p256();
    char name[200];
    memset(name, 'a', sizeof name);
    name[199] = 0;
    struct x509_plan plan = { .common_name = name,
                              .not_after = 1,
                              .key = k,
                              .basic_constraints = "CA:FALSE",
                              .key_usage = "digitalSignature" };
    X509 *cert = x509_make(&plan);
    assert_non_null(cert);
    X509_free(cert);
    EVP_PKEY_free(k);
    (void)b;
}

#define T(f) cmocka_unit_test_setup_teardown(f, box_open, box_close)
int run_certs_tests(void)
{
    const struct CMUnitTest certs[] = {
        T(test_file_read_is_bounded),
        T(test_file_read_names_the_cause),
        T(test_private_files_are_private),
        T(test_private_files_of_a_person),
        T(test_private_refuses_pipes),
        T(test_file_write_replaces_whole),
        T(test_pair_loads),
        T(test_wildcards_stand_for_one_label),
        T(test_pair_checks_the_certificate),
        T(test_pair_checks_the_key),
        T(test_pair_must_match),
        T(test_pair_checks_the_chain),
        T(test_pair_refuses_rubbish),
        T(test_pair_refuses_encrypted_keys_without_asking),
        T(test_pair_checks_the_files),
        T(test_pair_survives_no_memory),
        T(test_dev_ca_is_made_once),
        T(test_dev_leaf_refuses_injection),
        T(test_dev_ca_half_there_is_an_error),
        T(test_state_keys_stay),
        T(test_state_directory_that_cannot_be_made),
        T(test_state_saml_pair_is_strong),
        T(test_state_never_replaces_what_is_damaged),
        T(test_state_directory_is_ours),
        T(test_long_common_name_is_cut),
    };
    return cmocka_run_group_tests(certs, NULL, NULL);
}
