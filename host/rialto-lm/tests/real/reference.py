"""A plain f32 computation of the model in NumPy. Slow, and simple enough to trust."""
import numpy as np
from gguf import GGUFReader, quants


class Reference:
    def __init__(self, path):
        reader = GGUFReader(path)
        get = lambda key: reader.fields[key].contents()
        self.layers = get("llama.block_count")
        self.heads, self.key_heads = get("llama.attention.head_count"), get("llama.attention.head_count_kv")
        self.epsilon, self.base = get("llama.attention.layer_norm_rms_epsilon"), get("llama.rope.freq_base")
        self.tensors = {t.name: quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.tensors[name]

    def rotate(self, x):
        count, heads, width = x.shape
        angle = np.arange(count)[:, None] * self.base ** (-np.arange(0, width, 2) / width)[None, :]
        cos, sin = np.cos(angle)[:, None, :].astype(np.float32), np.sin(angle)[:, None, :].astype(np.float32)
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out

    def logits(self, tokens):
        """Of the last token."""
        w = self.tensors
        x = w["token_embd.weight"][tokens]
        count = len(tokens)
        mask = np.triu(np.full((count, count), -np.inf, dtype=np.float32), 1)
        for layer in range(self.layers):
            name = f"blk.{layer}."
            y = self.norm(x, name + "attn_norm.weight")
            q = self.rotate((y @ w[name + "attn_q.weight"].T).reshape(count, self.heads, -1))
            k = self.rotate((y @ w[name + "attn_k.weight"].T).reshape(count, self.key_heads, -1))
            v = (y @ w[name + "attn_v.weight"].T).reshape(count, self.key_heads, -1)
            k, v = (np.repeat(t, self.heads // self.key_heads, axis=1) for t in (k, v))
            scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1]) + mask
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            y = np.einsum("hqk,khd->qhd", scores, v).reshape(count, -1)
            x = x + y @ w[name + "attn_output.weight"].T
            y = self.norm(x, name + "ffn_norm.weight")
            gate = y @ w[name + "ffn_gate.weight"].T
            y = gate / (1 + np.exp(-gate)) * (y @ w[name + "ffn_up.weight"].T)
            x = x + y @ w[name + "ffn_down.weight"].T
        return self.norm(x, "output_norm.weight")[-1] @ w.get("output.weight", w["token_embd.weight"]).T

    def log_probabilities(self, tokens):
        logits = self.logits(tokens).astype(np.float64)
        logits -= logits.max()
        return logits - np.log(np.exp(logits).sum())
