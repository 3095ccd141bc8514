#!/usr/bin/env python3
"""Makes small real files of many kinds, for comparing the filetype service with magika's package.

    samples.py FOLDER      writes the files and prints their paths as a JSON list

Only Python's standard library; the same bytes on every run. The files hold this project's own text.
"""

import gzip
import io
import json
import math
import pickle
import sqlite3
import struct
import sys
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

TEXT = (
    "The harbour master counts boats by lantern light. Each boat pays when it leaves, never when it "
    "arrives, and the tide keeps the accounts.\n"
)

PYTHON = '''"""Counts boats."""
import sys
from collections import Counter


def count(lines):
    """Returns how often each boat came in."""
    boats = Counter()
    for line in lines:
        name, _, _rest = line.partition(",")
        boats[name.strip()] += 1
    return boats


if __name__ == "__main__":
    for name, times in count(sys.stdin).most_common():
        print(f"{name}: {times}")
'''

RUST = """//! Counts boats.
use std::collections::BTreeMap;

/// Returns how often each boat came in.
pub fn count<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u32> {
    let mut boats = BTreeMap::new();
    for line in lines {
        let name = line.split(',').next().unwrap_or_default().trim();
        *boats.entry(name).or_insert(0) += 1;
    }
    boats
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts() {
        assert_eq!(super::count(["a, 1", "a, 2"].into_iter())["a"], 2);
    }
}
"""

C = """#include <stdio.h>
#include <string.h>

/* Prints the first field of every line. */
int main(int argc, char **argv) {
    char line[256];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, ",")] = '\\0';
        printf("%s\\n", line);
    }
    return argc > 1 && strcmp(argv[1], "--fail") == 0;
}
"""

JAVASCRIPT = """'use strict';
const fs = require('fs');

function count(lines) {
  const boats = new Map();
  for (const line of lines) {
    const name = line.split(',')[0].trim();
    boats.set(name, (boats.get(name) || 0) + 1);
  }
  return boats;
}

const lines = fs.readFileSync(0, 'utf8').split('\\n');
for (const [name, times] of count(lines)) console.log(`${name}: ${times}`);
module.exports = { count };
"""

SHELL = """#!/bin/sh
# Prints how often each boat came in.
set -eu
file=${1:-boats.csv}
if [ ! -r "$file" ]; then
    echo "cannot read $file" >&2
    exit 1
fi
cut -d, -f1 "$file" | sort | uniq -c | sort -rn | while read -r times name; do
    echo "$name: $times"
done
"""

HTML = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Harbour</title>
<style>body { font-family: serif; margin: 2em; }</style></head>
<body><h1>Harbour</h1><p>The harbour master counts boats.</p>
<ul><li><a href="/boats">Boats</a></li><li>Tides</li></ul></body>
</html>
"""

XML = """<?xml version="1.0" encoding="UTF-8"?>
<harbour name="north">
  <boat id="1"><name>Heron</name><length unit="m">9.5</length></boat>
  <boat id="2"><name>Gannet</name><length unit="m">12</length></boat>
</harbour>
"""

MARKDOWN = """# Harbour

The harbour master counts boats.

## Prices

| boat | price |
|---|---|
| small | 1 |
| large | 3 |

1. Arrive.
2. *Leave*, and **pay**.

```sh
harbour count --all
```

