#!/usr/bin/env python3
"""Ids of tokenizers with other pre-tokenizers and models than the golden ones, against Hugging Face.

usage: tokenizer_variants.py BUILD       (needs the package `tokenizers`)

Changes the pre-tokenizer of text_llama3.json and the model of text_spm.json in many ways (all split
behaviours, inverted, literal, empty matches, patterns of other models, Metaspace schemes, missing byte
tokens), has the C test encode all lines of text_lines.txt, and compares.
"""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("tokenizer", HERE / "tokenizer.py")
common = importlib.util.module_from_spec(spec)
spec.loader.exec_module(common)

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BYTE_REGEX = dict(BYTE_LEVEL, use_regex=True)
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"


def split(pattern, behavior, invert=False, literal=False):
    return {"type": "Split", "pattern": {"String" if literal else "Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def byte_level_variants():
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            for pattern in (r"\s+", "[ e]", "[ a-m]", r"(?=[A-Z])", "x*"):
                yield "%s %s %s" % (pattern, behavior, invert), sequence(split(pattern, behavior, invert), BYTE_LEVEL)
    yield "literal", sequence(split("a.", "Isolated", literal=True), BYTE_LEVEL)
    yield "digits", sequence({"type": "Digits", "individual_digits": True}, BYTE_REGEX)
    yield "digit runs", sequence({"type": "Digits", "individual_digits": False}, BYTE_REGEX)
    yield "prefix space", dict(BYTE_REGEX, add_prefix_space=True)
    yield "prefix spaces", sequence(split(r"\s+", "Isolated"), dict(BYTE_REGEX, add_prefix_space=True))
    yield "gpt-4o", sequence(split(GPT4O, "Isolated"), BYTE_LEVEL)
    yield "deepseek", sequence(split(r"\p{N}{1,3}", "Isolated"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", "Isolated"),
                               split(DEEPSEEK, "Isolated"), BYTE_LEVEL)
    yield "default", sequence(split(r"[\p{P}\$\+<=>\^~\|]+", "Isolated"), split(GPT2, "Isolated"), split(r"\p{N}+", "Isolated"),
                              split("[0-9][0-9][0-9]", "Isolated"), BYTE_LEVEL)
    for pattern in (r"\w+|[^\w\s]+", r"\h+|[\h\s]", r"^.*$", r"\p{Lu}+|\P{L}+|[^\P{L}]", r"\p{^L}"):
        yield pattern, sequence(split(pattern, "Isolated"), BYTE_LEVEL)


def spm_variants(base):
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            yield "metaspace %s %s" % (scheme, cut), dict(base, normalizer=None, pre_tokenizer={
                "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut})
    yield "gemma", dict(base, normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                        pre_tokenizer=split(" ", "MergedWithPrevious", literal=True))
    for fuse in (False, True):
        for fallback in (False, True):
            data = json.loads(json.dumps(base))
            data["model"].update(fuse_unk=fuse, byte_fallback=fallback)
            yield "fuse %s fallback %s" % (fuse, fallback), json.loads(json.dumps(data))
            vocab = data["model"]["vocab"]
            for i in range(0x80, 0xC0):
                vocab["<gone%d>" % i] = vocab.pop("<0x%02X>" % i)
            yield "fuse %s fallback %s, some bytes missing" % (fuse, fallback), data


def main():
    text = (common.GOLDEN / "text_lines.txt").read_text(encoding="utf-8")
    lines = [common.unescape(s).decode("utf-8", "replace") for s in text.split("\n")[:-1]]
    llama3 = json.loads((common.GOLDEN / "text_llama3.json").read_text(encoding="utf-8"))
    spm = json.loads((common.GOLDEN / "text_spm.json").read_text(encoding="utf-8"))
    todo = [(name, dict(llama3, pre_tokenizer=pre)) for name, pre in byte_level_variants()] + list(spm_variants(spm))
    total = 0
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "variant.json"
        env = dict(os.environ, NB_TOKENIZER_OUT=d, NB_TOKENIZER_JSON=str(path), NB_ROOT=str(common.ROOT))
        for name, data in todo:
            path.write_text(json.dumps(data), encoding="utf-8")
            tok = Tokenizer.from_file(str(path))
            run = subprocess.run([str(pathlib.Path(sys.argv[1]) / "tests/test-text-tokenizer")], env=env,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert run.returncode == 0, run.stdout[-2000:]
            got = (pathlib.Path(d) / "text_ids.json").read_text().split("\n")[:-1]
            want = [" ".join(map(str, tok.encode(s).ids)) for s in lines]
            bad = [i + 1 for i, (a, b) in enumerate(zip(want, got)) if a != b]
            total += len(bad) + abs(len(want) - len(got))
            if bad:
                print("%s: %d of %d lines differ, first: %d" % (name, len(bad), len(want), bad[0]))
    print("%d variants x %d lines: %d differences" % (len(todo), len(lines), total))
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
