// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A request's way: inputs written, launch, stream frames as their bytes exist, reads of the outputs, counters, done.
// The head of the list is the one that runs; the one behind it may already have its inputs written, into the other
// input window or held back by after_run. The order in which frames are queued is the order in which the device handles
// them, and a held frame holds all behind it: so nothing with after_run is queued before the last stream frame of a
// run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_state.h"

enum { CHECK_MS = 100, STRIKES = 3, CYCLE_ALLOWANCE = 100000, HOST_CYCLE_ALLOWANCE = 1 << 24 };

static uint32_t absolute(const struct systole_region_window *windows, uint32_t address) {
    return windows[address >> 28 & 7].base + (address & 0x0fffffffu);
}

// `room`: how many of the bytes are there; zeros follow.
static bool write_words(struct systole_driver *driver, uint32_t word, const uint8_t *bytes, size_t room, size_t size,
                        bool after_run, const struct driver_request *request) {
    struct systole_frame_header header = {.kind = SYSTOLE_FRAME_WRITE,
                                          .flags = after_run ? SYSTOLE_FRAME_FLAG_AFTER_RUN : 0,
                                          .tag = driver->next_tag++,
                                          .address = word,
                                          .length = (uint32_t)size};
    return size == 0 || driver_queue_frame(driver, header, bytes, room < size ? room : size, request);
}

// The region holds the first words of the parameters; what lies behind them is streamed by load commands.
bool driver_upload(struct systole_driver *driver, struct driver_loaded *loaded) {
    const struct systole_segment *segment = loaded->segment;
    uint32_t words = loaded->windows[SYSTOLE_REGION_PARAMETERS].words;
    words = words < segment->parameter_words ? words : segment->parameter_words;
    driver->statistics.uploads++;
    loaded->uploaded =
        write_words(driver, loaded->windows[SYSTOLE_REGION_PROGRAM].base, (const uint8_t *)segment->commands, SIZE_MAX,
                    (size_t)segment->command_count * SYSTOLE_COMMAND_BYTES, false, NULL) &&
        write_words(driver, loaded->windows[SYSTOLE_REGION_PARAMETERS].base, segment->parameters, SIZE_MAX,
                    (size_t)words * driver->target.columns, false, NULL);
    return loaded->uploaded;
}

static uint8_t *host_bytes(const struct systole_driver *driver, const struct driver_request *request,
                           uint32_t address) {
    return request->host + (size_t)(address & 0x0fffffffu) * driver->target.columns;
}

static const struct systole_region_window *input_window(const struct systole_driver *driver,
                                                        const struct driver_request *request) {
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    return request->second_input && loaded->second_input.words != 0 ? &loaded->second_input
                                                                    : &loaded->windows[SYSTOLE_REGION_INPUT];
}

// after_run: the run before uses the same input window.
static bool queue_inputs(struct systole_driver *driver, struct driver_request *request, bool after_run) {
    struct driver_loaded *loaded = &driver->loaded[request->loaded];
    struct systole_request *user = request->request;
    if (!driver_make_resident(driver, loaded)) {
        driver_fail(driver, SYSTOLE_UNSUPPORTED, "unload another segment", "no room for a segment beside those in use");
        return false;
    }
    if (!loaded->uploaded && !driver_upload(driver, loaded)) {
        return false;
    }
    memcpy(user->windows, loaded->windows, sizeof user->windows);
    user->windows[SYSTOLE_REGION_INPUT] = *input_window(driver, request);
    request->phase = DRIVER_WRITTEN;
    bool queued = true;
    for (uint32_t i = 0; i < loaded->segment->input_count && queued; i++) {
        const struct systole_placement *placement = &loaded->segment->inputs[i].placement;
        size_t bytes = (size_t)systole_placement_words(placement, driver->target.columns) * driver->target.columns;
        size_t room = user->input_bytes == NULL ? bytes : user->input_bytes[i];
        if (placement->address >> 28 == SYSTOLE_REGION_HOST) { // load commands fetch it
            memcpy(host_bytes(driver, request, placement->address), user->inputs[i], room < bytes ? room : bytes);
            continue;
        }
        queued = write_words(driver, absolute(user->windows, placement->address), user->inputs[i], room, bytes,
                             after_run, request);
    }
    return queued;
}

