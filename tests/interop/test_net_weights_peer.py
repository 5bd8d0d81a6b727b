#!/usr/bin/env python3
"""Nets whose weights alone nibble has made small: onnxruntime loads them, and gives what nibble gives.

MatMulNBits of every grid that nibble writes, with samples and without.
"""
import json

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import executor  # noqa: E402
from onnx_session import difference, session  # noqa: E402

GRIDS = ["int4_g16", "int4_g32", "int4_g64_asym", "int4_g128", "int4_g256_asym", "int4_g32_fz",
         "int8_g16_asym", "int8_g32", "int8_g128", "int8_g256_asym"]
RNG = np.random.default_rng(11)


def make(path):
    """x (2, 5, 100) through products of three kinds, widths that blocks do not divide."""
    w = {"w1": (100, 96), "w2": (40, 96), "w3": (40, 33), "b": (40,)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / 8).astype(np.float32), n) for n, s in w.items()]
    init.append(numpy_helper.from_array(np.array([-1, 96], np.int64), "shape"))
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Reshape", ["r", "shape"], ["flat"]),
             helper.make_node("Gemm", ["flat", "w2", "b"], ["c"], transB=1, alpha=0.5, name="second"),
             helper.make_node("MatMul", ["c", "w3"], ["y"], name="third")]
    graph = helper.make_graph(nodes, "products", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 100])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [10, 33])], init)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)


def quantize(folder, *options):
    out = folder("out.onnx")
    said = json.loads(peer.nibble("quantize", folder("net.onnx"), "-o", out, "-f", "--json", *options))
    return out, said


def main():
    with peer.Folder() as folder:
        make(folder("net.onnx"))
        x = RNG.normal(size=(2, 5, 100)).astype(np.float32)
        np.save(folder("samples.npy"), RNG.normal(size=(64, 5, 100)).astype(np.float32))
        want = session(folder("net.onnx")).run(None, {"x": x})[0]
        for grid in GRIDS:
            for samples in [], ["--calib", folder("samples.npy")]:
                out, said = quantize(folder, "--type", grid, *samples)
                e = executor.Executor(out)
                ours, theirs = e.run({"x": x})["y"], session(out).run(None, {"x": x})[0]
                e.close()
                d = difference(ours, theirs)
                db = 10 * np.log10((want ** 2).sum() / ((want - theirs) ** 2).sum())
                ok = said["quantized"] == 3 and d < 1e-5 and db > (14 if grid.startswith("int4") else 35)
                peer.check(ok, "%s%s: %.1f dB from the float net, nibble and onnxruntime differ by %.1e"
                           % (grid, " with samples" if samples else "", db, d))


main()
