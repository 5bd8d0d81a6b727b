#!/usr/bin/env python3
"""Pillow and nibble on the same pictures: PNG and JPEG of every kind, resized, cut, grey.

Decoding is equal, but for chroma of libjpeg's that differ by versions; resizing is equal, or off by one where Pillow (from 13 on) begins
with rows.
"""
import os

import peer

peer.need("numpy", "onnx", "PIL")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from PIL import Image  # noqa: E402


def net(path, shape):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def noise(rng, width, height):
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], -1)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 40, smooth.shape), 0, 255).astype(np.uint8))


def pictures(rng, folder):
    os.makedirs(folder("images"))
    translucent = noise(rng, 40, 50)
    translucent.putalpha(128)
    for name, image, how in (("rgb.png", noise(rng, 61, 47), {}), ("tall.png", noise(rng, 30, 90), {}),
                             ("palette.png", noise(rng, 33, 32).convert("P"), {}), ("alpha.png", translucent, {}),
                             ("grey.png", noise(rng, 70, 71).convert("L"), {}), ("bits.png", noise(rng, 64, 64).convert("1"), {}),
                             ("full.jpg", noise(rng, 50, 40), {"subsampling": 0}), ("half.jpg", noise(rng, 51, 43), {"subsampling": 2}),
                             ("steps.jpg", noise(rng, 64, 48), {"progressive": True}), ("grey.jpeg", noise(rng, 200, 133).convert("L"), {})):
        image.save(folder("images/" + name), **how)
    return sorted(os.listdir(folder("images")))


def wanted(path, width, height, resize, mode):
    image = Image.open(path).convert("RGB")
    if resize:
        a, b = image.size
        size = (resize, resize * b // a) if a <= b else (resize * a // b, resize)
        image = image.resize(size, Image.BILINEAR)
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), Image.BILINEAR)
    return np.asarray(image.convert(mode)).astype(np.float32)


def check_all(folder):
    rng = np.random.default_rng(7)
    names = pictures(rng, folder)
    for name, shape in (("nhwc", ["N", 32, 40, 3]), ("nchw", ["N", 3, 32, 40]), ("grey", ["N", 1, 32, 40])):
        net(folder(name + ".onnx"), shape)
        for resize in (0, 45):
            peer.nibble("run", folder(name + ".onnx"), "-i", folder("images"), "-o", "y=" + folder("y.npy"), "--force", "-q",
                        *(["--resize", str(resize)] if resize else []))
            got = np.load(folder("y.npy"))
            for i, picture in enumerate(names):
                want = wanted(folder("images/" + picture), 40, 32, resize, "L" if name == "grey" else "RGB")
                have = got[i].transpose(1, 2, 0) if name != "nhwc" else got[i]
                off = np.abs(have.reshape(want.shape) - want)
                peer.check(off.max() <= 1 and (off > 0).mean() < 0.3, "%s, %s: off by %g" % (picture, name, off.max()))
    scaled = ["--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    peer.nibble("run", folder("nchw.onnx"), "-i", folder("images"), "-o", "y=" + folder("raw.npy"), "-q")
    peer.nibble("run", folder("nchw.onnx"), "-i", folder("images"), "-o", "y=" + folder("y.npy"), "--force", "-q", *scaled)
    raw = np.load(folder("raw.npy")).astype(np.float64)
    per = [np.array(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    want = ((raw * (1 / 255) - per[0]) / per[1]).astype(np.float32)
    peer.check(np.array_equal(np.load(folder("y.npy")), want), "scale, mean and deviation")

def main():
    with peer.Folder() as folder:
        check_all(folder)


main()
