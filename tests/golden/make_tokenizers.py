#!/usr/bin/env python3
"""Makes the small tokenizers and the golden ids of tests/unit/text with Hugging Face tokenizers.

usage: make_tokenizers.py [OUTDIR [NAME...]]      (default: the folder of this script, all)

Writes text_lines.txt (the lines, escaped), text_<name>.json (trained tokenizers) and text_<name>.txt:
  P<TAB>ids put in front<TAB>ids put behind                       by the template
  L<TAB>ids<TAB>ids where special tokens in the text are text, or =<TAB>decoded, or =<TAB>decoded without specials, or =
  D<TAB>ids<TAB>decoded<TAB>decoded without specials, or =        random ids, mostly broken text
text_pre.txt: name<TAB>pre_tokenizer<TAB>number of ids of all lines<TAB>their hash.
An L row for each line. The first "=" means "the same ids", the second "the line", the others "the column before".
Escapes: \\\\ \\t \\n \\r, and \\xNN for other control bytes and for bytes that are not UTF-8.
"""
import collections
import json
import pathlib
import random
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

SENTENCES = """
The quick brown fox jumps over the lazy dog, and it doesn't stop there.
I'm sure you're right; we've seen it before, he'd say, and they'll agree. It's JOHN'S, ISN'T IT? WE'LL SEE, YOU'RE, I'VE, I'D, I'M
L’été dernier, j’ai mangé des crêpes à Besançon ; où étiez-vous ?
Äpfel, Öl und Übermut: die Straße ist naß, groß und weiß. DIE STRASSE
El niño pequeño comió una piñata en España, ¿verdad? ¡Sí, señor!
A ação não é fácil, mas o coração vê além. Não há pão.
Il perché della città è già più che un'idea: l'ho vista là.
Pchnąć w tę łódź jeża lub ośm skrzyń fig. Zażółć gęślą jaźń.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Árvíztűrő tükörfúrógép, és még több ékezet.
Fie ca țara să își găsească liniștea; șase saşi în şase saci.
Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul ılık IĞDIR
Gæsin át grænmetið; þú ert ágæt. Ég get étið gler.
Eile mit Weile. Quod erat demonstrandum, ſic tranſit gloria mundi; 'ſ I'ſ WHAT'ſ
Быстрая коричневая лиса перепрыгивает через ленивую собаку.
Щастям б'єш жук їх глицю в фон й ґедзь пріч.
Ζαφείρι δέξου πάγκαλο, βαθῶν ψυχῆς τὸ σῆμα. ΑΛΦΆΒΗΤΟ
השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם עֲלֵיכֶם
الثعلب البني السريع يقفز فوق الكلب الكسول. اَلسَّلَامُ عَلَيْكُمْ ١٢٣٤٥
روباه قهوه‌ای سریع از روی سگ تنبل می‌پرد. ۱۲۳۴۵
تیز بھوری لومڑی سست کتے کے اوپر کودتی ہے۔
तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३४५ क्षत्रिय
দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়। ১২৩৪৫
விரைவான பழுப்பு நரி சோம்பேறி நாயின் மேல் தாவுகிறது. க௦
వేగవంతమైన గోధుమ నక్క సోమరి కుక్కపై దూకుతుంది.
ವೇಗದ ಕಂದು ನರಿ ಸೋಮಾರಿ ನಾಯಿಯ ಮೇಲೆ ಹಾರುತ್ತದೆ.
വേഗതയേറിയ തവിട്ടുനിറമുള്ള കുറുക്കൻ മടിയനായ നായയുടെ മുകളിലൂടെ ചാടുന്നു.
වේගවත් දුඹුරු නරියා කම්මැලි බල්ලාට උඩින් පනියි.
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ ๑๒๓๔๕ น้ำ
ໝາຈອກສີນ້ຳຕານໂດດຂ້າມໝາຂີ້ຄ້ານ
မြန်ဆန်သော အညိုရောင် မြေခွေးသည် ပျင်းရိသော ခွေးပေါ်မှ ခုန်ကျော်သည်။ ၁၂၃
កញ្ជ្រោងពណ៌ត្នោតលោតពីលើឆ្កែខ្ជិល ១២៣
ប្រទេសកម្ពុជា
敏捷的棕色狐狸跳过了懒狗。今天是2024年5月17日，天气很好！
敏捷的棕色狐狸跳過了懶狗。「你好嗎？」他問道……
素早い茶色の狐がのろまな犬を飛び越えた。カタカナ、ひらがな、漢字、ﾊﾝｶｸ、ー々〆
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 대한민국 만세! ㄱㄴㄷ 각
Con cáo nâu nhanh nhẹn nhảy qua con chó lười. Tiếng Việt có dấu: ế ộ ữ ằ ẵ
სწრაფი ყავისფერი მელა გადაახტა ზარმაც ძაღლს.
Արագ շագանակագույն աղվեսը ցատկում է ծույլ շան վրայով։
ፈጣን ቡናማ ቀበሮ በሰነፍ ውሻ ላይ ዘለለ። ፩፪፫
Ọdịnaya ọcha; Yorùbá: ẹ káàárọ̀, ṣé dáadáa ni?
ᐃᓄᒃᑎᑐᑦ ᖃᓂᐅᔮᖅᐸᐃᑦ ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
བོད་སྐད་ནི་སྐད་ཡིག་ཅིག་ཡིན། ༡༢༣
ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ a\u180eb \u180e c
𐌰𐌱𐌲 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 𠀀𠀁𪜀 𓀀𓀁 𐍈
""".strip().split("\n")
SENTENCES = [s.encode().decode("unicode_escape").encode("latin-1").decode("utf-8")
             if "\\u" not in s else s.replace("\\u180e", "\u180e") for s in SENTENCES]

