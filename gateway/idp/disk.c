// SPDX-License-Identifier: GPL-3.0-or-later
// Last good copies: <state>/idp/<key>.{metadata.xml,discovery.json,jwks.json}, 0600. What is read here is a
// candidate like any other and is checked again by a verifier.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/certs.h"
#include "gateway/idp/private.h"

static const char *const suffix[] = {
    [DOCUMENT_METADATA] = "metadata.xml",
    [DOCUMENT_DISCOVERY] = "discovery.json",
    [DOCUMENT_JWKS] = "jwks.json",
};
#define HEADER "sallyport copy of "

static struct str disk_path(struct arena *a, const struct idp *idp, const struct document *d)
{
    return arena_printf(a, "%.*s/idp/%.*s.%s", STR_FMT(idp->config->state_dir),
                        STR_FMT(d->provider->config->key), suffix[d->kind]);
}

// Splits the first line off and compares it: the key in the configuration may have belonged to another
// provider before.
static bool header_matches(const struct document *d, struct str *text)
{
    struct str rest = *text, line, source = document_source(d);
    if (!source.p || !str_cut(&rest, '\n', &line) || !rest.p) return false;
    if (!str_starts(line, STR(HEADER)) || !str_eq(str_skip(line, sizeof HEADER - 1), source)) return false;
    *text = rest;
    return true;
}

bool disk_load(const struct idp *idp, const struct document *d, struct arena *a, struct str *ret_text,
               int64_t *ret_time)
{
    struct err err;
    struct stat st;
    struct str path = disk_path(a, idp, d), text;
    if (!path.p || stat(path.p, &st) != 0) return false;
    if (!file_read_private(a, path.p, LIMIT_SAML_METADATA_BYTES + LIMIT_URL_BYTES, &text, &err)) {
        log_failure(LOG_WARN, "idp.copy_unreadable", &err);
        return false;
    }
    if (!header_matches(d, &text)) return false;
    *ret_text = text;
    *ret_time = st.st_mtim.tv_sec;
    return true;
}

static bool save(const struct idp *idp, const struct document *d, struct arena *a, struct err *err)
{
    struct str dir = arena_printf(a, "%.*s/idp", STR_FMT(idp->config->state_dir));
    struct str path = disk_path(a, idp, d), source = document_source(d);
    struct sbuf b;
    sbuf_init(&b, a, LIMIT_SAML_METADATA_BYTES + LIMIT_URL_BYTES);
    sbuf_add_c(&b, HEADER);
    sbuf_add(&b, source);
    sbuf_add_c(&b, "\n");
    sbuf_add(&b, (struct str){ d->text, d->n });
    struct str content = sbuf_str(&b);
    if (!dir.p || !path.p || !content.p) return err_set(err, ERR_NO_MEMORY, "copy of a document");
    if (mkdir(dir.p, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_FILE, "%s: %s", dir.p, strerror(errno));
    return file_write(path.p, content, 0600, err);
}

void disk_save(const struct idp *idp, const struct document *d)
{
    struct err err = { 0 };
    struct arena *a = arena_new(4 * LIMIT_SAML_METADATA_BYTES);
    if (!a || !save(idp, d, a, &err)) log_failure(LOG_WARN, "idp.copy_not_saved", &err);
    arena_free(a);
}
