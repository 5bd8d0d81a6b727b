#!/usr/bin/env python3
"""Latency of nets, nibble beside onnxruntime, float and int8: one thread each, in turns (A B A B), medians.

    NIBBLE=build/nibble NIBBLE_VISION=/folder/of/nets bench/nets.py [--rounds N] [--seconds S] [NAME...]

$NIBBLE_VISION/models holds the nets; those that are not there are listed as missing. int8: `nibble quantize` of the net
over random samples, QDQ for ONNX Runtime on CPUs, run by both; times do not depend on the samples. onnxruntime gets a float
net in TFLite as `nibble convert` writes it. Needs numpy and onnxruntime; without them nothing is
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
# name, file, largest number of an input
NETS = [("kws", "kws_dscnn_float.tflite", 60.0), ("resnet8", "resnet8_cifar10_float.onnx", 255.0),
        ("vww96", "vww96_mobilenetv1_float.onnx", 1.0), ("mobilenetv1-0.25", "mobilenetv1_025_128_float.tflite", 1.0),
        ("ultraface", "ultraface_rfb320.onnx", 1.0)]
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
    """Name and dimensions of the only input, open ones 1."""
    value = json.loads(nibble("inspect", path, "--json"))["inputs"][0]
    return value["name"], [d if isinstance(d, int) and d > 0 else 1 for d in value["shape"]]


def quantized(path, most, folder, name):
    rng = np.random.default_rng(1)
    _, shape = input_shape(path)
    samples = os.path.join(folder, name + ".npy")
    np.save(samples, (rng.random([SAMPLES] + shape[1:]) * most).astype(np.float32))
    out = os.path.join(folder, name + ".int8.onnx")
    nibble("quantize", path, "-o", out, "--calib", samples, "--force")
    return out


def nibble_ms(path):
    name, shape = input_shape(path)
    shape = "%s=%s" % (name, "x".join(map(str, shape)))
    return json.loads(nibble("bench", path, "-t", "1", "--json", "--shape", shape))["one_thread"]["median_ms"]


def peer(path):
    """A function that runs the net once in onnxruntime, on one thread."""
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 3
    s = onnxruntime.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    feeds = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in s.get_inputs()}
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


def measure(path, peer_path, rounds, seconds):
    """Milliseconds of nibble, of onnxruntime, and the median ratio."""
    run = peer(peer_path)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(nibble_ms(path))
        theirs.append(peer_ms(run, seconds))
    ratios = [b / a for a, b in zip(ours, theirs)]
    return statistics.median(ours), statistics.median(theirs), statistics.median(ratios)


def main():
    p = argparse.ArgumentParser(description="latency of nets, nibble beside onnxruntime")
    p.add_argument("--rounds", type=int, default=5, help="turns of both [5]")
    p.add_argument("--seconds", type=float, default=0.5, help="of onnxruntime in a turn [0.5]")
    p.add_argument("names", nargs="*", help="of nets: " + ", ".join(n for n, _, _ in NETS))
    a = p.parse_args()
    if not VISION:
        print("skipped: NIBBLE_VISION does not name a folder of nets")
        return
    print("%s; %s; onnxruntime %s; one thread each, medians of %d turns\n" %
          (cpu(), nibble("--version").splitlines()[0], onnxruntime.__version__, a.rounds))
    print("| net | type | nibble ms | onnxruntime ms | onnxruntime / nibble |")
    print("|---|---|---|---|---|")
    missing = []
    with tempfile.TemporaryDirectory(prefix="nibble-bench-") as folder:
        for name, file, most in NETS:
            path = os.path.join(VISION, "models", file)
            if a.names and name not in a.names:
                continue
            if not os.path.exists(path):
                missing.append(path)
                continue
            for kind in ("float", "int8"):
                try:
                    net = path if kind == "float" else quantized(path, most, folder, name)
                    ours, theirs, ratio = measure(net, converted(net, folder, name), a.rounds, a.seconds)
                except Refused as why:
                    missing.append("%s, %s: %s" % (name, kind, why))
                    continue
                print("| %s | %s | %.3f | %.3f | %.2f |" % (name, kind, ours, theirs, ratio), flush=True)
    for what in missing:
        print("missing: %s" % what)


main()
