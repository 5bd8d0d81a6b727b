# Mixtures of experts: a Mixtral whose experts are all the bundled model's feed-forward says what that says;
# tokens are counted by expert, and experts that saw none are named.
. "$NB_TESTS/support/cli-lib.bash"
mkdir moe
cp "$MODEL"/tokenizer*.json "$MODEL"/generation_config.json moe/
python3 - "$MODEL" moe <<'EOF'
import json, struct, sys

source, out = sys.argv[1:]
EXPERTS = 4
config = json.load(open(source + "/config.json"))
config.update(architectures=["MixtralForCausalLM"], model_type="mixtral", num_local_experts=EXPERTS,
              num_experts_per_tok=2, sliding_window=None)
json.dump(config, open(out + "/config.json", "w"))
with open(source + "/model.safetensors", "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    data = f.read()
names = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
tensors, blobs, at = {}, [], 0

def put(name, dtype, shape, blob):
    global at
    tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(blob)]}
    blobs.append(blob)
    at += len(blob)

for name, t in header.items():
    if name == "__metadata__":
        continue
    blob = data[t["data_offsets"][0]:t["data_offsets"][1]]
    head, dot, tail = name.partition(".mlp.")
    if not dot:
        put(name, t["dtype"], t["shape"], blob)
        continue
    proj = names[tail.split(".")[0]]
    for e in range(EXPERTS):
        put(f"{head}.block_sparse_moe.experts.{e}.{proj}.weight", t["dtype"], t["shape"], blob)
    if proj == "w1": # scores are all equal: the first two experts are chosen
        put(head + ".block_sparse_moe.gate.weight", "BF16", [EXPERTS, config["hidden_size"]],
            bytes(2 * EXPERTS * config["hidden_size"]))
text = json.dumps(tensors).encode()
with open(out + "/model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    for blob in blobs:
        f.write(blob)
EOF
ppl() {
    expect 0 eval "$@" --text "$TEXT" --ctx 64 --chunks 2 --json
    python3 -c "import json; print(json.load(open('out'))['ppl'])"
}
want=$(ppl "$MODEL")
[ "$(ppl moe)" = "$want" ] || fail "not the perplexity of the dense model, $want"
expect 0 inspect moe
says out "experts       4, 2 for each token"
# One tensor of all experts in GGUF, and back to one each.
expect 0 convert moe moe.gguf
[ "$(ppl moe.gguf)" = "$want" ] || fail "the GGUF file says something else than its folder"
expect 0 convert moe.gguf back
expect 0 convert back again.gguf
hash() {
    expect 0 inspect "$1" --hash --json
    python3 -c "import json; print(json.load(open('out'))['hash'])"
}
[ "$(hash moe.gguf)" = "$(hash again.gguf)" ] || fail "the way to the folder and back changed a tensor"
# Coverage.
expect 0 calibrate moe -o few.gguf --text "$TEXT" --ctx 64 --chunks 2
says out "layer" "none" "the mean over its layer stands in"
expect 0 calibrate moe -o few.gguf -f --text "$TEXT" --ctx 64 --chunks 2 --json
json "[e['layer'] for e in d['experts']] == list(range(6))" \
    "all(e['experts'] == 4 and e['unseen'] == e['few'] == 2 for e in d['experts'])" \
    "all((e['least'], e['median'], e['most']) == (0, 64, 128) for e in d['experts'])"
expect 0 calibrate moe -o all.gguf --text "$TEXT" --ctx 64 --chunks 2 --all-experts --json
json "all(e['unseen'] == 2 for e in d['experts'])"
expect 0 quantize moe few_q.gguf q4_k_m --imatrix few.gguf
says err "36 matrices of experts in 18 tensors" "36 of them none"
expect 0 quantize moe all_q.gguf q4_k_m --imatrix all.gguf
! grep -q "matrices of experts" err || fail "all experts saw all tokens, yet some are said to lack them"
ppl few_q.gguf >few.ppl
ppl all_q.gguf >all.ppl
python3 - "$want" <<'EOF' || fail "quantized, the perplexity is far from $want: $(cat few.ppl all.ppl)"
import sys
want = float(sys.argv[1])
assert all(abs(float(open(f).read()) / want - 1) < 0.05 for f in ("few.ppl", "all.ppl"))
EOF
expect 0 run all_q.gguf -p "Once upon a time" -n 8 --temp 0
# A dense model has no table.
expect 0 calibrate "$MODEL" -o dense.gguf --text "$TEXT" --ctx 64 --chunks 1 --json
json "d['experts'] == []"
