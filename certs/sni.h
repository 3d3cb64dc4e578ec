// SPDX-License-Identifier: GPL-3.0-or-later
// Inside certs/ only: the server_name extension of a ClientHello (RFC 6066 section 3). Pure.
#pragma once

#include "base/str.h"

// The host name of the extension's content; false when it is not exactly one well-formed host_name.
bool sni_host(struct str extension, struct str *ret);
