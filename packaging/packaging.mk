# The library that programs link, what is made from the help texts, install and uninstall. SPDX-License-Identifier: Apache-2.0
#
#   make library                            build/lib: libsystole.so with soname and version, libsystole.a
#   make install [PREFIX=..] [DESTDIR=..]   what it consists of stands below; RTL_INSTALLED= leaves the Verilated models out
#   make uninstall [PREFIX=..] [DESTDIR=..]
#
# Only what the public headers declare is exported, by either library.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
DOCDIR ?= $(PREFIX)/share/doc/systole
RTL_INSTALLED ?= $(RTL_PRESETS)

PUBLIC_HEADERS := runtime/systole.h common/status.h common/dtype.h
VERSION := $(shell sed -n 's/^\#define SYSTOLE_VERSION "\(.*\)"/\1/p' runtime/systole.h)
# Before 1.0 a minor version may break programs; the soname says so.
SOVERSION := $(if $(filter 0.%,$(VERSION)),$(word 1,$(subst ., ,$(VERSION))).$(word 2,$(subst ., ,$(VERSION))),$(word 1,$(subst ., ,$(VERSION))))
SHARED := $(BUILD)/lib/libsystole.so.$(VERSION)
STATIC := $(BUILD)/lib/libsystole.a
LIBRARY_OBJECTS := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard library/*.c))
LIBRARY_LINKS := -lusb-1.0 -ljansson -lstdc++ -lm -ldl -lpthread
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
$(BUILD)/obj/hw_model/rtl_loader.c.o: CFLAGS_ALL += $(if $(MULTIARCH),-DSYSTOLE_MULTIARCH='"$(MULTIARCH)"')

.PHONY: library install uninstall
library: $(SHARED) $(STATIC)

# Every function that a public header names; a name only in a remark is one of them, too.
$(BUILD)/gen/public_symbols: $(PUBLIC_HEADERS)
	@mkdir -p $(@D)
	$(AT)grep -oh 'systole_[a-z0-9_]*(' $^ | tr -d '(' | LC_ALL=C sort -u > $@
$(BUILD)/gen/libsystole.map: $(BUILD)/gen/public_symbols
	$(AT){ echo 'SYSTOLE_$(SOVERSION) {'; echo '  global:'; sed 's/.*/    &;/' $<; echo '  local: *;'; echo '};'; } > $@

$(SHARED): $(LIBRARY_OBJECTS) $(LIBRARY) $(BUILD)/gen/libsystole.map
	@mkdir -p $(@D)
	$(SAY) '  LINK $@'
	$(AT)$(CC) $(LDFLAGS) -shared -Wl,-soname,libsystole.so.$(SOVERSION) -Wl,--version-script,$(BUILD)/gen/libsystole.map \
	  -Wl,--no-undefined -Wl,--as-needed -o $@ $(LIBRARY_OBJECTS) $(LIBRARY) $(LIBRARY_LINKS)
	$(AT)ln -sf $(@F) $(@D)/libsystole.so.$(SOVERSION) && ln -sf $(@F) $(@D)/libsystole.so

# One object with everything that the public functions need, all other names made local.
$(STATIC): $(LIBRARY_OBJECTS) $(LIBRARY) $(BUILD)/gen/public_symbols
	@mkdir -p $(@D)
	$(SAY) '  AR   $@'
	$(AT)$(CC) -r -nostdlib -Wl,--force-group-allocation -o $(@D)/systole.o $(LIBRARY_OBJECTS) $(LIBRARY)
	$(AT)$(OBJCOPY) --keep-global-symbols=$(BUILD)/gen/public_symbols $(@D)/systole.o
	$(AT)rm -f $@ && ar rcs $@ $(@D)/systole.o && rm $(@D)/systole.o
OBJCOPY ?= objcopy

$(BUILD)/man/systole.1: $(SYSTOLE) packaging/help_pages.py
	@rm -rf $(@D)
	$(AT)packaging/help_pages.py $(SYSTOLE) man $(@D)
$(BUILD)/completion/systole: $(SYSTOLE) packaging/help_pages.py
	@mkdir -p $(@D)
	$(AT)packaging/help_pages.py $(SYSTOLE) completion $@

D = $(DESTDIR)
install: $(SYSTOLE) $(SHARED) $(STATIC) $(BUILD)/man/systole.1 $(BUILD)/completion/systole $(RTL_INSTALLED)
	@install -d $(D)$(BINDIR) $(D)$(LIBDIR)/pkgconfig $(D)$(INCLUDEDIR)/systole $(D)$(MANDIR)/man1 $(D)$(COMPLETIONDIR) \
	  $(D)$(UDEVDIR) $(D)$(DOCDIR) $(if $(RTL_INSTALLED),$(D)$(LIBDIR)/systole)
	@install -m 755 $(SYSTOLE) $(D)$(BINDIR)/systole
	@install -m 755 $(SHARED) $(D)$(LIBDIR)/
	@ln -sf libsystole.so.$(VERSION) $(D)$(LIBDIR)/libsystole.so.$(SOVERSION)
	@ln -sf libsystole.so.$(SOVERSION) $(D)$(LIBDIR)/libsystole.so
	@install -m 644 $(STATIC) $(D)$(LIBDIR)/
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
	  packaging/systole.pc.in > $(D)$(LIBDIR)/pkgconfig/systole.pc
	@chmod 644 $(D)$(LIBDIR)/pkgconfig/systole.pc
	@install -m 644 $(PUBLIC_HEADERS) $(D)$(INCLUDEDIR)/systole/
	@install -m 644 $(BUILD)/man/*.1 $(D)$(MANDIR)/man1/
	@install -m 644 $(BUILD)/completion/systole $(D)$(COMPLETIONDIR)/systole
	@install -m 644 packaging/60-systole.rules $(D)$(UDEVDIR)/
	@install -m 644 LICENSE README.md $(D)$(DOCDIR)/
	@for model in $(RTL_INSTALLED); do id=$$(python3 spec/generate.py --parameters spec/targets/$$(basename $$(dirname $$model)).json | \
	  sed -n "s/.*32.'h//p"); install -m 755 $$model $(D)$(LIBDIR)/systole/systole_rtl_$$id.so || exit 1; done
	@echo "systole $(VERSION) is installed below $(D)$(PREFIX)$(if $(D),,; run ldconfig for the library and udevadm control --reload for the rule)"

# By name: folders that others use, too, stay.
uninstall:
	@rm -f $(D)$(BINDIR)/systole $(D)$(LIBDIR)/libsystole.so $(D)$(LIBDIR)/libsystole.so.* $(D)$(LIBDIR)/libsystole.a \
	  $(D)$(LIBDIR)/pkgconfig/systole.pc $(D)$(LIBDIR)/systole/systole_rtl_*.so $(D)$(MANDIR)/man1/systole.1 \
	  $(D)$(MANDIR)/man1/systole-*.1 $(D)$(COMPLETIONDIR)/systole $(D)$(UDEVDIR)/60-systole.rules \
	  $(D)$(DOCDIR)/LICENSE $(D)$(DOCDIR)/README.md \
	  $(foreach h,$(PUBLIC_HEADERS),$(D)$(INCLUDEDIR)/systole/$(notdir $(h)))
	@for folder in $(LIBDIR)/systole $(INCLUDEDIR)/systole $(DOCDIR); do \
	  if [ -d $(D)$$folder ]; then rmdir --ignore-fail-on-non-empty $(D)$$folder; fi; done
