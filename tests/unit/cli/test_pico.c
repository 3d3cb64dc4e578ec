// SPDX-License-Identifier: GPL-3.0-or-later
// `sallyport pico`: what the commands change and print. The commands themselves: test_command.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "cli/pico.h"
#include "config_fixture.h"

enum { NOW = 1795190298, DAY = 86400 }; // 2026-11-20 15:58:18 UTC

static struct fixture f;
static struct config *c;

static const char yaml[] =
    "login: { host: login.example.com }\n"
    "listen:\n"
    "  - { address: \"[::]:8443\", tls: { certificates: [ { cert: tls.pem, key: tls.key } ] } }\n"
    "identity_providers:\n"
    "  corp: { protocol: saml, metadata: idp.xml }\n"
    "routes:\n"
    "  - { host: status.example.com, backends: [ \"http://10.0.0.5\" ], policy: staff }\n"
    "  - { host: status.example.com, path: /boards, pico: {}, policy: boards }\n"
    "  - { host: wiki.example.com, pico: {}, policy: boards }\n"
    "policies:\n"
    "  boards:\n"
    "    - deny: { devices: [ door ], functions: [ open ] }\n"
    "    - allow: { groups: [ staff ], devices: [ lamp, door ] }\n"
    "  staff:\n"
    "    - allow: { groups: [ staff ] }\n";

static int setup(void **state)
{
    (void)state;
    fixture_make(&f);
    c = fixture_load(&f, str_c(yaml));
    if (!c) fail_msg("%s", fixture_errors(&f).p);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_free(c);
    fixture_remove(&f);
    return 0;
}

static void has(const char *text, const char *words)
{
    if (!text || !strstr(text, words)) fail_msg("'%s' is missing in: %s", words, text ? text : "nothing");
}

// --- keys

static void test_a_key(void **state)
{
    (void)state;
    char key[PICO_KEY_BYTES], other[PICO_KEY_BYTES];
    uint8_t hash[SHA256_BYTES], again[SHA256_BYTES];
    struct err err = { 0 };
    assert_true(pico_key_make(key, hash, &err) && pico_key_make(other, again, &err));
    assert_string_not_equal(key, other);
    assert_int_equal(strlen(key), 40);
    assert_int_equal(strncmp(key, "sp-pico-", 8), 0);
    assert_int_equal(strspn(key + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 32);
    assert_true(crypto_sha256(str_c(key), again));
    assert_memory_equal(hash, again, sizeof hash);
    for (long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_false(pico_key_make(key, hash, &err));
        mem_fail_at(0);
    }
}

// --- arguments

static void test_names(void **state)
{
    (void)state;
    struct err err = { 0 };
    assert_true(pico_name_check("lamp-2", &err));
    assert_false(pico_name_check("any", &err));
    has(err.detail, "any: a board's name has 1 to 63 of a-z, 0-9 and -");
    assert_false(pico_name_check("", &err));
    assert_false(pico_name_check("../x", &err));
}

static void test_lists_of_functions(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words; // NULL: good
        size_t n;
    } cases[] = {
        { "*", NULL, 0 },
        { "flash", NULL, 1 },
        { "flash,read, who", NULL, 3 },
        { "", "\"\": a function's name", 0 },
        { "flash,", "\"\": a function's name", 0 },
        { ",flash", "\"\": a function's name", 0 },
        { "flash,*", "* stands alone", 0 },
        { "**", NULL, 1 },
        { "flash,read,flash", "flash is there twice", 0 },
        { "anvil.private.echo", "does not begin with anvil.", 0 },
        { "a:b", "without : / \\ % and ;", 0 },
        { "a%b", "without : / \\ % and ;", 0 },
        { "a\x1b[2J", "a function's name", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pico_change change = { 0 };
        struct err err = { 0 };
        bool ok = pico_functions_parse(f.arena, cases[i].text, &change, &err);
        assert_int_equal(ok, cases[i].words == NULL);
        if (!ok) has(err.detail, cases[i].words);
        if (!ok) continue;
        assert_int_equal(change.any_function, i == 0);
        assert_int_equal(change.functions.n, cases[i].n);
    }
    char many[8 * (LIMIT_PICO_FUNCTIONS + 2)] = "f";
    for (int i = 1; i <= LIMIT_PICO_FUNCTIONS; i++) snprintf(many + strlen(many), 8, ",f%d", i);
    struct pico_change change = { 0 };
    struct err err = { 0 };
    assert_false(pico_functions_parse(f.arena, many, &change, &err));
    has(err.detail, "at most 64 functions");
    *strrchr(many, ',') = '\0';
    assert_true(pico_functions_parse(f.arena, many, &change, &err));
}

static void test_graces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; // 0: refused
    } cases[] = {
        { "24h", DAY }, { "30m", 1800 }, { "7d", 7 * DAY }, { "1s", 1 },  { "365d", 365 * DAY },
        { "366d", 0 },  { "0s", 0 },     { "24", 0 },       { "-1h", 0 }, { "", 0 },
        { "1 h", 0 },   { "1.5h", 0 },   { "1h30m", 0 },    { "1w", 0 },  { "99999999999999999999d", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds = -1;
        struct err err = { 0 };
        bool ok = pico_grace_parse(f.arena, cases[i].text, &seconds, &err);
        assert_int_equal(ok, cases[i].seconds != 0);
        assert_int_equal(seconds, ok ? cases[i].seconds : -1);
        if (!ok) has(err.detail, "--grace: ");
    }
}

