"""Builds the service: dist/{{name}}/component.wasm beside its manifest, as a host reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE / "dist" / "{{name}}"


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    component = TARGET / "component.wasm"
    # The tool beside this Python, as `pip install -r requirements.txt` put it there.
    tool = shutil.which("componentize-py", path=str(Path(sys.executable).parent))
    if tool is None:
        sys.exit("componentize-py is missing: run `pip install -r requirements.txt` with this Python")
    command = [tool, "--wit-path", HERE / "wit", "--world", "service", "--quiet", "componentize"]
    # Imports from the host are those of the world and no others.
    command += ["--stub-wasi", "--python-path", HERE, "--output", component, "service"]
    subprocess.run(command, check=True)
    with component.open("ab") as file:
        file.write(section("rialto:wit", (HERE / "wit" / "world.wit").read_bytes()))
    shutil.copyfile(HERE / "service.toml", TARGET / "service.toml")
    print(f"dist/{{name}}: {component.stat().st_size} bytes")


def section(name: str, content: bytes) -> bytes:
    """A custom section: hosts show the interface's comments to callers and read them from here."""
    body = length(len(name)) + name.encode() + content
    return b"\0" + length(len(body)) + body


def length(number: int) -> bytes:
    """A number as WebAssembly writes lengths: LEB128."""
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


if __name__ == "__main__":
    main()
