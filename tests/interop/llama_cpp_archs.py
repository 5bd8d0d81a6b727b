#!/usr/bin/env python3
"""The models of tests/golden/archs as GGUF files of ours in unmodified llama.cpp (llama-cpp-python): they load,
and its logits are those of the reference.

    llama_cpp_archs.py [CASE...]

The nibble command is taken from $NIBBLE. Run by hand. llama.cpp computes a product of bf16 weights in bf16, so the
files are made with --type f32; its KV cache is f32 too. What it cannot compute is listed below with the reason.
"""
import ctypes
import json
import os
import sys

import peer

peer.need("numpy", "llama_cpp", "safetensors")
import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

ARCHS = os.path.join(peer.ROOT, "tests", "golden", "archs")
TOLERANCE = 2e-3  # of the spread of the logits

# Where llama.cpp computes something else by design, not by our file: case -> why.
SCALE = "divides by the root of the head's size, GGUF has no key for another query_pre_attn_scalar"
OTHERWISE = {
    "gemma2": SCALE,
    "gemma2-old": SCALE,
    "gemma2-uncapped": SCALE,
    "gemma3": SCALE,
    "gemma3-layers": SCALE,
    "gemma3-linear": SCALE,
    "gemma3-linear-old": SCALE,
    "gemma3-old": SCALE,
    "gpt-neox-no-bias": "wants biases and a head of its own in architecture gptneox",
    "starcoder2": "has no windows in architecture starcoder2",
    "starcoder2-no-bias-old": "wants biases in architecture starcoder2",
    "phi3-longrope-long-old": "has no windows in architecture phi3",
    "phi3-longrope-short": "rounds its context up to 256, beyond the original one: the long factors",
    "phi3-mini4-old": "rounds its context up to 256, beyond the original one: the long factors",
    "llama-dynamic-above": "knows no dynamic scaling",
    "llama-longrope-short": "rounds its context up to 256, beyond the original one: the long factors",
    "llama-yarn-attention-factor": "rounds the ends of yarn's ramp (truncate: false)",
    "qwen2-moe-step": "wants experts in every layer of qwen2moe",
    "qwen3-moe-step-old": "wants experts in every layer of qwen3moe",
    "qwen3-moe-plain": "has no bias of attention's output in architecture qwen3moe",
    "qwen3-bias": "has no bias of attention's output in architecture qwen3",
    "bitnet": "gates by SiLU, not by the squared ReLU that the model has",
    "bitnet-bf16": "gates by SiLU, not by the squared ReLU that the model has",
    "bitnet-packed-old": "gates by SiLU, not by the squared ReLU that the model has",
    "gemma2": "scales by the head size, not by query_pre_attn_scalar",
    "gemma2-old": "scales by the head size, not by query_pre_attn_scalar",
    "gemma2-uncapped": "has caps in every gemma2",
    "gemma3": "scales by the head size, not by query_pre_attn_scalar",
    "gemma3-layers": "has every sixth layer global in every gemma3",
    "gemma3-linear": "scales by the head size, not by query_pre_attn_scalar",
    "gemma3-linear-old": "scales by the head size, not by query_pre_attn_scalar",
    "gemma3-old": "scales by the head size, not by query_pre_attn_scalar",
    "gpt-neox-no-bias": "wants a head of its own in architecture gptneox",
    "phi3-longrope-long-old": "has no windows in architecture phi3",
    "phi3-longrope-short": "rounds its context up to 256, beyond the original one: the long factors",
    "phi3-mini4-old": "rounds its context up to 256, beyond the original one: the long factors",
    "starcoder2-no-bias-old": "wants biases in architecture starcoder2",
    "smollm3-layers-old": "rotates all but every fourth layer in architecture smollm3",
}

# llama.cpp has no windows in these architectures: compared are the tokens that see all before them.
WINDOWS = {"mistral-window", "mistral-window-old", "mixtral-window-old", "qwen2-window", "qwen2-window-old",
           "qwen3-window", "phi3-window-old", "starcoder2"}


