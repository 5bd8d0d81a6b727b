#!/usr/bin/env python3
"""General grids read from their parts by NumPy and ml_dtypes alone (docs/formats/grids.md), against nibble's own decoding."""
import peer

peer.need("numpy", "safetensors", "ml_dtypes")
import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from safetensors import safe_open  # noqa: E402

ROWS, COLS = 130, 1680  # not a multiple of the tile; of 3, 5, 7 and 16

FLOATS = {"fp8_e4m3": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2, "fp6_e2m3": ml_dtypes.float6_e2m3fn,
          "fp6_e3m2": ml_dtypes.float6_e3m2fn, "fp4_e2m1": ml_dtypes.float4_e2m1fn}
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def signed(magnitudes):
    return magnitudes + [-m for m in magnitudes]


def apot(first, second):
    return signed([a + b for b in second for a in first])


TABLES = {
    "binary": [-1.0, 1.0], "nf4": NF4, "mxint8": [(c - 127) / 64 for c in range(256)],
    "pot3": signed([0.0, 1.0, 0.5, 0.25]), "pot4": signed([0.0] + [2.0 ** -i for i in range(7)]),
    "log2_3": signed([2.0 ** -i for i in range(4)]), "log2_4": signed([2.0 ** -i for i in range(8)]),
    "apot4": apot([0, 1, 1 / 2, 1 / 8], [0, 1 / 4]), "apot5": apot([0, 1, 1 / 4, 1 / 16], [0, 1 / 2, 1 / 8, 1 / 32]),
}


def unpack(packed, bits, n):
    """Codes of rows of bytes, lowest bits first."""
    stream = np.unpackbits(packed.reshape(packed.shape[0], -1), axis=1, bitorder="little")[:, :n * bits]
    return (stream.reshape(-1, n, bits).astype(np.int64) << np.arange(bits)).sum(axis=2)


def split(name):
    """element, granularity, variants of a format's name."""
    if name.startswith("mx"):
        return ("mxint8" if name == "mxint8" else name[2:]), "g32", ["e8m0"]
    if name.startswith("nv"):
        return name[2:], "g16", ["e4m3"]
    words = name.split("_")
    at = max(i for i, w in enumerate(words) if w in ("t", "c") or w[0] in "bg" and w[1:].isdigit())
    return "_".join(words[:at]), words[at], words[at + 1:]


def levels_of(element, part):
    if element in FLOATS:
        bits = int(element[2])
        codes = np.arange(1 << bits, dtype=np.uint8)
        return bits, codes.view(FLOATS[element]).astype(np.float32)
    if element in TABLES:
        table = np.array(TABLES[element], np.float32)
        return len(table).bit_length() - 1, table
    if element == "ternary":
        return 2, np.arange(4, dtype=np.float32) - 1
    if element.startswith("int"):
        bits = int(element[3:])
        return bits, np.arange(1 << bits, dtype=np.float32) - (1 << (bits - 1))
    return (len(part) - 1).bit_length(), part


def spread(values, share, cols):
    """One number per group, channel, tile or tensor to one per element."""
    if share == "t":
        return values.reshape(1, 1)
    if share == "b128":
        return np.repeat(np.repeat(values, 128, axis=0), 128, axis=1)[:ROWS, :cols]
    return np.repeat(values, cols // values.shape[1], axis=1)


def scales_of(parts, share, variants, cols):
    s = parts.get("scales")
    if s is None:
        return np.ones((1, 1), np.float32)
    if "e8m0" in variants:
        s = np.exp2(s.astype(np.float32) - 127).astype(np.float32)
    elif "e4m3" in variants:
        s = s.view(ml_dtypes.float8_e4m3fn).astype(np.float32) * parts["scale2"]
    elif "dq" in variants:
        s = s.astype(np.float32) * parts["scale2"]
    return spread(s.astype(np.float32), share, cols)


def decode(name, parts, cols):
    element, share, variants = split(name)
    scale = scales_of(parts, share, variants, cols)
    if element.startswith("vq"):
        book = parts["levels"]
        codes = unpack(parts["codes"], len(book).bit_length() - 1, cols // book.shape[1])
        return scale * book[codes].reshape(ROWS, cols)
    if element.startswith("cb") and share != "t":
        bits = int(element[2:])
        codes = unpack(parts["codes"], bits, cols)
        own = parts["levels"].astype(np.float32).reshape(ROWS, -1, 1 << bits)
        groups = np.repeat(np.arange(own.shape[1]), cols // own.shape[1])
        return own[np.arange(ROWS)[:, None], groups[None, :], codes]
    bits, level = levels_of(element, parts.get("levels"))
    level = level[unpack(parts["codes"], bits, cols)]
    zeros = parts.get("zeros")
    if "asym" in variants:
        n = 1 if share in "tc" else cols // int(share[1:])
        zeros = unpack(zeros.reshape(-1 if share != "t" else 1, zeros.shape[-1]), bits, n) - (1 << (bits - 1))
    if zeros is not None:
        level = level - spread(zeros.astype(np.float32), share, cols)
    return scale * level


def main():
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((ROWS, COLS)) * 0.05).astype(np.float32)
    names = ["int4_g16", "int4_c", "int8_t", "int2_g16_asym", "int3_g16_asym", "int4_g16_asym", "int5_g16_asym", "int8_t_asym",
             "int4_c_asym", "int3_g16_fz", "int4_t_fz", "int7_c", "int6_b128", "ternary_t", "ternary_g16", "binary_c", "nf4_g16",
             "fp8_e4m3_c", "fp8_e4m3_b128", "fp8_e5m2_g16", "fp6_e2m3_g16", "fp6_e3m2_t", "fp4_e2m1_g16", "nvfp4_e2m1", "pot3_g16",
             "pot4_c", "log2_3_c", "log2_4_t", "apot4_g16", "apot5_c", "cb2_t", "cb3_c", "cb4_t", "cb6_c", "vq2_k16_t", "vq3_k64_t",
             "vq4_k256_c", "vq5_k1024_t", "vq7_k4096_c", "vq8_k256_t"]
    wide = ["mxint8", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4_e2m1", "int4_g32_dq", "int8_g64_asym",
            "nf4_g64_dq", "cb2_g128", "int4_g128_fz"]
    with peer.Folder() as folder:
        for name in names + wide:
            cols = 512 if name in wide else COLS
            np.save(folder("x.npy"), np.ascontiguousarray(x[:, :cols]))
            peer.nibble("quantize", folder("x.npy"), "-o", folder("y.safetensors"), "--type", name, "-f", "-q")
            peer.nibble("quantize", folder("x.npy"), "-o", folder("y.npy"), "--type", name, "-f", "-q")
            with safe_open(folder("y.safetensors"), "numpy") as f:
                said = [v for k, v in f.metadata().items() if k.startswith("nibble.type.")]
                parts = {k.rsplit(".", 1)[1]: f.get_tensor(k) for k in f.keys()}
            y, ours = decode(name, parts, cols), np.load(folder("y.npy"))
            close = np.abs(y - ours).max() <= 1e-6 * np.abs(ours).max()
            peer.check(said == [name] and close, name)


main()
