// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The ioctls of a client of the virtual USB bus. This process is the client. Its structures lie in an arena that is
// followed by memory that nobody may touch; pointers in them are replaced by places in either. An input is a list of
// steps (steps.h). A request answers as Linux's does: at least 0, or an errno.
#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "steps.h"
#include "target.h"
#include "usbfs.h"

enum { MOST_STEPS = 128, ARENA = 1 << 16, FILES = 3, LARGEST_ERRNO = 4095 };

static uint8_t *arena;

static const unsigned requests[] = {USBDEVFS_SUBMITURB,
                                    USBDEVFS_CONTROL,
                                    USBDEVFS_REAPURBNDELAY,
                                    USBDEVFS_REAPURB,
                                    USBDEVFS_DISCARDURB,
                                    USBDEVFS_CLAIMINTERFACE,
                                    USBDEVFS_RELEASEINTERFACE,
                                    USBDEVFS_DISCONNECT_CLAIM,
                                    USBDEVFS_SETCONFIGURATION,
                                    USBDEVFS_CLEAR_HALT,
                                    USBDEVFS_RESETEP,
                                    USBDEVFS_GET_CAPABILITIES,
                                    USBDEVFS_SETINTERFACE,
                                    USBDEVFS_RESET,
                                    USBDEVFS_GETDRIVER,
                                    USBDEVFS_GET_SPEED,
                                    USBDEVFS_IOCTL};

struct bus {
    struct systole_usb_device *device;
    struct systole_usbfs *usbfs;
    struct systole_usbfs_file *files[FILES];
};

static uint64_t place(uint32_t offset) {
    return (uint64_t)(uintptr_t)(arena + offset % (2 * ARENA));
}

// The structure of a request at a place in the arena.
static void fill(struct fuzz_input *input, unsigned request, uint32_t at) {
    size_t taken = 0;
    if (request == USBDEVFS_SUBMITURB && at + sizeof(struct usbdevfs_urb) <= ARENA) {
        struct usbdevfs_urb urb = {.type = (uint8_t)fuzz_number(input, 1)};
        urb.endpoint = (uint8_t)fuzz_number(input, 1);
        urb.flags = fuzz_number(input, 1);
        urb.buffer = (void *)(uintptr_t)place(fuzz_number(input, 3));
        urb.buffer_length = (int)fuzz_number(input, (urb.flags & 0x10) != 0 ? 4 : 2);
        memcpy(arena + at, &urb, sizeof urb);
    } else if (request == USBDEVFS_CONTROL && at + sizeof(struct usbdevfs_ctrltransfer) <= ARENA) {
        struct usbdevfs_ctrltransfer transfer = {.timeout = 1};
        const uint8_t *from = fuzz_take(input, 8, &taken);
        if (taken > 0) {
            memcpy(&transfer, from, taken);
        }
        transfer.data = (void *)(uintptr_t)place(fuzz_number(input, 3));
        memcpy(arena + at, &transfer, sizeof transfer);
    } else {
        const uint8_t *from = fuzz_take(input, fuzz_number(input, 1) % 64, &taken);
        if (taken > 0 && at < ARENA) {
            memcpy(arena + at, from, taken < ARENA - at ? taken : ARENA - at);
        }
    }
}

static void step(struct bus *bus, struct fuzz_input *input) {
    uint32_t kind = fuzz_number(input, 1), which = fuzz_number(input, 1) % FILES;
    struct systole_usbfs_file **file = &bus->files[which];
    size_t taken = 0;
    switch (kind % USBFS_STEP_KINDS) {
    case USBFS_STEP_IOCTL: {
        uint32_t choice = fuzz_number(input, 1), count = sizeof requests / sizeof requests[0];
        unsigned request = choice < count ? requests[choice] : USBDEVFS_SUBMITURB + choice;
        uint32_t at = fuzz_number(input, 2);
        fill(input, request, at);
        if (*file != NULL) {
            int result = systole_usbfs_ioctl(*file, getpid(), request, place(at));
            FUZZ_REQUIRE(result >= -LARGEST_ERRNO, "no errno");
        }
        break;
    }
    case USBFS_STEP_FILL: {
        uint32_t at = fuzz_number(input, 2);
        const uint8_t *from = fuzz_take(input, fuzz_number(input, 2), &taken);
        if (taken > 0 && at < ARENA) {
            memcpy(arena + at, from, taken < ARENA - at ? taken : ARENA - at);
        }
        break;
    }
    case USBFS_STEP_OPEN:
        *file = *file == NULL ? systole_usbfs_open(bus->usbfs) : *file;
        break;
    case USBFS_STEP_CLOSE:
        if (*file != NULL) {
            systole_usbfs_close(*file);
            *file = NULL;
        }
        break;
    default:
        (void)systole_usb_device_run(bus->device);
        (void)systole_usbfs_move(bus->usbfs);
        (void)systole_usbfs_reenumerated(bus->usbfs);
        break;
    }
    for (uint32_t i = 0; i < FILES; i++) {
        if (bus->files[i] != NULL) {
            (void)systole_usbfs_events(bus->files[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {bytes, size};
    struct systole_target target = steps_target();
    struct systole_accelerator *accelerator = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    struct bus bus = {.device = NULL};
    if (arena == NULL) {
        void *mapped = mmap(NULL, 2 * ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        FUZZ_REQUIRE(mapped != MAP_FAILED && mprotect(mapped, ARENA, PROT_READ | PROT_WRITE) == 0, "no arena");
        arena = mapped;
    }
    memset(arena, 0, ARENA);
    FUZZ_REQUIRE(systole_functional_model_create(&target, 0, &accelerator, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    bus.device = systole_usb_device_create(accelerator, &target);
    bus.usbfs = bus.device != NULL ? systole_usbfs_create(bus.device) : NULL;
    FUZZ_REQUIRE(bus.usbfs != NULL, "no memory");
    bus.files[0] = systole_usbfs_open(bus.usbfs);
    for (uint32_t i = 0; i < MOST_STEPS && input.left > 0; i++) {
        step(&bus, &input);
    }
    systole_usbfs_free(bus.usbfs); // closes what is open
    systole_usb_device_free(bus.device);
    return 0;
}
