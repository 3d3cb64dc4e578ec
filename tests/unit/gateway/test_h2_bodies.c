// SPDX-License-Identifier: GPL-3.0-or-later
#include "h2_rig.h"
int main(void)
{
    return 0;
}
