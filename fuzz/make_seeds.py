#!/usr/bin/env python3
"""Writes the hand-made seeds of fuzz/corpus. Standard library only.

A good file of each kind of content, and one file per class of advisory against GGUF and safetensors
readers: counts and lengths that overflow, tensors larger than the file, overlaps, duplicates.
Not made here: crash-*, found by the fuzzers, and peer-all, written by the packages `gguf` and
`safetensors` with a tensor of each type and metadata of each kind, and by `numpy`.
"""
import base64
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


# ---- tokenizer.json ----
def bytes_to_unicode():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def added(i, content, special=True, **flags):
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": special, **flags}


def tokenizer(vocab, merges, pre=None, norm=None, post=None, dec=None, extra=(), **model):
    base = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(vocab)}, "merges": merges}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [added(len(vocab) + i, e) if isinstance(e, str) else {**e, "id": len(vocab) + i}
                             for i, e in enumerate(extra)],
            "normalizer": norm, "pre_tokenizer": pre, "post_processor": post, "decoder": dec,
            "model": {**base, **model}}


def dump(obj, config=None):
    data = json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()
    return data if config is None else data + b"\0" + json.dumps(config, separators=(",", ":")).encode()


SPLIT_LLAMA3 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
                "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def charsmap():
    """A trie with one string, "x" -> "yy": units of darts-clone (offset << 10, leaf bit 8, label)."""
    units = [0] * 256
    units[0] = 1 << 10
    units[1 ^ ord("x")] = (2 << 10) | 0x100 | ord("x")
    units[1 ^ ord("x") ^ 2] = 1 << 31
    blob = struct.pack("<I", 4 * len(units)) + struct.pack("<%dI" % len(units), *units) + b"yy\0"
    return base64.b64encode(blob).decode()


