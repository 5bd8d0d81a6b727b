#!/bin/sh
# Prints every file that the build picks up by itself, sorted, one a line, relative to the root.
# meson.build sorts them by folder. With --check FILE: compares with a list saved at configuration;
# when they differ, asks for a new configuration (touches meson.build) and fails.
set -eu
cd "$(dirname "$0")/.."
list() {
    find src cli gen bench fuzz tests/unit tests/kernel tests/conform tests/golden tests/oom \
        tests/support -name '*.c' 2>/dev/null || true
    find tests/cli -name '*.sh' 2>/dev/null || true
    find docs/man -name '*.scd' 2>/dev/null || true
}
if [ "${1:-}" = --check ]; then
    if [ -f "$2" ] && list | LC_ALL=C sort | cmp -s - "$2"; then
        exit 0
    fi
    touch meson.build
    [ "${3:-}" = --quiet ] && exit 0
    echo "the set of source files has changed: run the same command again" >&2
    exit 1
fi
list | LC_ALL=C sort
