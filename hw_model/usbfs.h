// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// What Linux's usbfs does behind a device file, for a device in software: claims, transfers ("URBs") that are
// submitted, discarded and reaped, and what open files see when the device re-enumerates. It knows nothing of how the
// ioctls arrive; a bus server gives it the calling process, whose memory the requests point into.
#ifndef SYSTOLE_USBFS_H
#define SYSTOLE_USBFS_H

#include <sys/types.h>

#include "device.h"

struct systole_usbfs;
struct systole_usbfs_file; // one open of the device file

// The device is enumerated: configuration 1 is set. NULL: no memory. It does not take the device over.
struct systole_usbfs *systole_usbfs_create(struct systole_usb_device *device);
void systole_usbfs_free(struct systole_usbfs *usbfs); // after all files are closed

struct systole_usbfs_file *systole_usbfs_open(struct systole_usbfs *usbfs); // NULL: no memory
void systole_usbfs_close(struct systole_usbfs_file *file);

// An ioctl of usbdevice_fs.h by process (or thread) `caller`; `argument` as it was given. 0 or more, or -errno. Never
// waits: USBDEVFS_REAPURB answers -EINTR where the kernel would sleep.
int systole_usbfs_ioctl(struct systole_usbfs_file *file, pid_t caller, unsigned request, uint64_t argument);
// poll events: POLLOUT something to reap; POLLERR | POLLHUP the device is gone.
short systole_usbfs_events(const struct systole_usbfs_file *file);

// Moves what can be moved; true: something was completed and the files' events may be others now.
bool systole_usbfs_move(struct systole_usbfs *usbfs);
// Lets transfers and device work for a turn (systole_usb_port_run); false: it was idle.
bool systole_usbfs_run(struct systole_usbfs *usbfs);
// True once after the device re-enumerated: every file open until then is without a device, a new one may be opened.
bool systole_usbfs_reenumerated(struct systole_usbfs *usbfs);

#endif
