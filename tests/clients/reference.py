"""The demo trio's steered log-probabilities, computed without proxytune and without llama.cpp, in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from forward import Hyperparameters, logits
from retype import dequantised, open_gguf, retype

from server import ROOT

ROLES = ("base", "expert", "antiexpert")
ALPHA = 0.75

# Without penalties, so that a greedy text is the most probable token at each step.
RECIPE = f"""
base = "base.gguf"
[[pair]]
expert = "expert.gguf"
antiexpert = "antiexpert.gguf"
alpha = {ALPHA}
"""


def write_trio(folder: Path) -> Path:
    """The demo trio in float32, so that both compute with the same weights and the same activations; its recipe."""
    for role in ROLES:
        retype(ROOT / "models" / "demo" / f"{role}.gguf", folder / f"{role}.gguf", "F32")
    recipe = folder / "exact.toml"
    recipe.write_text(RECIPE)
    return recipe


class Trio:
    """Its weights, in memory."""

    def __init__(self, folder: Path) -> None:
        readers = [open_gguf(folder / f"{role}.gguf") for role in ROLES]
        self.models = [(dequantised(reader), Hyperparameters.read(reader)) for reader in readers]

    def logprobs(self, tokens: list[int]) -> np.ndarray:
        """`[position]` → `[position, n_vocab]`: of the token behind each position."""
        rows = [logits(weights.__getitem__, shape, np.array(tokens)) for weights, shape in self.models]
        base, expert, antiexpert = (row.astype(np.float64) for row in rows)
        steered = base + ALPHA * (expert - antiexpert)
        steered -= steered.max(-1, keepdims=True)
        return steered - np.log(np.exp(steered).sum(-1, keepdims=True))

    def score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        """Log-probability of a continuation, and whether it is the greedy one."""
        rows = self.logprobs(context + continuation)[len(context) - 1 : -1]
        return float(rows[range(len(continuation)), continuation].sum()), bool((rows.argmax(-1) == continuation).all())

    def greedy(self, context: list[int], n: int) -> list[int]:
        tokens = list(context)
        for _ in range(n):
            tokens.append(int(self.logprobs(tokens)[-1].argmax()))
        return tokens[len(context) :]
