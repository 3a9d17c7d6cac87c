"""What the steered sum of GGUF models is worth, computed with transformers: nats per answer token and exact match.

The same figures as `proxytune perplexity` and `proxytune eval`, in the arithmetic of floats and, on a CUDA device,
for whole data sets in minutes. Writes a line of JSON for each item and contender, and a table.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import DynamicCache

import documents
from documents import Document
from gguf_model import Loaded, load, with_adapter
from train_adapter import MICRO, Example, micro_batches, rows_of

# As in lm-evaluation-harness's gsm8k.
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
N_RESAMPLES = 10_000


def normalised(number: str) -> str:
    number = re.sub(r"[,$]", "", number)
    return re.sub(r"\.$", "", number)


def strict(text: str) -> str | None:
    found = STRICT.search(text)
    return normalised(found[1]) if found else None


def flexible(text: str) -> str | None:
    found = FLEXIBLE.findall(text)
    return normalised(next(filter(None, found[-1]))) if found else None


@dataclass(frozen=True)
class Contender:
    """w · base + a · expert − b · antiexpert; `tuned` in place of the base."""

    name: str
    w: float = 0.0
    a: float = 0.0
    b: float = 0.0
    tuned: bool = False

    def terms(self) -> list[tuple[str, float]]:
        """The lanes that have a say, with their weights."""
        weights = {"tuned" if self.tuned else "base": self.w, "expert": self.a, "antiexpert": -self.b}
        return [(name, weight) for name, weight in weights.items() if weight]


@dataclass(frozen=True)
class Item(Example):
    """An example of one lane, and which of the documents it is."""

    document: int = 0


@torch.no_grad()
def nats(found: list[Document], contenders: list[Contender], lanes: dict[str, Loaded], plain: bool) -> np.ndarray:
    """The answers' losses `[n_documents, n_contenders]`, with the number of tokens as a last column; ends of turns are
    left out, as `proxytune perplexity` does."""
    out = np.zeros((len(found), len(contenders) + 1))
    encoded = {name: [lane.encode(document, plain) for document in found] for name, lane in lanes.items()}
    first = next(iter(lanes.values()))
    of_first = enumerate(encoded[next(iter(lanes))])
    items = [Item(tokens[:-1], n_before, document=i) for i, (tokens, n_before) in of_first]
    for batch in micro_batches(items, MICRO[first.device.type] // 2):
        of = [item.document for item in batch]
        rows = {}
        for name, lane in lanes.items():
            own = [(encoded[name][i][0][:-1], encoded[name][i][1]) for i in of]
            rows[name] = rows_of(lane, own)
        n_vocab = min(row.shape[1] for row in rows.values())
        targets = torch.tensor([token for example in batch for token in example.tokens[example.n_before :]])
        document = torch.tensor([i for i, example in zip(of, batch) for _ in range(example.n_learnt)])
        for k, contender in enumerate(contenders):
            total = sum(weight * rows[name][:, :n_vocab] for name, weight in contender.terms())
            loss = torch.nn.functional.cross_entropy(total, targets.to(total.device), reduction="none").double().cpu()
            np.add.at(out[:, k], document.numpy(), loss.numpy())
        np.add.at(out[:, -1], document.numpy(), 1)
    return out


def left_padded(prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        real[i, longest - len(prompt) :] = 1
    return ids.to(device), real.to(device)


class Lane:
    """A model that reads a batch of texts token by token."""

    def __init__(self, loaded: Loaded, prompts: list[list[int]]) -> None:
        self.loaded, self.cache = loaded, DynamicCache()
        self.ids, self.real = left_padded(prompts, loaded.device)
        self.positions = (self.real.cumsum(1) - 1).clamp(min=0)

    def logits(self) -> torch.Tensor:
        """Of the next token, `[n_texts, n_vocab]`."""
        hidden = self.loaded.hidden(
            input_ids=self.ids,
            attention_mask=self.real,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return self.loaded.logits(hidden[:, -1])

    def take(self, tokens: torch.Tensor) -> None:
        self.ids = tokens[:, None]
        self.real = torch.cat([self.real, torch.ones_like(self.ids)], 1)
        self.positions = self.positions[:, -1:] + 1

    def keep(self, rows: torch.Tensor) -> None:
        """These texts alone: the others have ended."""
        self.ids, self.real, self.positions = self.ids[rows], self.real[rows], self.positions[rows]
        self.cache.batch_select_indices(rows)


@torch.no_grad()
def greedy(found: list[Document], contender: Contender, lanes: dict[str, Loaded], plain: bool, n_max: int) -> list[str]:
    terms = [(lanes[name], weight) for name, weight in contender.terms()]
    running = []
    ends = set()
    for loaded, weight in terms:
        encoded = [loaded.encode(document, plain) for document in found]
        running.append((Lane(loaded, [tokens[:n_before] for tokens, n_before in encoded]), weight))
        ends |= {encoded[0][0][-1], loaded.end}
    texts: list[list[int]] = [[] for _ in found]
    alive, on = torch.arange(len(found)), torch.ones(len(found), dtype=torch.bool)
    n_vocab = None
    for _ in range(n_max):
        total = None
        for lane, weight in running:
            row = weight * lane.logits()
            n_vocab = min(n_vocab or row.shape[1], row.shape[1])
            total = row if total is None else total[:, :n_vocab] + row[:, :n_vocab]
        tokens = total.argmax(1)
        for i, token in zip(alive.tolist(), tokens.tolist()):
            texts[i].append(token)
        on &= torch.tensor([token not in ends for token in tokens.tolist()])
        if not on.any():
            break
        for lane, _ in running:
            lane.take(tokens)
        # Copying the caches costs more than a few idle texts beside the others; what those add is cut off below.
        if on.float().mean() < 0.75:
            rows = on.nonzero()[:, 0]
            alive, on = alive[rows], on[rows]
            for lane, _ in running:
                lane.keep(rows.to(lane.ids.device))
    tokenizer = terms[0][0].tokenizer
    return [tokenizer.decode(cut(text, ends)) for text in texts]


def cut(text: list[int], ends: set[int]) -> list[int]:
    return text[: next((i for i, token in enumerate(text) if token in ends), len(text))]


def interval(values: np.ndarray, weights: np.ndarray | None = None, seed: int = 0) -> tuple[float, float, float]:
    """A mean with its 95 % interval, by the bootstrap over items; `weights` for a mean over the items' tokens."""
    random = np.random.default_rng(seed)
    n = len(values)
    means = []
    for _ in range(N_RESAMPLES):
        at = random.integers(n, size=n)
        means.append(values[at].sum() / (n if weights is None else weights[at].sum()))
    mean = values.sum() / (n if weights is None else weights.sum())
    return (mean, *np.quantile(means, [0.025, 0.975]))


