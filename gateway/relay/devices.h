// SPDX-License-Identifier: GPL-3.0-or-later
// The file of devices in the state directory (`devices.json`): read by the gateway when it starts and again
// by a thread of its own when it changes, written by `sallyport pico`. It is not in the session store because
// that may start empty after a crash of the machine; a key must not be lost so. Written whole, to another
// name, flushed, then renamed; one writer at a time (a lock file).
#pragma once

#include "relay/device.h"

#define DEVICES_FILE "devices.json"

// Reads it. A file (or a directory) that is not there is an empty table. ERR_FILE: also when others than
// root, we and the owner of the directory could write it. ERR_PICO_DEVICES.
bool devices_read(struct str state_dir, struct device_table **ret, struct err *err);

// Changes it under the lock: `change` gets the devices and changes the list (a larger array comes from the
// arena), or returns false with `err`: nothing is written then, nor what would be no good table. The file
// belongs to the owner of the directory and is readable by nobody else.
struct device_list {
    struct arena *arena;
    struct device *v;
    size_t n;
};
bool devices_change(struct str state_dir,
                    bool (*change)(void *context, struct device_list *list, struct err *err), void *context,
                    struct err *err);

// The thread: `changed` is called on it with each new table (a reference of its own); also at its start,
// since the file may have changed after it was read, and with the same table when a key has just expired. A
// file that cannot be read or is damaged changes nothing and is logged once (`pico.devices`).
struct devices_watch;
struct devices_watch *devices_watch_start(struct str state_dir,
                                          void (*changed)(void *context, struct device_table *t),
                                          void *context, struct err *err);
void devices_watch_stop(struct devices_watch *w); // NULL is accepted
