"""Times runs of models in ONNX Runtime for whoever asks on the standard input.

Each line is JSON: {"load": name, "file": path, "inputs": [{"name", "type", "shape", "data"}], "threads": n}
or {"run": name, "times": n}. Answers are a line each; the first says which library this is.
"""

import base64
import glob
import json
import os
import sys
import time

import numpy
import onnxruntime

TYPES = {"f32": "<f4", "i64": "<i8", "i32": "<i4", "u8": "u1", "i8": "i1", "f16": "<f2", "bool": "?"}


def load(request):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        request["file"], options, providers=["CPUExecutionProvider"]
    )
    inputs = {
        one["name"]: numpy.frombuffer(
            base64.b64decode(one["data"]), dtype=TYPES[one["type"]]
        ).reshape(one["shape"])
        for one in request["inputs"]
    }
    return session, inputs


def run(session, inputs, times):
    begin = time.perf_counter()
    for _ in range(times):
        session.run(None, inputs)
    return (time.perf_counter() - begin) / times * 1e6


def main():
    folder = os.path.join(os.path.dirname(onnxruntime.__file__), "capi")
    library = sorted(glob.glob(os.path.join(folder, "libonnxruntime.so*")))[0]
    print(json.dumps({"library": library}), flush=True)
    loaded = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            loaded[request["load"]] = load(request)
            print(json.dumps({"us": 0.0}), flush=True)
        else:
            us = run(*loaded[request["run"]], request["times"])
            print(json.dumps({"us": us}), flush=True)


main()
