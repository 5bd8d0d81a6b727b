# A thin front of Meson. BUILD=folder, ARGS="-Db_sanitize=address" change what is set up.
BUILD ?= build
PREFIX ?= /usr/local
ARGS ?=

all: $(BUILD)/build.ninja
	@tools/list-sources.sh --check $(BUILD)/source-list --quiet
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/deps.sh --test --check
	@meson setup $(BUILD) --prefix $(PREFIX) $(ARGS)

# Installs the packages that are missing (through apt-get), or says which.
deps:
	@tools/deps.sh --test

test: deps
	@$(MAKE) --no-print-directory all
	@meson test -C $(BUILD) --no-rebuild --suite quick --print-errorlogs

demo: deps
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)/nibble

bench: all
	@ninja -C $(BUILD) benches
	@tools/bench.sh $(BUILD)

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD) demo

.PHONY: all deps test demo bench install clean