ODD = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", " \n \n ", "\t\t\tx", "x\t\t\t",
    "a\r\nb\r\n\r\nc", "a \r\n b", "   leading", "trailing   ", "in    between", "tabs\tand\t\tmore",
    "\u00a0nbsp\u00a0\u00a0x", "\u3000wide\u3000space", "\u2028line\u2029para\u0085nel", "\u200bzero\u200bwidth",
    "\u200djoin\u200cnon\ufeffbom", "soft\u00adhyphen", "\x00nul\x00", "\x01\x02\x03\x1f\x7f", "bell\x07esc\x1b[0m",
    "a\u0301e\u0301i\u0301 combining", "\u00e1\u00e9\u00ed composed", "\u0301alone", "e\u0323\u0302 e\u0302\u0323",
    "\u1e9b\u0323 \u212b \u2126 \ufb01 \ufb03", "q\u0307\u0323", "\u0344\u0f73", "\uac00\u11a8 \u1100\u1161\u11a8",
    "\u0928\u093c \u0929", "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324a\u0341\u0332lgo",
    "1", "12", "123", "1234", "12345678901234567890", "1,234,567.89", "3.14159e-10", "0xDEADBEEF", "1st 2nd 3rd",
    "\u00bd\u00b2\u2460\u216b\u3007", "\u0661\u0662\u0663", "\uff11\uff12\uff13", "1\u0301 2", "v1.2.3-rc4+build5",
    "'s 't 're 've 'm 'll 'd", "'S 'T 'RE 'VE 'M 'LL 'D", "'\u017f '\u017fx it'\u017f", "'sS'tT", "don't DON'T Don'T",
    "''s", "'", "\u2019s it\u2019s", "rock'n'roll", "o'clock", "'tis", "y'all'd've",
    "\U0001f600", "\U0001f600\U0001f601\U0001f602", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "\U0001f44d\U0001f3fd \U0001f44b\U0001f3ff", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2764\ufe0f\u200d\U0001f525",
    "1\ufe0f\u20e3 #\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\u2603\ufe0e",
    "\U0001fae8 \U0001fadf \U0001f6dc", "\u263a\u2639\u2620",
    "\U00031350\U00031351 new han", "\U0001e030x\U0001e4d0", "\u1c89\u1c8a", "\ua7cb\ua7da", "\U00011bf0\U00011bf1", "\U0001ccf0",
    "\u0897a", "\U00010d40\U00010d41", "\ue000\uf8ff private", "\ufffe\uffff\U0010ffff", "\ufffd",
    "...", "!!!", "?!?!", "---", "===", "***", "#!/bin/sh", "<html>", "</div>", "<br/>", "&amp;", "a&&b||c", "$x=$y;",
    "{\"key\": [1, 2.5, null, true]}", "https://example.com/a/b?c=d&e=%20f#g", "user.name+tag@example.co.uk",
    "C:\\Windows\\System32", "/usr/lib/x86_64-linux-gnu/", "~/.config", "@user #hashtag", "--flag=value", "a_b_c __init__",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "x = y ** 2 // 3 % 4", "if (a != b) { return -1; }",
    "\tfor (int i = 0; i < n; i++)\n\t\tsum += a[i];\n", "def f(x):\n    return x + 1\n\n\nclass A:\n    pass\n",
    "    four\n        eight\n            twelve", "SELECT * FROM t WHERE a='b' AND c>=1;", "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2",
    "| a | b |\n|---|---|\n| 1 | 2 |", "```c\nint main(void) { return 0; }\n```", "- item\n  - sub\n    - subsub",
    "\u2581", "\u2581\u2581", "a\u2581b", "\u2581 \u2581", " \u2581x", "<0x41>", "<0x0A>", "<0xFF>", "<unk>", "<s>", "</s>", " <s> ",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|endoftext", "|endoftext|>",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nx<|eot_id|>",
    "<s>[INST] Hi [/INST] there</s>", "<mask>", "a <mask> b", "a   <mask>   b", "a<sep>   b", "  <sep>  ", "WORD", "aWORD", "a WORD b", "WORDS",
    "(WORD)", "_WORD_", "\u00e9WORD", "WORD\u0301", "<tool_call>{}</tool_call>", "caf\u00e9!", "cafe\u0301!", "CAFE", "<s><s></s><s>", "x</s>",
    "\ufffd\ufffd", "\u0120hello\u010a", "\u0100\u0143", "\u00e2\u0080\u0099 mojibake", "a" * 100, "ab" * 80, " " * 100, "\n" * 50, "\t " * 30,
    "=" * 70, "\u00e9" * 50, "\u4f60" * 40, "a " * 60, "1" * 40, "x" + " " * 63 + "y", " " * 17 + "\n" + " " * 5,
]

