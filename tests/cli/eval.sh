# eval: figures, bounds, stable keys.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 quantize -q "$MODEL" q.gguf q4_0
expect 0 eval "$MODEL" --text "$TEXT" --ctx 256 --chunks 2
says out "windows of 256 tokens, second half scored: 2 windows, 254 tokens scored" "perplexity" "+-"
expect 0 eval q.gguf --text "$TEXT" --against "$MODEL" --ctx 256 --chunks 2
says out reference difference "KL divergence" "same top-1"
expect 0 eval q.gguf --text "$TEXT" --against "$MODEL" --ctx 256 --chunks 2 --json
json "set('tokens ctx ppl ppl_ref kld_mean kld_p50 kld_p99 kld_max top1 bits_per_byte tok_per_s'.split()) <= set(d)" \
    "d['tokens'] == 254" "d['ctx'] == 256" "0 < d['kld_mean'] < 1" "d['kld_p50'] <= d['kld_p99'] <= d['kld_max']" \
    "0.5 < d['top1'] < 1" "d['ppl'] > 1" "len(d['logits_hash']) == 32"
cp out first.json
expect 0 eval q.gguf --text "$TEXT" --against "$MODEL" --ctx 256 --chunks 2 --json -t 1
json "d['logits_hash'] == __import__('json').load(open('first.json'))['logits_hash']" \
    "d['kld_mean'] == __import__('json').load(open('first.json'))['kld_mean']"
expect 0 eval "$MODEL" --text "$TEXT" --ctx 128 --chunks 1 --json
json "d['ppl_ref'] is None" "d['kld_mean'] is None" "d['top1'] is None"
# Against itself nothing is lost.
expect 0 eval "$MODEL" --text "$TEXT" --against "$MODEL" --ctx 128 --chunks 1 --max-kld 0 --json
json "d['kld_mean'] == 0" "d['top1'] == 1" "d['ppl'] == d['ppl_ref']"
# Bounds.
expect 4 eval q.gguf --text "$TEXT" --against "$MODEL" --ctx 128 --chunks 1 --max-kld 0.0001
says err "--max-kld"
says out "KL divergence"
expect 4 eval q.gguf --text "$TEXT" --ctx 128 --chunks 1 --max-ppl 2
says err "--max-ppl"
expect 0 eval q.gguf --text "$TEXT" --ctx 128 --chunks 1 --max-ppl 100000
# The bundled text.
NIBBLE_DATA=$NB_DATA expect 0 eval q.gguf --ctx 128 --chunks 1
says err "bundled"
NIBBLE_DATA=/nonexistent expect 2 eval q.gguf
if [ -z "${NB_EXE_WRAPPER:-}" ]; then # found from a build folder of any name, in a source tree
    mkdir -p tree/build-ci/gcc tree/data
    cp "$NIBBLE" tree/build-ci/gcc/nibble
    cp "$NB_DATA/evaluation.txt" tree/data
    (
        NIBBLE=$PWD/tree/build-ci/gcc/nibble
        expect 2 eval q.gguf --ctx 128 --chunks 1
        touch tree/meson.build
        expect 0 eval q.gguf --ctx 128 --chunks 1
    )
    rm -r tree
fi
# Bad arguments and texts.
expect 3 eval q.gguf --text missing.txt
says err "missing.txt"
: >empty.txt
expect 2 eval q.gguf --text empty.txt
expect 2 eval q.gguf --text "$TEXT" --kv-type q3
