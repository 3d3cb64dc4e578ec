// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of a verifier process: one payload in, one payload out. Keeps nothing between messages but our
// SAML service provider and the parsed metadata of each SAML provider.
#pragma once

#include "gateway/verifier/verify_proto.h"

struct verifier;
struct verifier *verifier_new(void); // NULL when out of memory
void verifier_free(struct verifier *v);

enum { VERIFIER_MESSAGE_MEMORY = 128 * 1024 * 1024 };
// Answers one request. `message` is the arena (of VERIFIER_MESSAGE_MEMORY) that holds `payload`; it is handed
// over and its successor comes back through it when the verifier keeps what is in it. False: the payload is
// not a request, or memory is short: the process must end.
bool verifier_answer(struct verifier *v, struct arena **message, struct str payload, bool last,
                     struct str *ret_reply);
