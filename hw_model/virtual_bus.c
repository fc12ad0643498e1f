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

#define DEVICE_FOLDER "/sys/devices/usb1"
#define LINK_FOLDER "/sys/bus/usb/devices"
#define LARGEST_NUMBER 127u
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
    static const char *const sysfs[] = {"/sys/devices", DEVICE_FOLDER, "/sys/bus", "/sys/bus/usb",
                                        LINK_FOLDER,    "/sys/class",  NULL};
    static const char *const run[] = {"/run/udev", "/run/udev/data", NULL};
    static const char *const usb[] = {SYSTOLE_VIRTUAL_BUS_FOLDER, NULL};
    if (!mount_empty("/sys") || !make_folders(sysfs)) {
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
    *bus = (struct systole_virtual_bus){.announcements = -1, .last_number = 1};
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
static void announce(struct systole_virtual_bus *bus, unsigned port, const char *action) {
    char message[512];
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = UDEV_GROUP};
    unsigned number = bus->device_numbers[port];
    int length =
        snprintf(message, sizeof message,
                 "%s@/devices/usb1/1-%u%cACTION=%s%cDEVPATH=/devices/usb1/1-%u%cSUBSYSTEM=usb%c"
                 "DEVTYPE=usb_device%cDEVNAME=bus/usb/%03u/%03u%cBUSNUM=%03u%cDEVNUM=%03u%cMAJOR=%u%cMINOR=%u%c"
                 "SEQNUM=%u%c",
                 action, port + 1, 0, action, 0, port + 1, 0, 0, 0, SYSTOLE_VIRTUAL_BUS_NUMBER, number, 0,
                 SYSTOLE_VIRTUAL_BUS_NUMBER, 0, number, 0, USB_MAJOR, 0, number - 1, 0, ++bus->sequence, 0);
    (void)sendto(bus->announcements, message, (size_t)length, 0, (const struct sockaddr *)&group, sizeof group);
}

static bool is_taken(const struct systole_virtual_bus *bus, unsigned number) {
    for (unsigned port = 0; port < SYSTOLE_VIRTUAL_BUS_PORTS; port++) {
        if (bus->device_numbers[port] == number) {
            return true;
        }
    }
    return false;
}

static unsigned next_number(struct systole_virtual_bus *bus) {
    do { // 1 is the root hub's
        bus->last_number = bus->last_number == LARGEST_NUMBER ? 2 : bus->last_number + 1;
    } while (is_taken(bus, bus->last_number));
    return bus->last_number;
}

// An attribute of the device at a port.
static bool write_attribute(unsigned port, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool write_attribute(unsigned port, const char *name, const char *format, ...) {
    char path[128], text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)snprintf(path, sizeof path, DEVICE_FOLDER "/1-%u/%s", port + 1, name);
    return length >= 0 && (size_t)length < sizeof text && write_file(path, text, (size_t)length);
}

// The folder with its link to the bus stays when the device goes; so does nothing that anybody looks at.
static bool make_device_folder(unsigned port) {
    char path[128];
    (void)snprintf(path, sizeof path, DEVICE_FOLDER "/1-%u", port + 1);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return false;
    }
    (void)snprintf(path, sizeof path, DEVICE_FOLDER "/1-%u/subsystem", port + 1);
    return symlink("../../../bus/usb", path) == 0 || errno == EEXIST;
}

enum systole_status systole_virtual_bus_plug(struct systole_virtual_bus *bus, unsigned port,
                                             const struct systole_usb_device *device,
                                             struct systole_diagnostic *diagnostic) {
    uint8_t descriptors[1024];
    char path[128], target[128];
    size_t size = systole_usb_descriptors(device, descriptors, sizeof descriptors);
    unsigned number = bus->device_numbers[port] = next_number(bus);
    (void)snprintf(path, sizeof path, DEVICE_FOLDER "/1-%u/descriptors", port + 1);
    bool written =
        make_device_folder(port) && write_file(path, descriptors, size) &&
        write_attribute(port, "busnum", "%u\n", SYSTOLE_VIRTUAL_BUS_NUMBER) &&
        write_attribute(port, "devnum", "%u\n", number) && write_attribute(port, "speed", "5000\n") &&
        write_attribute(port, "bConfigurationValue", "1\n") && write_attribute(port, "bNumConfigurations", "1\n") &&
        write_attribute(port, "idVendor", "%04x\n", SYSTOLE_USB_VENDOR_ID) &&
        write_attribute(port, "idProduct", "%04x\n", systole_usb_product(device)) &&
        write_attribute(port, "manufacturer", "Systole\n") && write_attribute(port, "product", "Systole\n") &&
        write_attribute(port, "uevent",
                        "MAJOR=%u\nMINOR=%u\nDEVNAME=bus/usb/%03u/%03u\nDEVTYPE=usb_device\nBUSNUM=%03u\n"
                        "DEVNUM=%03u\n",
                        USB_MAJOR, number - 1, SYSTOLE_VIRTUAL_BUS_NUMBER, number, SYSTOLE_VIRTUAL_BUS_NUMBER, number);
    (void)snprintf(path, sizeof path, LINK_FOLDER "/1-%u", port + 1);
    (void)snprintf(target, sizeof target, "../../../devices/usb1/1-%u", port + 1);
    if (!written || (symlink(target, path) != 0 && errno != EEXIST)) {
        return fail(diagnostic, "describe the device", DEVICE_FOLDER);
    }
    announce(bus, port, "add");
    return SYSTOLE_OK;
}

void systole_virtual_bus_unplug(struct systole_virtual_bus *bus, unsigned port) {
    char path[128];
    (void)snprintf(path, sizeof path, LINK_FOLDER "/1-%u", port + 1);
    (void)unlink(path);
    announce(bus, port, "remove");
    bus->device_numbers[port] = 0;
}
