# inspect: a net in TFLite, text and JSON, and broken ones. The nets are the fuzzers' seeds.
. "$NB_TESTS/support/cli-lib.bash"
seeds=$NB_ROOT/fuzz/corpus/tflite
cp "$seeds/good-small" net.tflite
cp "$seeds/good-small" noname
cp "$seeds/bad-cut" cut.tflite
cp "$seeds/bad-input" input.tflite
printf 'hello, this is no net\n' >text.tflite
expect 0 inspect net.tflite
silent err
says out "name          main" "tflite, schema version 3" "made by       us" \
    "inputs        x  int8 [?, 2]  scale 0.5, zero point -128" "3 nodes" "custom.Mine" "CONV_2D" "CUMSUM" \
    "2 parameters in 1 tensors" "2 tensors, 1 of them with a scale for each channel"
expect 0 inspect net.tflite --json --tensors --meta
json "d['dialect'] == 'tflite'" "d['ir_version'] == 3" "d['opsets'] == {}" "d['producer'] == 'us'" \
    "d['inputs'][0]['shape'] == [None, 2]" \
    "d['inputs'][0]['quantization'] == {'scales': [0.5], 'zero_points': [-128], 'dimension': 0}" \
    "d['operators'] == {'CONV_2D': 1, 'CUMSUM': 1, 'custom.Mine': 1}" "d['n_quantized'] == 2" \
    "d['constants'] == {'float32': {'tensors': 1, 'elements': 2, 'bytes': 8}}" \
    "[t['name'] for t in d['tensors']] == ['w']" "d['tensors'][0]['quantization']['scales'] == [1, 2]" \
    "d['meta']['min_runtime_version'] == '1.5.0'" "d['meta']['signature'] == 'serving_default'"
expect 0 inspect net.tflite --tensors
says out "constant      w  float32 [2]  2 scales of dimension 0"
expect 0 inspect noname
says out "schema version 3"
expect 2 inspect net.tflite --hash
says err "for models"
expect 3 inspect cut.tflite
says err "cut.tflite: "
expect 3 inspect input.tflite
says err "input.tflite: subgraph 0: operator 0: CONV_2D: input 0 is tensor 9 of 1"
expect 3 inspect text.tflite
says err "not a TFLite model"
expect 2 quantize net.tflite -o q.gguf --type q8_0
says err "nets are quantized to int8"