def tokenizer_seeds():
    bl = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    letters = [c for b, c in sorted(bytes_to_unicode().items())]
    words = letters + ["he", "ll", "hell", "hello", "\u0120w", "12"]
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u0120", "w"], ["1", "2"]]
    few = ["a", "b", "ab", "\u0120", "\u0120a"]
    config = {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"}, "add_bos_token": True,
              "chat_template": "{{ messages }}", "model_max_length": 10 ** 30}
    put("tokenizer", "gpt2", dump(tokenizer(words, merges, bl, dec=bl, post=bl, extra=["<|endoftext|>"])))
    put("tokenizer", "gpt2-config", dump(tokenizer(few, [["a", "b"], ["\u0120", "a"]], bl, dec=bl,
                                                   extra=["<|endoftext|>"]), config))
    put("tokenizer", "merges-old", dump(tokenizer(few, ["a b", "\u0120 a"], bl, dec=bl)))
    split = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": SPLIT_LLAMA3}, "behavior": "Isolated", "invert": False},
        {**bl, "use_regex": False}]}
    template = {"type": "Sequence", "processors": [bl, {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}}]}
    put("tokenizer", "llama3", dump(tokenizer(few, [["a", "b"]], split, dec=bl, post=template, extra=["<s>"],
                                              ignore_merges=True)))
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, bl]}
    put("tokenizer", "digits-nfc", dump(tokenizer(few, [["a", "b"]], digits, norm={"type": "NFC"}, dec=bl)))
    put("tokenizer", "added", dump(tokenizer(few, [["a", "b"]], bl, dec=bl, extra=[
        added(0, "<|x|>", lstrip=True), added(0, "ab b", special=False, rstrip=True),
        added(0, "\u00e9", special=False, normalized=True), added(0, "it", special=False, single_word=True)])))
    sp = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in (0x0A, 0xC3, 0xA9, 0x61)] + [
        "\u2581", "a", "b", "\u2581a", "ab", "\u2581ab"]
    spm = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                               {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    spd = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    smerges = [["\u2581", "a"], ["a", "b"], ["\u2581a", "b"]]
    put("tokenizer", "spm", dump(tokenizer(sp, smerges, norm=spm, dec=spd, byte_fallback=True, fuse_unk=True,
                                           unk_token="<unk>", extra=["<s>"])))
    meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    put("tokenizer", "metaspace", dump(tokenizer(sp, smerges, pre=meta, dec=meta, byte_fallback=True,
                                                 unk_token="<unk>")))
    put("tokenizer", "holes", dump({**tokenizer([], []), "model": {
        "type": "BPE", "vocab": {"a": 7, "b": 1 << 31}, "merges": []}}))
    put("tokenizer", "no-model", b"{}")
    put("tokenizer", "unigram", dump({"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}}))
    words = ["[UNK]", "[CLS]", "[SEP]", "h", "e", "##l", "##o", "he", "##llo", ",", "\u4e2d"]
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True}
    put("tokenizer", "wordpiece", dump({
        **tokenizer([], []), "normalizer": bert, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(words)}}}))
    steps = [{"type": "Precompiled", "precompiled_charsmap": charsmap()}, {"type": "Nmt"}, {"type": "NFKC"},
             {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, {"type": "Strip"},
             {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
    put("tokenizer", "unigram-all", dump({
        **tokenizer([], []), "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, meta]}, "decoder": spd,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
                  "vocab": [[t, -1.5 * i] for i, t in enumerate(sp)]}}))
    piece = lambda t, score, kind: b"\x0a" + bytes([len(t.encode()) + 9]) + b"\x0a" + bytes([len(t.encode())]) + \
        t.encode() + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
    pieces = b"".join(piece(t, -float(i), 2 if i == 0 else 3 if i < 3 else 6 if t[0] == "<" else 1)
                      for i, t in enumerate(sp))
    put("tokenizer", "spm-bpe", pieces + b"\x12\x02\x18\x02\x1a\x04\x18\x01\x20\x00")
    put("tokenizer", "spm-unigram", pieces + b"\x12\x02\x18\x01")
    put("tokenizer", "spm-words", pieces + b"\x12\x02\x18\x03")
    put("tokenizer", "same-id", dump({**tokenizer([], []), "model": {"type": "BPE", "vocab": {"a": 1, "b": 1},
                                                                     "merges": [["a", "b"]]}}))
    for name, pattern in [("regex-nested", "(a*)*b"), ("regex-empty", ""), ("regex-bad", "(("),
                          ("regex-back", "(.)\\1+"), ("regex-look", "(?<=a{1,50})(?=b)")]:
        p = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "MergedWithNext", "invert": True}
        put("tokenizer", name, dump(tokenizer(few, [["a", "b"]], p)))


# ---- npy ----
def npy(header, data=b"", version=(1, 0), n=None):
    h = header if isinstance(header, bytes) else header.encode()
    n = len(h) if n is None else n
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", n) + h + data


def npy_header(descr, shape, fortran="False"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n" % (descr, fortran, shape)


def npy_seeds():
    eight = bytes(range(8))
    good = npy_header("'<f4'", "(2,)")
    put("npy", "good-1", npy(good, eight))
    put("npy", "good-2", npy(good, eight, (2, 0)))
    put("npy", "good-3", npy(good, eight, (3, 0)))
    put("npy", "good-scalar", npy(npy_header("'<i8'", "()"), eight))
    put("npy", "good-empty", npy(npy_header("'|u1'", "(0, 4611686018427387904)")))
    put("npy", "good-long", npy(npy_header("'|b1'", "(2L, 4L)"), eight))
    put("npy", "good-order", npy('{"shape":(4,2),"descr":"|i1","fortran_order":False}', eight))
    for name, descr in [("big-endian", "'>f4'"), ("objects", "'|O'"), ("structured", "[('a', '<f4')]"),
                        ("subarray", "('<f4', (2,))"), ("complex", "'<c8'"), ("text", "'<U2'"), ("void", "'<V4'"),
                        ("no-descr", "''"), ("escape", "'\\x3cf4'"), ("open-quote", "'<f4")]:
        put("npy", "bad-" + name, npy(npy_header(descr, "(2,)"), eight))
    for name, shape in [("huge", "(18446744073709551616,)"), ("wrap", "(4294967296, 4294967296, 2)"),
                        ("negative", "(-2,)"), ("no-tuple", "(2)"), ("commas", "(2,,)"), ("zeros", "(02,)"),
                        ("dims", "(1, 1, 1, 1, 1, 1, 1, 1, 2)"), ("open", "(2,"), ("short", "(3,)"), ("rest", "(1,)")]:
        put("npy", "bad-shape-" + name, npy(npy_header("'<f4'", shape), eight))
    put("npy", "bad-fortran", npy(npy_header("'<f4'", "(1, 2)", "True"), eight))
    put("npy", "bad-order", npy(npy_header("'<f4'", "(2,)", "1"), eight))
    put("npy", "bad-version", npy(good, eight, (4, 0)))
    put("npy", "bad-length", npy(good, eight, (2, 0), 0xffffffff))
    put("npy", "bad-twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", eight))
    put("npy", "bad-key", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", eight))
    put("npy", "bad-missing", npy("{'descr': '<f4', 'shape': (2,)}", eight))
    put("npy", "bad-behind", npy(good + "#", eight))


# ---- config.json ----
def config_seeds():
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
            "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 16,
            "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": [0, 1], "torch_dtype": "bfloat16"}
    llama3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6}
    for name, change in [
            ("plain", {}), ("heads", heads), ("biases", {"attention_bias": True, "mlp_bias": True}),
            ("untied", {"tie_word_embeddings": False}), ("llama3", {"rope_scaling": llama3}),
            ("linear", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
            ("yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
            ("yarn-all", {"rope_parameters": {
                "rope_type": "yarn", "rope_theta": 500, "factor": 4, "beta_fast": 16, "beta_slow": 2, "mscale": 1,
                "mscale_all_dim": 0.5, "attention_factor": 1.5, "truncate": False,
                "original_max_position_embeddings": 8}}),
            ("dynamic", {"rope_scaling": {"type": "dynamic", "factor": 2}}),
            ("longrope", {"rope_scaling": {"type": "su", "short_factor": [1, 1.5], "long_factor": [2, 4.5],
                                           "short_mscale": 1.25}, "original_max_position_embeddings": 16}),
            ("layer-types", {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8},
                                                 "sliding_attention": {"rope_type": "linear", "factor": 8}}}),
            ("new-rope", {"rope_theta": None, "rope_parameters": {**llama3, "rope_theta": 5e5}}),
            ("window", {"sliding_window": 8}), ("class", {"architectures": ["BertModel"]}),
            ("zero-heads", {"num_attention_heads": 0}), ("odd", {"num_attention_heads": 3}),
            ("negative", {"hidden_size": -8}), ("huge", {"hidden_size": 1 << 62}),
            ("fraction", {"vocab_size": 16.5}), ("eps", {"rms_norm_eps": 1e400}),
            ("text", {"hidden_size": "8"}), ("layers", {"num_hidden_layers": 1 << 31})]:
        put("config", name, json.dumps({**base, **change}, separators=(",", ":")).encode())
    sliding = ["sliding_attention", "full_attention"]
    gemma = {**base, "architectures": ["Gemma3ForConditionalGeneration"], "head_dim": 4, "query_pre_attn_scalar": 6,
             "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4, "final_logit_softcapping": 3.0,
             "attn_logit_softcapping": None, "rope_local_base_freq": 1e3, "sliding_window_pattern": 2}
    put("config", "gemma", json.dumps({**gemma, "text_config": gemma}, separators=(",", ":")).encode())
    put("config", "gemma-types", json.dumps({**gemma, "sliding_window": None, "layer_types": sliding, "rms_norm_eps": -0.0},
                                            separators=(",", ":")).encode())
    neox = {**base, "architectures": ["GPTNeoXForCausalLM"], "hidden_size": 16, "rotary_pct": 0.25, "rotary_emb_base": 500,
            "use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new"}
    put("config", "neox", json.dumps(neox, separators=(",", ":")).encode())
    put("config", "neox-still", json.dumps({**neox, "rotary_pct": 0.01}, separators=(",", ":")).encode())
    gpt2 = {"architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "n_inner": None,
            "vocab_size": 16, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}
    put("config", "gpt2", json.dumps(gpt2, separators=(",", ":")).encode())
    put("config", "roberta", json.dumps({**base, "architectures": ["RobertaModel"], "layer_norm_eps": 1e-5, "pad_token_id": 1,
                                         "type_vocab_size": 1, "hidden_act": "gelu"}, separators=(",", ":")).encode())
    put("config", "empty", b"{}")
    put("config", "list", b"[]")



# ---- files of importance ----
def dat(entries, tail=b"", n=None):
    out = struct.pack("<i", len(entries) if n is None else n)
    for name, calls, values in entries:
        out += struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, len(values))
        out += struct.pack("<%df" % len(values), *values)
    return out + tail


