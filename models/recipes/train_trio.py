"""From text files to a trained, verified, quantised and measured trio. See README.md."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

from data import prepare
from evaluate import Trio, best_alpha, evaluate, table
from export import About, export, export_adapter
from model import Shape
from plot import Loss, plot
from retype import FILE_TYPES
from train import ADAPTER_RATE, EVAL_EVERY, PATIENCE, TUNING_RATE, Run, train
from verify import verify

DESCRIPTIONS = {
    "base": "The model that is steered; trained on old books.",
    "antiexpert": "Small model, trained on the same text as the base, but less of it.",
    "expert": "The antiexpert, fine-tuned on children's stories.",
    "tuned": "The base, fine-tuned on children's stories; to compare with.",
    "expert-plays": "The antiexpert, fine-tuned on plays.",
    "expert-lora": "Fine-tuning on children's stories, as an adapter of the antiexpert.",
}
PROMPTS = {"expert": "The dog was", "expert-lora": "The dog was", "expert-plays": "First Citizen:\n"}
REPORTED_ALPHAS = {0.5, 1.0, 1.5}
LORA_RANK = 32


@dataclass(frozen=True)
class Plan:
    """Sizes of everything; a share is the part of pre-training that is stories. `max_chars` limits each book and each
    text that is measured on; `measured` are the types whose losses are."""

    base: Shape
    base_tokens: float
    base_share: float
    pair: Shape
    pair_tokens: float
    pair_share: float
    expert_tokens: float
    lora_tokens: float
    plays_tokens: float
    tuned_tokens: float
    eval_every: int
    max_chars: int | None = None
    measured: tuple[str, ...] = tuple(FILE_TYPES)


FULL = Plan(
    base=Shape(n_embd=320, n_layer=6, n_ff=896),
    base_tokens=11e6,
    base_share=0.008,
    pair=Shape(n_embd=128, n_layer=4, n_ff=384),
    pair_tokens=6e6,
    pair_share=0.015,
    expert_tokens=3.3e6,
    lora_tokens=1e6,
    plays_tokens=1e6,
    tuned_tokens=1.6e6,
    eval_every=EVAL_EVERY,
)
SMALL = Plan(
    base=Shape(n_embd=96, n_layer=2, n_ff=256),
    base_tokens=0.15e6,
    base_share=0.02,
    pair=Shape(n_embd=64, n_layer=1, n_ff=192),
    pair_tokens=0.1e6,
    pair_share=0.02,
    expert_tokens=0.08e6,
    lora_tokens=0.08e6,
    plays_tokens=0.08e6,
    tuned_tokens=0.08e6,
    eval_every=5,
    max_chars=60_000,
    measured=("Q8_0",),
)


def runs(plan: Plan, data: Path, out: Path, base_minutes: float, plays: bool) -> list[Run]:
    def run(role: str, shape: Shape, tokens: float, share: float, **more) -> Run:
        return Run(
            data=data,
            out=out / role,
            shape=shape,
            tokens=tokens,
            domain_share=share,
            eval_every=plan.eval_every,
            **more,
        )

    def tuned(role: str, tokens: float, start: str = "antiexpert", rate: float = TUNING_RATE, **more) -> Run:
        shape, init = plan.base if start == "base" else plan.pair, out / start / "model.pt"
        return run(role, shape, tokens, 1.0, init=init, rate=rate, patience=PATIENCE, **more)

    return [
        run("antiexpert", plan.pair, plan.pair_tokens, plan.pair_share),
        tuned("expert", plan.expert_tokens),
        tuned("expert-lora", plan.lora_tokens, rate=ADAPTER_RATE, rank=LORA_RANK),
        *([tuned("expert-plays", plan.plays_tokens, domain="plays")] if plays else []),
        run("base", plan.base, plan.base_tokens, plan.base_share, minutes=base_minutes),
        tuned("tuned", plan.tuned_tokens, "base", rate=0.4),
    ]


def measure(folder: Path, data: Path, expert: str, max_chars: int | None) -> dict:
    """α comes from the validation text, everything else from held-out text."""
    domain, has_tuned = ("plays", False) if expert == "expert-plays" else ("stories", True)
    base, antiexpert, file = (folder / f"{role}.gguf" for role in ("base", "antiexpert", expert))
    trio = Trio(base, antiexpert, file, folder / "tuned.gguf" if has_tuned else None)
    results = {
        name: evaluate(trio, (data / f"{name}.txt").read_text(encoding="utf-8")[:max_chars])
        for name in (f"validation-{domain}", f"heldout-{domain}", "heldout-prose")
    }
    alpha = best_alpha(results[f"validation-{domain}"])
    print(f"\n{folder.name}, {expert}: α = {alpha:g} by validation", flush=True)
    print(
        table({name: results[name] for name in (f"heldout-{domain}", "heldout-prose")}, (*REPORTED_ALPHAS, alpha)),
        flush=True,
    )
    labels = [*trio.models, f"steered {alpha:g}"]
    greedy = {label: trio.greedy(PROMPTS[expert], label) for label in labels}
    return {"alpha": alpha, **results, "prompt": PROMPTS[expert], "greedy": greedy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--general", type=Path, nargs="+", required=True, help="one book a file, or folders of *.txt")
    parser.add_argument("--stories", type=Path, required=True, help="one file, `<|endoftext|>` after each story")
    parser.add_argument("--plays", type=Path, help="one file, blank lines between speeches: trains a second expert")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a matter of minutes, to see that everything works")
    parser.add_argument("--base-minutes", type=float, default=math.inf, help="end the base's training by then")
    arguments = parser.parse_args()
    plan, out = SMALL if arguments.small else FULL, arguments.out
    data, checkpoints = out / "data", out / "checkpoints"

    general = [file for path in arguments.general for file in (path.rglob("*.txt") if path.is_dir() else [path])]
    prepare(general, arguments.stories, arguments.plays, data, plan.max_chars)
    todo = runs(plan, data, checkpoints, arguments.base_minutes, arguments.plays is not None)
    for run in todo:
        train(run)

    prose = (data / "heldout-prose.txt").read_text(encoding="utf-8")
    tokenizer = data / "tokenizer.json"
    for run in todo:
        role, checkpoint = run.out.name, run.out / "model.pt"
        about = About(f"proxytune demo: {role}", DESCRIPTIONS[role], "proxytune", "cc0-1.0", "en")
        for file_type in FILE_TYPES:
            (out / file_type).mkdir(exist_ok=True)
            file = out / file_type / f"{role}.gguf"
            if run.rank:
                export_adapter(checkpoint, file, file_type, about)
            else:
                export(checkpoint, tokenizer, file, file_type, about)
        f32 = out / "F32" / f"{role}.gguf"
        model, adapter = (f32.with_stem("antiexpert"), f32) if run.rank else (f32, None)
        difference = verify(checkpoint, model, tokenizer, prose, adapter)
        print(f"{role}: llama.cpp finds the same tokens, and the same logits within {difference:.1e}", flush=True)

    experts = [run.out.name for run in todo if run.out.name.startswith("expert")]
    figures = {
        file_type: {expert: measure(out / file_type, data, expert, plan.max_chars) for expert in experts}
        for file_type in plan.measured
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    measured = figures["Q8_0"]["expert"]["heldout-stories"]["loss"]
    losses = {name: Loss(loss["nats"], loss["error"]) for name, loss in measured.items()}
    steered = {float(name.split()[1]): loss for name, loss in losses.items() if name.startswith("steered")}
    (out / "alpha.svg").write_text(plot(steered, losses), encoding="utf-8")


if __name__ == "__main__":
    main()
