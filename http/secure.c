// SPDX-License-Identifier: GPL-3.0-or-later
// Secure headers of answers: values of the OWASP Secure Headers project (docs/headers.md says why each is as
// it is).
#include "http/policy.h"

struct secure {
    enum field_id id;
    struct str value;
};

// Nothing that works without them stops working with them, unless another site frames the application.
static const struct secure balanced[] = {
    { FIELD_HSTS, STR_INIT("max-age=31536000") },
    { FIELD_X_CONTENT_TYPE_OPTIONS, STR_INIT("nosniff") },
    { FIELD_REFERRER_POLICY, STR_INIT("strict-origin-when-cross-origin") },
    { FIELD_X_FRAME_OPTIONS, STR_INIT("SAMEORIGIN") },
    { FIELD_PERMISSIONS_POLICY,
      STR_INIT("browsing-topics=(), hid=(self), midi=(self), serial=(self), usb=(self)") },
};

static const struct secure strict[] = {
    { FIELD_HSTS, STR_INIT("max-age=31536000; includeSubDomains") },
    { FIELD_X_CONTENT_TYPE_OPTIONS, STR_INIT("nosniff") },
    { FIELD_REFERRER_POLICY, STR_INIT("no-referrer") },
    { FIELD_X_FRAME_OPTIONS, STR_INIT("deny") },
    { FIELD_X_PERMITTED_CROSS_DOMAIN_POLICIES, STR_INIT("none") },
    { FIELD_COOP, STR_INIT("same-origin") },
    { FIELD_COEP, STR_INIT("require-corp") },
    { FIELD_CORP, STR_INIT("same-origin") },
    { FIELD_PERMISSIONS_POLICY,
      STR_INIT(
          "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), "
          "encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), "
          "magnetometer=(), "
          "microphone=(), midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(), "
          "screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), xr-spatial-tracking=(), "
          "clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), idle-detection=(), interest-cohort=(), "
          "serial=(), unload=()") },
};

#define STRICT_CSP "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
static const struct str csp = STR_INIT(STRICT_CSP "frame-ancestors 'none'; upgrade-insecure-requests");
// For an application that chose who may frame it with X-Frame-Options: frame-ancestors would overrule that
// (CSP 3 section 6.4.2.2).
static const struct str csp_framing_chosen = STR_INIT(STRICT_CSP "upgrade-insecure-requests");

static bool policy_has(struct str policy, struct str directive)
{
    struct str one;
    while (str_cut(&policy, ';', &one)) {
        one = str_trim(one);
        size_t n = 0;
        while (n < one.n && one.p[n] != ' ' && one.p[n] != '\t') n++;
        if (str_eq_nocase(str_take(one, n), directive)) return true;
    }
    return false;
}

// Whether a Content-Security-Policy of the application says who may frame it. Several policies may come in
// several fields or in one, separated by commas.
static bool csp_has_frame_ancestors(const struct http_fields *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct str policies = f->v[i].value, policy;
        if (f->v[i].id != FIELD_CSP || f->v[i].removed) continue;
        while (str_cut(&policies, ',', &policy))
            if (policy_has(policy, STR("frame-ancestors"))) return true;
    }
    return false;
}

// There is always room: LIMIT_HEADERS_ADDED is more than all of these and what the gateway adds to answers.
static void add_missing(struct http_fields *f, enum field_id id, struct str value)
{
    if (!http_fields_get(f, id)) http_fields_add(f, id, http_field_name(id), value);
}

void http_secure_response(struct http_fields *f, enum secure_headers level)
{
    if (level == SECURE_OFF) return;
    const struct secure *set = level == SECURE_STRICT ? strict : balanced;
    size_t n = level == SECURE_STRICT ? sizeof strict / sizeof *strict : sizeof balanced / sizeof *balanced;
    bool framing_in_csp = csp_has_frame_ancestors(f), framing = http_fields_get(f, FIELD_X_FRAME_OPTIONS);
    for (size_t i = 0; i < n; i++)
        if (set[i].id != FIELD_X_FRAME_OPTIONS || !framing_in_csp) add_missing(f, set[i].id, set[i].value);
    if (level == SECURE_STRICT) add_missing(f, FIELD_CSP, framing ? csp_framing_chosen : csp);
}
