#!/usr/bin/env python3
"""The `safetensors` package reads what nibble writes, and nibble reads what the package writes."""
import json
import os
import shutil

import peer

peer.need("numpy", "safetensors")
import numpy as np  # noqa: E402
import safetensors  # noqa: E402
import safetensors.numpy  # noqa: E402


def read_by_peer(path):
    """The package's own parser: name -> (dtype, shape, bytes)."""
    with open(path, "rb") as f:
        parsed = safetensors.deserialize(f.read())
    return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in parsed}


def check_round_trip(folder):
    """Folder to GGUF and back: every byte of every tensor."""
    peer.nibble("convert", peer.MODEL, folder("m.gguf"))
    peer.nibble("convert", folder("m.gguf"), folder("back"))
    got = read_by_peer(os.path.join(folder("back"), "model.safetensors"))
    want = read_by_peer(os.path.join(peer.MODEL, "model.safetensors"))
    peer.check(set(got) == set(want), "%d tensors of the right names" % len(want))
    for name, (_, shape, _) in want.items():
        if got[name][1] != shape or not np.array_equal(peer.to_f32(*got[name]), peer.to_f32(*want[name])):
            peer.check(False, "%s: shape and values" % name)
    peer.check(True, "shapes and values of all tensors")
    with safetensors.safe_open(os.path.join(folder("back"), "model.safetensors"), "numpy") as f:
        peer.check(f.metadata()["format"] == "pt", "format is 'pt'")
        peer.check(set(f.keys()) == set(want), "safe_open lists them")


def copy_config(path):
    os.mkdir(path)
    for name in os.listdir(peer.MODEL):
        if name.endswith(".json") and "index" not in name:
            shutil.copy(os.path.join(peer.MODEL, name), path)


def write_by_peer(path, dtype, n_shards):
    """The bundled model in another dtype, written by the package."""
    copy_config(path)
    src, _ = peer.read_safetensors(os.path.join(peer.MODEL, "model.safetensors"))
    names, index, want = sorted(src), {}, {}
    for shard in range(n_shards):
        part = {}
        for name in names[shard::n_shards]:
            part[name] = peer.to_f32(*src[name]).astype(dtype)
            want[name] = part[name].astype(np.float32)
        file = "model.safetensors" if n_shards == 1 else "model-%05d-of-%05d.safetensors" % (shard + 1, n_shards)
        safetensors.numpy.save_file(part, os.path.join(path, file), metadata={"format": "pt"})
        index.update({name: file for name in part})
    if n_shards > 1:
        with open(os.path.join(path, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
            json.dump({"metadata": {"total_size": 0}, "weight_map": index}, f)
    return want


def check_peer_file(folder, name, dtype, n_shards):
    want = write_by_peer(folder(name), dtype, n_shards)
    peer.nibble("convert", folder(name), folder(name + ".gguf"))
    peer.nibble("convert", folder(name + ".gguf"), folder(name + "-back"))
    got = read_by_peer(os.path.join(folder(name + "-back"), "model.safetensors"))
    peer.check(set(got) == set(want), "%s: %d tensors of the right names" % (name, len(want)))
    for key, w in want.items():
        if got[key][1] != w.shape or not np.array_equal(peer.to_f32(*got[key]), w):
            peer.check(False, "%s: %s: shape and values" % (name, key))
    peer.check(True, "%s: shapes and values through nibble" % name)


def main():
    with peer.Folder() as folder:
        check_round_trip(folder)
        check_peer_file(folder, "f32", np.float32, 1)
        check_peer_file(folder, "f16", np.float16, 1)
        check_peer_file(folder, "shards", np.float32, 3)


main()
