// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Fault scripts: any text parses or says which line is wrong; what parses only draws faults that its endpoint can have.
#include "fault_injection.h"
#include "fuzz_input.h"

#define TRANSFERS 64u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct systole_faults *faults = NULL;
    struct systole_diagnostic diagnostic = {"", "", ""};
    enum systole_status status = systole_faults_parse((const char *)bytes, size, "script", &faults, &diagnostic);
    if (status != SYSTOLE_OK) {
        FUZZ_REQUIRE(status == SYSTOLE_BAD_FILE && faults == NULL && diagnostic.what[0] != '\0',
                     "refused without a word");
        return 0;
    }
    for (uint32_t i = 0; i < TRANSFERS * SYSTOLE_FAULT_ENDPOINTS; i++) {
        enum systole_fault_endpoint endpoint = i % SYSTOLE_FAULT_ENDPOINTS;
        enum systole_fault_kind kind = systole_faults_begin(faults, endpoint);
        FUZZ_REQUIRE(kind == SYSTOLE_FAULT_NONE || systole_fault_applies(kind, endpoint), systole_fault_name(kind));
        if (kind != SYSTOLE_FAULT_NONE && i % 3 != 0) {
            (void)systole_faults_strike(faults, endpoint);
        }
        systole_faults_end(faults, endpoint);
    }
    systole_faults_free(faults);
    return 0;
}
