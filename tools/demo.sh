#!/bin/sh
# tools/demo.sh [NIBBLE]: what `make demo` runs. Quantizes the bundled model to several types, measures
# each against the float model, writes demo/report.html, lets a small one write a paragraph.
set -eu
cd "$(dirname "$0")/.."
nibble=${1:-build/nibble}
case $nibble in /*) ;; *) nibble=$PWD/$nibble ;; esac
model=models/tiny-7m
chunks=${DEMO_CHUNKS:-8}
types="q8_0 q6_k q4_k_m q4_0"

step() {
    printf '\n\033[1m%s\033[0m\n' "$*"
}
[ -t 1 ] || step() { printf '\n%s\n' "$*"; }

rm -rf demo
mkdir demo
step "1. What is there: a float model of 6.8 million weights"
"$nibble" inspect "$model"

step "2. Make it small, in $(echo $types | wc -w) ways"
files=
for type in $types; do
    "$nibble" quantize "$model" -o "demo/tiny-7m-$type.gguf" --type "$type" --quiet
    files="$files demo/tiny-7m-$type.gguf"
done

step "3. What that cost: each one beside the float model, on a text none of them has seen"
# shellcheck disable=SC2086
"$nibble" compare "$model" $files --text data/evaluation.txt --chunks "$chunks" --html demo/report.html

step "4. A paragraph by the 4-bit model"
"$nibble" run demo/tiny-7m-q4_k_m.gguf -p "The old captain looked at the sea and" -n 120 --echo

cat <<'EOF'

The report with its plots is demo/report.html; the models are beside it and run in llama.cpp too.
Next, a model of your own (a Hugging Face folder or a GGUF file):
  build/nibble quantize ~/Llama-3.2-1B -o q.gguf --type q4_k_m
  build/nibble eval q.gguf --against ~/Llama-3.2-1B
  build/nibble run q.gguf
EOF
