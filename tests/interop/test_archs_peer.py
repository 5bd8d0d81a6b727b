#!/usr/bin/env python3
"""The models of tests/golden/archs as GGUF files: names, shapes, values and metadata keys are those of the `gguf`
package and of the conventions of llama.cpp's converter, which the functions below restate."""
import json
import os
import re

import peer

peer.need("numpy", "gguf")
import gguf  # noqa: E402
import numpy as np  # noqa: E402

ARCHS = os.path.join(peer.ROOT, "tests", "golden", "archs")
# llama.cpp reads it, the package does not name it.
MORE_KEYS = {"hidden_activation"}
KEYS = ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"]

# What the package's map of names lacks.
ALIASES = {
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
}
UNUSED = re.compile(r"^vision_tower\.|^multi_modal_projector\.|\.attn\.(masked_)?bias$|(^|\.)pooler\.|^cls\.")


# What the package's architectures do not have: case -> what.
BEYOND = {
    "qwen2-moe-step": "dense layers in qwen2moe",
    "qwen3-moe-step-old": "dense layers in qwen3moe",
}


def refused():
    """Cases that nibble does not open: the list of the C tests."""
    with open(os.path.join(peer.ROOT, "tests", "support", "arch_cases.h"), encoding="utf-8") as f:
        block = re.search(r"arch_refused\[\] = \{(.*?)\n\};", f.read(), re.S)
    return set(re.findall(r'\{"([^"]+)",', block.group(1)))


def known_keys():
    """Suffixes of all keys under an architecture's name."""
    out = set()

    def walk(c):
        for k, v in vars(c).items():
            if isinstance(v, str) and v.startswith("{arch}."):
                out.add(v[len("{arch}."):])
            elif isinstance(v, type) and not k.startswith("__"):
                walk(v)
    walk(gguf.Keys)
    return out


def map_name(names, hf):
    """The GGUF name of a Hugging Face tensor; None: the package knows none."""
    stem, suffix = re.fullmatch(r"(.*)\.(weight|bias)", hf).groups()
    for tail, ours in ALIASES.items():
        if stem.endswith(tail):
            return "blk.%s.%s.%s" % (re.search(r"\.(\d+)\.", stem).group(1), ours, suffix)
    for prefix in ("", "transformer.", "model.", "bert."):
        for name in {prefix + stem, re.sub("^" + re.escape(prefix), "", stem) if prefix else stem}:
            got = names.get_name(name)
            if got is not None:
                return got + "." + suffix
    return None


def heads_of(cfg, kv=False):
    n = cfg.get("num_attention_heads") or cfg.get("n_head")
    return cfg.get("num_key_value_heads") or n if kv else n


def pairs(w, heads):
    """Rows of each head from halves to pairs."""
    return w.reshape(heads, 2, -1, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def neox_qkv(w, heads):
    """Rows of q, k, v of each head in turn -> all q, all k, all v."""
    parts = w.reshape(heads, 3, -1, *w.shape[1:])
    return np.concatenate([parts[:, i].reshape(-1, *w.shape[1:]) for i in range(3)])


def ternary(w):
    """BitNet's online rounding: -1, 0, 1 times the mean magnitude."""
    scale = np.float32(1) / np.maximum(np.abs(w).mean(dtype=np.float64).astype(np.float32), np.float32(1e-5))
    return np.clip(np.rint(w * scale), -1, 1) / scale


def unpacked(data, shape, scale):
    """Four rows in a byte, and the scale beside it."""
    b = np.frombuffer(data, np.uint8).reshape(shape)
    return np.concatenate([(b >> 2 * k & 3).astype(np.float32) - 1 for k in range(4)]) * scale


def convert(arch, cfg, name, w):
    """The values of HF tensor `name` as they stand in a GGUF file."""
    if arch in ("llama", "granite", "granitemoe", "smollm3", "olmo"):
        if re.search(r"\.q_proj\.", name):
            return pairs(w, heads_of(cfg))
        if re.search(r"\.k_proj\.", name):
            return pairs(w, heads_of(cfg, kv=True))
    if arch.startswith("gemma") and re.search(r"norm\.weight$", name):
        return w + np.float32(1)
    if arch == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name):
        return w.T
    if arch == "gptneox" and ".query_key_value." in name:
        return neox_qkv(w, heads_of(cfg))
    if "roberta" in cfg["model_type"] and name.endswith("position_embeddings.weight"):
        return w[cfg["pad_token_id"] + 1:]  # positions are counted from there
    return w.squeeze() if name.endswith("shared_expert_gate.weight") else w


