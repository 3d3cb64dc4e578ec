// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/relay/devices.h"
