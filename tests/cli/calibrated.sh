# quantize --method: the same bytes for any number of threads, after kill -9 at any moment, and under a
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

# Killed again and again, each time a little later.
kills=0
for ms in 30 60 90 120 180 240 300 400 500 700 900 1200 1500 2000 3000; do
    (exec "$NIBBLE" quantize "$model" -o killed.gguf "${args[@]}" >out 2>err) &
    pid=$!
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null || true
    [ ! -e killed.gguf ] || break
done
[ -e killed.gguf ] || quantize killed.gguf >out 2>err || fail 'after kills'
[ $kills -gt 0 ] || fail 'it was never killed'
cmp one.gguf killed.gguf || fail "other bytes after $kills kills"
[ ! -e killed.gguf.journal ] || fail 'the journal is left behind after kills'

# Hidden states on disk, a run for each input: no byte changes. What is too little is said before the work.
quantize small.gguf --max-ram 120MB >out 2>err || fail 'under a budget'
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

# The report.
quantize report.gguf --json >out 2>err || fail 'json'
says out '"forward_seconds"'
says out '"held_loss_db"'
