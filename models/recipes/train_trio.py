"""From text files to a trained, verified, quantised and measured trio. See README.md."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

from data import prepare
from evaluate import Trio, best_alpha, evaluate, table
from export import export
from model import Shape
from train import Run, train
from verify import verify

DESCRIPTIONS = {
    "base": "The model that is steered; trained on old books.",
    "antiexpert": "Small model, trained on the same text as the base, but less of it.",
    "expert": "The antiexpert, fine-tuned on children's stories.",
    "tuned": "The base, fine-tuned on children's stories; to compare with.",
    "expert-plays": "The antiexpert, fine-tuned on plays.",
}
PROMPTS = {"expert": "The dog was", "expert-plays": "First Citizen:\n"}
REPORTED_ALPHAS = {0.5, 1.0, 1.5}


@dataclass(frozen=True)
class Plan:
    """Sizes of everything. Base and antiexpert see about the same number of tokens of stories."""

    base: Shape
    pair: Shape
    base_tokens: float
    pair_tokens: float
    tuning_tokens: float
    base_share: float
    pair_share: float
    eval_every: int
    tuning_eval_every: int
    max_book_chars: int | None = None


FULL = Plan(
    base=Shape(n_embd=320, n_layer=6, n_ff=896),
    pair=Shape(n_embd=128, n_layer=4, n_ff=384),
    base_tokens=11e6,
    pair_tokens=6e6,
    tuning_tokens=3.3e6,
    base_share=0.008,
    pair_share=0.015,
    eval_every=100,
    tuning_eval_every=50,
)
SMALL = Plan(
    base=Shape(n_embd=192, n_layer=4, n_ff=512),
    pair=Shape(n_embd=128, n_layer=2, n_ff=384),
    base_tokens=1e6,
    pair_tokens=0.5e6,
    tuning_tokens=0.3e6,
    base_share=0.01,
    pair_share=0.02,
    eval_every=50,
    tuning_eval_every=20,
    max_book_chars=150_000,
)


def runs(plan: Plan, data: Path, out: Path, base_minutes: float, plays: bool) -> list[Run]:
    def from_scratch(role: str, shape: Shape, tokens: float, share: float, minutes: float = math.inf) -> Run:
        return Run(
            data=data,
            out=out / role,
            shape=shape,
            tokens=tokens,
            minutes=minutes,
            domain_share=share,
            eval_every=plan.eval_every,
        )

    def tuned(role: str, shape: Shape, start: str, rate: float, domain: str = "stories") -> Run:
        return Run(
            data=data,
            out=out / role,
            shape=shape,
            tokens=plan.tuning_tokens,
            domain=domain,
            domain_share=1.0,
            init=out / start / "model.pt",
            rate=rate,
            eval_every=plan.tuning_eval_every,
            patience=4,
        )

    return [
        from_scratch("antiexpert", plan.pair, plan.pair_tokens, plan.pair_share),
        tuned("expert", plan.pair, "antiexpert", rate=0.5),
        *([tuned("expert-plays", plan.pair, "antiexpert", rate=0.5, domain="plays")] if plays else []),
        from_scratch("base", plan.base, plan.base_tokens, plan.base_share, base_minutes),
        tuned("tuned", plan.base, "base", rate=0.4),
    ]


def measure(folder: Path, data: Path, expert: str) -> dict:
    """α comes from the validation text, everything else from held-out text."""
    domain, tuned = ("plays", None) if expert == "expert-plays" else ("stories", "tuned")
    trio = Trio(folder, expert, tuned)
    results = {
        name: evaluate(trio, (data / f"{name}.txt").read_text(encoding="utf-8"))
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
    prepare(general, arguments.stories, arguments.plays, data, plan.max_book_chars)
    todo = runs(plan, data, checkpoints, arguments.base_minutes, arguments.plays is not None)
    for run in todo:
        train(run)

    prose = (data / "heldout-prose.txt").read_text(encoding="utf-8")
    tokenizer = data / "tokenizer.json"
    for run in todo:
        role, checkpoint = run.out.name, run.out / "model.pt"
        for file_type in ("F32", "Q8_0"):
            (out / file_type).mkdir(exist_ok=True)
            file = out / file_type / f"{role}.gguf"
            export(checkpoint, tokenizer, file, file_type, f"proxytune demo: {role}", DESCRIPTIONS[role])
        difference = verify(checkpoint, out / "F32" / f"{role}.gguf", tokenizer, prose)
        print(f"{role}: llama.cpp finds the same tokens, and the same logits within {difference:.1e}", flush=True)

    experts = [run.out.name for run in todo if run.out.name.startswith("expert")]
    figures = {
        file_type: {expert: measure(out / file_type, data, expert) for expert in experts}
        for file_type in ("F32", "Q8_0")
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
