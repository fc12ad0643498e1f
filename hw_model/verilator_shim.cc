// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A Verilated systole_rtl as an accelerator: one shared object a target. The loader (rtl_loader.c) fetches
// `systole_rtl_create` by dlsym on the handle of this object; the binary has a function of the same name, which is
// another one: the object is linked with -Bsymbolic and needs nothing from the binary.
//
// This is the link, too: bytes wait in FIFOs on either side of the boundary, and a beat of 8 bytes moves when the
// link's rate has earned it (link_millibytes_per_cycle, each way; a link that was idle has at most one beat in hand).
//
// A cycle is one rising edge. The ready outputs depend on the device's registers only, so that what the outputs showed
// after the last edge is what this one acts upon. When idle_o says that nothing but the cycle counter would change, run
// stops early.
//
// Made with waves (VM_TRACE_FST), it writes the window it was asked for: rising edges at multiples of 10 ns of the
// run's cycle counter, falling ones with the next cycle's inputs 5 ns later.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "Vsystole_rtl.h"
#include "Vsystole_rtl___024root.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif

#define _Static_assert static_assert
extern "C" {
#include "device.h"
}

namespace {

constexpr size_t kStreamBytes = 1 << 16; // of each FIFO
constexpr size_t kEvents = 1 << 10;
constexpr uint64_t kBeat = 8;
constexpr uint32_t kMillibytes = 1000 * kBeat;

// Bytes in order; room is limited, the free space is kept behind them.
class ByteFifo {
  public:
    size_t size() const {
        return tail_ - head_;
    }
    size_t room() const {
        return kStreamBytes - size();
    }
    void clear() {
        head_ = tail_ = 0;
    }
    size_t push(const uint8_t *from, size_t count) {
        if (count > room()) {
            count = room();
        }
        if (count > bytes_.size() - tail_) {
            memmove(bytes_.data(), bytes_.data() + head_, size());
            tail_ -= head_;
            head_ = 0;
        }
        memcpy(bytes_.data() + tail_, from, count);
        tail_ += count;
        return count;
    }
    size_t pull(uint8_t *to, size_t count) {
        if (count > size()) {
            count = size();
        }
        memcpy(to, bytes_.data() + head_, count);
        drop(count);
        return count;
    }
    uint64_t beat() const {
        uint64_t value;
        memcpy(&value, bytes_.data() + head_, kBeat);
        return value;
    }
    void drop(size_t count) {
        head_ += count;
        if (head_ == tail_) {
            clear();
        }
    }

  private:
    std::vector<uint8_t> bytes_ = std::vector<uint8_t>(2 * kStreamBytes);
    size_t head_ = 0, tail_ = 0;
};

#if VM_TRACE_FST
class Waves {
  public:
    Waves(VerilatedContext &context, Vsystole_rtl &top) : context_(context), top_(top) {
    }
    ~Waves() {
        close();
    }
    void want(const systole_waves &waves) {
        waves_ = waves;
        path_ = waves.path;
        wanted_ = true;
    }
    void risen() {
        if (!wanted_) {
            return;
        }
        const uint64_t cycle = top_.run_cycle_o;
        const bool goes_on = file_ == nullptr || cycle != cycle_; // the counter stands still when the run has ended
        if (top_.run_token_o == waves_.token && cycle >= waves_.first && cycle <= waves_.last && goes_on) {
            if (file_ == nullptr) {
                open();
            }
            cycle_ = cycle;
            file_->dump(10 * cycle);
        } else if (file_ != nullptr) {
            close();
            wanted_ = false;
        }
    }
    void fallen() {
        if (file_ != nullptr) {
            file_->dump(10 * cycle_ + 5);
        }
    }

  private:
    void open() {
        context_.timeunit(-9);
        context_.timeprecision(-9);
        file_ = std::make_unique<VerilatedFstC>();
        top_.trace(file_.get(), 99);
        file_->open(path_.c_str());
    }
    void close() {
        if (file_ != nullptr) {
            file_->close();
            file_.reset();
        }
    }

    VerilatedContext &context_;
    Vsystole_rtl &top_;
    std::unique_ptr<VerilatedFstC> file_;
    systole_waves waves_ = {};
    std::string path_;
    bool wanted_ = false;
    uint64_t cycle_ = 0;
};
#else
class Waves {
  public:
    Waves(VerilatedContext & /*context*/, Vsystole_rtl & /*top*/) {
    }
    void risen() {
    }
    void fallen() {
    }
};
#endif

class Shim : public systole_accelerator {
  public:
    Shim(const systole_accelerator_functions *table, const systole_target &target)
        : systole_accelerator{table}, target_(target), top_(create_top()), waves_(context_, *top_) {
        events_.reserve(kEvents);
        top_->rst_ni = 0;
        edge();
        edge();
        top_->rst_ni = 1;
    }

