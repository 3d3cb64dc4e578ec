// SPDX-License-Identifier: GPL-3.0-or-later
// The table of boards: what its text must look like, who a key is, which names there are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "relay/device.h"

#define HASH_A "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" // of "a"
#define HASH_B "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d" // of "b"
#define HASH_C "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6" // of "c"
#define KEY_A "{ \"sha256\": \"" HASH_A "\", \"created\": 1000 }"
#define KEY_B "{ \"sha256\": \"" HASH_B "\", \"created\": 2000, \"expires\": 3000 }"
#define LAMP_START "{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 1000, "
#define LAMP LAMP_START "\"functions\": [\"flash\", \"read\"], \"keys\": [" KEY_A ", " KEY_B "] }"
#define DOOR                                                                                                 \
    "{ \"id\": \"fedcba9876543210\", \"name\": \"door\", \"created\": 5, \"functions\": \"*\", \"keys\": "   \
    "[{ \"sha256\": \"" HASH_C "\", \"created\": 5 }] }"
#define TABLE(devices) "{ \"version\": 1, \"devices\": [" devices "] }"

static const struct str both = STR_INIT(TABLE(LAMP ", " DOOR));

static struct device_table *parse(struct str text)
{
    struct device_table *t = NULL;
    struct err err = { 0 };
    if (!device_table_parse(text, &t, &err)) fail_msg("%s", err.detail);
    return t;
}

// The text is refused, and the reason has these words.
static void refuses(const char *text, const char *words)
{
    struct device_table *t = NULL;
    struct err err = { 0 };
    bool ok = device_table_parse(str_c(text), &t, &err);
    if (ok) fail_msg("accepted: %s", text);
    assert_null(t);
    assert_int_equal(err.code, ERR_PICO_DEVICES);
    if (!strstr(err.detail, words)) fail_msg("'%s' is missing in: %s", words, err.detail);
}

static void test_look_ups(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    assert_int_equal(t->n, 2);
    assert_true(str_eq_c(t->v[0].name, "door") && str_eq_c(t->v[1].name, "lamp"));
    const struct device *lamp = device_by_name(t, STR("lamp")), *door = device_by_name(t, STR("door"));
    assert_true(lamp == &t->v[1] && door == &t->v[0]);
    assert_null(device_by_name(t, STR("lam")));
    assert_null(device_by_name(t, STR("lampe")));
    assert_null(device_by_name(t, STR("")));
    assert_true(device_by_id(t, STR("0123456789abcdef")) == lamp);
    assert_true(device_by_id(t, STR("fedcba9876543210")) == door);
    assert_null(device_by_id(t, STR("0123456789abcde")));
    assert_null(device_by_id(t, STR("lamp")));
    assert_true(lamp->created == 1000 && lamp->nkeys == 2 && lamp->keys[1].expires == 3000);
    assert_true(!lamp->any_function && lamp->functions.n == 2 && door->any_function);
    device_table_drop(t);
}

static void test_empty_tables(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "{\"version\":1}", "{\"devices\":[]}",
                                         "{\"version\":1,\"devices\":[]}" };
    static const bool good[] = { true, false, false, true };
    for (size_t i = 0; i < 4; i++) {
        struct device_table *t = NULL;
        struct err err = { 0 };
        assert_int_equal(device_table_parse(str_c(texts[i]), &t, &err), good[i]);
        if (!good[i]) continue;
        assert_int_equal(t->n, 0);
        assert_null(device_by_name(t, STR("lamp")));
        assert_null(device_by_id(t, STR("0123456789abcdef")));
        assert_null(device_by_key(t, STR("a"), 1, NULL));
        device_table_drop(t);
    }
}

// --- keys

