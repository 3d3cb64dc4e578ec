// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/client.h"

#include "http/forwarded.h"

static bool set_client(struct exchange *x, const struct ip_address *who)
{
    char text[IP_TEXT_BYTES];
    ip_text(who, text);
    x->address = *who;
    x->client = arena_str_c(x->arena, text);
    return x->client.p || err_set(&x->err, ERR_NO_MEMORY, "the client's address");
}

// What the browser used counts, not the last hop: over plain HTTP it would not keep our cookies.
static void set_scheme(struct exchange *x, enum forwarded_proto proto)
{
    if (proto != PROTO_UNSAID) x->secure = proto == PROTO_HTTPS;
}

bool client_find(struct exchange *x)
{
    const struct ip_networks *trusted = &x->worker->shared->config->trusted_proxies;
    struct forwarded f;
    if (!ip_networks_have(trusted, &x->address)) return true;
    if (!http_forwarded_read(&x->req.fields, trusted, &f, &x->err)) return false;
    set_scheme(x, f.proto);
    return !f.has_client || set_client(x, &f.client);
}