def contender(text: str) -> Contender:
    """`base`, `expert`, `antiexpert`, `tuned`, a number α, or three numbers w,a,b."""
    known = {
        "base": Contender("base", w=1),
        "expert": Contender("expert", a=1),
        "antiexpert": Contender("antiexpert", b=-1),
        "tuned": Contender("tuned", w=1, tuned=True),
    }
    if text in known:
        return known[text]
    numbers = [float(number) for number in text.split(",")]
    w, a, b = numbers if len(numbers) == 3 else (1.0, numbers[0], numbers[0])
    return Contender(f"steered {text}", w=w, a=a, b=b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True, help="the expert's adapter, a GGUF file")
    parser.add_argument("--tuned-adapter", type=Path, help="an adapter for the base, to compare with")
    parser.add_argument("--text", type=Path, required=True, help="lines of JSON")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--nats", type=contender, nargs="*", default=[])
    parser.add_argument("--match", type=contender, nargs="*", default=[])
    parser.add_argument("--n-max", type=int, default=320)
    parser.add_argument("--at-once", type=int, default=700)
    parser.add_argument("--out", type=Path, required=True, help="lines of JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_float32_matmul_precision("high")

    found = documents.read_lines(arguments.text)[: arguments.limit]
    asked = arguments.nats + arguments.match
    lanes = {}
    if any(c.w and not c.tuned for c in asked):
        lanes["base"] = load(arguments.base, arguments.device)
    if any(c.a for c in asked):
        lanes["expert"] = with_adapter(load(arguments.small, arguments.device), arguments.adapter)
    if any(c.b for c in asked):
        lanes["antiexpert"] = load(arguments.small, arguments.device)
    if any(c.tuned for c in asked):
        lanes["tuned"] = with_adapter(load(arguments.base, arguments.device), arguments.tuned_adapter)

    with arguments.out.open("a", encoding="utf-8") as out:
        if arguments.nats:
            table = nats(found, arguments.nats, lanes, arguments.plain)
            n = table[:, -1]
            for k, each in enumerate(arguments.nats):
                for i in range(len(found)):
                    line = {"item": i, "contender": each.name, "nats": table[i, k], "n_tokens": int(n[i])}
                    out.write(json.dumps(line) + "\n")
                mean, low, high = interval(table[:, k], n)
                difference = interval(table[:, k] - table[:, 0], n)
                print(
                    f"{each.name:24} {mean:.4f} ({low:.4f} to {high:.4f}) nats/token   "
                    f"against {arguments.nats[0].name} {difference[0]:+.4f} ({difference[1]:+.4f} to {difference[2]:+.4f})",
                    flush=True,
                )
        for lane in lanes.values():
            if arguments.device != "cpu":
                lane.model.to(torch.bfloat16)
        first = None
        for each in arguments.match:
            started = time.monotonic()
            right = []
            for at in range(0, len(found), arguments.at_once):
                group = found[at : at + arguments.at_once]
                for i, text in enumerate(greedy(group, each, lanes, arguments.plain, arguments.n_max)):
                    expected = strict(group[i].answer)
                    got = {
                        "strict": expected is not None and strict(text) == expected,
                        "flexible": expected is not None and flexible(text) == expected,
                    }
                    right.append((got["strict"], got["flexible"]))
                    out.write(json.dumps({"item": at + i, "contender": each.name, "text": text, **got}) + "\n")
            right = np.array(right, dtype=float)
            first = right if first is None else first
            shown = "   ".join(
                f"{kind} {mean:.1%} ({low:.1%} to {high:.1%})"
                for kind, (mean, low, high) in zip(("strict", "flexible"), map(interval, right.T))
            )
            difference = interval(right[:, 1] - first[:, 1])
            print(
                f"{each.name:24} {shown}   against {arguments.match[0].name} {difference[0]:+.1%} "
                f"({difference[1]:+.1%} to {difference[2]:+.1%})   {time.monotonic() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