// --- changes

static struct device_list boards(void)
{
    struct device_list l = { f.arena, arena_array(f.arena, 2, sizeof *l.v), 2 };
    static struct str names[] = { STR_INIT("flash"), STR_INIT("read") };
    l.v[0] = (struct device){
        STR("0123456789abcdef"), STR("lamp"), NOW - 20 * DAY, false, { names, 2 }, .nkeys = 1
    };
    l.v[1] = (struct device){ STR("fedcba9876543210"), STR("door"), NOW - 3 * DAY, true, .nkeys = 1 };
    for (size_t i = 0; i < 2; i++) {
        l.v[i].keys[0].created = l.v[i].created;
        memset(l.v[i].keys[0].hash, (int)i + 1, SHA256_BYTES);
    }
    return l;
}

static struct pico_change change_of(const char *name)
{
    struct pico_change change = { .name = str_c(name), .now = NOW };
    memset(change.key_hash, 0xAB, sizeof change.key_hash);
    return change;
}

// What is written must be a good table.
static void is_good(const struct device_list *l, size_t n)
{
    struct device_table *t;
    struct err err = { 0 };
    assert_int_equal(l->n, n);
    if (!device_table_parse(device_table_text(f.arena, l->v, l->n), &t, &err)) fail_msg("%s", err.detail);
    device_table_drop(t);
}

static void test_add(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change = change_of("fan");
    struct err err = { 0 };
    assert_true(pico_functions_parse(f.arena, "spin", &change, &err));
    assert_true(pico_change_add(&change, &l, &err));
    is_good(&l, 3);
    const struct device *d = &l.v[2];
    assert_true(str_eq_c(d->name, "fan") && !d->any_function && d->functions.n == 1 && d->created == NOW);
    assert_true(d->nkeys == 1 && d->keys[0].created == NOW && d->keys[0].expires == 0);
    assert_memory_equal(d->keys[0].hash, change.key_hash, SHA256_BYTES);
    struct str id = d->id;
    change = change_of("lamp");
    assert_false(pico_change_add(&change, &l, &err));
    has(err.detail, "there is a board lamp already");
    assert_int_equal(l.n, 3);
    change = change_of("fan2");
    change.key_hash[0] = 1;
    assert_true(pico_functions_parse(f.arena, "*", &change, &err) && pico_change_add(&change, &l, &err));
    is_good(&l, 4);
    assert_false(str_eq(id, l.v[3].id));
    assert_true(l.v[3].any_function);
}

static void test_there_is_an_end_to_boards(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change = change_of("fan");
    struct err err = { 0 };
    struct device *v = arena_array(f.arena, LIMIT_PICO_DEVICES, sizeof *v);
    memcpy(v, l.v, 2 * sizeof *v);
    l.v = v;
    l.n = LIMIT_PICO_DEVICES;
    assert_false(pico_change_add(&change, &l, &err));
    has(err.detail, "there are 10000 boards");
}

