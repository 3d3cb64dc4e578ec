// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a configuration file. Either it loads, or there is at least one error with words and a place
// in the file.
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/yaml.h"
#include "gateway/config/config.h"

static void check_errors(const struct config_errors *errors)
{
    assert(errors->n > 0 && errors->n <= LIMIT_CONFIG_ERRORS);
    for (size_t i = 0; i < errors->n; i++) assert(errors->v[i].message.n);
}

static void check_config(const struct config *c)
{
    assert(c->login_host.n && c->routes.n && c->public_port);
    for (size_t i = 0; i < c->routes.n; i++) {
        const struct route_target *t = c->routes.v[i].target;
        assert(c->routes.v[i].policy &&
               (t->nbackends > 0) + (t->redirect.to.p != NULL) + t->pico.served == 1);
        assert(c->routes.v[i].path.p[0] == '/');
    }
}

static void load(struct arena *a, const char *path)
{
    static struct config_errors errors;
    struct config *c = config_load(path, a, &errors);
    if (c)
        check_config(c);
    else
        check_errors(&errors);
    config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(64 << 20);
    int fd = memfd_create("config", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (a && fd >= 0 && write(fd, data, size) == (ssize_t)size) {
        struct yaml_node *root;
        struct yaml_error error;
        (void)yaml_read(a, (struct str){ (const char *)data, size }, &root, &error);
        load(a, path);
    }
    if (fd >= 0) close(fd);
    arena_free(a);
    return 0;
}
