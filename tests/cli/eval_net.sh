# eval: nets over samples: labels in every form, quantized inputs and outputs, batches, expected outputs, what is refused.
. "$NB_TESTS/support/cli-lib.bash"
cat >make.py <<'PY'
import struct
from make_onnx import *
def floats(*v):
    return struct.pack("<%df" % len(v), *v)
# Scores are the inputs, made a distribution or not.
net("soft.onnx", [node("s", "Softmax", ["x"], ["y"])], [("x", F32, ["N", 3])], [("y", F32, ["N", 3])])
net("two.onnx", [node("a", "Relu", ["x"], ["y"]), node("b", "Neg", ["x"], ["z"])], [("x", F32, [2, 3])],
    [("y", F32, [2, 3]), ("z", F32, [2, 3])])
# Codes in, codes out: y = x, scale 0.5 and zero point 10; scale 0.25 and zero point 128.
grids = [tensor("s1", F32, [], floats(0.5)), tensor("z1", U8, [], bytes([10])),
         tensor("s2", F32, [], floats(0.25)), tensor("z2", U8, [], bytes([128]))]
net("codes.onnx", [node("d", "DequantizeLinear", ["x", "s1", "z1"], ["f"]), node("r", "Relu", ["f"], ["g"]),
                   node("q", "QuantizeLinear", ["g", "s2", "z2"], ["y"])],
    [("x", U8, ["N", 3])], [("y", U8, ["N", 3])], grids)
rows = [(0, 3, 1), (2, 1, 0), (1, 1, 5), (4, 3, 3)] # the largest: 1, 0, 2, 0; the second: 2, 1, 0, 1
npy("x.npy", "<f4", "(4, 3)", floats(*sum(rows, ())))
npy("bytes.npy", "|u1", "(4, 3)", bytes(sum(rows, ())))
npy("ints.npy", "<i4", "(4, 3)", struct.pack("<12i", *sum(rows, ())))
npy("codes.npy", "|u1", "(4, 3)", bytes(v * 2 + 10 for v in sum(rows, ())))
npy("wide.npy", "<f4", "(4, 4)", floats(*range(16)))
npy("three.npy", "<f4", "(3, 3)", floats(*range(9)))
npy("neg.npy", "<f4", "(4, 3)", floats(*(-v for v in sum(rows, ()))))
npy("labels.npy", "|u1", "(4,)", bytes([1, 0, 0, 2]))
npy("far.npy", "<i8", "(4,)", struct.pack("<4q", 1, 0, 3, 2))
npy("minus.npy", "<i8", "(4,)", struct.pack("<4q", 1, 0, -1, 2))
npy("flabels.npy", "<f4", "(4,)", floats(1, 0, 0, 2))
open("labels.txt", "w").write("1\n0\n\n0\r\n2")
open("bare.csv", "w").write("1\n0\n0\n2\n")
open("table.csv", "w").write('file,Class,name\na.jpg,1,"one, or two"\nb.jpg,0,x\nc.jpg, 0 ,"""y"""\n"d,e.jpg",2,z\n')
open("none.csv", "w").write("a,b\n1,2\n")
open("bad.txt", "w").write("1\n0\ncat\n2\n")
PY
PYTHONPATH=$NB_TESTS/support python3 -B make.py
# Two of four are right, and a third among the best two; softmax is a distribution.
expect 0 eval soft.onnx -i x.npy --labels labels.npy --top 2
says out "top-1     50.00 %  2 of 4" "top-2     75.00 %  3 of 4" "cross entropy" "ms a sample"
silent err
expect 0 eval soft.onnx -i x=x.npy --labels labels.npy --json
json "d['right'] == 2 and d['top1'] == 0.5 and d['samples'] == 4 and d['batch'] == 1 and d['classes'] == 3" \
    "d['k'] == 5 and d['right_top_k'] == 4" "d['seconds_per_sample'] > 0" \
    "abs(d['loss'] - 1.5412182494) < 1e-6" "d['output'] == 'y'"