BROKEN = [
    b"\xff", b"\xfe\xff", b"abc\x80def", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82 x", b"\xe2(\xa1", b"\xf0\x9f\x98", b"\xf0\x9f",
    b"\xf0\x28\x8c\xbc", b"\xed\xa0\x80", b"\xed\xb0\x80x", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf8\x88\x80\x80\x80",
    b"a\xe9b", b"\x80\x80\x80", b"ok \xf0\x9f\x98\x80 \xf0\x9f\x98 bad", b"\xe4\xbd\xa0\xe5\xa5", b"\xc2\xa0\xc2", b"x\xf1\x80\x80\x41",
]


def code_line(rng):
    names = ["count", "buf", "nextItem", "node_ptr", "kMax", "self", "i", "tmp2", "ctx", "HashMap"]
    n = lambda: rng.choice(names)
    return rng.choice([
        lambda: "    %s = %s(%s, %d);" % (n(), n(), n(), rng.randrange(10000)),
        lambda: "\tif (%s->%s >= 0x%x && !%s) {" % (n(), n(), rng.randrange(1 << 20), n()),
        lambda: "for %s in range(%d):  # %s" % (n(), rng.randrange(999), n()),
        lambda: "let %s: Vec<%s> = %s.iter().map(|x| x * %d).collect();" % (n(), n(), n(), rng.randrange(99)),
        lambda: "const {%s, %s} = await %s(`${%s}/api/v%d`);" % (n(), n(), n(), n(), rng.randrange(9)),
        lambda: "#define %s(x) ((x) << %d)\\" % (n().upper(), rng.randrange(32)),
        lambda: "\"%s\": \"%s\", // TODO(%s): fix #%d" % (n(), n(), n(), rng.randrange(9999)),
        lambda: "<%s class=\"%s\">%s</%s>\r\n" % (n(), n(), n(), n()),
    ])()


def make_lines(rng):
    lines = [s.encode("utf-8") for s in SENTENCES + ODD] + BROKEN
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<mask>", "<sep>", "WORD", "<|eot_id|>",
                "<tool_call>", "caf\u00e9", "<|begin_of_text|>"]
    spaces = [" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", " \n", "\n\n", "", "", "        "]
    words = [w for s in SENTENCES for w in s.split(" ") if w]
    odd = [o for o in ODD if 0 < len(o) < 40]
    blocks = [(0x20, 0x7E), (0xA1, 0x17F), (0x300, 0x36F), (0x370, 0x52F), (0x5D0, 0x6FF), (0x900, 0xDFF), (0x1100, 0x11FF),
              (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3040, 0x30FF), (0x4E00, 0x5FFF), (0xAC00, 0xB000), (0xF900, 0xFAFF),
              (0xFE00, 0xFFEF), (0x10000, 0x1FFFF), (0x1F300, 0x1FAFF), (0x20000, 0x32FFF), (0xE0000, 0xE01FF), (0x00, 0x1F)]
    while len(lines) < 2200:
        kind = rng.randrange(12)
        if kind < 4:  # words of all languages
            s = "".join(rng.choice(words) + rng.choice(spaces[:3] + [" "] * 9) for _ in range(rng.randrange(2, 10)))
        elif kind < 6:
            s = "".join(rng.choice(odd + words) + rng.choice(spaces) for _ in range(rng.randrange(2, 7)))
        elif kind == 6:
            s = code_line(rng)
        elif kind == 7:
            s = "".join(rng.choice(specials + words + spaces) for _ in range(rng.randrange(2, 10)))
        elif kind == 8:  # any character
            s = "".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(rng.randrange(1, 24)))
        elif kind == 9:  # letters, marks, digits, contractions side by side
            s = "".join(rng.choice(["a", "B", "\u0301", "\u0323", "\u00e9", "7", "42", "'s", "'LL", "'\u017f", " ", "\n", "\u093c", ".", "\u4e2d",
                                    "\u1100", "\u1161", "\u11a8", "\U0001f600", "\u200d", "\u17d2"]) for _ in range(rng.randrange(2, 20)))
        elif kind == 10:
            s = "%s %d %s%.3f%s" % (rng.choice(words), rng.randrange(10 ** rng.randrange(1, 12)), rng.choice(["$", "€", "-", "+", ""]),
                                    rng.random() * 10 ** rng.randrange(6), rng.choice(["%", "km", "", " "]))
        else:  # bytes
            raw = bytearray("".join(rng.choice(words) + " " for _ in range(rng.randrange(1, 5))).encode())
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(raw))
                if rng.random() < 0.5:
                    raw[at] = rng.randrange(256)
                else:
                    del raw[at]
                if not raw:
                    raw = bytearray(b"\xff")
            lines.append(bytes(raw))
            continue
        lines.append(s.encode("utf-8"))
    return lines


