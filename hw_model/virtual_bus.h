// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What libusb and libudev look at to find USB devices, for one device on one bus: a tree like sysfs, the folders of
// udev, and the announcements on udev's netlink group. All of it is in namespaces of this process: nothing outside
// sees it, and it vanishes with the last process inside.
#ifndef SYSTOLE_VIRTUAL_BUS_H
#define SYSTOLE_VIRTUAL_BUS_H

#include "device.h"

#define SYSTOLE_VIRTUAL_BUS_NUMBER 1u
#define SYSTOLE_VIRTUAL_BUS_FOLDER "/dev/bus/usb" // mount the device files here after systole_virtual_bus_enter

struct systole_virtual_bus {
    int announcements;      // netlink socket
    unsigned device_number; // of the device now; grows when it re-enumerates
    unsigned sequence;
    bool made_folder; // /dev/bus was not there
};

// Leaves the caller's mount and network namespaces for new ones (and its user namespace, when it may not else), with
// an empty /sys, an empty folder for device files and a udev that seems to run. Call it in a process of its own.
// SYSTOLE_UNSUPPORTED where the system does not permit it.
enum systole_status systole_virtual_bus_enter(struct systole_virtual_bus *bus, struct systole_diagnostic *diagnostic);

// Makes the device appear, or disappear, in the tree and announces it.
enum systole_status systole_virtual_bus_plug(struct systole_virtual_bus *bus, const struct systole_usb_device *device,
                                             struct systole_diagnostic *diagnostic);
void systole_virtual_bus_unplug(struct systole_virtual_bus *bus);

void systole_virtual_bus_leave(
    struct systole_virtual_bus *bus); // takes back what enter did outside; call it also when that failed

#endif