static void test_whose_key_it_is(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    uint8_t hash[SHA256_BYTES] = { 0 }, wanted[SHA256_BYTES], none[SHA256_BYTES] = { 0 };
    assert_true(crypto_sha256(STR("c"), wanted));
    assert_true(device_by_key(t, STR("c"), 10, hash) == device_by_name(t, STR("door")));
    assert_memory_equal(hash, wanted, sizeof hash);
    assert_true(device_by_key(t, STR("a"), 10, NULL) == device_by_name(t, STR("lamp")));
    memset(hash, 0, sizeof hash);
    assert_null(device_by_key(t, STR("d"), 10, hash));
    assert_null(device_by_key(t, STR(""), 10, hash));
    assert_null(device_by_key(t, STR("a\0"), 10, hash));
    assert_null(device_by_key(t, STR("A"), 10, hash));
    // The hash is no key.
    assert_null(device_by_key(t, STR(HASH_A), 10, hash));
    assert_null(device_by_key(t, (struct str){ (const char *)wanted, sizeof wanted }, 10, hash));
    assert_memory_equal(hash, none, sizeof hash);
    device_table_drop(t);
}

static void test_keys_expire(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    const struct device *lamp = device_by_name(t, STR("lamp")), *door = device_by_name(t, STR("door"));
    assert_true(device_by_key(t, STR("b"), 2999, NULL) == lamp);
    assert_null(device_by_key(t, STR("b"), 3000, NULL));
    assert_null(device_by_key(t, STR("b"), INT64_MAX, NULL));
    assert_true(device_by_key(t, STR("a"), INT64_MAX, NULL) == lamp);
    assert_true(device_has_key(lamp, lamp->keys[1].hash, 2999));
    assert_false(device_has_key(lamp, lamp->keys[1].hash, 3000));
    assert_true(device_has_key(lamp, lamp->keys[0].hash, 3000));
    assert_false(device_has_key(door, lamp->keys[0].hash, 10));
    uint8_t unused[SHA256_BYTES] = { 0 }; // what stands behind the last key
    assert_false(device_has_key(door, unused, 10));
    device_table_drop(t);
}