    uint64_t run(uint64_t cycles) {
        uint64_t passed = 0;
        while (passed < cycles && !quiet()) {
            step();
            passed++;
            if (!events_.empty() || out_.room() < kBeat) {
                break;
            }
        }
        return passed;
    }
    size_t push(const uint8_t *bytes, size_t size) {
        return in_.push(bytes, size);
    }
    size_t pull(uint8_t *bytes, size_t size) {
        return out_.pull(bytes, size);
    }
    bool pull_event(systole_event *event) {
        if (event_head_ == events_.size()) {
            return false;
        }
        *event = events_[event_head_++];
        if (event_head_ == events_.size()) {
            events_.clear();
            event_head_ = 0;
        }
        return true;
    }
    uint64_t read_register(uint32_t address) {
        top_->register_address_i = address & 0xfffU;
        top_->register_read_i = address <= 0xfffU;
        step();
        top_->register_read_i = 0;
        return address <= 0xfffU ? top_->register_data_o : 0;
    }
    void write_register(uint32_t address, uint64_t value) {
        if (address > 0xfffU) {
            return;
        }
        top_->register_address_i = address & 0xfffU;
        top_->register_data_i = value;
        top_->register_write_i = 1;
        const bool reset = address == SYSTOLE_REGISTER_CONTROL && (value & 2U) != 0;
        if (reset) {
            clear();
        }
        step();
        top_->register_write_i = 0;
        if (reset) {
            step();
            clear();
        }
    }
    bool interrupt() const {
        return top_->interrupt_o != 0;
    }
    bool idle() const {
        return quiet() && out_.size() == 0 && events_.empty();
    }
    void reset() {
        write_register(SYSTOLE_REGISTER_CONTROL, read_register(SYSTOLE_REGISTER_CONTROL) | 2U);
    }
    void observe(const systole_observer *observer) {
        observer_ = observer != nullptr ? *observer : systole_observer{};
    }
    // Words are little endian in the simulator's memory, too, whatever type it chose for them.
    void peek(uint32_t word, uint32_t words, uint8_t *bytes) const {
        const auto &memory = top_->rootp->systole_rtl__DOT__u_scratchpad__DOT__memory_q;
        for (uint32_t i = 0; i < words; i++) {
            const uint64_t at = static_cast<uint64_t>(word) + i;
            uint8_t *to = bytes + static_cast<size_t>(i) * target_.columns;
            if (at < target_.scratchpad_bytes / target_.columns) {
                memcpy(to, &memory[at / target_.banks][at % target_.banks], target_.columns);
            } else {
                memset(to, 0, target_.columns);
            }
        }
    }
    uint64_t cycle() const {
        return cycle_;
    }
#if VM_TRACE_FST
    void trace(const systole_waves *waves) {
        waves_.want(*waves);
    }
#endif

  private:
    Vsystole_rtl *create_top() {
        context_.traceEverOn(VM_TRACE_FST != 0);
        return new Vsystole_rtl(&context_);
    }
    // Nothing but the cycle counter would change.
    bool quiet() const {
        return top_->idle_o && (in_.size() < kBeat || !top_->stream_in_ready_o);
    }
    void clear() {
        in_.clear();
        out_.clear();
        events_.clear();
        event_head_ = 0;
        in_credit_ = out_credit_ = 0;
        top_->stream_in_valid_i = 0;
    }
    void edge() {
        top_->clk_i = 0;
        top_->eval();
        waves_.fallen();
        top_->clk_i = 1;
        top_->eval();
    }
    void step() {
        Vsystole_rtl &top = *top_;
        if (in_credit_ < kMillibytes) {
            in_credit_ += target_.link_millibytes_per_cycle;
        }
        if (out_credit_ < kMillibytes) {
            out_credit_ += target_.link_millibytes_per_cycle;
        }
        const bool offered = in_credit_ >= kMillibytes && in_.size() >= kBeat;
        top.stream_in_valid_i = offered;
        if (offered) {
            top.stream_in_data_i = in_.beat();
            if (top.stream_in_ready_o) {
                in_.drop(kBeat);
                in_credit_ -= kMillibytes;
            }
        }
        const bool accepted = out_credit_ >= kMillibytes && out_.room() >= kBeat;
        top.stream_out_ready_i = accepted;
        if (accepted && top.stream_out_valid_o) {
            const uint64_t beat = top.stream_out_data_o;
            out_.push(reinterpret_cast<const uint8_t *>(&beat), kBeat);
            out_credit_ -= kMillibytes;
        }
        const bool heard = events_.size() < kEvents;
        top.event_ready_i = heard;
        if (heard && top.event_valid_o) {
            systole_event event;
            static_assert(sizeof event == sizeof top.event_o);
            memcpy(&event, &top.event_o, sizeof event);
            events_.push_back(event);
        }
        edge();
        waves_.risen();
        cycle_++;
        if (top.retire_o != 0 && observer_.retired != nullptr) {
            for (uint32_t unit = 0; unit < SYSTOLE_UNITS; unit++) {
                if ((top.retire_o >> unit & 1U) != 0) {
                    const systole_retirement retirement = {top.run_token_o, top.retire_index_o[unit], unit,
                                                           top.run_cycle_o};
                    observer_.retired(observer_.context, &retirement);
                }
            }
        }
    }

