"""Tune another expert of a trio's antiexpert, or a LoRA adapter for it, on a text of yours. See ../README.md.

Needs the trio's files alone. Two parts of the text are held out: one stops the training and chooses α, the other is
measured on at the end. A command that was interrupted goes on where it stopped when it is given again.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from data import prepare_domain
from evaluate import Trio, best_alpha, evaluate, load, table
from export import About, export, export_adapter
from retype import retype
from run_folder import quoted, refuse_other_settings, sha256
from train import ADAPTER_RATE, EVAL_EVERY, PATIENCE, TUNING_RATE, Run, train
from verify import verify

RECIPE = """\
description = {description}
base = {base}

[[pair]]
expert = {expert}
antiexpert = {antiexpert}
alpha = {alpha:g}

[sampling]
temp = 0.6
min_p = 0.1
repeat_penalty = 1.15
repeat_last_n = 128
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trio", type=Path, required=True, help="folder with base.gguf and antiexpert.gguf")
    parser.add_argument("--text", type=Path, required=True, help="`<|endoftext|>` after each document, or running text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=0, help="train an adapter of this rank (32) in place of a model")
    parser.add_argument(
        "--inside", action="store_true", help="train the sum base + expert − antiexpert, of which the expert changes"
    )
    parser.add_argument("--tokens", type=float, default=2.4e6, help="at most; it stops earlier where nothing is gained")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end the training by then")
    parser.add_argument(
        "--rate", type=float, help=f"factor on the learning rates ({TUNING_RATE:g}, an adapter {ADAPTER_RATE:g})"
    )
    arguments = parser.parse_args()
    out, name, rank = arguments.out, arguments.text.stem, arguments.rank
    base, antiexpert = arguments.trio / "base.gguf", arguments.trio / "antiexpert.gguf"
    for file in (base, antiexpert, arguments.text):
        if not file.is_file():
            parser.error(f"{file} is no file")
    (_, tokens_of_base), (model, tokenizer) = load(base), load(antiexpert)
    if tokens_of_base.get_vocab() != tokenizer.get_vocab():
        parser.error(f"{base} and {antiexpert} have different tokens")
    if rank % 32 or not 0 <= rank <= model.shape.n_embd:
        parser.error(f"--rank {rank}: expected a multiple of 32, for Q8_0, up to the width of {model.shape.n_embd}")

    rate = (ADAPTER_RATE if rank else TUNING_RATE) if arguments.rate is None else arguments.rate
    if min(arguments.tokens, arguments.minutes, rate) <= 0:
        parser.error("--tokens, --minutes and --rate: expected numbers above 0")
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out}: it is a file, expected a folder or nothing")
    settings = {"rank": rank, "inside": arguments.inside, "tokens": arguments.tokens, "rate": rate}
    settings |= {key: sha256(path) for key, path in (("base", base), ("antiexpert", antiexpert))}
    settings |= {"name": name, "text": sha256(arguments.text)}
    refuse_other_settings(out / "run.json", settings)
    data, checkpoint = out / "data", out / "checkpoints" / name / "model.pt"
    prepare_domain(arguments.text, name, tokenizer, data)
    (out / "run.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    train(
        Run(
            data=data,
            out=checkpoint.parent,
            shape=model.shape,
            tokens=arguments.tokens,
            minutes=arguments.minutes,
            domain=name,
            domain_share=1,
            init=antiexpert,
            rate=rate,
            eval_every=EVAL_EVERY,
            patience=PATIENCE,
            rank=rank,
            base=base if arguments.inside else None,
        )
    )

    heldout = {part: (data / f"{part}-{name}.txt").read_text(encoding="utf-8") for part in ("validation", "heldout")}
    f32, expert = out / "F32.gguf", out / ("adapter.gguf" if rank else "expert.gguf")
    tokenizer_json = data / "tokenizer.json"
    if rank:
        about = About(name, f"Fine-tuning on {name}, as an adapter of the antiexpert.")
        for file, kind in ((f32, "F32"), (expert, "Q8_0")):
            export_adapter(checkpoint, file, kind, about)
        retype(antiexpert, out / "antiexpert-F32.gguf", "F32")
        logits_within = verify(checkpoint, out / "antiexpert-F32.gguf", tokenizer_json, heldout["heldout"], f32)
    else:
        about = About(name, f"The antiexpert, fine-tuned on {name}.")
        for file, kind in ((f32, "F32"), (expert, "Q8_0")):
            export(checkpoint, tokenizer_json, file, kind, about)
        logits_within = verify(checkpoint, f32, tokenizer_json, heldout["heldout"])
    print(f"llama.cpp finds the same tokens, and the same logits within {logits_within:.1e}", flush=True)

    trio = Trio(base, antiexpert, expert)
    results = {part: evaluate(trio, text) for part, text in heldout.items()}
    alpha = best_alpha(results["validation"])
    print(f"\n{expert}: α = {alpha:g} by validation\n{table({name: results['heldout']}, (0.5, 1.0, 1.5, alpha))}")
    for other in ("base", "expert"):
        difference = results["heldout"]["difference"][f"steered {alpha:g} - {other}"]
        print(f"steered − {other}: {difference['nats']:+.3f} ± {difference['error']:.3f} nats/token")
    (out / "figures.json").write_text(json.dumps({"alpha": alpha, **results}, indent=2) + "\n", encoding="utf-8")
    adapted = f"{{ model = {quoted(antiexpert)}, lora = [{{ path = {quoted(expert)} }}] }}"
    recipe = RECIPE.format(
        description=quoted(f"A base steered towards {name}."),
        base=quoted(base),
        expert=adapted if rank else quoted(expert),
        antiexpert=quoted(antiexpert),
        alpha=alpha,
    )
    (out / "recipe.toml").write_text(recipe, encoding="utf-8")
    print(f"\nnext: proxytune generate -R {out / 'recipe.toml'} -p …")


if __name__ == "__main__":
    main()
