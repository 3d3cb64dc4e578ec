// SPDX-License-Identifier: GPL-3.0-or-later
// Which attribute feeds which field of an identity, when the operator says nothing. The table is
// saml_default_names() of saml.h.
#pragma once

#include "saml/saml.h"

enum { MAPPING_MAX = 24 };
// The pseudo attribute for the subject's NameID, usable in `claims: { subject: [NameID] }`.
#define MAPPING_NAME_ID "NameID"

// The configured names for `field` ("email"), or the default ones. `room` holds them.
struct strlist mapping_names(const char *field, struct strlist configured, struct str room[MAPPING_MAX]);
