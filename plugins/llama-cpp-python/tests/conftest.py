"""The bundled trio in a real ``llama_cpp.Llama``, and the library and program that cargo built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import llama_cpp
import pytest

import proxytune

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "models" / "demo"
BASE, EXPERT, ANTIEXPERT = (DEMO / f"{role}.gguf" for role in ("base", "expert", "antiexpert"))
PAIR: dict[str, Any] = {"expert": EXPERT, "antiexpert": ANTIEXPERT, "n_threads": 1}

SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
os.environ.setdefault("PROXYTUNE_SAMPLER", str(BUILT / f"libproxytune_sampler{SUFFIX}"))
PROGRAM = Path(os.environ.get("PROXYTUNE", BUILT / "proxytune"))

PROMPT = "The dog was"


def open_llama(**kwargs: Any) -> llama_cpp.Llama:
    """The base, unless another model_path is passed, with flash attention as proxytune has it: else it would round
    otherwise."""
    defaults = {"model_path": str(BASE), "n_ctx": 512, "n_threads": 1, "n_threads_batch": 1, "flash_attn": True}
    return llama_cpp.Llama(**{**defaults, "verbose": False, **kwargs})


@pytest.fixture
def llama() -> Iterator[llama_cpp.Llama]:
    llama = open_llama()
    yield llama
    llama.close()


@pytest.fixture
def steered(llama: llama_cpp.Llama) -> Iterator[llama_cpp.Llama]:
    with proxytune.steer(llama, **PAIR):
        yield llama


def complete(llama: llama_cpp.Llama, prompt: Any = PROMPT, **kwargs: Any) -> str:
    """A greedy text."""
    answer: Any = llama.create_completion(prompt, **{"max_tokens": 24, "temperature": 0.0, **kwargs})
    text: str = answer["choices"][0]["text"]
    return text


def greedy(llama: llama_cpp.Llama, prompt: str = PROMPT, n: int = 24) -> list[int]:
    """The ids of a greedy text, with the one that ends it."""
    tokens: list[int] = []
    for token in llama.generate(llama.tokenize(prompt.encode()), temp=0.0):
        tokens.append(token)
        if len(tokens) == n or llama_cpp.llama_vocab_is_eog(llama._model.vocab, token):
            break
    return tokens


Program = Callable[..., "list[int]"]


@pytest.fixture
def program() -> Program:
    """The ids that `proxytune generate --temp 0` makes of a prompt."""

    def run(*args: object, prompt: str = PROMPT, n: int = 24) -> list[int]:
        trio = ["-m", BASE, "-me", EXPERT, "-ma", ANTIEXPERT]
        command = [PROGRAM, "generate", *trio, "--temp", 0, "-n", n, "-t", 1, "--json", "-p", prompt, *args]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
        tokens: list[int] = json.loads(done.stdout)["tokens"]
        return tokens

    return run
