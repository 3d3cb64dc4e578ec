// SPDX-License-Identifier: GPL-3.0-or-later
// A provider for tests: makes keys, key sets and tokens, right and wrong ones. What it signs with OpenSSL can
// have any header and payload; cjose is the independent implementation that proves the shape of the right
// ones.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <string.h>

#include "oidc/oidc.h"

#define ISSUER "https://idp.example.com"
#define CLIENT_ID "app"
#define NONCE "n-0S6_WzA2Mj"
#define ACCESS_TOKEN "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
#define NOW 1700000000
#define PAYLOAD                                                                                              \
    "{\"iss\":\"" ISSUER "\",\"sub\":\"248289761001\",\"aud\":\"" CLIENT_ID "\",\"exp\":1700000300,"         \
    "\"iat\":1700000000,\"nonce\":\"" NONCE "\"}"

enum test_key { KEY_RSA, KEY_RSA_OTHER, KEY_RSA_SMALL, KEY_P256, KEY_P384, KEY_P521, KEY_ED25519, KEY_COUNT };

EVP_PKEY *test_key(enum test_key which); // made once per process
void test_keys_free(void);
// The public JWK with `extra` members (text like `"use":"sig"`, or NULL) and kid (NULL: none).
struct str test_jwk(struct arena *a, enum test_key which, const char *kid, const char *extra);
// A set of `count` JWK texts.
struct str test_jwks(struct arena *a, const struct str *keys, size_t count);
// The set with the one key `which`, kid "k".
struct str test_jwks_of(struct arena *a, enum test_key which);
// The raw signature of `input`.
struct str test_signature(struct arena *a, enum test_key which, const char *alg, struct str input);
// A token with this header and payload text, signed with the key as `alg` says.
struct str test_token(struct arena *a, enum test_key which, const char *alg, const char *header,
                      struct str payload);
// Three parts, already decoded, as a token.
struct str test_compact(struct arena *a, struct str header, struct str payload, struct str signature);
// A token endpoint's answer.
struct str test_answer(struct arena *a, struct str id_token);
// The usual client, and its login of `answer`.
struct oidc_client test_client(void);
enum err_code test_login(struct arena *a, struct str answer, struct str jwks, struct identity *ret);
enum err_code test_login_token(struct arena *a, struct str token, struct str jwks);

// Calls `run` with the text of each file in VECTORS/<part>/<error name>/; "ok" means ERR_NONE.
void test_vectors(const char *part, size_t at_least, enum err_code (*run)(struct arena *a, struct str text));
void assert_code(enum err_code got, enum err_code want);
void assert_str(struct str got, const char *want);