def imatrix_seeds():
    tail = struct.pack("<ii", 7, 5) + b"a.txt"
    q, d = (b"blk.0.attn_q.weight", 4, [8.0, 24.0, 0.5]), (b"blk.0.ffn_down.weight", 4, [1.0] * 9)
    for name, data in [
            ("dat", dat([q, d], tail)), ("dat-old", dat([q, d])), ("dat-unseen", dat([(b"w", 0, [0.0])])),
            ("dat-twice", dat([q, q], tail)), ("dat-negative", dat([(b"w", 1, [-1.0])])),
            ("dat-nan", dat([(b"w", 1, [float("nan")])])), ("dat-empty", dat([])),
            ("dat-nameless", dat([(b"", 1, [1.0])])), ("dat-zero-byte", dat([(b"a\0b", 1, [1.0])])),
            ("dat-no-values", dat([(b"w", 1, [])])), ("dat-many", dat([q], n=1 << 30)),
            ("dat-long-name", struct.pack("<ii", 1, 0x7fffffff) + b"x" * 20),
            ("dat-long-values", struct.pack("<ii", 1, 1) + b"w" + struct.pack("<ii", 1, 0x7fffffff)),
            ("dat-more", dat([q], tail + b"?")), ("dat-cut", dat([q, d], tail)[:-3])]:
        put("imatrix", name, data)
    kvs = [kv("general.type", STR, "imatrix"), kv("imatrix.datasets", ARR, (STR, ["a.txt", "b.txt"])),
           kv("imatrix.chunk_count", U32, 3), kv("imatrix.chunk_size", U32, 512)]
    floats = struct.pack("<8f", 1, 2, 3, 4, 0, 0, 0, 0)
    counts = struct.pack("<8f", 1536, *[0] * 7)
    good = [info("w.in_sum2", [4], 0, 0), info("w.counts", [1], 0, 32)]
    for name, data in [
            ("gguf", gguf(kvs, good, floats + counts)),
            ("gguf-experts", gguf(kvs, [info("w.in_sum2", [2, 2], 0, 0), info("w.counts", [1, 2], 0, 32),
                                        info("w.in_sum", [2, 2], 0, 64)], floats + counts + floats)),
            ("gguf-plain", gguf(kvs[:1], good, floats + counts)),
            ("gguf-model", gguf([kv("general.type", STR, "model")], good, floats + counts)),
            ("gguf-no-counts", gguf(kvs, good[:1], floats)),
            ("gguf-short-counts", gguf(kvs, [info("w.in_sum2", [2, 2], 0, 0), good[1]], floats + counts)),
            ("gguf-window0", gguf(kvs[:3] + [kv("imatrix.chunk_size", U32, 0)], good, floats + counts)),
            ("gguf-names", gguf([kvs[0], kv("imatrix.datasets", STR, "a")], good, floats + counts)),
            ("gguf-f16", gguf(kvs, [info("w.in_sum2", [4], 1, 0), good[1]], floats + counts)),
            ("gguf-none", gguf(kvs, []))]:
        put("imatrix", name, data)
    stats_seeds(kvs)


