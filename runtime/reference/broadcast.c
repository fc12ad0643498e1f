// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
#include "broadcast.h"

static bool steps_of(const struct systole_tensor *operand, const struct systole_tensor *output, size_t *steps) {
    size_t step = 1;
    if (operand->rank > output->rank) {
        return false;
    }
    for (int32_t i = 1; i <= output->rank; i++) {
        int32_t extent = i <= operand->rank ? operand->shape[operand->rank - i] : 1;
        if (extent != 1 && extent != output->shape[output->rank - i]) {
            return false;
        }
        steps[output->rank - i] = extent == 1 ? 0 : step;
        step *= (size_t)extent;
    }
    return true;
}

enum systole_status systole_broadcast_derive(const struct systole_kernel_call *call, uint32_t operands,
                                             struct systole_broadcast *broadcast,
                                             struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *output = systole_kernel_output(call);
    *broadcast = (struct systole_broadcast){.operands = operands, .rank = output->rank};
    bool fits = true;
    for (uint32_t k = 0; k < operands && fits; k++) {
        const struct systole_tensor *operand = systole_kernel_input(call, k);
        if (operand == NULL) {
            return systole_kernel_refuse(call, diagnostic, "", "input %u is left out", k);
        }
        fits = steps_of(operand, output, broadcast->steps[k]);
    }
    // The output is no larger than what its inputs span.
    for (int32_t i = 0; fits && i < output->rank; i++) {
        broadcast->shape[i] = (size_t)output->shape[i];
        bool spanned = broadcast->shape[i] == 1;
        for (uint32_t k = 0; k < operands; k++) {
            spanned = spanned || broadcast->steps[k][i] != 0;
        }
        fits = spanned && broadcast->shape[i] > 0;
    }
    return fits ? SYSTOLE_OK
                : systole_kernel_refuse(call, diagnostic, "", "the inputs do not broadcast to the output's shape");
}

void systole_broadcast_walk(const struct systole_broadcast *broadcast, const struct systole_kernel_call *call,
                            void (*row)(const struct systole_kernel_call *call, const size_t *offsets,
                                        const size_t *steps, size_t output, size_t count)) {
    size_t index[SYSTOLE_MAX_RANK] = {0}, offsets[SYSTOLE_LARGEST_OPERANDS] = {0};
    size_t steps[SYSTOLE_LARGEST_OPERANDS] = {0}, output = 0;
    int32_t last = broadcast->rank - 1, axis = 0;
    size_t count = last >= 0 ? broadcast->shape[last] : 1;
    for (uint32_t k = 0; k < broadcast->operands && last >= 0; k++) {
        steps[k] = broadcast->steps[k][last];
    }
    do {
        row(call, offsets, steps, output, count);
        output += count;
        for (axis = last - 1; axis >= 0; axis--) {
            bool more = ++index[axis] < broadcast->shape[axis];
            for (uint32_t k = 0; k < broadcast->operands; k++) {
                offsets[k] += broadcast->steps[k][axis];
                offsets[k] -= more ? 0 : broadcast->steps[k][axis] * broadcast->shape[axis];
            }
            if (more) {
                break;
            }
            index[axis] = 0;
        }
    } while (axis >= 0);
}
