#!/usr/bin/env python3
"""Where utf8proc's character classes differ from those of the normalizers of Hugging Face tokenizers.

usage: tokenizer_classes.py > src/text/unicode_class.inc     (needs the package `tokenizers`)
       tokenizer_classes.py --check src/text/unicode_class.inc

Asks both libraries about every code point; nothing is read from the Unicode files themselves. NB_UC_TOGGLE rows:
code points whose membership of a class is the opposite of what utf8proc's category says. NB_UC_LOWER rows: capital
letters first..last whose small letters are small.. and which utf8proc does not know. NB_UC_WHOLE rows: code points
that tokenizers does not decompose (0: never; 1: not by compatibility).
"""
import ctypes
import sys

import tokenizers
from tokenizers import normalizers, pre_tokenizers

CODEPOINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
ASCII_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

utf8proc = ctypes.CDLL("libutf8proc.so.2")
utf8proc.utf8proc_tolower.restype = ctypes.c_int32
utf8proc.utf8proc_category_string.restype = ctypes.c_char_p
utf8proc.utf8proc_version.restype = ctypes.c_char_p
CATEGORY = {c: utf8proc.utf8proc_category_string(c).decode() for c in CODEPOINTS}


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def bert(**on):
    flags = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**dict(flags, **on))


def dropped(normalizer):
    return {c for c in CODEPOINTS if normalizer.normalize_str("a" + chr(c) + "b") == "ab"}


def punctuation():
    pre = pre_tokenizers.BertPreTokenizer()
    return {c for c in CODEPOINTS if len(pre.pre_tokenize_str("a" + chr(c) + "b")) == 3}


def classes():
    of = lambda *names: {c for c in CODEPOINTS if CATEGORY[c] in names or CATEGORY[c][0] in names}
    yield "CONTROL", dropped(bert(clean_text=True)), (of("Cc", "Cf", "Co") | {0xFFFD}) - {9, 10, 13}
    yield "NONSPACING", dropped(bert(strip_accents=True)), of("Mn")
    yield "MARK", dropped(normalizers.StripAccents()), of("M")
    yield "PUNCTUATION", punctuation(), of("P") | {ord(c) for c in ASCII_PUNCTUATION}


def lower():
    low, runs = normalizers.Lowercase(), []
    for c in CODEPOINTS:
        small = low.normalize_str(chr(c))
        if c == 0x130 or ord(small) == utf8proc.utf8proc_tolower(c):  # U+0130 becomes two characters: code
            continue
        if runs and runs[-1][1] == c - 1 and runs[-1][2] + c - runs[-1][0] == ord(small):
            runs[-1][1] = c
        else:
            runs.append([c, c, ord(small)])
    return runs


def whole(form):
    theirs, ours = getattr(normalizers, form)(), getattr(utf8proc, "utf8proc_" + form)
    ours.restype = ctypes.c_void_p
    return {c for c in CODEPOINTS
            if theirs.normalize_str(chr(c)) != ctypes.string_at(ours(chr(c).encode())).decode()}


def table():
    lines = ["/* made by tests/interop/tokenizer_classes.py: tokenizers %s, utf8proc %s */"
             % (tokenizers.__version__, utf8proc.utf8proc_version().decode())]
    for name, theirs, ours in classes():
        lines += ["NB_UC_TOGGLE(%s, 0x%04X, 0x%04X)" % (name, a, b) for a, b in ranges(theirs ^ ours)]
    lines += ["NB_UC_LOWER(0x%04X, 0x%04X, 0x%04X)" % tuple(r) for r in lower()]
    canonical = whole("NFD")
    lines += ["NB_UC_WHOLE(0x%04X, 0x%04X, 0)" % tuple(r) for r in ranges(canonical)]
    lines += ["NB_UC_WHOLE(0x%04X, 0x%04X, 1)" % tuple(r) for r in ranges(whole("NFKD") - canonical)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = table()
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        same = open(sys.argv[2]).read() == text
        print("unicode_class.inc: %s" % ("as generated" if same else "differs from what was generated"))
        sys.exit(0 if same else 1)
    sys.stdout.write(text)
