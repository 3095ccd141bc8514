#!/usr/bin/env python3
"""What the services must answer, by the reference implementations.

    reference.py filetype FILE...              magika's own package on each file's bytes
    reference.py embed --model PATH TEXT...    onnxruntime and tokenizers, one run a text
    reference.py similarity --model PATH TEXT...
    reference.py tokens TEXT...                the model's input for each text

Prints one JSON value. Texts may also come as a JSON list of strings on standard input (`-`).
Needs the packages magika==1.0.3, onnxruntime, numpy and tokenizers; `tokenizer.json` is read from
`$RIALTO_ASSETS`, else from `assets/` of Rialto's cache, or from `--tokenizer PATH`.

An end-to-end test compares labels for equality and vectors within 1e-4.
"""

import argparse
import json
import os
import sys
from pathlib import Path

PIECES_MAX = 256


def assets() -> Path:
    """The folder of model files, found as the services' builds find it."""
    environment = os.environ
    if value := environment.get("RIALTO_ASSETS"):
        return Path(value)
    if value := environment.get("RIALTO_CACHE"):
        return Path(value) / "assets"
    if value := environment.get("XDG_CACHE_HOME"):
        return Path(value) / "rialto" / "assets"
    return Path.home() / ".cache" / "rialto" / "assets"


def filetype(paths: list[str]) -> list[dict]:
    """The verdict of the magika package on the bytes of each file."""
    from magika import Magika

    magika = Magika()
    verdicts = []
    for path in paths:
        prediction = magika.identify_bytes(Path(path).read_bytes()).prediction
        output = prediction.output
        verdicts.append(
            {
                "file": path,
                "label": str(output.label),
                "mime_type": output.mime_type,
                "group": output.group,
                "description": output.description,
                "extensions": output.extensions,
                "is_text": output.is_text,
                "score": float(prediction.score),
            }
        )
    return verdicts


def load_tokenizer(path: str | None):
    """The model's tokenizer with sentence-transformers' length, without padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path or str(assets() / "minilm" / "tokenizer.json"))
    tokenizer.enable_truncation(PIECES_MAX)
    tokenizer.no_padding()
    return tokenizer


def tokens(texts: list[str], tokenizer) -> list[list[int]]:
    """The model's input for each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def embed(texts: list[str], model: str, tokenizer):
    """One vector a text: mean of the last hidden state, scaled to length 1; one run a text."""
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    vectors = []
    for ids in tokens(texts, tokenizer):
        ids = numpy.array([ids], dtype=numpy.int64)
        (hidden,) = session.run(
            ["last_hidden_state"],
            {
                "input_ids": ids,
                "attention_mask": numpy.ones_like(ids),
                "token_type_ids": numpy.zeros_like(ids),
            },
        )
        mean = hidden[0].mean(axis=0)
        vectors.append(mean / max(float(numpy.linalg.norm(mean)), 1e-12))
    return numpy.array(vectors)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("filetype", help="verdicts of the magika package")
    files.add_argument("files", nargs="+")
    for name in ("embed", "similarity", "tokens"):
        command = commands.add_parser(name)
        command.add_argument("texts", nargs="*", help="`-` reads a JSON list from standard input")
        command.add_argument("--tokenizer", help="path of tokenizer.json")
        if name != "tokens":
            command.add_argument("--model", required=True, help="path of model.onnx")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.command == "filetype":
        answer = filetype(arguments.files)
    else:
        texts = arguments.texts
        if texts == ["-"]:
            texts = json.load(sys.stdin)
        tokenizer = load_tokenizer(arguments.tokenizer)
        if arguments.command == "tokens":
            answer = tokens(texts, tokenizer)
        else:
            vectors = embed(texts, arguments.model, tokenizer)
            if arguments.command == "similarity":
                vectors = vectors @ vectors.T
            answer = vectors.tolist()
    json.dump(answer, sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
