# calibrate: the file, merging, what quantize makes of it, what is refused.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 calibrate "$MODEL" -o a.gguf --text "$TEXT" --ctx 64 --chunks 3 --json -t 1
json "d['weights'] == 42" "d['tokens'] == 192" "d['ctx'] == 64" "d['chunks'] == 3" "d['bytes'] > 0" \
    "len(d['hash']) == 32" "d['out'] == 'a.gguf'"
hash=$(python3 -c "import json; print(json.load(open('out'))['hash'])")
expect 0 calibrate "$MODEL" -o b.gguf --text "$TEXT" --ctx 64 --chunks 3 -t 3
says out "importance for 42 weights" "nibble quantize MODEL --imatrix b.gguf"
cmp a.gguf b.gguf || fail "the bytes depend on the threads"
expect 1 calibrate "$MODEL" -o b.gguf --text "$TEXT" --ctx 64 --chunks 3
says err "b.gguf"
expect 0 calibrate "$MODEL" -o b.dat -f --text "$TEXT" --ctx 64 --chunks 3
expect 0 calibrate "$MODEL" -o head.gguf --text "$TEXT" --ctx 64 --chunks 1 --head --json
json "d['weights'] == 43"
# Twice the same is the same mean.
expect 0 calibrate --merge a.gguf a.gguf -o twice.gguf --json
json "d['tokens'] == 384" "d['chunks'] == 6"
expect 0 quantize -q "$MODEL" q.gguf q4_0 --imatrix a.gguf --json
json "'\"imatrix\":\"$hash\"' in d['recipe']" "d['imatrix'] == '$hash'" "d['n_weighted'] == 42" "d['n_unweighted'] == 1"
one=$(python3 -c "import json; print(json.load(open('out'))['hash'])")
expect 0 quantize -q "$MODEL" q2.gguf q4_0 --imatrix twice.gguf --json
json "d['hash'] == '$one'"
expect 0 quantize -q "$MODEL" q3.gguf q4_0 --json
json "d['hash'] != '$one'" "d['imatrix'] is None"
expect 0 quantize "$MODEL" q4.gguf q4_0 --imatrix b.dat
says out "importance known for 42 of 43 rounded tensors"
# General grids are rounded by importance too.
expect 0 quantize -q "$MODEL" grid --type int4_g32 --imatrix a.gguf --json
json "d['n_weighted'] == 42"
grid=$(python3 -c "import json; print(json.load(open('out'))['hash'])")
expect 0 quantize -q "$MODEL" grid2 --type int4_g32 --json
json "d['hash'] != '$grid'"
expect 0 plan "$MODEL" p.gguf q4_0 --imatrix a.gguf --dump-recipe recipe.json
# The recipe wants its importance.
expect 0 quantize -q "$MODEL" q5.gguf --recipe recipe.json --imatrix a.gguf --json
json "d['hash'] == '$one'"
expect 2 quantize -q "$MODEL" q6.gguf --recipe recipe.json
says err "$hash"
expect 2 quantize -q "$MODEL" q6.gguf --recipe recipe.json --imatrix twice.gguf
# What a file says of its importance stays with its weights, and goes with them.
expect 0 convert q.gguf kept.gguf
expect 0 inspect kept.gguf --meta
says out quantize.imatrix.file
expect 0 quantize q.gguf again.gguf q8_0 --allow-requantize --imatrix twice.gguf
expect 0 inspect again.gguf --meta
says out "twice.gguf"
expect 0 quantize q.gguf again.gguf q8_0 --allow-requantize -f
expect 0 inspect again.gguf --meta
! grep -q quantize.imatrix out || fail "rounded without importance, it says with"
# Too few bits without importance are warned of, not refused.
expect 0 quantize "$MODEL" low.gguf tq2_0
says err "warning: 42 tensors get less than 3 bits a weight" "nibble calibrate"
# The bundled text.
NIBBLE_DATA=$NB_DATA expect 0 calibrate "$MODEL" -o c.gguf --ctx 64 --chunks 1
says err "bundled"
NIBBLE_DATA=/nonexistent expect 2 calibrate "$MODEL" -o d.gguf
# Bad arguments and files.
expect 2 calibrate "$MODEL" a.gguf -o d.gguf --text "$TEXT"
expect 2 calibrate --merge a.gguf --text "$TEXT" -o d.gguf
expect 2 calibrate "$MODEL" -o d.gguf --text "$TEXT" --format npz
says err "'gguf' or 'dat'"
expect 3 calibrate --merge a.gguf "$TEXT" -o d.gguf
says err "evaluation.txt"
expect 3 calibrate --merge q.gguf -o d.gguf
says err "no imatrix"
expect 3 calibrate "$MODEL" -o d.gguf --text missing.txt
expect 3 quantize "$MODEL" d.gguf --imatrix missing.gguf
expect 3 quantize "$MODEL" d.gguf --imatrix "$TEXT"
says err "not an imatrix file"
[ ! -e d.gguf ] || fail "a failed run left d.gguf"
