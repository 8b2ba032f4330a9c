# Builds libbpf.a and libelf.a of Debian's sources in position-independent code, for addons with the libraries linked in:
#     make -f native/static.mk PACKAGING=FOLDER MACHINE=amd64|arm64
# PACKAGING is what bin/package/bring brings. In its folder static/ of the machine come libbpf.a, libelf.a and include/.
# Debian's own archives do not go into a shared object: their code is for programs.
SOURCES := $(PACKAGING)/sources
OUT := $(PACKAGING)/$(MACHINE)/static
TARGET_FLAGS := --target=$(if $(filter arm64,$(MACHINE)),aarch64,x86_64)-linux-gnu --sysroot=$(PACKAGING)/$(MACHINE)/sysroot
CC := clang
AR := llvm-ar
CFLAGS := $(TARGET_FLAGS) -O2 -fPIC -fvisibility=hidden -ffile-prefix-map=$(abspath $(SOURCES))=/usr/src
ELF := $(SOURCES)/elfutils/libelf
# What elfutils' configure would find out, as far as libelf asks.
ELF_CONFIG := HAVE_ERR_H HAVE_MREMAP HAVE_VISIBILITY HAVE_FALLTHROUGH \
	HAVE_DECL_MEMPCPY HAVE_DECL_MEMRCHR HAVE_DECL_POWEROF2 HAVE_DECL_RAWMEMCHR HAVE_DECL_REALLOCARRAY
ELF_FLAGS := -std=gnu99 -D_GNU_SOURCE -DHAVE_CONFIG_H -w -I$(OUT)/elf -I$(ELF) -I$(SOURCES)/elfutils/lib
ELF_OBJECTS := $(patsubst $(ELF)/%.c,$(OUT)/elf/%.o,$(wildcard $(ELF)/*.c))

all: $(OUT)/libbpf.a $(OUT)/libelf.a

$(OUT)/libbpf.a:
	@mkdir -p $(OUT)/bpf
	$(MAKE) -s -C $(SOURCES)/libbpf/src OBJDIR=$(OUT)/bpf BUILD_STATIC_ONLY=y NO_PKG_CONFIG=1 DESTDIR= PREFIX=$(OUT) INCLUDEDIR=$(OUT)/include \
		CC="$(CC)" AR="$(AR)" CFLAGS="$(CFLAGS) -I$(ELF)" $(OUT)/bpf/libbpf.a install_headers
	mv $(OUT)/bpf/libbpf.a $@

$(OUT)/elf/config.h:
	@mkdir -p $(OUT)/elf
	printf '#include <stdbool.h>\n#include <eu-config.h>\n' >$@
	printf '#define %s 1\n' $(ELF_CONFIG) >>$@

$(OUT)/elf/%.o: $(ELF)/%.c $(OUT)/elf/config.h
	$(CC) $(CFLAGS) $(ELF_FLAGS) -c $< -o $@

$(OUT)/libelf.a: $(ELF_OBJECTS)
	$(AR) rcsD $@ $^

.PHONY: all
