#!/usr/bin/env python3
"""Makes the small SentencePiece models and golden ids of tests/unit/text/test_spm_model.c with sentencepiece itself.

usage: make_sentencepiece.py [OUTDIR]      (default: the folder of this script; needs the package `sentencepiece`)

Writes text_<name>.model and text_<name>.txt: the ids of each line of text_lines.txt, a line each; "-" where the two
libraries differ by design: Metaspace puts no mark before a text that begins with one, and Precompiled maps a
character together with the marks behind it.
"""
import io
import pathlib
import sys
import tempfile
import unicodedata

import sentencepiece

HERE = pathlib.Path(__file__).resolve().parent
SPACES = [9, 10, 11, 12, 13, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
RULES = dict({chr(c): " " for c in SPACES}, **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
             **{"\ufb01": "fi", "\ufb03": "ffi", "\u00ad": "", "\u200b": "", "\u00bd": "1/2", "\u2026": "...", "\u212b": "\u00c5"})


def unescape(line):
    out, i, raw = bytearray(), 0, line.encode("utf-8")
    plain = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
    while i < len(raw):
        if raw[i:i + 1] != b"\\":
            out.append(raw[i])
            i += 1
        elif raw[i + 1:i + 2] == b"x":
            out.append(int(raw[i + 2:i + 4], 16))
            i += 4
        else:
            out += plain[raw[i + 1:i + 2]]
            i += 2
    return out.decode("utf-8", "replace")


def differs(text):
    marked = any(a in RULES and unicodedata.category(b)[0] == "M" for a, b in zip(text, text[1:]))
    return marked or "\u2581" in text


def train(texts, **how):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, num_threads=1, hard_vocab_limit=False, minloglevel=2, **how)
    return model.getvalue()


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    lines = [unescape(s) for s in (HERE / "text_lines.txt").read_text(encoding="utf-8").split("\n")[:-1]]
    texts = [t for t in lines if t.strip() and "\0" not in t and "\n" not in t]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for a, b in RULES.items():
            rules.write(" ".join("%X" % ord(c) for c in a) + "\t" + " ".join("%X" % ord(c) for c in b) + "\n")
        rules.flush()
        made = {
            "spbpe": train(texts, model_type="bpe", vocab_size=1800, character_coverage=0.98, byte_fallback=True, split_digits=True,
                           normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
                           user_defined_symbols=["<tool_call>", "WORD", "\n", "\n\n", "\n\n\n", "\t\t"]),
            "spuni": train(texts, model_type="unigram", vocab_size=1600, character_coverage=0.98, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                           normalization_rule_tsv=rules.name),
        }
    for name, model in made.items():
        (out / ("text_%s.model" % name)).write_bytes(model)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        rows = ["-" if name == "spuni" and differs(t) else " ".join(map(str, sp.encode(t))) for t in lines]
        (out / ("text_%s.txt" % name)).write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
