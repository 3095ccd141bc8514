"""Writes src/tokenizer/marks.rs: what Unicode calls alphabetic but not a letter (category L)."""
import unicodedata

def runs():
    start, wanted = None, False
    for code in range(0x110000 + 1):
        kind = unicodedata.category(chr(code)) if code < 0x110000 else "Cn"
        inside = kind[0] != "L" and kind not in ("Cn", "Cs", "Co")
        if inside and start is None:
            start, wanted = code, False
        if inside:
            wanted |= kind[0] == "M" or kind in ("Nl", "So")
        elif start is not None:
            if wanted:
                yield start, code - 1
            start = None

print("//! Runs of characters that are no letters although some of them count as alphabetic: marks,")
print(f"//! letter-like numbers and symbols. Written by `scripts/letters.py` (Unicode {unicodedata.unidata_version}).")
print("\n/// First and last of each run, ascending.")
print("#[rustfmt::skip]")
print("pub(super) const MARKS: &[(u32, u32)] = &[")
line = "   "
for first, last in runs():
    item = f" (0x{first:x}, 0x{last:x}),"
    if len(line) + len(item) > 100:
        print(line)
        line = "   "
    line += item
print(line)
print("];")
