#!/usr/bin/env python3
"""The `gguf` package reads what nibble writes, and nibble reads what the package writes."""
import json
import os

import peer

peer.need("numpy", "gguf")
import gguf  # noqa: E402
import numpy as np  # noqa: E402


def values(t):
    return np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32)


def field(r, key):
    f = r.get_field(key)
    return None if f is None else f.contents()


def check_layout(r, path):
    """What the package does not check by itself."""
    end = max(t.data_offset + t.n_bytes for t in r.tensors)
    peer.check(all(t.data_offset % r.alignment == 0 for t in r.tensors), "tensors are aligned")
    peer.check(end <= os.path.getsize(path) < end + r.alignment, "the file ends with the last tensor")


def check_metadata(r):
    cfg = peer.config()
    peer.check(field(r, "general.architecture") == "llama", "architecture")
    for key, want in [("block_count", "num_hidden_layers"), ("embedding_length", "hidden_size"),
                      ("feed_forward_length", "intermediate_size"),
                      ("attention.head_count", "num_attention_heads"),
                      ("attention.head_count_kv", "num_key_value_heads"),
                      ("context_length", "max_position_embeddings")]:
        peer.check(field(r, "llama." + key) == cfg[want], "llama.%s is %s" % (key, cfg[want]))
        kind = r.get_field("llama." + key).types
        peer.check(kind == [gguf.GGUFValueType.UINT32], "llama.%s is a u32" % key)
    eps = field(r, "llama.attention.layer_norm_rms_epsilon")
    peer.check(np.float32(eps) == np.float32(cfg["rms_norm_eps"]), "norm epsilon")
    tokens = field(r, "tokenizer.ggml.tokens")
    peer.check(len(tokens) == cfg["vocab_size"], "%d tokens" % len(tokens))
    peer.check(len(set(tokens)) == len(tokens), "tokens are unique")
    peer.check(len(field(r, "tokenizer.ggml.token_type")) == len(tokens), "a type for each token")


def check_converted(path):
    """Floats keep every bit."""
    r, src = gguf.GGUFReader(path), peer.source()
    check_layout(r, path)
    check_metadata(r)
    peer.check({t.name for t in r.tensors} == set(src), "%d tensors of the right names" % len(src))
    for t in r.tensors:
        w = src[t.name]
        if tuple(reversed(t.shape.tolist())) != w.shape or not np.array_equal(values(t).reshape(w.shape), w):
            peer.check(False, "%s: shape and values" % t.name)
    peer.check(True, "shapes and values of all tensors")


def check_quantized(path, bound):
    """The package's decoder finds near what went in: blocks lie where it expects them."""
    r, src, worst = gguf.GGUFReader(path), peer.source(), 0.0
    check_layout(r, path)
    peer.check(field(r, "general.quantization_version") == 2, "quantization version 2")
    for t in r.tensors:
        w = src[t.name]
        err = np.linalg.norm(values(t).reshape(w.shape) - w) / np.linalg.norm(w)
        worst = max(worst, float(err))
    kinds = sorted({t.tensor_type.name for t in r.tensors})
    peer.check(worst < bound, "%s: worst relative error %.4f < %g" % (" ".join(kinds), worst, bound))


def write_by_peer(path, kinds):
    """The bundled model, its tokenizer taken from a file of nibble's, its tensors in turn of each kind."""
    folder = os.path.dirname(path)
    peer.nibble("convert", peer.MODEL, os.path.join(folder, "base.gguf"), "-f")
    base, src, stored = gguf.GGUFReader(os.path.join(folder, "base.gguf")), peer.source(), {}
    w = gguf.GGUFWriter(path, "llama")
    for key, f in base.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        sub = f.types[1] if f.types[0] == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(key, f.contents(), f.types[0], sub)
    for i, t in enumerate(base.tensors):
        kind = kinds[i % len(kinds)] if len(src[t.name].shape) == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(src[t.name], kind)
        w.add_tensor(t.name, data, raw_dtype=kind)
        stored[t.name] = (kind, data.tobytes(), gguf.quants.dequantize(data, kind))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return stored


def check_peer_file(folder, name, kinds):
    stored = write_by_peer(folder(name + ".gguf"), kinds)
    peer.nibble("convert", folder(name + ".gguf"), folder(name + "-back.gguf"), "-f")
    r = gguf.GGUFReader(folder(name + "-back.gguf"))
    for t in r.tensors:
        kind, data, _ = stored[t.name]
        if t.tensor_type != kind or t.data.tobytes() != data:
            peer.check(False, "%s: type and bytes after nibble read and wrote it" % t.name)
    peer.check(len(r.tensors) == len(stored), "%s: bytes of %d tensors through nibble" % (name, len(stored)))
    return stored


def check_peer_values(folder, name, stored):
    """And the numbers: nibble's decoder against the package's, through a Hugging Face folder."""
    cfg = peer.config()
    peer.nibble("convert", folder(name + ".gguf"), folder(name + "-hf"))
    tensors, _ = peer.read_safetensors(os.path.join(folder(name + "-hf"), "model.safetensors"))
    for hf, t in tensors.items():
        w = peer.to_f32(*t)
        if "q_proj" in hf or "k_proj" in hf:
            heads = cfg["num_attention_heads" if "q_proj" in hf else "num_key_value_heads"]
            w = peer.interleave(w, heads)
        if not np.array_equal(w, np.asarray(stored[peer.gguf_name(hf)][2]).reshape(w.shape)):
            peer.check(False, "%s: values" % hf)
    peer.check(len(tensors) == len(stored), "%s: values of %d tensors in a folder" % (name, len(stored)))


def logits(model):
    text = os.path.join(os.environ.get("NB_DATA", os.path.join(peer.ROOT, "data")), "evaluation.txt")
    out = peer.nibble("eval", model, "--text", text, "--ctx", "64", "--chunks", "2", "--json", "--no-progress")
    return json.loads(out)["logits_hash"]


def check_logits(folder):
    """The package's file runs, and to the last bit as nibble's own and as the folder both came from."""
    write_by_peer(folder("peer.gguf"), [gguf.GGMLQuantizationType.BF16])
    hashes = [logits(m) for m in (folder("peer.gguf"), folder("m.gguf"), peer.MODEL)]
    peer.check(len(set(hashes)) == 1, "the same logits from the package's file, nibble's and the folder: " + hashes[0])


def main():
    q = gguf.GGMLQuantizationType
    with peer.Folder() as folder:
        peer.nibble("convert", peer.MODEL, folder("m.gguf"))
        check_converted(folder("m.gguf"))
        for kind, bound in [("q8_0", 0.01), ("q4_k", 0.1), ("q4_0", 0.12)]:
            peer.nibble("quantize", peer.MODEL, "-o", folder(kind + ".gguf"), "--type", kind)
            check_quantized(folder(kind + ".gguf"), bound)
        floats = check_peer_file(folder, "floats", [q.F16, q.F32, q.BF16])
        check_peer_values(folder, "floats", floats)
        check_peer_file(folder, "blocks", [q.Q8_0, q.Q4_0])
        check_logits(folder)


main()
