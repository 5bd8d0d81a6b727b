# make_onnx.py: small nets in ONNX, written field by field, and arrays, for tests of the command. Standard library alone.
import struct

F32, U8, I8, I64, BOOL, F16 = 1, 2, 3, 7, 9, 10

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
    if dims is None:
        return blob(1, name) + blob(2, blob(1, num(1, kind)))
    shape = b"".join(blob(1, num(1, d) if isinstance(d, int) else blob(2, d) if d else b"") for d in dims)
    return blob(1, name) + blob(2, blob(1, num(1, kind) + blob(2, shape)))
def tensor(name, kind, dims, data):
    return b"".join(num(1, d) for d in dims) + num(2, kind) + blob(8, name) + blob(9, data)
def node(name, op, ins, outs, domain=""):
    return b"".join(blob(1, i) for i in ins) + b"".join(blob(2, o) for o in outs) + blob(3, name) + blob(4, op) + \
        (blob(7, domain) if domain else b"")
def net(path, nodes, inputs, outputs, tensors=()):
    graph = b"".join(blob(1, n) for n in nodes) + blob(2, "g") + b"".join(blob(5, t) for t in tensors) + \
        b"".join(blob(11, value(*v)) for v in inputs) + b"".join(blob(12, value(*v)) for v in outputs)
    open(path, "wb").write(num(1, 8) + blob(7, graph) + blob(8, blob(1, "") + num(2, 13)))
def npy(path, descr, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n" % (descr, shape)
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)
