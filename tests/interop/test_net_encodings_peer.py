#!/usr/bin/env python3
"""`nibble quantize --format float --encodings FILE`: the float net with QuantizeLinear and DequantizeLinear put in by its
encodings, as other tools would, gives what nibble's own QDQ file gives in onnxruntime.
"""
import json

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from onnx_session import difference, session  # noqa: E402

RNG = np.random.default_rng(31)


def make(path):
    w = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (5, 8), "b3": (5,)}
    init = [numpy_helper.from_array((RNG.normal(size=s) / 3).astype(np.float32), n) for n, s in w.items()]
    init += [numpy_helper.from_array(RNG.uniform(0.5, 2, 8).astype(np.float32), n) for n in ("gamma", "beta", "mean", "var")]
    n = helper.make_node
    nodes = [n("Conv", ["x", "w1", "b1"], ["a"], pads=[1] * 4), n("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["n"]),
             n("Relu", ["n"], ["r"]), n("Conv", ["r", "w2"], ["c"]), n("Add", ["r", "c"], ["s"]), n("GlobalAveragePool", ["s"], ["p"]),
             n("Flatten", ["p"], ["f"]), n("Gemm", ["f", "w3", "b3"], ["y"], transB=1)]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])], init)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def entries(part, old):
    """(name, scales, offsets) of either version."""
    if old:
        return [(k, [e["scale"] for e in v], [e["offset"] for e in v]) for k, v in part.items()]
    return [(e["name"], e["scale"], e["offset"]) for e in part]


def put_in(m, encodings):
    """q = round(x / scale) - offset, clamped to 0 .. 255; constants are computed here."""
    old = encodings["version"] == "0.6.1"
    init = {t.name: t for t in m.graph.initializer}
    nodes = []
    for name, scale, offset in entries(encodings["param_encodings"], old):
        w = numpy_helper.to_array(init[name])
        axis = next(i for i in range(w.ndim) if w.shape[i] == len(scale)) if len(scale) > 1 else 0
        shape = [-1 if i == axis else 1 for i in range(w.ndim)]
        s, o = np.array(scale, np.float32).reshape(shape), np.array(offset).reshape(shape)
        q = np.clip(np.rint(w / s) - o, 0, 255)
        init[name].CopyFrom(numpy_helper.from_array(((q + o) * s).astype(np.float32), name))
    for name, scale, offset in entries(encodings["activation_encodings"], old):
        m.graph.initializer.extend([numpy_helper.from_array(np.float32(scale[0]), name + "/s"),
                                    numpy_helper.from_array(np.uint8(-offset[0]), name + "/z")])
        out = name in [o.name for o in m.graph.output]
        x, y = (name + "/x", name) if out else (name, name + "/y")
        for node in m.graph.node:
            if out:
                node.output[:] = [x if o == name else o for o in node.output]
            node.input[:] = [y if i == name else i for i in node.input]
        grid = [name + "/s", name + "/z"]
        nodes += [helper.make_node("QuantizeLinear", [x] + grid, [name + "/q"]), helper.make_node("DequantizeLinear", [name + "/q"] + grid, [y])]
    left, known = nodes + list(m.graph.node), {i.name for i in m.graph.input} | {t.name for t in m.graph.initializer} | {""}
    del m.graph.node[:]
    while left:
        now = [k for k in left if all(i in known for i in k.input)]
        m.graph.node.extend(now)
        known.update(o for k in now for o in k.output)
        left = [k for k in left if k not in now]
    return m


def main():
    with peer.Folder() as folder:
        make(folder("net.onnx"))
        samples = RNG.normal(size=(32, 3, 8, 8)).astype(np.float32)
        np.save(folder("samples.npy"), samples)
        files = {f: folder(f + ".onnx") for f in ("qdq", "float")}
        for version in "1.0.0", "0.6.1":
            for form, out in files.items():
                peer.nibble("quantize", folder("net.onnx"), "-o", out, "-f", "--calib", folder("samples.npy"), "--profile", "qnn",
                            "--format", form, "--encodings", folder(form + ".json"), "--encodings-version", version)
            with open(folder("qdq.json"), encoding="utf-8") as f, open(folder("float.json"), encoding="utf-8") as g:
                encodings = json.load(f)
                peer.check(encodings == json.load(g), "version %s: the same encodings beside both files" % version)
            plain = onnx.load(files["float"])
            onnx.checker.check_model(plain, full_check=True)
            names = {o for n in plain.graph.node for o in n.output} | {"x"} | {t.name for t in plain.graph.initializer}
            old = version == "0.6.1"
            said = [e[0] for k in ("activation_encodings", "param_encodings") for e in entries(encodings[k], old)]
            peer.check(len(said) == 10 and not set(said) - names, "version %s: %d names of the float net" % (version, len(said)))
            ours = session(files["qdq"], plain=True).run(None, {"x": samples})[0]
            theirs = session(put_in(plain, encodings).SerializeToString(), plain=True).run(None, {"x": samples})[0]
            y = [s for n, s, _ in entries(encodings["activation_encodings"], old) if n == "y"][0][0]
            steps = np.abs(ours - theirs).max() / y
            peer.check(steps < 1.01 and (np.abs(ours - theirs) > y / 2).mean() < 0.02, "version %s: %.2f steps of the output apart, %.1e" % (version, steps, difference(theirs, ours)))


main()
