# convert: Hugging Face folder to GGUF and back; values unchanged.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 convert "$MODEL" m.gguf
tail -n 1 out >last
says last "m.gguf" "16.0" "lossless"
expect 0 convert m.gguf back --json
json "d['out'] == 'back'"
[ -f back/config.json ] && [ -f back/model.safetensors ] && [ -f back/tokenizer.json ] || fail "back is no complete folder"
expect 0 eval "$MODEL" --text "$TEXT" --ctx 128 --chunks 1 --json
cp out source.json
for m in m.gguf back; do
    expect 0 eval $m --text "$TEXT" --ctx 128 --chunks 1 --json
    json "d['logits_hash'] == __import__('json').load(open('source.json'))['logits_hash']"
done
expect 1 convert m.gguf back
says err "back" "-f to overwrite"
