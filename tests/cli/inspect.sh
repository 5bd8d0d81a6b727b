# inspect: a folder and a GGUF file, text and JSON.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 inspect "$MODEL"
silent err
says out llama "6 layers" "8192" "13.6 MB" "16.00 bits per weight"
expect 0 inspect "$MODEL" --tensors --meta --hash --json
json "d['architecture'] == 'llama'" "d['parameters'] == 6819072" "d['n_layers'] == 6" "d['n_embd'] == 256" \
    "d['n_heads'] == 4" "d['n_kv_heads'] == 2" "d['n_vocab'] == 8192" "d['n_ctx'] == 1024" \
    "d['bpw'] == 16" "len(d['tensors']) == d['n_tensors']" "len(d['hash']) == 32" \
    "sum(t['bytes'] for t in d['tensors']) == d['tensor_bytes']" \
    "sum(d['bytes_by_type'].values()) == d['tensor_bytes']" \
    "sum(d['bytes_by_group'].values()) == d['tensor_bytes']" "d['recipe'] is None" "d['tokenizer']"
expect 0 quantize -q "$MODEL" m.gguf q8_0
expect 0 inspect m.gguf --json --meta
json "d['n_layers'] == 6" "d['parameters'] == 6819072" "8 < d['bpw'] < 9" "d['hash'] is None" "d['recipe']" \
    "'q8_0' in d['recipe']" "d['meta']['general.architecture'] == 'llama'"
expect 0 inspect m.gguf --dump-recipe -
json "d"
expect 3 inspect "$MODEL" --dump-recipe r.json
says err "no recipe"
only m.gguf
