"""Writes what llama.cpp and NumPy say about a model, for ../real.rs: `oracle.py MODEL > expected.txt`.

One case a line, fields apart by tabs; texts in hexadecimal, lists apart by spaces.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from llama import Llama
from reference import Reference

TEXTS = [
    "Hello, world!", "  two spaces and\ttabs\n\n\nlines\r\n", "I'm sure they'll say it's we've you're I'd don't",
    "In 1984 there were 12345678 of 3.14159", "naïve café résumé Übergröße ß", "Привет, мир! Как дела?",
    "日本語のテキストと中文字符", "한국어 텍스트", "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪!", "مرحبا بالعالم", "हिन्दी में लिखा हुआ",
    "a\u0301 combining e\u0308 marks", "½ ¼ Ⅷ ① ²³ ٣٤٥", "fn main() { println!(\"{}\", x[0] + y->z); }",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "no<|endoftext|>space <|im_end|> here", "",
    " ", "\n", "   ", "x  y   z    ", "\u00a0nbsp\u3000wide\u2028sep", "\u200bzero\ufeffwidth", "ﬁ ligature ǅ ʰ ª º",
    "https://example.org/a?b=c&d=%20#e", "{\"key\": [1, 2.5e-10, null]}", "A" * 50, "ab" * 40, "\u0001\u007f\u0085",
    "  leading", "trailing  ", "1 2  3   4", "don\u2019t \u201cquote\u201d \u2014 dash\u2026", "ΑΒΓ αβγ ͺ ΐ",
    "ไทย ภาษา", "ⓐ Ⓑ ㊗ ℵ ℃", "𝒜𝓁𝓅𝒽𝒶 𝟙𝟚𝟛", "\U0001f1e6 \U000e0041",
]
PROMPTS = [
    "The capital of France is", "Once upon a time, there was a little", "def fibonacci(n):\n    ",
    "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nList three colours.<|im_end|>\n<|im_start|>assistant\n",
    "Water boils at 100 degrees Celsius. Ice melts at",
    "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer",
]
COUNT = 64

llama, reference = Llama(sys.argv[1], 1), Reference(sys.argv[1])
row = lambda *fields: print(*fields, sep="\t")
words = lambda items: " ".join(str(item) for item in items)
for text in TEXTS:
    for special in (False, True):
        row("tokens", int(special), text.encode().hex(), words(llama.tokens(text, special)))
for prompt in PROMPTS:
    tokens = llama.tokens(prompt)
    done = llama.complete(tokens, COUNT, n_probs=2)
    steps = [[p["logprob"] for p in step["top_logprobs"]] for step in done["completion_probabilities"]]
    row("greedy", words(tokens), words(done["tokens"]), words(f"{a[0] - a[1]:.4f}" for a in steps))
    tokens += done["tokens"][:24]
    top = llama.complete(tokens, 1, n_probs=20)["completion_probabilities"][0]["top_logprobs"]
    ids = [p["id"] for p in top]
    exact = reference.log_probabilities(tokens)[ids]
    row("logits", words(tokens), words(ids), words(f"{v:.4f}" for v in exact),
        words(f"{p['logprob']:.4f}" for p in top))
