# calibrate --stats: what is kept, merging, inspecting, an imatrix besides, what is refused.
. "$NB_TESTS/support/cli-lib.bash"
cut() { # FILE BYTES OUT
    head -c "$2" "$1" >"$3"
}
head -c 3000 "$TEXT" >one.txt
tail -c 4000 "$TEXT" >two.txt
expect 0 calibrate "$MODEL" -o all.gguf --text one.txt --text two.txt --ctx 32 --tokens 640 --stats all --hold-out --json -t 1
json "d['weights'] == 42" "d['chunks'] == 18" "d['held_chunks'] == 2" "d['tokens'] == 576" \
    "d['stats'] == 'moments,range,moving,histogram,hessian'"
expect 0 calibrate "$MODEL" -o b.gguf --text one.txt --text two.txt --ctx 32 --tokens 640 --stats all --hold-out -t 7
says out "holds moments,range,moving,histogram,hessian, and windows held out"
cmp all.gguf b.gguf || fail "the bytes depend on the threads"
# A table, and the same as JSON.
expect 0 inspect all.gguf
says out "moments,range,moving,histogram,hessian" "18 of 32 tokens, and 2 held out" "one.txt" "two.txt" \
    "blk.5.ffn_down.weight" "24 values that layers read"
expect 0 inspect all.gguf --json
json "len(d['edges']) == 24" "d['texts'] == ['one.txt', 'two.txt']" "len(d['model_hash']) == 32" \
    "d['edges'][0]['weight'] == 'blk.0.attn_q.weight'" "d['edges'][0]['n_weights'] == 3" \
    "all(e['lo'] < 0 < e['hi'] and e['rms'] > 0 and e['outlier'] > 1 and e['top'] >= 1 for e in d['edges'])" \
    "all(e['tokens'] == 576 and e['held'] == 64 for e in d['edges'])" \
    "all(e['gain_db'] is None or e['gain_db'] > 0 for e in d['edges'])" "d['edges'][0]['gain_db'] > 0"
model=$(python3 -c "import json; print(json.load(open('out'))['model_hash'])")
expect 0 inspect "$MODEL" --hash --json
json "d['hash'] == '$model'"
expect 2 inspect all.gguf --tensors
says err "for models"
# It is an imatrix, and one comes out of it; quantize makes the same of both.
expect 0 calibrate --merge all.gguf -o imatrix.gguf --json
json "d['stats'] is None" "d['weights'] == 42" "d['tokens'] == 576"
expect 0 inspect imatrix.gguf
says out "holds         moments" "42 values"
expect 0 quantize -q "$MODEL" q.gguf q4_0 --imatrix imatrix.gguf --json
hash=$(python3 -c "import json; print(json.load(open('out'))['hash'])")
expect 0 quantize -q "$MODEL" q.gguf q4_0 --imatrix all.gguf --json -f
json "d['hash'] == '$hash'" "d['n_weighted'] == 42"
# Without --stats a budget and windows held out make an imatrix of what is left.
expect 0 calibrate "$MODEL" -o plain.gguf --text one.txt --text two.txt --ctx 32 --tokens 640 --hold-out
cmp plain.gguf imatrix.gguf || fail "the imatrix alone differs from that in the statistics"
# Merging adds.
expect 0 calibrate "$MODEL" -o one.gguf --text one.txt --ctx 32 --chunks 4 --stats range,histogram
expect 0 calibrate "$MODEL" -o two.gguf --text two.txt --ctx 32 --chunks 6 --stats all
expect 0 calibrate --merge one.gguf two.gguf -o both.gguf --stats all --json
json "d['stats'] == 'moments,range,histogram'" "d['chunks'] == 10"
expect 0 calibrate --merge one.gguf two.gguf -o both2.gguf --stats range --json
json "d['stats'] == 'moments,range'"
expect 0 inspect both2.gguf --json
json "d['texts'] == ['one.txt', 'two.txt']" "d['edges'][3]['tokens'] == 320"
expect 3 calibrate --merge one.gguf two.gguf -o none.gguf --stats hessian
says err "one.gguf: it does not hold hessian"
expect 3 calibrate --merge all.gguf two.gguf -o none.gguf --stats all
says err "held out"
expect 3 calibrate --merge imatrix.gguf -o none.gguf --stats all
says err "imatrix.gguf: no file of statistics"
# What is asked for in vain.
expect 2 calibrate "$MODEL" -o none.gguf --text one.txt --stats means
says err "no statistic 'means'"
expect 2 calibrate "$MODEL" -o none.gguf --text one.txt --tokens 64 --chunks 2
expect 2 calibrate --merge all.gguf -o none.gguf --tokens 64
expect 2 calibrate "$MODEL" -o none.dat --text one.txt --stats range
says err "importance alone"
expect 2 calibrate "$MODEL" -o none.gguf --text one.txt --tokens 64 --ctx 100000
says err "none of 1 texts fills a window of 100000 tokens"
expect 1 calibrate "$MODEL" -o none.gguf --text one.txt --ctx 32 --stats hessian --max-ram 3MB
says err "more than the 3 MB"
# Half a file.
size=$(wc -c <all.gguf)
for n in 100 5000 60000 $((size - 100)); do
    cut all.gguf $n half.gguf
    expect 3 inspect half.gguf
    expect 3 calibrate --merge half.gguf -o none.gguf --stats all
done
[ ! -e none.gguf ] || fail "a failed run left none.gguf"
