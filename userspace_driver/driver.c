// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The public functions. systole_driver_poll is the only place where things move: it lets the transport work, then
// advances requests, looks at clocks, recovers from what failed and completes what is complete.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_state.h"
#include "target.h"

enum { VENDOR_IN = 0xc0, VENDOR_OUT = 0x40, POLL_MS = 10, PACKET = SYSTOLE_USB_PACKET_BYTES };

void driver_fail(struct systole_driver *driver, enum systole_status status, const char *hint, const char *format, ...) {
    char text[sizeof driver->failure_diagnostic.what];
    va_list arguments;
    if (driver->failure != SYSTOLE_OK || driver->stopping) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    driver->fault_code = SYSTOLE_ERROR_NONE;
    driver->failure = systole_fail(&driver->failure_diagnostic, status, driver->transport->name, hint, "%s", text);
}

enum systole_status driver_control(struct systole_driver *driver, uint8_t type, uint8_t request, uint16_t value,
                                   uint16_t index, uint8_t *data, uint16_t length) {
    size_t actual = 0;
    enum systole_status status = driver->transport->functions->control(
        driver->transport, type, request, value, index, data, length, driver->options.silence_ms, &actual);
    return status == SYSTOLE_OK && actual != length ? SYSTOLE_DEVICE_PROTOCOL : status;
}

enum systole_status systole_driver_read_register(struct systole_driver *driver, uint32_t address, uint64_t *value) {
    uint8_t bytes[8];
    enum systole_status status = driver_control(driver, VENDOR_IN, SYSTOLE_USB_REQUEST_READ_REGISTER, (uint16_t)address,
                                                (uint16_t)(address >> 16), bytes, sizeof bytes);
    if (status == SYSTOLE_OK) {
        memcpy(value, bytes, sizeof bytes);
    }
    return status;
}

enum systole_status systole_driver_write_register(struct systole_driver *driver, uint32_t address, uint64_t value) {
    uint8_t bytes[8];
    memcpy(bytes, &value, sizeof bytes);
    return driver_control(driver, VENDOR_OUT, SYSTOLE_USB_REQUEST_WRITE_REGISTER, (uint16_t)address,
                          (uint16_t)(address >> 16), bytes, sizeof bytes);
}

enum systole_status systole_driver_peek(struct systole_driver *driver, uint32_t word, uint8_t *bytes,
                                        bool *parity_wrong) {
    uint64_t state = SYSTOLE_DEBUG_STATE_READING, value;
    uint64_t end = systole_now_ms() + driver->options.silence_ms;
    enum systole_status status = systole_driver_write_register(driver, SYSTOLE_REGISTER_DEBUG_ADDRESS, word);
    while (status == SYSTOLE_OK && (state & SYSTOLE_DEBUG_STATE_READING) != 0) { // the memory may be busy for a while
        status = systole_now_ms() <= end ? systole_driver_read_register(driver, SYSTOLE_REGISTER_DEBUG_STATE, &state)
                                         : SYSTOLE_DEVICE_TIMEOUT;
    }
    *parity_wrong = (state & SYSTOLE_DEBUG_STATE_PARITY) != 0;
    for (uint32_t at = 0; at < driver->target.columns && status == SYSTOLE_OK; at += 8) {
        size_t size = driver->target.columns - at < 8 ? driver->target.columns - at : 8;
        status = systole_driver_read_register(driver, SYSTOLE_REGISTER_DEBUG_DATA + at, &value);
        memcpy(bytes + at, &value, status == SYSTOLE_OK ? size : 0);
    }
    return status;
}

bool systole_driver_resident(const struct systole_driver *driver, systole_loaded loaded) {
    return loaded < driver->loaded_count && driver->loaded[loaded].segment != NULL && driver->loaded[loaded].resident;
}

void systole_driver_statistics(const struct systole_driver *driver, struct systole_driver_statistics *statistics) {
    *statistics = driver->statistics;
}

int systole_driver_descriptor(struct systole_driver *driver, uint32_t *timeout_ms) {
    const struct systole_transport_functions *functions = driver->transport->functions;
    bool at_once = driver->done_first != NULL || (driver->released && driver->first != NULL);
    *timeout_ms = at_once ? 0 : driver->first != NULL ? POLL_MS : UINT32_MAX;
    return functions->descriptor == NULL ? -1 : functions->descriptor(driver->transport);
}

