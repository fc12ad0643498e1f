// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The transport over libusb-1.0, with libusb_devices.c all that knows libusb. Everything is asynchronous underneath;
// libusb calls back whenever it handles events, also inside a blocking control transfer, so a callback only moves its
// transfer to the list of finished ones, and poll alone tells the submitter.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "libusb_devices.h"

enum {
    ATTACH_STEP_MS = 100, // at most between looks at the list of devices; a hotplug event ends it at once
    ABSENT_MS = 1000,     // how long a device that is shared may be away
    CLAIM_STEP_MS = 2,    // between attempts at a device that another program has
    TAKE_BACK_MS = 1000,  // how long cancelled transfers may take to come back
};

struct libusb_transport {
    struct systole_transport transport; // first
    libusb_context *context;
    libusb_device_handle *handle; // NULL: not attached
    struct systole_libusb_place place;
    libusb_hotplug_callback_handle hotplug;
    bool watches_bus; // the callback is registered
    bool bus_changed; // it was called
    int descriptor;   // epoll over libusb's descriptors; -1: nobody has asked for it
    char name[SYSTOLE_USB_NAME_BYTES];
    struct flight *flying;   // submitted, not called back yet
    struct flight *finished; // called back, not told yet; oldest first
};

// A transfer on its way. transport_detail of the submitter's transfer points here.
struct flight {
    struct flight *next;
    struct libusb_transport *owner;
    struct systole_usb_transfer *transfer;
    struct libusb_transfer *usb;
};

static struct libusb_transport *libusb_transport(struct systole_transport *transport) {
    return (struct libusb_transport *)transport;
}

static enum systole_status status_of_error(int error) {
    switch (error) {
    case LIBUSB_SUCCESS:
        return SYSTOLE_OK;
    case LIBUSB_ERROR_NO_DEVICE:
    case LIBUSB_ERROR_NOT_FOUND:
        return SYSTOLE_DEVICE_GONE;
    case LIBUSB_ERROR_PIPE:
        return SYSTOLE_DEVICE_STALL;
    case LIBUSB_ERROR_TIMEOUT:
        return SYSTOLE_DEVICE_TIMEOUT;
    case LIBUSB_ERROR_NO_MEM:
        return SYSTOLE_OUT_OF_MEMORY;
    case LIBUSB_ERROR_INVALID_PARAM:
        return SYSTOLE_BAD_ARGUMENT;
    default:
        return SYSTOLE_DEVICE_PROTOCOL;
    }
}

static enum systole_status status_of_transfer(enum libusb_transfer_status status) {
    switch (status) {
    case LIBUSB_TRANSFER_COMPLETED:
        return SYSTOLE_OK;
    case LIBUSB_TRANSFER_CANCELLED:
        return SYSTOLE_CANCELLED;
    case LIBUSB_TRANSFER_STALL:
        return SYSTOLE_DEVICE_STALL;
    case LIBUSB_TRANSFER_NO_DEVICE:
        return SYSTOLE_DEVICE_GONE;
    case LIBUSB_TRANSFER_TIMED_OUT:
        return SYSTOLE_DEVICE_TIMEOUT;
    case LIBUSB_TRANSFER_ERROR:
    case LIBUSB_TRANSFER_OVERFLOW:
        return SYSTOLE_DEVICE_PROTOCOL;
    }
    return SYSTOLE_DEVICE_PROTOCOL;
}

// ---- Transfers.

static void finish(struct flight *flight, enum systole_status status) {
    struct flight **at = &flight->owner->flying;
    while (*at != flight) {
        at = &(*at)->next;
    }
    *at = flight->next;
    at = &flight->owner->finished;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    flight->next = NULL;
    *at = flight;
    flight->transfer->actual = flight->usb->actual_length < 0 ? 0 : (size_t)flight->usb->actual_length;
    flight->transfer->status = status;
}

static void LIBUSB_CALL called_back(struct libusb_transfer *usb) {
    finish(usb->user_data, status_of_transfer(usb->status));
}

