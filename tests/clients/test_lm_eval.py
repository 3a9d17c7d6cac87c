"""lm-evaluation-harness, `local-completions` with the server's tokenizer, beside an independent computation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import lm_eval
from lm_eval.tasks import TaskManager
from lm_eval.utils import RemoteTokenizer

from reference import Trio, write_trio
from server import Server

TOLERANCE = 1e-3
N_WRITTEN = 6

DOCUMENTS = [
    {"text": "Once upon a time there was a little", "choices": ["girl", "boy", "stone", "king of the sea"], "gold": 0},
    {"text": "The dog was very", "choices": ["happy", "sad because he had lost his ball", "philosophical"], "gold": 0},
    {"text": "One morning the boy went to the river and", "choices": ["saw a big fish", "said"], "gold": 0},
]
COMMON = {"dataset_path": "json", "test_split": "test", "metadata": {"version": 1}}
TASKS: dict[str, dict[str, Any]] = {
    "choose": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    },
    "roll": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "write": {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{choices[gold]}}",
        "generation_kwargs": {"until": ["\n\n\n"], "max_gen_toks": N_WRITTEN},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trio")
    write_trio(folder)
    return folder


@pytest.fixture(scope="module")
def exact(trio: Path) -> Iterator[Server]:
    """The trio in float32 throughout: llama.cpp's flash attention rounds to float16 on its way."""
    arguments = ("--temp", "0", "-np", "4", "-c", "1024", "-fa", "off", "-ctk", "f32", "-ctv", "f32")
    with Server(*arguments, recipe=str(trio / "exact.toml")) as server:
        yield server


@pytest.fixture(scope="module")
def samples(exact: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the harness asked, and the answers that it read, by task."""
    folder = tmp_path_factory.mktemp("tasks")
    documents = folder / "documents.jsonl"
    documents.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    files = {"dataset_kwargs": {"data_files": {"test": str(documents)}}}
    tasks = [{"task": name, **COMMON, **files, **task} for name, task in TASKS.items()]
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "exact",
            "base_url": f"{exact.v1}/completions",
            "tokenizer_backend": "remote",
            "max_length": 256,
        },
        tasks=tasks,
        task_manager=TaskManager(include_defaults=False),
        batch_size=4,
        log_samples=True,
        bootstrap_iters=0,
    )
    return results["samples"]


@pytest.fixture(scope="module")
def reference(trio: Path) -> Trio:
    return Trio(trio)


@pytest.fixture(scope="module")
def tokenizer(exact: Server) -> RemoteTokenizer:
    return RemoteTokenizer(f"{exact.v1}/completions")


def test_continuations_have_the_scores_of_the_reference(
    samples: dict[str, list[dict[str, Any]]], tokenizer: RemoteTokenizer, reference: Trio
) -> None:
    n = 0
    for sample in samples["choose"]:
        for (context, continuation), [(score, is_greedy)] in zip(sample["arguments"], sample["resps"], strict=True):
            whole = tokenizer.encode(context + continuation)
            held = tokenizer.encode(context)
            expected, expected_greedy = reference.score(held, whole[len(held) :])
            assert float(score) == pytest.approx(expected, abs=TOLERANCE), continuation
            assert is_greedy in (expected_greedy, str(expected_greedy)), continuation
            n += 1
    assert n == sum(len(document["choices"]) for document in DOCUMENTS)


def test_texts_have_the_scores_of_the_reference(
    samples: dict[str, list[dict[str, Any]]], tokenizer: RemoteTokenizer, reference: Trio
) -> None:
    # To the harness a BOS of id 0 is none.
    first = tokenizer.bos_token_id or tokenizer.eos_token_id
    for sample in samples["roll"]:
        [(text,)] = sample["arguments"]
        [[score]] = sample["resps"]
        expected, _ = reference.score([first], tokenizer.encode(text))
        assert float(score) == pytest.approx(expected, abs=TOLERANCE), text


def test_texts_that_are_written_are_the_references(
    samples: dict[str, list[dict[str, Any]]], tokenizer: RemoteTokenizer, reference: Trio
) -> None:
    for sample in samples["write"]:
        [(context, _)] = sample["arguments"]
        [[text]] = sample["resps"]
        assert text == tokenizer.decode(reference.greedy(tokenizer.encode(context), N_WRITTEN)), context
