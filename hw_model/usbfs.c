// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Transfers wait in one list in the order of their submission; of each endpoint only the oldest moves. Completed ones
// wait in their file until they are reaped; only then is the result written into the client's memory, by way of the
// process that reaps, as the kernel does it.
#include "usbfs.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

enum {
    SETUP_BYTES = 8,
    LARGEST_TRANSFER = 64 << 20,
    LARGEST_QUEUE = 256 << 20, // bytes of all transfers that are not reaped
    INTERFACES = 8,
    DESCRIPTOR_BYTES = 1024,
    DESCRIPTOR_INTERFACE = 4,
    DESCRIPTOR_ENDPOINT = 5,
    REQUEST_CLEAR_FEATURE = 1,
    REQUEST_SET_CONFIGURATION = 9,
    REQUEST_SET_INTERFACE = 11,
    TO_DEVICE = 0,
    TO_INTERFACE = 1,
    TO_ENDPOINT = 2,
};

struct urb {
    struct urb *next;
    struct systole_usbfs_file *file;
    uint64_t address; // in the client
    uint8_t *buffer;
    size_t size;              // of the buffer
    size_t moved;             // of its data
    size_t offset;            // where the data begin: behind the setup packet of a control transfer
    struct usbdevfs_urb user; // last: it ends with room for isochronous packets, of which there are none
};

struct systole_usbfs_file {
    struct systole_usbfs_file *next;
    struct systole_usbfs *usbfs;
    bool connected;
    struct urb *done;
};

struct systole_usbfs {
    struct systole_usb_device *device;
    struct systole_usbfs_file *files;
    struct urb *pending;
    size_t queued_bytes;
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
    size_t size = systole_usb_descriptors(usbfs->device, bytes, sizeof bytes);
    int current = -1;
    for (size_t at = 0; at + 2 <= size && bytes[at] >= 2 && at + bytes[at] <= size; at += bytes[at]) {
        if (bytes[at + 1] == DESCRIPTOR_INTERFACE && bytes[at] >= 9) {
            current = bytes[at + 2];
            if (endpoint == 0 && current == interface) {
                return current;
            }
        } else if (bytes[at + 1] == DESCRIPTOR_ENDPOINT && bytes[at] >= 7 && endpoint != 0 &&
                   bytes[at + 2] == endpoint) {
            return current;
        }
    }
    return -1;
}

// ---- Queues.

static void append(struct urb **list, struct urb *urb) {
    while (*list != NULL) {
        list = &(*list)->next;
    }
    urb->next = NULL;
    *list = urb;
}

static void free_urb(struct systole_usbfs *usbfs, struct urb *urb) {
    usbfs->queued_bytes -= urb->size;
    free(urb->buffer);
    free(urb);
}

static void complete(struct urb *urb, int status) {
    urb->user.status = status;
    urb->user.actual_length = (int)urb->moved;
    append(&urb->file->done, urb);
}

// Ends every waiting transfer of a file (NULL: of all files).
static void end_pending(struct systole_usbfs *usbfs, const struct systole_usbfs_file *file, int status) {
    struct urb **at = &usbfs->pending;
    while (*at != NULL) {
        struct urb *urb = *at;
        if (file != NULL && urb->file != file) {
            at = &urb->next;
            continue;
        }
        *at = urb->next;
        complete(urb, status);
    }
}

// ---- The device's life.

static enum systole_usb_result standard_request(struct systole_usbfs *usbfs, uint8_t recipient, uint8_t request,
                                                uint16_t value, uint16_t index) {
    const uint8_t setup[SETUP_BYTES] = {
        recipient, request, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)index, (uint8_t)(index >> 8), 0, 0};
    uint8_t none = 0;
    size_t actual = 0;
    return systole_usb_control(usbfs->device, setup, &none, &actual);
}

// A device that became another one is gone for all who had it open.
static void notice_reenumeration(struct systole_usbfs *usbfs) {
    if (!systole_usb_device_reenumerates(usbfs->device)) {
        return;
    }
    end_pending(usbfs, NULL, -ESHUTDOWN);
    for (struct systole_usbfs_file *file = usbfs->files; file != NULL; file = file->next) {
        file->connected = false;
    }
    memset(usbfs->claims, 0, sizeof usbfs->claims);
    usbfs->reenumerated = true;
    if (!systole_usb_device_present(usbfs->device)) {
        return; // and once more when it comes back
    }
    (void)standard_request(usbfs, TO_DEVICE, REQUEST_SET_CONFIGURATION, 1, 0);
}

bool systole_usbfs_reenumerated(struct systole_usbfs *usbfs) {
    bool told = usbfs->reenumerated;
    usbfs->reenumerated = false;
    return told;
}

