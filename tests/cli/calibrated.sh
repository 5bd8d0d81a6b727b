# quantize --method: the same bytes for any number of threads, after kill -9 at any moment (NB_KILLS of them), a signal, and under a
# budget; the journal goes when the output is there; what is refused; texts that the model does not know.
. "$NB_TESTS/support/cli-lib.bash"

model=$NB_MODELS/tiny-7m
text=$NB_DATA/calibration.txt
args=(--type q4_0 --method gptq --calib "$text" --calib-tokens 1280 --calib-ctx 128)

quantize() { # OUT more...
    "$NIBBLE" quantize "$model" -o "$1" "${args[@]}" "${@:2}"
}

quantize one.gguf -t 1 >out 2>err || fail "one thread"
says out 'gptq on 1280 tokens: 43 tensors'
grep -qE '^calibration text: 1\.[0-4][0-9] bits per byte$' out || fail 'how well the model knows the text'
silent err
[ ! -e one.gguf.journal ] || fail 'the journal is left behind'
quantize three.gguf -t 3 >out 2>err || fail "three threads"
cmp one.gguf three.gguf || fail 'other bytes with three threads'

# kill -9 at NB_KILLS (5) moments drawn from the whole length of a run, each survived by the same command; every
# output that is reached has the bytes of the run that nobody stopped.
# ldlq: gptq with a shift of targets, on two streams.
short=(--type f16 --tensor-type 'attn|ffn_down=q4_0' --method ldlq --calib "$text" --calib-tokens 320 --calib-ctx 32)
quantize_short() { "$NIBBLE" quantize "$model" -o "$1" "${short[@]}"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
begin=$(now_ms)
quantize_short whole.gguf >out 2>err || fail 'not stopped'
length=$(($(now_ms) - begin))
RANDOM=5
kills=0 outputs=0 tries=0
while [ $kills -lt "${NB_KILLS:-5}" ]; do
    tries=$((tries + 1))
    [ $tries -le 400 ] || fail "only $kills kills in $tries runs"
    ms=$((RANDOM * length / 32768))
    fresh=1
    [ ! -e killed.gguf.journal ] || fresh=0
    (exec "$NIBBLE" quantize "$model" -o killed.gguf "${short[@]}" >out 2>err) &
    pid=$!
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -9 $pid 2>/dev/null || true
    code=0
    wait $pid 2>/dev/null || code=$?
    if [ $code = 137 ]; then
        kills=$((kills + 1))
    elif [ $code != 0 ]; then
        fail "after $kills kills: exit status $code"
    elif [ $fresh = 1 ]; then
        length=$ms # or less: the machine was busier when it was measured
    fi
    [ $kills -lt "${NB_KILLS:-5}" ] || [ -e killed.gguf ] || quantize_short killed.gguf >out 2>err ||
        fail "after $kills kills"
    [ -e killed.gguf ] || continue
    cmp whole.gguf killed.gguf || fail "other bytes after $kills kills"
    [ ! -e killed.gguf.journal ] || [ $code = 137 ] || fail 'the journal is left behind after kills'
    outputs=$((outputs + 1))
    rm -f killed.gguf killed.gguf.journal
done
echo "$kills kills in $tries runs, $outputs outputs, the same bytes"

# A signal: what is finished is kept, and said with its name; nothing finished leaves nothing.
set -m # or a background job would ignore SIGINT
"$NIBBLE" quantize "$model" -o stopped.gguf "${args[@]}" >out 2>err </dev/null &
pid=$!
i=0
while [ "$(stat -c %s stopped.gguf.journal 2>/dev/null || echo 0)" -lt 100000 ] && [ $i -lt 2000 ]; do
    sleep 0.01
    i=$((i + 1))
done
code=0
kill -INT $pid 2>/dev/null || true
wait $pid || code=$?
set +m
if [ $code = 130 ]; then
    grep -qE "^nibble: warning: [0-9]+ finished tensors are kept in 'stopped.gguf.journal'; the same command goes on from there\$" err ||
        fail 'where the journal is'
    grep -qx 'nibble: stopped' err || fail 'something is left behind'
    quantize stopped.gguf >out 2>err || fail 'going on'
    says out 'of them by an earlier run'
elif [ $code != 0 ]; then # 0: it was faster
    fail "after SIGINT the exit status is $code"
fi
cmp one.gguf stopped.gguf || fail 'other bytes after a signal'

# Hidden states on disk, a run for each input, no look at the text: no byte changes. What is too little is said before the work.
quantize small.gguf --max-ram 80MB -t 1 -v >out 2>err || fail 'under a budget'
says err 'is not measured: the budget is too small'
cmp one.gguf small.gguf || fail 'other bytes under a budget'
quantize none.gguf --max-ram 20MB >out 2>err && fail '20 MB were enough'
says err 'the budget is 20000000'

# A recipe says with what text it was made.
quantize again.gguf --dump-recipe recipe.json >out 2>err || fail 'the recipe'
"$NIBBLE" quantize "$model" -o same.gguf --recipe recipe.json --calib "$text" --calib-tokens 1280 \
    --calib-ctx 128 >out 2>err || fail 'from the recipe'
cmp one.gguf same.gguf || fail 'other bytes from the recipe'
"$NIBBLE" quantize "$model" -o other.gguf --recipe recipe.json --calib "$text" --calib-tokens 2560 \
    --calib-ctx 128 >out 2>err && fail 'other text is another recipe'
says err 'made on windows of text with hash'

"$NIBBLE" quantize "$model" -o x.gguf --method magic --calib "$text" >out 2>err && fail 'a method called magic'
says err "there is no method 'magic'"
quantize x.gguf --mismatch 0.5 >out 2>err && fail 'gptq made something good'
says err "method 'gptq' is as published"
quantize zero.gguf --mismatch 0 >out 2>err || fail 'gptq with what it has anyway'
[ "$(tail -c 100000 zero.gguf | cksum)" = "$(tail -c 100000 one.gguf | cksum)" ] || fail 'gptq had a shift'
"$NIBBLE" quantize "$model" -o x.gguf --recipe recipe.json >out 2>err && fail 'a recipe without text'
says err 'needs a text to calibrate on'

# A text that the model does not know is named; the others are not.
head -c 60000 "$model/model.safetensors" | base64 >letters.txt
"$NIBBLE" quantize "$model" -o foreign.gguf --type f16 --tensor-type 'blk.0.attn_q=q8_0' --method gptq --float-prefix \
    --calib "$text" --calib letters.txt --calib-tokens 512 --calib-ctx 128 --json >out 2>err || fail 'two texts'
says err "warning: calibration text 'letters.txt'"
[ "$(wc -l <err)" = 1 ] || fail 'more than one warning'
json 'd["calibration"]["bits_per_byte"] > 2' '[t["foreign"] for t in d["calibration"]["texts"]] == [False, True]' \
    'd["calibration"]["texts"][0]["bits_per_byte"] < 1.6' 'd["calibration"]["texts"][1]["path"] == "letters.txt"'

# AWQ brings its transform: its name alone is the recipe, which threads, kills and --recipe do not change.
args=(--type q4_0 --tensor-type ffn=bf16 --method awq --calib "$text" --calib-tokens 1280 --calib-ctx 128)
quantize awq.gguf -v -t 1 --dump-recipe awq.json >out 2>err || fail 'awq'
says err 'awq: ' 'sites changed' 'parameter'
says awq.json '"method":"awq"'
(exec "$NIBBLE" quantize "$model" -o killed.gguf -f "${args[@]}" >out 2>err) &
pid=$!
sleep 0.9
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
quantize killed.gguf -f -t 3 >out 2>err || fail 'awq after a kill'
cmp awq.gguf killed.gguf || fail 'awq: other bytes after a kill, with three threads'
"$NIBBLE" quantize "$model" -o same.gguf -f --recipe awq.json --calib "$text" --calib-tokens 1280 \
    --calib-ctx 128 >out 2>err || fail 'awq from the recipe'
cmp awq.gguf same.gguf || fail 'awq: other bytes from the recipe'
"$NIBBLE" calibrate "$model" -o stats.gguf --text "$text" --tokens 512 >out 2>err || fail 'statistics'
quantize x.gguf --imatrix stats.gguf >out 2>err && fail 'an imatrix of the model before awq'
says err "transforms 'awq' change what layers read"
args=(--type q4_0 --method gptq --calib "$text" --calib-tokens 1280 --calib-ctx 128)

# The report.
quantize report.gguf --json >out 2>err || fail 'json'
says out '"forward_seconds"'
says out '"held_loss_db"'
