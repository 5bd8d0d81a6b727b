# plan: what quantize does, without doing it.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 plan "$MODEL"
says out "tiny-7m-q4_k_m.gguf" "bits per weight" "blk.0.attn_q.weight"
only ""
expect 0 plan "$MODEL" q4_0 --json
json "d['type'] == 'q4_0'" "d['out'] == 'tiny-7m-q4_0.gguf'" "all(t['snr_db'] is None for t in d['tensors'])"
cp out plan.json
expect 0 quantize "$MODEL" --type q4_0 --dry-run --json
json "d['bytes'] == __import__('json').load(open('plan.json'))['bytes']"
expect 0 quantize "$MODEL" --type q4_0 --json
json "d['bytes'] == __import__('json').load(open('plan.json'))['bytes']" \
    "d['bytes'] == __import__('os').path.getsize('tiny-7m-q4_0.gguf')" \
    "[t['type'] for t in d['tensors']] == [t['type'] for t in __import__('json').load(open('plan.json'))['tensors']]"
expect 1 plan "$MODEL" --max-ram 1000