struct systole_usbfs *systole_usbfs_create(struct systole_usb_device *device) {
    struct systole_usbfs *usbfs = calloc(1, sizeof *usbfs);
    if (usbfs != NULL) {
        usbfs->device = device;
        (void)systole_usb_device_reenumerates(device); // what it was before it was plugged in here
        (void)standard_request(usbfs, TO_DEVICE, REQUEST_SET_CONFIGURATION, 1, 0);
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
    end_pending(usbfs, file, -ENOENT);
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

// ---- Moving bytes.

// A control transfer: setup packet and room for wLength bytes. Returns the bytes moved or -errno; -EAGAIN: it does not
// answer yet.
static int control(struct systole_usbfs *usbfs, uint8_t *setup_and_data) {
    size_t actual = 0;
    enum systole_usb_result result =
        systole_usb_control(usbfs->device, setup_and_data, setup_and_data + SETUP_BYTES, &actual);
    return result == SYSTOLE_USB_DONE ? (int)actual : result == SYSTOLE_USB_NAK ? -EAGAIN : -EPIPE;
}

// One step of the oldest transfer of an endpoint; true: it is complete with *status.
static bool step(struct systole_usbfs *usbfs, struct urb *urb, int *status) {
    uint8_t *bytes = urb->buffer + urb->moved;
    size_t left = urb->size - urb->moved;
    size_t actual = 0;
    bool short_packet = false;
    bool in = (urb->user.endpoint & 0x80) != 0;
    if (urb->user.type == USBDEVFS_URB_TYPE_CONTROL) {
        int moved = control(usbfs, urb->buffer);
        urb->moved = moved < 0 ? 0 : (size_t)moved;
        *status = moved < 0 ? moved : 0;
        return moved != -EAGAIN;
    }
    enum systole_usb_result result =
        in ? systole_usb_in(usbfs->device, urb->user.endpoint, bytes, left, &actual, &short_packet)
           : systole_usb_out(usbfs->device, urb->user.endpoint, bytes, left, &actual);
    urb->moved += actual;
    if (result == SYSTOLE_USB_STALL || result == SYSTOLE_USB_BABBLE) {
        *status = result == SYSTOLE_USB_STALL ? -EPIPE : -EOVERFLOW;
        return true;
    }
    if (result == SYSTOLE_USB_NAK || !(short_packet || urb->moved == urb->size)) {
        return false;
    }
    bool too_short = urb->moved < urb->size && (urb->user.flags & USBDEVFS_URB_SHORT_NOT_OK) != 0;
    *status = too_short ? -EREMOTEIO : 0;
    return true;
}

bool systole_usbfs_move(struct systole_usbfs *usbfs) {
    bool completed = false;
    uint32_t blocked = 0; // endpoints whose oldest transfer waits: OUT in the low half, IN in the high one
    struct urb **at = &usbfs->pending;
    while (*at != NULL) {
        struct urb *urb = *at;
        uint32_t endpoint = 1u << ((urb->user.endpoint & 15u) + ((urb->user.endpoint & 0x80u) != 0 ? 16 : 0));
        size_t before = urb->moved;
        int status = 0;
        if ((blocked & endpoint) != 0) {
            at = &urb->next;
        } else if (step(usbfs, urb, &status)) {
            *at = urb->next;
            complete(urb, status);
            completed = true;
        } else if (urb->moved == before) {
            blocked |= endpoint;
            at = &urb->next;
        }
    }
    notice_reenumeration(usbfs);
    return completed || usbfs->reenumerated;
}

// ---- Requests.

static int control_now(struct systole_usbfs_file *file, pid_t caller, uint64_t argument) {
    struct usbdevfs_ctrltransfer transfer = {0};
    if (!read_client(caller, argument, &transfer, sizeof transfer)) {
        return -EFAULT;
    }
    uint8_t *bytes = calloc(1, SETUP_BYTES + (size_t)transfer.wLength);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    bool in = (transfer.bRequestType & 0x80) != 0;
    uint64_t data = (uint64_t)(uintptr_t)transfer.data;
    int result = -EFAULT;
    memcpy(bytes, &transfer, SETUP_BYTES);
    if (in || read_client(caller, data, bytes + SETUP_BYTES, transfer.wLength)) {
        result = control(file->usbfs, bytes);
        result = result == -EAGAIN ? -ETIMEDOUT : result; // the bus cannot wait: it serves others, too
        notice_reenumeration(file->usbfs);
    }
    if (in && result > 0 && !write_client(caller, data, bytes + SETUP_BYTES, (size_t)result)) {
        result = -EFAULT;
    }
    free(bytes);
    return result;
}

// Checks what the client wants and fills the transfer except for its data.
static int prepare(const struct systole_usbfs_file *file, struct urb *urb) {
    const struct usbdevfs_urb *user = &urb->user;
    if (user->buffer_length < 0 || user->buffer_length > LARGEST_TRANSFER) {
        return -EINVAL;
    }
    urb->size = (size_t)user->buffer_length;
    if (file->usbfs->queued_bytes + urb->size > LARGEST_QUEUE) {
        return -ENOMEM;
    }
    switch (user->type) {
    case USBDEVFS_URB_TYPE_CONTROL:
        urb->offset = SETUP_BYTES;
        return (user->endpoint & 0x7f) != 0 ? -ENOENT : urb->size < SETUP_BYTES ? -EINVAL : 0;
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

static int submit(struct systole_usbfs_file *file, pid_t caller, uint64_t argument) {
    struct systole_usbfs *usbfs = file->usbfs;
    struct urb *urb = calloc(1, sizeof *urb);
    int result = -ENOMEM;
    if (urb == NULL) {
        return result;
    }
    result = read_client(caller, argument, &urb->user, sizeof urb->user) ? prepare(file, urb) : -EFAULT;
    if (result != 0) {
        goto failed;
    }
    urb->file = file;
    urb->address = argument;
    urb->buffer = malloc(urb->size + 1); // of what comes in only as much is told as has come
    if (urb->buffer == NULL) {
        result = -ENOMEM;
        goto failed;
    }
    bool is_control = urb->user.type == USBDEVFS_URB_TYPE_CONTROL;
    bool reads = is_control || (urb->user.endpoint & 0x80) == 0;
    if (reads && !read_client(caller, (uint64_t)(uintptr_t)urb->user.buffer, urb->buffer, urb->size)) {
        result = -EFAULT;
        goto failed;
    }
    if (is_control) {
        size_t length = (size_t)(urb->buffer[6] | urb->buffer[7] << 8);
        if (urb->size < SETUP_BYTES + length) {
            result = -EINVAL;
            goto failed;
        }
        usbfs->queued_bytes += urb->size;
        // Completed before the device may re-enumerate by it, so that the client still reaps success.
        int status = 0;
        if (step(usbfs, urb, &status)) {
            complete(urb, status);
        } else {
            append(&usbfs->pending, urb);
        }
        notice_reenumeration(usbfs);
        return 0;
    }
    usbfs->queued_bytes += urb->size;
    append(&usbfs->pending, urb);
    (void)systole_usbfs_move(usbfs);
    return 0;
failed:
    free(urb->buffer);
    free(urb);
    return result;
}

static int discard(struct systole_usbfs_file *file, uint64_t argument) {
    for (struct urb **at = &file->usbfs->pending; *at != NULL; at = &(*at)->next) {
        struct urb *urb = *at;
        if (urb->file == file && urb->address == argument) {
            *at = urb->next;
            complete(urb, -ENOENT);
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
    bool in =
        urb->user.type == USBDEVFS_URB_TYPE_CONTROL ? (urb->buffer[0] & 0x80) != 0 : (urb->user.endpoint & 0x80) != 0;
    uint64_t data = (uint64_t)(uintptr_t)urb->user.buffer + urb->offset;
    bool written = (!in || write_client(caller, data, urb->buffer + urb->offset, urb->moved)) &&
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
    struct urb **at = &file->usbfs->pending;
    while (*at != NULL) {
        struct urb *urb = *at;
        if (urb->file == file && find_in_descriptors(file->usbfs, -1, urb->user.endpoint) == (int)interface) {
            *at = urb->next;
            complete(urb, -ENOENT);
        } else {
            at = &urb->next;
        }
    }
    file->usbfs->claims[interface] = NULL;
    return 0;
}

static int set_configuration(struct systole_usbfs_file *file, unsigned value) {
    for (uint32_t i = 0; i < INTERFACES; i++) {
        if (file->usbfs->claims[i] != NULL) {
            return -EBUSY;
        }
    }
    return standard_request(file->usbfs, TO_DEVICE, REQUEST_SET_CONFIGURATION, (uint16_t)value, 0) == SYSTOLE_USB_DONE
               ? 0
               : -EPIPE;
}

// A port reset; the kernel configures the device again.
static int reset(struct systole_usbfs_file *file) {
    end_pending(file->usbfs, NULL, -ENOENT);
    systole_usb_device_bus_reset(file->usbfs->device);
    (void)standard_request(file->usbfs, TO_DEVICE, REQUEST_SET_CONFIGURATION, 1, 0);
    notice_reenumeration(file->usbfs);
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
        return standard_request(file->usbfs, TO_INTERFACE, REQUEST_SET_INTERFACE, (uint16_t)setting.altsetting,
                                (uint16_t)setting.interface) == SYSTOLE_USB_DONE
                   ? 0
                   : -EPIPE;
    }
    case USBDEVFS_CLEAR_HALT:
        return standard_request(file->usbfs, TO_ENDPOINT, REQUEST_CLEAR_FEATURE, 0, (uint16_t)value) == SYSTOLE_USB_DONE
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
