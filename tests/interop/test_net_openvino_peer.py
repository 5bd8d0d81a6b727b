#!/usr/bin/env python3
"""QDQ files of `nibble quantize --profile openvino` in OpenVINO: they compile, and give what nibble gives, to a few steps of
the output's grid. Weights in groups, other widths and float16 files likewise.

OpenVINO is 50 MB and not among the requirements of these tests: without it this one is skipped. Its 8-bit kernels compile
the files too; figures are compared with those kernels switched off, because on a CPU without VNNI their pairs of products
saturate at 16 bits, as those of onnxruntime do.
"""
import os

import peer

peer.need("openvino", "onnx", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import openvino  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import executor  # noqa: E402

RNG = np.random.default_rng(41)


def make(path):
    w = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (8, 1, 3, 3), "w4": (8, 64), "b4": (64,), "w5": (64, 5)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / 3).astype(np.float32), n) for n, s in w.items()]
    n = helper.make_node
    nodes = [n("Conv", ["x", "w1", "b1"], ["a"], pads=[1] * 4), n("Relu", ["a"], ["r"]), n("Conv", ["r", "w2"], ["c"]), n("Add", ["r", "c"], ["s"]),
             n("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[2, 2]), n("Conv", ["m", "w3"], ["d"], group=8, pads=[1] * 4),
             n("Sigmoid", ["d"], ["g"]), n("GlobalAveragePool", ["g"], ["p"]), n("Flatten", ["p"], ["f"]), n("Gemm", ["f", "w4", "b4"], ["e"]),
             n("MatMul", ["e", "w5"], ["y"])]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])], init)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)


def compare(core, label, path, port, samples, bound):
    core.compile_model(core.read_model(path), "CPU")
    exact = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO",
             "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}  # which would round inputs of products with narrow weights
    compiled = core.compile_model(core.read_model(path), "CPU", exact)
    ours = executor.Executor(path, {port: (1,) + samples.shape[1:]})
    worst, most = 0.0, 0.0
    for i in range(min(len(samples), 8)):
        theirs = compiled({port: samples[i:i + 1]})[0]
        mine = next(iter(ours.run({port: samples[i:i + 1]}).values()))
        worst, most = max(worst, float(np.abs(mine - theirs).max())), max(most, float(np.abs(theirs).max()))
    ours.close()
    peer.check(worst <= bound * most, "%s: nibble and OpenVINO %s differ by %.2g of the largest output" % (label, openvino.__version__.split("-")[0], worst / most))


def main():
    core = openvino.Core()
    with peer.Folder() as folder:
        make(folder("net.onnx"))
        samples = RNG.normal(size=(32, 3, 8, 8)).astype(np.float32)
        np.save(folder("samples.npy"), samples)
        calib = ["--calib", folder("samples.npy")]
        compare(core, "the float net", folder("net.onnx"), "x", samples, 1e-4)
        for label, bound, options in (("profile openvino", 0.03, calib + ["--profile", "openvino"]), ("profile ort-cpu", 0.03, calib),
                                      ("int4_g32", 1e-3, ["--type", "int4_g32"]),
                                      ("int4_g32 in ONNX's own nodes", 1e-3, ["--type", "int4_g32", "--format", "qdq"]),
                                      ("activations in 16 bits", 1e-3, calib + ["--profile", "openvino", "--activations", "uint16"]),
                                      ("weights in 4 bits", 0.03, calib + ["--profile", "openvino", "--weight-bits", "4"]), ("float16", 1e-2, ["--type", "f16"])):
            peer.nibble("quantize", folder("net.onnx"), "-o", folder("out.onnx"), "-f", *options)
            compare(core, label, folder("out.onnx"), "x", samples, bound)
        vision = os.environ.get("NIBBLE_VISION")
        if vision:
            x = np.load(os.path.join(vision, "cifar", "test_images_1000x32x32x3_uint8.npy"))[:64].astype(np.float32)
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            np.save(folder("samples.npy"), x)
            peer.nibble("quantize", os.path.join(vision, "models", "resnet8_cifar10_float.onnx"), "-o", folder("out.onnx"), "-f",
                        "--profile", "openvino", *calib)
            compare(core, "resnet8", folder("out.onnx"), "input_1", x, 0.05)


main()
