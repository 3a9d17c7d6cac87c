"""Train a LoRA adapter on documents, alone or within the sum base + expert − antiexpert.

A run ends when its epochs or its minutes are over, or when the validation loss no longer falls, and the learning rate
follows whichever of the first two is nearer its end. `state.pt` holds all that is needed to go on.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F

from documents import Document
from gguf_model import Loaded, factors, precision, without_adapter

# Tokens that are computed at once: more need more memory and are not faster.
MICRO = {"cpu": 1024, "cuda": 8192}
WARMUP, LAST_RATE = 0.05, 0.1
MAX_GRAD_NORM = 1.0
N_VAL = 100
EVALUATIONS_PER_EPOCH, PATIENCE = 8, 4


@dataclass(frozen=True)
class Run:
    """`scale`: llama.cpp multiplies the adapter by scale / rank. `batch`: documents a step."""

    rank: int
    scale: float
    rate: float
    epochs: float
    batch: int
    max_length: int
    plain: bool
    inside: bool
    minutes: float
    seed: int


@dataclass(frozen=True)
class Example:
    """`tokens[n_before:]` are learnt. `base`: the same for the base, where it is part of the training."""

    tokens: list[int]
    n_before: int
    base: tuple[list[int], int] | None = None

    @property
    def n_learnt(self) -> int:
        return len(self.tokens) - self.n_before


def examples(found: list[Document], loaded: Loaded, base: Loaded | None, run: Run) -> list[Example]:
    """Long text in windows; answers that are too long cut off."""
    made = []
    for document in found:
        tokens, n_before = loaded.encode(document, run.plain)
        of_base = base.encode(document, run.plain) if base else None
        if of_base and of_base[0][of_base[1] :] != tokens[n_before:]:
            raise SystemExit("base and small model split an answer into other tokens: --inside needs one vocabulary")
        if n_before >= run.max_length:
            continue
        made.append(Example(tokens[: run.max_length], n_before, of_base and (of_base[0][: run.max_length], of_base[1])))
        if not document.messages:
            rest = range(run.max_length, len(tokens) - 1, run.max_length - 1)
            made += [Example(tokens[i - 1 : i - 1 + run.max_length], 1) for i in rest] if not base else []
    return made


def rows_of(loaded: Loaded, rows: list[tuple[list[int], int]]) -> torch.Tensor:
    """Logits at the positions that predict a learnt token, `[n_learnt, n_vocab]`.

    Padding stands behind the tokens, which never look there: no mask is needed, and attention is faster without one."""
    longest = max(len(tokens) for tokens, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    predicts = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (tokens, n_before) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        predicts[i, n_before - 1 : len(tokens) - 1] = True
    with precision(loaded.device.type):
        hidden = loaded.hidden(input_ids=ids.to(loaded.device))
        return loaded.logits(hidden[predicts.to(loaded.device)])


def losses(batch: list[Example], loaded: Loaded, base: Loaded | None) -> torch.Tensor:
    """−ln p of every learnt token, by the adapted model alone or by base + expert − antiexpert."""
    own = [(example.tokens, example.n_before) for example in batch]
    targets = torch.tensor([token for tokens, n_before in own for token in tokens[n_before:]], device=loaded.device)
    others = 0.0
    if base:
        with without_adapter(loaded):
            others = -rows_of(loaded, own)
            of_base = rows_of(base, [example.base for example in batch])
        n_vocab = min(of_base.shape[1], others.shape[1])
        others = others[:, :n_vocab] + of_base[:, :n_vocab]
    logits = rows_of(loaded, own)
    if base:
        logits = logits[:, : others.shape[1]] + others
    return F.cross_entropy(logits, targets, reduction="none")


def micro_batches(batch: list[Example], most: int) -> list[list[Example]]:
    """Of like length, so that little is padded."""
    groups: list[list[Example]] = [[]]
    for example in sorted(batch, key=lambda example: len(example.tokens)):
        if groups[-1] and (len(groups[-1]) + 1) * len(example.tokens) > most:
            groups.append([])
        groups[-1].append(example)
    return groups


def order(n: int, run: Run, epoch: int) -> list[int]:
    """A function of the seed and the epoch: a resumed run sees what it would have seen."""
    return Random(f"{run.seed} {epoch}").sample(range(n), n)


@torch.no_grad()
def validation(held: list[Example], loaded: Loaded, base: Loaded | None) -> float:
    total, n = 0.0, 0
    for batch in micro_batches(held, MICRO[loaded.device.type]):
        each = losses(batch, loaded, base)
        total, n = total + each.double().sum().item(), n + len(each)
    return total / n


def rate_at(done: float) -> float:
    """A share of the highest rate; `done` of 1 is the end."""
    falling = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return falling * min(1, (done + 0.001) / WARMUP)


def save(path: Path, state: dict) -> None:
    torch.save(state, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)


def train(loaded: Loaded, base: Loaded | None, parts: dict[str, list[Document]], run: Run, out: Path) -> dict:
    """Leaves the weights with the best validation loss in the model. Returns the loss curve and what it took."""
    train_on = examples(parts["train"], loaded, base, run)
    held = examples(parts["val"][:N_VAL], loaded, base, run)
    if not train_on or not held:
        raise SystemExit(f"every document is longer than {run.max_length} tokens\nhint: --max-length takes more")
    n_epoch = max(1, len(train_on) // run.batch)
    n_steps = max(1, round(run.epochs * n_epoch))
    every = max(1, n_epoch // EVALUATIONS_PER_EPOCH)
    weights = factors(loaded.model)
    optimizer = torch.optim.AdamW(weights.values(), lr=run.rate, weight_decay=0.0, betas=(0.9, 0.99))

    def kept() -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}

    n_learnt = sum(example.n_learnt for example in train_on)
    n_tokens = sum(len(example.tokens) for example in train_on)
    print(
        f"{len(train_on)} documents, {n_tokens:,} tokens, {n_learnt:,} of them learnt; {n_steps} steps of {run.batch}",
        flush=True,
    )
    file = out / "state.pt"
    if file.exists():
        state = torch.load(file, map_location="cpu", weights_only=True)
        for name, tensor in state["weights"].items():
            weights[name].data.copy_(tensor)
        optimizer.load_state_dict(state["optimizer"])
        print(f"goes on at step {state['step']}", flush=True)
    else:
        first = validation(held, loaded, base)
        print(f"validation {first:.4f} nats/token before training", flush=True)
        state = {
            "step": 0,
            "tokens": 0,
            "seconds": 0.0,
            "best": first,
            "kept": kept(),
            "curve": [(0, first)],
            "worse": 0,
        }

    began, n_before, seconds_before = time.monotonic(), state["tokens"], state["seconds"]

    def progress() -> float:
        state["seconds"] = seconds_before + time.monotonic() - began
        return max(state["step"] / n_steps, state["seconds"] / 60 / run.minutes)

    while (done := progress()) < 1 and state["worse"] < PATIENCE:
        epoch, at = divmod(state["step"], n_epoch)
        shuffled = order(len(train_on), run, epoch)
        batch = [train_on[i] for i in shuffled[at * run.batch : (at + 1) * run.batch]]
        n = sum(example.n_learnt for example in batch)
        for group in optimizer.param_groups:
            group["lr"] = run.rate * rate_at(done)
        for micro in micro_batches(batch, MICRO[loaded.device.type]):
            (losses(micro, loaded, base).sum() / n).backward()
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(weights.values(), MAX_GRAD_NORM)):
            raise SystemExit(
                f"step {state['step'] + 1}: the gradient is not finite\nhint: a lower --rate, or another --seed"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] += 1
        state["tokens"] += sum(len(example.tokens) for example in batch)
        done = progress()
        if state["step"] % every and done < 1:
            continue
        loss = validation(held, loaded, base)
        state["curve"].append((state["step"], loss))
        state["worse"] = 0 if loss < state["best"] else state["worse"] + 1
        if loss < state["best"]:
            state["best"], state["kept"] = loss, kept()
        elapsed = time.monotonic() - began
        print(
            f"step {state['step']}/{n_steps}  validation {loss:.4f}  best {state['best']:.4f}  "
            f"{(state['tokens'] - n_before) / elapsed:.0f} tokens/s  "
            f"{max(0, state['seconds'] * (1 / min(done, 1) - 1)) / 60:.1f} min left",
            flush=True,
        )
        progress()
        save(file, {**state, "weights": kept(), "optimizer": optimizer.state_dict()})
    if state["worse"] >= PATIENCE:
        print(f"no better for {PATIENCE} validations: stopped", flush=True)
    for name, tensor in state["kept"].items():
        weights[name].data.copy_(tensor)
    return {key: state[key] for key in ("step", "tokens", "seconds", "best", "curve")}