static bool launch(struct systole_driver *driver, struct driver_request *request) {
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    const struct systole_segment *segment = loaded->segment;
    struct systole_launch_descriptor descriptor;
    uint64_t allowance = CYCLE_ALLOWANCE + (loaded->load_count + loaded->store_count != 0 ? HOST_CYCLE_ALLOWANCE : 0);
    uint64_t margin = driver->options.cycle_margin;
    request->limit = segment->predicted_cycles > (UINT64_MAX >> 8) / margin
                         ? UINT64_MAX >> 8
                         : segment->predicted_cycles * margin + allowance;
    memset(&descriptor, 0, sizeof descriptor);
    descriptor.token = request->request->token = driver->next_token++;
    descriptor.commands = segment->command_count;
    descriptor.watchdog_cycles = request->limit < UINT32_MAX ? (uint32_t)request->limit : UINT32_MAX;
    descriptor.flags = driver->options.trace_retirements;
    memcpy(descriptor.regions, request->request->windows, sizeof descriptor.regions);
    request->phase = DRIVER_RUNNING;
    request->streams_queued = request->stores_received = request->strikes = 0;
    request->reads_queued = request->run_complete = false;
    request->request->retired_count = 0;
    driver->seen_cycles = 0;
    driver->progress_ms = driver->checked_ms = systole_now_ms();
    driver_debug_launching(driver, request);
    return driver_expect_stores(driver, loaded) && driver_queue_launch(driver, &descriptor, request);
}

static bool queue_streams(struct systole_driver *driver, struct driver_request *request) {
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    size_t columns = driver->target.columns;
    bool queued = true;
    while (queued && request->streams_queued < loaded->load_count &&
           loaded->loads[request->streams_queued].stores_before <= request->stores_received) {
        const struct driver_exchange *load = &loaded->loads[request->streams_queued++];
        bool host = load->host_address >> 28 == SYSTOLE_REGION_HOST;
        const uint8_t *bytes = host ? request->host : loaded->segment->parameters;
        struct systole_frame_header header = {
            .kind = SYSTOLE_FRAME_STREAM, .tag = request->request->token, .length = (uint32_t)(load->words * columns)};
        queued = driver_queue_frame(driver, header, bytes + (size_t)(load->host_address & 0x0fffffffu) * columns,
                                    load->words * columns, request);
    }
    return queued;
}

static bool queue_reads(struct systole_driver *driver, struct driver_request *request) {
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    uint32_t columns = driver->target.columns;
    bool queued = true;
    request->reads_queued = true;
    request->outputs_pending = 0;
    for (uint32_t i = 0; i < loaded->segment->output_count && queued; i++) {
        const struct systole_placement *placement = &loaded->segment->outputs[i].placement;
        if (placement->address >> 28 == SYSTOLE_REGION_HOST) {
            continue; // store commands bring it
        }
        request->outputs_pending++;
        const struct systole_request *user = request->request;
        queued = driver_queue_read(driver, absolute(user->windows, placement->address),
                                   systole_placement_words(placement, columns) * columns, user->outputs[i],
                                   user->output_bytes == NULL ? SIZE_MAX : user->output_bytes[i], request);
    }
    return queued;
}

static bool read_register(struct systole_driver *driver, uint32_t address, uint64_t *value) {
    enum systole_status status = systole_driver_read_register(driver, address, value);
    if (status != SYSTOLE_OK) {
        driver_fail(driver, status, "", "register 0x%03x cannot be read", address);
    }
    return status == SYSTOLE_OK;
}

static bool read_counters(struct systole_driver *driver, struct systole_request *request) {
    bool read = true;
    for (uint32_t i = 0; i < SYSTOLE_UNITS * SYSTOLE_COUNTER_KINDS && read; i++) {
        read = read_register(driver, SYSTOLE_REGISTER_COUNTERS + 8 * i,
                             &request->counters[i / SYSTOLE_COUNTER_KINDS][i % SYSTOLE_COUNTER_KINDS]);
    }
    return read;
}

static void copy_stored_outputs(const struct systole_driver *driver, const struct driver_request *request) {
    const struct systole_segment *segment = driver->loaded[request->loaded].segment;
    uint32_t columns = driver->target.columns;
    for (uint32_t i = 0; i < segment->output_count; i++) {
        const struct systole_placement *placement = &segment->outputs[i].placement;
        if (placement->address >> 28 == SYSTOLE_REGION_HOST) {
            const struct systole_request *user = request->request;
            size_t bytes = (size_t)systole_placement_words(placement, columns) * columns;
            size_t room = user->output_bytes == NULL ? bytes : user->output_bytes[i];
            memcpy(user->outputs[i], host_bytes(driver, request, placement->address), room < bytes ? room : bytes);
        }
    }
}