// Lets libusb work for at most timeout_ms; returns early when something happened.
static enum systole_status handle_events(struct libusb_transport *this, uint32_t timeout_ms) {
    struct timeval time = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    int error = libusb_handle_events_timeout_completed(this->context, &time, NULL);
    return error == LIBUSB_ERROR_INTERRUPTED || error == LIBUSB_ERROR_NO_DEVICE ? SYSTOLE_OK : status_of_error(error);
}

static void tell_finished(struct libusb_transport *this) {
    struct flight *told = this->finished; // what finishes meanwhile is for the next poll
    this->finished = NULL;
    while (told != NULL) {
        struct flight *flight = told;
        struct systole_usb_transfer *transfer = flight->transfer;
        told = flight->next;
        libusb_free_transfer(flight->usb);
        free(flight);
        transfer->transport_detail = NULL;
        transfer->complete(transfer);
    }
}

// Cancels everything that is flying and waits for it to come back, but not forever.
static void take_back(struct libusb_transport *this) {
    uint64_t end = systole_now_ms() + TAKE_BACK_MS;
    for (struct flight *flight = this->flying; flight != NULL; flight = flight->next) {
        (void)libusb_cancel_transfer(flight->usb);
    }
    while (this->flying != NULL && systole_now_ms() < end) {
        (void)handle_events(this, 10);
    }
}

// Closes the handle. Transfers that the system did not give back are dead with it.
static void detach(struct libusb_transport *this, enum systole_status status) {
    if (this->handle != NULL) {
        take_back(this);
        libusb_close(this->handle);
        this->handle = NULL;
    }
    while (this->flying != NULL) {
        finish(this->flying, status);
    }
}

static enum systole_status submit(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct libusb_transport *this = libusb_transport(transport);
    if (this->handle == NULL) {
        return SYSTOLE_DEVICE_GONE;
    }
    if (transfer->length > INT_MAX) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    struct flight *flight = calloc(1, sizeof *flight);
    struct libusb_transfer *usb = libusb_alloc_transfer(0);
    if (flight == NULL || usb == NULL) {
        libusb_free_transfer(usb);
        free(flight);
        return SYSTOLE_OUT_OF_MEMORY;
    }
    if (transfer->endpoint == SYSTOLE_USB_ENDPOINT_INTERRUPT_IN) {
        libusb_fill_interrupt_transfer(usb, this->handle, transfer->endpoint, transfer->buffer, (int)transfer->length,
                                       called_back, flight, 0);
    } else {
        libusb_fill_bulk_transfer(usb, this->handle, transfer->endpoint, transfer->buffer, (int)transfer->length,
                                  called_back, flight, 0);
    }
    *flight = (struct flight){.next = this->flying, .owner = this, .transfer = transfer, .usb = usb};
    transfer->actual = 0;
    transfer->status = SYSTOLE_OK;
    int error = libusb_submit_transfer(usb);
    if (error != LIBUSB_SUCCESS) {
        libusb_free_transfer(usb);
        free(flight);
        return status_of_error(error);
    }
    this->flying = flight;
    transfer->transport_detail = flight;
    return SYSTOLE_OK;
}

static enum systole_status cancel(struct systole_transport *transport, struct systole_usb_transfer *transfer) {
    struct libusb_transport *this = libusb_transport(transport);
    for (struct flight *flight = this->flying; flight != NULL; flight = flight->next) {
        if (flight == transfer->transport_detail) {
            int error = libusb_cancel_transfer(flight->usb);
            // Not found: it is complete, and its callback is on the way.
            return error == LIBUSB_ERROR_NOT_FOUND ? SYSTOLE_OK : status_of_error(error);
        }
    }
    return SYSTOLE_OK;
}

static enum systole_status poll(struct systole_transport *transport, uint32_t timeout_ms) {
    struct libusb_transport *this = libusb_transport(transport);
    enum systole_status status = handle_events(this, this->finished != NULL ? 0 : timeout_ms);
    tell_finished(this);
    return status;
}

