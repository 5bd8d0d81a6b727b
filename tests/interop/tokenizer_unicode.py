#!/usr/bin/env python3
"""Where the Unicode data of PCRE2 and utf8proc differ from those inside Hugging Face tokenizers.

usage: tokenizer_unicode.py > src/text/unicode_gap.inc     (needs the package `tokenizers`)
       tokenizer_unicode.py --check src/text/unicode_gap.inc

Asks the three libraries about every code point; nothing is read from the Unicode files themselves.
NB_UC_GAP rows: code points that tokenizers' regex engine puts in a class and PCRE2 (older data) does
not. NB_UC_OPAQUE rows: code points that tokenizers' NFC (older data than utf8proc) neither reorders
nor composes.
"""
import ctypes
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split()
CODEPOINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]

pcre = ctypes.CDLL("libpcre2-8.so.0")
pcre.pcre2_compile_8.restype = ctypes.c_void_p
pcre.pcre2_compile_8.argtypes = [
    ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p]
pcre.pcre2_match_data_create_8.restype = ctypes.c_void_p
pcre.pcre2_match_data_create_8.argtypes = [ctypes.c_uint32, ctypes.c_void_p]
pcre.pcre2_match_8.argtypes = [
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint32,
    ctypes.c_void_p, ctypes.c_void_p]
UTF, UCP = 0x00080000, 0x00020000

utf8proc = ctypes.CDLL("libutf8proc.so.2")
utf8proc.utf8proc_NFC.restype = ctypes.c_void_p
utf8proc.utf8proc_NFC.argtypes = [ctypes.c_char_p]
utf8proc.utf8proc_version.restype = ctypes.c_char_p


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def pcre_class(pattern):
    err, off = ctypes.c_int(), ctypes.c_size_t()
    raw = pattern.encode()
    code = pcre.pcre2_compile_8(raw, len(raw), UTF | UCP, err, off, None)
    data = pcre.pcre2_match_data_create_8(1, None)
    found = set()
    for c in CODEPOINTS:
        s = chr(c).encode()
        if pcre.pcre2_match_8(code, s, len(s), 0, 0, data, None) >= 0:
            found.add(c)
    return found


def hf_class(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for i in range(0, len(CODEPOINTS), 4096):
        block = CODEPOINTS[i:i + 4096]
        left = set("".join(t for t, _ in split.pre_tokenize_str("".join(map(chr, block)))))
        found.update(c for c in block if chr(c) not in left)
    return found


def ours_nfc(s):
    return ctypes.string_at(utf8proc.utf8proc_NFC(s.encode())).decode()


def opaque():
    nfc = normalizers.NFC()
    bad = set()
    for c in CODEPOINTS:
        for s in (chr(c), "e" + chr(c) + "\u0323", "a\u0315" + chr(c) + "\u0301"):
            if nfc.normalize_str(s) != ours_nfc(s):
                bad.add(c)
    for c in CODEPOINTS:  # pairs that only one of them composes: the second half stays alone
        d = unicodedata.decomposition(chr(c))
        if d and not d.startswith("<") and " " in d:
            s = "".join(chr(int(x, 16)) for x in d.split())
            if nfc.normalize_str(s) != ours_nfc(s):
                bad.add(ord(s[1]))
    return bad


def table():
    lines = ["/* made by tests/interop/tokenizer_unicode.py: tokenizers %s, PCRE2 10.42, utf8proc %s */"
             % (tokenizers.__version__, utf8proc.utf8proc_version().decode())]
    rows = []
    for cat in CATEGORIES:
        theirs, ours = hf_class(r"\p{%s}" % cat), pcre_class(r"\p{%s}" % cat)
        # What only PCRE2 has moved to another category of the same class later on: left alone.
        rows += [(a, b, cat) for a, b in ranges(theirs - ours)]
    # PCRE2 calls these white space, tokenizers does not; no class is added.
    rows += [(a, b, "--") for a, b in ranges(pcre_class(r"\s") - hf_class(r"\s"))]
    lines += ['NB_UC_GAP(0x%04X, 0x%04X, "%s")' % r for r in sorted(rows)]
    lines += ["NB_UC_OPAQUE(0x%04X, 0x%04X)" % tuple(r) for r in ranges(opaque())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = table()
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        same = open(sys.argv[2]).read() == text
        print("unicode_gap.inc: %s" % ("as generated" if same else "differs from what was generated"))
        sys.exit(0 if same else 1)
    sys.stdout.write(text)
