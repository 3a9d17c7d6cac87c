"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for the matrices, AdamW for the rest.

Muon orthogonalises the momentum of every weight matrix, which makes small models learn from far fewer tokens than
AdamW does. Embedding and norms stay with AdamW, as its authors advise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
MUON_RATE, ADAMW_RATE = 0.02, 0.004
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(gradient: Tensor) -> Tensor:
    """Five Newton–Schulz steps towards the nearest semi-orthogonal matrix."""
    a, b, c = NEWTON_SCHULZ
    tall = gradient.shape[0] > gradient.shape[1]
    x = gradient.T if tall else gradient
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, matrices: list[nn.Parameter], lr: float) -> None:
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                momentum = state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonalise(matrix.grad.lerp(momentum, MOMENTUM))
                n_rows, n_columns = matrix.shape
                matrix.add_(update, alpha=-group["lr"] * max(1.0, n_rows / n_columns) ** 0.5)


def optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """`rate` scales both learning rates; 1 is right for training from scratch. What is frozen stays out."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 2 and "embd" not in name]
    others = [p for name, p in trained if p.ndim != 2 or "embd" in name]
    built: list[torch.optim.Optimizer] = [Muon(matrices, lr=rate * MUON_RATE)]
    if others:
        built.append(torch.optim.AdamW(others, lr=rate * ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0))
    for optimizer in built:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return built
