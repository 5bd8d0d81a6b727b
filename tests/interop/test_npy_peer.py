#!/usr/bin/env python3
"""NumPy reads the .npy files that nibble writes and the other way round; `gguf` reads the blocks of an array."""
import json
import math
import os
import subprocess

import peer

peer.need("numpy", "gguf")
import gguf  # noqa: E402
import numpy as np  # noqa: E402

TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]


def quantize(*args):
    return json.loads(peer.nibble("quantize", *args, "--json", "-f"))


def check_types(folder):
    """Any type and shape in; f32 out holds the same numbers, and the file is the one NumPy would write."""
    rng = np.random.default_rng(1)
    for k, descr in enumerate(TYPES):
        shape = [(), (7,), (3, 4), (2, 1, 5)][k % 4]
        x = (rng.standard_normal(shape) * 50).astype(descr)
        for version in (1, 0), (2, 0), (3, 0):
            with open(folder("x.npy"), "wb") as f:
                np.lib.format.write_array(f, x, version=version)
            quantize(folder("x.npy"), "-o", folder("y.npy"), "--type", "f32")
            y = np.load(folder("y.npy"), allow_pickle=False)
            if y.dtype != np.float32 or y.shape != x.shape or not np.array_equal(y, x.astype(np.float32)):
                peer.check(False, "%s of %s, version %s" % (descr, shape, version))
        np.save(folder("theirs.npy"), y)
        with open(folder("y.npy"), "rb") as a, open(folder("theirs.npy"), "rb") as b:
            peer.check(a.read() == b.read(), "%s of %s: there and back, to the byte" % (descr, shape))


def check_blocks(folder):
    """The figures are those of the numbers that others decode."""
    x = np.random.default_rng(2).standard_normal((3, 5, 512)).astype(np.float32)
    np.save(folder("x.npy"), x)
    for name in "q4_0", "q8_0", "q4_k", "q6_k":
        r = quantize(folder("x.npy"), "-o", folder("y.gguf"), "--type", name)
        quantize(folder("x.npy"), "-o", folder("y.npy"), "--type", name)
        t = gguf.GGUFReader(folder("y.gguf")).tensors[0]
        y = gguf.dequantize(t.data, t.tensor_type).reshape(x.shape)
        d = x.astype(np.float64) - y
        peer.check(np.array_equal(y, np.load(folder("y.npy"))), "%s: gguf decodes the values of the .npy" % name)
        peer.check(math.isclose(r["mse"], (d ** 2).mean(), rel_tol=1e-9) and
                   math.isclose(r["max_error"], np.abs(d).max(), rel_tol=1e-9) and
                   math.isclose(r["sqnr_db"], 10 * math.log10((x.astype(np.float64) ** 2).sum() / (d ** 2).sum()),
                                rel_tol=1e-9) and r["bytes"] == t.data.nbytes, "%s: the figures" % name)


def check_refused(folder):
    for what, x in [("Fortran order", np.asfortranarray(np.zeros((3, 4), "f4"))), ("big-endian", np.zeros(3, ">f4")),
                    ("Python objects", np.array([None, 1])), ("structured", np.zeros(3, [("a", "f4")])),
                    ("type '<c8'", np.zeros(3, "c8"))]:
        np.save(folder("bad.npy"), x, allow_pickle=True)
        r = subprocess.run([peer.NIBBLE, "quantize", folder("bad.npy"), "-o", folder("no.npy"), "--type", "f32"],
                           capture_output=True, text=True)
        peer.check(r.returncode == 3 and what in r.stderr and not os.path.exists(folder("no.npy")),
                   "refused: " + what)


def main():
    with peer.Folder() as folder:
        check_types(folder)
        check_blocks(folder)
        check_refused(folder)


main()
