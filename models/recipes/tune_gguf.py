"""An expert from the very GGUF that runs: a LoRA adapter for a small community model, tuned on your text.

Two parts of the text are held out: one stops the training and chooses the weights, the other is measured on at the
end. Writes the adapter, a recipe and a card with the figures. A command that was interrupted goes on where it stopped
when it is given again. See ../README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

import documents
from documents import Document
from gguf_model import Loaded, adapted, load, without_adapter, write_adapter
from run_folder import quoted, refuse_other_settings, sha256
from train_adapter import MICRO, Example, Run, losses, micro_batches, train

# Documents, or bytes of a text, that llama.cpp and PyTorch are compared on.
N_VERIFIED, VERIFIED_BYTES = 20, 4_000
# What llama.cpp's rounding of activations may make of a loss, in nats a token; of the difference of two losses less.
MAX_GAP, MAX_GAP_OF_DIFFERENCE = 0.05, 0.02
PARTS = {"val": "validation", "test": "test"}


class Trio:
    """The base, the small model and its adapter, as a recipe has them."""

    def __init__(self, arguments: argparse.Namespace, has_prompts: bool) -> None:
        self.base, self.small, self.out = arguments.base, arguments.small, arguments.out
        self.hub = {"base": arguments.base_hf, "small": arguments.small_hf}
        # Every role sees what the expert learnt from: prompts in its own chat template, or plain text.
        self.view = f'template = "{"model" if has_prompts and not arguments.plain else "plain"}"'

    def model(self, role: str, *more: str, by_hub: bool) -> str:
        path = {"base": self.base, "small": self.small}[role]
        if by_hub and self.hub[role]:
            fields = [f"hf = {quoted(self.hub[role])}", f"hf_file = {quoted(path.name)}", f'sha256 = "{sha256(path)}"']
        else:
            fields = [f"model = {quoted(path)}"]
        return "{ " + ", ".join(filter(None, [*fields, self.view, *more])) + " }"

    def recipe(self, weights: list[str], pair_weights: list[str], description: str, by_hub: bool) -> str:
        lora = "expert-lora.gguf" if by_hub else str((self.out / "expert-lora.gguf").resolve())
        expert = self.model("small", f"lora = [{quoted(lora)}]", by_hub=by_hub)
        lines = [f"description = {quoted(description)}", *weights, f"base = {self.model('base', by_hub=by_hub)}", ""]
        lines += ["[[pair]]", *pair_weights, f"expert = {expert}", f"antiexpert = {self.model('small', by_hub=by_hub)}"]
        return "\n".join(lines) + "\n"


def proxytune(program: str, *arguments: str | Path) -> dict:
    """Runs a command of proxytune, whose progress is shown, and reads its JSON."""
    command = [program, *map(str, arguments), "--json"]
    print("$ " + " ".join(command), flush=True)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    if run.returncode:
        raise SystemExit(f"proxytune ended with {run.returncode}\nhint: the lines above say why; the adapter is kept")
    return json.loads(run.stdout)


def verify(loaded: Loaded, found: list[Document], recipe: Path, run: Run, program: str, out: Path) -> dict[str, float]:
    """The adapter in llama.cpp against the model that was trained: losses with and without it, on the same tokens."""
    if found[0].messages:
        chosen, file = found[:N_VERIFIED], out / "verify.jsonl"
        documents.write(file, chosen)
    else:
        chosen, file = [Document(found[0].answer[:VERIFIED_BYTES])], out / "verify.txt"
        file.write_text(chosen[0].answer, encoding="utf-8")
    encoded = [loaded.encode(document, run.plain) for document in chosen]
    # Ends of turns are not part of an answer.
    batch = [Example(tokens[:-1], n_before) for tokens, n_before in encoded]

    def own() -> float:
        with torch.no_grad():
            each = torch.cat([losses(group, loaded, None) for group in micro_batches(batch, MICRO[loaded.device.type])])
        return each.double().mean().item()

    with without_adapter(loaded):
        before = own()
    ours = {"expert": own(), "antiexpert": before}
    context = max(len(example.tokens) for example in batch) + 8
    report = proxytune(program, "perplexity", "-R", recipe, "-f", file, "-c", context, "--alpha", "1")
    theirs = {row["role"]: row["nats_per_token"] for row in report["results"]}
    n_ours, n_theirs = sum(example.n_learnt for example in batch), report["n_tokens"]
    if n_ours != n_theirs:
        raise SystemExit(
            f"llama.cpp predicts {n_theirs} tokens of {file}, PyTorch {n_ours}: they split the text differently"
        )
    gaps = {role: theirs[role] - ours[role] for role in ours}
    gaps["difference"] = gaps["expert"] - gaps["antiexpert"]
    for role, gap in gaps.items():
        if abs(gap) > (MAX_GAP_OF_DIFFERENCE if role == "difference" else MAX_GAP):
            raise SystemExit(f"{role}: llama.cpp and PyTorch differ by {gap:+.4f} nats a token on {file}")
    print(
        f"verified on {n_ours} tokens: {', '.join(f'{role} {gap:+.4f}' for role, gap in gaps.items())} nats/token",
        flush=True,
    )
    return gaps


def weights_of(found: dict) -> tuple[list[str], list[str]]:
    """What `calibrate` recommends, as lines of a recipe: before the pair, and in it."""
    weights = found["recommended"]["weights"]
    base, pair = weights["base"], weights["pairs"][0]
    top = [] if base == 1 else [f"base_weight = {base:.4g}"]
    own = [f"alpha = {pair['expert']:.4g}"]
    if pair["antiexpert"] != pair["expert"]:
        own.append(f"alpha_antiexpert = {pair['antiexpert']:.4g}")
    return top, own


def table(report: dict) -> str:
    lines = [
        "| | nats/token | against base | against expert | top token moved | KL from base |",
        "|---|---|---|---|---|---|",
    ]

    def against(row: dict, other: str) -> str:
        mean, error = row[f"against_{other}"], row[f"against_{other}_standard_error"]
        return "" if mean is None or row["role"] == other else f"{mean:+.4f} ± {error:.4f}"

    for row in report["results"]:
        name = f"steered α = {row['alpha']:.4g}" if row["alpha"] is not None else row["role"]
        name = "steered, the recipe's weights" if name == "steered" else name
        moved = "" if row["role"] == "base" else f"{row['intervention_rate']:.1%} | {row['kl_from_base']:.3f}"
        lines.append(
            f"| {name} | {row['nats_per_token']:.4f} ± {row['standard_error']:.4f} | {against(row, 'base')} | "
            f"{against(row, 'expert')} | {moved or ' | '} |"
        )
    return "\n".join(lines)


CARD = """\
# {name}

