#!/bin/sh
# tools/bench.sh [BUILD]: what `make bench` runs: the kernels, then quantizing and decoding a random model
# of Llama-3.2-1B's shape (2.5 GB, made once in BUILD/bench; BENCH_DIR puts it elsewhere). Medians of
# BENCH_RUNS runs (3) with two threads, the file in the page cache; decoding as a share of the read
# bandwidth measured in the same run. Peak memory is anonymous memory: mapped file pages are page cache.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
dir=${BENCH_DIR:-$build/bench}
runs=${BENCH_RUNS:-3}
threads=${BENCH_THREADS:-2}
nibble=$build/nibble
model=$dir/llama1b-f16.gguf

echo "## this machine"
"$nibble" doctor --threads "$threads"
echo
echo "## kernels"
"$build/bench/bench-kernels"

need=6500000000
free=$(($(df -Pk "$dir" | awk 'NR == 2 { print $4 }') * 1024))
if [ ! -f "$model" ] && [ "$free" -lt $need ]; then
    echo "$dir has $free bytes free, the large model needs $need: set BENCH_DIR to a larger place"
    exit 1
fi
[ -f "$model" ] || "$build/bench/bench-gen_model" "$model"

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }
number() { sed -n "s/^ *\"$1\": *\([0-9.e+-]*\).*/\1/p"; }

# Largest anonymous memory of the process while it runs, in MB, sampled 50 times a second.
watch_memory() { # PID
    most=0
    while kb=$(sed -n 's/^RssAnon: *\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$kb" ]; do
        [ "$kb" -gt "$most" ] && most=$kb
        sleep 0.02
    done
    echo $((most / 1024))
}

echo
echo "## quantize, $threads threads, wall seconds with fsync (median of $runs), peak anonymous MB"
cat "$model" >/dev/null
for type in q8_0 q4_0 q4_k_m q6_k; do
    : >"$dir/seconds"
    memory=0
    for _ in $(seq "$runs"); do
        start=$(date +%s.%N)
        "$nibble" quantize "$model" -o "$dir/$type.gguf" --type $type --threads "$threads" -f --quiet \
            >/dev/null 2>&1 &
        m=$(watch_memory $!)
        wait $!
        echo "$(date +%s.%N) $start" | awk '{ print $1 - $2 }' >>"$dir/seconds"
        [ "$m" -gt "$memory" ] && memory=$m
    done
    printf '%-8s %6.2f s %5d MB\n' $type "$(median <"$dir/seconds")" "$memory"
done

echo
echo "## decode and prefill, $threads threads"
printf '%-8s %12s %12s %20s %18s\n' type "decode tok/s" "prefill" "share of bandwidth" "share of int peak"
for type in q8_0 q4_0 q4_k_m q6_k; do
    cat "$dir/$type.gguf" >/dev/null
    "$nibble" bench "$dir/$type.gguf" --prompt 128 --generate 32 --repeat 3 --threads "$threads" --json \
        >"$dir/bench.json" 2>/dev/null
    printf '%-8s %12.2f %12.1f %20.2f %18.2f\n' $type "$(number decode_tok_s <"$dir/bench.json")" \
        "$(number prefill_tok_s <"$dir/bench.json")" "$(number decode_bandwidth_share <"$dir/bench.json")" \
        "$(number prefill_ops_share <"$dir/bench.json")"
done