static enum systole_status control(struct systole_transport *transport, uint8_t request_type, uint8_t request,
                                   uint16_t value, uint16_t index, uint8_t *data, uint16_t length, uint32_t timeout_ms,
                                   size_t *actual) {
    struct libusb_transport *this = libusb_transport(transport);
    *actual = 0;
    if (this->handle == NULL) {
        return SYSTOLE_DEVICE_GONE;
    }
    // 0 would be no limit.
    int moved = libusb_control_transfer(this->handle, request_type, request, value, index, data, length,
                                        timeout_ms == 0 ? 1 : timeout_ms);
    *actual = moved < 0 ? 0 : (size_t)moved;
    return status_of_error(moved < 0 ? moved : 0);
}

// ---- Finding devices.

// Opens a device and claims all its interfaces.
static int open_device(libusb_device *device, libusb_device_handle **handle) {
    struct libusb_config_descriptor *configuration = NULL;
    int active = 0;
    int error = libusb_open(device, handle);
    if (error != LIBUSB_SUCCESS) {
        return error;
    }
    (void)libusb_set_auto_detach_kernel_driver(*handle, 1); // not everywhere there is such a thing
    error = libusb_get_configuration(*handle, &active);
    if (error == LIBUSB_SUCCESS && active == 0) {
        error = libusb_set_configuration(*handle, 1);
    }
    if (error == LIBUSB_SUCCESS) {
        error = libusb_get_active_config_descriptor(device, &configuration);
    }
    for (int i = 0; error == LIBUSB_SUCCESS && i < configuration->bNumInterfaces; i++) {
        error = libusb_claim_interface(*handle, configuration->interface[i].altsetting[0].bInterfaceNumber);
    }
    libusb_free_config_descriptor(configuration);
    if (error != LIBUSB_SUCCESS) {
        libusb_close(*handle);
        *handle = NULL;
    }
    return error;
}

// Looks once for the device with that product id (0: either) at our place; an error of libusb.
static int attach_once(struct libusb_transport *this, uint16_t product_id) {
    libusb_device **devices = NULL;
    int error = LIBUSB_ERROR_NO_DEVICE;
    ssize_t count = libusb_get_device_list(this->context, &devices);
    for (ssize_t i = 0; i < count && error != LIBUSB_SUCCESS; i++) {
        uint16_t product = 0;
        struct systole_libusb_place place = systole_libusb_place_of(devices[i]);
        libusb_device_handle *handle = NULL;
        if (!systole_libusb_is_ours(devices[i], &product) || (product_id != 0 && product != product_id) ||
            !systole_libusb_same_place(&place, &this->place)) {
            continue;
        }
        error = open_device(devices[i], &handle);
        if (error == LIBUSB_SUCCESS) {
            detach(this, SYSTOLE_DEVICE_GONE);
            this->handle = handle;
        }
    }
    if (count >= 0) {
        libusb_free_device_list(devices, 1);
    }
    return error;
}

// Whether the handle is that of the wanted device, and the device is there.
static bool is_attached(struct libusb_transport *this, uint16_t product_id) {
    uint8_t status[2];
    uint16_t product = 0;
    return this->handle != NULL && systole_libusb_is_ours(libusb_get_device(this->handle), &product) &&
           product == product_id &&
           libusb_control_transfer(this->handle, LIBUSB_ENDPOINT_IN, LIBUSB_REQUEST_GET_STATUS, 0, 0, status,
                                   sizeof status, 1000) == sizeof status;
}

static int LIBUSB_CALL note_hotplug(libusb_context *context, libusb_device *device, libusb_hotplug_event event,
                                    void *user) {
    (void)context, (void)device, (void)event;
    ((struct libusb_transport *)user)->bus_changed = true;
    return 0; // again, please
}

// Where there are no hotplug events, attach looks at the list from time to time.
static void watch_bus(struct libusb_transport *this) {
    this->watches_bus = libusb_has_capability(LIBUSB_CAP_HAS_HOTPLUG) != 0 &&
                        libusb_hotplug_register_callback(
                            this->context, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT, 0,
                            SYSTOLE_USB_VENDOR_ID, LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY, note_hotplug,
                            this, &this->hotplug) == LIBUSB_SUCCESS;
}