def expected(arch, cfg, names, tensors):
    """GGUF name -> values."""
    out, experts = {}, {}
    for hf, t in tensors.items():
        if UNUSED.search(hf):
            continue
        hf = hf.removeprefix("language_model.")
        if hf.endswith(".weight_scale"):
            continue
        if t[0] == "U8":
            w = unpacked(t[2], t[1], peer.to_f32(*tensors[hf + "_scale"])[0])
        else:
            w = peer.to_f32(*t)
        if cfg.get("quantization_config", {}).get("quantization_mode") == "online" and hf.endswith("_proj.weight"):
            w = ternary(w)
        one = re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", hf)
        if one:
            experts.setdefault("%s.%s.weight" % (one.group(1), one.group(3)), {})[int(one.group(2))] = w
            continue
        if hf.endswith("block_sparse_moe.input_linear.weight"):
            block = hf.split(".")[2]
            half = w.shape[1] // 2
            out["blk.%s.ffn_gate_exps.weight" % block] = w[:, :half]
            out["blk.%s.ffn_up_exps.weight" % block] = w[:, half:]
            continue
        per_head = re.fullmatch(r"(.*\.[qk]_layernorm)\.norms\.(\d+)\.weight", hf)
        if per_head:
            experts.setdefault(per_head.group(1) + ".weight", {})[int(per_head.group(2))] = w
            continue
        name = map_name(names, hf)
        peer.check(name is not None, "%s has a GGUF name" % hf) if name is None else None
        out[name] = convert(arch, cfg, hf, w)
    for hf, parts in experts.items():
        name = map_name(names, hf)
        peer.check(name is not None, "%s has a GGUF name" % hf) if name is None else None
        out[name] = np.stack([parts[i] for i in sorted(parts)])
    return out


def check_tensors(case, r, arch, cfg, want):
    side = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
    allowed = {gguf.TENSOR_NAMES[t] for t in gguf.MODEL_TENSORS[arch]}
    got = {t.name: t for t in r.tensors}
    if set(got) - side != set(want):
        peer.check(False, "%s: too many %s, missing %s" % (case, sorted(set(got) - side - set(want)),
                                                           sorted(set(want) - set(got))))
    for name, t in got.items():
        if name in side:
            continue
        stem = re.sub(r"\.(weight|bias)$", "", re.sub(r"^blk\.\d+\.", "blk.{bid}.", name))
        if stem not in allowed:
            peer.check(False, "%s: %s is a tensor of %s in the package" % (case, name, arch.name))
        values = np.array(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32)
        w = want[name]
        same = np.allclose if "quantization_config" in cfg else np.array_equal  # the order of a sum
        if tuple(reversed(t.shape.tolist())) != w.shape or not same(values.reshape(w.shape), w):
            peer.check(False, "%s: shape and values of %s" % (case, name))
        if w.ndim == 1 and t.tensor_type != gguf.GGMLQuantizationType.F32:
            peer.check(False, "%s: %s is f32" % (case, name))


def check_keys(case, r, arch, cfg):
    keys = {k[len(arch) + 1:] for k in r.fields if k.startswith(arch + ".")}
    missing = [k for k in KEYS if k not in keys]
    unknown = sorted(keys - known_keys() - MORE_KEYS)
    if missing or unknown:
        peer.check(False, "%s: keys missing %s, unknown %s" % (case, missing, unknown))
    blocks = cfg.get("num_hidden_layers") or cfg.get("n_layer") or cfg.get("n_layers")
    if r.get_field(arch + ".block_count").contents() != blocks:
        peer.check(False, "%s: %d blocks" % (case, blocks))


def main():
    closed = refused()
    with peer.Folder() as tmp:
        for case in sorted(os.listdir(ARCHS)):
            if case in closed:
                print("refused %s" % case)
                continue
            if case in BEYOND:
                print("beyond  %s: no %s in the package" % (case, BEYOND[case]))
                continue
            folder = os.path.join(ARCHS, case)
            path = tmp("a.gguf")
            peer.nibble("convert", folder, path, "-f", "--quiet")
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
                cfg = json.load(f)
            cfg = cfg.get("text_config", cfg)
            r = gguf.GGUFReader(path)
            name = r.get_field("general.architecture").contents()
            archs = [a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == name]
            peer.check(len(archs) == 1, "%s: '%s' is an architecture of the package" % (case, name))
            blocks = int(r.get_field(name + ".block_count").contents())
            tensors, _ = peer.read_safetensors(os.path.join(folder, "model.safetensors"))
            want = expected(name, cfg, gguf.get_tensor_name_map(archs[0], blocks), tensors)
            check_tensors(case, r, archs[0], cfg, want)
            check_keys(case, r, name, cfg)
            peer.check(True, "%s: %d tensors, %d keys" % (case, len(r.tensors), len(r.fields)))


main()
