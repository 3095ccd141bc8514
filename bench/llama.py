#!/usr/bin/env python3
"""llama.cpp's tokens a second, for `rialto-bench --only chat`.

    llama.py MODEL THREADS

Reads lines of JSON, `{"prompt": TEXT, "tokens": COUNT}`, and answers each with a line: the rates at which
llama.cpp took the prompt in and wrote COUNT tokens, by its own clock. Needs the package xllamacpp.
"""

import json
import os
import sys
import urllib.request

import xllamacpp


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    # What llama.cpp prints goes elsewhere: this program's output is its answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.cache_ram_mib = 0
    params.verbosity = 0
    server = xllamacpp.Server(params)
    for line in sys.stdin:
        asked = json.loads(line)
        body = {
            "prompt": asked["prompt"], "n_predict": asked["tokens"], "temperature": 0,
            "samplers": ["top_k"], "top_k": 1, "ignore_eos": True, "cache_prompt": False,
        }
        request = urllib.request.Request(
            server.listening_address + "/completion",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            timings = json.load(answer)["timings"]
        found = {
            "prompt_tokens": timings["prompt_n"],
            "prefill": timings["prompt_per_second"],
            "decode": timings["predicted_per_second"],
        }
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