    const systole_target target_;
    VerilatedContext context_;
    std::unique_ptr<Vsystole_rtl> top_;
    Waves waves_;
    ByteFifo in_, out_;
    std::vector<systole_event> events_; // from event_head_ on
    size_t event_head_ = 0;
    uint32_t in_credit_ = 0, out_credit_ = 0; // millibytes
    uint64_t cycle_ = 0;
    systole_observer observer_ = {};
};

Shim *shim_of(systole_accelerator *accelerator) {
    return static_cast<Shim *>(accelerator);
}

const systole_accelerator_functions functions = {
    [](systole_accelerator *a, uint64_t cycles) { return shim_of(a)->run(cycles); },
    [](systole_accelerator *a, const uint8_t *bytes, size_t size) { return shim_of(a)->push(bytes, size); },
    [](systole_accelerator *a, uint8_t *bytes, size_t size) { return shim_of(a)->pull(bytes, size); },
    [](systole_accelerator *a, systole_event *event) { return shim_of(a)->pull_event(event); },
    [](systole_accelerator *a, uint32_t address) { return shim_of(a)->read_register(address); },
    [](systole_accelerator *a, uint32_t address, uint64_t value) { shim_of(a)->write_register(address, value); },
    [](systole_accelerator *a) { return shim_of(a)->interrupt(); },
    [](systole_accelerator *a) { return shim_of(a)->idle(); },
    [](systole_accelerator *a) { shim_of(a)->reset(); },
    [](systole_accelerator *a, const systole_observer *observer) { shim_of(a)->observe(observer); },
    [](systole_accelerator *a, uint32_t word, uint32_t words, uint8_t *bytes) { shim_of(a)->peek(word, words, bytes); },
    [](systole_accelerator *a) { return shim_of(a)->cycle(); },
    [](systole_accelerator *a) { delete shim_of(a); },
#if VM_TRACE_FST
    [](systole_accelerator *a, const systole_waves *waves) { shim_of(a)->trace(waves); },
#else
    nullptr,
#endif
    0, // short slices: a cycle costs time
};

// Was this object made for that target?
bool fits(Shim *shim, const systole_target *target) {
    const uint64_t array = target->rows | static_cast<uint64_t>(target->columns) << 16 |
                           static_cast<uint64_t>(target->cores) << 32 | static_cast<uint64_t>(target->taps) << 48;
    const uint64_t memory = target->scratchpad_bytes | static_cast<uint64_t>(target->banks) << 32 |
                            static_cast<uint64_t>(target->accumulators & 0xffffU) << 48;
    return shim->read_register(SYSTOLE_REGISTER_ARRAY_SHAPE) == array &&
           shim->read_register(SYSTOLE_REGISTER_MEMORY_SHAPE) == memory;
}

} // namespace

extern "C" __attribute__((visibility("default"))) enum systole_status
systole_rtl_create(const struct systole_target *target, struct systole_accelerator **accelerator,
                   struct systole_diagnostic *diagnostic) {
    std::unique_ptr<Shim> shim(new (std::nothrow) Shim(&functions, *target));
    if (shim == nullptr || !fits(shim.get(), target)) {
        if (diagnostic != nullptr) {
            snprintf(diagnostic->what, sizeof diagnostic->what, "%s",
                     shim == nullptr ? "no memory for the Verilated model" : "the Verilated model is another target's");
            snprintf(diagnostic->where, sizeof diagnostic->where, "%s", target->name);
            snprintf(diagnostic->hint, sizeof diagnostic->hint, "make it again with make rtl TARGET=FILE");
        }
        return shim == nullptr ? SYSTOLE_OUT_OF_MEMORY : SYSTOLE_DEVICE_MISMATCH;
    }
    *accelerator = shim.release();
    return SYSTOLE_OK;
}
