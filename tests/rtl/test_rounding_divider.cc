// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The divider against the division of TensorFlow Lite's average pooling, a vector a cycle, with gaps and frozen cycles.

// Parameters: -GLANES=8 -GTAG=4
#include "Vrounding_divider.h"

#include <deque>
#include <utility>

#include "fixed_point.h"
#include "rtl_testing.h"

namespace {

constexpr unsigned LANES = 8;

struct Result {
    uint8_t bytes[LANES];
    unsigned tag;
};

// Feeds vectors of sums and counts that `next` makes; every result is compared in order.
template <class Next> void divide(uint32_t seed, unsigned vectors, unsigned idle_percent, Next next) {
    Vrounding_divider module;
    uint32_t random = seed;
    module.enable_i = 1;
    module.valid_i = 0;
    rtl_reset(module);
    std::deque<Result> expected;
    unsigned sent = 0, received = 0, since = 0;
    while (received < vectors && since++ < 1000) {
        module.enable_i = rtl_random(random) % 100 >= idle_percent;
        module.valid_i = sent < vectors && rtl_random(random) % 100 >= idle_percent;
        if (module.valid_i) {
            int32_t count = 0;
            int low = (int)(rtl_random(random) % 384) - 128, high = (int)(rtl_random(random) % 384) - 128;
            if (low > high) {
                std::swap(low, high);
            }
            Result result{};
            for (unsigned l = 0; l < LANES; l++) {
                int32_t sum = next(random, &count);
                module.sum_i[l] = (uint32_t)sum;
                int32_t quotient = count == 0 ? 0 : systole_rounding_average(sum, count);
                result.bytes[l] = (uint8_t)systole_clamp(quotient, low, high);
            }
            module.count_i = (uint16_t)count;
            module.clamp_min_i = (uint16_t)(low & 0x1ff);
            module.clamp_max_i = (uint16_t)(high & 0x1ff);
            module.tag_i = (uint8_t)(sent & 15);
            result.tag = sent & 15;
            if (module.enable_i) {
                expected.push_back(result);
                sent++;
            }
        }
        module.eval();
        if (module.enable_i && module.valid_o) {
            CHECK(!expected.empty());
            if (expected.empty()) {
                return;
            }
            CHECK_EQ(module.tag_o, expected.front().tag);
            for (unsigned l = 0; l < LANES; l++) {
                CHECK_EQ((uint8_t)(module.bytes_o >> (8 * l)), expected.front().bytes[l]);
            }
            expected.pop_front();
            received++;
            since = 0;
        }
        rtl_cycle(module);
    }
    CHECK_EQ(received, vectors);
}

// Every sum that a count of at most 16 bytes can make.
void small_counts() {
    for (int32_t n = 1; n <= 16; n++) {
        int32_t sum = -128 * n;
        divide((uint32_t)n, (unsigned)(383 * n) / LANES, 0, [&](uint32_t &, int32_t *count) {
            *count = n;
            return sum++;
        });
    }
}

int32_t random_sum(uint32_t &random, int32_t *count) {
    if (*count == 0) {
        *count = 1 + (int32_t)(rtl_random(random) % 65025);
    }
    int64_t low = -128 * (int64_t)*count;
    return (int32_t)(low + (int64_t)(rtl_random(random) % (uint32_t)(383 * (int64_t)*count + 1)));
}

void random_counts() {
    divide(1, 3000, 0, random_sum);
    divide(2, 3000, 30, random_sum);
}

// Ties, and the ends of the range for the largest kernel.
void ties_and_ends() {
    divide(3, 4000, 0, [](uint32_t &random, int32_t *count) {
        if (*count == 0) {
            *count = (rtl_random(random) & 1) != 0 ? 65025 : 2 * (1 + (int32_t)(rtl_random(random) % 32000));
        }
        switch (rtl_random(random) % 4) {
        case 0:
            return 255 * *count;
        case 1:
            return -128 * *count;
        case 2:
            return -((int32_t)(rtl_random(random) % 127) * *count + *count / 2);
        default:
            return (int32_t)(rtl_random(random) % 254) * *count + *count / 2;
        }
    });
    divide(4, 20, 0, [](uint32_t &, int32_t *count) { // nothing but padding
        *count = 0;
        return 0;
    });
}

} // namespace

int main() {
    return rtl_run(
        "rounding_divider",
        {{"small_counts", small_counts}, {"random_counts", random_counts}, {"ties_and_ends", ties_and_ends}});
}
