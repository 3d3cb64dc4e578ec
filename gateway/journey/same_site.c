// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/same_site.h"

bool same_site_is(const struct exchange *x)
{
    struct str site = http_fields_value(&x->req.fields, FIELD_SEC_FETCH_SITE);
    if (site.p && !str_eq_c(site, "same-origin") && !str_eq_c(site, "none")) return false;
    struct str origin = http_fields_value(&x->req.fields, FIELD_ORIGIN);
    // Our pages ask for no referrer, which makes browsers send "null" for their forms.
    if (!origin.p || str_eq_c(origin, "null")) return site.p || !origin.p;
    return str_eq(origin, config_origin(x->arena, x->worker->shared->config, x->host));
}
