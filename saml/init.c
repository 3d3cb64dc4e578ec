// SPDX-License-Identifier: GPL-3.0-or-later
// One-time set-up of the XML libraries: nothing may be fetched, nothing may be printed, nothing in the
// environment counts.
#include <dlfcn.h>
#include <lasso/lasso.h>
#include <libxml/parser.h>
#include <libxml/xmlIO.h>
#include <stdlib.h>
#include <xmlsec/errors.h>
#include <xmlsec/io.h>
#include <xmlsec/xmlsec.h>

#include "saml/lasso_log.h"
#include "saml/saml.h"

static void silent(void *ctx, const char *format, ...)
{
    (void)ctx, (void)format;
}

static void silent_error(void *ctx, xmlErrorPtr error)
{
    (void)ctx, (void)error;
}

static void silent_xmlsec(const char *file, int line, const char *func, const char *object,
                          const char *subject, int reason, const char *msg)
{
    (void)file, (void)line, (void)func, (void)object, (void)subject, (void)reason, (void)msg;
}

static xmlParserInputPtr fetch_nothing(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
    (void)url, (void)id, (void)ctxt;
    return NULL;
}

// LASSO_FLAG=no-verify-signature would switch off the signature checks of the whole process.
static void forget_environment(void)
{
    unsetenv("LASSO_FLAG");
    unsetenv("LASSO_DEFAULT_KEY_ENCRYPTION_METHOD");
    unsetenv("LASSO_DEBUG");
    unsetenv("XML_CATALOG_FILES");
    unsetenv("SGML_CATALOG_FILES");
}

// Exported by liblasso, declared in none of its public headers.
extern int lasso_flag_verify_signature;

// A build that lost either of the two would look healthy until somebody attacks it.
static bool check_lasso(struct err *err)
{
    if (!lasso_flag_verify_signature) return err_set(err, ERR_INTERNAL, "lasso does not verify signatures");
    if (dlsym(RTLD_DEFAULT, "lasso_log") != (void *)(uintptr_t)lasso_log)
        return err_set(err, ERR_INTERNAL, "lasso_log of this program does not replace the one of liblasso");
    return true;
}

bool saml_init(struct err *err)
{
    forget_environment();
    xmlInitParser();
    // Sets up xmlsec with its OpenSSL backend as well.
    if (lasso_init() != 0) return err_set(err, ERR_INTERNAL, "lasso_init failed");
    xmlSecErrorsSetCallback(silent_xmlsec);
    xmlSecIOCleanupCallbacks(); // file, http and ftp: a Reference can name none of them
    xmlSetGenericErrorFunc(NULL, silent);
    xmlSetStructuredErrorFunc(NULL, silent_error);
    xmlSetExternalEntityLoader(fetch_nothing);
    return check_lasso(err);
}

void saml_done(void)
{
    lasso_shutdown();
    xmlCleanupParser();
}
