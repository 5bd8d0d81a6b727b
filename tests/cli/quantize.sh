# quantize: names, types, rules, recipes, the same bytes for any number of threads.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 quantize "$MODEL"
silent err
only tiny-7m-q4_k_m.gguf
tail -n 1 out >last
says last "tiny-7m-q4_k_m.gguf: " "bits per weight" "SNR" "nibble run tiny-7m-q4_k_m.gguf"
says out "worst"
# llama-quantize's order; spelling in capitals; MODEL TYPE; options anywhere.
expect 0 quantize "$MODEL" a.gguf Q4_K_M
cmp a.gguf tiny-7m-q4_k_m.gguf
expect 0 quantize -f "$MODEL" q4_k_m -t 1
cmp a.gguf tiny-7m-q4_k_m.gguf
NIBBLE_THREADS=3 expect 0 quantize --type q4_k_m -o b.gguf "$MODEL" -v
cmp a.gguf b.gguf
says out "blk.5.ffn_down.weight" " dB"
NIBBLE_ISA=ref expect 0 quantize -q "$MODEL" -o c.gguf
cmp a.gguf c.gguf
[ "$(wc -l <out)" = 1 ] || fail "-q prints one line"
rm -- *.gguf

# Rules: the first that matches wins, over the mix.
expect 0 quantize "$MODEL" -o r.gguf --type q4_0 --tensor-type 'blk\.0\.ffn_down=q8_0' --tensor-type 'ffn_down=q6_k' \
    --token-embedding-type q8_0 --json --dump-recipe recipe.json
json "d['type'] == 'q4_0'" "d['method']" "d['seconds'] >= 0" "d['peak_rss_bytes'] > 0" "0 < d['bpw_layers'] < 16" \
    "{t['name']: t['type'] for t in d['tensors']}['blk.0.ffn_down.weight'] == 'q8_0'" \
    "{t['name']: t['type'] for t in d['tensors']}['blk.1.ffn_down.weight'] == 'q6_k'" \
    "{t['name']: t['type'] for t in d['tensors']}['blk.1.ffn_up.weight'] == 'q4_0'" \
    "{t['name']: t['type'] for t in d['tensors']}['token_embd.weight'] == 'q8_0'" \
    "d['worst_snr_db'] == min(t['snr_db'] for t in d['tensors'] if t['snr_db'] is not None)" \
    "len(d['hash']) == 32"
silent err
# A rule without effect is named, also where all else keeps its type.
expect 0 quantize "$MODEL" -o rules.gguf --type keep --tensor-type 'attn_q=q8_0' --tensor-type 'q_proj=q4_0' \
    --tensor-type 'norm=f16' --tensor-type 'blk.0.attn_q=q6_k' --json
json "sum(t['type'] == 'q8_0' for t in d['tensors']) == 6" "all(t['type'] in ('q8_0', 'bf16', 'f32') for t in d['tensors'])"
says err "no weight takes type q4_0 by rule 'q_proj'" "no weight takes type f16 by rule 'norm'" "no weight takes type q6_k by rule 'blk.0"
[ "$(wc -l <err)" = 3 ] || fail 'three rules had no effect'
# The recipe makes the file again.
expect 0 quantize "$MODEL" -o again.gguf --recipe recipe.json
cmp r.gguf again.gguf
expect 1 quantize "$MODEL" -o third.gguf --recipe recipe.json --dump-recipe recipe.json
says err "recipe.json" "-f overwrites"
expect 0 inspect again.gguf --dump-recipe -
cmp out recipe.json
echo '{"type": "q4_k", "colour": 3}' >bad.json
expect 3 quantize "$MODEL" -o bad.gguf --recipe bad.json
says err colour
[ ! -e bad.gguf ]
rm -- *.gguf *.json

# Requantizing only when allowed.
expect 0 quantize -q "$MODEL" q.gguf q8_0
expect 2 quantize q.gguf p.gguf q4_0
says err "quantize"
[ ! -e p.gguf ]
expect 0 quantize q.gguf p.gguf q4_0 --allow-requantize
# --pure
expect 0 quantize "$MODEL" pure.gguf --type q4_k --pure --json
json "set(t['type'] for t in d['tensors'] if len(t['name']) and t['elements'] > 1000) == {'q4_k'}"
# A name that a shell would take apart is quoted.
expect 0 quantize "$MODEL" "it's one.gguf" q8_0
says out "nibble run 'it'\\''s one.gguf'"
# Quality in the same go.
expect 0 quantize "$MODEL" e.gguf q8_0 --eval "$TEXT" --eval-chunks 1 --max-kld 1 --json
json "0 < d['eval']['kld_mean'] < 0.01" "not d['bound_missed']"
expect 4 quantize "$MODEL" k.gguf q4_0 --eval "$TEXT" --eval-chunks 1 --max-kld 0.000001
says err "--max-kld" "k.gguf' is kept"
says out "KL "
[ -f k.gguf ]
