"""Compares what our engines computed with ONNX Runtime in Python, and writes docs/models.md.

Run by `cargo xtask models --table` with the clients' Python: cells.json, the folder of inputs and
outputs that `cells` kept, and the document to write.
"""

import json
import pathlib
import sys

import numpy
import onnxruntime

TYPES = {
    "f32": numpy.float32,
    "f16": numpy.float16,
    "i64": numpy.int64,
    "i32": numpy.int32,
    "i8": numpy.int8,
    "u8": numpy.uint8,
    "boolean": numpy.bool_,
}

HEAD = """# Engines and models

Every engine on every model that the services use or that was measured for them, with the same seeded
inputs (`cargo xtask models --table` writes this file). *Difference*: the largest absolute difference of any
output to ONNX Runtime {version} in Python; the largest value of those outputs is beside it for scale. *Time*: the
median of a run with one thread, ONNX Runtime and tract in a worker process. `rialto graph` runs models as programs
of tensor operations on any device: here on the processor, and on Mesa's software Vulkan (all cores, and only to
show that the kernels for graphics processors give the same answers). What a model's services compute is tested
against reference implementations on real inputs, beside each service.

| model | inputs | {engines} |
|---|---|{lines}|
"""

TAIL = """
## Which engine runs a model

`[engines] choice` in the host's configuration:

| `choice` | models run on |
|---|---|
| `"auto"` | the graphics processor that `[device]` chose, where that covers the model, agrees with an engine on the processor and is not slower; else ONNX Runtime, where its library is found and agrees; else tract, the embedded engine. The default |
| `"gpu"` | the same, the graphics processor also where it is slower; without one the host does not start |
| `"onnxruntime"` | ONNX Runtime; a model that it does not run is an error |
| `"embedded"` | tract |

Engines are compared once for each file, on seeded inputs: beyond a relative difference of 2e-3 the faster one does
not run it. What does not run where it was wanted is a line in the log, with the model and the reason (an
operator that is not known, a difference), and runs on the next engine. With `deterministic = true` nothing depends
on what is installed, and with `isolate = true` no file is read in the host's process: both keep models off the
graphics processor unless it is named. `rialto engines` says what is here, how fast it is and what to install.

Graphs run on graphics processors if they use the standard's operators of sets 7 to 24 among these: element-wise
ones, comparisons and choices; shapes and layout; gathering, scattering, ranking; reductions; products, also of 8-bit
integers; convolutions (1 and 2 axes, transposed too) and pools; normalisations; quantisation; resizing; LSTM and GRU
of up to 512 steps; `If` whose condition is constant or a small input. Loops, and shapes that depend on data,
stay on the processor.
"""


def load(folder, what, forms):
    return [
        numpy.frombuffer((folder / f"{what}.{place}.bin").read_bytes(), TYPES[form["element"]]).reshape(form["shape"])
        for place, form in enumerate(forms)
    ]


def reference(model, folder):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model["file"], options, providers=["CPUExecutionProvider"])
    inputs = load(folder, "input", model["inputs"])
    feed = {form["name"]: value for form, value in zip(model["inputs"], inputs)}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed)))


def difference(engine, folder, expected):
    worst = 0.0
    for form, found in zip(engine["outputs"], load(folder, engine["engine"], engine["outputs"])):
        wanted = expected[form["name"]]
        if wanted.shape != found.shape or wanted.dtype != found.dtype:
            return f"**wrong**: `{form['name']}` is {found.dtype}{list(found.shape)}"
        if wanted.size:
            worst = max(worst, float(numpy.max(numpy.abs(wanted.astype(float) - found.astype(float)))))
    return worst


def cell(engine, folder, expected):
    if "fails" in engine:
        return "fails: " + engine["fails"].replace("|", "/").replace("\n", " ")[:160]
    by = difference(engine, folder, expected)
    by = by if isinstance(by, str) else f"{by:.1e}" if by else "0"
    return f"{by}; {engine['run_ms']:.2f} ms"


def main():
    cells, folder, document = (pathlib.Path(argument) for argument in sys.argv[1:])
    models = json.loads(cells.read_text())
    engines = {}
    rows = []
    for model in models:
        name = model["model"]
        at = folder / name
        for engine in model["engines"]:
            engines.setdefault(engine["engine"], engine.get("version"))
            engines[engine["engine"]] = engine.get("version") or engines[engine["engine"]]
        if model["inputs"] is None:
            rows.append([name, "none runs"] + [cell(engine, at, {}) for engine in model["engines"]])
            continue
        expected = reference(model, at)
        scale = max(float(numpy.max(numpy.abs(value.astype(float)))) for value in expected.values() if value.size)
        inputs = ", ".join(f"{form['element']}{form['shape']}" for form in model["inputs"])
        rows.append(
            [name, f"{inputs} → ≤ {scale:.3g}"] + [cell(engine, at, expected) for engine in model["engines"]]
        )
    names = [version or engine for engine, version in engines.items()]
    text = HEAD.format(version=onnxruntime.__version__, engines=" | ".join(names), lines="|".join("---" for _ in names))
    text += "".join("| " + " | ".join(row) + " |\n" for row in rows) + TAIL
    document.write_text(text)


main()
