#!/usr/bin/env python3
"""Importance files against the gguf package: it reads ours, and ours reads what it wrote. The sums of the
first layer against numpy."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from tokenizers import Tokenizer
except ImportError as e:
    print(f"skip: {e.name} is not installed")
    sys.exit(77)

MODEL = os.path.join(os.environ["NB_MODELS"], "tiny-7m")
TEXT = os.path.join(os.environ["NB_DATA"], "calibration.txt")


def nibble(*args):
    done = subprocess.run([os.environ["NIBBLE"], *args, "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def write(path, entries):
    w = gguf.GGUFWriter(path, "none")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["calibration.txt"])
    w.add_uint32("imatrix.chunk_count", 4)
    w.add_uint32("imatrix.chunk_size", 128)
    for name, values in entries.items():
        w.add_tensor(name, values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def first_sums(path, count, ctx):
    """Sum of squares of what the first block's attention reads: normalized embeddings."""
    r = gguf.GGUFReader(path)
    t = {t.name: np.array(t.data, np.float64).reshape(t.shape[::-1]) for t in r.tensors}
    with open(TEXT, encoding="utf-8") as f:
        ids = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json")).encode(f.read(), add_special_tokens=False).ids
    ids = np.array(ids[: count * ctx]).reshape(count, ctx)
    add_bos = r.fields.get("tokenizer.ggml.add_bos_token")
    if add_bos is not None and add_bos.contents():
        ids[:, 0] = r.fields["tokenizer.ggml.bos_token_id"].contents()
    x = t["token_embd.weight"][ids.ravel()]
    eps = r.fields["llama.attention.layer_norm_rms_epsilon"].contents()
    x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + eps) * t["blk.0.attn_norm.weight"]
    return (x * x).sum(axis=0)


def main():
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = f"{folder}/ours.gguf", f"{folder}/theirs.gguf"
        nibble("calibrate", MODEL, "-o", ours, "--text", TEXT, "--ctx", "128", "--chunks", "4")
        r = gguf.GGUFReader(ours)
        assert r.fields["general.type"].contents() == "imatrix"
        assert r.fields["imatrix.datasets"].contents() == ["calibration.txt"]
        assert r.fields["imatrix.chunk_count"].contents() == 4
        assert r.fields["imatrix.chunk_size"].contents() == 128
        entries = {t.name: np.array(t.data, np.float32) for t in r.tensors}
        assert len(entries) == 2 * 42
        for name, values in entries.items():
            assert values.shape[-1] == (1 if name.endswith("counts") else 768 if "ffn_down" in name else 256), name
            if name.endswith("counts"):
                assert (values == 512).all(), name
            else:
                assert (values > 0).all(), name
        assert (entries["blk.3.attn_q.weight.in_sum2"] == entries["blk.3.attn_v.weight.in_sum2"]).all()
        nibble("quantize", MODEL, f"{folder}/f32.gguf", "f32")
        want = first_sums(f"{folder}/f32.gguf", 4, 128)
        have = entries["blk.0.attn_k.weight.in_sum2"].ravel()
        assert np.allclose(have, want, rtol=1e-5), np.abs(have / want - 1).max()
        write(theirs, entries)
        a = nibble("quantize", MODEL, f"{folder}/a.gguf", "q4_0", "--imatrix", ours)
        b = nibble("quantize", MODEL, f"{folder}/b.gguf", "q4_0", "--imatrix", theirs)
        assert a["hash"] == b["hash"] and a["n_weighted"] == b["n_weighted"] == 42
        r = gguf.GGUFReader(f"{folder}/a.gguf")
        assert r.fields["quantize.imatrix.file"].contents() == "ours.gguf"
        assert r.fields["quantize.imatrix.entries_count"].contents() == 42
        assert r.fields["quantize.imatrix.chunks_count"].contents() == 4
    print("importance files: ok")


if __name__ == "__main__":
    main()