struct systole_transport *systole_driver_transport(struct systole_driver *driver) {
    return driver->transport;
}

// ---- Open and close.

static void set_options(struct systole_driver *driver, const struct systole_driver_options *options) {
    struct systole_driver_options *chosen = &driver->options;
    if (options != NULL) {
        *chosen = *options;
    }
    chosen->silence_ms = chosen->silence_ms == 0 ? SYSTOLE_SILENCE_MS : chosen->silence_ms;
    chosen->cycle_margin = chosen->cycle_margin == 0 ? 16 : chosen->cycle_margin;
    chosen->chunk_bytes = chosen->chunk_bytes == 0 ? 256 * 1024 : chosen->chunk_bytes / PACKET * PACKET;
    chosen->chunk_bytes = chosen->chunk_bytes < PACKET ? PACKET : chosen->chunk_bytes;
    chosen->queue_depth = chosen->queue_depth == 0 ? 4 : chosen->queue_depth;
    chosen->replays = chosen->replays == 0                   ? DRIVER_REPLAYS
                      : chosen->replays == SYSTOLE_NO_REPLAY ? 0
                                                             : chosen->replays;
}

static bool allocate(struct systole_driver *driver, const uint8_t *firmware, size_t size) {
    size_t depth = driver->options.queue_depth;
    driver->firmware = malloc(size == 0 ? 1 : size);
    driver->out = calloc(depth, sizeof *driver->out);
    driver->in = calloc(depth, sizeof *driver->in);
    driver->buffers = calloc(2 * depth, driver->options.chunk_bytes);
    if (driver->firmware == NULL || driver->out == NULL || driver->in == NULL || driver->buffers == NULL) {
        return false;
    }
    memcpy(driver->firmware, firmware, size);
    driver->firmware_size = size;
    return true;
}

enum systole_status systole_driver_open(struct systole_transport *transport, const struct systole_target *target,
                                        const uint8_t *firmware, size_t size,
                                        const struct systole_driver_options *options, struct systole_driver **driver,
                                        struct systole_diagnostic *diagnostic) {
    enum systole_status status = SYSTOLE_OK;
    struct systole_driver *made = calloc(1, sizeof *made);
    *driver = NULL;
    if (made == NULL) {
        transport->functions->close(transport);
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, "", "", "no memory for the driver");
    }
    made->transport = transport;
    made->target = *target;
    made->next_tag = made->next_token = 1;
    set_options(made, options);
    if (!allocate(made, firmware, size)) {
        status = systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, transport->name, "", "no memory for transfers");
    }
    status = status == SYSTOLE_OK ? driver_bring_up(made, false, diagnostic) : status;
    if (status == SYSTOLE_OK) {
        status = driver_post_transfers(made);
        if (status != SYSTOLE_OK && diagnostic != NULL) {
            *diagnostic = made->failure_diagnostic;
        }
    }
    made->ready = status == SYSTOLE_OK;
    if (status != SYSTOLE_OK) {
        systole_driver_close(made);
        return status;
    }
    driver_release_if_idle(made);
    *driver = made;
    return SYSTOLE_OK;
}

static void free_loaded(struct driver_loaded *loaded) {
    free(loaded->loads);
    free(loaded->stores);
    memset(loaded, 0, sizeof *loaded);
}

void systole_driver_close(struct systole_driver *driver) {
    if (driver == NULL) {
        return;
    }
    struct systole_diagnostic closed = {"the driver was closed", "", ""};
    if (driver->out != NULL && driver->in != NULL) {
        driver_stop_transfers(driver);
    }
    driver->transport->functions->close(driver->transport); // from here no transfer is out
    driver->ready = false;
    driver_forget_frames(driver);
    while (driver->first != NULL) {
        driver_finish(driver, driver->first, SYSTOLE_CANCELLED, &closed);
    }
    driver_deliver(driver);
    for (uint32_t i = 0; i < driver->loaded_count; i++) {
        free_loaded(&driver->loaded[i]);
    }
    free(driver->loaded);
    free(driver->buffers);
    free(driver->in);
    free(driver->out);
    free(driver->firmware);
    free(driver);
}

