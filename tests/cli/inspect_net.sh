# inspect: a net in ONNX, text and JSON, with external data that is not there; broken ones.
. "$NB_TESTS/support/cli-lib.bash"
python3 - <<'PY'
def varint(v):
    out = b""
    v &= (1 << 64) - 1
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])
def num(field, v):
    return varint(field << 3) + varint(v)
def blob(field, v):
    v = v.encode() if isinstance(v, str) else v
    return varint(field << 3 | 2) + varint(len(v)) + v
def value(name, kind, dims):
    shape = b"".join(blob(1, num(1, d) if isinstance(d, int) else blob(2, d) if d else b"") for d in dims)
    return blob(1, name) + blob(2, blob(1, num(1, kind) + blob(2, shape)))
def tensor(name, kind, dims, data):
    return b"".join(num(1, d) for d in dims) + num(2, kind) + blob(8, name) + data
w = tensor("w", 1, [2, 3], blob(9, bytes(24)))
far = tensor("far", 3, [4096], b"".join(blob(13, blob(1, k) + blob(2, v)) for k, v in
                                        [("location", "far.bin"), ("offset", "4096"), ("length", "4096")]) + num(14, 1))
c = tensor("", 22, [5], blob(9, bytes(3)))
const = blob(2, "c") + blob(4, "Constant") + blob(5, blob(1, "value") + num(20, 4) + blob(5, c))
gemm = blob(1, "x") + blob(1, "w") + blob(2, "h") + blob(3, "first") + blob(4, "Gemm")
other = blob(1, "h") + blob(2, "y") + blob(4, "QGemm") + blob(7, "com.microsoft")
def model(nodes):
    graph = b"".join(blob(1, n) for n in nodes) + blob(2, "tiny") + blob(5, w) + blob(5, far) + \
        blob(11, value("x", 1, ["batch", 3, None])) + blob(11, value("w", 1, [2, 3])) + blob(12, value("y", 1, []))
    return num(1, 8) + blob(2, "by hand") + blob(3, "1.5") + blob(7, graph) + blob(8, blob(1, "") + num(2, 17)) + \
        blob(8, blob(1, "com.microsoft") + num(2, 1)) + blob(14, blob(1, "author") + blob(2, "us\nall"))
good = model([const, gemm, other])
open("net.onnx", "wb").write(good)
open("noname", "wb").write(good)
open("short.onnx", "wb").write(good[:-1])
open("twice.onnx", "wb").write(model([gemm, gemm]))
open("text.onnx", "w").write("hello, this is no net\n")
PY
expect 0 inspect net.onnx
silent err
says out "name          tiny" "onnx, IR version 8" "by hand 1.5" "ai.onnx 17" "com.microsoft 1" \
    "inputs        x  float32 [batch, 3, ?]" "outputs       y  float32 []" "3 nodes" "far.bin: 1 tensors" \
    "4.11 k parameters in 3 tensors" "com.microsoft.QGemm" "int4"
expect 0 inspect net.onnx --json --tensors --meta
json "d['dialect'] == 'onnx'" "d['ir_version'] == 8" "d['opsets'] == {'ai.onnx': 17, 'com.microsoft': 1}" \
    "d['inputs'] == [{'name': 'x', 'type': 'float32', 'shape': ['batch', 3, None]}]" \
    "d['outputs'] == [{'name': 'y', 'type': 'float32', 'shape': []}]" \
    "d['operators'] == {'Constant': 1, 'Gemm': 1, 'com.microsoft.QGemm': 1}" \
    "d['parameters'] == 6 + 4096 + 5" "d['tensor_bytes'] == 24 + 4096 + 3" \
    "d['constants']['int4'] == {'tensors': 1, 'elements': 5, 'bytes': 3}" \
    "d['external_data'] == [{'file': 'far.bin', 'tensors': 1, 'bytes': 4096}]" \
    "[t['name'] for t in d['tensors']] == ['w', 'far', 'c']" "d['tensors'][1]['file'] == 'far.bin'" \
    "d['meta'] == {'author': 'us\nall'}"
expect 0 inspect net.onnx --tensors --meta
says out "external      far  int8 [4096]" "author = us\\nall"
expect 0 inspect noname
says out "IR version 8"
expect 2 inspect net.onnx --hash
says err "for models"
expect 3 inspect short.onnx
says err "short.onnx: Model at byte"
expect 3 inspect twice.onnx
says err "twice.onnx: node 'first' (Gemm): output 'h' is defined twice"
expect 3 inspect text.onnx
says err "not an ONNX model"
expect 2 quantize net.onnx -o q.gguf --type q8_0
says err "nets are quantized to int8"