static void rotate(struct device_list *l, struct pico_change *change, int64_t grace, int64_t now, uint8_t key)
{
    struct err err = { 0 };
    *change = change_of("lamp");
    change->grace = grace;
    change->now = now;
    memset(change->key_hash, key, sizeof change->key_hash);
    if (!pico_change_rotate(change, l, &err)) fail_msg("%s", err.detail);
    is_good(l, 2);
    assert_true(l->v[0].keys[0].hash[0] == key && l->v[0].keys[0].created == now && !l->v[0].keys[0].expires);
}

static void test_rotate(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change;
    rotate(&l, &change, DAY, NOW, 0xA1);
    assert_true(l.v[0].nkeys == 2 && l.v[0].keys[1].hash[0] == 1 && l.v[0].keys[1].expires == NOW + DAY);
    assert_true(change.old_until == NOW + DAY && change.older_until == 0);
    assert_true(l.v[1].nkeys == 1 && l.v[1].keys[0].hash[0] == 2);
    // Again within the grace: the oldest goes, and it is said.
    rotate(&l, &change, 60, NOW + 10, 0xA2);
    assert_true(l.v[0].nkeys == 2 && l.v[0].keys[1].hash[0] == 0xA1 && l.v[0].keys[1].expires == NOW + 70);
    assert_true(change.old_until == NOW + 70 && change.older_until == NOW + DAY);
    // After the grace nothing is lost, so nothing is said.
    rotate(&l, &change, 60, NOW + 70, 0xA3);
    assert_true(l.v[0].keys[1].hash[0] == 0xA2 && change.older_until == 0);
    // At once: no old key is left.
    rotate(&l, &change, 0, NOW + 80, 0xA4);
    assert_true(l.v[0].nkeys == 1 && change.old_until == 0 && change.older_until == NOW + 130);
}

// A grace does not make a key live longer than it would have.
static void test_a_rotation_does_not_prolong(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change;
    l.v[0].keys[0].expires = NOW + 100;
    rotate(&l, &change, DAY, NOW, 0xA1);
    assert_true(change.old_until == NOW + 100 && l.v[0].keys[1].expires == NOW + 100);
    l = boards();
    l.v[0].keys[0].expires = NOW;
    rotate(&l, &change, DAY, NOW, 0xA1); // a key that is over does not come back
    assert_true(l.v[0].nkeys == 1 && change.old_until == 0);
}

static void test_revoke(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change = change_of("lamp");
    struct err err = { 0 };
    assert_true(pico_change_revoke(&change, &l, &err));
    is_good(&l, 1);
    assert_true(str_eq_c(l.v[0].name, "door"));
    assert_false(pico_change_revoke(&change, &l, &err));
    change = change_of("door");
    assert_true(pico_change_revoke(&change, &l, &err));
    is_good(&l, 0);
    assert_false(pico_change_revoke(&change, &l, &err));
    has(err.detail, "there is no board door, nor any other");
}

static void test_rename_and_functions(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change = change_of("lamp");
    struct err err = { 0 };
    change.new_name = STR("door");
    assert_false(pico_change_rename(&change, &l, &err));
    has(err.detail, "there is a board door already");
    change.new_name = STR("lamp");
    assert_false(pico_change_rename(&change, &l, &err));
    change.new_name = STR("light");
    assert_true(pico_change_rename(&change, &l, &err));
    is_good(&l, 2);
    assert_true(str_eq_c(l.v[0].name, "light") && str_eq_c(l.v[0].id, "0123456789abcdef"));
    assert_true(l.v[0].keys[0].hash[0] == 1 && l.v[0].functions.n == 2);
    change = change_of("light");
    change.any_function = true;
    assert_true(pico_change_functions(&change, &l, &err));
    assert_true(l.v[0].any_function && l.v[0].functions.n == 0);
    assert_true(pico_functions_parse(f.arena, "a,b,c", &change, &err) &&
                pico_change_functions(&change, &l, &err));
    assert_true(!l.v[0].any_function && l.v[0].functions.n == 3);
    is_good(&l, 2);
}

static void test_names_that_are_not_there(void **state)
{
    (void)state;
    bool (*const changes[])(void *, struct device_list *,
                            struct err *) = { pico_change_rotate, pico_change_revoke, pico_change_rename,
                                              pico_change_functions };
    for (size_t i = 0; i < 4; i++) {
        struct device_list l = boards();
        struct pico_change change = change_of("lapm");
        struct err err = { 0 };
        change.new_name = STR("light");
        assert_false(changes[i](&change, &l, &err));
        assert_int_equal(err.code, ERR_PICO_UNKNOWN);
        assert_string_equal(err.detail, "there is no board lapm; did you mean lamp?");
        change = change_of("somethingelse");
        change.new_name = STR("light");
        assert_false(changes[i](&change, &l, &err));
        assert_string_equal(err.detail, "there is no board somethingelse");
    }
}