// True: the head is complete and gone.
static bool finish_head(struct systole_driver *driver, struct driver_request *request) {
    const struct driver_loaded *loaded = &driver->loaded[request->loaded];
    if (!request->run_complete || !request->reads_queued || request->outputs_pending != 0 ||
        request->stores_received != loaded->store_count) { // the last store may come behind the event
        return false;
    }
    if (driver_has_frames_of(driver, request)) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "run %u is said to be complete before it had all its data",
                    request->request->token);
        return false;
    }
    if (driver_is_lent(driver, request)) { // taken by the device, but not given back yet
        return false;
    }
    if (!read_counters(driver, request->request)) {
        return false;
    }
    driver->idle_failures = driver->spurious = 0;
    copy_stored_outputs(driver, request);
    driver_finish(driver, request, SYSTOLE_OK, NULL);
    return true;
}

// Does everything that can be done now.
void driver_advance(struct systole_driver *driver) {
    struct driver_request *head;
    bool fine = true, finished = true;
    while (finished && driver->ready && driver->failure == SYSTOLE_OK && (head = driver->first) != NULL) {
        const struct driver_loaded *loaded = &driver->loaded[head->loaded];
        if (head->phase == DRIVER_QUEUED) {
            driver->progress_ms = systole_now_ms();
            fine = queue_inputs(driver, head, false);
        }
        if (fine && head->phase == DRIVER_WRITTEN) {
            fine = launch(driver, head);
        }
        fine = fine && queue_streams(driver, head);
        if (fine && head->streams_queued == loaded->load_count) {
            struct driver_request *next = head->next;
            // What is not on the device waits for its turn; making room could take it from who runs.
            next = next != NULL && driver->loaded[next->loaded].resident ? next : NULL;
            const struct systole_region_window *window = next != NULL ? input_window(driver, next) : NULL;
            bool same =
                next != NULL && window->base == head->request->windows[SYSTOLE_REGION_INPUT].base && window->words != 0;
            if (next != NULL && next->phase == DRIVER_QUEUED && !same) {
                fine = queue_inputs(driver, next, false);
            }
            // A frame that waits for the end of a run would stand before those of a debugger.
            if (fine && !head->reads_queued && (driver->options.debugger == NULL || head->run_complete)) {
                fine = queue_reads(driver, head);
            }
            if (fine && next != NULL && next->phase == DRIVER_QUEUED) {
                fine = queue_inputs(driver, next, true);
            }
        }
        finished = fine && finish_head(driver, head);
    }
    driver_send_frames(driver);
}

void driver_finish(struct systole_driver *driver, struct driver_request *request, enum systole_status status,
                   const struct systole_diagnostic *diagnostic) {
    struct driver_request **link = &driver->first;
    struct driver_request *previous = NULL;
    while (*link != request) {
        previous = *link;
        link = &(*link)->next;
    }
    *link = request->next;
    if (driver->last == request) {
        driver->last = previous;
    }
    request->next = NULL;
    request->request->status = status;
    if (diagnostic != NULL) {
        request->request->diagnostic = *diagnostic;
    }
    if (driver->done_first == NULL) {
        driver->done_first = request;
    } else {
        driver->done_last->next = request;
    }
    driver->done_last = request;
}

bool driver_deliver(struct systole_driver *driver) {
    bool delivered = false;
    struct driver_request *request;
    while ((request = driver->done_first) != NULL) {
        struct systole_request *user = request->request;
        driver->done_first = request->next;
        free(request->host);
        free(request);
        user->detail = NULL;
        delivered = true;
        if (user->complete != NULL) {
            user->complete(user); // may submit again, or free `user`
        }
    }
    return delivered;
}

// ---- What the device says.

void driver_fail_fault(struct systole_driver *driver, uint32_t error, uint32_t unit, uint32_t command,
                       uint32_t detail) {
    const struct driver_request *head = driver->first;
    enum systole_status status = error == SYSTOLE_ERROR_WATCHDOG ? SYSTOLE_DEVICE_TIMEOUT : SYSTOLE_DEVICE_FAULT;
    if (driver->failure != SYSTOLE_OK) {
        return;
    }
    driver_fail(driver, status, "`systole disassemble` shows the command; a parity error is the memory's",
                "the device stopped with error %s (%s), detail 0x%x", systole_error_name(error),
                systole_error_text(error), detail);
    driver->fault_code = error;
    if (head == NULL || head->phase != DRIVER_RUNNING) {
        return;
    }
    const struct systole_segment *segment = driver->loaded[head->loaded].segment;
    bool known = unit < SYSTOLE_UNITS && command < segment->command_count;
    if (known) {
        snprintf(driver->failure_diagnostic.where, sizeof driver->failure_diagnostic.where,
                 "%s, command %u of unit %s, operator %u", driver->transport->name, command, systole_unit_name(unit),
                 segment->commands[command].header.operator_index);
    }
}

