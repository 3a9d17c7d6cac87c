"""What it is worth that expert and antiexpert share their quantised weights: the error of their difference, by type.

The small model as its file has it stands for the exact one, W, and the adapter for the exact tuning, W + BA. Both are
then rounded to a type, once as two files, Q(W + BA) and Q(W), and once as one file with the adapter beside it,
Q(W) + BA and Q(W). The error is that of the difference of their logits, ‖found − exact‖ / ‖exact‖ over all tokens, each
row less its mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType

import documents
from gguf_model import MATRICES, Loaded, load, with_adapter, without_adapter
from train_adapter import Example, rows_of

TYPES = ("Q4_0", "Q5_0", "Q8_0")


def rows(loaded: Loaded, found: list[Example], adapted: bool) -> torch.Tensor:
    """Centred logits at all answers' positions, `[n, n_vocab]`."""
    own = [(example.tokens, example.n_before) for example in found]
    with torch.no_grad():
        if adapted:
            logits = torch.cat([rows_of(loaded, [each]) for each in own])
        else:
            with without_adapter(loaded):
                logits = torch.cat([rows_of(loaded, [each]) for each in own])
    return logits - logits.mean(1, keepdim=True)


def rounded(weights: torch.Tensor, kind: GGMLQuantizationType) -> torch.Tensor:
    numbers = np.ascontiguousarray(weights.detach().float().numpy())
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(numbers, kind), kind).astype(np.float32))


class Layers:
    """The matrices that the adapter changes, as they are without it."""

    def __init__(self, loaded: Loaded) -> None:
        modules = dict(loaded.model.named_modules())
        self.layers = [m for name, m in modules.items() if name.endswith(tuple(MATRICES)) and hasattr(m, "lora_A")]
        self.exact = [layer.base_layer.weight.data.clone() for layer in self.layers]

    def set(self, made) -> None:
        for layer, weights in zip(self.layers, self.exact, strict=True):
            layer.base_layer.weight.data = made(layer, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="lines of JSON")
    parser.add_argument("--limit", type=int, default=8, help="documents [8]")
    arguments = parser.parse_args()
    loaded = with_adapter(load(arguments.small, "cpu"), arguments.adapter)
    found = []
    for document in documents.read_lines(arguments.text)[: arguments.limit]:
        tokens, n_before = loaded.encode(document)
        found.append(Example(tokens[:-1], n_before))
    layers = Layers(loaded)
    expert, antiexpert = rows(loaded, found, True), rows(loaded, found, False)
    exact = expert - antiexpert
    size = exact.norm()
    print(f"{len(exact)} tokens; the offset's root mean square is {exact.square().mean().sqrt():.3f}")
    print("| type | two files | one file and the adapter | top token of the expert changed, two files | one file |")
    print("|---|---|---|---|---|")
    for name in TYPES:
        kind = GGMLQuantizationType[name]
        layers.set(lambda _, weights, kind=kind: rounded(weights, kind))
        before, shared = rows(loaded, found, False), rows(loaded, found, True)
        layers.set(lambda layer, weights, kind=kind: rounded(weights + layer.get_delta_weight("default"), kind))
        apart = rows(loaded, found, False)
        errors = [float((each - before - exact).norm() / size) for each in (apart, shared)]
        moved = [float((each.argmax(1) != expert.argmax(1)).float().mean()) for each in (apart, shared)]
        print(f"| {name} | {errors[0]:.1%} | {errors[1]:.1%} | {moved[0]:.1%} | {moved[1]:.1%} |", flush=True)


if __name__ == "__main__":
    main()