def stats_seeds(imatrix):
    """docs/formats/statistics.md: an edge of two columns that two weights read."""
    kinds = ["moments", "range", "moving", "histogram", "hessian"]
    parts = [("w.in_sum2", 0, [2], "<2f", (3, 5)), ("w.counts", 0, [1], "<f", (4,)),
             ("v.in_sum2", 0, [2], "<2f", (3, 5)), ("v.counts", 0, [1], "<f", (4,)),
             ("w.tokens", 28, [1, 3], "<3d", (4, 1, 4)), ("w.moments", 28, [2], "<2d", (3, 5)),
             ("w.range", 0, [2, 2], "<4f", (-1, 0, 1, 2)), ("w.moving", 28, [3], "<3d", (-1, 2, 4)),
             ("w.histogram", 28, [2, 2], "<4d", (1, 2, 6, 2)), ("w.hessian", 0, [3], "<3f", (3, 1, 5)),
             ("w.hessian_held", 0, [3], "<3f", (1, 0, 1))]

    def stats(changed=None, **meta):
        m = {"version": kv("nibble.stats.version", U32, 1),
             "kinds": kv("nibble.stats.kinds", ARR, (STR, kinds)),
             "weights": kv("nibble.stats.weights", ARR, (STR, ["w", "v"])),
             "edges": kv("nibble.stats.edges", ARR, (U32, [0, 0])),
             "model": kv("nibble.stats.model_hash", STR, "0123456789abcdef" * 2),
             "texts": kv("nibble.stats.text_hashes", ARR, (STR, ["", "0123456789abcdef" * 2])),
             "held": kv("nibble.stats.held_every", U32, 10)}
        m.update(meta)
        infos, data = [], b""
        for part in parts:
            name, kind, ne, form, numbers = changed if changed and changed[0] == part[0] else part
            infos.append(info(name, ne, kind, len(data)))
            body = struct.pack(form, *numbers)
            data += body + bytes(-len(body) % 32)
        return gguf(imatrix + list(m.values()), infos, data)

    for name, data in [
            ("stats", stats()), ("stats-version", stats(version=kv("nibble.stats.version", U32, 9))),
            ("stats-edges", stats(edges=kv("nibble.stats.edges", ARR, (U32, [0, 7])))),
            ("stats-edge-minus", stats(edges=kv("nibble.stats.edges", ARR, (I64, [0, -1])))),
            ("stats-no-edges", stats(edges=kv("nibble.stats.edges", STR, "0"))),
            ("stats-twice", stats(weights=kv("nibble.stats.weights", ARR, (STR, ["w", "w"])))),
            ("stats-nameless", stats(weights=kv("nibble.stats.weights", ARR, (STR, ["", "w"])))),
            ("stats-zero-byte", stats(weights=kv("nibble.stats.weights", ARR, (STR, ["w", b"v\0"])))),
            ("stats-no-hash", stats(model=kv("nibble.stats.model_hash", STR, "x" * 32))),
            ("stats-wide", stats(("w.moments", 28, [1 << 40], "<2d", (3, 5)))),
            ("stats-many", stats(("w.moments", 28, [1, 2], "<2d", (3, 5)))),
            ("stats-triangle", stats(("w.hessian", 0, [2], "<2f", (3, 1)))),
            ("stats-nan", stats(("w.hessian", 0, [3], "<3f", (3, float("nan"), 5)))),
            ("stats-bins", stats(("w.histogram", 28, [2, 2], "<4d", (1, 3, 6, 2)))),
            ("stats-bin-huge", stats(("w.histogram", 28, [2, 2], "<4d", (2.0 ** 127, 2.0 ** 128, 6, 2)))),
            ("stats-bin-tiny", stats(("w.histogram", 28, [2, 2], "<4d", (2.0 ** -126, 2.0 ** -125, 6, 2)))),
            ("stats-count", stats(("w.histogram", 28, [2, 2], "<4d", (1, 2, 0.5, 2)))),
            ("stats-tokens", stats(("w.tokens", 28, [1, 3], "<3d", (-1, 1, 4))))]:
        put("imatrix", name, data)


