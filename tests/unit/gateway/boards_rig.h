// SPDX-License-Identifier: GPL-3.0-or-later
// What a visitor is told of boards: the directory, the client and the clock are the test's; policy, pages and
// answers are the real ones.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/journey/answer.h"
#include "gateway/journey/visitor.h"
#include "gateway/pages/pages.h"
#include "gateway/relay/hub.h"

// --- the directory, policy's question, and clocks

enum { BOARDS_MAX = 4096, FUNCTIONS_MAX = 64 };

struct rig {
    struct arena *arena;
    struct device devices[BOARDS_MAX];
    struct board boards[BOARDS_MAX];
    bool connected[BOARDS_MAX]; // since the gateway started
    struct device_table table;
    struct events events;
    struct board_watch *watch;
    struct timer *ping; // of the last stream that came
    int watched_sessions;
    size_t decisions;
    struct config config;
    struct shared shared;
    struct worker worker;
};
extern struct rig *rig;

extern const struct route route;

int boards_setup(void **state); // of each test
int boards_teardown(void **state);

// Board i, with functions that are separated by spaces.
void add_board(size_t i, const char *name, bool connected, const char *functions);
void fire(struct timer *t);

// --- a client

struct client {
    struct exchange x;
    char *in;
    size_t n, room; // received; what it takes at once
    int writes, flushes;
    bool head, ended, aborted;
};

// Of the board `hidden` nobody may call anything; of the others makers may call some functions, staff all.
struct client *maker(void);
struct client *client_of(const char *subject, const char *group);
void client_free(struct client *c);
struct str field(const struct client *c, const char *name);
void assert_in(const struct client *c, const char *want);
size_t count(const struct client *c, const char *text);
void forget(struct client *c);

#define TEST(name) cmocka_unit_test_setup_teardown(name, boards_setup, boards_teardown)
