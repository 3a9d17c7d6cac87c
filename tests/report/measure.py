"""Runs what measurements.toml lists, and finds figures in the JSON that comes of it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claims import ROOT, Claims, Measurement

sys.path += [str(ROOT / "tests" / "community"), str(ROOT / "models" / "recipes")]

import documents
import fetch
import heldout

PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "proxytune"

# Types of GGUF's metadata, and the bytes of those that have a fixed size.
STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class NotRun(Exception):
    """What is missing for it."""


class Failed(Exception):
    """The program ended with an error."""


class Inputs:
    """What commands name in braces: text that is made again from what the user has, and models."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.made: dict[str, str] = {}
        self.makers: dict[str, Callable[[], Path]] = {
            "stories": lambda: self.stories() / "heldout-demo.txt",
            "qwen_stories": lambda: self.stories() / "heldout-qwen.txt",
            "qwen_stories_val": lambda: self.stories() / "validation-qwen.txt",
            "gsm8k": lambda: self.folder("GSM8K") / "test.jsonl",
            "gsm8k_val": self.gsm8k_val,
            "trivia": lambda: self.folder("TRIVIA"),
            "big": lambda: self.model(fetch.QWEN_LARGE),
            "small": lambda: self.model(fetch.QWEN_SMALL),
        }

    def __getitem__(self, name: str) -> str:
        if name not in self.made:
            self.made[name] = str(self.makers[name]())
        return self.made[name]

    def folder(self, variable: str) -> Path:
        if not (value := os.environ.get(variable)):
            raise NotRun(f"{variable} is not given")
        return Path(value)

    def stories(self) -> Path:
        sample = self.folder("STORIES")
        demo = heldout.stories_of(sample)
        heldout.write_heldout("demo", demo, self.scratch)
        parts = documents.read(sample)
        for part, title in (("val", "validation"), ("test", "heldout")):
            documents.write(self.scratch / f"{title}-qwen.txt", parts[part])
        return self.scratch

    def gsm8k_val(self) -> Path:
        path = self.scratch / "gsm8k-validation.jsonl"
        documents.write(path, documents.read(self.folder("GSM8K") / "train.jsonl")["val"])
        return path

    def model(self, model: fetch.Model) -> Path:
        if not fetch.is_there(model):
            raise NotRun(f"python3 tests/community/fetch.py {model.name}")
        return model.path


def measure(measurement: Measurement, inputs: Inputs) -> Any:
    """Its JSON. Raises `NotRun` where something is missing for it."""
    if measurement.slow and not os.environ.get("SLOW"):
        raise NotRun("SLOW=1 is not given")
    words = [re.sub(r"\{(\w+)\}", lambda name: inputs[name[1]], word) for word in measurement.run.split()]
    return KINDS[measurement.kind]([*words, *measurement.words], inputs)