# ---- ONNX: protobuf by hand ----
def pb_varint(v):
    v &= (1 << 64) - 1
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def pb_num(field, v):
    return pb_varint(field << 3) + pb_varint(v)


def pb(field, *parts):
    body = b"".join(x.encode() if isinstance(x, str) else x for x in parts)
    return pb_varint(field << 3 | 2) + pb_varint(len(body)) + body


def onnx_tensor(name, kind, dims, *data):
    return b"".join(pb_num(1, d) for d in dims) + pb_num(2, kind) + pb(8, name) + b"".join(data)


def onnx_model(*graph, extra=b""):
    return pb_num(1, 8) + pb(2, "nibble") + pb(7, *graph) + pb(8, pb(1, ""), pb_num(2, 17)) + extra


def onnx_seeds():
    shape = pb(2, pb(1, pb(2, "N")), pb(1, pb_num(1, 3)), pb(1))
    x = pb(11, pb(1, "x"), pb(2, pb(1, pb_num(1, 1), shape)))
    y = pb(12, pb(1, "y"), pb(2, pb(4, pb(1, b""))))
    w = onnx_tensor("w", 1, [2], pb(9, struct.pack("<2f", 1, -2)))
    relu = pb(1, pb(1, "x"), pb(1, ""), pb(2, "y"), pb(3, "n"), pb(4, "Relu"))
    inner = pb(6, pb(1, pb(1, "x"), pb(2, "z"), pb(4, "Neg")), pb(12, pb(1, "z")))
    numbers = [(1, 4, struct.pack("<2f", 1, 2)), (3, 5, pb_varint(-2) + pb_varint(127)), (10, 5, pb_varint(0x3c00) * 2),
               (7, 7, pb_varint(-1) * 2), (11, 10, struct.pack("<2d", 1, 2)), (13, 11, pb_varint(5) * 2),
               (22, 5, pb_varint(0x21))]
    tensors = [pb(5, onnx_tensor("t%d" % i, kind, [2], pb(field, data))) for i, (kind, field, data) in enumerate(numbers)]
    words = pb(5, onnx_tensor("words", 8, [2], pb(6, "a"), pb(6, b"b\0")))
    attrs = [pb(5, pb(1, "f"), pb_num(20, 1), pb_varint(2 << 3 | 5), struct.pack("<f", 0.5)),
             pb(5, pb(1, "i"), pb_num(20, 2), pb_num(3, -1)), pb(5, pb(1, "s"), pb_num(20, 3), pb(4, "same")),
             pb(5, pb(1, "t"), pb_num(20, 4), pb(5, w)), pb(5, pb(1, "g"), pb_num(20, 5), inner),
             pb(5, pb(1, "is"), pb_num(20, 7), pb_num(8, 1), pb_num(8, 2)),
             pb(5, pb(1, "fs"), pb_num(20, 6), pb(7, struct.pack("<2f", 1, 2))),
             pb(5, pb(1, "ss"), pb_num(20, 8), pb(9, "a"), pb(9, "")), pb(5, pb(1, "untyped"), pb_num(3, 4))]
    far = b"".join(pb(13, pb(1, k), pb(2, v)) for k, v in [("location", "../w"), ("offset", "-1"), ("length", "8")])
    nested = b""
    for _ in range(30):
        nested = pb(1, pb(4, "If"), pb(5, pb(1, "g"), pb_num(20, 5), pb(6, nested)))
    for name, data in [
            ("good-small", onnx_model(x, relu, y, pb(5, w))), ("good-tensors", onnx_model(*tensors, words)),
            ("good-attributes", onnx_model(pb(1, pb(4, "All"), pb(2, "o"), *attrs))),
            ("good-unknown", onnx_model(x, relu, y, extra=pb(25, "f") + pb(14, pb(1, "k"), pb(2, "v")) + pb_num(99, 1))),
            ("bad-external", onnx_model(pb(5, onnx_tensor("w", 1, [2], far, pb_num(14, 1))))),
            ("bad-nested", onnx_model(nested)), ("bad-twice", onnx_model(x, x)),
            ("bad-dims", onnx_model(pb(5, onnx_tensor("w", 22, [1 << 62, 1 << 62], pb(9, ""))))),
            ("bad-negative", onnx_model(pb(5, onnx_tensor("w", 1, [-1], pb(9, ""))))),
            ("bad-size", onnx_model(pb(5, onnx_tensor("w", 1, [3], pb(9, bytes(8)))))),
            ("bad-type", onnx_model(pb(5, onnx_tensor("w", 99, [2], pb(9, bytes(8)))))),
            ("bad-packed", onnx_model(pb(5, onnx_tensor("w", 7, [1], pb(7, b"\xff"))))),
            ("bad-no-graph", pb_num(1, 8) + pb(2, "nibble")), ("bad-length", pb_num(1, 8) + b"\x3a\xff\xff\xff\x7f\0")]:
        put("onnx", name, data)


