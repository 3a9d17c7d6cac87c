"""Hugging Face transformers: three models with KV caches, logits added step by step, as in the paper's code.

The weights come from the same GGUF files, multiplied out to `--dtype`: what transformers has to compute with packed
ones is not for CPUs. The caches grow as they fill, which without compilation costs less than static ones.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DynamicCache, GgufConfig, PreTrainedModel

from worker import Peer, parser, serve


class Transformers(Peer):
    def __init__(self, models: list[PreTrainedModel], alpha: float, eos: int) -> None:
        self.models, self.alpha, self.eos = models, alpha, eos

    def start(self, prompt: list[int]) -> None:
        self.caches = [DynamicCache(config=model.config) for model in self.models]
        self.token: torch.Tensor | None = None
        self.rows = self.decode(torch.tensor([prompt]))

    def decode(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """The last position's logits of base, expert and antiexpert, `[1, n_vocab]` each."""
        return [
            model(tokens, cache=cache, logits_to_keep=1).logits[:, -1]
            for model, cache in zip(self.models, self.caches, strict=True)
        ]

    def next(self) -> int:
        if self.token is not None:
            self.rows = self.decode(self.token)
        base, expert, antiexpert = self.rows
        logits = base + self.alpha * (expert - antiexpert)
        logits[:, self.eos] = -torch.inf
        self.token = logits.argmax(-1, keepdim=True)
        return int(self.token)


def load(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=dtype
    )
    model.train(False)
    return model


def main() -> None:
    arguments = parser(__doc__.split("\n")[0])
    arguments.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    models = [load(path, getattr(torch, given.dtype)) for path in (given.base, given.expert, given.antiexpert)]
    with torch.inference_mode():
        serve(Transformers(models, given.alpha, given.eos), torch.backends.cpu.get_cpu_capability())


if __name__ == "__main__":
    main()
