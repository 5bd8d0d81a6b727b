#!/bin/sh
# The same bytes everywhere: the quantized file and the logits have one hash for 1, 2 and 7 threads,
# every ISA this CPU has, every compiler and machine: tests/golden/same_bytes.csv holds it.
# NB_UPDATE=1 rewrites the file; the diff is the review.
set -eu
golden=$NB_TESTS/golden/same_bytes.csv
model=$NB_MODELS/tiny-7m
text=$NB_DATA/evaluation.txt
: > got.csv

file_hash() { sha256sum "$1" | cut -c1-64; }
logits_hash() { # options after the model
    "$NIBBLE" eval "$@" --text "$text" --ctx 32 --chunks 2 --json --no-progress |
        sed -n 's/.*"logits_hash": *"\([0-9a-f]*\)".*/\1/p'
}

levels=$("$NIBBLE" list kernels | grep -v '(not' | awk '{ print $2 }' | sort -u)
echo "$levels" | grep -qx ref || { echo "list kernels names no ref"; exit 1; }

threads_too="1 7"
if [ -n "${NB_EXE_WRAPPER:-}" ]; then # emulated, 30 times slower: against the file only
    threads_too= levels=
fi

for type in q8_0 q6_k q4_k_m q4_k_s q4_0 bf16; do
    "$NIBBLE" quantize "$model" -o ref.gguf --type $type --threads 2 --quiet -f
    want_file=$(file_hash ref.gguf)
    want_logits=$(logits_hash ref.gguf --threads 2)
    [ -n "$want_logits" ] || { echo "$type: eval printed no logits_hash"; exit 1; }
    echo "$type,$want_file,$want_logits" >> got.csv
    for threads in $threads_too; do
        "$NIBBLE" quantize "$model" -o x.gguf --type $type --threads $threads --quiet -f
        [ "$(file_hash x.gguf)" = "$want_file" ] || { echo "$type: $threads threads: other file"; exit 1; }
        [ "$(logits_hash ref.gguf --threads $threads)" = "$want_logits" ] ||
            { echo "$type: $threads threads: other logits"; exit 1; }
    done
    for isa in $levels; do
        NIBBLE_ISA=$isa "$NIBBLE" quantize "$model" -o x.gguf --type $type --quiet -f
        [ "$(file_hash x.gguf)" = "$want_file" ] || { echo "$type: $isa: other file"; exit 1; }
        [ "$(NIBBLE_ISA=$isa logits_hash ref.gguf)" = "$want_logits" ] ||
            { echo "$type: $isa: other logits"; exit 1; }
    done
done

# Importance, and what is rounded by it.
weigh() { # NAME, options
    name=$1
    shift
    "$NIBBLE" calibrate "$model" -o "$name.imatrix" --text "$text" --ctx 32 --chunks 2 --quiet -f "$@" >/dev/null
    "$NIBBLE" quantize "$model" -o "$name.gguf" --type q4_k_m --imatrix ref.imatrix --quiet -f "$@" >/dev/null
    cmp "$name.imatrix" ref.imatrix && cmp "$name.gguf" ref.gguf
}
weigh ref --threads 2
echo "imatrix,$(file_hash ref.imatrix)," >> got.csv
for threads in $threads_too; do
    weigh x --threads $threads || { echo "importance: $threads threads: other bytes"; exit 1; }
done
for isa in $levels; do
    NIBBLE_ISA=$isa
    export NIBBLE_ISA
    weigh x || { echo "importance: $isa: other bytes"; exit 1; }
done
unset NIBBLE_ISA

# One block led by a text, in formats of each kind.
lead() { # FILE, options
    "$NIBBLE" quantize "$model" -o "$@" --type bf16 --method kgptq --calib "$text" --calib-tokens 320 \
        --calib-ctx 32 --tensor-type 'blk[.]0[.]attn_v=iq2_xs' --tensor-type 'blk[.]0[.]attn_q=q3_k' \
        --tensor-type 'blk[.]0[.]attn_k=q4_k' --tensor-type 'blk[.]0[.]attn_output=q4_0' \
        --quiet -f >/dev/null
}
lead ref.gguf --threads 2
echo "kgptq,$(file_hash ref.gguf)," >> got.csv
for threads in $threads_too; do
    lead x.gguf --threads $threads
    cmp ref.gguf x.gguf || { echo "kgptq: $threads threads: other bytes"; exit 1; }
done
for isa in $levels; do
    NIBBLE_ISA=$isa
    export NIBBLE_ISA
    lead x.gguf
    cmp ref.gguf x.gguf || { echo "kgptq: $isa: other bytes"; exit 1; }
done
unset NIBBLE_ISA

if [ "${NB_UPDATE:-0}" = 1 ]; then
    { echo "type,sha256 of the file,XXH3-128 of the logits of 2 windows of 32"; cat got.csv; } > "$golden"
fi
tail -n +2 "$golden" | diff - got.csv