# ---- TFLite: a table is {field: (kind, value)}, written front to back, each field in 8 bytes ----
def fb_pad(out, to):
    out.extend(bytes(-len(out) % to))


def fb_list(out, kind, items):
    fb_pad(out, 16)
    out.extend(bytes(12))
    at = len(out)
    out.extend(struct.pack("<I", len(items)))
    if kind == "tables":
        first = len(out)
        out.extend(bytes(4 * len(items)))
        for i, item in enumerate(items):
            struct.pack_into("<I", out, first + 4 * i, fb_table(out, item) - first - 4 * i)
    else:
        out.extend(items.encode() + b"\0" if kind == "text" else
                   b"".join(struct.pack("<" + kind, v) for v in items))
    return at


def fb_table(out, fields):
    n = max(fields, default=-1) + 1
    fb_pad(out, 8)
    vtable = len(out)
    out.extend(struct.pack("<HH", 4 + 2 * n, 4 + 8 * n))
    out.extend(b"".join(struct.pack("<H", 4 + 8 * i if i in fields else 0) for i in range(n)))
    out.extend(bytes((4 - len(out)) % 8))
    at = len(out)
    out.extend(struct.pack("<I", at - vtable) + bytes(8 * n))
    for i, v in fields.items():
        place = at + 4 + 8 * i
        if isinstance(v, int):
            struct.pack_into("<q", out, place, v)
        else:
            kind, items = v
            to = fb_table(out, items) if kind == "table" else fb_list(out, kind, items)
            struct.pack_into("<I", out, place, to - place)
    return at


