"""A Llama: RMSNorm, rotary positions, SwiGLU, output tied to the embedding.

Parameters bear llama.cpp's tensor names, and the rotation pairs neighbours (2i, 2i+1) as llama.cpp does, so that
export is a plain copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_DIM = 32
ROPE_BASE = 10000.0
NORM_EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    n_embd: int
    n_layer: int
    n_ff: int
    n_vocab: int = 4096
    n_ctx: int = 1024

    @property
    def n_head(self) -> int:
        return self.n_embd // HEAD_DIM


def rotation(n_ctx: int) -> tuple[Tensor, Tensor]:
    """cos and sin, `[n_ctx, HEAD_DIM / 2]` each."""
    frequency = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float32) / HEAD_DIM)
    angle = torch.arange(n_ctx, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x: `[batch, head, position, HEAD_DIM]`."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        n_embd, n_ff = shape.n_embd, shape.n_ff
        self.n_head = shape.n_head
        self.attn_norm = nn.RMSNorm(n_embd, eps=NORM_EPS)
        self.attn_q = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_k = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_v = nn.Linear(n_embd, n_embd, bias=False)
        self.attn_output = nn.Linear(n_embd, n_embd, bias=False)
        self.ffn_norm = nn.RMSNorm(n_embd, eps=NORM_EPS)
        self.ffn_gate = nn.Linear(n_embd, n_ff, bias=False)
        self.ffn_up = nn.Linear(n_embd, n_ff, bias=False)
        self.ffn_down = nn.Linear(n_ff, n_embd, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        normed = self.attn_norm(x)
        q, k, v = (
            project(normed).unflatten(-1, (self.n_head, HEAD_DIM)).transpose(1, 2)
            for project in (self.attn_q, self.attn_k, self.attn_v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(-2))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class Llama(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.output_norm = nn.RMSNorm(shape.n_embd, eps=NORM_EPS)
        cos, sin = rotation(shape.n_ctx)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                nn.init.zeros_(parameter)  # every block starts as the identity
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: `[batch, position]` → logits: `[batch, position, n_vocab]`."""
        n = tokens.shape[1]
        cos, sin = self.cos[:n], self.sin[:n]
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, cos, sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)

    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
