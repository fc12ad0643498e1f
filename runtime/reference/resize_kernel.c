// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// RESIZE_BILINEAR: int8 with ten fractional bits a direction (reference/resize_bilinear.h ResizeBilinearInteger), uint8
// and float32 in float32 (ResizeBilinear).
#include <math.h>

#include "kernel.h"

enum { FRACTION_BITS = 10 };

static enum systole_status prepare(struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const struct systole_tensor *size = systole_kernel_input(call, 1);
    if (size == NULL || size->data == NULL || size->dtype != SYSTOLE_INT32 || systole_tensor_elements(size) != 2 ||
        input->rank != 4 || output->rank != 4) {
        return systole_kernel_refuse(call, diagnostic, "", "the size is no constant, or a map has not four dimensions");
    }
    const int32_t *values = (const int32_t *)(const void *)size->data;
    if (values[0] != output->shape[1] || values[1] != output->shape[2] || input->shape[0] != output->shape[0] ||
        input->shape[3] != output->shape[3] || output->size == 0 || input->size == 0) {
        return systole_kernel_refuse(call, diagnostic, "", "the output is not the resized input");
    }
    for (int32_t axis = 1; axis <= 2; axis++) { // ten fractional bits of a coordinate fit int32
        if (input->shape[axis] > 1 << 19 || output->shape[axis] > 1 << 19) {
            return systole_kernel_refuse(call, diagnostic, "", "a height or width exceeds %d", 1 << 19);
        }
    }
    if (call->op->options.align_corners && call->op->options.half_pixel_centers) {
        return systole_kernel_refuse(call, diagnostic, "", "corners are aligned and pixels centred at once");
    }
    return systole_same_quantisation(input, output)
               ? SYSTOLE_OK
               : systole_kernel_refuse(call, diagnostic, "", "input and output do not share one scale and zero point");
}

// Two neighbours along an axis and the second one's weight.
struct between {
    int32_t low, high;
    int64_t fixed; // of 2^10
    float real;
};

static struct between between_fixed(const struct systole_options *options, int32_t i, int32_t input, int32_t output) {
    bool corners = options->align_corners && output > 1;
    int64_t one = 1 << FRACTION_BITS;
    int64_t scale =
        corners ? (one * (input - 1) + (output - 1) / 2) / (output - 1) : (one * input + output / 2) / output;
    int64_t at = i * scale + (options->half_pixel_centers ? scale / 2 - one / 2 : 0);
    int64_t low = at / one, high = (at + one - 1) / one;
    low = low < 0 ? 0 : low > input - 1 ? input - 1 : low;
    high = high > input - 1 ? input - 1 : high;
    return (struct between){.low = (int32_t)low, .high = (int32_t)high, .fixed = at - low * one};
}

static struct between between_real(const struct systole_options *options, int32_t i, int32_t input, int32_t output) {
    bool corners = options->align_corners && output > 1;
    float scale = corners ? (float)(input - 1) / (float)(output - 1) : (float)input / (float)output;
    float at = options->half_pixel_centers ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale;
    int32_t low = (int32_t)floorf(at), high = (int32_t)ceilf(at);
    low = low < 0 ? 0 : low > input - 1 ? input - 1 : low;
    high = high > input - 1 ? input - 1 : high < 0 ? 0 : high;
    return (struct between){.low = low, .high = high, .real = at - (float)low};
}

static enum systole_status run(const struct systole_kernel_call *call, struct systole_diagnostic *diagnostic) {
    (void)diagnostic;
    const struct systole_tensor *input = systole_kernel_input(call, 0), *output = systole_kernel_output(call);
    const uint8_t *from = systole_kernel_input_bytes(call, 0);
    uint8_t *to = systole_kernel_output_bytes(call);
    const float *reals = (const float *)(const void *)from;
    bool fixed = input->dtype == SYSTOLE_INT8, is_float = input->dtype == SYSTOLE_FLOAT32;
    struct between (*between)(const struct systole_options *, int32_t, int32_t, int32_t) =
        fixed ? between_fixed : between_real;
    size_t channels = (size_t)input->shape[3], width = (size_t)input->shape[2], o = 0;
    for (size_t batch = 0; batch < (size_t)input->shape[0]; batch++) {
        for (int32_t row = 0; row < output->shape[1]; row++) {
            struct between y = between(&call->op->options, row, input->shape[1], output->shape[1]);
            size_t top = (batch * (size_t)input->shape[1] + (size_t)y.low) * width;
            size_t bottom = (batch * (size_t)input->shape[1] + (size_t)y.high) * width;
            for (int32_t column = 0; column < output->shape[2]; column++) {
                struct between x = between(&call->op->options, column, input->shape[2], output->shape[2]);
                size_t at[4] = {(top + (size_t)x.low) * channels, (bottom + (size_t)x.low) * channels,
                                (top + (size_t)x.high) * channels, (bottom + (size_t)x.high) * channels};
                int64_t one = 1 << FRACTION_BITS;
                int64_t weights[4] = {(one - y.fixed) * (one - x.fixed), y.fixed * (one - x.fixed),
                                      (one - y.fixed) * x.fixed, y.fixed * x.fixed};
                for (size_t c = 0; c < channels; c++, o++) {
                    int64_t sum = 0;
                    float value[4];
                    for (uint32_t k = 0; k < 4; k++) {
                        sum += fixed ? (int8_t)from[at[k] + c] * weights[k] : 0;
                        value[k] = is_float ? reals[at[k] + c] : (float)from[at[k] + c];
                    }
                    // In this order: uint8 is truncated, so that the last bit can matter.
                    float real = value[0] * (1.0f - y.real) * (1.0f - x.real) + value[1] * y.real * (1.0f - x.real) +
                                 value[2] * (1.0f - y.real) * x.real + value[3] * y.real * x.real;
                    if (is_float) {
                        ((float *)(void *)to)[o] = real;
                    } else if (fixed) {
                        to[o] = (uint8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
                    } else {
                        to[o] = (uint8_t)(real + 0.5f);
                    }
                }
            }
        }
    }
    return SYSTOLE_OK;
}

const struct systole_kernel systole_resize_kernels[] = {
    {SYSTOLE_OP_RESIZE_BILINEAR, SYSTOLE_INT8, SYSTOLE_INT8, prepare, run, NULL},
    {SYSTOLE_OP_RESIZE_BILINEAR, SYSTOLE_UINT8, SYSTOLE_UINT8, prepare, run, NULL},
    {SYSTOLE_OP_RESIZE_BILINEAR, SYSTOLE_FLOAT32, SYSTOLE_FLOAT32, prepare, run, NULL},
    {0},
};
