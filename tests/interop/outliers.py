"""Channels of a net's norms made large, and made good behind them: what such a net computes stays, but a grid that holds
those channels leaves little to all others. Nets with random weights have none of their own; trained ones do."""
import numpy as np
import onnx
from onnx import numpy_helper


def add(source, target, factor, every=61):
    """Every so many channels of each LayerNormalization times factor; products that read it have their rows divided,
    whoever else reads it gets it through a Mul. Returns how many norms there were."""
    m = onnx.load(source)
    g = m.graph
    while True:  # constants that are copies of others, as exporters write them
        copy = next((n for n in g.node if n.op_type == "Identity"), None)
        if copy is None:
            break
        for n in g.node:
            for i, name in enumerate(n.input):
                if name == copy.output[0]:
                    n.input[i] = copy.input[0]
        g.node.remove(copy)
    constants = {t.name: t for t in g.initializer}
    norms = [n for n in g.node if n.op_type == "LayerNormalization"]

    def times(node, i, by):
        a = numpy_helper.to_array(constants[node.input[i]])
        name = "%s_%d_%d" % (node.output[0], i, len(g.initializer))
        g.initializer.append(numpy_helper.from_array((a * by).astype(a.dtype), name))
        node.input[i] = name

    for k, norm in enumerate(norms):
        y = norm.output[0]
        f = np.ones(constants[norm.input[1]].dims[0], np.float32)
        f[k % 7::every] = factor
        times(norm, 1, f)
        times(norm, 2, f)
        others = []
        for n in g.node:
            if y in n.input and n.op_type == "MatMul" and n.input[1] in constants:
                times(n, 1, 1 / f[:, None])
            elif y in n.input and n.op_type != "Shape":
                others.append(n)
        leaves = any(o.name == y for o in g.output)
        if not others and not leaves:
            continue
        large = y + "_large"
        g.initializer.append(numpy_helper.from_array(1 / f, y + "_back"))
        for n in g.node:
            for i, name in enumerate(n.input):
                if name == y and n not in others:
                    n.input[i] = large
        norm.output[0] = large
        at = list(g.node).index(norm)
        g.node.insert(at + 1, onnx.helper.make_node("Mul", [large, y + "_back"], [y], name=y + "_undo"))
    onnx.save(m, target)
    return len(norms)
