// SPDX-License-Identifier: GPL-3.0-or-later
#include <string.h>

#include "examples/demo-idp/idp.h"

const struct demo_user demo_users[] = {
    { "ann", "ann", "Ann Archer", "ann@example.com", { "staff", "admins" } },
    { "bob", "bob", "Bob Baker", "bob@example.com", { "guests" } },
};
const size_t demo_user_count = sizeof demo_users / sizeof *demo_users;

const struct demo_user *demo_user_check(const char *name, const char *password)
{
    for (size_t i = 0; i < demo_user_count; i++)
        if (strcmp(demo_users[i].name, name) == 0 && strcmp(demo_users[i].password, password) == 0)
            return &demo_users[i];
    return NULL;
}