static void await_bus(struct libusb_transport *this, uint64_t end) {
    uint64_t now = systole_now_ms(), step = now + ATTACH_STEP_MS < end ? now + ATTACH_STEP_MS : end;
    while (!this->bus_changed && (now = systole_now_ms()) < step) {
        (void)handle_events(this, (uint32_t)(step - now));
    }
    this->bus_changed = false;
}

static enum systole_status attach(struct systole_transport *transport, uint16_t product_id, uint32_t timeout_ms) {
    struct libusb_transport *this = libusb_transport(transport);
    uint64_t end = systole_now_ms() + timeout_ms;
    bool attached = is_attached(this, product_id) || attach_once(this, product_id) == LIBUSB_SUCCESS;
    while (!attached && systole_now_ms() < end) {
        await_bus(this, end);
        attached = attach_once(this, product_id) == LIBUSB_SUCCESS;
    }
    return attached ? SYSTOLE_OK : SYSTOLE_DEVICE_GONE;
}

static enum systole_status release(struct systole_transport *transport) {
    detach(libusb_transport(transport), SYSTOLE_CANCELLED);
    return SYSTOLE_OK;
}

// Nothing tells when another program lets go of a device, so this asks again and again.
static enum systole_status claim(struct systole_transport *transport, uint32_t timeout_ms) {
    struct libusb_transport *this = libusb_transport(transport);
    uint64_t end = systole_now_ms() + timeout_ms;
    int error = this->handle != NULL ? LIBUSB_SUCCESS : attach_once(this, 0);
    while (error != LIBUSB_SUCCESS && systole_now_ms() < end) {
        (void)handle_events(this, CLAIM_STEP_MS);
        error = attach_once(this, 0);
    }
    return error == LIBUSB_SUCCESS ? SYSTOLE_OK : error == LIBUSB_ERROR_BUSY ? SYSTOLE_NO_DEVICE : SYSTOLE_DEVICE_GONE;
}

static enum systole_status reset(struct systole_transport *transport) {
    struct libusb_transport *this = libusb_transport(transport);
    if (this->handle == NULL) {
        return SYSTOLE_DEVICE_GONE;
    }
    take_back(this);
    enum systole_status status = status_of_error(libusb_reset_device(this->handle));
    // Also when it came back as another device, attach finds it. What is out still would write to its owner's memory.
    if (status == SYSTOLE_DEVICE_GONE || this->flying != NULL) {
        detach(this, SYSTOLE_DEVICE_GONE);
    }
    return status;
}

// ---- For event loops: one descriptor that stays, while libusb's come and go.

static void LIBUSB_CALL watch(int descriptor, short events, void *user) {
    struct epoll_event event = {.events = (uint32_t)events, .data.fd = descriptor}; // EPOLL* are POLL*
    (void)epoll_ctl(((struct libusb_transport *)user)->descriptor, EPOLL_CTL_ADD, descriptor, &event);
}

static void LIBUSB_CALL unwatch(int descriptor, void *user) {
    (void)epoll_ctl(((struct libusb_transport *)user)->descriptor, EPOLL_CTL_DEL, descriptor, NULL);
}

static int descriptor(struct systole_transport *transport) {
    struct libusb_transport *this = libusb_transport(transport);
    if (this->descriptor >= 0) {
        return this->descriptor;
    }
    const struct libusb_pollfd **all = libusb_get_pollfds(this->context);
    this->descriptor = all == NULL ? -1 : epoll_create1(EPOLL_CLOEXEC);
    if (this->descriptor >= 0) {
        for (size_t i = 0; all[i] != NULL; i++) {
            watch(all[i]->fd, all[i]->events, this);
        }
        libusb_set_pollfd_notifiers(this->context, watch, unwatch, this);
    }
    libusb_free_pollfds(all);
    return this->descriptor;
}

static void close_transport(struct systole_transport *transport) {
    struct libusb_transport *this = libusb_transport(transport);
    detach(this, SYSTOLE_CANCELLED);
    while (this->finished != NULL) { // the submitters own theirs again, without being told
        struct flight *flight = this->finished;
        this->finished = flight->next;
        libusb_free_transfer(flight->usb);
        free(flight);
    }
    if (this->watches_bus) {
        libusb_hotplug_deregister_callback(this->context, this->hotplug);
    }
    libusb_set_pollfd_notifiers(this->context, NULL, NULL, NULL);
    libusb_exit(this->context);
    if (this->descriptor >= 0) {
        (void)close(this->descriptor);
    }
    free(this);
}