def quiet():
    @llama_cpp.llama_log_callback
    def say(level, text, _):
        if level >= 4:  # GGML_LOG_LEVEL_ERROR
            messages.append(text.decode("utf-8", "replace").strip())

    messages = []
    llama_cpp.llama_log_set(say, ctypes.c_void_p(0))
    return messages, say


class Model:
    """A file and a context that is as long as the text."""

    def __init__(self, path, n, embeddings=False):
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError("does not load")
        p = llama_cpp.llama_context_default_params()
        p.n_ctx = p.n_batch = p.n_ubatch = n
        p.type_k = p.type_v = llama_cpp.GGML_TYPE_F32
        p.n_threads = p.n_threads_batch = 1
        p.flash_attn_type = 0  # off
        p.swa_full = True
        p.embeddings = embeddings
        if embeddings:
            p.pooling_type = 0  # none: a row for each token
        self.ctx = llama_cpp.llama_init_from_model(self.model, p)
        if not self.ctx:
            raise RuntimeError("no context")

    def rows(self, tokens, width, embeddings):
        n = len(tokens)
        batch = llama_cpp.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i, t in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = int(t), i, 1, 0, 1
        call = llama_cpp.llama_encode if embeddings else llama_cpp.llama_decode
        status = call(self.ctx, batch)
        if status != 0:
            raise RuntimeError("decode: %d" % status)
        get = llama_cpp.llama_get_embeddings_ith if embeddings else llama_cpp.llama_get_logits_ith
        out = np.stack([np.ctypeslib.as_array(get(self.ctx, i), (width,)).copy() for i in range(n)])
        llama_cpp.llama_batch_free(batch)
        return out

    def close(self):
        if getattr(self, "ctx", None):
            llama_cpp.llama_free(self.ctx)
        if self.model:
            llama_cpp.llama_model_free(self.model)


def check(name, path):
    folder = os.path.join(ARCHS, name)
    golden = load_file(os.path.join(folder, "golden.safetensors"))
    tokens = golden["input_ids"]
    encoder = "hidden" in golden
    want = golden["hidden" if encoder else "float_logits" if "float_logits" in golden else "logits"]
    if name in WINDOWS:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            tokens = tokens[:json.load(f)["sliding_window"]]
        want = want[:len(tokens)]
    model = Model(path, len(tokens), encoder)
    try:
        if llama_cpp.llama_n_ctx(model.ctx) < len(tokens):
            raise RuntimeError("context of %d" % llama_cpp.llama_n_ctx(model.ctx))
        got = model.rows(tokens, want.shape[1], encoder)
    finally:
        model.close()
    return float(np.abs(got - want).max() / (want.max() - want.min()))


def main():
    messages, keep = quiet()
    names = sys.argv[1:] or sorted(os.listdir(ARCHS))
    counts = {"ok": 0, "FAIL": 0, "other": 0, "none": 0}
    with peer.Folder() as tmp:
        for name in names:
            path = tmp("a.gguf")
            r = peer.subprocess.run([peer.NIBBLE, "quantize", os.path.join(ARCHS, name), "-o", path, "--type", "f32", "-f"],
                                    capture_output=True, text=True)
            if r.returncode != 0:
                counts["none"] += 1
                print("none  %-30s %s" % (name, r.stderr.strip().splitlines()[-1]))
                continue
            messages.clear()
            try:
                diff = check(name, path)
                line = "differs by %.1e of the spread" % diff
                line += ", of tokens within the window" if name in WINDOWS else ""
                ok = diff <= TOLERANCE
            except RuntimeError as e:
                line, ok = "%s: %s" % (e, " | ".join(messages[:2])), False
            word = "ok" if ok else "other" if name in OTHERWISE else "FAIL"
            if word == "other":
                line += ": " + OTHERWISE[name]
            counts[word] += 1
            print("%-5s %-30s %s" % (word, name, line), flush=True)
    print(json.dumps(counts))
    return counts["FAIL"] > 0


sys.exit(main())
