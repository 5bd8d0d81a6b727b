#!/usr/bin/env python3
"""Writes the hand-made seeds of fuzz/corpus/{gguf,safetensors}. Standard library only.

A good file of each kind of content, and one file per class of advisory against GGUF and safetensors
readers: counts and lengths that overflow, tensors larger than the file, overlaps, duplicates.
Not made here: crash-*, found by the fuzzers, and peer-all, written by the packages `gguf` and
`safetensors` with a tensor of each type and metadata of each kind.
"""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


# ---- GGUF ----
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B",
        U64: "<Q", I64: "<q", F64: "<d"}


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == STR:
        return text(v)
    if kind == ARR:
        item, items = v
        return struct.pack("<IQ", item, len(items)) + b"".join(value(item, x) for x in items)
    return struct.pack(PACK[kind], v)


def kv(key, kind, v):
    return text(key) + struct.pack("<I", kind) + value(kind, v)


def info(name, ne, kind, offset):
    return text(name) + struct.pack("<I", len(ne)) + struct.pack("<%dQ" % len(ne), *ne) + struct.pack(
        "<IQ", kind, offset)


def gguf(kvs, infos, data=b"", version=3, align=32, n_kv=None, n_tensors=None):
    n_kv = len(kvs) if n_kv is None else n_kv
    n_tensors = len(infos) if n_tensors is None else n_tensors
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_kv) + b"".join(kvs) + b"".join(infos)
    return head + bytes(-len(head) % align) + data


