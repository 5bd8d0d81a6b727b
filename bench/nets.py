#!/usr/bin/env python3
"""Latency of nets, nibble beside onnxruntime, float and int8: one thread each, in turns (A B C A B C), medians.

    NIBBLE=build/nibble NIBBLE_VISION=/folder/of/nets bench/nets.py [--rounds N] [--seconds S] [NAME...]

$NIBBLE_VISION/models holds the nets; those that are not there are listed as missing. int8: `nibble quantize` of the net
over random samples, QDQ for ONNX Runtime on CPUs, run by both. Both get the same random numbers as input. onnxruntime gets a float
net in TFLite as `nibble convert` writes it. "exact" is onnxruntime with session.x64quantprecision=1: on x86 without VNNI its sums saturate
unless that is set, so it is what computes the file; with VNNI both are. Needs numpy and onnxruntime; without them nothing is
measured. Neighbours disturb: a ratio is that of two runs, one after the other, and the table shows the median of those.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import onnxruntime
except ImportError as e:
    print("skipped: %s is not installed" % e.name)
    sys.exit(0)

NIBBLE = os.environ.get("NIBBLE", "build/nibble")
VISION = os.environ.get("NIBBLE_VISION", "")
# name, file, largest number of an input, its dimensions (None: those of the file, open ones 1)
NETS = [("kws", "kws_dscnn_float.tflite", 60.0, None), ("resnet8", "resnet8_cifar10_float.onnx", 255.0, None),
        ("vww96", "vww96_mobilenetv1_float.onnx", 1.0, None), ("mobilenetv1-0.25", "mobilenetv1_025_128_float.tflite", 1.0, None),
        ("ultraface", "ultraface_rfb320.onnx", 1.0, None), ("ultraface-simplified", "ultraface_rfb320_simplified.onnx", 1.0, None),
        ("ppocrv3", "ppocrv3_det.onnx", 1.0, [1, 3, 320, 320]), ("magika", "magika_standard_v1.onnx", 255.0, None)]
SAMPLES = 8


class Refused(Exception):
    """nibble does not take a net."""


def nibble(*args):
    r = subprocess.run([NIBBLE, *args], capture_output=True, text=True)
    if r.returncode != 0:
        raise Refused((r.stderr.strip() or "exit %d" % r.returncode).splitlines()[0])
    return r.stdout


def cpu():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.machine()


def input_shape(path):
    """Dimensions of the only input, open ones 1."""
    value = json.loads(nibble("inspect", path, "--json"))["inputs"][0]
    return [d if isinstance(d, int) and d > 0 else 1 for d in value["shape"]]


def quantized(path, shape, most, folder, name):
    samples = os.path.join(folder, name + ".calib.npy")
    np.save(samples, (np.random.default_rng(1).random([SAMPLES] + shape[1:]) * most).astype(np.float32))
    out = os.path.join(folder, name + ".int8.onnx")
    nibble("quantize", path, "-o", out, "--calib", samples, "--force")
    return out


def nibble_ms(path, array):
    return json.loads(nibble("bench", path, "-t", "1", "--json", "--input", array))["one_thread"]["median_ms"]


def peer(path, array, exact):
    """A function that runs the net once in onnxruntime, on one thread."""
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 3
    if exact:
        o.add_session_config_entry("session.x64quantprecision", "1")
    s = onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    feeds = {s.get_inputs()[0].name: np.load(array)}
    return lambda: s.run(None, feeds)


def peer_ms(run, seconds):
    run()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def converted(path, folder, name):
    if path.endswith(".onnx"):
        return path
    out = os.path.join(folder, name + ".float.onnx")
    nibble("convert", path, out, "--force")
    return out


def measure(path, peer_path, array, kinds, rounds, seconds):
    """Of nibble: milliseconds; of onnxruntime, for each kind (exact or not): milliseconds, and the median ratio to nibble's."""
    runs = [peer(peer_path, array, exact) for exact in kinds]
    ours, theirs = [], [[] for _ in kinds]
    for _ in range(rounds):
        ours.append(nibble_ms(path, array))
        for times, run in zip(theirs, runs):
            times.append(peer_ms(run, seconds))
    ratios = [statistics.median(b / a for a, b in zip(ours, times)) for times in theirs]
    return statistics.median(ours), [(statistics.median(t), r) for t, r in zip(theirs, ratios)]


def rows(name, path, most, shape, folder, a):
    """Prints the rows of a net: float, then int8 with the float's time over its own. What could not be done."""
    shape = shape or input_shape(path)
    array = os.path.join(folder, name + ".input.npy")
    np.save(array, (np.random.default_rng(2).random(shape) * most).astype(np.float32))
    base = None
    for kind in ("float", "int8"):
        try:
            net = path if kind == "float" else quantized(path, shape, most, folder, name)
            exact = [False] if kind == "float" else [False, True]
            ours, theirs = measure(net, converted(net, folder, name), array, exact, a.rounds, a.seconds)
        except Refused as why:
            return ["%s, %s: %s" % (name, kind, why)]
        cells = ["%.3f" % ours] + [c for ms, ratio in theirs for c in ("%.3f" % ms, "%.2f" % ratio)]
        cells += [""] * (5 - len(cells)) + ["" if base is None else "%.2f" % (base / ours)]
        print("| %s | %s | %s |" % (name, kind, " | ".join(cells)), flush=True)
        base = ours
    return []


def main():
    p = argparse.ArgumentParser(description="latency of nets, nibble beside onnxruntime")
    p.add_argument("--rounds", type=int, default=5, help="turns of both [5]")
    p.add_argument("--seconds", type=float, default=0.5, help="of onnxruntime in a turn [0.5]")
    p.add_argument("names", nargs="*", help="of nets: " + ", ".join(n[0] for n in NETS))
    a = p.parse_args()
    if not VISION:
        print("skipped: NIBBLE_VISION does not name a folder of nets")
        return
    print("%s; %s; onnxruntime %s; one thread each, medians of %d turns\n" %
          (cpu(), nibble("--version").splitlines()[0], onnxruntime.__version__, a.rounds))
    print("| net | type | nibble ms | onnxruntime ms | / nibble | exact ms | / nibble | nibble: float / int8 |")
    print("|---|---|---|---|---|---|---|---|")
    missing = []
    with tempfile.TemporaryDirectory(prefix="nibble-bench-") as folder:
        for name, file, most, shape in NETS:
            path = os.path.join(VISION, "models", file)
            if a.names and name not in a.names:
                continue
            if os.path.exists(path):
                missing += rows(name, path, most, shape, folder, a)
            else:
                missing.append(path)
    for what in missing:
        print("missing: %s" % what)


main()
