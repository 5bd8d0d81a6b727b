#!/usr/bin/env python3
"""Nets in ONNX are run by nibble and by onnxruntime on the same inputs; outputs agree to 1e-4 of the largest.

Nets: `simple` of Debian's libonnx-testdata with its inputs, and those in the folder $NIBBLE_VISION if it is set, with
the data there and with what is counted there: pictures classified rightly, chunks of a recording that are speech, kinds
of files. Where a net differs, every value between its nodes is compared, and the first that differs is named.
A net with an operator that nibble does not have is listed and does not fail.
"""
import glob
import json
import os
import subprocess

import peer

peer.need("onnx", "onnxruntime", "numpy")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

import executor  # noqa: E402
from onnx_session import difference, session  # noqa: E402

SIMPLE = "/usr/lib/python3/dist-packages/onnx/backend/test/data/simple"
BOUND = 1e-4
FAILED, MISSING = [], []


def run(folder, path, feeds, fixed=(), more=()):
    """Outputs by name, or what nibble says instead. fixed: inputs to --set."""
    args = [peer.NIBBLE, "run", path, "--json", "-q", "--force", "-o", folder("out"), *more]
    for i, (name, x) in enumerate(feeds.items()):
        np.save(folder("in%d.npy" % i), x)
        args += ["--set" if name in fixed else "--input", "%s=%s" % (name, folder("in%d.npy" % i))]
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode != 0:
        return r.stderr.strip().splitlines()[0]
    return {o["name"]: np.load(o["file"]) for o in json.loads(r.stdout)["outputs"]}


def first_difference(folder, path, feeds, fixed):
    """The first value that differs, of those that nibble and onnxruntime both have."""
    run(folder, path, feeds, fixed, ["--dump", folder("values")])
    m = onnx.load(path)
    have = {o.name for o in m.graph.output}
    for n in m.graph.node:
        m.graph.output.extend(onnx.ValueInfoProto(name=o) for o in n.output if o and o not in have)
    try:
        s = session(m.SerializeToString(), plain=True)
        theirs = dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds)))
    except Exception as e:  # onnxruntime has many, without a common base
        return "values between nodes cannot be had: %s" % str(e)[:100]
    maker = {o: n for n in m.graph.node for o in n.output}
    with open(folder("values/values.tsv"), encoding="utf-8") as f:
        for line in f:
            file, name = line.rstrip("\n").split("\t")
            if name in theirs:
                d = difference(np.load(folder("values/" + file)), theirs[name])
                if d > BOUND:
                    return "first at '%s' (%s): %.2g" % (name, maker[name].op_type, d)
    return "no value between nodes does as the file says, so it is a rewrite"


def lacks(label, path):
    """Operators that nibble does not have are told, and the net is left."""
    unknown = json.loads(peer.nibble("inspect", path, "--json"))["unknown_operators"]
    if unknown:
        MISSING.append(label)
        print("---- %s: no %s" % (label, ", ".join(unknown)))
    return bool(unknown)


def compare(folder, label, path, feeds, fixed=()):
    if lacks(label, path):
        return False
    ours = run(folder, path, feeds, fixed)
    if isinstance(ours, str):
        FAILED.append(label)
        print("FAIL %s: %s" % (label, ours.split(".onnx: ")[-1]))
        return False
    s = session(path)
    theirs = dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds)))
    worst = max(difference(ours[k], theirs[k]) if k in ours else float("inf") for k in theirs)
    if worst > BOUND:
        FAILED.append(label)
        print("FAIL %s: differs by %.2g; %s" % (label, worst, first_difference(folder, path, feeds, fixed)))
        return False
    print("ok   %s: %d outputs, largest difference %.1e" % (label, len(theirs), worst))
    return True


def note(ok, label, text):
    if not ok:
        FAILED.append(label)
    print("%s %s: %s" % ("ok  " if ok else "FAIL", label, text))


# ---- the nets of libonnx-testdata ----

