// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Transfers wait at the device's port until the device has moved them. Completed ones wait in their file until they are
// reaped; only then is the result written into the client's memory, by way of the process that reaps, as the kernel
// does it.
#include "usbfs.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "usb_descriptors.h"
#include "usb_port.h"
#include "usb_setup.h"

enum {
    INTERFACES = 8,
    DESCRIPTOR_BYTES = 1024,
    TO_DEVICE = 0,
    TO_INTERFACE = 1,
    TO_ENDPOINT = 2,
};

// What became of a transfer. While it is on its way the transfer's context points here.
struct urb {
    struct urb *next;
    struct systole_usbfs_file *file;
    uint64_t address; // in the client
    struct systole_port_transfer *transfer;
    struct usbdevfs_urb user; // last: it ends with room for isochronous packets, of which there are none
};

struct systole_usbfs_file {
    struct systole_usbfs_file *next;
    struct systole_usbfs *usbfs;
    bool connected;
    struct urb *done;
};

struct systole_usbfs {
    struct systole_usb_port port;
    struct systole_usbfs_file *files;
    size_t queued_bytes; // of all transfers that are not reaped
    const struct systole_usbfs_file *claims[INTERFACES];
    bool reenumerated;
};

// ---- The client's memory.

static bool read_client(pid_t caller, uint64_t address, void *bytes, size_t size) {
    struct iovec local = {bytes, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};
    return size == 0 || process_vm_readv(caller, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static bool write_client(pid_t caller, uint64_t address, void *bytes, size_t size) {
    struct iovec local = {bytes, size};
    struct iovec remote = {(void *)(uintptr_t)address, size};
    return size == 0 || process_vm_writev(caller, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

// ---- Descriptors.

// The interface of an endpoint, or whether an interface exists (endpoint 0); -1: no.
static int find_in_descriptors(const struct systole_usbfs *usbfs, int interface, uint8_t endpoint) {
    uint8_t bytes[DESCRIPTOR_BYTES];
    size_t size = systole_usb_descriptors(usbfs->port.device, bytes, sizeof bytes);
    const uint8_t *descriptor;
    size_t at = 0;
    int current = -1;
    while ((descriptor = systole_usb_next_descriptor(bytes, size, &at)) != NULL) {
        if (descriptor[1] == SYSTOLE_USB_DESCRIPTOR_INTERFACE && descriptor[0] >= 9) {
            current = descriptor[2];
            if (endpoint == 0 && current == interface) {
                return current;
            }
        } else if (descriptor[1] == SYSTOLE_USB_DESCRIPTOR_ENDPOINT && descriptor[0] >= 7 && endpoint != 0 &&
                   descriptor[2] == endpoint) {
            return current;
        }
    }
    return -1;
}

// ---- Queues.

static void free_urb(struct systole_usbfs *usbfs, struct urb *urb) {
    if (urb->transfer != NULL) {
        usbfs->queued_bytes -= urb->transfer->size;
    }
    systole_port_transfer_free(urb->transfer);
    free(urb);
}

static int status_of(const struct urb *urb, enum systole_port_result result) {
    const struct systole_port_transfer *transfer = urb->transfer;
    bool bulk = urb->user.type != USBDEVFS_URB_TYPE_CONTROL;
    switch (result) {
    case SYSTOLE_PORT_DONE:
        return bulk && transfer->moved < transfer->size && (urb->user.flags & USBDEVFS_URB_SHORT_NOT_OK) != 0
                   ? -EREMOTEIO
                   : 0;
    case SYSTOLE_PORT_STALL:
        return -EPIPE;
    case SYSTOLE_PORT_BABBLE:
        return -EOVERFLOW;
    case SYSTOLE_PORT_CANCELLED:
        return -ENOENT;
    case SYSTOLE_PORT_GONE:
        break;
    }
    return -ESHUTDOWN;
}

static void complete(void *context, struct systole_port_transfer *transfer, enum systole_port_result result) {
    struct urb *urb = transfer->context;
    struct urb **at = &urb->file->done;
    (void)context;
    urb->user.status = status_of(urb, result);
    urb->user.actual_length = (int)transfer->moved;
    urb->next = NULL;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = urb;
}

// Ends the waiting transfers of a file (NULL: of all files) on an interface (-1: on all).
static void cancel_waiting(struct systole_usbfs *usbfs, const struct systole_usbfs_file *file, int interface) {
    struct systole_port_transfer *transfer = usbfs->port.waiting;
    while (transfer != NULL) {
        struct systole_port_transfer *next = transfer->next;
        const struct urb *urb = transfer->context;
        if ((file == NULL || urb->file == file) &&
            (interface < 0 || find_in_descriptors(usbfs, -1, urb->user.endpoint) == interface)) {
            (void)systole_usb_port_cancel(&usbfs->port, transfer->id);
        }
        transfer = next;
    }
}

// ---- The device's life.

static enum systole_usb_result standard_request(struct systole_usbfs *usbfs, uint8_t recipient, uint8_t request,
                                                uint16_t value, uint16_t index) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    systole_usb_setup(setup, recipient, request, value, index, 0);
    uint8_t none = 0;
    size_t actual = 0;
    return systole_usb_control(usbfs->port.device, setup, &none, &actual);
}

// A device that became another one is gone for all who had it open.
static void device_changed(void *context) {
    struct systole_usbfs *usbfs = context;
    for (struct systole_usbfs_file *file = usbfs->files; file != NULL; file = file->next) {
        file->connected = false;
    }
    memset(usbfs->claims, 0, sizeof usbfs->claims);
    usbfs->reenumerated = true;
    if (systole_usb_device_present(usbfs->port.device)) { // else once more when it comes back
        (void)standard_request(usbfs, TO_DEVICE, SYSTOLE_USB_SET_CONFIGURATION, 1, 0);
    }
}

bool systole_usbfs_reenumerated(struct systole_usbfs *usbfs) {
    bool told = usbfs->reenumerated;
    usbfs->reenumerated = false;
    return told;
}

struct systole_usbfs *systole_usbfs_create(struct systole_usb_device *device) {
    struct systole_usbfs *usbfs = calloc(1, sizeof *usbfs);
    if (usbfs != NULL) {
        usbfs->port = (struct systole_usb_port){.device = device, .user = {complete, device_changed, usbfs}};
        (void)systole_usb_device_reenumerates(device); // what it was before it was plugged in here
        (void)standard_request(usbfs, TO_DEVICE, SYSTOLE_USB_SET_CONFIGURATION, 1, 0);
    }
    return usbfs;
}

void systole_usbfs_free(struct systole_usbfs *usbfs) {
    if (usbfs != NULL) {
        while (usbfs->files != NULL) {
            systole_usbfs_close(usbfs->files);
        }
        free(usbfs);
    }
}

struct systole_usbfs_file *systole_usbfs_open(struct systole_usbfs *usbfs) {
    struct systole_usbfs_file *file = calloc(1, sizeof *file);
    if (file != NULL) {
        file->usbfs = usbfs;
        file->connected = true;
        file->next = usbfs->files;
        usbfs->files = file;
    }
    return file;
}

void systole_usbfs_close(struct systole_usbfs_file *file) {
    struct systole_usbfs *usbfs = file->usbfs;
    cancel_waiting(usbfs, file, -1);
    while (file->done != NULL) {
        struct urb *urb = file->done;
        file->done = urb->next;
        free_urb(usbfs, urb);
    }
    for (uint32_t i = 0; i < INTERFACES; i++) {
        usbfs->claims[i] = usbfs->claims[i] == file ? NULL : usbfs->claims[i];
    }
    struct systole_usbfs_file **at = &usbfs->files;
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    free(file);
}

short systole_usbfs_events(const struct systole_usbfs_file *file) {
    int events = file->done != NULL ? POLLOUT : 0;
    return (short)(file->connected ? events : events | POLLERR | POLLHUP);
}

bool systole_usbfs_move(struct systole_usbfs *usbfs) {
    bool completed = systole_usb_port_move(&usbfs->port);
    return completed || usbfs->reenumerated;
}

bool systole_usbfs_run(struct systole_usbfs *usbfs) {
    bool busy = systole_usb_port_run(&usbfs->port);
    return busy || usbfs->reenumerated;
}

// ---- Requests.

static int control_now(struct systole_usbfs_file *file, pid_t caller, uint64_t argument) {
    struct usbdevfs_ctrltransfer transfer = {0};
    if (!read_client(caller, argument, &transfer, sizeof transfer)) {
        return -EFAULT;
    }
    uint8_t *bytes = calloc(1, SYSTOLE_USB_SETUP_BYTES + (size_t)transfer.wLength);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    bool in = (transfer.bRequestType & 0x80) != 0;
    uint64_t data = (uint64_t)(uintptr_t)transfer.data;
    int result = -EFAULT;
    memcpy(bytes, &transfer, SYSTOLE_USB_SETUP_BYTES);
    if (in || read_client(caller, data, bytes + SYSTOLE_USB_SETUP_BYTES, transfer.wLength)) {
        size_t actual = 0;
        enum systole_usb_result moved =
            systole_usb_control(file->usbfs->port.device, bytes, bytes + SYSTOLE_USB_SETUP_BYTES, &actual);
        result = moved == SYSTOLE_USB_DONE  ? (int)actual
                 : moved == SYSTOLE_USB_NAK ? -ETIMEDOUT // the bus cannot wait: it serves others, too
                                            : -EPIPE;
        (void)systole_usb_port_move(&file->usbfs->port);
    }
    if (in && result > 0 && !write_client(caller, data, bytes + SYSTOLE_USB_SETUP_BYTES, (size_t)result)) {
        result = -EFAULT;
    }
    free(bytes);
    return result;
}

// Checks what the client wants.
static int check(const struct systole_usbfs_file *file, const struct usbdevfs_urb *user) {
    if (user->buffer_length < 0 || user->buffer_length > SYSTOLE_PORT_LARGEST_TRANSFER) {
        return -EINVAL;
    }
    if (file->usbfs->queued_bytes + (size_t)user->buffer_length > SYSTOLE_PORT_LARGEST_QUEUE) {
        return -ENOMEM;
    }
    switch (user->type) {
    case USBDEVFS_URB_TYPE_CONTROL:
        return (user->endpoint & 0x7f) != 0 ? -ENOENT : user->buffer_length < SYSTOLE_USB_SETUP_BYTES ? -EINVAL : 0;
    case USBDEVFS_URB_TYPE_BULK:
    case USBDEVFS_URB_TYPE_INTERRUPT: {
        int interface = find_in_descriptors(file->usbfs, -1, user->endpoint);
        if (interface < 0 || interface >= INTERFACES || (user->endpoint & 0x7f) == 0) {
            return -ENOENT;
        }
        const struct systole_usbfs_file **claim = &file->usbfs->claims[interface];
        if (*claim != NULL && *claim != file) {
            return -EBUSY;
        }
        *claim = file; // the kernel claims for who forgot to
        return 0;
    }
    default:
        return -EINVAL; // isochronous
    }
}

// The transfer that the client wants, with the bytes that go out. A control transfer's follow its setup packet.
static int make_transfer(struct urb *urb, pid_t caller) {
    uint8_t setup[SYSTOLE_USB_SETUP_BYTES];
    uint64_t data = (uint64_t)(uintptr_t)urb->user.buffer;
    uint64_t id = (uint64_t)(uintptr_t)urb;
    size_t size = (size_t)urb->user.buffer_length;
    bool control = urb->user.type == USBDEVFS_URB_TYPE_CONTROL;
    bool out = (urb->user.endpoint & 0x80) == 0;
    if (control) {
        if (!read_client(caller, data, setup, sizeof setup)) {
            return -EFAULT;
        }
        data += sizeof setup;
        size -= sizeof setup;
        out = (setup[0] & 0x80) == 0;
        if (size < (size_t)(setup[6] | setup[7] << 8)) {
            return -EINVAL;
        }
    }
    urb->transfer = systole_port_transfer_create(id, urb->user.endpoint, control ? setup : NULL, size);
    if (urb->transfer == NULL) {
        return -ENOMEM;
    }
    urb->file->usbfs->queued_bytes += size;
    urb->transfer->context = urb;
    return out && !read_client(caller, data, urb->transfer->buffer, size) ? -EFAULT : 0;
}

static int submit(struct systole_usbfs_file *file, pid_t caller, uint64_t argument) {
    struct systole_usbfs *usbfs = file->usbfs;
    struct urb *urb = calloc(1, sizeof *urb);
    int result = -ENOMEM;
    if (urb == NULL) {
        return result;
    }
    urb->file = file;
    urb->address = argument;
    result = read_client(caller, argument, &urb->user, sizeof urb->user) ? check(file, &urb->user) : -EFAULT;
    result = result == 0 ? make_transfer(urb, caller) : result;
    if (result == 0 && !systole_usb_port_submit(&usbfs->port, urb->transfer)) {
        result = -ENOMEM;
    }
    if (result != 0) {
        free_urb(usbfs, urb);
        return result;
    }
    (void)systole_usbfs_move(usbfs);
    return 0;
}

static int discard(struct systole_usbfs_file *file, uint64_t argument) {
    const struct systole_port_transfer *transfer = file->usbfs->port.waiting;
    for (; transfer != NULL; transfer = transfer->next) {
        const struct urb *urb = transfer->context;
        if (urb->file == file && urb->address == argument) {
            (void)systole_usb_port_cancel(&file->usbfs->port, transfer->id);
            return 0;
        }
    }
    return -EINVAL; // complete already, or never submitted
}

static int reap(struct systole_usbfs_file *file, pid_t caller, uint64_t argument, int when_none) {
    struct urb *urb = file->done;
    if (urb == NULL) {
        return file->connected ? when_none : -ENODEV;
    }
    file->done = urb->next;
    struct systole_port_transfer *transfer = urb->transfer;
    bool control = urb->user.type == USBDEVFS_URB_TYPE_CONTROL;
    bool in = ((control ? transfer->setup[0] : urb->user.endpoint) & 0x80) != 0;
    uint64_t data = (uint64_t)(uintptr_t)urb->user.buffer + (control ? SYSTOLE_USB_SETUP_BYTES : 0);
    bool written = (!in || write_client(caller, data, transfer->buffer, transfer->moved)) &&
                   write_client(caller, urb->address, &urb->user, sizeof urb->user) &&
                   write_client(caller, argument, &urb->address, sizeof urb->address);
    free_urb(file->usbfs, urb);
    return written ? 0 : -EFAULT;
}

static int claim(struct systole_usbfs_file *file, unsigned interface) {
    if (interface >= INTERFACES || find_in_descriptors(file->usbfs, (int)interface, 0) < 0) {
        return -ENOENT;
    }
    const struct systole_usbfs_file **holder = &file->usbfs->claims[interface];
    if (*holder != NULL && *holder != file) {
        return -EBUSY;
    }
    *holder = file;
    return 0;
}

static int release(struct systole_usbfs_file *file, unsigned interface) {
    if (interface >= INTERFACES || file->usbfs->claims[interface] != file) {
        return -EINVAL;
    }
    cancel_waiting(file->usbfs, file, (int)interface);
    file->usbfs->claims[interface] = NULL;
    return 0;
}

static int set_configuration(struct systole_usbfs_file *file, unsigned value) {
    for (uint32_t i = 0; i < INTERFACES; i++) {
        if (file->usbfs->claims[i] != NULL) {
            return -EBUSY;
        }
    }
    return standard_request(file->usbfs, TO_DEVICE, SYSTOLE_USB_SET_CONFIGURATION, (uint16_t)value, 0) ==
                   SYSTOLE_USB_DONE
               ? 0
               : -EPIPE;
}

// A port reset; the kernel configures the device again.
static int reset(struct systole_usbfs_file *file) {
    cancel_waiting(file->usbfs, NULL, -1);
    systole_usb_port_reset(&file->usbfs->port);
    (void)standard_request(file->usbfs, TO_DEVICE, SYSTOLE_USB_SET_CONFIGURATION, 1, 0);
    (void)systole_usb_port_move(&file->usbfs->port);
    return 0;
}

static int get_driver(struct systole_usbfs_file *file, pid_t caller, uint64_t argument) {
    struct usbdevfs_getdriver driver = {0};
    if (!read_client(caller, argument, &driver, sizeof driver)) {
        return -EFAULT;
    }
    if (driver.interface >= INTERFACES || file->usbfs->claims[driver.interface] == NULL) {
        return -ENODATA;
    }
    memset(driver.driver, 0, sizeof driver.driver);
    strcpy(driver.driver, "usbfs");
    return write_client(caller, argument, &driver, sizeof driver) ? 0 : -EFAULT;
}

int systole_usbfs_ioctl(struct systole_usbfs_file *file, pid_t caller, unsigned request, uint64_t argument) {
    unsigned value = 0;
    if (request == USBDEVFS_REAPURB || request == USBDEVFS_REAPURBNDELAY) { // also when the device is gone
        return reap(file, caller, argument, request == USBDEVFS_REAPURB ? -EINTR : -EAGAIN);
    }
    if (!file->connected) {
        return -ENODEV;
    }
    switch (request) {
    case USBDEVFS_CLAIMINTERFACE:
    case USBDEVFS_RELEASEINTERFACE:
    case USBDEVFS_DISCONNECT_CLAIM: // its struct begins with the interface; there is no other driver to disconnect
    case USBDEVFS_SETCONFIGURATION:
    case USBDEVFS_CLEAR_HALT:
    case USBDEVFS_RESETEP:
        if (!read_client(caller, argument, &value, sizeof value)) {
            return -EFAULT;
        }
        break;
    default:
        break;
    }
    switch (request) {
    case USBDEVFS_GET_CAPABILITIES: {
        uint32_t capabilities = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_NO_PACKET_SIZE_LIM |
                                USBDEVFS_CAP_BULK_SCATTER_GATHER | USBDEVFS_CAP_REAP_AFTER_DISCONNECT;
        return write_client(caller, argument, &capabilities, sizeof capabilities) ? 0 : -EFAULT;
    }
    case USBDEVFS_CLAIMINTERFACE:
    case USBDEVFS_DISCONNECT_CLAIM:
        return claim(file, value);
    case USBDEVFS_RELEASEINTERFACE:
        return release(file, value);
    case USBDEVFS_SETCONFIGURATION:
        return set_configuration(file, value);
    case USBDEVFS_SETINTERFACE: {
        struct usbdevfs_setinterface setting = {0};
        if (!read_client(caller, argument, &setting, sizeof setting)) {
            return -EFAULT;
        }
        return standard_request(file->usbfs, TO_INTERFACE, SYSTOLE_USB_SET_INTERFACE, (uint16_t)setting.altsetting,
                                (uint16_t)setting.interface) == SYSTOLE_USB_DONE
                   ? 0
                   : -EPIPE;
    }
    case USBDEVFS_CLEAR_HALT:
        return standard_request(file->usbfs, TO_ENDPOINT, SYSTOLE_USB_CLEAR_FEATURE, 0, (uint16_t)value) ==
                       SYSTOLE_USB_DONE
                   ? 0
                   : -EPIPE;
    case USBDEVFS_RESETEP:
        return find_in_descriptors(file->usbfs, -1, (uint8_t)value) < 0 ? -ENOENT : 0;
    case USBDEVFS_RESET:
        return reset(file);
    case USBDEVFS_GETDRIVER:
        return get_driver(file, caller, argument);
    case USBDEVFS_GET_SPEED:
        return 5; // USB_SPEED_SUPER of linux/usb/ch9.h
    case USBDEVFS_CONTROL:
        return control_now(file, caller, argument);
    case USBDEVFS_SUBMITURB:
        return submit(file, caller, argument);
    case USBDEVFS_DISCARDURB:
        return discard(file, argument);
    case USBDEVFS_IOCTL:
        return -ENODATA; // connect and disconnect of kernel drivers, of which there are none
    default:
        return -ENOTTY;
    }
}