// --- what is printed

static void test_main_py(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct str text = pico_main_py(f.arena, c, STR_NONE, STR("lamp"), "sp-pico-KEY", &err);
    assert_string_equal(text.p,
                        "# For main.py of the board lamp. The key is not shown again.\n"
                        "import uasyncio as a\n"
                        "import anvil.pico\n"
                        "\n"
                        "KEY = \"sp-pico-KEY\"\n"
                        "\n"
                        "# Your functions come here, each under @anvil.pico.callable\n"
                        "\n"
                        "anvil.pico.connect(KEY, url=\"wss://status.example.com:8443/boards/uplink\")\n"
                        "# or: anvil.pico.connect(KEY, url=\"wss://wiki.example.com:8443/uplink\")\n");
    text = pico_main_py(f.arena, c, STR("Wiki.example.com"), STR("lamp"), "sp-pico-KEY", &err);
    has(text.p, "\nanvil.pico.connect(KEY, url=\"wss://wiki.example.com:8443/uplink\")\n");
    assert_null(strstr(text.p, "status"));
    assert_int_equal(err.code, ERR_NONE);
    text = pico_main_py(f.arena, c, STR("wiky.example.com"), STR("lamp"), "sp-pico-KEY", &err);
    assert_null(text.p);
    assert_string_equal(err.detail,
                        "no route of wiky.example.com has boards (`pico`); did you mean wiki.example.com?");
    text = pico_main_py(f.arena, c, STR("login.example.com"), STR("lamp"), "sp-pico-KEY", &err);
    assert_null(text.p);
}

static void test_without_boards_there_is_no_key(void **state)
{
    (void)state;
    struct err err = { 0 };
    struct config none = *c;
    while (none.routes.v->target->pico.served) none.routes.v++;
    none.routes.n = 1;
    assert_null(pico_main_py(f.arena, &none, STR_NONE, STR("lamp"), "sp-pico-KEY", &err).p);
    assert_int_equal(err.code, ERR_CONFIG);
    has(err.detail, "no route of the configuration has boards");
    none = *c;
    none.public_port = 443;
    has(pico_main_py(f.arena, &none, STR_NONE, STR("lamp"), "k", &err).p,
        "\"wss://wiki.example.com/uplink\"");
}

static void test_what_a_rotation_says(void **state)
{
    (void)state;
    struct pico_change change = change_of("lamp");
    change.old_until = NOW + DAY;
    assert_string_equal(pico_rotated(f.arena, &change, "sp-pico-KEY").p,
                        "# The new key of the board lamp, for its main.py. It is not shown again.\n"
                        "# The old one is valid until 2026-11-21 15:58 UTC.\n"
                        "KEY = \"sp-pico-KEY\"\n");
    change.old_until = 0;
    change.older_until = NOW + 1;
    assert_string_equal(pico_rotated(f.arena, &change, "sp-pico-KEY").p,
                        "# The new key of the board lamp, for its main.py. It is not shown again.\n"
                        "# The old one is not valid any more.\n"
                        "# One older than that was still valid, and is not any more.\n"
                        "KEY = \"sp-pico-KEY\"\n");
}

static void test_rules_that_name_a_board(void **state)
{
    (void)state;
    assert_string_equal(pico_rules_naming(f.arena, c, STR("door")).p,
                        "door is named in the rules of: boards (line 12), boards (line 13)");
    assert_string_equal(pico_rules_naming(f.arena, c, STR("lamp")).p,
                        "lamp is named in the rules of: boards (line 13)");
    assert_string_equal(pico_rules_naming(f.arena, c, STR("open")).p, "");
}

