#!/usr/bin/env python3
"""Compares the golden files of tests/golden with the installed Hugging Face tokenizers, both ways.

usage: tokenizer.py [BUILD]       (needs the package `tokenizers`)

1. Encodes and decodes every line again with the stored tokenizers and compares with text_<name>.txt.
2. With a build folder: lets the C test write each tokenizer as a tokenizer.json, loads those, and compares
   their ids and texts with the same golden files.
Training is not repeated: another version of the package may break ties in another way.
"""
import importlib.util
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/golden"
NAMES = ["tiny", "llama3", "qwen2", "spm", "metaspace", "unk", "wordpiece", "cased", "unigram", "ubytes"]

spec = importlib.util.spec_from_file_location("make_tokenizers", GOLDEN / "make_tokenizers.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


def compare(source, name, lines, scratch):
    tok = Tokenizer.from_file(str(source))
    made = scratch / "made.txt"
    make.golden(tok, lines, random.Random(1), made)
    want = (GOLDEN / ("text_%s.txt" % name)).read_text(encoding="utf-8").split("\n")
    got = made.read_text(encoding="utf-8").split("\n")
    bad = [i for i, (a, b) in enumerate(zip(want, got)) if a != b]
    print("%-10s %-40s %d rows, %d differ%s" % (name, source.name, len(want) - 1, len(bad) + abs(len(want) - len(got)),
                                             "" if not bad else ", first: %d" % (bad[0] + 1)))
    return len(bad) + abs(len(want) - len(got))


def unescape(line):
    out, i = bytearray(), 0
    raw = line.encode("utf-8")
    while i < len(raw):
        if raw[i:i + 1] == b"\\":
            c = raw[i + 1:i + 2]
            if c == b"x":
                out.append(int(raw[i + 2:i + 4], 16))
                i += 4
                continue
            out += {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}[c]
            i += 2
            continue
        out.append(raw[i])
        i += 1
    return bytes(out)


def main():
    text = (GOLDEN / "text_lines.txt").read_text(encoding="utf-8")
    lines = [unescape(s) for s in text.split("\n")[:-1]]
    bad = 0
    with tempfile.TemporaryDirectory() as d:
        scratch = pathlib.Path(d)
        for name in NAMES:
            stored = GOLDEN / ("text_%s.json" % name)
            if name == "tiny":
                stored = ROOT / "models/tiny-7m/tokenizer.json"
            bad += compare(stored, name, lines, scratch)
        if len(sys.argv) > 1:
            env = dict(os.environ, NB_TOKENIZER_OUT=d, NB_ROOT=str(ROOT))
            subprocess.run([str(pathlib.Path(sys.argv[1]) / "tests/test-text-tokenizer")], env=env, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for name in NAMES:
                bad += compare(scratch / ("text_%s.json" % name), name, lines, scratch)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
