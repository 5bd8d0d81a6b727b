# run and bench: a net in ONNX, its inputs and outputs as .npy, open dimensions, what is refused.
. "$NB_TESTS/support/cli-lib.bash"
cat >make.py <<'PY'
# The nets; arrays.
import struct
from make_onnx import *
w = tensor("w", F32, [3], struct.pack("<3f", 1, 10, 100))
net("net.onnx", [node("scale", "Mul", ["x", "w"], ["h"]), node("shift", "Add", ["h", "b"], ["y"])],
    [("x", F32, ["N", 3]), ("b", F32, ["N", 1])], [("y", F32, ["N", 3])], [w])
net("product.onnx", [node("it", "MatMul", ["x", "m"], ["y"])], [("x", F32, ["N", 3])], [("y", F32, ["N", 2])],
    [tensor("m", F32, [3, 2], struct.pack("<6f", 1, 2, -3, 4, 5, -6))])
net("open.onnx", [node("it", "Relu", ["x"], ["y"])], [("x", F32, ["N", "W"])], [("y", F32, ["N", "W"])])
net("half.onnx", [node("", "Add", ["x", "x"], ["y"]), node("", "Equal", ["x", "y"], ["same"])],
    [("x", F16, [None])], [("y", F16, [None]), ("same", BOOL, [None])])