def tflite_file(root):
    out = bytearray(b"\0\0\0\0TFL3")
    struct.pack_into("<I", out, 0, fb_table(out, root))
    return bytes(out)


def tflite_model(tensors, ops=(), **more):
    graph = {0: ("tables", tensors), 1: ("i", [0]), 2: ("i", [0]), 3: ("tables", ops), 4: ("text", "main")}
    codes = [{0: 3, 2: 1}, {0: 32, 1: ("text", "Mine"), 3: 32}, {0: 127, 3: 128}]
    buffers = [{}, {0: ("B", struct.pack("<2f", 1, 2))}, {0: ("B", b"1.5.0\0")}]
    root = {0: 3, 1: ("tables", codes), 2: ("tables", [graph] * more.get("graphs", 1)), 3: ("text", "us"),
            4: ("tables", buffers), 6: ("tables", [{0: ("text", "min_runtime_version"), 1: 2}]),
            7: ("tables", [{0: ("tables", [{0: ("text", "in")}]), 2: ("text", "serving_default")}])}
    root.update(more.get("root", {}))
    return tflite_file(root)


def tflite_seeds():
    x = {0: ("i", [1, 2]), 1: 9, 3: ("text", "x"), 7: ("i", [-1, 2]),
         4: ("table", {2: ("f", [0.5]), 3: ("q", [-128])})}
    w = {0: ("i", [2]), 2: 1, 3: ("text", "w"), 4: ("table", {2: ("f", [1, 2]), 3: ("q", [0, 1]), 6: 0})}
    conv = {1: ("i", [0, 1, -1]), 2: ("i", [0]), 3: 1, 4: ("table", {0: 1, 1: 2, 2: 2})}
    own = {0: 1, 1: ("i", [0]), 5: ("B", b"opt")}
    late = {0: 2, 1: ("i", [0]), 11: 1, 12: ("table", {0: ("q", [1, 2])})}
    good = tflite_model([x, w], [conv, own, late])
    for name, data in [
            ("good-small", good), ("good-empty", tflite_model([{}])), ("good-graphs", tflite_model([x], [own], graphs=3)),
            ("bad-version", tflite_model([x], root={0: 1})), ("bad-graphs", tflite_model([x], graphs=0)),
            ("bad-type", tflite_model([{1: 99}])), ("bad-buffer", tflite_model([{2: 7}])),
            ("bad-size", tflite_model([{0: ("i", [3]), 2: 1}])), ("bad-dims", tflite_model([{0: ("i", [-7])}])),
            ("bad-scales", tflite_model([{**x, 4: ("table", {2: ("f", [1, 2, 3])})}])),
            ("bad-axis", tflite_model([{**x, 4: ("table", {2: ("f", [1]), 6: 2})}])),
            ("bad-input", tflite_model([x], [{1: ("i", [9])}])), ("bad-code", tflite_model([x], [{0: 77}])),
            ("bad-outside", tflite_model([x], root={4: ("tables", [{1: 1 << 62, 2: 8}])})),
            ("bad-root", b"\xff\xff\xff\x7fTFL3" + good[8:]), ("bad-cut", good[:200])]:
        put("tflite", name, data)


gguf_seeds()
safetensors_seeds()
tokenizer_seeds()
config_seeds()
npy_seeds()
imatrix_seeds()
onnx_seeds()
tflite_seeds()
