// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// libudev walks /sys/bus/usb/devices and reads each device's `uevent`, libusb reads its attributes; both take any file
// system for sysfs when SYSTEMD_DEVICE_VERIFY_SYSFS=0 says so to libudev. Hotplug is a datagram on the group 2 of
// NETLINK_KOBJECT_UEVENT, the one that udevd sends to; libudev listens there when /run/udev/control exists, and
// believes senders whose user is root. A network namespace has such groups of its own.
#include "virtual_bus.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE_FOLDER "/sys/devices/usb1/1-1"
#define DEVICE_LINK "/sys/bus/usb/devices/1-1"
#define BUS_FOLDER "/dev/bus"
#define UDEV_GROUP 2u
#define USB_MAJOR 189u
#define PERMIT "run as root, or where user namespaces are permitted; the in-process device needs no permission"

static enum systole_status fail(struct systole_diagnostic *diagnostic, const char *what, const char *where) {
    return systole_fail(diagnostic, SYSTOLE_UNSUPPORTED, where, PERMIT, "cannot %s for the virtual USB bus: %s", what,
                        strerror(errno));
}

static bool write_file(const char *path, const void *bytes, size_t size) {
    int file = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    bool written = file >= 0 && write(file, bytes, size) == (ssize_t)size;
    if (file >= 0) {
        written = close(file) == 0 && written;
    }
    return written;
}

static bool write_text(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool write_text(const char *path, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return length >= 0 && (size_t)length < sizeof text && write_file(path, text, (size_t)length);
}

static bool make_folders(const char *const *paths) {
    for (; *paths != NULL; paths++) {
        if (mkdir(*paths, 0755) != 0 && errno != EEXIST) {
            return false;
        }
    }
    return true;
}

static bool mount_empty(const char *path) {
    return mount("systole", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0;
}

// ---- Namespaces.

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool unshare_all(void) {
    uid_t user = geteuid();
    gid_t group = getegid();
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) == 0) {
        return true;
    }
    // Not permitted here: in a user namespace of its own every user is root.
    return errno == EPERM && unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) == 0 &&
           write_text("/proc/self/uid_map", "0 %u 1", user) && write_text("/proc/self/setgroups", "deny") &&
           write_text("/proc/self/gid_map", "0 %u 1", group);
}

static enum systole_status make_tree(struct systole_virtual_bus *bus, struct systole_diagnostic *diagnostic) {
    static const char *const sysfs[] = {"/sys/devices", "/sys/devices/usb1",    DEVICE_FOLDER, "/sys/bus",
                                        "/sys/bus/usb", "/sys/bus/usb/devices", "/sys/class",  NULL};
    static const char *const run[] = {"/run/udev", "/run/udev/data", NULL};
    static const char *const usb[] = {SYSTOLE_VIRTUAL_BUS_FOLDER, NULL};
    if (!mount_empty("/sys") || !make_folders(sysfs) || symlink("../../../bus/usb", DEVICE_FOLDER "/subsystem") != 0) {
        return fail(diagnostic, "replace the folder", "/sys");
    }
    if (!mount_empty(is_folder("/run/udev") ? "/run/udev" : "/run") || !make_folders(run) ||
        !write_file("/run/udev/control", "", 0)) {
        return fail(diagnostic, "replace the folder", "/run/udev");
    }
    if (!is_folder(SYSTOLE_VIRTUAL_BUS_FOLDER)) {
        // A machine without USB. The one folder that is made outside is taken away in the end.
        bus->made_folder = mkdir(BUS_FOLDER, 0755) == 0;
        if ((!bus->made_folder && errno != EEXIST) || !mount_empty(BUS_FOLDER) || !make_folders(usb)) {
            return fail(diagnostic, "make the folder", SYSTOLE_VIRTUAL_BUS_FOLDER);
        }
    }
    return SYSTOLE_OK;
}