static void note_retired(struct systole_driver *driver, struct driver_request *request,
                         const struct systole_event *event) {
    struct systole_request *user = request->request;
    const struct systole_segment *segment = driver->loaded[request->loaded].segment;
    if (user->retired == NULL || event->command >= segment->command_count || event->unit >= SYSTOLE_UNITS ||
        user->retired_count == segment->command_count) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "command %u is said to have retired", event->command);
        return;
    }
    struct systole_retired *retired = &user->retired[user->retired_count++];
    *retired = (struct systole_retired){
        .command = event->command, .unit = event->unit, .start = event->start, .cycle = event->cycle};
    memcpy(retired->counters, event->counters, sizeof retired->counters);
}

void driver_handle_event(struct systole_driver *driver, const struct systole_event *event) {
    struct driver_request *head = driver->first;
    if (event->kind == SYSTOLE_EVENT_KIND_FAULT) {
        driver_fail_fault(driver, event->error, event->unit, event->command, event->detail);
    } else if (head == NULL || head->phase != DRIVER_RUNNING || event->token != head->request->token ||
               head->run_complete) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "an event of run %u, which is not running", event->token);
    } else if (event->kind == SYSTOLE_EVENT_KIND_RETIRED) {
        note_retired(driver, head, event);
    } else if (event->kind == SYSTOLE_EVENT_KIND_RUN_COMPLETE) {
        const struct systole_segment *segment = driver->loaded[head->loaded].segment;
        head->run_complete = true;
        head->request->cycles = event->cycle;
        if (driver->options.trace_retirements && head->request->retired_count != segment->command_count) {
            driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "%u of %u events of retired commands came",
                        head->request->retired_count, segment->command_count);
        }
    } else {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "an event of unknown kind %u", event->kind);
    }
}

// Looks at a run from time to time: too many cycles, an error or an end that no event told, silence.
void driver_check_progress(struct systole_driver *driver) {
    struct driver_request *head = driver->first;
    uint64_t now = systole_now_ms(), status = 0, cycles = 0, error = 0, detail = 0;
    uint64_t pause = driver->options.silence_ms / 4 < CHECK_MS ? driver->options.silence_ms / 4 : CHECK_MS;
    if (head == NULL || !driver->ready || driver->failure != SYSTOLE_OK || now - driver->checked_ms < pause) {
        return;
    }
    driver->checked_ms = now;
    if (!read_register(driver, SYSTOLE_REGISTER_STATUS, &status) ||
        !read_register(driver, SYSTOLE_REGISTER_RUN_CYCLES, &cycles) || driver->failure != SYSTOLE_OK) {
        return;
    }
    bool ours = head->phase == DRIVER_RUNNING && status >> 32 == head->request->token;
    bool running = (status & SYSTOLE_STATUS_RUNNING) != 0;
    if ((status & SYSTOLE_STATUS_ERROR) != 0) {
        if (read_register(driver, SYSTOLE_REGISTER_ERROR, &error) &&
            read_register(driver, SYSTOLE_REGISTER_ERROR_DETAIL, &detail)) {
            driver_fail_fault(driver, error & 255, error >> 8 & 255, (uint32_t)(error >> 32), (uint32_t)detail);
        }
    } else if ((status & SYSTOLE_STATUS_STARTED) == 0) {
        driver_fail(driver, SYSTOLE_DEVICE_PROTOCOL, "", "the device has lost its firmware");
    } else if (ours && running && cycles > head->limit) {
        driver_fail(driver, SYSTOLE_DEVICE_TIMEOUT, "", "%llu cycles of a run that was predicted to take %llu",
                    (unsigned long long)cycles,
                    (unsigned long long)driver->loaded[head->loaded].segment->predicted_cycles);
    } else if (ours && running && cycles != driver->seen_cycles) {
        driver->progress_ms = now;
    } else if (ours && !running && !head->run_complete && ++head->strikes == STRIKES) {
        driver_fail(driver, SYSTOLE_DEVICE_TIMEOUT, "", "run %u has ended, but its event did not come",
                    head->request->token);
    } else if (now - driver->progress_ms > driver->options.silence_ms) {
        driver_fail(driver, SYSTOLE_DEVICE_TIMEOUT, "", "the device was silent for %llu ms",
                    (unsigned long long)(now - driver->progress_ms));
    }
    driver->seen_cycles = cycles;
}