net("shape.onnx", [node("", "Reshape", ["x", "to"], ["y/0"])], [("x", I64, None), ("to", I64, ["R"])], [("y/0", I64, None)])
net("lacks.onnx", [node("n" * 300, "NoSuchThing", ["x"], ["y"])], [("x", F32, [2])], [("y", F32, [2])])
net("other.onnx", [node("it", "Relu", ["x"], ["y"], "com.other")], [("x", F32, [2])], [("y", F32, [2])])
npy("x.npy", "<f4", "(2, 3)", struct.pack("<6f", 1, 2, 3, 4, 5, 6))
npy("b.npy", "<f4", "(2, 1)", struct.pack("<2f", 0.5, -0.5))
npy("b4.npy", "<f4", "(4, 1)", struct.pack("<4f", 0.5, -0.5, 0, 1))
npy("many.npy", "<f4", "(4, 3)", struct.pack("<12f", *range(12)))
npy("x64.npy", "<f8", "(2, 3)", struct.pack("<6d", *range(6)))
npy("wide.npy", "<f4", "(2, 4)", struct.pack("<8f", *range(8)))
npy("h.npy", "<f2", "(4,)", struct.pack("<4e", 0, 1.5, -2, 40000))
npy("i.npy", "<i8", "(6,)", struct.pack("<6q", 1, -2, 3, 1 << 40, 5, 6))
npy("to.npy", "<i8", "(2,)", struct.pack("<2q", 3, -1))
PY
PYTHONPATH=$NB_TESTS/support python3 -B make.py
cat >floats.py <<'PY'
import struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<H", data[8:10])[0]
print(data[10:10 + n].decode().strip(), *struct.unpack("<%d%s" % ((len(data) - 10 - n) // int(sys.argv[3]), sys.argv[2]), data[10 + n:]))
PY
# Two inputs; a name stands for one size everywhere.
expect 0 run net.onnx -i x=x.npy -i b=b.npy
says out "y  float32 [2, 3]   1.5 20.5 300.5 3.5 49.5 599.5" "time" "threads" "weights 12 B"
silent err
expect 0 run net.onnx -i x=x.npy --json
says err "no --input for 'b', float32 [2, 1]: it is zeros"
json "d['inputs'][0] == {'name': 'x', 'type': 'float32', 'shape': [2, 3], 'zeros': False}" "d['inputs'][1]['zeros']" \
    "d['outputs'][0]['values'] == [1, 20, 300, 4, 50, 600]" "d['outputs'][0]['min'] == 1" "d['outputs'][0]['max'] == 600" \
    "abs(d['outputs'][0]['mean'] - 975 / 6) < 1e-9" "d['runs'] == 1" "d['seconds'] >= 0" "d['threads'] >= 1" "d['weight_bytes'] == 12"
expect 0 run net.onnx --dim N=4 -q
silent err
says out "y  float32 [4, 3]   min 0  mean 0  max 0"
expect 0 run net.onnx --shape x=5x3 --set b=-2 -q
says out "y  float32 [5, 3]   min -2  mean -2  max -2"
# Outputs as files, whichever way; the same bytes for any number of threads and any instruction set.
expect 0 run net.onnx -i x=many.npy -o out1 -o y=one.npy -t 1
says out "written to one.npy"
expect 0 run net.onnx -i x=many.npy -o results -t 3
NIBBLE_ISA=ref expect 0 run net.onnx -i x=many.npy -o y=ref.npy
cmp one.npy results/y.npy
cmp one.npy ref.npy
expect 1 run net.onnx -i x=many.npy -o results
says err "results/y.npy exists; --force to overwrite"
expect 0 run net.onnx -i x=many.npy -o results --force
# The file's types: halves, bools, 64-bit integers; odd names.
expect 0 run half.onnx -i h.npy -o halves
says out "y  float16 [4]   0 3 -4 inf" "same  bool [4]   1 0 0 0"
[ "$(python3 floats.py halves/y.npy e 2)" = "{'descr': '<f2', 'fortran_order': False, 'shape': (4,), } 0.0 3.0 -4.0 inf" ]
expect 0 run shape.onnx -i x=i.npy --set to=to.npy -o folder
says out "y/0  int64 [3, 2]   1 -2 3 1.09951163e+12 5 6"
[ "$(python3 floats.py folder/y_0.npy q 8)" = "{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2), } 1 -2 3 1099511627776 5 6" ]
# Labels.
printf 'cat\ndog\nbird\n' >labels
expect 0 run net.onnx -i x=x.npy -i b=b.npy --labels labels
says out "row 0         2  300.5       bird" "row 1         0  3.5         cat"
expect 0 run net.onnx -i x=x.npy -i b=b.npy --labels labels --json
json "d['outputs'][0]['top'][1][0] == {'index': 2, 'value': 599.5, 'label': 'bird'}"
# Looking inside.
expect 0 run net.onnx -i x=x.npy -i b=b.npy --repeat 5 --profile
says out "median of 5 runs" "operator" "GMAC/s" "binary"
expect 0 run net.onnx -i x=x.npy -i b=b.npy --profile --json
json "len(d['profile']) == 2" "{p['node'] for p in d['profile']} == {'h', 'y'}" "all(p['seconds'] >= 0 for p in d['profile'])"
expect 0 run net.onnx -i x=x.npy -i b=b.npy --dump values
[ "$(python3 floats.py values/0000-h.npy f 4)" = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } 1.0 20.0 300.0 4.0 50.0 600.0" ]
[ "$(cut -f 2 values/values.tsv | tr '\n' ' ')" = "h y " ]
expect 1 run net.onnx -i x=x.npy -i b=b.npy --dump values
says err "--force to overwrite"
expect 0 bench net.onnx --dim N=2 -r 20 -q
says out "latency" "median of 20 runs" "load" "activations"
expect 0 bench net.onnx --dim N=2 -r 3 -q --json -t 2
json "d['latency_ms'] >= 0" "d['one_thread']['threads'] == 1" "d['all_threads']['threads'] == 2" "d['all_threads']['runs'] == 3" "d['file_bytes'] > 0"
expect 0 inspect net.onnx
says out "runs          all operators are known (nibble run)"
expect 0 inspect lacks.onnx
says out "runs          not: nibble has no NoSuchThing"
expect 0 inspect lacks.onnx --json
json "d['unknown_operators'] == ['NoSuchThing']"
# What cannot be.
expect 2 run net.onnx
says err "input 'x' is float32 [N, 3]: dimension 0 is open; give --dim N=N, --shape x=SIZES, or --input x=FILE.npy"
expect 2 run half.onnx
says err "input 'x' is float16 [?]: dimension 0 is open; give --shape x=SIZES"
expect 2 run shape.onnx
says err "input 'x' has no shape in the file: give --shape x=SIZES"
expect 3 run shape.onnx -i x=i.npy -i to=to.npy
says err "shape.onnx: node 'y/0' (Reshape)" "must be known when the net is opened"
expect 2 run net.onnx -i z=x.npy
says err "the net has no input 'z'; its inputs: 'x', 'b'"
expect 2 run net.onnx -i x.npy
says err "expected NAME=FILE.npy; the net has 2 inputs"
expect 2 run net.onnx -i x=x.npy --dim N=7
says err "dimension 'N' is 2 in input 'x', and 7 elsewhere"
expect 2 run net.onnx --dim M=7
says err "input 'x' is float32 [N, 3]"
expect 2 run net.onnx --dim N=7 --dim M=7
says err "no input of the net has a dimension 'M'"
expect 2 run net.onnx --dim N=many
says err "--dim N=many: expected NAME=N"
expect 2 run net.onnx --shape x=2x
says err "--shape x=2x: expected NAME=SIZES"
expect 2 run net.onnx -i x=x.npy -o z=y.npy
says err "the net has no output 'z'"
expect 2 run net.onnx --set b
says err "--set b: expected NAME=NUMBER"
expect 3 run net.onnx -i x=x64.npy
says err "x64.npy holds float64 [2, 3], but input 'x' takes float32 [N, 3]"
expect 3 run net.onnx -i x=wide.npy
says err "wide.npy holds float32 [2, 4], but input 'x' takes float32 [N, 3]"
expect 3 run net.onnx -i x=none.npy
says err "none.npy"
expect 3 run net.onnx -i x=net.onnx
expect 3 run lacks.onnx -q
says err "(NoSuchThing): nibble has no such operator"
expect 3 run other.onnx -q
says err "node 'it' (Relu): nibble has no such operator of domain com.other"
expect 2 run net.onnx -p "Once upon a time"
says err "--prompt is for language models; 'net.onnx' is a net"
expect 2 run "$MODEL" -i x=x.npy -p "Once upon a time"
says err "--input is for nets" "is a language model"
expect 2 bench "$MODEL" --dim N=1
says err "--dim is for nets" "is a language model"

# ---- quantize: samples in, a model with Q and DQ nodes out, which runs ----
expect 0 quantize net.onnx --calib x=many.npy --calib b=b4.npy
says out "net.int8.onnx: weights"
says out "2 of 2 nodes in 8 bits"
expect 1 quantize net.onnx --calib x=many.npy --calib b=b4.npy
says err "net.int8.onnx"
expect 0 quantize net.onnx -o q.onnx -f --calib x=many.npy --calib b=b4.npy --range mse --profile tensorrt --per-tensor --json
says out '"profile": "tensorrt"'
expect 0 run net.int8.onnx --input x=x.npy --input b=b.npy
expect 0 inspect net.int8.onnx
says out "QuantizeLinear"
expect 2 quantize net.onnx
says err "a net needs samples"

# ---- plans: what would be done; no file ----
rm -f plan.onnx
expect 0 plan net.onnx
says out "scale  Mul       int8" "shift  Add       int8" "plan   net.int8.onnx as int8, qdq, for ort-cpu; nothing is written" "nodes  2 of 2, 4 activations"
silent err
cp out plan.txt
expect 0 quantize net.onnx --dry-run
cmp out plan.txt || fail "--dry-run says something else than plan"
expect 0 quantize net.onnx -o q.onnx -f --calib x=many.npy --calib b=b4.npy --json
cp out made.json
expect 0 quantize net.onnx -o plan.onnx -n --calib x=many.npy --calib b=b4.npy --json
json "all(d[k] == m[k] for m in [__import__('json').load(open('made.json'))]
    for k in ('bytes', 'float_bytes', 'nodes', 'quantized', 'activations', 'samples', 'type', 'profile', 'format'))" \
    "d['out'] == 'plan.onnx'" "d['plan'][0] == {'node': 'scale', 'op': 'Mul', 'fate': 'quantized', 'float_bytes': 12}"
expect 0 plan net.onnx --keep Mul --profile openvino --json
json "[n['fate'] for n in d['plan']] == ['kept', 'quantized']" "d['quantized'] == 1"
expect 0 plan product.onnx --type int4_g32 --method gptq --calib many.npy --json
json "[n['fate'] for n in d['plan']] == ['quantized']" "d['type'] == 'int4_g32'" "d['bytes'] > 0"
expect 0 plan product.onnx --type f16
says out "it    MatMul    f16"
expect 0 plan product.onnx --type int8_dynamic
expect 2 plan open.onnx
says err "dimension 1 of input 'x' is open: give it a size, or samples"
expect 0 plan open.onnx --dim W=3
expect 2 plan net.onnx --range guess
expect 2 plan net.onnx --calib x=wide.npy --calib b=b4.npy
expect 3 plan lacks.onnx
expect 2 plan x.npy
says err "'x.npy' is an array"
[ ! -e plan.onnx ] || fail "a plan wrote its file"

# ---- options that are for something else are refused, by name ----
for o in "--imatrix=i" "--calib-tokens=5" "--recipe=r" "--eval=t" "--tensor-type=a=q8_0" "--transform=smooth" --pure "--max-ram=1G" \
    "--max-kld=1" --any-arch --float-prefix; do
    expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy "$o"
    says err "${o%%=*} is for language models; 'net.onnx' is a net" "try 'nibble quantize --help'"
    expect 2 plan net.onnx "$o"
    says err "${o%%=*} is for language models" "try 'nibble plan --help'"
done
expect 2 quantize net.onnx --importance w.npy
says err "--importance is for arrays; 'net.onnx' is a net"
for o in --per-tensor "--profile=qnn" "--range=mse" "--weights=gptq" "--keep=a" "--dim=N=1" --no-bias-correct "--labels=l"; do
    name=${o%%=*}
    expect 2 quantize "$MODEL" "$o"
    says err "${name/no-/} is for nets" "is a language model"
    expect 2 quantize x.npy --type q8_0 "$o"
    says err "is for nets; 'x.npy' is an array"
done
expect 2 quantize x.npy --type q8_0 --method gptq
says err "--method is for language models and nets; 'x.npy' is an array"
expect 2 bench net.onnx --depth 3
says err "--depth is for language models"
expect 2 convert net.onnx n.onnx --max-ram 1G
says err "--max-ram is for language models"
expect 2 quantize net.onnx a.onnx -o b.onnx --calib x=many.npy
says err "two outputs"

expect 0 quantize net.onnx -o q.onnx -f --calib x=many.npy --calib b=b4.npy --format qoperator
expect 0 inspect q.onnx
says out "com.microsoft.QLinearAdd"
expect 0 run q.onnx --input x=x.npy --input b=b.npy
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --format guess
says err "no format 'guess'"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --format qoperator --profile tensorrt

expect 0 quantize net.onnx -o f.onnx --calib x=many.npy --calib b=b4.npy --format float --encodings f.json
grep -q '"name":"x","enc_type":"PER_TENSOR"' f.json || { echo "FAILED: no encodings of x"; exit 1; }
expect 0 run f.onnx --input x=x.npy --input b=b.npy
expect 1 quantize net.onnx -o g.onnx --calib x=many.npy --calib b=b4.npy --encodings f.json
says err "f.json exists"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --encodings g.json --encodings-version 3
says err "no encodings of version '3'"
expect 2 quantize product.onnx --type f16 --encodings g.json

# ---- activations in 16 bits, weights in 4 ----
SAMPLES="--calib x=many.npy --calib b=b4.npy"
expect 0 quantize net.onnx $SAMPLES --activations uint16
says out "net.w8a16.onnx: weights"
says out "2 of 2 nodes in w8a16"
expect 0 run net.w8a16.onnx --input x=x.npy --input b=b.npy
expect 0 inspect net.w8a16.onnx
says out "com.microsoft.QuantizeLinear"
expect 0 quantize net.onnx -o q.onnx -f $SAMPLES --activations int16 --profile qnn --json
says out '"activation_type": "int16"'
expect 0 quantize product.onnx -o q.onnx -f --calib many.npy --weight-bits 4
says out "1 of 1 nodes in w4a8"
expect 0 run q.onnx --input x.npy
expect 0 quantize product.onnx -o q.onnx -f --calib many.npy --weight-bits 4 --activations uint16 --json
says out '"weight_bits": 4'
expect 2 quantize net.onnx $SAMPLES --activations float64
says err "no activations of 'float64'; expected int8, uint16 or int16"
expect 2 quantize net.onnx $SAMPLES --weight-bits 3
says err "weights of 3 bits; expected 8 or 4"
expect 2 quantize net.onnx $SAMPLES --activations int16 --profile tensorrt
says err "TensorRT takes activations in 8 bits alone"
expect 2 quantize net.onnx $SAMPLES --weight-bits 4 --profile tensorrt
says err "TensorRT takes weights in 8 bits alone"
expect 2 quantize net.onnx $SAMPLES --activations int16 --format qoperator
says err "integer operators are of 8 bits"
expect 2 quantize product.onnx --type int4_g32 --weight-bits 4
says err "widths of activations and weights are of type int8"

# ---- weights alone: no samples needed ----
expect 0 quantize product.onnx --type int4_g32
says out "product.int4_g32.onnx: weights"
says out "1 of 1 nodes in int4_g32, weight SQNR"
expect 0 run product.int4_g32.onnx --input x.npy
expect 0 inspect product.int4_g32.onnx
says out "com.microsoft.MatMulNBits"
expect 0 quantize product.onnx -o q.onnx -f --type int8_g16_asym --calib many.npy --json
says out '"type": "int8_g16_asym"'
expect 0 quantize product.onnx -o q.onnx -f --type int4_g32 --format qdq --json
says out '"format": "qdq"'
expect 0 inspect q.onnx
says out "DequantizeLinear"
expect 0 run q.onnx --input x.npy
expect 2 quantize product.onnx --type int4_g32 --format float
says err "weights in groups have qdq"
expect 3 quantize net.onnx --type int4_g32
says err "nothing to make smaller"
expect 2 quantize net.onnx --type int4_g32 --method gptq
says err "method gptq needs samples"
expect 0 quantize product.onnx --type int8_dynamic
says out "1 of 1 nodes in int8_dynamic, weight SQNR"
expect 0 run product.int8_dynamic.onnx --input x.npy
expect 0 inspect product.int8_dynamic.onnx
says out "MatMulInteger"
expect 3 quantize net.onnx --type int8_dynamic
says err "nothing to make smaller"
expect 0 quantize product.onnx --type f16
says out "product.f16.onnx: weights 12 B (were 24 B), 1 of 1 nodes in f16"
expect 0 run product.f16.onnx --input x.npy
expect 2 quantize net.onnx --type f16 --method gptq
expect 2 quantize net.onnx --type int4_g7
says err "not to 'int4_g7'"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --method gptq
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --dim N
says err "expected NAME=N"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --range guess
says err "no rule 'guess'"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --weights guess
says err "no rule 'guess' for weights"
expect 0 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --weights gptq --no-bias-correct --progress --json
says out '"weights": "gptq"'
expect 0 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --equalize --max-drop 100 --min-sqnr 500
says out "2 stay float for the bound"
expect 0 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --smooth 0.5
says out "inputs smoothed by 0.5"
expect 0 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --smooth auto --json
says out '"smooth": 0.'
expect 2 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --smooth much
says err "a number from 0 to 1, or auto"
expect 2 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --smooth 1.5
says err "by an alpha of 0 to 1"
expect 2 quantize net.onnx -f --type int8_dynamic --smooth 0.5
says err "smoothing is of type int8"
expect 2 quantize net.onnx -f --calib x=many.npy --calib b=b4.npy --max-drop 1 --labels to.npy
says err "2 labels for 4 samples"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b4.npy --profile guess
says err "no profile 'guess'"
expect 2 quantize net.onnx --calib x=wide.npy --calib b=b4.npy
says err "dimension 1 of input 'x' is 3, of its samples 4"
expect 2 quantize net.onnx --calib x=many.npy
says err "input 'b' has no samples"
expect 2 quantize net.onnx --calib x=many.npy --calib b=b.npy
says err "2 samples of input 'b', expected 4"