static void test_lists(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct pico_change change;
    struct device_table *t;
    struct err err = { 0 };
    rotate(&l, &change, DAY, NOW - 3700, 0xA1);
    assert_true(device_table_parse(device_table_text(f.arena, l.v, l.n), &t, &err));
    assert_string_equal(pico_list_text(f.arena, t, NOW).p, "NAME  KEY AGE   OLD KEY VALID   FUNCTIONS\n"
                                                           "door  3 d       -               any\n"
                                                           "lamp  61 min    for 23 h        flash, read\n");
    assert_string_equal(
        pico_list_json(f.arena, t, NOW).p,
        "{\"boards\":[\n"
        "{\"name\":\"door\",\"id\":\"fedcba9876543210\",\"created\":1794931098,\"functions\":\"*\","
        "\"keys\":[{\"created\":1794931098,\"expires\":null}]},\n"
        "{\"name\":\"lamp\",\"id\":\"0123456789abcdef\",\"created\":1793462298,"
        "\"functions\":[\"flash\",\"read\"],\"keys\":[{\"created\":1795186598,\"expires\":null},"
        "{\"created\":1793462298,\"expires\":1795272998}]}\n]}\n");
    // A key that is over is not shown: it is of no use to anybody.
    assert_string_equal(pico_list_text(f.arena, t, NOW + DAY).p,
                        "NAME  KEY AGE   OLD KEY VALID   FUNCTIONS\n"
                        "door  4 d       -               any\n"
                        "lamp  25 h      -               flash, read\n");
    assert_null(strstr(pico_list_json(f.arena, t, NOW + DAY).p, "1795272998"));
    device_table_drop(t);
    assert_true(device_table_parse(STR(""), &t, &err));
    assert_string_equal(pico_list_json(f.arena, t, NOW).p, "{\"boards\":[]}\n");
    device_table_drop(t);
}

// --- memory

// The texts for one board, and whether all of them are there.
static bool print_all(struct arena *a, const struct device_table *t, struct str ret[4])
{
    struct pico_change change = change_of("lamp");
    struct err err = { 0 };
    change.old_until = NOW + DAY;
    ret[0] = pico_main_py(a, c, STR_NONE, STR("lamp"), "sp-pico-KEY", &err);
    ret[1] = pico_rotated(a, &change, "sp-pico-KEY");
    ret[2] = pico_list_text(a, t, NOW);
    ret[3] = pico_list_json(a, t, NOW);
    return ret[0].p && ret[1].p && ret[2].p && ret[3].p;
}

// No text without the part for which there was no memory.
static void test_texts_without_memory(void **state)
{
    (void)state;
    struct device_list l = boards();
    struct device_table *t;
    struct err err = { 0 };
    struct str whole[4], part[4];
    assert_true(device_table_parse(device_table_text(f.arena, l.v, l.n), &t, &err));
    assert_true(print_all(f.arena, t, whole));
    size_t failures = 0;
    for (size_t limit = 0; limit < 20000; limit += 16) {
        struct arena *a = arena_new(limit);
        if (!print_all(a, t, part)) failures++;
        for (size_t i = 0; i < 4; i++) assert_true(!part[i].p || str_eq(part[i], whole[i]));
        arena_free(a);
    }
    assert_in_range(failures, 10, 1000);
    device_table_drop(t);
}

static void test_changes_without_memory(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 4096; limit += 16) {
        struct device_list l = boards();
        struct pico_change change = change_of("fan");
        struct err err = { 0 };
        l.arena = arena_new(limit);
        change.any_function = true;
        bool ok = pico_change_add(&change, &l, &err);
        assert_int_equal(l.n, ok ? 3 : 2);
        if (!ok) assert_int_equal(err.code, ERR_NO_MEMORY);
        if (ok) is_good(&l, 3);
        change = change_of("lapm");
        err = (struct err){ 0 };
        assert_false(pico_change_revoke(&change, &l, &err));
        assert_int_equal(err.code, ERR_PICO_UNKNOWN);
        arena_free(l.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_lists_of_functions),
        cmocka_unit_test(test_graces),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_there_is_an_end_to_boards),
        cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_a_rotation_does_not_prolong),
        cmocka_unit_test(test_revoke),
        cmocka_unit_test(test_rename_and_functions),
        cmocka_unit_test(test_names_that_are_not_there),
        cmocka_unit_test(test_main_py),
        cmocka_unit_test(test_without_boards_there_is_no_key),
        cmocka_unit_test(test_what_a_rotation_says),
        cmocka_unit_test(test_rules_that_name_a_board),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_texts_without_memory),
        cmocka_unit_test(test_changes_without_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
