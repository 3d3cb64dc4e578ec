// SPDX-License-Identifier: GPL-3.0-or-later
// Lines of forwarding fields: the first byte of each says which field it is. What follows a trusted proxy's
// own element has to be that element's address, whatever stands before it.
#include <stdlib.h>
#include <string.h>

#include "http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http_fields fields;

static bool add_line(struct str line)
{
    static const enum field_id ids[] = { FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, FIELD_FORWARDED };
    if (line.n == 0) return true;
    return http_fields_add(&fields, ids[(uint8_t)line.p[0] % 3], STR("x"), str_skip(line, 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ip_network network;
    struct err err = { 0 };
    struct forwarded f;
    if (!ip_network_parse(STR("10.0.0.0/8"), &network, &err)) abort();
    struct ip_networks trusted = { &network, 1 };
    struct str rest = { (const char *)data, size }, line;
    fields.n = 0;
    while (fields.n < LIMIT_HEADERS && str_cut(&rest, '\n', &line) && add_line(line)) {
    }
    if (!http_forwarded_read(&fields, &trusted, &f, &err) && err.code != ERR_FORWARDED) abort();
    // Our proxy appends the address it saw.
    http_fields_remove(&fields, FIELD_FORWARDED);
    http_fields_remove(&fields, FIELD_X_FORWARDED_PROTO);
    http_fields_add(&fields, FIELD_X_FORWARDED_FOR, STR("x"), STR("192.0.2.1"));
    struct ip_address want;
    if (!http_forwarded_read(&fields, &trusted, &f, &err) || !ip_parse(STR("192.0.2.1"), &want)) abort();
    if (!f.has_client || memcmp(&f.client, &want, sizeof want) != 0) abort();
    return 0;
}
