# --any-arch: an architecture that nibble does not know, as a folder and as a GGUF file.
. "$NB_TESTS/support/cli-lib.bash"
copy() { # DIR: the bundled model under another name
    mkdir "$1"
    cp "$MODEL"/*.json "$MODEL"/*.safetensors "$1"
    sed -i 's/LlamaForCausalLM/NobodyForCausalLM/; s/"model_type": *"llama"/"model_type": "nobody"/' "$1/config.json"
}
copy nobody
expect 3 quantize nobody -o q.gguf --type q8_0
says err "architecture 'NobodyForCausalLM' is not supported; --any-arch" "supported: llama, "
expect 3 run nobody -p text
says err NobodyForCausalLM
expect 0 inspect nobody
says out "not known to nibble"
expect 0 inspect nobody --json
json "d['architecture'] == 'NobodyForCausalLM'" "d['n_tensors'] > 40"
# A folder stays a folder.
expect 3 quantize nobody -o q.gguf --type q8_0 --any-arch
says err "nobody knows the way"
expect 0 quantize nobody -o q --type int8_g64 --any-arch --json
json "len(d['tensors']) > 40"
expect 0 quantize "$MODEL" -o own --type int8_g64 --pure -q
python3 - <<'PY' || fail "the folder differs"
import json
def head(path):
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        return json.loads(f.read(n))
a, b = head("q/model.safetensors"), head("own/model.safetensors")
parts = [{k: (v["dtype"], v["shape"]) for k, v in h.items() if k.endswith((".codes", ".scales"))} for h in (a, b)]
assert parts[0] == parts[1] and len(parts[0]) > 80
c = json.load(open("q/config.json"))
assert c["model_type"] == "nobody" and c["quantization_config"]["quant_method"] == "nibble" and c["nibble"]["version"]
assert json.load(open("q/tokenizer.json")) == json.load(open("nobody/tokenizer.json"))
PY
# A GGUF file stays one: with llama's name again it is what llama gives.
expect 0 convert "$MODEL" f.gguf
sed 's/\x05\x00\x00\x00\x00\x00\x00\x00llama/\x05\x00\x00\x00\x00\x00\x00\x00lhama/' f.gguf >x.gguf
expect 3 quantize x.gguf y.gguf q8_0
says err "architecture 'lhama'"
expect 0 quantize x.gguf y.gguf q8_0 --any-arch
says out "does not know how to run it"
expect 0 quantize f.gguf z.gguf q8_0 --pure -q
sed 's/\x05\x00\x00\x00\x00\x00\x00\x00lhama/\x05\x00\x00\x00\x00\x00\x00\x00llama/' y.gguf >w.gguf
expect 0 inspect w.gguf --hash --json
hash=$(python3 -c "import json; print(json.load(open('out'))['hash'])")
expect 0 inspect z.gguf --hash --json
json "d['hash'] == '$hash'"
expect 0 run w.gguf -p "Once upon" -n 4 --temp 0