# Labels in other forms, numbers of other types.
for labels in labels.txt bare.csv table.csv; do
    expect 0 eval soft.onnx -i x.npy --labels $labels
    says out "2 of 4"
done
for x in bytes.npy ints.npy; do
    expect 0 eval soft.onnx -i $x --labels labels.npy --json
    json "d['right'] == 2" "abs(d['loss'] - 1.5412182494) < 1e-6"
done
# Batches: of two, and the whole.
for n in 2 4; do
    expect 0 eval soft.onnx -i x.npy --labels labels.npy --dim N=$n --json
    json "d['right'] == 2 and d['batch'] == $n and d['samples'] == 4" "abs(d['loss'] - 1.5412182494) < 1e-6"
done
# One of several outputs; no distribution.
expect 0 eval two.onnx -i x.npy --labels labels.npy --output y
says out "2 of 4" "'y' is no distribution"
expect 0 eval two.onnx -i x.npy --labels labels.npy --output z --json
json "d['right'] == 1 and d['loss'] is None"
# Codes as they are.
expect 0 eval codes.onnx -i codes.npy --labels labels.npy --expected x.npy --json
json "d['right'] == 2" "d['sqnr_db'] is None and d['cosine'] > 0.999999 and d['max_difference'] == 0 and d['rmse'] == 0"
expect 0 eval two.onnx -i x.npy --expected x.npy --output z
says out "SQNR" "-6.0 dB" "cosine   -1.000000" "largest 10"
expect 0 eval two.onnx -i x.npy --expected neg.npy --output z
says out "lossless"
# What cannot be.
expect 2 eval soft.onnx --labels labels.npy
says err "a net needs samples"
expect 2 eval soft.onnx -i x.npy
says err "--labels, or --expected"
expect 2 eval soft.onnx -i three.npy --labels labels.npy
says err "4 labels for 3 samples"
expect 2 eval soft.onnx -i x.npy --labels far.npy
says err "label 3 of sample 2: output 'y' has 3 classes, counted from 0"
expect 2 eval soft.onnx -i x.npy --labels minus.npy
says err "label -1 of sample 2"
expect 2 eval soft.onnx -i wide.npy --labels labels.npy
says err "dimension 1 of input 'x' is 3, of its samples 4"
expect 2 eval soft.onnx -i z=x.npy --labels labels.npy
says err "input 'x' has no samples"
expect 2 eval soft.onnx -i x.npy --labels labels.npy --dim N=3
says err "4 samples of input 'x', which takes 3 at once"
expect 2 eval codes.onnx -i x.npy --labels labels.npy
says err "x.npy holds float32 [4, 3], but input 'x' takes uint8 [1, 3]"
expect 2 eval two.onnx -i x.npy --labels labels.npy
says err "2 outputs: say which of y, z"
expect 2 eval two.onnx -i x.npy --labels labels.npy --output w
says err "has no output 'w'; it has y, z"
expect 2 eval soft.onnx -i x.npy --expected wide.npy
says err "wide.npy has 16 numbers; output 'y' of 4 samples has 12"
expect 3 eval soft.onnx -i x.npy --labels flabels.npy
says err "flabels.npy holds float32 [4]; labels are integers"
expect 3 eval soft.onnx -i x.npy --labels none.csv
says err "none.csv: line 1: expected headings, one of them 'label' or 'class'"
expect 3 eval soft.onnx -i x.npy --labels bad.txt
says err "bad.txt: line 3: expected the number of a class"
expect 3 eval soft.onnx -i x.npy --labels gone.txt
expect 2 eval soft.onnx -i x.npy --labels labels.npy --text some.txt
says err "--text is for language models; 'soft.onnx' is a net"
expect 2 eval "$MODEL" -i x.npy --labels labels.npy
says err "--input is for nets" "is a language model"