static const struct systole_transport_functions functions = {
    .control = control,
    .submit = submit,
    .cancel = cancel,
    .poll = poll,
    .attach = attach,
    .reset = reset,
    .close = close_transport,
    .descriptor = descriptor,
    .release = release,
    .claim = claim,
};

// Looks once; an error of libusb.
static int open_once(struct libusb_transport *this, const char *choice, bool *found, uint32_t *there) {
    libusb_device **devices = NULL;
    int error = LIBUSB_ERROR_NOT_FOUND;
    ssize_t count = systole_libusb_find_devices(this->context, &devices);
    *found = false;
    *there = count < 0 ? 0 : (uint32_t)count;
    for (ssize_t i = 0; i < count && !*found; i++) {
        *found = systole_libusb_is_chosen(devices[i], (uint32_t)i, choice);
        if (*found) {
            this->place = systole_libusb_place_of(devices[i]);
            systole_libusb_name_place(&this->place, this->name, sizeof this->name);
            error = open_device(devices[i], &this->handle);
        }
    }
    systole_libusb_free_devices(devices, count);
    return error;
}

// Who shares a device may meet it in another's hands, or just when another makes it re-enumerate.
static enum systole_status open_choice(struct libusb_transport *this, const char *choice, uint32_t wait_ms,
                                       struct systole_diagnostic *diagnostic) {
    uint64_t start = systole_now_ms();
    bool found = false;
    uint32_t there = 0;
    int error = open_once(this, choice, &found, &there);
    while (error != LIBUSB_SUCCESS && systole_now_ms() - start < (found || wait_ms < ABSENT_MS ? wait_ms : ABSENT_MS)) {
        (void)handle_events(this, CLAIM_STEP_MS);
        error = open_once(this, choice, &found, &there);
    }
    if (error == LIBUSB_SUCCESS) {
        return SYSTOLE_OK;
    }
    return found ? systole_fail(diagnostic, SYSTOLE_NO_DEVICE, this->name,
                                error == LIBUSB_ERROR_ACCESS ? "install the udev rule and plug the device in again"
                                : error == LIBUSB_ERROR_BUSY ? "another program uses it"
                                                             : "plug the device in again",
                                "the device cannot be opened: %s", libusb_strerror(error))
                 : systole_fail(diagnostic, SYSTOLE_NO_DEVICE, "", "plug one in, or run below `systole serve fuse --`",
                                "no Systole device %s on USB, there are %u", choice, there);
}

enum systole_status systole_libusb_open_chosen(const char *choice, uint32_t wait_ms,
                                               struct systole_transport **transport,
                                               struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    struct libusb_transport *made = calloc(1, sizeof *made);
    *transport = NULL;
    if (made == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for a USB transport");
    }
    made->transport = (struct systole_transport){.functions = &functions, .name = made->name};
    made->descriptor = -1;
    int error = libusb_init(&made->context);
    if (error != LIBUSB_SUCCESS) {
        status = systole_fail(diagnostic, SYSTOLE_NO_DEVICE, "", "see that /dev/bus/usb is there",
                              "libusb does not start: %s", libusb_strerror(error));
        free(made);
        return status;
    }
    watch_bus(made);
    status = open_choice(made, choice == NULL ? "0" : choice, wait_ms, diagnostic);
    if (status != SYSTOLE_OK) {
        close_transport(&made->transport);
        return status;
    }
    *transport = &made->transport;
    return SYSTOLE_OK;
}

enum systole_status systole_libusb_open(uint32_t index, struct systole_transport **transport,
                                        struct systole_diagnostic *diagnostic) {
    char choice[16];
    (void)snprintf(choice, sizeof choice, "%u", index);
    return systole_libusb_open_chosen(choice, 0, transport, diagnostic);
}