enum systole_status systole_virtual_bus_enter(struct systole_virtual_bus *bus, struct systole_diagnostic *diagnostic) {
    *bus = (struct systole_virtual_bus){.announcements = -1, .device_number = 1};
    if (!unshare_all()) {
        return fail(diagnostic, "make namespaces", "");
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return fail(diagnostic, "make mounts private", "/");
    }
    bus->announcements = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (bus->announcements < 0) {
        return fail(diagnostic, "open a netlink socket", "");
    }
    return make_tree(bus, diagnostic);
}

void systole_virtual_bus_leave(struct systole_virtual_bus *bus) {
    if (bus->announcements >= 0) {
        (void)close(bus->announcements);
        bus->announcements = -1;
    }
    if (bus->made_folder) {
        (void)umount2(BUS_FOLDER, MNT_DETACH);
        (void)rmdir(BUS_FOLDER);
        bus->made_folder = false;
    }
}

// ---- Plugging.

// Strings with their zeros, one behind the other. Nobody may be listening; that is no error.
static void announce(struct systole_virtual_bus *bus, const char *action) {
    char message[512];
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = UDEV_GROUP};
    unsigned number = bus->device_number;
    int length =
        snprintf(message, sizeof message,
                 "%s@/devices/usb1/1-1%cACTION=%s%cDEVPATH=/devices/usb1/1-1%cSUBSYSTEM=usb%c"
                 "DEVTYPE=usb_device%cDEVNAME=bus/usb/%03u/%03u%cBUSNUM=%03u%cDEVNUM=%03u%cMAJOR=%u%cMINOR=%u%c"
                 "SEQNUM=%u%c",
                 action, 0, action, 0, 0, 0, 0, SYSTOLE_VIRTUAL_BUS_NUMBER, number, 0, SYSTOLE_VIRTUAL_BUS_NUMBER, 0,
                 number, 0, USB_MAJOR, 0, number - 1, 0, ++bus->sequence, 0);
    (void)sendto(bus->announcements, message, (size_t)length, 0, (const struct sockaddr *)&group, sizeof group);
}

enum systole_status systole_virtual_bus_plug(struct systole_virtual_bus *bus, const struct systole_usb_device *device,
                                             struct systole_diagnostic *diagnostic) {
    uint8_t descriptors[1024];
    size_t size = systole_usb_descriptors(device, descriptors, sizeof descriptors);
    unsigned number = ++bus->device_number;
    bool written =
        write_file(DEVICE_FOLDER "/descriptors", descriptors, size) &&
        write_text(DEVICE_FOLDER "/busnum", "%u\n", SYSTOLE_VIRTUAL_BUS_NUMBER) &&
        write_text(DEVICE_FOLDER "/devnum", "%u\n", number) && write_text(DEVICE_FOLDER "/speed", "5000\n") &&
        write_text(DEVICE_FOLDER "/bConfigurationValue", "1\n") &&
        write_text(DEVICE_FOLDER "/bNumConfigurations", "1\n") &&
        write_text(DEVICE_FOLDER "/idVendor", "%04x\n", SYSTOLE_USB_VENDOR_ID) &&
        write_text(DEVICE_FOLDER "/idProduct", "%04x\n", systole_usb_product(device)) &&
        write_text(DEVICE_FOLDER "/manufacturer", "Systole\n") && write_text(DEVICE_FOLDER "/product", "Systole\n") &&
        write_text(DEVICE_FOLDER "/uevent",
                   "MAJOR=%u\nMINOR=%u\nDEVNAME=bus/usb/%03u/%03u\nDEVTYPE=usb_device\nBUSNUM=%03u\nDEVNUM=%03u\n",
                   USB_MAJOR, number - 1, SYSTOLE_VIRTUAL_BUS_NUMBER, number, SYSTOLE_VIRTUAL_BUS_NUMBER, number);
    if (!written || (symlink("../../../devices/usb1/1-1", DEVICE_LINK) != 0 && errno != EEXIST)) {
        return fail(diagnostic, "describe the device", DEVICE_FOLDER);
    }
    announce(bus, "add");
    return SYSTOLE_OK;
}

void systole_virtual_bus_unplug(struct systole_virtual_bus *bus) {
    (void)unlink(DEVICE_LINK);
    announce(bus, "remove");
}
