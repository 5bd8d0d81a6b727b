#!/usr/bin/env python3
"""Encoders exported by torch (make_encoders.py, folder $NIBBLE_ENCODERS): nibble gives what torch gave, and quantizes
them: static int8, int8 with inputs as they come, weights alone; each beside onnxruntime running the same file, and beside
the float net. Then the same nets with channels that are 30 times as large as most: static int8 has to suffer, and
smoothing has to bring it back."""
import json
import os
import sys

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402

import executor  # noqa: E402
import outliers  # noqa: E402
from onnx_session import session  # noqa: E402

NETS = {"minilm": ["input_ids", "attention_mask"], "vit_tiny": ["pixels"], "whisper_tiny": ["features"]}
DYNAMIC = ("int8_dynamic", ["--type", "int8_dynamic"])


def run(path, feed):
    e = executor.Executor(path, {k: v.shape for k, v in feed.items()})
    y = e.run(feed)["hidden"]
    e.close()
    return y


def decibels(want, got):
    return 10 * np.log10((want.astype(np.float64) ** 2).sum() / ((want.astype(np.float64) - got) ** 2).sum())


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def quantized(label, path, out, feed, want, options, least):
    """SQNR of nibble and of onnxruntime, and what the command said."""
    said = json.loads(peer.nibble("quantize", path, "-o", out, "-f", "--json", *options))
    ours, theirs = run(out, feed), session(out, exact=True).run(["hidden"], feed)[0]
    db = decibels(want, ours)
    peer.check(min(db, decibels(want, theirs)) > least,
               "%s: SQNR %.1f dB, cosine %.5f by nibble, %.1f dB, %.5f by onnxruntime, %.1f dB between them"
               % (label, db, cosine(want, ours), decibels(want, theirs), cosine(want, theirs), decibels(theirs, ours)))
    return db, said


def with_outliers(name, path, folder, feed, want, calib):
    """Static int8 with and without smoothing."""
    large, out = folder("large.onnx"), folder("q.onnx")
    norms = outliers.add(path, large, 30)
    apart = np.abs(run(large, feed) - want).max() / np.abs(want).max()
    peer.check(apart < 1e-4, "%s, large channels in %d norms: differs by %.1e" % (name, norms, apart))
    quantized(name + ", large channels, int8_dynamic", large, out, feed, want, DYNAMIC[1], 0)
    plain, _ = quantized(name + ", large channels, int8", large, out, feed, want, calib, -20)
    for alpha in ["0.5", "auto"] if name == "minilm" else ["0.5"]:
        db, said = quantized("%s, large channels, smooth %s" % (name, alpha), large, out, feed, want,
                             [*calib, "--smooth", alpha], 20)
        peer.check(db > plain + 6 and said["smoothed"] >= norms - 1,
                   "  %d inputs smoothed by %g (%d by a Mul), %d even, %d stuck: %.1f to %.1f dB"
                   % (said["smoothed"], said["smooth"], said["smoothed_by_a_product"], said["not_smoothed_even"],
                      said["not_smoothed_stuck"], plain, db))


def main():
    encoders = os.environ.get("NIBBLE_ENCODERS")
    if not encoders:
        print("NIBBLE_ENCODERS names no folder of make_encoders.py")
        sys.exit(77)
    with peer.Folder() as folder:
        for name, ports in NETS.items():
            path = os.path.join(encoders, name + ".onnx")
            feed = {p: np.load(os.path.join(encoders, f"{name}.{p}.npy")) for p in ports}
            want = np.load(os.path.join(encoders, name + ".want.npy"))
            apart = np.abs(run(path, feed) - want).max() / np.abs(want).max()
            peer.check(apart < 1e-4, "%s: nibble and torch differ by %.1e" % (name, apart))
            calib = [x for p in ports for x in ("--calib", f"{p}=" + os.path.join(encoders, f"{name}.{p}.npy"))]
            for label, options, least in (("int8", calib, 27), ("int8, smooth 0.5", [*calib, "--smooth", "0.5"], 27),
                                          (*DYNAMIC, 35), ("int4_g32", ["--type", "int4_g32"], 10)):
                quantized(f"{name} {label}", path, folder("q.onnx"), feed, want, options, least)
            with_outliers(name, path, folder, feed, want, calib)


main()
