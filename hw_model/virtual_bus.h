// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What libusb and libudev look at to find USB devices, for devices at the ports of one bus: a tree like sysfs, the
// folders of udev, and the announcements on udev's netlink group. All of it is in namespaces of this process: nothing
// outside sees it, and it vanishes with the last process inside.
#ifndef SYSTOLE_VIRTUAL_BUS_H
#define SYSTOLE_VIRTUAL_BUS_H

#include "device.h"

#define SYSTOLE_VIRTUAL_BUS_NUMBER 1u
#define SYSTOLE_VIRTUAL_BUS_FOLDER "/dev/bus/usb" // mount the device files here after systole_virtual_bus_enter

enum { SYSTOLE_VIRTUAL_BUS_PORTS = 16 };

struct systole_virtual_bus {
    int announcements;    // netlink socket
    unsigned last_number; // that a device was given
    unsigned sequence;
    bool made_folder;                                   // /dev/bus was not there
    unsigned device_numbers[SYSTOLE_VIRTUAL_BUS_PORTS]; // of the device at each port; 0: none is there
};

// Leaves the caller's mount and network namespaces for new ones (and its user namespace, when it may not else), with
// an empty /sys, an empty folder for device files and a udev that seems to run. Call it in a process of its own.
// SYSTOLE_UNSUPPORTED where the system does not permit it.
enum systole_status systole_virtual_bus_enter(struct systole_virtual_bus *bus, struct systole_diagnostic *diagnostic);

// Makes a device appear, or disappear, in the tree and announces it. Port 0 is called 1-1. Each time a device appears
// it has another number, as Linux gives them: upwards to 127, then those that are free.
enum systole_status systole_virtual_bus_plug(struct systole_virtual_bus *bus, unsigned port,
                                             const struct systole_usb_device *device,
                                             struct systole_diagnostic *diagnostic);
void systole_virtual_bus_unplug(struct systole_virtual_bus *bus, unsigned port);

void systole_virtual_bus_leave(
    struct systole_virtual_bus *bus); // takes back what enter did outside; call it also when that failed

#endif
