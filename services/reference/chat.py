#!/usr/bin/env python3
"""What llama.cpp answers to the questions that `chat` is asked, most likely token by most likely token.

    chat.py MODEL COUNT CONVERSATION..    each a JSON list of messages

Prints a JSON list: for each conversation the pieces of the answer, each with its text and how much likelier it
was than the next best (the difference of the logarithms of their probabilities), and the number of tokens of
the prompt. Needs the package xllamacpp, which is llama.cpp with its server.
"""

import json
import sys
import urllib.request

import xllamacpp


def started(path: str):
    """llama.cpp's own server on one thread."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.verbosity = 0
    return xllamacpp.Server(params)


def ask(server, path: str, body: dict) -> dict:
    request = urllib.request.Request(
        server.listening_address + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def answered(server, messages: list, count: int) -> dict:
    prompt = ask(server, "/apply-template", {"messages": messages})["prompt"]
    tokens = ask(server, "/tokenize", {"content": prompt, "parse_special": True})["tokens"]
    done = ask(server, "/completion", {
        "prompt": tokens, "n_predict": count, "temperature": 0, "samplers": ["top_k"], "top_k": 1,
        "cache_prompt": False, "n_probs": 2,
    })
    pieces = []
    for step in done["completion_probabilities"]:
        best, next_best = (entry["logprob"] for entry in step["top_logprobs"][:2])
        pieces.append({"text": step["token"], "gap": best - next_best})
    return {"prompt_tokens": len(tokens), "pieces": pieces, "stopped": done["stop_type"]}


def main() -> None:
    path, count, *conversations = sys.argv[1:]
    server = started(path)
    answers = [answered(server, json.loads(messages), int(count)) for messages in conversations]
    # The server's own lines may stand before it.
    print("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
