#!/usr/bin/env python3
"""Every ONNX file at hand is read, written again, and then the same message; `onnx` checks what was written.

Files: Debian's libonnx-testdata, and the folder in $NIBBLE_VISION if it is set. The same means: field by
field after parsing, but for what nibble writes in one way only: tensors as raw data, a version, domain or
attribute's value that is written out though it is the default.
"""
import glob
import os
import subprocess

import peer

peer.need("onnx", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

COPY = os.path.join(os.path.dirname(peer.NIBBLE), "tests", "onnx-copy")
TEST_DATA = "/usr/lib/python3/dist-packages/onnx/backend/test/data"
SINGLE = {1: "f", 2: "i", 3: "s"}


def plain_tensor(t):
    """Numbers as raw data, whichever field had them."""
    if t.data_type != onnx.TensorProto.STRING:
        raw = t.raw_data
        if not t.HasField("raw_data"):
            raw = numpy_helper.from_array(numpy_helper.to_array(t)).raw_data
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "data_location"):
            t.ClearField(field)
        t.raw_data = raw
        if not raw:
            t.ClearField("raw_data")
    if not t.HasField("data_location") or t.data_location == 0:
        t.ClearField("data_location")


def plain_graph(g):
    for t in g.initializer:
        plain_tensor(t)
    for n in g.node:
        for a in n.attribute:
            if a.type in SINGLE and not a.HasField(SINGLE[a.type]):
                setattr(a, SINGLE[a.type], getattr(a, SINGLE[a.type]))
            for t in ([a.t] if a.HasField("t") else []) + list(a.tensors):
                plain_tensor(t)
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                plain_graph(inner)


def plain(m):
    if m.model_version == 0:
        m.ClearField("model_version")
    for o in m.opset_import:
        o.domain = o.domain
    plain_graph(m.graph)
    return m


def load(path):
    m = onnx.load(path)  # and the external data
    for t in m.graph.initializer:
        del t.external_data[:]
    return plain(m)


def valid(path):
    try:
        onnx.checker.check_model(path)
        return None
    except Exception as e:  # the checker has several, all without a common base
        return str(e)


def find_files():
    files = sorted(glob.glob(TEST_DATA + "/**/*.onnx", recursive=True))
    real = sorted(glob.glob(os.environ["NIBBLE_VISION"] + "/**/*.onnx", recursive=True)) \
        if os.environ.get("NIBBLE_VISION") else []
    if not files + real:
        peer.skip("no ONNX files: apt-get install libonnx-testdata, or set NIBBLE_VISION")
    return files, real


def copy_all(files, folder, above):
    outs = [folder("%d.onnx" % i) for i in range(len(files))]
    lines = "".join("%s\t%s\t%d\n" % (a, b, above) for a, b in zip(files, outs))
    r = subprocess.run([COPY], input=lines, capture_output=True, text=True, check=True)
    said = r.stdout.splitlines()
    for path, line in zip(files, said):
        if line != "ok":
            peer.check(False, "%s: %s" % (path, line))
    return outs


def check_files(files, folder, above, what):
    refused = 0
    for path, out in zip(files, copy_all(files, folder, above)):
        before = valid(path)
        after = valid(out)
        refused += before is not None
        if after is not None and before is None:
            peer.check(False, "%s, written again: %s" % (path, after))
        if load(path) != load(out):
            peer.check(False, "%s: not the same message when written again" % path)
    peer.check(True, "%d %s read, written, and the same (%d of them onnx.checker refuses as they are)"
               % (len(files), what, refused))


def check_numbers(folder):
    """A tensor of each type, made by onnx, comes back with its bytes."""
    rng = np.random.default_rng(3)
    tensors = []
    for name, number in sorted(onnx.TensorProto.DataType.items()):
        if name in ("UNDEFINED", "STRING") or number > 26:  # newer than the types nibble knows
            continue
        dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
        x = np.abs(rng.standard_normal((3, 5)) * 3).astype(dtype)
        tensors.append(numpy_helper.from_array(x, name))
        tensors.append(onnx.helper.make_tensor(name + "_numbers", number, (3, 5), x.flatten()))
    graph = onnx.helper.make_graph([], "types", [], [], tensors)
    onnx.save(onnx.helper.make_model(graph), folder("types.onnx"))
    copied = onnx.load(copy_all([folder("types.onnx")], folder, -1)[0])
    for a, b in zip(tensors, copied.graph.initializer):
        x, y = numpy_helper.to_array(a), numpy_helper.to_array(b)
        if a.name != b.name or x.dtype != y.dtype or x.tobytes() != y.tobytes():
            peer.check(False, "type %s" % a.name)
    peer.check(True, "%d tensors of every type, raw and as numbers" % len(tensors))


def main():
    if not os.access(COPY, os.X_OK):
        peer.skip("no %s: build the tests" % COPY)
    files, real = find_files()
    with peer.Folder() as folder:
        check_numbers(folder)
        check_files(files, folder, -1, "files of libonnx-testdata")
        if real:
            check_files(real, folder, -1, "nets of $NIBBLE_VISION")
            check_files(real, folder, 1024, "nets of $NIBBLE_VISION with external data")


main()
