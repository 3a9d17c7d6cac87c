"""Loss of base, antiexpert, expert, steered model and directly tuned base on held-out text, from GGUF files alone.

Protocol: the file is tokenised as one text; every window is `<|bos|>` and the next N_CTX − 1 tokens, and all of these
are scored, so each token of the text counts once. Quantised weights are multiplied out and computed with in float32.
The standard error takes windows, not tokens, as independent; differences are paired by window.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from data import BOS, BOS_ID, EOS, EOS_ID, tokenizer_of
from heldout import read_text
from model import NORM_EPS, ROPE_BASE, Llama, Shape
from retype import dequantised, open_gguf

N_CTX = 512
N_BATCH = 8
ALPHAS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def weights(reader: gguf.GGUFReader) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in dequantised(reader).items()}


def apply_adapter(model: Llama, path: Path) -> None:
    """Adds scale · B·A to each matrix that the adapter has factors for."""
    reader = open_gguf(path)
    factors, adapted = weights(reader), model.state_dict()
    alpha = reader.get_field(gguf.Keys.Adapter.LORA_ALPHA).contents()
    for name in (name.removesuffix(".lora_a") for name in factors if name.endswith(".lora_a")):
        a, b = factors[f"{name}.lora_a"], factors[f"{name}.lora_b"]
        adapted[name] += alpha / len(a) * b @ a


def load(path: Path) -> tuple[Llama, Tokenizer]:
    reader = open_gguf(path)

    def field(name: str):
        found = reader.get_field(name)
        if found is None:
            raise SystemExit(f"{path} has no {name}: these scripts need models of their own architecture")
        return found.contents()

    tokens, merges = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.merges")
    shape = Shape(
        n_embd=field("llama.embedding_length"),
        n_layer=field("llama.block_count"),
        n_ff=field("llama.feed_forward_length"),
        n_vocab=len(tokens),
        n_ctx=field("llama.context_length"),
    )
    constants = {
        "llama.attention.head_count": shape.n_head,
        "llama.attention.head_count_kv": shape.n_head,
        "llama.attention.layer_norm_rms_epsilon": NORM_EPS,
        "llama.rope.freq_base": ROPE_BASE,
    }
    for key, expected in constants.items():
        if not math.isclose(field(key), expected, rel_tol=1e-5):
            raise SystemExit(f"{path}: expected {key} = {expected:g} as in these scripts, got {field(key):g}")
    if tokens[BOS_ID] != BOS or tokens[EOS_ID] != EOS:
        raise SystemExit(f"{path}: expected tokens {BOS} and {EOS} first, got {tokens[:2]}")
    model = Llama(shape)
    try:
        model.load_state_dict(weights(reader))
    except RuntimeError as error:
        raise SystemExit(f"{path} is not of the architecture of these scripts: {error}") from None
    return model.eval(), tokenizer_of(tokens, merges)


def is_adapter(path: Path) -> bool:
    kind = open_gguf(path).get_field(gguf.Keys.General.TYPE)
    return kind is not None and kind.contents() == gguf.GGUFType.ADAPTER


class Trio:
    """The models of one setting. The expert may be an adapter of the antiexpert; `tuned` is the base fine-tuned
    directly, where there is one to compare with."""

    def __init__(self, base: Path, antiexpert: Path, expert: Path, tuned: Path | None = None) -> None:
        adapter = expert if is_adapter(expert) else None
        files = {"base": base, "antiexpert": antiexpert, "expert": antiexpert if adapter else expert}
        self.models: dict[str, Llama] = {}
        for role, file in (files | ({"tuned": tuned} if tuned else {})).items():
            self.models[role], self.tokenizer = load(file)
        if adapter:
            apply_adapter(self.models["expert"], adapter)

    @torch.no_grad()
    def logits(self, tokens: Tensor, alphas: tuple[float, ...]) -> dict[str, Tensor]:
        rows = {role: model(tokens) for role, model in self.models.items()}
        offset = rows["expert"] - rows["antiexpert"]
        return rows | {f"steered {alpha:g}": rows["base"] + alpha * offset for alpha in alphas}

    def windows(self, text: str) -> list[Tensor]:
        """`[n, N_CTX]` batches with `<|bos|>` first; the text's last, shorter window comes by itself."""
        tokens = torch.tensor(self.tokenizer.encode(text).ids)
        if not len(tokens):
            raise SystemExit("there is no text to measure on")
        rows = [torch.cat((torch.tensor([BOS_ID]), part)) for part in tokens.split(N_CTX - 1)]
        full, rest = rows[:-1], rows[-1:]
        batches = list(torch.stack(full).split(N_BATCH)) if full else []
        return batches + [torch.stack(rest)]

    def losses(self, text: str, alphas: tuple[float, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Sum of nats by window for each model, and tokens by window."""
        sums: dict[str, list[np.ndarray]] = {}
        counts: list[int] = []
        for batch in self.windows(text):
            target = batch[:, 1:]
            counts += [target.shape[1]] * len(target)
            for name, rows in self.logits(batch[:, :-1], alphas).items():
                nats = F.cross_entropy(rows.transpose(1, 2), target, reduction="none").sum(1)
                sums.setdefault(name, []).append(nats.double().numpy())
        return {name: np.concatenate(parts) for name, parts in sums.items()}, np.array(counts)

    def greedy(self, prompt: str, label: str, n_tokens: int = 120) -> str:
        """Text that `label` ("base", "expert", "steered 1", …) writes after the prompt, up to `<|eos|>`."""
        alphas = (float(label.split()[1]),) if label.startswith("steered") else ()
        tokens = [BOS_ID, *self.tokenizer.encode(prompt).ids]
        n_prompt = len(tokens)
        while len(tokens) < n_prompt + n_tokens:
            chosen = int(self.logits(torch.tensor([tokens]), alphas)[label][0, -1].argmax())
            if chosen == EOS_ID:
                break
            tokens.append(chosen)
        return self.tokenizer.decode(tokens[n_prompt:])


def mean_and_error(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Nats per token, and its standard error with windows as the independent unit; one window has none."""
    mean = sums.sum() / counts.sum()
    residual = sums - mean * counts
    n = len(counts)
    error = math.sqrt((residual**2).sum() * n / (n - 1)) / counts.sum() if n > 1 else math.nan
    return float(mean), float(error)


def evaluate(trio: Trio, text: str, alphas: tuple[float, ...] = ALPHAS) -> dict:
    sums, counts = trio.losses(text, alphas)
    result: dict = {"windows": len(counts), "tokens": int(counts.sum()), "loss": {}, "difference": {}}
    for name, row in sums.items():
        mean, error = mean_and_error(row, counts)
        result["loss"][name] = {"nats": mean, "error": error, "perplexity": math.exp(mean)}
    for alpha in alphas:
        steered = f"steered {alpha:g}"
        for other in ("expert", "base"):
            mean, error = mean_and_error(sums[steered] - sums[other], counts)
            result["difference"][f"{steered} - {other}"] = {"nats": mean, "error": error}
    if "tuned" in sums:
        base, tuned = (result["loss"][role]["nats"] for role in ("base", "tuned"))
        result["gap_closed"] = {
            f"steered {alpha:g}": (base - result["loss"][f"steered {alpha:g}"]["nats"]) / (base - tuned)
            for alpha in alphas
        }
    return result


def best_alpha(validation: dict) -> float:
    return min(ALPHAS, key=lambda alpha: validation["loss"][f"steered {alpha:g}"]["nats"])


def table(results: dict[str, dict], alphas: tuple[float, ...]) -> str:
    """Markdown: one row a model, loss ± standard error and perplexity for each text."""
    texts = list(results.values())
    rows = [
        "| model |" + "".join(f" {name}: nats/token | perplexity |" for name in results),
        "|---" * (1 + 2 * len(texts)) + "|",
    ]
    for name in texts[0]["loss"]:
        if name.startswith("steered") and float(name.split()[1]) not in alphas:
            continue
        losses = [text["loss"][name] for text in texts]
        rows.append(
            f"| {name} |" + "".join(f" {x['nats']:.3f} ± {x['error']:.3f} | {x['perplexity']:.1f} |" for x in losses)
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "trio", type=Path, help="folder with base.gguf, antiexpert.gguf and, unless --expert names another, expert.gguf"
    )
    parser.add_argument("--expert", type=Path, help="model or adapter of the antiexpert (the trio's expert.gguf)")
    parser.add_argument("--tuned", type=Path, help="the directly tuned base, where there is one")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="UTF-8 files, each measured by itself")
    parser.add_argument("--greedy", metavar="PROMPT", help="also show what each model writes after this")
    arguments = parser.parse_args()
    folder = arguments.trio
    expert = arguments.expert or folder / "expert.gguf"
    trio = Trio(folder / "base.gguf", folder / "antiexpert.gguf", expert, arguments.tuned)
    results = {path.stem: evaluate(trio, read_text(path)) for path in arguments.text}
    print(table(results, ALPHAS))
    for label in [*trio.models, "steered 1"] if arguments.greedy else []:
        print(f"\n{label}: {arguments.greedy} …{trio.greedy(arguments.greedy, label)}")


if __name__ == "__main__":
    main()
