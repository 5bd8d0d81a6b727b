# bench and doctor: the keys, and that the figures are figures. No timing is judged.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 bench "$MODEL" -p 16 -n 4 -r 1
says out prefill decode "tok/s"
expect 0 bench "$MODEL" -p 16 -n 4 -r 1 --json
json "set('prefill_tok_s decode_tok_s decode_bytes_per_token read_bandwidth decode_bandwidth_share prefill_ops_share threads isa'.split()) <= set(d)" \
    "d['prefill_tok_s'] > 0" "d['decode_tok_s'] > 0" "d['decode_bytes_per_token'] > 0" "d['threads'] >= 1" "d['isa']"
expect 2 bench "$MODEL" -p 16 -n 4 -r 1 --kv-type q9
expect 0 doctor --json
json "d['read_bandwidth'] > 0" "d['int_ops'] > 0" "d['float_ops'] > 0" "d['cores'] >= 1" "len(d['kernels']) > 0"
expect 0 doctor -v
says out isa memory kernels
NIBBLE_ISA=ref expect 0 doctor --json
json "d['isa'] == 'ref'"