def escape(raw):
    out = []
    for ch in raw.decode("utf-8", "surrogateescape"):
        c = ord(ch)
        if ch == "\\":
            out.append("\\\\")
        elif ch in "\t\n\r":
            out.append({"\t": "\\t", "\n": "\\n", "\r": "\\r"}[ch])
        elif 0xDC80 <= c <= 0xDCFF:
            out.append("\\x%02x" % (c - 0xDC00))
        elif c < 0x20 or c == 0x7F:
            out.append("\\x%02x" % c)
        else:
            out.append(ch)
    return "".join(out)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def special(text, **kw):
    return AddedToken(text, special=True, normalized=kw.pop("normalized", False), **kw)


def byte_level(texts, pattern, size, ignore_merges):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tok


def make_llama3(texts):
    tok = byte_level(texts, LLAMA3, 1500, True)
    data = json.loads(tok.to_str())
    # Words that no merge makes: only ignore_merges finds them.
    vocab = data["model"]["vocab"]
    for word in ["\u0120tokenizer", "quick", "\u0120fox", "\u0120jumpsover", "12", "\u00e4\u00bd\u0142\u00e5\u00a5\u00bd"]:
        vocab.setdefault(word, len(vocab))
    tok = Tokenizer.from_str(json.dumps(data))
    tok.add_special_tokens([special("<|begin_of_text|>"), special("<|end_of_text|>"), special("<|start_header_id|>"),
                            special("<|end_header_id|>"), special("<|eot_id|>")])
    bos = tok.token_to_id("<|begin_of_text|>")
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", bos)])])
    return tok


def make_qwen2(texts):
    tok = byte_level([__import__("unicodedata").normalize("NFC", t) for t in texts], QWEN2, 1500, False)
    tok.normalizer = normalizers.NFC()
    tok.add_special_tokens([special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>"), special("<mask>", lstrip=True),
                            special("<sep>", rstrip=True)])
    tok.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False),
                    AddedToken("cafe\u0301", normalized=True), AddedToken("WORD", single_word=True, normalized=True)])
    return tok


