// SPDX-License-Identifier: GPL-3.0-or-later
// Calls of several people, with the policy that they come under; and boards that answer by themselves.
#pragma once

#include <pthread.h>

#include "relay_rig.h"

extern struct board_peer boards[3];
extern struct relay_visitor bob, eve, kim; // bob: `flash` of board-0 alone; eve: nothing; kim: all

int calls_setup(void **state); // relay_teardown ends it

// --- one request and its answer

#define JSON "Content-Type: application/json\r\n"

struct ask {
    const char *cookie; // a field line
    const char *method, *path, *fields, *body;
};

void send_ask(struct client *c, const struct ask *a);
// Waits for a whole answer, which stays in c->in.
const char *answer_of(struct client *c);
void expect_parts(const char *text, const char *status, const char *part);
// The connection still serves, or has said that it does not.
void expect_order(struct client *c);
void expect_audit(const char *reason, const char *what);
// A refusal in the form that pages of callers understand.
void expect_refusal(const struct ask *a, const char *status, const char *type);
void expect_call(struct board_peer *b, struct client *c, char id[64], char function[64]);
void expect_answer(struct client *c, const char *status, const char *part);
// The board has heard of no call but the one that is made now.
void expect_untouched(struct board_peer *b, const char *device, const char *function);

// --- boards that answer by themselves

// Each call with the board's number, until it is hung up on.
pthread_t start_answering(struct board_peer *b);
void stop_answering(struct board_peer *b, pthread_t t);