// Each byte of the hash counts.
static void test_hashes_are_compared_whole(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    const struct device *door = device_by_name(t, STR("door"));
    for (size_t i = 0; i < SHA256_BYTES * 8; i++) {
        uint8_t hash[SHA256_BYTES];
        memcpy(hash, door->keys[0].hash, sizeof hash);
        hash[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_false(device_has_key(door, hash, 10));
    }
    device_table_drop(t);
}

// --- names

static void test_names_of_boards(void **state)
{
    (void)state;
    static const char *const good[] = { "lamp", "a", "0", "pico-w-1", "a-", "event", "any-1", "anyone" };
    static const char *const bad[] = { "",    "-a",     "Lamp",   "la_mp",       "la.mp", "la/mp",  "..",
                                       "any", "events", "assets", "l\xc3\xa4mp", "lamp ", "la\nmp", "%61" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(device_name_valid(str_c(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(device_name_valid(str_c(bad[i])));
    assert_false(device_name_valid(STR_NONE));
    assert_false(device_name_valid(STR("la\0mp")));
    char longest[DEVICE_NAME_BYTES + 1];
    memset(longest, 'a', sizeof longest);
    assert_true(device_name_valid((struct str){ longest, DEVICE_NAME_BYTES }));
    assert_false(device_name_valid((struct str){ longest, DEVICE_NAME_BYTES + 1 }));
}

static void test_names_of_functions(void **state)
{
    (void)state;
    static const char *const good[] = { "flash",  "_x",          "read-it", "a.b", "Anvil.x", "anvil",
                                        "anvilx", "bl\xc3\xb6r", "<b>",     "*",   "...",     "a b" };
    static const char *const bad[] = { "",
                                       "anvil.",
                                       "anvil.private.echo",
                                       "a:b",
                                       ":",
                                       "a/b",
                                       "50%",
                                       "a\\\\b",
                                       "a;b",
                                       "..",
                                       ".",
                                       "a\nb",
                                       "\x7f",
                                       "a\xff",
                                       "\xc2\x85",
                                       "\xed\xa0\x80" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(function_name_valid(str_c(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(function_name_valid(str_c(bad[i])));
    assert_false(function_name_valid(STR_NONE));
    assert_false(function_name_valid(STR("a\0b")));
    char longest[FUNCTION_NAME_BYTES + 1];
    memset(longest, 'a', sizeof longest);
    assert_true(function_name_valid((struct str){ longest, FUNCTION_NAME_BYTES }));
    assert_false(function_name_valid((struct str){ longest, FUNCTION_NAME_BYTES + 1 }));
}

static void test_what_may_be_registered(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    const struct device *lamp = device_by_name(t, STR("lamp")), *door = device_by_name(t, STR("door"));
    assert_true(device_may_register(lamp, STR("flash")) && device_may_register(lamp, STR("read")));
    assert_false(device_may_register(lamp, STR("fl.*")));
    assert_false(device_may_register(lamp, STR("flash2")));
    assert_false(device_may_register(lamp, STR("flas")));
    assert_false(device_may_register(lamp, STR("FLASH")));
    assert_false(device_may_register(lamp, STR("*")));
    assert_false(device_may_register(lamp, STR("")));
    assert_true(device_may_register(door, STR("flash")) && device_may_register(door, STR("what.ever")));
    assert_false(device_may_register(door, STR("anvil.private.users.get_current_user_email")));
    assert_false(device_may_register(door, STR("a:b")));
    assert_false(device_may_register(door, STR("")));
    device_table_drop(t);
}

// --- the text

static const struct refusal {
    const char *text, *words;
} refusals[] = {
    { " ", "line 1, column" },
    { "{ \"version\": 1,\n  \"devices\": [ {]\n}", "line 2, column 17: no valid JSON" },
    { "{ \"version\": 1, \"devices\": [] } x", "end of file expected" },
    { "{ \"version\": 1, \"version\": 1, \"devices\": [] }", "duplicate object key" },
    { "{ \"version\": 1, \"devices\": [], \"devices\": [" LAMP "] }", "duplicate object key" },
    { "[]", "the file: an object" },
    { "null", "line 1" },
    { "{ \"version\": 2, \"devices\": [] }", "version: 1 is expected" },
    { "{ \"version\": 1.0, \"devices\": [] }", "version: 1 is expected" },
    { "{ \"version\": \"1\", \"devices\": [] }", "version: 1 is expected" },
    { "{ \"version\": 1, \"devices\": {} }", "devices: a list" },
    { "{ \"version\": 1, \"devices\": null }", "devices: a list" },
    { "{ \"version\": 1, \"devices\": [], \"device\": [] }", "the file: there is no member \"device\"" },
    { "{ \"version\": 1, \"devices\": [], \"\\u001b[2J\": [] }", "the file: there is no member \"...\"" },
    { TABLE("1"), "devices[0]: an object" },
    { TABLE(DOOR ", null"), "devices[1]: an object" },
    { TABLE("{}"), "devices[0].id: 16 hex digits" },
    { TABLE("{ \"id\": \"0123456789ABCDEF\" }"), "devices[0].id" },
    { TABLE("{ \"id\": \"0123456789abcde\" }"), "devices[0].id" },
    { TABLE("{ \"id\": \"0123456789abcdef0\" }"), "devices[0].id" },
    { TABLE("{ \"id\": 1234567890123456 }"), "devices[0].id" },
    { TABLE("{ \"id\": \"0123456789abcdef\" }"), "devices[0].name" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"any\" }"), "devices[0].name" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"Lamp\" }"), "devices[0].name" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": [\"lamp\"] }"), "devices[0].name" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\" }"), "devices[0] (lamp).created" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": -1 }"), "(lamp).created" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 1.5 }"), "(lamp).created" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 1e3 }"), "(lamp).created" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 253402300800 }"), ".created" },
    { TABLE("{ \"id\": \"0123456789abcdef\", \"name\": \"lamp\", \"created\": 9223372036854775808 }"),
      "too big integer" },
    { TABLE(LAMP_START "\"keys\": [" KEY_A "] }"), "devices[0] (lamp).functions: \"*\" or a list" },
    { TABLE(LAMP_START "\"functions\": [], \"keys\": [" KEY_A "] }"), "functions: \"*\" or a list" },
    { TABLE(LAMP_START "\"functions\": null, \"keys\": [" KEY_A "] }"), "functions: \"*\" or a list" },
    { TABLE(LAMP_START "\"functions\": \"flash\", \"keys\": [" KEY_A "] }"), "functions: \"*\" or a list" },
    { TABLE(LAMP_START "\"functions\": \"**\", \"keys\": [" KEY_A "] }"), "functions: \"*\" or a list" },
    { TABLE(LAMP_START "\"functions\": [\"a\", \"*\"], \"keys\": [" KEY_A "] }"), "functions[1]: the name" },
    { TABLE(LAMP_START "\"functions\": [\"a\", 1], \"keys\": [" KEY_A "] }"), "functions[1]: the name" },
    { TABLE(LAMP_START "\"functions\": [\"anvil.x\"], \"keys\": [" KEY_A "] }"), "functions[0]: the name" },
    { TABLE(LAMP_START "\"functions\": [\"a\\u0000b\"], \"keys\": [" KEY_A "] }"), "no valid JSON" },
    { TABLE(LAMP_START "\"functions\": [\"a\\nb\"], \"keys\": [" KEY_A "] }"), "functions[0]: the name" },
    { TABLE(LAMP_START "\"functions\": [\"a\", \"b\", \"a\"], \"keys\": [" KEY_A "] }"),
      "functions[2]: this function is there twice" },
    { TABLE(LAMP_START "\"functions\": \"*\" }"), "(lamp).keys: a list of 1 to 2" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [] }"), "(lamp).keys: a list of 1 to 2" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [" KEY_A ", " KEY_A ", " KEY_A "] }"),
      "(lamp).keys: a list of 1 to 2" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [ \"" HASH_A "\" ] }"), "keys[0]: an object" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [" KEY_A ", { \"created\": 1 }] }"),
      "keys[1].sha256: 64 hex" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"" HASH_A
                       "00\", \"created\": 1 }] }"),
      "keys[0].sha256" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"\", \"created\": 1 }] }"),
      "keys[0].sha256" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"" HASH_A "\" }] }"),
      "devices[0] (lamp).keys[0].created" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"" HASH_A
                       "\", \"created\": 1, \"expires\": null }] }"),
      "keys[0].expires" },
    // 0 would read as "never" to a reader that takes it as it is.
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"" HASH_A
                       "\", \"created\": 1, \"expires\": 0 }] }"),
      "keys[0].expires" },
    // A member that is spelt wrongly would make a key valid for ever.
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [{ \"sha256\": \"" HASH_A
                       "\", \"created\": 1, \"expire\": 3 }] }"),
      "keys[0]: there is no member \"expire\"" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [" KEY_A "], \"revoked\": true }"),
      "devices[0]: there is no member \"revoked\"" },
    { TABLE(LAMP ", " LAMP), "two boards have the name lamp" },
    { TABLE(LAMP
            ", { \"id\": \"0123456789abcdef\", \"name\": \"door\", \"created\": 1, \"functions\": \"*\", "
            "\"keys\": [{ \"sha256\": \"" HASH_C "\", \"created\": 1 }] }"),
      "the boards door and lamp have the same id" },
    { TABLE(LAMP
            ", { \"id\": \"0123456789abcde0\", \"name\": \"door\", \"created\": 1, \"functions\": \"*\", "
            "\"keys\": [{ \"sha256\": \"" HASH_B "\", \"created\": 1 }] }"),
      "the key with sha256 3e23e816... is there twice" },
    { TABLE(LAMP_START "\"functions\": \"*\", \"keys\": [" KEY_A ", " KEY_A "] }"), "is there twice" },
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        refuses(refusals[i].text, refusals[i].words);
}

