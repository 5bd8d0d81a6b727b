#!/usr/bin/env python3
"""Nets whose weights alone nibble has made small, or that it has halved: onnxruntime loads them, and gives what nibble
gives.

MatMulNBits of every grid that nibble writes, with samples and without, and the same codes behind DequantizeLinear in blocks; products whose inputs are quantized as they come; float16, of a net with operators and constants that
do not take it, and of the real nets in $NIBBLE_VISION if that is set.
"""
import json
import os

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


def make_half(path):
    """Convolutions, a resize, a norm by hand with an epsilon that float16 does not have, a constant beyond it."""
    w = {"w1": (8, 3, 3, 3), "w2": (4, 8, 1, 1)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / 4).astype(np.float32), n) for n, s in w.items()]
    init += [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in
             (("eps", 1e-12), ("scales", [1, 1, 2, 2]), ("mask", [[[[-1e9]]]]))]
    nodes = [helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Resize", ["b", "", "scales"], ["c"], mode="nearest", name="resize"),
             helper.make_node("ReduceMean", ["c"], ["mean"], axes=[2, 3]), helper.make_node("Sub", ["c", "mean"], ["d"]),
             helper.make_node("Mul", ["d", "d"], ["square"]), helper.make_node("ReduceMean", ["square"], ["var"], axes=[2, 3]),
             helper.make_node("Add", ["var", "eps"], ["safe"]), helper.make_node("Sqrt", ["safe"], ["root"]),
             helper.make_node("Div", ["d", "root"], ["norm"]), helper.make_node("Conv", ["norm", "w2"], ["e"]),
             helper.make_node("Greater", ["e", "mean0"], ["yes"]), helper.make_node("Where", ["yes", "e", "mask"], ["y"])]
    init.append(numpy_helper.from_array(np.zeros((1,), np.float32), "mean0"))
    graph = helper.make_graph(nodes, "half", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 16, 16]),
                               helper.make_tensor_value_info("norm", TensorProto.FLOAT, ["N", 8, 16, 16])], init)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)


def halve(folder, path, label, x, bound, *options):
    """As nibble and as onnxruntime run it: near each other, and near the float net."""
    out = folder("half.onnx")
    said = json.loads(peer.nibble("quantize", path, "-o", out, "-f", "--json", "--type", "f16", *options))
    onnx.checker.check_model(onnx.load(out), full_check=True)
    ours, theirs = executor.Executor(out, {k: v.shape for k, v in x.items()}), session(out)
    names = [o.name for o in theirs.get_outputs()]
    made, got = ours.run(x), dict(zip(names, theirs.run(None, x)))
    ours.close()
    want = dict(zip(names, session(path).run(None, x)))
    apart = max(difference(made[n], got[n]) for n in names)
    away = max(difference(got[n], want[n]) for n in names)
    peer.check(apart <= bound and away <= bound and said["bytes"] < 0.8 * said["float_bytes"],
               "%s in float16: %d of %d nodes, %.1e from the float net, nibble and onnxruntime differ by %.1e"
               % (label, said["quantized"], said["nodes"], away, apart))
    return said


def half(folder):
    make_half(folder("half_float.onnx"))
    x = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    x[:, :, 4:] = 0  # parts without variance
    said = halve(folder, folder("half_float.onnx"), "a small net", {"x": x}, 5e-3)
    peer.check(said["beyond_constants"] == 2 and said["beyond_tensors"] == 2, "two constants stay float32: 1e-12 and -1e9")
    vision = os.environ.get("NIBBLE_VISION")
    if not vision:
        return
    for name, port, shape, most in (("resnet8_cifar10_float", "input_1", (1, 3, 32, 32), 255),
                                    ("ultraface_rfb320", "input", (1, 3, 240, 320), 1),
                                    ("magika_standard_v1", "bytes", (1, 1536), 255)):
        x = np.floor(RNG.uniform(0, most + 1, shape)) if most > 1 else RNG.uniform(0, 1, shape)
        np.save(folder("x.npy"), x.astype(np.float32))
        more = ["--calib", folder("x.npy")] if name.startswith("magika") else []  # whose values pass 65504
        halve(folder, os.path.join(vision, "models", name + ".onnx"), name, {port: x.astype(np.float32)}, 2e-2, *more)


def dynamic(folder, x, want):
    """Inputs quantized as they come: onnxruntime joins the nodes, and gives what nibble gives."""
    out, said = quantize(folder, "--type", "int8_dynamic")
    onnx.checker.check_model(onnx.load(out), full_check=True)
    e = executor.Executor(out)
    ours, theirs = e.run({"x": x})["y"], session(out, exact=True).run(None, {"x": x})[0]
    e.close()
    d = difference(ours, theirs)
    db = 10 * np.log10((want ** 2).sum() / ((want - theirs) ** 2).sum())
    # a code of an input on the edge falls to one side or the other
    peer.check(said["quantized"] == 3 and d < 2e-2 and db > 30,
               "int8_dynamic: %.1f dB from the float net, nibble and onnxruntime differ by %.1e" % (db, d))


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
                if grid.endswith("_fz"):
                    continue
                # the same codes as ONNX's own nodes
                out, said = quantize(folder, "--type", grid, "--format", "qdq", *samples)
                onnx.checker.check_model(onnx.load(out), full_check=True)
                e = executor.Executor(out)
                again, theirs = e.run({"x": x})["y"], session(out, exact=True).run(None, {"x": x})[0]
                e.close()
                peer.check(difference(again, ours) < 1e-6 and difference(again, theirs) < 1e-5,
                           "%s%s as DequantizeLinear: %.1e from MatMulNBits, nibble and onnxruntime differ by %.1e"
                           % (grid, " with samples" if samples else "", difference(again, ours), difference(again, theirs)))
        dynamic(folder, x, want)
        half(folder)


main()