def simple(folder):
    for path in sorted(glob.glob(SIMPLE + "/*/model.onnx")):
        label = "simple/" + path.split("/")[-2]
        graph = onnx.load(path).graph
        if lacks(label, path):
            continue
        feeds = {}
        for i, v in enumerate(graph.input):
            with open(os.path.join(os.path.dirname(path), "test_data_set_0", "input_%d.pb" % i), "rb") as f:
                feeds[v.name] = numpy_helper.to_array(onnx.TensorProto.FromString(f.read()))
        shapes = {n.input[1] for n in graph.node if n.op_type in ("Expand", "Reshape") and n.input[1] in feeds}
        compare(folder, label, path, feeds, shapes)


# ---- real nets ----

def pictures(folder, models):
    rng = np.random.default_rng(5)
    for name, shape, lo, hi in (("vww96_mobilenetv1_float", (1, 3, 96, 96), 0, 1),
                                ("ultraface_rfb320", (1, 3, 240, 320), -1, 1),
                                ("ultraface_rfb320_simplified", (1, 3, 240, 320), -1, 1)):
        path = os.path.join(models, name + ".onnx")
        smooth = rng.uniform(lo, hi, shape[:2] + (shape[2] // 8, shape[3] // 8)).repeat(8, 2).repeat(8, 3)
        x = (0.8 * smooth + 0.2 * rng.uniform(lo, hi, shape)).astype(np.float32)
        inits = {t.name for t in onnx.load(path).graph.initializer}
        only = [i.name for i in onnx.load(path).graph.input if i.name not in inits]
        compare(folder, "%s %s" % (name, list(shape)), path, {only[0]: x})


    path = os.path.join(models, "ppocrv3_det.onnx")
    for shape in (1, 3, 320, 320), (2, 3, 96, 160):
        compare(folder, "ppocrv3_det %s" % list(shape), path, {"x": page(shape, rng)})


def page(shape, rng):
    """Lines of strokes like letters: where there is no text, all of the net's probabilities are so small that
    onnxruntime, with and without its optimizer, differs from itself by as much as they are."""
    p = np.full(shape[2:], 255.0, np.float32)
    for y in range(20, shape[2] - 24, 56):
        x = 15
        while x < shape[3] - 20:
            k = rng.integers(0, 4)
            p[y:y + 24, x:x + 3] = 0
            for n, at in enumerate((0, 11, 21)):
                if k != n:
                    p[y + at:y + at + 3, x:x + 12] = 0
            x += 30 if rng.random() < 0.15 else 16
    bands = [(p / 255 - m) / d for m, d in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    return np.broadcast_to(np.stack(bands), shape).astype(np.float32)


def classes(folder, vision):
    """ResNet-8 on lossy CIFAR-10: 771 of 1,000 pictures."""
    path = os.path.join(vision, "models", "resnet8_cifar10_float.onnx")
    x = np.load(os.path.join(vision, "cifar", "test_images_1000x32x32x3_uint8.npy")).astype(np.float32)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    y = np.load(os.path.join(vision, "cifar", "test_labels_1000_uint8.npy"))
    if not compare(folder, "resnet8", path, {"input_1": x[:1]}):
        return
    e, s = executor.Executor(path), session(path)
    ours = np.concatenate([e.run({"input_1": x[i:i + 1]})["Identity"] for i in range(len(x))])
    theirs = np.concatenate([s.run(None, {"input_1": x[i:i + 1]})[0] for i in range(len(x))])
    e.close()
    right = int((ours.argmax(1) == y).sum())
    note(right == 771 and difference(ours, theirs) <= BOUND, "resnet8 on cifar",
         "%d of 1,000 right (onnxruntime %d), largest difference %.1e" % (right, (theirs.argmax(1) == y).sum(), difference(ours, theirs)))


def speech(folder, vision):
    """silero-vad, its state carried on: 1,452 of 1,875 chunks are speech."""
    path = os.path.join(vision, "models", "silero_vad_op18_ifless.onnx")
    with open(os.path.join(vision, "models", "silero_vad_test.wav"), "rb") as f:
        wav = f.read()
    at = wav.index(b"data") + 8
    samples = np.frombuffer(wav[at:at + 2 * 960000], "<i2").astype(np.float32) / 32768
    first = {"input": np.concatenate([np.zeros(64, np.float32), samples[:512]])[None], "state": np.zeros((2, 1, 128), np.float32),
             "sr": np.array(16000, np.int64)}
    if not compare(folder, "silero-vad", path, first, {"sr"}):
        return
    e, s = executor.Executor(path, {"input": (1, 576), "state": (2, 1, 128)}, {"sr": 16000}), session(path)
    mine = other = np.zeros((2, 1, 128), np.float32)
    context, n, n_other, worst = np.zeros((1, 64), np.float32), 0, 0, 0.0
    for i in range(0, len(samples), 512):
        x = np.concatenate([context, samples[None, i:i + 512]], 1)
        context = x[:, -64:]
        ours = e.run({"input": x, "state": mine})
        p, other = s.run(["output", "stateN"], {"input": x, "state": other, "sr": np.array(16000, np.int64)})
        mine = ours["stateN"]
        n, n_other = n + int(ours["output"][0, 0] > 0.5), n_other + int(p[0, 0] > 0.5)
        worst = max(worst, abs(float(ours["output"][0, 0] - p[0, 0])))
    e.close()
    note(n == 1452 and worst <= 1e-3, "silero-vad on 60 s",
         "%d of %d chunks are speech (onnxruntime %d), largest difference of a probability %.1e" % (n, len(samples) // 512, n_other, worst))


def magika_input(data):
    """512 bytes from the beginning, the middle and the end, as float, 256 where there are none."""
    data = data.strip()
    pad = lambda n: [256] * n  # noqa: E731
    head, tail = list(data[:512]), list(data[-512:])
    half = max(len(data) // 2 - 256, 0)
    middle = list(data[half:half + 512])
    side = (512 - len(middle)) // 2
    middle = pad(side) + middle + pad(512 - len(middle) - side)
    return np.array([head + pad(512 - len(head)) + middle + pad(512 - len(tail)) + tail], np.float32)


def files(folder, vision):
    path = os.path.join(vision, "models", "magika_standard_v1.onnx")
    with open(os.path.join(vision, "models", "magika_standard_v1_labels.txt"), encoding="utf-8") as f:
        labels = f.read().split()
    kinds = (("tests/interop/peer.py", "python"), ("src/api/net.c", "c"), ("README.md", "markdown"), ("tools/check-style.sh", "shell"),
             ("LICENSE", "txt"), ("models/tiny-7m/tokenizer.json", "json"))
    x = []
    for file, _ in kinds:
        with open(os.path.join(peer.ROOT, file), "rb") as f:
            x.append(magika_input(f.read()))
    x = np.concatenate(x)
    if not compare(folder, "magika", path, {"bytes": x}):
        return
    ours = run(folder, path, {"bytes": x})["target_label"]
    said = [labels[i] for i in ours.argmax(1)]
    note(sum(a == b for a, (_, b) in zip(said, kinds)) >= 5, "magika on files here", ", ".join(said))


def main():
    vision = os.environ.get("NIBBLE_VISION")
    if not os.path.isdir(SIMPLE) and not vision:
        peer.skip("no nets: apt-get install libonnx-testdata, or set NIBBLE_VISION")
    with peer.Folder() as folder:
        simple(folder)
        if vision:
            pictures(folder, os.path.join(vision, "models"))
            classes(folder, vision)
            speech(folder, vision)
            files(folder, vision)
        else:
            print("skipped: real nets; set NIBBLE_VISION")
    print("%d nets with operators that nibble does not have, %d failed" % (len(MISSING), len(FAILED)))
    peer.check(not FAILED, "nets run as in onnxruntime" if not FAILED else "different: " + ", ".join(FAILED))


main()