// Somebody may have put a key in there; the message is logged.
static void test_messages_do_not_quote_the_file(void **state)
{
    (void)state;
    struct device_table *t = NULL;
    struct err err = { 0 };
    assert_false(device_table_parse(STR("{ \"version\": 1 \"sp-pico-secret\" }"), &t, &err));
    assert_null(strstr(err.detail, "sp-pico"));
    assert_false(device_table_parse(STR(TABLE("{ \"id\": \"sp-pico-secret\" }")), &t, &err));
    assert_null(strstr(err.detail, "sp-pico"));
}

static void test_text_of_a_table(void **state)
{
    (void)state;
    static const char wanted[] =
        "{\n  \"version\": 1,\n  \"devices\": [\n"
        "    {\n      \"id\": \"fedcba9876543210\",\n      \"name\": \"door\",\n      \"created\": 5,\n"
        "      \"functions\": \"*\",\n      \"keys\": [\n"
        "        { \"sha256\": \"" HASH_C "\", \"created\": 5 }\n      ]\n    },\n"
        "    {\n      \"id\": \"0123456789abcdef\",\n      \"name\": \"lamp\",\n      \"created\": 1000,\n"
        "      \"functions\": [\"flash\", \"read\"],\n      \"keys\": [\n"
        "        { \"sha256\": \"" HASH_A "\", \"created\": 1000 },\n"
        "        { \"sha256\": \"" HASH_B
        "\", \"created\": 2000, \"expires\": 3000 }\n      ]\n    }\n  ]\n}\n";
    struct arena *a = arena_new(1 << 20);
    struct device_table *t = parse(both);
    struct device turned[] = { t->v[1], t->v[0] };
    assert_string_equal(device_table_text(a, t->v, t->n).p, wanted);
    assert_string_equal(device_table_text(a, turned, 2).p, wanted);
    assert_string_equal(device_table_text(a, NULL, 0).p, "{\n  \"version\": 1,\n  \"devices\": []\n}\n");
    struct device_table *again = parse(str_c(wanted));
    assert_string_equal(device_table_text(a, again->v, again->n).p, wanted);
    device_table_drop(again);
    device_table_drop(t);
    arena_free(a);
}

