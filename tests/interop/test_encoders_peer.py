#!/usr/bin/env python3
"""Encoders exported by torch (make_encoders.py, folder $NIBBLE_ENCODERS): nibble gives what torch gave, and quantizes
them: static int8, int8 with inputs as they come, weights alone; each beside onnxruntime running the same file, and beside
the float net."""
import json
import os
import sys

import peer

peer.need("onnxruntime", "numpy")
import numpy as np  # noqa: E402

import executor  # noqa: E402
from onnx_session import session  # noqa: E402

NETS = {"minilm": ["input_ids", "attention_mask"], "vit_tiny": ["pixels"], "whisper_tiny": ["features"]}


def run(path, feed):
    e = executor.Executor(path, {k: v.shape for k, v in feed.items()})
    y = e.run(feed)["hidden"]
    e.close()
    return y


def decibels(want, got):
    return 10 * np.log10((want.astype(np.float64) ** 2).sum() / ((want.astype(np.float64) - got) ** 2).sum())


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
            for label, options, least in (("int8", calib, 27), ("int8_dynamic", ["--type", "int8_dynamic"], 35),
                                          ("int4_g32", ["--type", "int4_g32"], 10)):
                out = folder("q.onnx")
                json.loads(peer.nibble("quantize", path, "-o", out, "-f", "--json", *options))
                ours, theirs = run(out, feed), session(out, exact=True).run(["hidden"], feed)[0]
                peer.check(min(decibels(want, ours), decibels(want, theirs)) > least,
                           "%s %s: SQNR %.1f dB by nibble, %.1f dB by onnxruntime, %.1f dB between them"
                           % (name, label, decibels(want, ours), decibels(want, theirs), decibels(theirs, ours)))


main()
