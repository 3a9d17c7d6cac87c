"""The models, and what was measured on them, which is printed at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from retype import retype

import fetch

Report = Callable[[str, str], None]

MEASURED: list[tuple[str, str]] = []


@pytest.fixture
def report() -> Report:
    """Keeps a figure for the summary: what it is of, and what it is."""
    return lambda what, figure: MEASURED.append((what, figure))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = [model.name for model in fetch.MODELS if not fetch.is_there(model)]
    if missing:
        terminalreporter.section("models that could not be had")
        for name in missing:
            terminalreporter.write_line(f"{name}: its tests were skipped")
    if MEASURED:
        terminalreporter.section("measured")
        width = max(len(what) for what, _ in MEASURED)
        for what, figure in MEASURED:
            terminalreporter.write_line(f"{what:{width}}  {figure}")


def there(model: fetch.Model) -> Path:
    if not fetch.is_there(model):
        pytest.skip(f"{model.name} is not in {fetch.folder()}: python tests/community/fetch.py {model.name}")
    return model.path


@pytest.fixture(scope="session")
def large() -> Path:
    """Qwen2.5-Coder 1.5B Instruct, Q4_K_M."""
    return there(fetch.QWEN_LARGE)


@pytest.fixture(scope="session")
def small() -> Path:
    """Qwen2.5-Coder 0.5B Instruct, Q4_K_M."""
    return there(fetch.QWEN_SMALL)


@pytest.fixture(scope="session")
def gemma() -> Path:
    """Gemma 3 270M, Q4_K_M."""
    return there(fetch.GEMMA)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2 135M Instruct, Q4_1."""
    return there(fetch.SMOLLM2)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def twin(small: Path, scratch: Path) -> Path:
    """The small model under another name, so that expert and antiexpert are two models to load and to decode."""
    path = scratch / "twin.gguf"
    try:
        os.link(small, path)
    except OSError:
        shutil.copyfile(small, path)
    return path


@pytest.fixture(scope="session")
def exact_gemma(gemma: Path, scratch: Path) -> Path:
    """Gemma with all matrices in Q8_0, for which logits do not depend on how tokens are batched."""
    path = scratch / "gemma-Q8_0.gguf"
    retype(gemma, path, "Q8_0")
    return path


@pytest.fixture(scope="session")
def other_small(small: Path, scratch: Path) -> Path:
    """The small model rounded to Q4_0: an expert that differs from its antiexpert."""
    path = scratch / "small-Q4_0.gguf"
    retype(small, path, "Q4_0")
    return path
