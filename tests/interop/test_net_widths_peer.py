#!/usr/bin/env python3
"""`nibble quantize --activations uint16|int16` and `--weight-bits 4`: onnxruntime loads the files, whichever operator set the net is
of, and gives what nibble gives; onnx's checker takes them.

A net with every operator that has an integer form; in $NIBBLE_VISION, if it is set, ResNet-8 and PP-OCR, of which 16 bits are
worth more than 8.
"""
import json
import os

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import executor  # noqa: E402
from onnx_session import session  # noqa: E402

RNG = np.random.default_rng(31)
FORMS = [["--activations", "uint16"], ["--activations", "int16"], ["--weight-bits", "4"],
         ["--weight-bits", "4", "--activations", "uint16", "--weights", "gptq"]]
YOUNG = {TensorProto.INT16, TensorProto.UINT16, TensorProto.INT4}


def make(path, opset):
    w = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (16, 1, 3, 3), "w4": (32, 20), "b4": (20,), "w5": (20, 7)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(np.float32), n) for n, s in w.items()]
    init += [numpy_helper.from_array(np.array([0, -1], np.int64), "shape"),
             numpy_helper.from_array(np.full((1, 8, 1, 1), 0.7, np.float32), "part")]
    n = helper.make_node
    nodes = [n("Conv", ["x", "w1", "b1"], ["a"], pads=[1] * 4), n("Relu", ["a"], ["a1"]), n("MaxPool", ["a1"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
             n("Conv", ["m", "w2"], ["c"]), n("Add", ["m", "c"], ["s"]), n("Mul", ["s", "part"], ["p"]), n("Sigmoid", ["p"], ["g"]),
             n("Concat", ["p", "g"], ["k"], axis=1), n("Conv", ["k", "w3"], ["d"], pads=[1] * 4, group=16), n("GlobalAveragePool", ["d"], ["h"]),
             n("Concat", ["h", "h"], ["u"], axis=1), n("Reshape", ["u", "shape"], ["f"]), n("Gemm", ["f", "w4", "b4"], ["e"]), n("MatMul", ["e", "w5"], ["y"])]
    graph = helper.make_graph(nodes, "all", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 7])], init)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)


def check_file(path, opset):
    """Types and domains of the quantize nodes; the graph as a whole."""
    m = onnx.load(path)
    onnx.checker.check_model(m, full_check=True)
    types = {t.name: t.data_type for t in m.graph.initializer}
    pairs = [n for n in m.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    young = [n for n in pairs if types[n.input[2]] in YOUNG]
    want = "" if opset >= 21 else "com.microsoft"
    return len(young) > 0 and all(n.domain == want for n in young) and all(n.domain == "" for n in pairs if n not in young)


def decibels(want, got):
    return 10 * np.log10((want ** 2).sum() / max(((want - got) ** 2).sum(), 1e-30))


def compare(folder, label, path, port, samples, opset, options):
    """The output's ratio. nibble gives what onnxruntime gives node by node, to steps of 8 bits, or 55 dB in 16; with its rewrites it is
    as near to the float net."""
    out = folder("out.onnx")
    np.save(folder("samples.npy"), samples)
    said = json.loads(peer.nibble("quantize", path, "-o", out, "-f", "--json", "--profile", "qnn", "--calib", folder("samples.npy"), *options))
    fine, wide = check_file(out, opset), "--activations" in options
    ours = executor.Executor(out, {port: (1,) + samples.shape[1:]})
    theirs, rewritten, real = session(out, plain=True), session(out, exact=True), session(path)
    name, want, got, fast, made = theirs.get_outputs()[0].name, [], [], [], []
    for i in range(min(len(samples), 8)):
        x = {port: samples[i:i + 1]}
        for to, s in (want, real), (got, theirs), (fast, rewritten):
            to.append(s.run([name], x)[0])
        made.append(ours.run(x)[name])
    ours.close()
    want, got, fast, made = map(np.array, (want, got, fast, made))
    db, also = decibels(want, got), decibels(want, fast)
    apart = np.abs(got - made).max() / np.abs(got).max()
    same = decibels(got, made) > 55 if wide else apart <= 3 / 255
    peer.check(fine and same and abs(db - also) < 1, "%s: %s: %.1f dB in onnxruntime (%.1f with its rewrites, nibble says %.1f), %.1e apart"
               % (label, " ".join(options), db, also, said["sqnr_db"], apart))
    return db


def page(rng, side):
    """Lines of strokes like letters on a page."""
    p = np.ones((side, side), np.float32)
    for y in range(10, side - 20, 40):
        for x in range(12, side - 12, 16):
            if rng.random() < 0.8:
                p[y:y + 18, x:x + 3] = 0
                p[y + 8:y + 11, x:x + 10] = 0
    return ((p - 0.45) / 0.225)[None].repeat(3, 0).astype(np.float32)


def main():
    with peer.Folder() as folder:
        samples = RNG.normal(size=(24, 3, 16, 16)).astype(np.float32)
        for opset in 13, 21:
            make(folder("net.onnx"), opset)
            base = compare(folder, "opset %d" % opset, folder("net.onnx"), "x", samples, opset, FORMS[2])
            for form in FORMS:
                db = compare(folder, "opset %d" % opset, folder("net.onnx"), "x", samples, opset, form)
                peer.check(db > 30 if "4" not in form else db >= base - 1, "opset %d: %s is worth %.1f dB" % (opset, " ".join(form), db))
        vision = os.environ.get("NIBBLE_VISION")
        if not vision:
            return
        x = np.load(os.path.join(vision, "cifar", "test_images_1000x32x32x3_uint8.npy"))[:32].astype(np.float32)
        nets = [("resnet8_cifar10_float", "input_1", np.ascontiguousarray(x.transpose(0, 3, 1, 2)), 13, 3.0),
                ("ppocrv3_det", "x", np.stack([page(np.random.default_rng(i), 160) for i in range(8)]), 14, 4.0)]
        for name, port, samples, opset, gain in nets:
            path = os.path.join(vision, "models", name + ".onnx")
            wide = compare(folder, name, path, port, samples, opset, FORMS[0])
            np.save(folder("samples.npy"), samples)
            said = json.loads(peer.nibble("quantize", path, "-o", folder("8.onnx"), "-f", "--json", "--profile", "qnn", "--calib", folder("samples.npy")))
            peer.check(wide > said["sqnr_db"] + gain, "%s: %.1f dB with 16 bits, %.1f dB with 8" % (name, wide, said["sqnr_db"]))


main()