static void test_odd_functions_survive_writing(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct str odd[] = { STR_INIT("<script>\""), STR_INIT("\xf0\x9f\x92\xa1"), STR_INIT("a,b") };
    struct device_table *t = parse(both);
    struct device d = t->v[0];
    d.any_function = false;
    d.functions = (struct strlist){ odd, 3 };
    struct device_table *again = parse(device_table_text(a, &d, 1));
    assert_int_equal(again->v[0].functions.n, 3);
    for (size_t i = 0; i < 3; i++) assert_true(str_eq(again->v[0].functions.v[i], odd[i]));
    device_table_drop(again);
    device_table_drop(t);
    arena_free(a);
}

// --- sizes

static struct str many_devices(struct arena *a, size_t n)
{
    struct device *v = arena_array(a, n, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct device){ arena_printf(a, "%016zx", n - i), arena_printf(a, "b%zu", i), 1, .nkeys = 2 };
        v[i].any_function = true;
        for (size_t k = 0; k < 2; k++) {
            struct str key = arena_printf(a, "%zu-%zu", i, k);
            v[i].keys[k].created = 1;
            assert_true(crypto_sha256(key, v[i].keys[k].hash));
        }
    }
    return device_table_text(a, v, n);
}

static void test_as_many_as_there_may_be(void **state)
{
    (void)state;
    struct arena *a = arena_new(128 << 20);
    struct device_table *t = parse(many_devices(a, LIMIT_PICO_DEVICES));
    assert_int_equal(t->n, LIMIT_PICO_DEVICES);
    for (size_t i = 0; i < t->n; i += 97) {
        assert_true(device_by_name(t, t->v[i].name) == &t->v[i]);
        assert_true(device_by_id(t, t->v[i].id) == &t->v[i]);
    }
    const struct device *d = device_by_key(t, STR("9999-1"), 1, NULL);
    assert_true(d && str_eq_c(d->name, "b9999"));
    device_table_drop(t);
    refuses(many_devices(a, LIMIT_PICO_DEVICES + 1).p, "at most 10000 boards");
    char *large = mem_alloc(LIMIT_PICO_DEVICES_BYTES + 2);
    memset(large, ' ', LIMIT_PICO_DEVICES_BYTES + 1);
    memcpy(large, both.p, both.n);
    large[LIMIT_PICO_DEVICES_BYTES + 1] = '\0';
    refuses(large, "bytes; 16777216 are accepted");
    large[LIMIT_PICO_DEVICES_BYTES] = '\0';
    device_table_drop(parse(str_c(large)));
    mem_free(large);
    arena_free(a);
}

