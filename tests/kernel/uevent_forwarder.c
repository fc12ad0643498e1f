// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// In a guest without udevd: what the kernel announces (group 1 of NETLINK_KOBJECT_UEVENT) is passed on to those who
// listen to udev (group 2), so that libusb notices devices that come and go. libudev only listens when
// /run/udev/control exists. Goes into the background when it is ready.
#include <linux/netlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KERNEL_GROUP = 1, UDEV_GROUP = 2, MESSAGE_BYTES = 8192 };

int main(void) {
    char message[MESSAGE_BYTES];
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
    struct sockaddr_nl udev = {.nl_family = AF_NETLINK, .nl_groups = UDEV_GROUP};
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (netlink < 0 || bind(netlink, (const struct sockaddr *)&kernel, sizeof kernel) != 0) {
        perror("uevent_forwarder");
        return 1;
    }
    if (fork() != 0) {
        return 0;
    }
    for (;;) {
        ssize_t size = recv(netlink, message, sizeof message, 0);
        if (size > 0) {
            (void)sendto(netlink, message, (size_t)size, 0, (const struct sockaddr *)&udev, sizeof udev);
        }
    }
}
