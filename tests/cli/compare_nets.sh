# compare: a net beside another: outputs, layers, accuracy; codes beside real numbers; what is refused.
. "$NB_TESTS/support/cli-lib.bash"
cat >make.py <<'PY'
import struct
from make_onnx import *
def floats(*v):
    return struct.pack("<%df" % len(v), *v)
io = [("x", F32, ["N", 3])], [("y", F32, ["N", 3])]
w = [tensor("w", F32, [3], floats(1, 1, 1)), tensor("two", F32, [], floats(2))]
base = [node("a", "Mul", ["x", "two"], ["h"]), node("b", "Relu", ["h"], ["g"])]
net("float.onnx", base + [node("c", "Mul", ["g", "w"], ["y"])], *io, w)
# The same, its last layer another: columns 0 and 2 are smaller.
net("other.onnx", base + [node("c", "Mul", ["g", "w"], ["y"])], *io, [tensor("w", F32, [3], floats(0.5, 1, 0.25)), w[1]])
# h rounded to halves: what goes on is h_dq.
grid = [tensor("s", F32, [], floats(1)), tensor("z", I8, [], bytes(1))]
net("qdq.onnx", [base[0], node("q", "QuantizeLinear", ["h", "s", "z"], ["h_q"]),
                 node("d", "DequantizeLinear", ["h_q", "s", "z"], ["h_dq"]), node("b", "Relu", ["h_dq"], ["g"]),
                 node("c", "Mul", ["g", "w"], ["y"])], *io, w + grid)
# Codes in, between and out; the names of the float net.
codes = [tensor("s1", F32, [], floats(0.5)), tensor("z1", U8, [], bytes([10]))]
net("codes.onnx", [node("d", "DequantizeLinear", ["x", "s1", "z1"], ["xf"]), node("a", "Mul", ["xf", "two"], ["hf"]),
                   node("q", "QuantizeLinear", ["hf", "s1", "z1"], ["h"]), node("d2", "DequantizeLinear", ["h", "s1", "z1"], ["h2"]),
                   node("b", "Relu", ["h2"], ["gf"]), node("q2", "QuantizeLinear", ["gf", "s1", "z1"], ["y"])],
    [("x", U8, ["N", 3])], [("y", U8, ["N", 3])], [w[1]] + codes)
net("two.onnx", [node("a", "Relu", ["x"], ["y"]), node("b", "Neg", ["x"], ["z"])], [("x", F32, ["N", 3])],
    [("y", F32, ["N", 3]), ("z", F32, ["N", 3])])
net("row.onnx", [node("a", "ReduceSum", ["x"], ["y"])], *io)
rows = [(0, 3, 1), (2, 1, 0), (1, 1.25, 5), (4, 3, 3)]
npy("x.npy", "<f4", "(4, 3)", floats(*sum(rows, ())))
npy("labels.npy", "|u1", "(4,)", bytes([1, 0, 2, 0]))
npy("codes.npy", "|u1", "(4, 3)", bytes(int(v * 2 + 10) for v in sum(rows, ())))
PY
PYTHONPATH=$NB_TESTS/support python3 -B make.py
# A net is itself.
expect 0 compare float.onnx float.onnx -i x.npy --labels labels.npy
says out "lossless" "100.00 %" "(4 of 4)" "+0.00 points" "3 of 3 values of both nets"
silent err
# The loss arises in the last layer.
expect 0 compare float.onnx other.onnx -i x.npy --labels labels.npy --json
json "d['outputs'][0]['name'] == 'y' and d['outputs'][0]['rows'] == 4 and d['outputs'][0]['same_top1'] == 2" \
    "d['outputs'][0]['max_difference'] == 7.5 and not d['outputs'][0]['equal']" \
    "abs(d['outputs'][0]['sqnr_db'] - 4.8716) < 1e-3" "d['right_reference'] == 4 and d['right'] == 2 and d['drop_points'] == 50" \
    "[(l['name'], l['equal']) for l in d['layers']] == [('h', True), ('g', True), ('y', False)]" \
    "d['layers'][2]['before_db'] is None and d['layers'][2]['operator'] == 'binary'" "d['layers_alone'] == 0"
# A value behind its grid: 2.5 became 2.
expect 0 compare float.onnx qdq.onnx -i x.npy --json
json "[(l['name'], l['other']) for l in d['layers']] == [('h', 'h_dq'), ('g', 'g'), ('y', 'y')]" \
    "d['layers'][0]['max_difference'] == 0.5 and d['layers'][0]['before_db'] is None" \
    "d['layers'][1]['before_db'] == d['layers'][0]['sqnr_db']"
expect 0 compare float.onnx qdq.onnx -i x.npy --layers 1
says out "1 of 3 values of both nets, those that lose most" "h " "binary"
expect 0 compare float.onnx qdq.onnx -i x.npy --layers 0
! grep -q "before" out
# Codes through their grids, either way: 1.25 is 1 on a grid of halves (ties to even).
expect 0 compare float.onnx codes.onnx -i x.npy --json
json "[(l['name'], l['other']) for l in d['layers']] == [('h', 'h'), ('y', 'y')] and d['layers_alone'] == 1" \
    "d['outputs'][0]['max_difference'] == 0.5"
expect 0 compare codes.onnx float.onnx -i codes.npy --json
json "d['outputs'][0]['equal']" "d['outputs'][0]['cosine'] > 0.999999"
# Batches; several outputs.
expect 0 compare float.onnx qdq.onnx -i x.npy --labels labels.npy --dim N=2 --json
json "d['batch'] == 2 and d['samples'] == 4 and d['outputs'][0]['rows'] == 4 and d['right'] == 4"
expect 0 compare two.onnx two.onnx -i x.npy --labels labels.npy --output y
says out "y " "z " "(4 of 4)"
# What quantize makes, compared.
expect 0 quantize float.onnx -o int8.onnx --calib x.npy
expect 0 compare float.onnx int8.onnx -i x.npy --labels labels.npy
says out "(4 of 4)"
# What cannot be.
expect 2 compare float.onnx qdq.onnx
says err "nets need samples"
expect 2 compare float.onnx qdq.onnx other.onnx -i x.npy
says err "two at a time"
expect 2 compare float.onnx two.onnx -i x.npy
says err "float.onnx has 1 outputs, two.onnx 2"
expect 2 compare float.onnx row.onnx -i x.npy
says err "output 'y' of float.onnx has 3 elements, 'y' of row.onnx 1"
expect 2 compare two.onnx two.onnx -i x.npy --labels labels.npy
says err "say which of y, z"
expect 2 compare float.onnx qdq.onnx -i x.npy --text some.txt
says err "--text is for language models; 'float.onnx' is a net"
expect 2 compare "$MODEL" "$MODEL" -i x.npy
says err "--input is for nets" "is a language model"
