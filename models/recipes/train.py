"""Train one model, from scratch or from another one's weights.

A run ends when its tokens are used up or its minutes are over, whichever comes first, and the learning rate follows
whichever is nearer its end: constant, then linear to zero over the last part. `--minutes` therefore always gives a
finished model. The folder holds `model.pt` (the weights with the best validation loss so far) and `state.pt` (all
that is needed to go on); the same command goes on where an interrupted one stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import BOS_ID
from evaluate import load, weights
from lora import adapt
from model import Llama, Shape
from muon import optimizers
from retype import open_gguf

N_SEQUENCE = 512
N_BATCH = 16
N_VAL_WINDOWS = 64
WARMUP_STEPS = 30
DECAY_FROM = 0.5
MAX_GRAD_NORM = 1.0
# Fine-tuning: factors on the learning rates; steps between two validations, and how many may bring nothing better.
TUNING_RATE, ADAPTER_RATE = 0.5, 1.0
EVAL_EVERY, PATIENCE = 25, 6


@dataclass(frozen=True)
class Run:
    """`domain_share`: the part of the batches that is text of the domain; 1 is fine-tuning. `patience`: evaluations
    without a better validation loss before the run stops early. `rank`: train a LoRA adapter of that rank and leave
    the weights of `init` as they are. `base`: tune the expert inside the sum, base + expert − antiexpert with `init` as
    antiexpert, so that it learns what that base still lacks."""

    data: Path
    out: Path
    shape: Shape
    tokens: float
    minutes: float = math.inf
    domain: str = "stories"
    domain_share: float = 0.0
    init: Path | None = None
    rate: float = 1.0
    eval_every: int = 100
    patience: int = 1_000_000
    rank: int = 0
    base: Path | None = None
    seed: int = 0


class Windows:
    """A stream cut into windows of `<|bos|>` and N_SEQUENCE tokens, each once an epoch, in a new order and with a new
    offset every epoch. Window i is a function of i and the seed: a resumed run sees what it would have seen."""

    def __init__(self, stream: np.ndarray, seed: int) -> None:
        self.stream, self.seed = stream, seed
        self.n = (len(stream) - N_SEQUENCE) // N_SEQUENCE
        self.epoch = -1

    def __getitem__(self, i: int) -> np.ndarray:
        epoch, i = divmod(i, self.n)
        if epoch != self.epoch:
            random = np.random.default_rng((self.seed, epoch))
            self.epoch, self.offset = epoch, random.integers(N_SEQUENCE)
            self.order = random.permutation(self.n)
        start = self.order[i] * N_SEQUENCE + self.offset
        return np.concatenate(([BOS_ID], self.stream[start : start + N_SEQUENCE]))


class Mix:
    """Batches of which `domain_share` of the windows, on average and evenly spread, come from the domain."""

    def __init__(self, data: Path, domain: str, domain_share: float, seed: int) -> None:
        self.general = Windows(np.load(data / "general.train.npy"), seed) if domain_share < 1 else None
        self.domain = Windows(np.load(data / f"{domain}.train.npy"), seed + 1)
        self.share = domain_share

    def batch(self, step: int) -> Tensor:
        """`[N_BATCH, N_SEQUENCE + 1]`"""
        rows = []
        for i in range(step * N_BATCH, (step + 1) * N_BATCH):
            n_domain = math.floor(i * self.share)
            from_domain = math.floor((i + 1) * self.share) > n_domain
            rows.append(self.domain[n_domain] if from_domain else self.general[i - n_domain])
        return torch.from_numpy(np.stack(rows).astype(np.int64))


def fixed_windows(stream: np.ndarray, n_max: int) -> Tensor:
    n = min(n_max, len(stream) // N_SEQUENCE)
    rows = stream[: n * N_SEQUENCE].reshape(n, N_SEQUENCE).astype(np.int64)
    return torch.from_numpy(np.concatenate((np.full((n, 1), BOS_ID), rows), axis=1))


def has_bfloat16(device: str) -> bool:
    """A CPU without such instructions emulates them, slowly."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()


def predicted(model: Llama, batch: Tensor) -> Tensor:
    device = batch.device.type
    with torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device)):
        logits = model(batch[:, :-1])
    return logits.float()


def cross_entropy(model: Llama, batch: Tensor, beside: Tensor | None = None) -> Tensor:
    """`beside`: logits that the model's are added to."""
    logits = predicted(model, batch)
    if beside is not None:
        logits = logits + beside
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


class Beside:
    """What is added to the expert's logits where it is tuned inside the sum: base − antiexpert."""

    def __init__(self, base: Path, antiexpert: Path, device: str) -> None:
        self.base, self.antiexpert = (load(path)[0].to(device) for path in (base, antiexpert))
        self.predicted = torch.compile(predicted, dynamic=False)

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        return self.predicted(self.base, batch) - self.predicted(self.antiexpert, batch)


def learning_rate(step: int, progress: float) -> float:
    """The factor on the full rate; `progress` runs from 0 to 1."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (1.0 - progress) / (1.0 - DECAY_FROM))


def initial(path: Path) -> dict[str, Tensor]:
    """Weights to start from: of a GGUF file, multiplied out, or of a `model.pt`."""
    return weights(open_gguf(path)) if path.suffix == ".gguf" else torch.load(path, map_location="cpu")["model"]


def replace(path: Path, content: dict) -> None:
    """Writes beside and renames, so that an interrupted write leaves the old file."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


