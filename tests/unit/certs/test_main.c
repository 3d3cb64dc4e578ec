// SPDX-License-Identifier: GPL-3.0-or-later
#include "test.h"

int main(void)
{
    int failed = run_certs_tests();
    return failed + run_tls_tests() ? 1 : 0;
}
