// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The container's reader with the verifier behind it, the disassembler on whatever comes as commands, and writing again
// what was read. A CRC would keep nearly every mutation out, so the harness puts the right one in.
#include "fuzz_input.h"
#include "program/program.h"
#include "target.h"

static uint32_t number_at(const uint8_t *bytes, size_t at, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint32_t)bytes[at + i] << (8 * i);
    }
    return value;
}

// The second field of the root table (program.fbs), found as FlatBuffers' format has it; 0: none.
static size_t crc_field(const uint8_t *bytes, size_t size) {
    size_t root = size < 8 ? 0 : number_at(bytes, 0, 4);
    if (root < 8 || root > size || size - root < 4) {
        return 0;
    }
    int64_t table = (int64_t)root - (int32_t)number_at(bytes, root, 4);
    if (table < 0 || table > (int64_t)size - 8) {
        return 0;
    }
    size_t field = number_at(bytes, (size_t)table + 6, 2);
    return number_at(bytes, (size_t)table, 2) < 8 || field == 0 || field > size - root || size - root - field < 4
               ? 0
               : root + field;
}

static void sign(uint8_t *bytes, size_t size) {
    size_t field = crc_field(bytes, size);
    if (field != 0) {
        memset(bytes + field, 0, 4);
        uint32_t crc = systole_crc32(0, bytes, size);
        for (size_t i = 0; i < 4; i++) {
            bytes[field + i] = (uint8_t)(crc >> (8 * i));
        }
    }
}

static void disassemble(const struct systole_command *command, uint32_t index) {
    char text[4096], *exact = NULL;
    int length = systole_disassemble(command, index, text, sizeof text);
    FUZZ_REQUIRE(length > 0 && (size_t)length < sizeof text && strlen(text) == (size_t)length, "no line");
    exact = malloc((size_t)length);
    FUZZ_REQUIRE(exact != NULL, "no memory");
    FUZZ_REQUIRE(systole_disassemble(command, index, exact, (size_t)length) == length, "the length depends on room");
    FUZZ_REQUIRE(strlen(exact) == (size_t)length - 1, "the line is not cut where the room ends");
    free(exact);
}

static void use(const struct systole_program *program) {
    for (uint32_t s = 0; s < program->segment_count; s++) {
        const struct systole_segment *segment = &program->segments[s];
        for (uint32_t i = 0; i < segment->command_count; i++) {
            disassemble(&segment->commands[i], i);
        }
        for (uint32_t i = 0; i < segment->tensor_count; i++) {
            (void)systole_placement_words(&segment->tensors[i].placement, program->target.columns);
        }
    }
    uint8_t *written = NULL;
    size_t size = 0;
    struct systole_program again;
    struct systole_diagnostic diagnostic = {"", "", ""};
    FUZZ_REQUIRE(systole_program_write(program, &written, &size, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    FUZZ_REQUIRE(systole_program_read(written, size, "again", &again, &diagnostic) == SYSTOLE_OK, diagnostic.what);
    systole_program_free(&again);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    struct systole_program program;
    struct systole_diagnostic diagnostic = {"", "", ""};
    FUZZ_REQUIRE(copy != NULL, "no memory");
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    sign(copy, size);
    enum systole_status status = systole_program_read(copy, size, "program", &program, &diagnostic);
    if (status == SYSTOLE_OK) {
        use(&program);
    } else {
        FUZZ_REQUIRE((status == SYSTOLE_BAD_FILE || status == SYSTOLE_UNSUPPORTED) && diagnostic.what[0] != '\0',
                     "refused without a word");
        FUZZ_REQUIRE(program.segments == NULL && program.segment_count == 0, "something is left behind");
    }
    systole_program_free(&program);
    free(copy);
    struct systole_command command;
    for (size_t i = 0; i < 4 && (i + 1) * sizeof command <= size; i++) {
        memcpy(&command, bytes + i * sizeof command, sizeof command);
        disassemble(&command, (uint32_t)i);
    }
    return 0;
}