def gguf_seeds():
    everything = [
        kv("general.architecture", STR, "llama"), kv("a", U8, 1), kv("b", I8, -1), kv("c", U16, 2),
        kv("d", I16, -2), kv("e", U32, 3), kv("f", I32, -3), kv("g", F32, 1.5), kv("h", BOOL, 1),
        kv("i", U64, 1 << 63), kv("j", I64, -5), kv("k", F64, 0.1),
        kv("l", ARR, (STR, ["a", "", "b c"])), kv("m", ARR, (F32, [1.0, -2.0])),
        kv("n", ARR, (BOOL, [0, 1])), kv("o", ARR, (I32, [])), kv("p", ARR, (U64, [7]))]
    tensors = [("f32", 0, (3, 2), 24), ("f16", 1, (5,), 10), ("q4_0", 2, (32, 2), 36),
               ("q8_0", 8, (32,), 34), ("q4_k", 12, (256,), 144), ("q6_k", 14, (256,), 210),
               ("i8", 24, (1, 2, 3, 1), 6), ("i32", 26, (2,), 8), ("i64", 27, (1,), 8),
               ("f64", 28, (1,), 8), ("bf16", 30, (3,), 6), ("scalar", 0, (), 4), ("none", 0, (0, 4), 0)]
    infos, data, at = [], b"", 0
    for name, kind, ne, n in tensors:
        infos.append(info(name, ne, kind, at))
        body = bytes((i * 37 + kind) & 255 for i in range(n))
        data += body + bytes(-n % 32)
        at = len(data)
    put("gguf", "good-all", gguf(everything, infos, data))
    put("gguf", "good-v2", gguf(everything[:3], infos[:2], data[:64], version=2))
    put("gguf", "good-unpadded", gguf([], infos[:2], data[:42]))
    put("gguf", "good-empty", gguf([], []))
    put("gguf", "good-align8", gguf([kv("general.alignment", U32, 8)],
                                    [info("a", (1,), 0, 0), info("b", (1,), 0, 8)], bytes(16), align=8))
    put("gguf", "good-meta-only", gguf([kv("x", STR, "y")], []))
    for name, kind, ne, n in tensors[2:6]:
        put("gguf", "good-" + name, gguf([], [info("w", ne, kind, 0)], bytes(range(256))[:n].ljust(n, b"\1")))
    put("gguf", "bad-kv-count", gguf([], [], n_kv=1 << 63))
    put("gguf", "bad-tensor-count", gguf([], [], n_tensors=(1 << 64) - 1))
    put("gguf", "bad-key-length", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, (1 << 64) - 1) + bytes(32))
    put("gguf", "bad-array-count", gguf([text("k") + struct.pack("<IIQ", ARR, U64, 1 << 61)], [], bytes(64)))
    put("gguf", "bad-array-strings", gguf([text("k") + struct.pack("<IIQ", ARR, STR, 1 << 60)], [], bytes(64)))
    put("gguf", "bad-array-nested", gguf([text("k") + struct.pack("<IIQ", ARR, ARR, 1)], [], bytes(64)))
    put("gguf", "bad-dims", gguf([], [text("t") + struct.pack("<I", 1 << 30)], bytes(64)))
    put("gguf", "bad-shape-wrap", gguf([], [info("t", (1 << 32, 1 << 32), 0, 0)], bytes(64)))
    put("gguf", "bad-bytes-wrap", gguf([], [info("t", (1 << 62,), 0, 0)], bytes(64)))
    put("gguf", "bad-too-large", gguf([], [info("t", (256, 999), 12, 0)], bytes(64)))
    put("gguf", "bad-overlap", gguf([], [info("a", (8,), 0, 0), info("b", (8,), 0, 0)], bytes(64)))
    put("gguf", "bad-hole", gguf([], [info("a", (8,), 0, 0), info("b", (8,), 0, 64)], bytes(128)))
    put("gguf", "bad-twice", gguf([], [info("a", (8,), 0, 0), info("a", (8,), 0, 32)], bytes(64)))
    put("gguf", "bad-key-twice", gguf([kv("a", U8, 1), kv("a", U8, 2)], []))
    put("gguf", "bad-type", gguf([], [info("a", (8,), 137, 0)], bytes(64)))
    put("gguf", "bad-block", gguf([], [info("a", (33,), 8, 0)], bytes(64)))
    put("gguf", "bad-align0", gguf([kv("general.alignment", U32, 0)], []))
    put("gguf", "bad-align-huge", gguf([kv("general.alignment", U32, 1 << 31)], []))
    put("gguf", "bad-big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    put("gguf", "bad-v1", gguf([], [], version=1))


# ---- safetensors ----
def st(header, data=b"", n=None):
    b = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(b) if n is None else n) + b + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    good, at = {"__metadata__": {"format": "pt", "k\u00e9y": "v\nal"}}, 0
    for dtype, size in [("F64", 8), ("I64", 8), ("U64", 8), ("F32", 4), ("I32", 4), ("U32", 4), ("F16", 2),
                        ("BF16", 2), ("I16", 2), ("U16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)]:
        good[dtype.lower()] = entry(dtype, [2, 1, 3], at, at + 6 * size)
        at += 6 * size
    good["scalar"] = entry("F32", [], at, at + 4)
    good["empty"] = entry("F32", [4, 0], at, at)
    put("safetensors", "good-all", st(good, bytes(at + 4)))
    put("safetensors", "good-empty", st({}))
    put("safetensors", "good-spaces", st(b"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}   ", b"x"))
    put("safetensors", "good-order", st({"b": entry("U8", [1], 1, 2), "a": entry("U8", [1], 0, 1)}, b"ab"))
    put("safetensors", "good-escapes", st(b"{\"\\u00e9\\ud83d\\ude00\":{\"shape\":[1],\"dtype\":\"\\u00558\","
                                          b"\"data_offsets\":[0,1]}}", b"x"))
    put("safetensors", "bad-length", st({}, n=1 << 63))
    put("safetensors", "bad-length-max", st({}, n=100000000))
    put("safetensors", "bad-length-over", st(b"{}" + bytes(8), n=100000001))
    put("safetensors", "bad-deep", st(b"{\"a\":" + b"[" * 3000))
    put("safetensors", "bad-dtype", st({"a": entry("F31", [1], 0, 1)}, b"x"))
    put("safetensors", "bad-dtype-known", st({"a": entry("F4", [2], 0, 1)}, b"x"))
    put("safetensors", "bad-dtype-zero", st({"a": entry("U8\0", [1], 0, 1)}, b"x"))
    put("safetensors", "bad-wrap", st({"a": entry("F32", [1 << 32, 1 << 31], 0, 0)}))
    put("safetensors", "bad-negative", st({"a": entry("U8", [-1], 0, 1)}, b"x"))
    put("safetensors", "bad-fraction", st({"a": entry("U8", [1.0], 0, 1)}, b"x"))
    put("safetensors", "bad-wide", st({"a": entry("U8", [1 << 65], 0, 1)}, b"x"))
    put("safetensors", "bad-reversed", st({"a": entry("U8", [1], 1, 0)}, b"x"))
    put("safetensors", "bad-size", st({"a": entry("U8", [1], 0, 2)}, b"xy"))
    put("safetensors", "bad-overlap", st({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"xyz"))
    put("safetensors", "bad-hole", st({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"xyz"))
    put("safetensors", "bad-rest", st({"a": entry("U8", [1], 0, 1)}, b"xy"))
    put("safetensors", "bad-short", st({"a": entry("U8", [3], 0, 3)}, b"xy"))
    put("safetensors", "bad-twice", st(b"{\"a\":{},\"a\":{}}"))
    put("safetensors", "bad-meta", st({"__metadata__": {"a": 1}}))
    put("safetensors", "bad-name-zero", st({"a\0b": entry("U8", [1], 0, 1)}, b"x"))
    put("safetensors", "bad-utf8", st(b"{\"\xff\":1}"))
    put("safetensors", "bad-surrogate", st(b"{\"\\ud800\":1}"))


gguf_seeds()
safetensors_seeds()
