# Systole. `make demo` and `make test` are all there is; the rest is for who works on it.
# SPDX-License-Identifier: Apache-2.0

BUILD ?= build
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

FOLDERS := spec/gen common common/program graph compiler runtime runtime/reference userspace_driver hw_model cli

# Who may include whom.
INCLUDE_common := -Ispec/gen -Icommon
INCLUDE_graph := $(INCLUDE_common) -Igraph
INCLUDE_compiler := $(INCLUDE_graph) -Icompiler
INCLUDE_driver := $(INCLUDE_common) -Iuserspace_driver
INCLUDE_runtime := $(INCLUDE_graph) -Iuserspace_driver -Iruntime
INCLUDE_hw_model := $(INCLUDE_common) -Ihw_model
INCLUDE_all := $(INCLUDE_graph) -Icompiler -Iuserspace_driver -Iruntime -Ihw_model -Icli
$(BUILD)/obj/spec/gen/% $(BUILD)/obj/common/%: INCLUDES = $(INCLUDE_common) -I$(BUILD)/gen
$(BUILD)/obj/graph/%: INCLUDES = $(INCLUDE_graph) -I$(BUILD)/gen
$(BUILD)/obj/compiler/%: INCLUDES = $(INCLUDE_compiler)
$(BUILD)/obj/runtime/%: INCLUDES = $(INCLUDE_runtime)
$(BUILD)/obj/userspace_driver/%: INCLUDES = $(INCLUDE_driver) $(USB_CFLAGS)
$(BUILD)/obj/hw_model/%: INCLUDES = $(INCLUDE_hw_model)
$(BUILD)/obj/cli/%: INCLUDES = $(INCLUDE_all)
$(BUILD)/obj/tests/%: INCLUDES = $(INCLUDE_all) -Itests/support

USB_CFLAGS = $(shell pkg-config --cflags libusb-1.0)
LIBRARIES := -lusb-1.0 -ljansson -lm -ldl -lpthread -lstdc++

# hw_model/verilator_shim.cc belongs to the shared objects of rtl/, not to the binary.
SOURCES := $(foreach f,$(filter-out cli,$(FOLDERS)),$(wildcard $(f)/*.c $(f)/*.cc))
SOURCES := $(filter-out hw_model/verilator_shim.cc,$(SOURCES))
OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(SOURCES))
CLI_OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard cli/*.c))
LIBRARY := $(BUILD)/libsystole.a
SYSTOLE := $(BUILD)/bin/systole
SCHEMAS := $(wildcard graph/*.fbs common/program/*.fbs)
SCHEMA_HEADERS := $(patsubst %.fbs,$(BUILD)/gen/%_generated.h,$(notdir $(SCHEMAS)))
TEST_SUPPORT := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c))
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/test_*.c))

.PHONY: all help deps systole rtl test gen check-gen lint clean
.SECONDARY:
all: systole

systole: $(SYSTOLE)

vpath %.fbs graph common/program
$(BUILD)/gen/%_generated.h: %.fbs
	@mkdir -p $(@D)
	flatc --cpp --gen-mutable -o $(@D) $<

$(BUILD)/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(INCLUDES) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.cc.o: %.cc | $(SCHEMA_HEADERS)
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) $(INCLUDES) -MMD -MP -c $< -o $@

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(SYSTOLE): $(CLI_OBJECTS) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBRARIES)

# Tests: each tests/FOLDER/test_NAME.c is a program of its own on Check.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.c.o $(TEST_SUPPORT) $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBRARIES) $(shell pkg-config --libs check)

# One Verilated shared object a target.
include rtl/rtl.mk

gen:
	python3 spec/generate.py
check-gen:
	python3 spec/generate.py --check

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