// ---- Segments.

static bool inside(const struct systole_segment *segment, uint32_t address, uint64_t words, uint32_t allowed) {
    uint32_t region = address >> 28;
    return region < SYSTOLE_REGIONS && (allowed >> region & 1) != 0 &&
           (address & 0x0fffffffu) + words <= segment->region_words[region];
}

static enum systole_status check_segment(const struct systole_driver *driver, const struct systole_segment *segment,
                                         struct systole_diagnostic *diagnostic) {
    uint32_t columns = driver->target.columns;
    const char *wrong = NULL;
    for (uint32_t i = 0; i < segment->input_count; i++) {
        const struct systole_placement *placement = &segment->inputs[i].placement;
        if (!inside(segment, placement->address, systole_placement_words(placement, columns),
                    1u << SYSTOLE_REGION_INPUT | 1u << SYSTOLE_REGION_HOST)) {
            wrong = "an input";
        }
    }
    for (uint32_t i = 0; i < segment->output_count; i++) {
        const struct systole_placement *placement = &segment->outputs[i].placement;
        if (!inside(segment, placement->address, systole_placement_words(placement, columns),
                    1u << SYSTOLE_REGION_OUTPUT | 1u << SYSTOLE_REGION_ACTIVATIONS | 1u << SYSTOLE_REGION_INPUT |
                        1u << SYSTOLE_REGION_HOST)) {
            wrong = "an output";
        }
    }
    if (segment->command_count == 0 || (uint64_t)segment->command_count * SYSTOLE_COMMAND_BYTES >
                                           (uint64_t)segment->region_words[SYSTOLE_REGION_PROGRAM] * columns) {
        wrong = "the program";
    }
    for (uint32_t i = 0; i < segment->command_count; i++) {
        const struct systole_command *command = &segment->commands[i];
        const struct systole_transfer *transfer = &command->body.transfer;
        uint32_t region = transfer->host_address >> 28;
        uint64_t end = (uint64_t)(transfer->host_address & 0x0fffffffu) + transfer->words;
        bool load = command->header.opcode == SYSTOLE_OPCODE_LOAD,
             store = command->header.opcode == SYSTOLE_OPCODE_STORE;
        bool host = region == SYSTOLE_REGION_HOST && end <= segment->region_words[SYSTOLE_REGION_HOST];
        bool parameters = region == SYSTOLE_REGION_PARAMETERS && end <= segment->parameter_words;
        if ((load || store) && !host && !(load && parameters)) {
            wrong = "a transfer with the host";
        }
    }
    return wrong == NULL ? SYSTOLE_OK
                         : systole_fail(diagnostic, SYSTOLE_BAD_ARGUMENT, driver->transport->name,
                                        "compile the model again", "%s of the segment lies outside its region", wrong);
}

// Lists what load and store commands exchange. Stores leave the device in their order, so a load that reads what stores
// before it in the program wrote waits for the last of them.
static bool list_exchanges(struct driver_loaded *loaded) {
    const struct systole_segment *segment = loaded->segment;
    loaded->loads = calloc((size_t)segment->command_count + 1, sizeof *loaded->loads);
    loaded->stores = calloc((size_t)segment->command_count + 1, sizeof *loaded->stores);
    if (loaded->loads == NULL || loaded->stores == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < segment->command_count; i++) {
        const struct systole_transfer *transfer = &segment->commands[i].body.transfer;
        struct driver_exchange exchange = {transfer->host_address, transfer->words, 0};
        if (segment->commands[i].header.opcode == SYSTOLE_OPCODE_STORE) {
            loaded->stores[loaded->store_count++] = exchange;
        } else if (segment->commands[i].header.opcode == SYSTOLE_OPCODE_LOAD) {
            for (uint32_t k = loaded->store_count; k > 0 && exchange.stores_before == 0; k--) {
                const struct driver_exchange *store = &loaded->stores[k - 1];
                bool overlaps = store->host_address < exchange.host_address + exchange.words &&
                                exchange.host_address < store->host_address + store->words;
                exchange.stores_before = overlaps ? k : 0;
            }
            loaded->loads[loaded->load_count++] = exchange;
        }
    }
    return true;
}

