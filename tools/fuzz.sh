#!/bin/sh
# Fuzzes one parser: tools/fuzz.sh TARGET SECONDS [libFuzzer options]. TARGET: the name behind
# fuzz/fuzz_. Builds with clang, libFuzzer, ASan and UBSan in build-fuzz; new inputs and findings go to
# build-fuzz/corpus-TARGET, the seeds in fuzz/corpus/TARGET stay as they are. FUZZ_BUILD: another folder, built already.
# Exit 0: no finding.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { echo "usage: tools/fuzz.sh TARGET SECONDS [libFuzzer options]" >&2; exit 2; }
target=$1 seconds=$2
shift 2
[ -f "fuzz/fuzz_$target.c" ] || { echo "fuzz.sh: no target '$target'" >&2; exit 2; }
build=${FUZZ_BUILD:-build-fuzz}
cc=${FUZZ_CC:-}
[ -n "$cc" ] || for cc in clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang; do
    ! command -v $cc >/dev/null || break
done
[ -f "$build/build.ninja" ] ||
    CC=$cc meson setup "$build" -Db_sanitize=address,undefined -Db_lundef=false -Dfuzzer=libfuzzer \
        -Dasserts=true -Dc_args=-fsanitize=fuzzer-no-link
[ -n "${FUZZ_BUILD:-}" ] || ninja -C "$build" "fuzz/fuzz-$target"
mkdir -p "$build/corpus-$target"
dict=
[ ! -f "fuzz/$target.dict" ] || dict=-dict=fuzz/$target.dict
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# shellcheck disable=SC2086
exec "$build/fuzz/fuzz-$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$build/corpus-$target/finding-" $dict \
    "$@" "$build/corpus-$target" "fuzz/corpus/$target"
