"""What base, expert and steered model write after each of some prompts, side by side as Markdown."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path


def written(program: str, recipe: str, prompt: str, n_predict: int, seed: int, options: list[str]) -> dict[str, str]:
    """The text of each of `proxytune compare`'s runs."""
    sampling = ["-n", str(n_predict), "-s", str(seed), *options]
    command = [program, "compare", "-R", recipe, "-p", prompt, *sampling, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.returncode)  # it has said why
    return {run["run"]: run["text"] for run in json.loads(done.stdout)["runs"]}


def one_line(text: str) -> str:
    """For the cell of a table: a slash stands for line breaks."""
    return " / ".join(filter(None, text.strip().splitlines())).replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="proxytune", help="its path, unless it is in PATH")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--prompts", type=Path, required=True, help="one a line")
    parser.add_argument("-n", "--n-predict", type=int, default=60)
    parser.add_argument("-s", "--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="further options of `proxytune compare`, after --")
    arguments = parser.parse_args()
    program = shutil.which(arguments.program)
    if program is None:
        parser.error(f"{arguments.program} is no program\nhint: `cargo install --path .`, or name it with --program")
    try:
        prompts = list(filter(str.strip, arguments.prompts.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{arguments.prompts} is no UTF-8 text that can be read: {error}")
    for i, prompt in enumerate(prompts, 1):
        print(f"{i} of {len(prompts)}: {prompt}", file=sys.stderr, flush=True)
        texts = written(program, arguments.recipe, prompt, arguments.n_predict, arguments.seed, arguments.options)
        print(f"“{prompt} …”\n\n| | |\n|---|---|")
        for run, text in texts.items():
            print(f"| {run} | {one_line(text)} |")
        print(flush=True)


if __name__ == "__main__":
    main()
