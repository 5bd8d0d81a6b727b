#!/usr/bin/env python3
"""Our GGUF files in unmodified llama.cpp (llama-cpp-python): they load, generate the same tokens and
have the same perplexity as in nibble.

    llama_cpp_peer.py MODEL TEXT [--chunks N] [--types f32,bf16,q8_0,...]

MODEL is a Hugging Face folder, TEXT a UTF-8 file; the nibble command is taken from $NIBBLE. Heavy:
run by hand (or with NIBBLE_HEAVY=1 by .ci/run). Windows of 1,024 tokens, the second half scored.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from llama_cpp import Llama
except ImportError as e:
    print(f"skip: {e.name} is not installed")
    sys.exit(77)


def nibble(*args):
    return subprocess.run([os.environ["NIBBLE"], *map(str, args)], check=True, capture_output=True).stdout


def perplexity(path, text, ctx, chunks):
    llm = Llama(path, n_ctx=ctx, n_batch=ctx, logits_all=True, verbose=False, n_threads=2)
    ids = llm.tokenize(text, add_bos=False, special=False)
    chunks = min(chunks, len(ids) // ctx)
    nll, n = 0.0, 0
    for c in range(chunks):
        window = ids[c * ctx : (c + 1) * ctx]
        llm.reset()
        llm.eval(window)
        z = np.asarray(llm.scores[ctx // 2 : ctx - 1], dtype=np.float64)
        z -= z.max(axis=1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        nxt = window[ctx // 2 + 1 :]
        nll -= logp[np.arange(len(nxt)), nxt].sum()
        n += len(nxt)
    return float(np.exp(nll / n)), len(ids)


def greedy(path, prompt, count):
    llm = Llama(path, n_ctx=256, logits_all=False, verbose=False, n_threads=2)
    ids = llm.tokenize(prompt.encode(), add_bos=False, special=False)
    out = []
    for token in llm.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        if token == llm.token_eos() or len(out) == count:
            break
        out.append(token)
    return llm.detokenize(out, prev_tokens=ids).decode("utf-8", "replace")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--chunks", type=int, default=4)
    p.add_argument("--ctx", type=int, default=1024)
    p.add_argument("--types", default="f32,bf16,f16,q8_0,q6_k,q4_k_m,q4_k_s,q4_0")
    p.add_argument("--prompt", default="The old man walked down to the river and")
    o = p.parse_args()
    text = open(o.text, "rb").read()
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for kind in o.types.split(","):
            path = os.path.join(tmp, kind + ".gguf")
            nibble("quantize", o.model, "-o", path, "--type", kind, "--quiet")
            ours = json.loads(
                nibble("eval", path, "--text", o.text, "--ctx", o.ctx, "--chunks", o.chunks, "--json")
            )["ppl"]
            theirs, n_ids = perplexity(path, text, o.ctx, o.chunks)
            ratio = ours / theirs - 1
            ok = abs(ratio) <= 0.005
            line = f"{kind:7s} perplexity ours {ours:.4f} theirs {theirs:.4f} ({100 * ratio:+.3f} %)"
            if kind in ("f32", "bf16"):
                a = greedy(path, o.prompt, 64)
                b = nibble("run", path, "-p", o.prompt, "-n", 64, "--temp", 0, "--quiet").decode("utf-8", "replace")
                b = b.removeprefix(o.prompt).rstrip("\n")
                same = a.rstrip("\n") == b
                ok = ok and same
                line += f", greedy 64 tokens {'equal' if same else 'DIFFER'}"
                if not same:
                    line += f"\n  theirs {a!r}\n  ours   {b!r}"
            print(("ok   " if ok else "FAIL ") + line, flush=True)
            failed += not ok
    sys.exit(1 if failed else 0)


main()
