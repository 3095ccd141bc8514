"""Tokens a second of this engine over llama.cpp's: `compare.py BENCH MODEL [ROUNDS [THREADS..]]`.

Both run the same file with the same threads, in turns, so that what else the machine does hits both; the
ratio of each round is taken and their median printed with the least and the most.
"""
import json
import statistics
import subprocess
import sys

from llama import Llama

bench, model, rounds = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["5"])[0])
PROMPT = [100 + i * 37 for i in range(128)]


def theirs(llama):
    prefill = llama.complete(PROMPT, 1)["timings"]["prompt_per_second"]
    decode = llama.complete(PROMPT[:16], 65)["timings"]["predicted_per_second"]
    return {"prefill": prefill, "decode": decode}


def ours(threads):
    lines = subprocess.run([bench, model, str(threads)], check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in lines.splitlines()]
    return {(line["what"], line["batch"]): line["tokens_per_second"] for line in lines if "what" in line}


for threads in [int(n) for n in sys.argv[4:]] or (1, 2):
    llama = Llama(model, threads)
    theirs(llama)
    ratios, rates = {}, {}
    for _ in range(rounds):
        found, base = ours(threads), theirs(llama)
        for (what, batch), rate in found.items():
            ratios.setdefault((what, batch), []).append(rate / base[what])
            rates.setdefault((what, batch), []).append((rate, base[what]))
    for key, values in ratios.items():
        rate, base = (statistics.median(column) for column in zip(*rates[key]))
        print(f"threads {threads} {key[0]:7} batch {key[1]}: {rate:7.1f} tokens/s, llama.cpp {base:7.1f} (batch 1), "
              f"ratio {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})", flush=True)
    del llama
