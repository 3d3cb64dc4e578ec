// SPDX-License-Identifier: GPL-3.0-or-later
// A verifier as a real process (this binary called with "verifier"), its sandbox, and its answers without a
// process.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "certs/certs.h"
#include "child.h"
#include "gateway/process/processes.h"
#include "gateway/verifier/sandbox.h"
#include "gateway/verifier/verifier.h"
#include "idp_double.h"

// ---- the process

static struct {
    pid_t pid;
    int fd;
    struct arena *arena;
} v;

static int setup(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    v.pid = fork();
    if (v.pid == 0) {
        char *const argv[] = { "test", "verifier", NULL };
        child_without_leak_check();
        dup2(pair[1], 3);
        dup2(open("/dev/null", O_WRONLY), 2);
        execv("/proc/self/exe", argv);
        _exit(99);
    }
    close(pair[1]);
    v.fd = pair[0];
    v.arena = arena_new((size_t)32 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (v.fd >= 0) close(v.fd);
    if (v.pid > 0) kill(v.pid, SIGKILL);
    if (v.pid > 0) waitpid(v.pid, NULL, 0);
    arena_free(v.arena);
    return 0;
}

static int wait_end(void)
{
    int status;
    assert_int_equal(waitpid(v.pid, &status, 0), v.pid);
    v.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void put(const void *p, size_t n)
{
    assert_int_equal(send(v.fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void put_frame(struct str payload)
{
    uint8_t head[VERIFY_FRAME_HEAD];
    verify_frame_put(head, payload.n);
    put(head, sizeof head);
    put(payload.p, payload.n);
}

static void get(void *p, size_t n)
{
    assert_int_equal(recv(v.fd, p, n, MSG_WAITALL), (ssize_t)n);
}

static struct verify_reply ask(struct verify_request q)
{
    struct verify_reply r;
    struct err err;
    uint8_t head[VERIFY_FRAME_HEAD];
    size_t n;
    q.id = 5;
    if (!q.now) q.now = time(NULL);
    put_frame(verify_request_encode(v.arena, &q));
    get(head, sizeof head);
    assert_true(verify_frame_get(head, &n));
    char *payload = arena_alloc(v.arena, n);
    get(payload, n);
    assert_true(verify_reply_decode(v.arena, (struct str){ payload, n }, &r, &err));
    assert_int_equal(r.id, 5);
    return r;
}

#define DISCOVERY                                                                                            \
    "{\"issuer\":\"https://i.example\",\"authorization_endpoint\":\"https://i.example/"                      \
    "a\",\"token_endpoint\":\"https://i.example/t\","                                                        \
    "\"jwks_uri\":\"https://i.example/"                                                                      \
    "j\",\"response_types_supported\":[\"code\"],\"subject_types_supported\":[\"public\"],"                  \
    "\"id_token_signing_alg_values_supported\":[\"RS256\"],\"token_endpoint_auth_methods_supported\":["      \
    "\"client_secret_basic\"]}"

static struct verify_request discovery(void)
{
    return (struct verify_request){
        .kind = VERIFY_OIDC_DISCOVERY,
        .provider = STR("op"),
        .text = STR(DISCOVERY),
        .oidc = { .issuer = STR("https://i.example"), .client_id = STR("c"), .algorithms = OIDC_RS256 }
    };
}

static void test_answers_and_ends_with_the_connection(void **state)
{
    (void)state;
    struct verify_reply r = ask(discovery());
    assert_int_equal(r.err.code, ERR_NONE);
    assert_true(str_eq_c(r.endpoints.token_endpoint, "https://i.example/t"));
    assert_false(r.last);
    struct verify_request bad = discovery();
    bad.text = STR("[]");
    assert_int_equal(ask(bad).err.code, ERR_OIDC_DISCOVERY);
    assert_int_equal(ask((struct verify_request){ .kind = VERIFY_OIDC_JWKS, .text = STR("{}") }).err.code,
                     ERR_OIDC_JWKS);
    assert_int_equal(ask(discovery()).err.code, ERR_NONE); // goes on after refusals
    close(v.fd);
    v.fd = -1;
    assert_int_equal(wait_end(), 0);
}

static void test_saml_needs_setup_and_metadata(void **state)
{
    (void)state;
    struct verify_request start = { .kind = VERIFY_SAML_START,
                                    .provider = STR("corp"),
                                    .request_id = STR("_1") };
    struct verify_request response = { .kind = VERIFY_SAML_RESPONSE,
                                       .provider = STR("corp"),
                                       .text = STR("x") };
    assert_int_equal(ask(start).err.code, ERR_WIRE);
    assert_int_equal(ask(response).err.code, ERR_WIRE);
    struct verify_request sp = { .kind = VERIFY_SETUP,
                                 .sp = { .entity_id = STR("e"),
                                         .key_pem = STR("k"),
                                         .certificate_pem = STR("c"),
                                         .base_url = STR("https://b") } };
    assert_int_equal(ask(sp).err.code, ERR_NONE);
    assert_int_equal(ask(start).err.code, ERR_WIRE);
    assert_int_equal(ask(response).err.code, ERR_WIRE);
}

static struct verify_request corp(unsigned kind)
{
    struct saml_client c = double_client();
    return (struct verify_request){ .kind = kind,
                                    .now = NOW,
                                    .provider = STR("corp"),
                                    .saml = c,
                                    .mapping = c.mapping,
                                    .clock_skew = c.clock_skew };
}

static struct verify_reply ask_response(const struct recipe *recipe)
{
    struct verify_request q = corp(VERIFY_SAML_RESPONSE);
    q.request_id = STR(REQUEST_ID);
    q.text = encode_base64(v.arena, double_response(v.arena, recipe));
    return ask(q);
}

// Everything that a SAML login needs of its libraries works behind the closed doors: signatures, decryption,
// requests.
static void test_saml_logins_inside_the_sandbox(void **state)
{
    (void)state;
    struct verify_request setup_request = { .kind = VERIFY_SETUP };
    double_sp(v.arena, &setup_request.sp);
    assert_int_equal(ask(setup_request).err.code, ERR_NONE);
    struct verify_request metadata = corp(VERIFY_SAML_METADATA);
    metadata.text = double_metadata(v.arena);
    struct verify_reply r = ask(metadata);
    assert_int_equal(r.err.code, ERR_NONE);
    assert_int_equal(r.info.signing_keys, 4);
    struct verify_request begin = corp(VERIFY_SAML_START);
    begin.request_id = STR(REQUEST_ID);
    begin.relay_state = STR("relay");
    r = ask(begin);
    assert_true(str_starts(r.url, STR("https://idp.example.com/sso?tenant=1&SAMLRequest=")));
    r = ask_response(&(struct recipe){ .sign_response = true, .sign_assertion = true });
    if (r.err.code != ERR_NONE) fail_msg("%s: %s", err_name(r.err.code), r.err.detail);
    assert_true(r.assertion_id.n > 0 && r.replay_until > NOW);
    r = ask_response(&(struct recipe){ .sign_assertion = true,
                                       .data_cipher = "http://www.w3.org/2009/xmlenc11#aes256-gcm" });
    if (r.err.code != ERR_NONE) fail_msg("%s: %s", err_name(r.err.code), r.err.detail);
    struct identity id;
    struct err err;
    assert_true(identity_decode(v.arena, r.identity, &id, &err));
    assert_true(id.subject.n > 0);
    r = ask_response(&(struct recipe){ .sign_assertion = true, .key = KEY_STRANGER });
    assert_int_equal(r.err.code, ERR_SAML_SIGNATURE);
    assert_null(r.identity.p);
    // Metadata that cannot be used leaves the good one in place.
    metadata.text = STR("<x/>");
    assert_int_not_equal(ask(metadata).err.code, ERR_NONE);
    assert_int_equal(ask_response(&(struct recipe){ .sign_assertion = true }).err.code, ERR_NONE);
}

static void test_frame_that_is_too_large_ends_it(void **state)
{
    (void)state;
    uint8_t head[VERIFY_FRAME_HEAD];
    verify_frame_put(head, LIMIT_WIRE_BYTES + 1);
    put(head, sizeof head);
    assert_int_equal(wait_end(), 1);
}

static void test_nonsense_ends_it(void **state)
{
    (void)state;
    put_frame(STR("this is no request"));
    assert_int_equal(wait_end(), 1);
}

// Whatever keeps it busy with one message, the alarm ends it.
static void test_message_that_takes_too_long_ends_it(void **state)
{
    (void)state;
    uint8_t head[VERIFY_FRAME_HEAD];
    verify_frame_put(head, 100);
    put(head, sizeof head);
    time_t begun = time(NULL);
    assert_int_equal(wait_end(), 1000 + SIGALRM);
    assert_in_range(time(NULL) - begun, LIMIT_VERIFY_SECONDS - 1, LIMIT_VERIFY_SECONDS + 2);
}

static void test_idle_verifier_lives(void **state)
{
    (void)state;
    assert_int_equal(ask(discovery()).err.code, ERR_NONE);
    sleep(LIMIT_VERIFY_SECONDS + 1);
    assert_int_equal(ask(discovery()).err.code, ERR_NONE);
}

// `timeout`, Ctrl-C and some service managers signal the whole group: logins under way still end well.
static void test_signals_to_the_group_do_not_end_it(void **state)
{
    (void)state;
    assert_int_equal(ask(discovery()).err.code, ERR_NONE);
    kill(v.pid, SIGINT);
    kill(v.pid, SIGTERM);
    assert_int_equal(ask(discovery()).err.code, ERR_NONE);
    close(v.fd);
    v.fd = -1;
    assert_int_equal(wait_end(), 0);
}

// ---- the sandbox

enum attempt {
    OPEN,
    SOCKET,
    EXEC,
    FORK,
    KILL,
    EXECUTABLE_MEMORY,
    MAKE_EXECUTABLE,
    MUCH_MEMORY,
    SEND_STDOUT,
    NOTHING
};

// What came of trying, in a process of its own: 0 it worked, 1 refused, 1000 + signal.
static int try(enum attempt a)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        bool ok = true;
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!sandbox_enter(&err)) _exit(50);
        switch (a) {
        case OPEN: ok = open("/etc/passwd", O_RDONLY) >= 0; break;
        case SOCKET: ok = socket(AF_INET, SOCK_STREAM, 0) >= 0; break;
        case EXEC: ok = execl("/bin/true", "true", NULL) == 0; break;
        case FORK: ok = fork() >= 0; break;
        case KILL: ok = kill(getppid(), 0) == 0; break;
        case EXECUTABLE_MEMORY:
            ok = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                 MAP_FAILED;
            break;
        case MAKE_EXECUTABLE: ok = mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0; break;
        case MUCH_MEMORY: ok = malloc((size_t)LIMIT_VERIFIER_MEMORY * 2) != NULL; break;
        case SEND_STDOUT: ok = write(1, "", 0) == 0; break;
        case NOTHING: free(malloc(1 << 20)); break;
        }
        _exit(ok ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void test_sandbox(void **state)
{
    (void)state;
    if (SANDBOX_SANITIZED) skip();
    assert_int_equal(try(NOTHING), 0);
    assert_int_equal(try(OPEN), 1);
    assert_int_equal(try(SOCKET), 1);
    assert_int_equal(try(EXEC), 1000 + SIGSYS);
    assert_int_not_equal(try(FORK), 0);
    assert_int_equal(try(KILL), 1000 + SIGSYS);
    assert_int_equal(try(EXECUTABLE_MEMORY), 1);
    assert_int_equal(try(MAKE_EXECUTABLE), 1);
    assert_int_equal(try(MUCH_MEMORY), 1);
    assert_int_equal(try(SEND_STDOUT), 1);
}

// ---- without a process

static struct verify_reply answer(struct verifier *in, struct verify_request q, bool *ret_answered)
{
    struct verify_reply r = { 0 };
    struct err err;
    struct str reply;
    struct arena *ours = arena_new(1 << 20), *message = arena_new(VERIFIER_MESSAGE_MEMORY);
    q.id = 1;
    q.now = 1700000000;
    struct str payload = ours ? verify_request_encode(ours, &q) : STR_NONE;
    payload = message && payload.p ? arena_str(message, payload) : STR_NONE;
    *ret_answered = payload.p && verifier_answer(in, &message, payload, true, &reply) &&
                    verify_reply_decode(ours, reply, &r, &err);
    arena_free(message);
    arena_free(ours); // only numbers are looked at from here on
    return r;
}

static void test_token_errors(void **state)
{
    (void)state;
    bool answered;
    struct verifier *in = verifier_new();
    struct verify_reply r = answer(in,
                                   (struct verify_request){ .kind = VERIFY_OIDC_TOKEN_ERROR,
                                                            .text = STR("{\"error\":\"invalid_grant\"}") },
                                   &answered);
    assert_true(answered && r.last);
    assert_int_equal(r.err.code, ERR_OIDC_TOKEN_RESPONSE);
    assert_string_equal(r.err.detail, "the token endpoint said invalid_grant");
    r = answer(in,
               (struct verify_request){ .kind = VERIFY_OIDC_TOKEN_ERROR,
                                        .text = STR("{\"error\":\"invalid_client\"}") },
               &answered);
    assert_non_null(
        strstr(r.err.detail, "client_secret or token_auth is wrong")); // the operator's, not the visitor's
    const char *const unprintable[] = {
        "{\"error\":\"a b\"}",
        "{\"error\":\"\\u0007\"}",
        "{\"error\":\"\xc3\xa4\"}",
        "{\"error\":5}",
        "{\"error\":\"\"}",
        "",
        "[",
        "{\"error\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"
    };
    for (size_t i = 0; i < sizeof unprintable / sizeof *unprintable; i++) {
        r = answer(in,
                   (struct verify_request){ .kind = VERIFY_OIDC_TOKEN_ERROR, .text = str_c(unprintable[i]) },
                   &answered);
        assert_int_equal(r.err.code, ERR_OIDC_TOKEN_RESPONSE);
        assert_non_null(strstr(r.err.detail, "without a reason"));
    }
    verifier_free(in);
}

// No failed allocation turns a refusal into anything else, or an answer into half an answer.
static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    const struct verify_request kinds[] = {
        discovery(),
        { .kind = VERIFY_SETUP,
          .sp = { .entity_id = STR("e"),
                  .key_pem = STR("k"),
                  .certificate_pem = STR("c"),
                  .base_url = STR("https://b") } },
        { .kind = VERIFY_SAML_METADATA, .provider = STR("p"), .text = STR("<x/>") },
        { .kind = VERIFY_OIDC_TOKEN_ERROR, .text = STR("{\"error\":\"x\"}") },
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool answered, failed = true;
        struct verifier *fresh = verifier_new();
        enum err_code normal = answer(fresh, kinds[k], &answered).err.code;
        assert_true(answered);
        verifier_free(fresh);
        for (long n = 1; failed; n++) {
            struct verifier *in = verifier_new();
            mem_fail_at(n);
            struct verify_reply r = answer(in, kinds[k], &answered);
            failed = mem_failed();
            mem_fail_at(0);
            if (answered && r.err.code == ERR_NONE) {
                assert_int_equal(normal, ERR_NONE);
                if (kinds[k].kind == VERIFY_OIDC_DISCOVERY) assert_non_null(r.endpoints.token_endpoint.p);
            }
            if (!failed) assert_true(answered && r.err.code == normal);
            verifier_free(in);
        }
    }
}

#define P(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "verifier") == 0) return verifier_run();
    const struct CMUnitTest tests[] = {
        P(answers_and_ends_with_the_connection),
        P(saml_needs_setup_and_metadata),
        P(saml_logins_inside_the_sandbox),
        P(frame_that_is_too_large_ends_it),
        P(nonsense_ends_it),
        P(message_that_takes_too_long_ends_it),
        P(idle_verifier_lives),
        P(signals_to_the_group_do_not_end_it),
        cmocka_unit_test(test_sandbox),
        cmocka_unit_test(test_token_errors),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    struct err err;
    json_set_alloc_funcs(mem_alloc, mem_free);
    if (!saml_init(&err)) return 1;
    double_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    double_stop();
    saml_done();
    return failed;
}