@dataclass
class Position:
    """Where a run stands; together with weights and optimisers all that is needed to go on."""

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    since_best: int = 0
    log: list[dict] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return self.step * N_BATCH * N_SEQUENCE


class Training:
    def __init__(self, run: Run) -> None:
        torch.manual_seed(run.seed)
        torch.compiler.reset()  # the model before this one may have had another shape
        self.run = run
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Llama(run.shape)
        if run.init:
            self.model.load_state_dict(initial(run.init))
        if run.rank:
            adapt(self.model, run.rank)
        self.model.to(self.device)
        self.optims = optimizers(self.model, run.rate)
        self.loss = torch.compile(cross_entropy, dynamic=False)
        self.beside = Beside(run.base, run.init, self.device) if run.base else lambda _: None
        self.mix = Mix(run.data, run.domain, run.domain_share, run.seed)
        self.validation = {
            name: fixed_windows(np.load(run.data / f"{name}.val.npy"), N_VAL_WINDOWS).to(self.device)
            for name in ("general", run.domain)
            if (run.data / f"{name}.val.npy").exists()
        }
        self.watched = run.domain if run.domain_share == 1 else "general"
        self.at = Position()
        if (run.out / "state.pt").exists():
            self.resume()

    def resume(self) -> None:
        state = torch.load(self.run.out / "state.pt", map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, content in zip(self.optims, state["optims"], strict=True):
            optimizer.load_state_dict(content)
        self.at = Position(**state["at"])

    def save(self) -> None:
        """Weights if they are the best so far, and everything for going on."""
        out, trained = self.run.out, self.model.state_dict()
        if self.at.since_best == 0:
            replace(out / "model.pt", {"model": trained, "shape": asdict(self.run.shape)})
        optims = [optimizer.state_dict() for optimizer in self.optims]
        replace(out / "state.pt", {"model": trained, "optims": optims, "at": asdict(self.at)})

    @torch.no_grad()
    def validate(self, windows: Tensor) -> float:
        parts = [cross_entropy(self.model, part, self.beside(part)) * len(part) for part in windows.split(N_BATCH)]
        return (torch.stack(parts).sum() / len(windows)).item()

    def evaluate(self, progress: float) -> None:
        at, run = self.at, self.run
        losses = {name: self.validate(windows) for name, windows in self.validation.items()}
        at.since_best = 0 if losses[self.watched] < at.best else at.since_best + 1
        at.best = min(at.best, losses[self.watched])
        at.log.append({"step": at.step, "tokens": at.tokens, "seconds": round(at.seconds), **losses})
        left = at.seconds / progress * (1 - progress) if progress else 0
        shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        end = time.strftime("%H:%M", time.localtime(time.time() + left)) if progress else "unknown"
        print(
            f"{run.out.name}: {at.tokens / 1e6:.2f} M tokens, {at.tokens / max(at.seconds, 1):,.0f} tokens/s, "
            f"validation loss: {shown}; {at.seconds / 60:.1f} min, expected end {end}",
            flush=True,
        )

    def step(self, progress: float) -> None:
        factor = learning_rate(self.at.step, progress)
        for optimizer in self.optims:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["full_lr"]
        batch = self.mix.batch(self.at.step).to(self.device)
        self.loss(self.model, batch, self.beside(batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        for optimizer in self.optims:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.at.step += 1

    def finish(self) -> None:
        at, run = self.at, self.run
        began = time.monotonic() - at.seconds
        while True:
            at.seconds = time.monotonic() - began
            progress = min(1.0, max(at.tokens / run.tokens, at.seconds / (60 * run.minutes)))
            if at.step % run.eval_every == 0 or progress == 1:
                self.evaluate(progress)
                self.save()
                if progress == 1 or at.since_best >= run.patience:
                    return
            self.step(progress)


def train(run: Run) -> None:
    run.out.mkdir(parents=True, exist_ok=True)
    if (run.out / "done.json").exists():
        print(f"{run.out.name}: already trained", flush=True)
        return
    training = Training(run)
    n_parameters = training.model.n_parameters()
    print(f"{run.out.name}: {n_parameters:,} parameters, {run.tokens / 1e6:g} M tokens, {training.device}", flush=True)
    training.finish()
    summary = {
        "parameters": n_parameters,
        "watched": training.watched,
        "best": training.at.best,
        "log": training.at.log,
    }
    (run.out / "done.json").write_text(json.dumps(summary, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder made by data.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", type=int, nargs=3, required=True, metavar=("N_EMBD", "N_LAYER", "N_FF"))
    parser.add_argument("--tokens", type=float, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--domain", default="stories", help="the text's name in --data")
    parser.add_argument("--domain-share", type=float, default=0.0, help="1 is fine-tuning")
    parser.add_argument("--init", type=Path, help="model.pt or GGUF file to start from")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    parser.add_argument("--eval-every", type=int, default=100, help="steps")
    parser.add_argument("--patience", type=int, default=1_000_000, help="evaluations")
    parser.add_argument("--rank", type=int, default=0, help="train a LoRA adapter for --init")
    parser.add_argument("--base", type=Path, help="tune inside the sum with this base; it and --init are GGUF files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    for file in (arguments["base"], arguments["init"]) if arguments["base"] else ():
        if file is None or file.suffix != ".gguf":
            parser.error(f"--base {arguments['base']}: it and --init have to be GGUF files, got {file}")
    train(Run(**{**arguments, "shape": Shape(*arguments["shape"])}))


if __name__ == "__main__":
    main()
