#!/usr/bin/env python3
"""The type of every tensor in every mixture, against unmodified llama.cpp (llama-cpp-python).

    llama_cpp_mixes.py [TYPE...]

llama_model_quantize is asked to say what it would do (dry run) for empty models of 32 and 80 blocks: with and
without shared key and value heads, with a head of its own and tied, with rows that no block of 256
divides; with importance and without. `nibble plan` must say the same. The nibble command is taken
from $NIBBLE. What llama.cpp refuses is passed over, and said.
"""
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from llama_cpp import llama_cpp as ll
except ImportError as e:
    print(f"skip: {e.name} is not installed")
    sys.exit(77)

NAMES = {"mxfp4": None}  # llama.cpp has it for experts only
MODELS = {  # blocks, width, heads, key and value heads, tied
    "plain": (32, 256, 8, 8, False),
    "shared": (32, 256, 8, 2, False),
    "tied": (32, 256, 8, 4, True),
    "narrow": (8, 288, 9, 9, False),
    "large": (80, 256, 8, 2, False),
}


def matrices(blocks, width, heads, kv, tied):
    side = width // heads * kv
    yield "token_embd.weight", (64, width)
    for i in range(blocks):
        for name, shape in [("attn_q", (width, width)), ("attn_k", (side, width)), ("attn_v", (side, width)),
                            ("attn_output", (width, width)), ("ffn_gate", (width, width)),
                            ("ffn_up", (width, width)), ("ffn_down", (width, width))]:
            yield f"blk.{i}.{name}.weight", shape
    if not tied:
        yield "output.weight", (64, width)


def write_model(path, blocks, width, heads, kv, tied):
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(blocks)
    w.add_context_length(64)
    w.add_embedding_length(width)
    w.add_feed_forward_length(width)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // heads)
    w.add_vocab_size(64)
    w.add_file_type(1)
    w.add_tokenizer_model("none")
    for name, shape in matrices(blocks, width, heads, kv, tied):
        w.add_tensor(name, np.zeros(shape, np.float16))
    for i in range(blocks):
        w.add_tensor(f"blk.{i}.attn_norm.weight", np.zeros(width, np.float32))
        w.add_tensor(f"blk.{i}.ffn_norm.weight", np.zeros(width, np.float32))
    w.add_tensor("output_norm.weight", np.zeros(width, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_importance(path, spec):
    w = gguf.GGUFWriter(path, "llama")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["none"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, shape in matrices(*spec):
        w.add_tensor(name + ".in_sum2", np.ones((1, shape[1]), np.float32))
        w.add_tensor(name + ".counts", np.full((1, 1), 512, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


LOG = []


@ll.llama_log_callback
def on_log(level, text, data):
    LOG.append(text.decode("utf-8", "replace"))


def peer_types(model, out, ftype, spec, importance):
    """{tensor: type}, or None where llama.cpp refuses."""
    params = ll.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.dry_run = ftype, 1, True
    keep = []
    if importance:
        entries = (ll.llama_model_imatrix_data * (sum(1 for _ in matrices(*spec)) + 1))()
        for entry, (name, shape) in zip(entries, matrices(*spec)):
            data = (ctypes.c_float * shape[1])(*[1.0] * shape[1])
            entry.name, entry.data, entry.size = name.encode(), data, shape[1]
            keep.append(data)
        params.imatrix = entries
    LOG.clear()
    if ll.llama_model_quantize(model.encode(), out.encode(), ctypes.byref(params)) != 0:
        return None
    types = {}
    for line in "".join(LOG).splitlines():
        m = re.search(r"\]\s+(\S+)\s+- \[.*type =\s*(\w+)", line)
        if m:
            to = re.search(r"\((?:->\s*)?(\w+)\)\s*$|converting to (\w+)|-> +.*\((\w+)\)", line)
            types[m.group(1)] = (next(g for g in to.groups() if g) if to else m.group(2)).lower()
    return types


def our_types(model, name, importance):
    args = [os.environ["NIBBLE"], "plan", model, model + ".out.gguf", name, "--json", "-q"]
    if importance:
        args += ["--imatrix", importance]
    return {t["name"]: t["type"] for t in json.loads(subprocess.run(args, check=True, capture_output=True).stdout)["tensors"]}


def main():
    ll.llama_log_set(on_log, ctypes.c_void_p(0))
    listed = json.loads(subprocess.run([os.environ["NIBBLE"], "list", "types", "--json"], check=True,
                                       capture_output=True).stdout)["types"]
    wanted = sys.argv[1:] or [t["name"] for t in listed]
    compared, refused, wrong = 0, set(), 0
    with tempfile.TemporaryDirectory() as folder:
        for label, spec in MODELS.items():
            model, stats = f"{folder}/{label}.gguf", f"{folder}/{label}.imatrix.gguf"
            write_model(model, *spec)
            write_importance(stats, spec)
            for name in wanted:
                ftype = getattr(ll, f"LLAMA_FTYPE_MOSTLY_{NAMES.get(name, name.upper())}", None)
                for importance in [False, True] if ftype is not None else []:
                    peer = peer_types(model, model + ".peer", ftype, spec, importance)
                    if not peer:
                        refused.add((name, importance))
                        continue
                    ours = our_types(model, name, stats if importance else None)
                    compared += 1
                    for tensor, want in peer.items():
                        if ours.get(tensor) != want:
                            wrong += 1
                            print(f"{label} {name} importance {importance}: {tensor} {ours.get(tensor)}, peer {want}")
    for name, importance in sorted(refused):
        print(f"not compared: {name}, importance {importance}: llama.cpp refuses")
    print(f"{compared} plans compared, {wrong} tensors differ")
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
