#!/usr/bin/env python3
"""Compares the embed service's tokenizer with Hugging Face's on hard texts and on every character.

    cargo build --release --example tokens        (in services/, for the native target)
    check_tokens.py PATH/TO/examples/tokens [--quick]

Every Unicode character is tried alone and inside a word, packed many to a text (`--quick`: every 37th).
Random texts mix scripts, marks, spaces, controls and special tokens. Exits 1 on any difference.
"""

import json
import random
import subprocess
import sys

from reference import load_tokenizer, tokens

HARD = [
    "",
    " \t\r\n",
    "Hello, World! It's 5 o'clock; isn't it?",
    "naïve café, Ångström, résumé, coöperate, İstanbul, ǅungla, ΣΊΣΥΦΟΣ, straße ẞ ﬁne ﬀ",
    "e\u0301 a\u0323\u0307 q\u0307\u0323 \u0301start a\u0315\u0300\u05ae\u0062",
    "東京タワーは高い。北京大学的学生们！서울은 한국의 수도이다. ภาษาไทยไม่มีช่องว่าง",
    "हिन्दी में लिखा हुआ वाक्य। বাংলা ভাষা தமிழ் తెలుగు ગુજરાતી ਪੰਜਾਬੀ",
    "مرحبا بالعالم، كيف حالك؟ שלום עולם: מה שלומך?",
    "Привет, мир! Ёжик в тумане. Ґанок їжак. Čeština, Łódź, Đặng Thái Sơn",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag 🏳️‍🌈 ❤️ 1️⃣ ☕︎",
    "[CLS] [SEP] [MASK] [PAD] [UNK] [cls] [MASK][MASK]x[MASK]y [MAS K] [[MASK]] [unused1]",
    "a\u0000b\ufffdc\u200bd\u200de\u00adf\ufeffg\u2028h\u2029i\u0085j\u00a0k\u3000l\u180em",
    "http://example.com/a?b=c&d=%20#e foo_bar-baz@qux.com C:\\x\\y $5.00 ~`^|<>=+*",
    "supercalifragilisticexpialidocious antidisestablishmentarianism " + "x" * 99 + " " + "y" * 101,
    "ﷺ ㍿ ½ ² ① Ⅷ ™ ℡ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ＡＢＣ１２３ ｶﾀｶﾅ",
    "\U00020000\U0002a6df\U0002a700\U0002b820\U0002b91f\U0002b920\U0002ceaf\U0002f800 \u3400\u4dbf\uf900\ufaff",
    "word " * 400,
    "unaffableunaffable " * 200,
    "[MASK]" * 300,
    "\u0301" * 50 + "abc",
    "ạ̈" * 120,
]


def characters(step: int) -> list[str]:
    """Every character, alone and in a word, fifteen to a text so that nothing is cut off."""
    all_characters = [chr(c) for c in range(0, 0x110000, step) if not 0xD800 <= c <= 0xDFFF]
    texts = []
    for start in range(0, len(all_characters), 15):
        part = all_characters[start : start + 15]
        texts.append(" ".join(f"{c} a{c}b" for c in part))
    return texts


def mixtures(count: int) -> list[str]:
    """Random texts from fixed seed: reproducible."""
    pick = random.Random(20240229)
    blocks = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF),
              (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
              (0x20D0, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFD),
              (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01EF)]
    special = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[", "]", "##", "\x00", "\ufffd", " ", "\n"]
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(pick.randint(1, 60)):
            if pick.random() < 0.15:
                parts.append(pick.choice(special))
            else:
                low, high = pick.choice(blocks)
                parts += [chr(pick.randint(low, high)) for _ in range(pick.randint(1, 4))]
        texts.append("".join(parts))
    return texts


def main() -> int:
    program = sys.argv[1]
    quick = "--quick" in sys.argv
    texts = HARD + mixtures(2_000 if quick else 50_000) + characters(37 if quick else 1)
    expected = tokens(texts, load_tokenizer(None))
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    run = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    if len(found) != len(expected):
        print(f"{len(found)} answers for {len(expected)} texts", file=sys.stderr)
        return 1
    wrong = [i for i in range(len(texts)) if found[i] != expected[i]]
    for i in wrong[:10]:
        print(f"{texts[i]!a}\n  expected {expected[i]}\n  found    {found[i]}", file=sys.stderr)
    print(json.dumps({"texts": len(texts), "different": len(wrong)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
