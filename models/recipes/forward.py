"""A Llama in NumPy, layer by layer, so that a large model needs the memory of one layer.

It computes what a GGUF file's metadata and tensors say, in float32, with llama.cpp's rotation of neighbours (2i, 2i+1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gguf import GGUFReader


@dataclass(frozen=True)
class Hyperparameters:
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    head_dim: int
    norm_eps: float
    rope_base: float
    is_tied: bool

    @classmethod
    def read(cls, reader: GGUFReader) -> Hyperparameters:
        def field(key: str):
            found = reader.get_field(f"llama.{key}")
            return found.contents() if found else None

        n_embd, n_head = field("embedding_length"), field("attention.head_count")
        return cls(
            n_embd=n_embd,
            n_layer=field("block_count"),
            n_head=n_head,
            n_head_kv=field("attention.head_count_kv") or n_head,
            head_dim=field("attention.key_length") or n_embd // n_head,
            norm_eps=field("attention.layer_norm_rms_epsilon"),
            rope_base=field("rope.freq_base") or 10000.0,
            is_tied=all(tensor.name != "output.weight" for tensor in reader.tensors),
        )


def logits(weight: Callable[[str], np.ndarray], h: Hyperparameters, tokens: np.ndarray) -> np.ndarray:
    """tokens: `[position]` → `[position, n_vocab]`; `weight` gives a tensor by its name."""
    n = len(tokens)
    frequency = h.rope_base ** (-np.arange(0, h.head_dim, 2, dtype=np.float32) / h.head_dim)
    angle = np.arange(n, dtype=np.float32)[:, None] * frequency
    cos, sin = np.cos(angle), np.sin(angle)
    unseen = np.triu(np.full((n, n), -np.inf, dtype=np.float32), 1)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + h.norm_eps) * weight(name)

    def heads(x: np.ndarray) -> np.ndarray:
        return x.reshape(n, -1, h.head_dim).transpose(1, 0, 2)

    def rotate(x: np.ndarray) -> np.ndarray:
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1).reshape(x.shape)

    embedding = weight("token_embd.weight")
    x = embedding[tokens]
    for i in range(h.n_layer):
        layer = f"blk.{i}"
        normed = norm(x, f"{layer}.attn_norm.weight")
        q, k, v = (heads(normed @ weight(f"{layer}.attn_{name}.weight").T) for name in "qkv")
        q, k = rotate(q), rotate(k)
        scores = q @ k.transpose(0, 2, 1) / np.float32(h.head_dim**0.5) + unseen
        share = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = share / share.sum(-1, keepdims=True) @ v
        x = x + mixed.transpose(1, 0, 2).reshape(n, -1) @ weight(f"{layer}.attn_output.weight").T
        normed = norm(x, f"{layer}.ffn_norm.weight")
        gate = normed @ weight(f"{layer}.ffn_gate.weight").T
        hidden = gate / (1 + np.exp(-gate)) * (normed @ weight(f"{layer}.ffn_up.weight").T)
        x = x + hidden @ weight(f"{layer}.ffn_down.weight").T
    return norm(x, "output_norm.weight") @ (embedding if h.is_tied else weight("output.weight")).T
