// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Parameters: -GLANES=16 -GTAG=33
// The requantiser, and rescale inside it, against common/fixed_point.h: extremes, ties, random values, holds, tags.
#include "Vrequantiser.h"

#include <deque>

#include "rtl_testing.h"

#include "fixed_point.h"

namespace {

constexpr unsigned lanes = 16, latency = 4;

struct Vector {
    int32_t value[lanes], multiplier[lanes], shift[lanes];
    int32_t zero_point, low, high;
    uint64_t tag;
};

const int32_t interesting[] = {0,       1,          -1,         2,           -2,        3,          0x3fffffff,
                               1 << 30, -(1 << 30), 0x7fffffff, -0x7fffffff, INT32_MIN, 0x40000001, 12345678};
constexpr unsigned interesting_count = sizeof interesting / sizeof interesting[0];

int32_t any(uint32_t &random) {
    const uint32_t kind = rtl_random(random) >> 5;
    if (kind % 4 == 0) {
        return interesting[(kind >> 4) % interesting_count];
    }
    return (int32_t)(rtl_random(random) >> (kind >> 8) % 32) * ((kind & 64) != 0 ? -1 : 1);
}

Vector make(uint32_t &random) {
    Vector v;
    for (unsigned l = 0; l < lanes; ++l) {
        v.value[l] = any(random);
        v.multiplier[l] = any(random);
        v.shift[l] = (int32_t)((rtl_random(random) >> 7) % 62) - 31;
        if (v.shift[l] < 0 && (rtl_random(random) & 64) != 0) { // a tie of the rounding shift
            v.multiplier[l] = INT32_MAX;
            v.value[l] = (int32_t)((uint32_t)v.value[l] << (-v.shift[l] - 1));
        }
    }
    v.zero_point = (int32_t)((rtl_random(random) >> 3) % 384) - 128;
    v.low = (int32_t)((rtl_random(random) >> 3) % 384) - 128;
    v.high = v.low + (int32_t)((rtl_random(random) >> 3) % (uint32_t)(256 - v.low));
    v.tag = ((uint64_t)rtl_random(random) << 1 ^ rtl_random(random)) & 0x1ffffffff;
    return v;
}

uint8_t expected(const Vector &v, unsigned l) {
    const int32_t scaled = systole_requantise(v.value[l], v.multiplier[l], v.shift[l]);
    return (uint8_t)systole_clamp(systole_wrapping_add(scaled, v.zero_point), v.low, v.high);
}

void set(Vrequantiser &m, const Vector &v) {
    for (unsigned l = 0; l < lanes; ++l) {
        m.value_i[l] = (uint32_t)v.value[l];
        m.multiplier_i[l] = (uint32_t)v.multiplier[l];
        m.shift_i[l] = (uint32_t)v.shift[l];
    }
    m.zero_point_i = (uint16_t)(v.zero_point & 0x1ff);
    m.clamp_min_i = (uint16_t)(v.low & 0x1ff);
    m.clamp_max_i = (uint16_t)(v.high & 0x1ff);
    m.tag_i = v.tag;
}

void check(const Vrequantiser &m, const Vector &v) {
    uint8_t bytes[lanes];
    memcpy(bytes, &m.bytes_o, lanes);
    for (unsigned l = 0; l < lanes; ++l) {
        if (bytes[l] != expected(v, l)) {
            printf("%d * %d, shift %d, + %d in %d to %d\n", v.value[l], v.multiplier[l], v.shift[l], v.zero_point,
                   v.low, v.high);
        }
        CHECK_EQ(bytes[l], expected(v, l));
    }
    CHECK_EQ(m.tag_o, v.tag);
}

// Vectors with gaps; `holds` of 4 cycles are held. What comes out, in order, is what went in, `latency` moves later.
void stream(uint32_t seed, unsigned holds) {
    Vrequantiser m;
    uint32_t random = seed;
    m.hold_i = 0;
    m.valid_i = 0;
    rtl_reset(m);
    std::deque<std::pair<uint64_t, Vector>> inside;
    uint64_t moves = 0;
    for (unsigned cycle = 0; cycle < 20000 && rtl_failures == 0; ++cycle) {
        m.hold_i = (rtl_random(random) >> 9) % 4 < holds;
        m.valid_i = (rtl_random(random) >> 9) % 4 != 0;
        const Vector v = make(random);
        set(m, v);
        m.clk_i = 0;
        m.eval();
        CHECK_EQ(m.busy_o, !inside.empty());
        CHECK_EQ(m.valid_o, !inside.empty() && moves == inside.front().first + latency);
        if (m.valid_o) {
            check(m, inside.front().second);
        }
        if (!m.hold_i) {
            if (m.valid_o) {
                inside.pop_front();
            }
            if (m.valid_i) {
                inside.push_back({moves, v});
            }
            ++moves;
        }
        m.clk_i = 1;
        m.eval();
    }
}

void flowing() {
    stream(17, 0);
}
void held() {
    stream(18, 2);
}

// Every pair of the interesting values under every shift.
void extremes() {
    Vrequantiser m;
    m.hold_i = 0;
    m.valid_i = 0;
    rtl_reset(m);
    for (int32_t shift = -31; shift <= 30; ++shift) {
        for (const int32_t multiplier : interesting) {
            Vector v = {};
            for (unsigned l = 0; l < lanes; ++l) {
                v.value[l] = interesting[l % interesting_count];
                v.multiplier[l] = multiplier;
                v.shift[l] = shift;
            }
            v.low = -128;
            v.high = 127;
            set(m, v);
            m.valid_i = 1;
            for (unsigned i = 0; i < latency; ++i) {
                rtl_cycle(m);
                m.valid_i = 0;
            }
            CHECK_EQ(m.valid_o, 1);
            check(m, v);
        }
    }
}

} // namespace

int main() {
    return rtl_run("test_requantiser", {{"flowing", flowing}, {"held", held}, {"extremes", extremes}});
}
