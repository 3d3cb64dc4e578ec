// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/return_url.h"

#include "http/target.h"

bool return_url_check(struct arena *a, const struct config *c, struct str raw, struct url *ret,
                      struct str *ret_text, struct err *err)
{
    struct url u;
    struct err why = { 0 };
    if (raw.n > LIMIT_URL_BYTES)
        return err_set(err, ERR_LOGIN_TARGET, "longer than %d bytes", LIMIT_URL_BYTES);
    if (!url_parse(a, raw, &u, &why)) return err_set(err, ERR_LOGIN_TARGET, "%s", why.detail);
    if (!u.https) return err_set(err, ERR_LOGIN_TARGET, "not https");
    if (!str_eq(u.host, c->login_host) && !route_has_host(&c->routes, u.host))
        return err_set(err, ERR_LOGIN_TARGET, "no route for host '%.*s'", STR_FMT(u.host));
    if (u.port != c->public_port)
        return err_set(err, ERR_LOGIN_TARGET, "port %u instead of %u", u.port, c->public_port);
    struct http_target target;
    if (!http_target_parse(a, u.path, &target, &why)) return err_set(err, ERR_LOGIN_TARGET, "%s", why.detail);
    u.path = target.path;
    u.fragment = STR_NONE;
    struct str text = url_format(a, &u);
    if (!text.p) return err_set(err, ERR_NO_MEMORY, "return URL");
    *ret = u;
    *ret_text = text;
    return true;
}
