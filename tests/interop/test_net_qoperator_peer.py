#!/usr/bin/env python3
"""`nibble quantize --format qoperator`: onnxruntime loads the file, and it gives what the QDQ file gives, to one step of
the output's grid; nibble runs it as onnxruntime does.

A net with every operator that has an integer form; in $NIBBLE_VISION, if it is set, ResNet-8.
"""
import collections
import os

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import executor  # noqa: E402
from onnx_session import session  # noqa: E402

RNG = np.random.default_rng(21)
WANTED = ("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool",
          "QLinearLeakyRelu", "QLinearSigmoid", "QLinearConcat", "MaxPool", "Transpose", "Reshape")


def make(path):
    w = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "b2": (8,), "w3": (16, 1, 3, 3), "w4": (32, 20), "b4": (20,), "w5": (20, 6)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(np.float32), n) for n, s in w.items()]
    init += [numpy_helper.from_array(np.array([0, -1], np.int64), "shape"), numpy_helper.from_array(np.float32(0), "low"),
             numpy_helper.from_array(np.float32(6), "high"), numpy_helper.from_array(np.full((1, 8, 1, 1), 0.7, np.float32), "part")]
    n = helper.make_node
    nodes = [n("Conv", ["x", "w1", "b1"], ["a"], pads=[1] * 4), n("Relu", ["a"], ["a1"]), n("MaxPool", ["a1"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
             n("Conv", ["m", "w2", "b2"], ["c"]), n("Clip", ["c", "low", "high"], ["c1"]), n("Add", ["m", "c1"], ["s"]),
             n("Mul", ["s", "part"], ["p"]), n("Sigmoid", ["p"], ["g"]), n("Concat", ["p", "g"], ["k"], axis=1),
             n("Conv", ["k", "w3"], ["d"], pads=[1] * 4, group=16), n("LeakyRelu", ["d"], ["l"], alpha=0.1),
             n("AveragePool", ["l"], ["v"], kernel_shape=[2, 2], strides=[2, 2]), n("GlobalAveragePool", ["l"], ["h"]),
             n("GlobalAveragePool", ["v"], ["h2"]), n("Concat", ["h", "h2"], ["u"], axis=1), n("Transpose", ["u"], ["t"], perm=[0, 2, 3, 1]),
             n("Reshape", ["t", "shape"], ["f"]), n("Gemm", ["f", "w4", "b4"], ["e"]), n("MatMul", ["e", "w5"], ["y"])]
    graph = helper.make_graph(nodes, "all", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])], init)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)


def step_of(m, name):
    """The scale of the DequantizeLinear before an output."""
    init = {t.name: numpy_helper.to_array(t) for t in m.graph.initializer}
    by = {o: node for node in m.graph.node for o in node.output}
    node = by[name]
    while node.op_type != "DequantizeLinear":
        node = by[node.input[0]]
    return float(init[node.input[1]])


def compare(folder, label, path, port, samples, wanted, profile):
    files = {}
    np.save(folder("samples.npy"), samples)
    for form in "qdq", "qoperator":
        files[form] = folder(form + ".onnx")
        peer.nibble("quantize", path, "-o", files[form], "-f", "--calib", folder("samples.npy"), "--format", form, "--profile", profile)
    m = onnx.load(files["qoperator"])
    onnx.checker.check_model(m)
    count = collections.Counter(n.op_type for n in m.graph.node)
    missing = [op for op in wanted if not count[op]]
    left = sum(count[op] for op in ("Conv", "MatMul", "Gemm", "Relu", "Clip"))
    peer.check(not missing and left == 0, "%s: %s" % (label, ", ".join("%s %d" % c for c in sorted(count.items()))))
    ours = executor.Executor(files["qoperator"], {port: (1,) + samples.shape[1:]})
    qdq, whole = session(files["qdq"], exact=True), session(files["qoperator"], exact=True)
    out = whole.get_outputs()[0].name
    step = step_of(m, out)
    steps = [0.0, 0.0]
    for i in range(min(len(samples), 8)):
        x = {port: samples[i:i + 1]}
        a, b, c = qdq.run([out], x)[0], whole.run([out], x)[0], ours.run(x)[out]
        steps = [max(steps[0], np.abs(a - b).max() / step), max(steps[1], np.abs(b - c).max() / step)]
    ours.close()
    peer.check(steps[0] < 1.01 and steps[1] < 2.01, "%s: onnxruntime's two files are %.2f steps of the output apart, nibble and "
               "onnxruntime %.2f" % (label, steps[0], steps[1]))


def main():
    with peer.Folder() as folder:
        make(folder("net.onnx"))
        samples = RNG.normal(size=(16, 3, 16, 16)).astype(np.float32)
        for profile in "ort-cpu", "qnn":
            compare(folder, "all operators, " + profile, folder("net.onnx"), "x", samples, WANTED, profile)
        vision = os.environ.get("NIBBLE_VISION")
        if vision:
            x = np.load(os.path.join(vision, "cifar", "test_images_1000x32x32x3_uint8.npy"))[:32].astype(np.float32)
            compare(folder, "resnet8", os.path.join(vision, "models", "resnet8_cifar10_float.onnx"), "input_1",
                    np.ascontiguousarray(x.transpose(0, 3, 1, 2)), ("QLinearConv", "QGemm", "QLinearAdd"), "ort-cpu")


main()