See [the tides](https://example.org/tides).
"""

SQL = """CREATE TABLE boats (id INTEGER PRIMARY KEY, name TEXT NOT NULL, length REAL);
INSERT INTO boats (name, length) VALUES ('Heron', 9.5), ('Gannet', 12.0);
SELECT name, COUNT(*) AS visits FROM boats LEFT JOIN visits ON visits.boat = boats.id
GROUP BY name ORDER BY visits DESC;
"""

TOML = """[package]
name = "harbour"
version = "0.1.0"
edition = "2024"

[dependencies]
tides = { version = "1.2", features = ["moon"] }
"""

YAML = """harbour:
  name: north
  boats:
    - name: Heron
      length: 9.5
    - name: Gannet
      length: 12
"""

CSS = """body { margin: 0; font-family: serif; color: #223; }
.boat > a:hover { text-decoration: underline; }
@media (max-width: 40em) { .boat { display: block; padding: 0.5rem 1rem; } }
"""


def png(width: int = 64, height: int = 48) -> bytes:
    """A colour gradient."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 4 % 256, y * 5 % 256, (x ^ y) % 256))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp(size: int = 32) -> bytes:
    """A grey gradient, 24 bits a pixel."""
    pixels = b"".join(bytes([x * 8 % 256] * 3) for _ in range(size) for x in range(size))
    info = struct.pack("<IiiHHIIiiII", 40, size, size, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels


def pdf() -> bytes:
    """One page with one line of text, with a correct cross-reference table."""
    stream = b"BT /F1 24 Tf 72 720 Td (The harbour master counts boats.) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


def wav() -> bytes:
    """A quarter of a second of a 440 Hz tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        samples = (int(12000 * math.sin(2 * math.pi * 440 * i / 8000)) for i in range(2000))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return out.getvalue()


def zipped() -> bytes:
    """Two text files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("harbour.txt", TEXT * 20), ("boats.py", PYTHON)):
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


def tarred() -> bytes:
    """One text file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("harbour.txt")
        entry.size = len(TEXT)
        archive.addfile(entry, io.BytesIO(TEXT.encode()))
    return out.getvalue()


def database(folder: Path) -> bytes:
    """One table with two rows."""
    path = folder / "boats.sqlite"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(SQL.split("SELECT")[0])
    connection.close()
    return path.read_bytes()


def elf() -> bytes:
    """A complete 64-bit program that exits with status 0."""
    code = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    size = 120 + len(code)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000)
    return ident + header + program + code


def samples(folder: Path) -> dict[str, bytes]:
    """File names and contents."""
    boats = {"harbour": "north", "boats": [{"name": "Heron", "length": 9.5}, {"name": "Gannet"}] * 5}
    csv = "name,length,visits\n" + "".join(f"boat{i},{i * 1.5},{i % 7}\n" for i in range(40))
    texts = {
        "text.txt": TEXT * 10,
        "boats.py": PYTHON,
        "boats.rs": RUST,
        "boats.c": C,
        "boats.js": JAVASCRIPT,
        "boats.sh": SHELL,
        "harbour.html": HTML,
        "harbour.xml": XML,
        "harbour.md": MARKDOWN,
        "boats.sql": SQL,
        "harbour.toml": TOML,
        "harbour.yaml": YAML,
        "harbour.css": CSS,
        "boats.csv": csv,
        "boats.json": json.dumps(boats, indent=2),
        "short.txt": "boats",
        "spaces.txt": " \n\t" * 3000,
        "padded.py": "\n" * 3000 + PYTHON + " " * 3000,
    }
    out = {name: text.encode() for name, text in texts.items()}
    out |= {
        "gradient.png": png(),
        "gradient.bmp": bmp(),
        "page.pdf": pdf(),
        "tone.wav": wav(),
        "boats.zip": zipped(),
        "harbour.tar": tarred(),
        "harbour.txt.gz": gzip.compress(TEXT.encode() * 20, mtime=0),
        "boats.sqlite": database(folder),
        "boats.pickle": pickle.dumps(boats, protocol=4),
        "exit.elf": elf(),
        "module.wasm": b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b",
        "empty": b"",
        "short.bin": b"\xff\xfe\xfd",
        "latin1.txt": ("caf\xe9 " * 400).encode("latin-1"),
        "noise.bin": b"".join(zlib.crc32(bytes([i % 256, i // 256])).to_bytes(4, "big") for i in range(4000)),
    }
    return out


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in samples(folder).items():
        (folder / name).write_bytes(content)
        paths.append(str(folder / name))
    print(json.dumps(paths))


if __name__ == "__main__":
    main()