A LoRA adapter of rank {rank} for {small}, tuned on {n_train} documents of `{text}` ({tokens:,} tokens in
{minutes:.1f} minutes on {device}), which steers {base}.

    proxytune generate -R recipe.toml -p "…"

Held-out test part, {n_tokens} tokens in {n_texts}; the weights were chosen on the validation part:

{table}

    proxytune perplexity -R recipe.toml -f {test}

{verdict}

In llama.cpp the expert's loss is {expert:+.4f} nats a token from the trained model's, the antiexpert's {antiexpert:+.4f},
and their difference {difference:+.4f}.

Made by:

    {command}
"""


def verdict(report: dict, found: dict) -> str:
    """In words, by two standard errors."""
    row, chosen = report["results"][-1], found["recommended"]

    def beats(other: str) -> bool:
        return row[f"against_{other}"] < -2 * row[f"against_{other}_standard_error"]

    if not beats("base"):
        return "Steering does not beat the base."
    if not beats("expert"):
        return "Steering beats the base, but not the expert alone, which is cheaper: use the expert."
    if chosen["against_best_base"] > -2 * chosen["against_best_base_standard_error"]:
        return "Steering beats the base and the expert alone, but a temperature does as much for the base."
    return "Steering beats the base and the expert alone."


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--base", type=Path, required=True, help="the model to steer, a GGUF file")
    add(
        "--small",
        type=Path,
        required=True,
        help="the small model, a GGUF file: antiexpert, and with the adapter expert",
    )
    add("--text", type=Path, required=True, help="documents (.txt), or prompts with answers (.jsonl)")
    add("--out", type=Path, required=True)
    add("--name", help="what the card calls the adapter [default: the text's file name]")
    add("--base-hf", help="USER/REPO of the base on the hub, for the recipe")
    add("--small-hf", help="USER/REPO of the small model on the hub, for the recipe")
    add("--rank", type=int, default=8)
    add("--scale", type=float, default=16.0, help="the adapter counts scale / rank times [16]")
    add("--rate", type=float, default=3e-4, help="learning rate [3e-4]")
    add("--epochs", type=float, default=1.0)
    add("--minutes", type=float, default=math.inf, help="end the training by then [when the epochs are over]")
    add("--batch", type=int, default=16, help="documents a step [16]")
    add("--max-length", type=int, default=512, help="tokens of a document at most [512]")
    add("--plain", action="store_true", help="prompts as they are, without the chat template")
    add("--inside", action="store_true", help="tune the expert as a part of base + expert − antiexpert")
    add("--seed", type=int, default=0)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--proxytune", default="proxytune", help="the program [found on the PATH]")
    arguments = parser.parse_args()
    for name in ("base", "small", "text"):
        if not getattr(arguments, name).is_file():
            parser.error(f"--{name}: there is no file {getattr(arguments, name)}")
    for name in ("rank", "scale", "rate", "epochs", "minutes", "batch"):
        if not getattr(arguments, name) > 0:
            parser.error(f"--{name} is more than 0")
    if not shutil.which(arguments.proxytune):
        parser.error(
            f"there is no program {arguments.proxytune}: `make install` puts it on the PATH, --proxytune names it"
        )
    return arguments


def main() -> None:
    arguments = parsed()
    out, text = arguments.out, arguments.text
    run = Run(**{key: getattr(arguments, key) for key in Run.__dataclass_fields__})
    out.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(run), "minutes": str(run.minutes), "text": sha256(text), "small": sha256(arguments.small)}
    refuse_other_settings(out / "settings.json", settings)
    (out / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    parts = documents.read(text)
    has_prompts = bool(parts["train"][0].messages)
    files = {part: out / f"{title}{text.suffix if has_prompts else '.txt'}" for part, title in PARTS.items()}
    for part, file in files.items():
        documents.write(file, parts[part])
    torch.set_float32_matmul_precision("high")
    loaded = adapted(load(arguments.small, arguments.device), run.rank, run.scale, run.seed)
    base = load(arguments.base, arguments.device) if run.inside else None
    report = train(loaded, base, parts, run, out)
    del base
    name = arguments.name or text.stem
    write_adapter(
        loaded, out / "expert-lora.gguf", {"name": f"{name}, adapter of rank {run.rank} for {arguments.small.stem}"}
    )

    trio = Trio(arguments, has_prompts)
    local = out / "local.toml"
    local.write_text(trio.recipe([], ["alpha = 1"], name, by_hub=False), encoding="utf-8")
    gaps = verify(loaded, parts["test"], local, run, arguments.proxytune, out)
    del loaded
    found = proxytune(arguments.proxytune, "calibrate", "-R", local, "-f", files["val"])
    weights = weights_of(found)
    for file, by_hub in ((local, False), (out / "recipe.toml", True)):
        file.write_text(trio.recipe(*weights, name, by_hub), encoding="utf-8")
    own = [] if len(weights[0] + weights[1]) > 1 else ["--alpha", weights[1][0].split()[-1]]
    measured = proxytune(arguments.proxytune, "perplexity", "-R", local, "-f", files["test"], *own)
    (out / "figures.json").write_text(
        json.dumps({"training": report, "calibrate": found, "test": measured, "verified": gaps}) + "\n"
    )
    card = CARD.format(
        name=name,
        rank=run.rank,
        small=arguments.small.name,
        base=arguments.base.name,
        n_train=len(parts["train"]),
        text=text.name,
        tokens=report["tokens"],
        minutes=report["seconds"] / 60,
        device=arguments.device,
        n_tokens=measured["n_tokens"],
        table=table(measured),
        test=files["test"].name,
        verdict=verdict(measured, found),
        n_texts=f"{measured['n_documents']} documents" if has_prompts else f"{measured['n_windows']} windows",
        command=" ".join(["tune_gguf.py", *sys.argv[1:]]),
        **gaps,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    print("\n" + card)


if __name__ == "__main__":
    main()
