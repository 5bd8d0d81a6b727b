#!/usr/bin/env python3
"""test_tflite_peer.py TFLITE-COPY FOLDER: nets of MLPerf Tiny and others, as nibble translates them, run by onnxruntime
on recorded inputs: as many right answers as the published models give. FOLDER: $NIBBLE_VISION; without it, or without
onnxruntime, the test is skipped (exit 77)."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnxruntime as ort
except ImportError:
    sys.exit(77)

copy = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.environ["NIBBLE"]), "tests", "tflite-copy")
folder = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("NIBBLE_VISION", "")
if not os.path.isdir(folder):
    sys.exit(77)
failed = 0


def session(tmp, model):
    out = os.path.join(tmp, model + ".onnx")
    subprocess.run([copy, os.path.join(folder, "models", model + ".tflite"), out], check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # what the nodes say, in floats
    return ort.InferenceSession(out, options, providers=["CPUExecutionProvider"])


def run(s, x):
    return s.run(None, {s.get_inputs()[0].name: np.ascontiguousarray(x)})[0]


def check(tmp, model, inputs, labels, low, high):
    """inputs: (n, dims of the net without its batch of 1)"""
    global failed
    s = session(tmp, model)
    right = sum(int(np.argmax(run(s, x[None])[0]) == y) for x, y in zip(inputs, labels))
    ok = low <= right <= high
    failed += not ok
    print("%s %s: %d of %d right, expected %d to %d" % ("ok  " if ok else "FAIL", model, right, len(labels), low, high))


def load(name):
    return np.load(os.path.join(folder, name))


def images(size):
    from PIL import Image
    with open(os.path.join(folder, "imagenet", "labels.csv")) as f:
        rows = [line.rstrip("\n").split(",") for line in f][1:]
    out = []
    for row in rows:
        im = Image.open(os.path.join(folder, "imagenet", row[0])).convert("RGB")
        out.append(np.asarray(im.resize((size, size), Image.BILINEAR)))
    return np.stack(out), [int(r[1]) for r in rows]


with tempfile.TemporaryDirectory() as tmp:
    kws, kws_y = load("kws/inputs_500x490_int8.npy").reshape(-1, 49, 10, 1), load("kws/labels_500_uint8.npy")
    mfcc = ((kws.astype(np.float32) - 83) * np.float32(0.5847029089927673)).astype(np.float32)
    check(tmp, "kws_dscnn_float", mfcc, kws_y, 456, 456)
    check(tmp, "kws_dscnn_int8", kws, kws_y, 448, 454)
    cifar, cifar_y = load("cifar/test_images_1000x32x32x3_uint8.npy"), load("cifar/test_labels_1000_uint8.npy")
    check(tmp, "ic_resnet8_float", cifar.astype(np.float32), cifar_y, 771, 771)
    check(tmp, "ic_resnet8_int8", (cifar.astype(np.int16) - 128).astype(np.int8), cifar_y, 757, 767)
    for model in ("vww96_float", "vww96_int8", "ad01_float", "ad01_int8"):
        s = session(tmp, model)
        kind = s.get_inputs()[0]
        x = np.zeros(kind.shape, np.float32 if "float" in kind.type else np.int8)
        y = run(s, x)
        ok = bool(np.isfinite(y.astype(np.float32)).all())
        failed += not ok
        print("%s %s: runs, %s" % ("ok  " if ok else "FAIL", model, y.shape))
    try:
        big, big_y = images(128)
        check(tmp, "mobilenetv1_025_128_float", (big / np.float32(127.5) - 1).astype(np.float32), big_y, 177, 179)
        big, big_y = images(224)
        check(tmp, "mobilenetv2_100_224_int8", big, [y + 1 for y in big_y], 300, 308)
    except ImportError:
        print("no Pillow: the nets for ImageNet are left out")
sys.exit(1 if failed else 0)