def program(words: list[str], _inputs: Inputs) -> Any:
    command = [str(PROGRAM), *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def samples(words: list[str], inputs: Inputs) -> dict[str, dict[str, str]]:
    """The text of each role behind each prompt of a file: the file, then the words of `proxytune compare`."""
    prompts = (ROOT / words[0]).read_text(encoding="utf-8").splitlines()
    return {
        prompt: {run["run"]: run["text"] for run in program(["compare", *words[1:], "-p", prompt], inputs)["runs"]}
        for prompt in prompts
    }


def files(words: list[str], _inputs: Inputs) -> dict[str, Any]:
    """Size, hash and, of a GGUF file, numbers in its tensors."""
    found = {}
    for path in map(Path, words):
        content = (ROOT / path).read_bytes()
        found[path.stem.replace("-", "_")] = {
            "n_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "n_lines": content.count(b"\n"),
            "n_params": n_params(content) if path.suffix == ".gguf" else None,
        }
    return found


def n_params(content: bytes) -> int:
    """Of a GGUF file: the numbers in all of its tensors."""
    file = io.BytesIO(content)

    def number(size: int) -> int:
        return int.from_bytes(file.read(size), "little")

    def skip_value(kind: int) -> None:
        if kind == STRING:
            file.read(number(8))
        elif kind == ARRAY:
            of, n = number(4), number(8)
            for _ in range(n):
                skip_value(of)
        else:
            file.read(SIZES[kind])

    file.read(8)  # magic and version
    n_tensors, n_fields = number(8), number(8)
    for _ in range(n_fields):
        file.read(number(8))
        skip_value(number(4))
    n = 0
    for _ in range(n_tensors):
        file.read(number(8))
        n += math.prod([number(8) for _ in range(number(4))])
        file.read(12)  # type and offset
    return n


def retyped(words: list[str], inputs: Inputs) -> Any:
    """`proxytune perplexity` on the bundled trio rounded to another type, by retype.py: type, then words."""
    if not all(map(importlib.util.find_spec, ("gguf", "numpy"))):
        raise NotRun("Python has no gguf and NumPy")
    kind, *rest = words
    total, options = 0, []
    for option, role in (("-m", "base"), ("-me", "expert"), ("-ma", "antiexpert")):
        path = inputs.scratch / f"{role}-{kind}.gguf"
        if not path.exists():
            script = [sys.executable, "models/recipes/retype.py", f"models/demo/{role}.gguf", str(path), kind]
            subprocess.run(script, cwd=ROOT, check=True)
        total += path.stat().st_size
        options += [option, str(path)]
    return {"n_bytes": total, **program([*rest, *options], inputs)}


def split(_words: list[str], inputs: Inputs) -> dict[str, Any]:
    """How many stories and problems each part has, and the held-out file."""
    stories = heldout.stories_of(inputs.folder("STORIES"))
    content = Path(inputs["stories"]).read_bytes()
    return {
        **{part: len(found) for part, found in stories.items()},
        "n_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def problems(_words: list[str], inputs: Inputs) -> dict[str, int]:
    parts = documents.read(inputs.folder("GSM8K") / "train.jsonl")
    return {part: len(found) for part, found in parts.items()}


KINDS: dict[str, Callable[[list[str], Inputs], Any]] = {
    "program": program,
    "samples": samples,
    "files": files,
    "retyped": retyped,
    "split": split,
    "problems": problems,
}


class Figures:
    """What was measured, and expressions over it."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.measured: dict[str, Any] = {}

    def value(self, expression: str, moved: str | None = None) -> Any:
        """With the path `moved` as far off as the machine may bring it."""
        return self.walk(ast.parse(expression, mode="eval").body, moved)

    def walk(self, node: ast.expr, moved: str | None) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.walk(operand, moved)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self.walk(left, moved), self.walk(right, moved)
                match op:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b
            case ast.Call(func=ast.Name(id="exp"), args=[argument]):
                return math.exp(self.walk(argument, moved))
            case ast.Attribute():
                path = ast.unparse(node)
                value = self.at(path)
                return value + self.allowed(path, value) if path == moved else value
        raise ValueError(f"no expression: {ast.unparse(node)}")

    def at(self, path: str) -> Any:
        name, *keys = path.split(".")
        value = self.measured[name]
        for key in keys:
            try:
                value = member(value, key)
            except (KeyError, IndexError):
                raise Failed(f"{path}: there is no `{key}`") from None
        if value is None:
            raise Failed(f"{path} is null, expected a figure")
        return value

    def allowed(self, path: str, value: float) -> float:
        measurement, last = path.split(".", 1)[0], path.rsplit(".", 1)[-1]
        rule = (self.claims.may_change | self.claims.measurements[measurement].may_change).get(last, {})
        return max(rule.get("by", 0.0), rule.get("of_itself", 0.0) * abs(value))

    def tolerance(self, expression: str) -> float:
        """What the machine may change in the value: the sum over its paths."""
        value = self.value(expression)
        # Of a.b.c there is a.b as well, which is no figure.
        paths = {ast.unparse(node) for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Attribute)}
        whole = {path for path in paths if not any(other.startswith(path + ".") for other in paths)}
        moved: list[float] = [abs(self.value(expression, path) - value) for path in whole]
        return sum(moved)


def member(value: Any, key: str) -> Any:
    """Of an object by its name; of a list the element with that label, or `_0`, `_1` and so on."""
    if isinstance(value, dict):
        return value[key]
    if re.fullmatch(r"_\d+", key):
        return value[int(key[1:])]
    return {label(element): element for element in value}[key]


def label(element: dict[str, Any]) -> str:
    """`base`, `expert`, and for what has an α `steered_0_75`."""
    name = next((element[key] for key in ("role", "kind", "roles", "name") if key in element), "")
    name = name[0] if isinstance(name, list) else name
    alpha = element.get("alpha")
    return name if alpha is None else f"{name}_{alpha:g}".replace(".", "_")
