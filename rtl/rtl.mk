# RTL: one Verilated shared object a target, one small program a module test, lint. SPDX-License-Identifier: Apache-2.0
#
#   make rtl                     build/rtl/systole_rtl_TARGETID.so of every preset
#   make rtl TARGET=NAME|FILE    of one target
#   make rtl-trace [TARGET=...]  build/rtl/systole_rtl_trace_TARGETID.so, which can write waves; of systole16
#   make rtl-tests               build/tests/rtl/test_NAME of every tests/rtl/test_NAME.cc with rtl/NAME.sv as top
#   make rtl-lint                verilator --lint-only -Wall: the top of every preset, each module alone
#
# The shared objects are made for the machine that builds them (RTL_MARCH); nothing else links to them.
# A module test names its parameters in a line `// Parameters: -GCOLUMNS=16 ...`.

VERILATOR ?= verilator
RTL_MARCH ?= native
RTL_DIR := $(BUILD)/rtl
RTL_PACKAGE := spec/gen/systole_pkg.sv
RTL_SOURCES := $(sort $(wildcard rtl/*.sv))
RTL_PRESET_NAMES := $(patsubst spec/targets/%.json,%,$(sort $(wildcard spec/targets/*.json)))
RTL_WAIVERS := rtl/waivers.vlt
# Warnings are the business of rtl-lint (-Wall, with the waivers); here they would only be said again.
RTL_FLAGS := --cc -O3 --x-assign fast --x-initial fast --noassert --unroll-stmts 1 --flatten -Wno-fatal -Wno-lint -Wno-style
RTL_TEST_FLAGS := --cc --assert --x-assign unique --x-initial unique -Wno-fatal -Wno-lint -Wno-style
RTL_CXX := g++
RTL_CXXFLAGS := -std=gnu++17 -fPIC -fvisibility=hidden -ffp-contract=off
RTL_FAST := -O3 -march=$(RTL_MARCH)
VERILATOR_INCLUDE = $(shell $(VERILATOR) --getenv VERILATOR_ROOT)/include
RTL_INCLUDES = -I$(VERILATOR_INCLUDE) -I$(VERILATOR_INCLUDE)/vltstd -Ispec/gen -Icommon -Ihw_model
RTL_DEFINES := -DVERILATOR=1 -DVM_COVERAGE=0 -DVM_SC=0 -DVM_TRACE_VCD=0

# TARGET=NAME or a file; a file's objects lie in a directory named by its id.
ifdef TARGET
  ifneq ($(filter $(TARGET),$(RTL_PRESET_NAMES)),)
    RTL_TARGETS := $(TARGET)
  else
    RTL_TARGET_ID := $(shell python3 spec/generate.py --parameters '$(TARGET)' | sed -n "s/.*32.'h//p")
    RTL_TARGETS := $(if $(RTL_TARGET_ID),file_$(RTL_TARGET_ID),$(error $(TARGET) is no preset and no target file))
  endif
else
  RTL_TARGETS := $(RTL_PRESET_NAMES)
endif
RTL_PRESETS := $(patsubst %,$(RTL_DIR)/%/systole_rtl.so,$(RTL_PRESET_NAMES))
# A stem is trace_X for the model of X that can write waves: slower, so never the one that runs by default.
RTL_TRACE_FLAGS := --trace-fst --trace-structs rtl/trace.vlt
rtl_traced = $(filter trace_%,$(1))
rtl_plain = $(patsubst trace_%,%,$(1))
rtl_target_file = $(if $(filter file_%,$(call rtl_plain,$(1))),$(TARGET),spec/targets/$(call rtl_plain,$(1)).json)
rtl_trace_defines = $(if $(1),-DVM_TRACE=1 -DVM_TRACE_FST=1,-DVM_TRACE=0 -DVM_TRACE_FST=0)
rtl_runtime = $(if $(call rtl_traced,$(1)),$(RTL_RUNTIME_TRACE),$(RTL_RUNTIME_FAST))

.PHONY: rtl rtl-trace rtl-tests rtl-lint
rtl: $(patsubst %,$(RTL_DIR)/%/systole_rtl.so,$(RTL_TARGETS))
rtl-trace: $(patsubst %,$(RTL_DIR)/trace_%/systole_rtl.so,$(if $(TARGET),$(RTL_TARGETS),systole16))

# The simulator's runtime, once for the shared objects, once for those with waves, and once, cheaply, for the module tests.
$(RTL_DIR)/runtime_fast/%.o $(RTL_DIR)/runtime_trace/%.o: RTL_LEVEL = $(RTL_FAST)
$(RTL_DIR)/runtime_test/%.o: RTL_LEVEL = -O1
RTL_RUNTIME_FAST := $(patsubst %,$(RTL_DIR)/runtime_fast/%.o,verilated verilated_threads)
RTL_RUNTIME_TRACE := $(patsubst %,$(RTL_DIR)/runtime_trace/%.o,verilated verilated_threads verilated_fst_c)
RTL_RUNTIME_TEST := $(patsubst %,$(RTL_DIR)/runtime_test/%.o,verilated verilated_threads)
$(RTL_RUNTIME_FAST) $(RTL_RUNTIME_TRACE) $(RTL_RUNTIME_TEST): rtl/rtl.mk
	@mkdir -p $(@D)
	$(AT)$(RTL_CXX) $(RTL_CXXFLAGS) $(RTL_LEVEL) $(RTL_DEFINES) \
	  $(call rtl_trace_defines,$(filter $@,$(RTL_RUNTIME_TRACE))) $(RTL_INCLUDES) \
	  -c $(VERILATOR_INCLUDE)/$(basename $(@F)).cpp -o $@

# Newer Verilators tell of their work on stdout; what is wrong they say on stderr.
# Verilated sources, then what Verilator's own makefile makes of them, then the shim, then the shared object under
# its target's name and its id.
.SECONDEXPANSION:
$(RTL_DIR)/%/Vsystole_rtl.mk: $$(call rtl_target_file,$$*) $(RTL_SOURCES) $(RTL_PACKAGE) spec/generate.py rtl/rtl.mk rtl/trace.vlt
	@mkdir -p $(@D)
	$(SAY) '  VERILATE $*'
	$(AT)eval $(VERILATOR) $(RTL_FLAGS) $(if $(call rtl_traced,$*),$(RTL_TRACE_FLAGS)) --Mdir $(@D) --top-module systole_rtl -y rtl +libext+.sv \
	  $$(python3 spec/generate.py --parameters '$<') $(RTL_PACKAGE) rtl/systole_rtl.sv >/dev/null
	@touch $@

$(RTL_DIR)/%/Vsystole_rtl__ALL.a: $(RTL_DIR)/%/Vsystole_rtl.mk
	$(AT)$(MAKE) $(if $(V),,-s --no-print-directory) -C $(@D) -f Vsystole_rtl.mk Vsystole_rtl__ALL.a CXX=$(RTL_CXX) LINK=$(RTL_CXX) \
	  OPT_FAST='$(RTL_FAST)' OPT_SLOW='-O1' OPT_GLOBAL='-O1' USER_CPPFLAGS='$(RTL_CXXFLAGS)' $(if $(V),,>/dev/null)
	@touch $@

$(RTL_DIR)/%/verilator_shim.o: hw_model/verilator_shim.cc $(RTL_DIR)/%/Vsystole_rtl.mk $(wildcard hw_model/device.h \
  common/transport.h spec/gen/systole_spec.h)
	$(AT)$(RTL_CXX) $(RTL_CXXFLAGS) $(WARNINGS) $(RTL_FAST) $(RTL_DEFINES) $(call rtl_trace_defines,$(call rtl_traced,$*)) -isystem $(VERILATOR_INCLUDE) \
	  -isystem $(@D) -Ispec/gen -Icommon -Ihw_model -c $< -o $@

$(RTL_DIR)/%/systole_rtl.so: $(RTL_DIR)/%/verilator_shim.o $(RTL_DIR)/%/Vsystole_rtl__ALL.a $$(call rtl_runtime,$$*)
	$(AT)$(RTL_CXX) -shared -Wl,-Bsymbolic -Wl,-z,defs -o $@ $^ -lpthread $(if $(call rtl_traced,$*),-lz)
	$(AT)ln -f $@ $(RTL_DIR)/systole_rtl_$(if $(call rtl_traced,$*),trace_)$$(python3 spec/generate.py --parameters '$(call rtl_target_file,$*)' | \
	  sed -n "s/.*32.'h//p").so

# Module tests. Verilator's own dependency file says which modules each one contains.
RTL_TEST_SOURCES := $(sort $(wildcard tests/rtl/test_*.cc))
RTL_TESTS := $(patsubst tests/rtl/%.cc,$(BUILD)/tests/rtl/%,$(RTL_TEST_SOURCES))
rtl-tests: $(RTL_TESTS)

$(RTL_DIR)/tests/%.mk: rtl/%.sv tests/rtl/test_%.cc $(RTL_PACKAGE) rtl/rtl.mk
	@mkdir -p $(RTL_DIR)/tests/$*
	$(SAY) '  VERILATE test_$*'
	$(AT)$(VERILATOR) $(RTL_TEST_FLAGS) --MMD --Mdir $(RTL_DIR)/tests/$* --top-module $* -y rtl +libext+.sv \
	  $$(sed -n 's|^// Parameters: ||p' tests/rtl/test_$*.cc) $(RTL_PACKAGE) $< >/dev/null
	@sed 's|^[^:]*:|$@:|' $(RTL_DIR)/tests/$*/V$*__ver.d | tr ' ' '\n' | grep -v '^/' | tr '\n' ' ' > $(RTL_DIR)/tests/$*.d
	@touch $@

# Tests of units compare with the functional model's execution of a command.
RTL_TEST_MODEL := $(patsubst %,$(BUILD)/obj/%.o,spec/gen/systole_spec.c $(wildcard hw_model/execute_*.c))
$(BUILD)/tests/rtl/test_%: $(RTL_DIR)/tests/%.mk tests/rtl/test_%.cc $(wildcard tests/rtl/*.h) $(RTL_RUNTIME_TEST) \
  $(RTL_TEST_MODEL)
	@mkdir -p $(@D)
	$(AT)$(MAKE) $(if $(V),,-s --no-print-directory) -C $(RTL_DIR)/tests/$* -f V$*.mk V$*__ALL.a CXX=$(RTL_CXX) LINK=$(RTL_CXX) \
	  OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0 USER_CPPFLAGS='$(RTL_CXXFLAGS)' $(if $(V),,>/dev/null)
	$(AT)$(RTL_CXX) $(RTL_CXXFLAGS) $(WARNINGS) -O1 -g $(RTL_DEFINES) $(call rtl_trace_defines,) -isystem $(VERILATOR_INCLUDE) \
	  -isystem $(RTL_DIR)/tests/$* -Itests/rtl -Ispec/gen -Icommon -Ihw_model tests/rtl/test_$*.cc \
	  $(RTL_DIR)/tests/$*/V$*__ALL.a $(RTL_TEST_MODEL) $(RTL_RUNTIME_TEST) -lpthread -o $@

-include $(wildcard $(RTL_DIR)/tests/*.d)

# Waivers, each with its reason, are in one file.
rtl-lint:
	@set -e; for preset in $(RTL_PRESET_NAMES); do echo "lint systole_rtl $$preset"; \
	  eval $(VERILATOR) --lint-only -Wall --top-module systole_rtl -y rtl +libext+.sv \
	    $$(python3 spec/generate.py --parameters spec/targets/$$preset.json) $(RTL_WAIVERS) $(RTL_PACKAGE) \
	    rtl/systole_rtl.sv; done; \
	for module in $(patsubst rtl/%.sv,%,$(RTL_SOURCES)); do echo "lint $$module"; \
	  $(VERILATOR) --lint-only -Wall --top-module $$module -y rtl +libext+.sv $(RTL_WAIVERS) $(RTL_PACKAGE) \
	    rtl/$$module.sv; done