static struct str with_functions(struct arena *a, int n)
{
    struct sbuf b;
    sbuf_init(&b, a, 1 << 20);
    sbuf_add_c(&b,
               "{ \"version\": 1, \"devices\": [" LAMP_START "\"keys\": [" KEY_A "], \"functions\": [\"f\"");
    for (int i = 1; i < n; i++) sbuf_addf(&b, ", \"f%d\"", i);
    sbuf_add_c(&b, "] }] }");
    return sbuf_str(&b);
}

static void test_no_more_functions_than_a_board_has(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct device_table *t = parse(with_functions(a, LIMIT_PICO_FUNCTIONS));
    assert_int_equal(t->v[0].functions.n, LIMIT_PICO_FUNCTIONS);
    device_table_drop(t);
    refuses(with_functions(a, LIMIT_PICO_FUNCTIONS + 1).p, "a list of 1 to 64 names");
    arena_free(a);
}

// --- memory

static void test_references(void **state)
{
    (void)state;
    struct device_table *t = parse(both);
    assert_ptr_equal(device_table_hold(t), t);
    device_table_drop(t);
    assert_true(str_eq_c(t->v[0].name, "door")); // a sanitizer would see that it is gone
    device_table_drop(t);
    device_table_drop(NULL);
}

static bool parse_and_write(struct err *err)
{
    struct device_table *t = NULL;
    if (!device_table_parse(both, &t, err)) {
        assert_null(t);
        return false;
    }
    assert_true(t->n == 2 && str_eq_c(t->v[1].functions.v[1], "read"));
    struct arena *a = arena_new(1 << 16);
    struct str text = a ? device_table_text(a, t->v, t->n) : STR_NONE;
    bool ok = text.p || err_set(err, ERR_NO_MEMORY, "no text");
    if (ok) assert_true(str_ends(text, STR("]\n}\n")));
    arena_free(a);
    device_table_drop(t);
    return ok;
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct err err = { 0 };
        mem_fail_at(n);
        bool ok = parse_and_write(&err), failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(ok, !failed);
        if (!failed) {
            print_message("%ld allocations\n", n - 1);
            assert_true(n > 20);
            return;
        }
        assert_int_equal(err.code, ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_empty_tables),
        cmocka_unit_test(test_whose_key_it_is),
        cmocka_unit_test(test_keys_expire),
        cmocka_unit_test(test_hashes_are_compared_whole),
        cmocka_unit_test(test_names_of_boards),
        cmocka_unit_test(test_names_of_functions),
        cmocka_unit_test(test_what_may_be_registered),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_messages_do_not_quote_the_file),
        cmocka_unit_test(test_text_of_a_table),
        cmocka_unit_test(test_odd_functions_survive_writing),
        cmocka_unit_test(test_as_many_as_there_may_be),
        cmocka_unit_test(test_no_more_functions_than_a_board_has),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
