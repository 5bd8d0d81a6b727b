"""What the interop scripts share: running nibble, reading the bundled model, reporting.

A script takes the nibble binary from $NIBBLE and the model from $NB_MODELS/tiny-7m (or the
repository's models/), prints a line per check and exits 0; without its Python package it prints one
line that says so and exits 77.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(os.environ.get("NB_MODELS", os.path.join(ROOT, "models")), "tiny-7m")
NIBBLE = os.path.abspath(os.environ.get("NIBBLE", os.path.join(ROOT, "build", "nibble")))


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def need(*modules):
    for m in modules:
        try:
            __import__(m)
        except ImportError:
            skip("no Python package '%s'" % m)
    if not os.access(NIBBLE, os.X_OK):
        print("no nibble binary at '%s': set NIBBLE" % NIBBLE)
        sys.exit(1)


def nibble(*args):
    """Runs nibble; what it prints. A failure of nibble is a failure of the script."""
    r = subprocess.run([NIBBLE, *args], capture_output=True, text=True)
    if r.returncode != 0:
        print("nibble %s: exit %d\n%s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
        sys.exit(1)
    return r.stdout


def check(ok, what):
    print("%s  %s" % ("ok  " if ok else "FAIL", what))
    if not ok:
        sys.exit(1)


def config():
    with open(os.path.join(MODEL, "config.json"), encoding="utf-8") as f:
        return json.load(f)


class Folder:
    """A temporary folder that goes away."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="nibble-interop-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def __call__(self, name):
        return os.path.join(self.path, name)


def read_safetensors(path):
    """Without the package: name -> (dtype, shape, bytes), and the metadata."""
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    meta = header.pop("__metadata__", {})
    out = {}
    for name, e in header.items():
        begin, end = e["data_offsets"]
        out[name] = (e["dtype"], tuple(e["shape"]), data[8 + n + begin:8 + n + end])
    return out, meta


def to_f32(dtype, shape, data):
    import numpy as np
    if dtype == "BF16":
        wide = np.frombuffer(data, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(shape)
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
    return np.frombuffer(data, kind).astype(np.float32).reshape(shape)


def gguf_name(hf):
    """The GGUF name of a tensor of a Llama."""
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if hf in fixed:
        return fixed[hf]
    parts = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down"}
    layer, rest = hf[len("model.layers."):].split(".", 1)
    return "blk.%s.%s.weight" % (layer, parts[rest[:-len(".weight")]])


def interleave(w, heads):
    """Rows of each head from halves to pairs, as GGUF keeps Q and K of a Llama."""
    return w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def source():
    """The bundled model in GGUF's names and row order, as f32."""
    cfg, out = config(), {}
    tensors, _ = read_safetensors(os.path.join(MODEL, "model.safetensors"))
    for name, t in tensors.items():
        w = to_f32(*t)
        if "q_proj" in name:
            w = interleave(w, cfg["num_attention_heads"])
        elif "k_proj" in name:
            w = interleave(w, cfg["num_key_value_heads"])
        out[gguf_name(name)] = w
    return out
