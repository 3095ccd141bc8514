"""Writes src/blocks/expected.rs with gguf-py, an independent reader of the same formats."""
import numpy as np
from gguf import quants, GGMLQuantizationType as T, GGML_QUANT_SIZES

def block(kind):
    size = GGML_QUANT_SIZES[kind][1]
    state, out = 1, []
    for _ in range(size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    data = np.array(out, dtype=np.uint8)
    at = {T.Q6_K: [208]}.get(kind, [0, 2] if kind in (T.Q4_1, T.Q5_1, T.Q4_K, T.Q5_K) else [0])
    for where, value in zip(at, [0x2C66, 0x3155]):
        data[where:where + 2] = np.frombuffer(np.uint16(value).tobytes(), dtype=np.uint8)
    return data

print("//! Blocks of every quantised kind and the values that the reference implementation reads from them.\n")
print("use super::{Element, check};\n")
print("/// Written by `tests/blocks_oracle.py`.\n#[test]\nfn every_format_agrees_with_gguf_py() {")
for kind in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K):
    values = quants.dequantize(block(kind)[None, :], kind).astype(np.float64).ravel()
    picked = ", ".join(f"{float(v):.6f}" for v in (values[0], values[17], values[-1], values.sum()))
    name = kind.name.replace("_K", "K")
    print(f"    check(Element::{name}, [{picked}]);")
print("}")
