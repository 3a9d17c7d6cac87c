"""proxytune beside other ways to run the same steered models on the CPU: tokens per second, in one run.

    make bench-peers

For each recipe, the same three GGUF files, prompts and α, greedy, with as many threads everywhere. Each round takes
another prompt; in it every arm generates once, and the order rotates. A time runs from the end of the prompt to the
last token; loading and the prompt are in nobody's. Ratios are taken within a round; medians are over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from gguf import GGUFReader

from prompts import prompts

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
DTYPES = ("float32", "bfloat16")
N_CTX = 512
N_TRIAL = 16
N_TRIALS = 3
# Arms whose texts part earlier than this do not compute the same; later, it is rounding at a near tie.
N_SAME = 8
LOCKSTEP, SPECULATIVE = "proxytune, lockstep", "proxytune, speculative"
LLAMA_CPP_PYTHON = "llama-cpp-python"


@dataclass
class Run:
    tokens: list[int]
    ms: float
    details: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """The first token needs no decode: its logits are the prompt's."""
        return (len(self.tokens) - 1) / self.ms * 1e3


Arm = Callable[[str, list[int], int], Run]


@dataclass(frozen=True)
class Trio:
    recipe: Path
    files: dict[str, Path]
    alpha: float

    @classmethod
    def read(cls, recipe: Path) -> Trio:
        content = tomllib.loads(recipe.read_text(encoding="utf-8"))
        if len(content.get("pair", [])) != 1:
            raise SystemExit(f"{recipe}: expected one pair")
        pair = content["pair"][0]
        roles = {"base": content.get("base"), "expert": pair.get("expert"), "antiexpert": pair.get("antiexpert")}
        missing = [role for role, file in roles.items() if not isinstance(file, str)]
        if missing:
            raise SystemExit(f"{recipe}: expected the file of each role, got none for {', '.join(missing)}")
        return cls(recipe, {role: recipe.parent / file for role, file in roles.items()}, pair.get("alpha", 1.0))

    def eos(self) -> int:
        field = GGUFReader(self.files["base"]).get_field("tokenizer.ggml.eos_token_id")
        if field is None:
            raise SystemExit(f"{self.files['base']} names no token that ends a text")
        return int(field.contents())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Worker:
    """A peer's process, and the arm that it is."""

    def __init__(self, script: str, trio: Trio, threads: int, *arguments: str) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        for role, path in trio.files.items():
            command += [f"--{role}", str(path)]
        command += ["--alpha", str(trio.alpha), "--eos", str(trio.eos())]
        command += ["--threads", str(threads), "--ctx-size", str(N_CTX)]
        self.name = script
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.cpu: str = self.receive()["cpu"]

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __call__(self, _text: str, prompt: list[int], n_predict: int) -> Run:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompt": prompt, "n_predict": n_predict}) + "\n")
        self.process.stdin.flush()
        answer = self.receive()
        return Run(answer["tokens"], answer["ms"])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Proxytune:
    """The program, started anew for every text: what it learns of costs and acceptance it learns each time."""

    binary: Path
    trio: Trio
    threads: int
    draft: str

    def generate(self, text: str, n_predict: int) -> dict[str, Any]:
        command = [str(self.binary), "generate", "--recipe", str(self.trio.recipe), "--prompt", text, "--no-escape"]
        command += ["--predict", str(n_predict), "--ctx-size", str(N_CTX), "--threads", str(self.threads)]
        command += ["--temp", "0", "--repeat-penalty", "1", "--ignore-eos", "--draft", self.draft, "--json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"proxytune ended with {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def prompt(self, text: str) -> list[int]:
        """The tokens that every model is given."""
        lists = self.generate(text, 1)["prompt_tokens"].values()
        tokens: list[int] = next(iter(lists))
        if any(other != tokens for other in lists):
            raise SystemExit(f"{self.trio.recipe}: the roles see different prompts, which the peers cannot")
        return tokens

    def __call__(self, text: str, _prompt: list[int], n_predict: int) -> Run:
        answer = self.generate(text, n_predict)
        generation = answer["generation"]
        details = {name: generation[name] for name in ("n_steps", "n_drafted", "n_accept")}
        return Run(answer["tokens"], generation["ms"], details)


def better_transformers(trio: Trio, threads: int, text: str, prompt: list[int]) -> tuple[str, Worker, dict[str, float]]:
    """transformers in float32 or in bfloat16, whichever is faster here; short trials in turns."""
    workers = {}
    for dtype in DTYPES:
        say(f"  loading transformers, {dtype}")
        workers[dtype] = Worker("peer_transformers.py", trio, threads, "--dtype", dtype)
    speeds: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    for trial in range(N_TRIALS + 1):
        for dtype, worker in workers.items():
            speed = worker(text, prompt, N_TRIAL).per_second
            if trial > 0:
                speeds[dtype].append(speed)
    medians = {dtype: median(speeds[dtype]) for dtype in DTYPES}
    say("  " + ", ".join(f"{dtype} {speed:.2f} tokens/s" for dtype, speed in medians.items()))
    best = max(medians, key=lambda dtype: medians[dtype])
    for dtype, worker in workers.items():
        if dtype != best:
            worker.close()
    return best, workers[best], medians


def n_common(a: list[int], b: list[int]) -> int:
    """Length of the common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def summary(runs: dict[str, list[Run]], transformers: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, own in runs.items():
        row = result[name] = {"tokens_per_second": spread([run.per_second for run in own])}
        for other in (LLAMA_CPP_PYTHON, transformers):
            ratios = [a.per_second / b.per_second for a, b in zip(own, runs[other], strict=True)]
            row[f"against {other}"] = spread(ratios)
        common = [n_common(a.tokens, b.tokens) for a, b in zip(own, runs[LOCKSTEP], strict=True)]
        row["common_prefix"] = spread([float(n) for n in common])
        for detail in own[0].details:
            row[detail] = sum(run.details[detail] for run in own)
    return result


def table(result: dict[str, Any], transformers: str, n_predict: int) -> str:
    def cell(values: dict[str, float], digits: int) -> str:
        middle, low, high = (f"{values[name]:.{digits}f}" for name in ("median", "min", "max"))
        return f"{middle} ({low} to {high})"

    lines = [
        f"| | tokens/s | × {LLAMA_CPP_PYTHON} | × {transformers} | same tokens as lockstep, of {n_predict} |",
        "|---|---|---|---|---|",
    ]
    for name, row in result.items():
        others = (LLAMA_CPP_PYTHON, transformers)
        against = " | ".join("1" if name == other else cell(row[f"against {other}"], 2) for other in others)
        speed, common = cell(row["tokens_per_second"], 2), cell(row["common_prefix"], 0)
        lines.append(f"| {name} | {speed} | {against} | {common} |")
    return "\n".join(lines)


def measure(trio: Trio, binary: Path, threads: int, texts: list[str], n_predict: int) -> dict[str, Any]:
    say(f"{trio.recipe}: α = {trio.alpha:g}")
    lockstep = Proxytune(binary, trio, threads, "off")
    tokens = [lockstep.prompt(text) for text in texts]
    dtype, worker, trials = better_transformers(trio, threads, texts[0], tokens[0])
    say(f"  loading {LLAMA_CPP_PYTHON}")
    other = Worker("peer_llama_cpp_python.py", trio, threads)
    transformers = f"transformers, {dtype}"
    arms: dict[str, Arm] = {
        transformers: worker,
        LLAMA_CPP_PYTHON: other,
        LOCKSTEP: lockstep,
        SPECULATIVE: Proxytune(binary, trio, threads, "auto"),
    }
    say("  warming up")
    for arm in arms.values():
        arm(texts[0], tokens[0], N_TRIAL)
    runs: dict[str, list[Run]] = {name: [] for name in arms}
    names = list(arms)
    for i, (text, prompt) in enumerate(zip(texts, tokens, strict=True)):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(arms[name](text, prompt, n_predict))
        speeds = ", ".join(f"{name} {runs[name][-1].per_second:.2f}" for name in names)
        say(f"  round {i + 1} of {len(texts)}: tokens/s: {speeds}")
    worker.close()
    other.close()
    return {
        "recipe": trio.recipe.name,
        "files": {role: path.name for role, path in trio.files.items()},
        "alpha": trio.alpha,
        "transformers": transformers,
        "transformers_trials": trials,
        "cpu": {transformers: worker.cpu, LLAMA_CPP_PYTHON: other.cpu},
        "arms": summary(runs, transformers),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE", help="a recipe's file: one pair, GGUF files")
    parser.add_argument("--proxytune", type=Path, default=REPOSITORY / "target/debug/proxytune", help="the program")
    parser.add_argument("--text", type=Path, default=REPOSITORY / "models/demo/heldout-prose.txt", help="for prompts")
    parser.add_argument("--rounds", type=int, default=6, help="one prompt each")
    parser.add_argument("--n-predict", type=int, default=64, help="tokens of each text")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    texts = prompts(given.text, given.rounds)
    machine = {
        "processor": processor(),
        "threads": given.threads,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "llama-cpp-python")},
    }
    results = []
    for recipe in given.recipes:
        result = measure(Trio.read(recipe), given.proxytune, given.threads, texts, given.n_predict)
        results.append(result)
        print(f"\n{result['recipe']}, {', '.join(result['files'].values())}:\n")
        print(table(result["arms"], result["transformers"], given.n_predict), flush=True)
        for name, row in result["arms"].items():
            if row["common_prefix"]["median"] < N_SAME:
                raise SystemExit(f"{name} writes other texts than {LOCKSTEP}: that is not the same model")
    print()
    print(json.dumps({"machine": machine, "rounds": given.rounds, "n_predict": given.n_predict, "results": results}))


if __name__ == "__main__":
    main()
