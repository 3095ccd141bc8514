"""llama.cpp as a local server, through the PyPI package `xllamacpp`."""
import json
import urllib.request

import xllamacpp as x


class Llama:
    def __init__(self, path, threads, context=2048):
        params = x.CommonParams()
        params.model.path = path
        params.n_ctx = context
        params.n_parallel = 1
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers = 0
        params.cache_ram_mib = 0
        params.warmup = True
        params.verbosity = 0
        params.hostnames = ["127.0.0.1"] if hasattr(params, "hostnames") else None
        self.server = x.Server(params)

    def post(self, path, body):
        request = urllib.request.Request(
            self.server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def tokens(self, text, special=True):
        return self.post("/tokenize", {"content": text, "add_special": True, "parse_special": special})["tokens"]

    def complete(self, prompt, count, **more):
        body = {"prompt": prompt, "n_predict": count, "temperature": 0, "cache_prompt": False,
                "return_tokens": True, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True, **more}
        return self.post("/completion", body)
