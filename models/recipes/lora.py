"""LoRA (Hu et al. 2021, arXiv 2106.09685): beside each frozen matrix of the blocks two thin ones that are trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import Llama

# The adapter's α is twice its rank, as is usual; llama.cpp, too, scales by α / rank.
SCALE = 2.0


class Adapted(nn.Module):
    """x → W·x + SCALE · B·(A·x) with A `[rank, n_in]` and B `[n_out, rank]`; B starts at zero."""

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        n_out, n_in = frozen.weight.shape
        self.frozen = frozen
        self.lora_a = nn.Parameter(torch.randn(rank, n_in) / math.sqrt(n_in))
        self.lora_b = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + SCALE * F.linear(F.linear(x, self.lora_a), self.lora_b)


def adapt(model: Llama, rank: int) -> None:
    """Freezes the model and adapts every matrix of its blocks."""
    model.requires_grad_(False)
    for block in model.blk:
        for name, child in list(block.named_children()):
            if isinstance(child, nn.Linear):
                setattr(block, name, Adapted(child, rank))


def factors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trained half of an adapted model's weights, by llama.cpp's names."""
    return {
        f"{name.removesuffix(half)}weight.{half}": tensor
        for name, tensor in weights.items()
        for half in ("lora_a", "lora_b")
        if name.endswith(half)
    }
