// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The sigmoid of int16 is a table of 256 points with straight lines between; the hyperbolic tangent is read from the
// same table, since tanh(x) = 2 sigmoid(2x) - 1. Both are odd about their centre, so only |x| is looked up.
#include "sixteen_bit.h"

#include <math.h>
#include <stdlib.h>

enum systole_status systole_kernel_symmetric_scale(const struct systole_kernel_call *call,
                                                   const struct systole_tensor *tensor, const char *what, float *scale,
                                                   struct systole_diagnostic *diagnostic) {
    const struct systole_quantisation *q = tensor != NULL ? &tensor->quantisation : NULL;
    if (q == NULL || tensor->dtype != SYSTOLE_INT16 || q->count != 1 || !isfinite(q->scale[0]) ||
        !(q->scale[0] > 0.0f) || q->zero_point[0] != 0) {
        return systole_kernel_refuse(call, diagnostic, "quantise the model with symmetric int16 activations",
                                     "the %s is not int16 with one positive scale and zero point 0", what);
    }
    *scale = q->scale[0];
    return SYSTOLE_OK;
}

int32_t systole_requantise_wide(int64_t x, struct systole_multiplier multiplier) {
    int64_t significand =
        multiplier.multiplier < 0x7FFF0000 ? ((int64_t)multiplier.multiplier + (1 << 15)) >> 16 : 0x7FFF;
    int32_t shift = 15 - multiplier.shift;
    // Beyond |x| < 2^47 the product wraps; beyond a shift of 0 the reference has no answer, here the result wraps, too.
    uint64_t product = (uint64_t)x * (uint64_t)significand;
    if (shift <= 0) {
        return (int32_t)(uint32_t)(product << -shift);
    }
    return (int32_t)(uint32_t)((int64_t)(product + ((uint64_t)1 << (shift - 1))) >> shift);
}

bool systole_power_of_two(float scale, int32_t *exponent) {
    double logarithm = log2((double)scale);
    if (!isfinite(logarithm)) {
        return false;
    }
    *exponent = (int32_t)lround(logarithm);
    return fabs(logarithm - (double)*exponent) < 1e-3;
}

// lut.h sigmoid_table_uint16: the sigmoid at i/24 in units of 2^-16, as published; it is not rounded by one rule.
static const uint16_t sigmoid_table[256] = {
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535};

static int32_t scaled_input(int16_t x, int32_t multiplier, int32_t shift) {
    int32_t half = shift > 0 ? 1 << (shift - 1) : 0;
    return (x * multiplier + half) >> shift;
}

int16_t systole_sigmoid16(int16_t x, int32_t multiplier, int32_t shift) {
    int32_t scaled = scaled_input(x, multiplier, shift);
    uint32_t magnitude = (uint32_t)abs(scaled), index = magnitude >> 9;
    uint32_t result = 0x7FFFu << 10;
    if (index < 255) {
        uint32_t a = sigmoid_table[index], b = sigmoid_table[index + 1];
        result = (a << 9) + (magnitude & 0x1FFu) * (b - a);
    }
    result = scaled >= 0 ? result + (1u << 9) : (1u << 25) - result + (1u << 9) - 1;
    return (int16_t)(result >> 10);
}

int16_t systole_tanh16(int16_t x, int32_t multiplier, int32_t shift) {
    int32_t scaled = scaled_input(x, multiplier, shift);
    uint32_t magnitude = (uint32_t)abs(scaled), index = magnitude >> 8;
    int32_t result = 0xFFFF << 8;
    if (index < 255) {
        uint32_t a = sigmoid_table[index], b = sigmoid_table[index + 1];
        result = (int32_t)((a << 8) + (magnitude & 0xFFu) * (b - a));
    }
    result = scaled >= 0 ? result - (1 << 23) + (1 << 7) : -result + (1 << 23) + (1 << 7) - 1;
    return (int16_t)(result >> 8);
}