def common(texts, n):
    """The texts with their n most frequent characters only (limit_alphabet breaks ties as it likes)."""
    count = collections.Counter(c for t in texts for c in t)
    keep = set(sorted(count, key=lambda c: (-count[c], c))[:n])
    return ["".join(c for c in t if c in keep) for t in texts]


def sentencepiece(texts, size, alphabet):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    texts = [t for t in texts if "s>" not in t]  # no merge may spell a special token
    tok.train_from_iterator(common(texts, alphabet), trainers.BpeTrainer(
        vocab_size=size, show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]))
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return data


def every_split(data):
    """Merges as one takes them from a SentencePiece model: all splits of each piece, best piece first."""
    vocab = data["model"]["vocab"]
    rank = {}
    for i, (a, b) in enumerate(data["model"]["merges"]):
        rank.setdefault(a + b, i)
    merges = []
    for piece in sorted(rank, key=rank.get):
        local = [[piece[:i], piece[i:]] for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += sorted(local, key=lambda m: (vocab[m[0]], vocab[m[1]]))
    data["model"]["merges"] = merges


def around(tok, single):
    tok.post_processor = processors.TemplateProcessing(
        single=single, pair=single + " " + single.replace("$A", "$B"), special_tokens=[("<s>", 1), ("</s>", 2)])


SPM_DECODER = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]


def make_spm(texts):
    data = sentencepiece(texts, 1800, 500)
    every_split(data)
    tok = Tokenizer.from_str(json.dumps(data))
    tok.pre_tokenizer = None
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.decoder = decoders.Sequence(SPM_DECODER)
    tok.add_special_tokens([special("<mask>", lstrip=True)])
    tok.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("WORD", single_word=True, normalized=False)])
    around(tok, "<s> $A")
    return tok


def make_metaspace(texts):
    tok = Tokenizer.from_str(json.dumps(sentencepiece(texts, 1500, 400)))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tok.decoder = decoders.Sequence(SPM_DECODER)
    tok.add_special_tokens([special("<sep>", rstrip=True)])
    around(tok, "<s> $A </s>")
    return tok