enum systole_status systole_driver_load(struct systole_driver *driver, const struct systole_segment *segment,
                                        systole_loaded *loaded, struct systole_diagnostic *diagnostic) {
    uint32_t index = 0;
    enum systole_status status = check_segment(driver, segment, diagnostic);
    while (index < driver->loaded_count && driver->loaded[index].segment != NULL) {
        index++;
    }
    if (status == SYSTOLE_OK && index == driver->loaded_count) {
        struct driver_loaded *more = realloc(driver->loaded, (index + 1) * sizeof *more);
        if (more == NULL) {
            return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, driver->transport->name, "", "no memory");
        }
        driver->loaded = more;
        driver->loaded_count++;
        memset(&more[index], 0, sizeof more[index]);
    }
    if (status != SYSTOLE_OK) {
        return status;
    }
    struct driver_loaded *entry = &driver->loaded[index];
    entry->segment = segment;
    status = list_exchanges(entry) ? driver_check_size(driver, segment, diagnostic)
                                   : systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, driver->transport->name, "",
                                                  "no memory for a segment's transfers");
    if (status != SYSTOLE_OK) {
        free_loaded(entry);
        return status;
    }
    // While requests are in flight it may find no room, or must not get in between: then with its first request.
    if (driver_make_resident(driver, entry) && driver->ready && driver->first == NULL) {
        driver_upload(driver, entry);
        driver_send_frames(driver);
    }
    *loaded = index;
    return SYSTOLE_OK;
}

enum systole_status systole_driver_unload(struct systole_driver *driver, systole_loaded loaded) {
    if (loaded >= driver->loaded_count || driver->loaded[loaded].segment == NULL) {
        return SYSTOLE_BAD_ARGUMENT;
    }
    for (const struct driver_request *request = driver->first; request != NULL; request = request->next) {
        if (request->loaded == loaded) {
            return SYSTOLE_BAD_ARGUMENT;
        }
    }
    // Frames that still carry its program must leave before the segment may go.
    uint64_t end = systole_now_ms() + driver->options.silence_ms;
    while (driver->ready && (driver->frames_first != NULL || driver_is_lent(driver, NULL)) && systole_now_ms() < end) {
        systole_driver_poll(driver, POLL_MS);
    }
    if (driver->frames_first != NULL || driver_is_lent(driver, NULL)) {
        driver_recover(driver, NULL, SYSTOLE_OK, NULL);
    }
    free_loaded(&driver->loaded[loaded]);
    return SYSTOLE_OK;
}

// ---- Requests.

void systole_request_clear(struct systole_request *request) {
    free(request->retired);
    request->retired = NULL;
    request->retired_count = 0;
}

enum systole_status systole_driver_submit(struct systole_driver *driver, systole_loaded loaded,
                                          struct systole_request *request) {
    if (loaded >= driver->loaded_count || driver->loaded[loaded].segment == NULL) {
        return systole_fail(&request->diagnostic, SYSTOLE_BAD_ARGUMENT, driver->transport->name, "",
                            "no segment is loaded as %u", loaded);
    }
    if (!driver->ready && !driver->released) {
        return systole_fail(&request->diagnostic, SYSTOLE_DEVICE_GONE, driver->transport->name,
                            "plug the device in again and reset the driver", "the device is not there");
    }
    struct driver_loaded *entry = &driver->loaded[loaded];
    size_t host_bytes = (size_t)entry->segment->region_words[SYSTOLE_REGION_HOST] * driver->target.columns;
    struct driver_request *made = calloc(1, sizeof *made);
    uint8_t *host = host_bytes == 0 ? NULL : calloc(1, host_bytes);
    systole_request_clear(request);
    if (driver->options.trace_retirements) {
        request->retired = calloc(entry->segment->command_count, sizeof *request->retired);
    }
    if (made == NULL || (host_bytes != 0 && host == NULL) ||
        (driver->options.trace_retirements && request->retired == NULL)) {
        free(made);
        free(host);
        systole_request_clear(request);
        return systole_fail(&request->diagnostic, SYSTOLE_OUT_OF_MEMORY, driver->transport->name, "",
                            "no memory for a request");
    }
    made->request = request;
    made->loaded = loaded;
    made->host = host;
    made->second_input = entry->next_input != 0;
    entry->next_input = !entry->next_input;
    request->status = SYSTOLE_OK;
    memset(&request->diagnostic, 0, sizeof request->diagnostic);
    request->detail = made;
    if (driver->first == NULL) {
        driver->first = made;
    } else {
        driver->last->next = made;
    }
    driver->last = made;
    driver_advance(driver);
    return SYSTOLE_OK;
}