def make_gemma(texts):
    """No byte tokens, unknown characters one by one, the decoder of Metaspace, words cut before marks."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False, byte_fallback=False))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.train_from_iterator(common(texts, 300), trainers.BpeTrainer(
        vocab_size=900, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"]))
    return tok


def make_wordpiece(texts):
    """BERT without capital letters and accents."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer()
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(common(texts, 400), trainers.WordPieceTrainer(
        vocab_size=1300, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tok.add_tokens([AddedToken("WORD", single_word=True, normalized=True), AddedToken("caf\u00e9", normalized=True)])
    return tok


def make_cased(texts):
    """WordPiece with capital letters, accents and short words; no clean-up of decoded text."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    tok.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece(cleanup=False)
    tok.train_from_iterator(common(texts, 300), trainers.WordPieceTrainer(
        vocab_size=900, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]"]))
    tok.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tok


def unigram(texts, size, alphabet, specials, bytes_too=False):
    texts = [t for t in texts if not any(x in t for x in ("s>", "d>", "k>", "x41", "x0A", "xFF"))]  # no special tokens
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tok.train_from_iterator(common(texts, alphabet), trainers.UnigramTrainer(
        vocab_size=size, show_progress=False, special_tokens=specials, unk_token="<unk>"))
    data = json.loads(tok.to_str())
    vocab = data["model"]["vocab"]
    single = lambda v: struct.unpack("<f", struct.pack("<f", v))[0]  # GGUF stores scores so
    vocab[:] = [[t, single(v)] for t, v in vocab]
    if bytes_too:
        vocab[len(specials):len(specials)] = [["<0x%02X>" % i, 0.0] for i in range(256)]
        data["model"]["byte_fallback"] = True
    return data


# What sentencepiece makes of rules for full-width letters, ligatures, spaces, some marks and a few odd ones.
CHARSMAP = (
    "AAQAAAAgAAAJCQAACgUAAAEAAIABAACADQUAAO/kAgC4AAIAj4wDAOIAAgCDiAIAox0AABoAAIDMDAIACjUAAIF9AAAhAACAzAgCAIEFAAAkAA"
    "CAzAACAIENAAAnAACAAAAAgAsAAICBDQAAAwAAgLjQAgCzBQAALQAAgAUAAIAqAACAoI0AAICsAwCm9QAAHgAAgAkAAICEhAIAoAkAAIA4AgCD"
    "EQAAgKkAAIEFAAAXAACAEwAAgK3pAACsFAIAqzEAAJHYAgAPAACAEQAAgDQAAIA1AAAANAAAADcAAAA2AAAAOQAAADFAAwA7AAAAOgAAAD0AAA"
    "C9lQAAvLwDAL3wAwCRkQEAi1kBAIHBAQBCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAASwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAA"
    "AABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAAAFwAAABfAAAAXgAAAGEAAABp5AIAqIUBAGIAAABlAAAAZAAAAG"
    "cAAABmAAAAaQAAAGGgAgBrAAAAagAAAKbJAQBlwAIAbwAAAG4AAAChBQEAcAAAAHMAAAByAAAAdQAAALYZAQB3AAAAdgAAAHkAAAB4AAAAewAA"
    "AHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACDAAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjg"
    "AAAJEAAACQAAAAkwAAAJIAAACVAAAAlAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAA"
    "pQAAAKQAAACnAAAApgAAAKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AA"
    "AAuAAAALsAAAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADMcAEAxAAAAMcAAADGAAAAyQAAAMgAAADCKAEAygAAAM0AAADM"
    "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA4QAAAOAAAA"
    "DjAAAA4gAAAOUAAADkAAAA5wAAAO+UAQDgLAEA6AAAAOIsAQDjMAEA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAAAPIAAAD1AAAA9AAAAPcA"
    "AAD2AAAA+QAAAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAnAC4uLgAxADEvMgBBAGEAZmZpAGZpAG9uZQDDhQDDoQDDqQDDrQDOqQ"
    "DguY3guLIA44KrAA==")


def make_unigram(texts):
    """T5: white space goes, a character map, the end of text behind each text."""
    data = unigram(texts, 1200, 400, ["<pad>", "</s>", "<unk>"])
    data["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}
    tok = Tokenizer.from_str(json.dumps(data))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tok.add_special_tokens([special("<mask>", lstrip=True)])
    return tok


def make_ubytes(texts):
    """Unigram with bytes, NFKC and other normalizers, spaces kept."""
    data = unigram(texts, 1000, 250, ["<unk>", "<s>", "</s>"], bytes_too=True)
    tok = Tokenizer.from_str(json.dumps(data))
    tok.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "),
                                           normalizers.Strip(left=False, right=True), normalizers.Lowercase(),
                                           normalizers.NFD(), normalizers.StripAccents()])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tok.decoder = decoders.Sequence(SPM_DECODER)
    around(tok, "<s> $A </s>")
    return tok


def without_specials(tok):
    """For texts in which special tokens are text: never the model's doing, whatever they spell."""
    data = json.loads(tok.to_str())
    if data["model"]["type"] != "Unigram":
        return tok
    for t in data["added_tokens"]:
        if t["special"] and t["id"] < len(data["model"]["vocab"]):
            data["model"]["vocab"][t["id"]][0] = "\ue123%d" % t["id"]
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["special"]]
    data["post_processor"] = None
    return Tokenizer.from_str(json.dumps(data))


DIGITS = {"type": "Digits", "individual_digits": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": [*steps]}


# As the tokenizer.json files of models have them; the name is that of GGUF.
PRETOKENIZERS = {
    "gpt-2": dict(BYTES, use_regex=True),
    "dbrx": sequence(split(LLAMA3), BYTES),
    "qwen2": sequence(split(QWEN2), BYTES),
    "qwen35": sequence(split(QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")), BYTES),
    "smollm": sequence(DIGITS, dict(BYTES, use_regex=True)),
    "tekken": sequence(split(O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")), BYTES),
    "gpt-4o": sequence(split(O200K), BYTES),
    "deepseek-coder": sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(HAN), DIGITS, BYTES),
    "deepseek-v3": sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), BYTES),
    "falcon": sequence({"type": "Punctuation", "behavior": "Contiguous"}, dict(BYTES, use_regex=True),
                       {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")),
    "bloom": sequence(split(" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"), BYTES),
    "bailingmoe": sequence(split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                                 r"|\s*[\r\n]|\s+(?!\S)|\s+"), BYTES),
    "seed-coder": sequence(split(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"
                                 r"|\s*[\r\n]+|\s+(?!\S)|\s+"), BYTES),
}


def fnv(ids):
    """FNV-1a, 64 bits, over the ids as four bytes each."""
    h = 0xCBF29CE484222325
    for byte in struct.pack("<%di" % len(ids), *ids):
        h = (h ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return h


def golden_pre(lines, model, path):
    """The model of another tokenizer behind each pre-tokenizer: how many ids all lines have, and their hash."""
    data, rows = json.loads(model.read_text(encoding="utf-8")), []
    data["model"]["ignore_merges"] = False
    for name, pre in PRETOKENIZERS.items():
        tok = Tokenizer.from_str(json.dumps(dict(data, pre_tokenizer=pre, post_processor=None)))
        ids = [i for raw in lines for i in tok.encode(raw.decode("utf-8", "replace"), add_special_tokens=False).ids]
        rows.append("%s\t%s\t%d\t%016x" % (name, json.dumps(pre, ensure_ascii=False, separators=(",", ":")), len(ids), fnv(ids)))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def golden(tok, lines, rng, path):
    out = []
    n_vocab = tok.get_vocab_size()
    bare = without_specials(tok)

    def ids_of(text):
        if bare is not tok and tok.encode_special_tokens:
            return bare.encode(text, add_special_tokens=False).ids
        ids = tok.encode(text, add_special_tokens=False).ids
        assert tok.encode(text).ids == prefix + ids + suffix
        return ids

    prefix, suffix = [], tok.encode("").ids
    if suffix:  # bos first; what two empty texts and one letter have in common
        both = tok.encode("x").ids
        while suffix and suffix[0] == both[len(prefix)]:
            prefix.append(suffix.pop(0))
    out.append("P\t%s\t%s" % (" ".join(map(str, prefix)), " ".join(map(str, suffix))))
    for raw in lines:
        text = raw.decode("utf-8", "replace")
        tok.encode_special_tokens = False
        ids = ids_of(text)
        tok.encode_special_tokens = True
        plain = ids_of(text)
        tok.encode_special_tokens = False
        full, skipped = tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)
        show = lambda v: " ".join(map(str, v))
        out.append("\t".join(["L", show(ids), "=" if plain == ids else show(plain), "=" if full == text else ":" + escape(full.encode()),
                              "=" if skipped == full else ":" + escape(skipped.encode())]))
    for _ in range(300):
        ids = [rng.randrange(n_vocab) if rng.random() < 0.5 else rng.randrange(min(n_vocab, 300)) for _ in range(rng.randrange(1, 16))]
        full, skipped = tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)
        out.append("\t".join(["D", " ".join(map(str, ids)), ":" + escape(full.encode()), "=" if skipped == full else ":" + escape(skipped.encode())]))
    path.write_text("\n".join(out) + "\n", encoding="utf-8", newline="\n")


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    lines = make_lines(random.Random(20240517))
    (out / "text_lines.txt").write_text("\n".join(map(escape, lines)) + "\n", encoding="utf-8", newline="\n")
    texts = [raw.decode("utf-8", "replace") for raw in lines]
    made = {"llama3": make_llama3, "qwen2": make_qwen2, "spm": make_spm, "metaspace": make_metaspace, "unk": make_gemma,
            "wordpiece": make_wordpiece, "cased": make_cased, "unigram": make_unigram, "ubytes": make_ubytes}
    if len(sys.argv) > 2:
        made = {name: made[name] for name in sys.argv[2:]}
    golden(Tokenizer.from_file(str(ROOT / "models/tiny-7m/tokenizer.json")), lines, random.Random(1), out / "text_tiny.txt")
    for name, make in made.items():
        tok = make(texts)
        data = json.loads(tok.to_str())
        (out / ("text_%s.json" % name)).write_text(
            json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")
        tok = Tokenizer.from_file(str(out / ("text_%s.json" % name)))
        golden(tok, lines, random.Random(1), out / ("text_%s.txt" % name))
    golden_pre(lines, HERE / "text_llama3.json", out / "text_pre.txt")


if __name__ == "__main__":
    main()