enum systole_status systole_driver_poll(struct systole_driver *driver, uint32_t timeout_ms) {
    uint64_t end = systole_now_ms() + timeout_ms, now;
    struct systole_diagnostic unclaimed = {"", "", ""};
    driver->in_poll = true;
    bool delivered = driver_deliver(driver);
    if (driver->released && driver->first != NULL) {
        enum systole_status status = driver_claim(driver, &unclaimed);
        while (status != SYSTOLE_OK && driver->first != NULL) {
            driver_finish(driver, driver->first, status, &unclaimed);
        }
    }
    do {
        uint64_t left = (now = systole_now_ms()) < end && !delivered ? end - now : 0;
        driver_advance(driver);
        if (driver->ready && driver->failure == SYSTOLE_OK) {
            enum systole_status status =
                driver->transport->functions->poll(driver->transport, left < POLL_MS ? (uint32_t)left : POLL_MS);
            if (status != SYSTOLE_OK) {
                driver_fail(driver, status, "", "the transport fails: %s", systole_status_name(status));
            }
            driver_advance(driver);
            driver_debug_check(driver);
            driver_check_progress(driver);
        }
        if (driver->ready && driver->failure != SYSTOLE_OK) {
            driver_handle_failure(driver);
        }
        delivered = driver_deliver(driver) || delivered;
    } while (!delivered && driver->ready && driver->first != NULL && systole_now_ms() < end);
    driver->in_poll = false;
    driver_release_if_idle(driver);
    return driver->ready || driver->released ? SYSTOLE_OK : SYSTOLE_DEVICE_GONE;
}

enum systole_status systole_driver_wait(struct systole_driver *driver, struct systole_request *request) {
    while (request->detail != NULL) {
        systole_driver_poll(driver, POLL_MS);
    }
    return request->status;
}

enum systole_status systole_driver_cancel(struct systole_driver *driver, struct systole_request *request) {
    struct systole_diagnostic cancelled = {"cancelled by the caller", "", ""};
    struct driver_request *found = request->detail;
    enum systole_status status = SYSTOLE_OK;
    struct driver_request *known = driver->first;
    while (known != NULL && known != found) {
        known = known->next;
    }
    if (known == NULL) { // complete already
        driver_deliver(driver);
        return SYSTOLE_OK;
    }
    if (found->phase == DRIVER_QUEUED) {
        driver_finish(driver, found, SYSTOLE_CANCELLED, &cancelled);
    } else {
        status = driver_recover(driver, found, SYSTOLE_CANCELLED, &cancelled);
    }
    driver_deliver(driver);
    driver_release_if_idle(driver);
    return status;
}

enum systole_status systole_driver_reset(struct systole_driver *driver, struct systole_diagnostic *diagnostic) {
    struct systole_diagnostic cancelled = {"the driver was reset", "", ""};
    enum systole_status status = driver_claim(driver, diagnostic);
    if (status != SYSTOLE_OK && driver->released) {
        return status;
    }
    driver_stop_transfers(driver); // before buffers go back to their owners
    driver_forget_frames(driver);
    while (driver->first != NULL) {
        driver_finish(driver, driver->first, SYSTOLE_CANCELLED, &cancelled);
    }
    driver->idle_failures = 0;
    status = driver_recover(driver, NULL, SYSTOLE_OK, NULL);
    driver_deliver(driver);
    for (uint32_t i = 0; i < driver->loaded_count && status == SYSTOLE_OK; i++) {
        if (driver->loaded[i].segment != NULL && driver->loaded[i].resident && !driver->loaded[i].uploaded) {
            driver_upload(driver, &driver->loaded[i]);
        }
    }
    driver_send_frames(driver);
    driver_release_if_idle(driver);
    return status == SYSTOLE_OK ? status
                                : systole_fail(diagnostic, status, driver->transport->name, "plug the device in again",
                                               "the device does not come back: %s", systole_status_name(status));
}
