"""lm-evaluation-harness, `local-completions` with the server's tokenizer, beside NumPy and beside `eval`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import lm_eval
from lm_eval.tasks import TaskManager
from lm_eval.utils import RemoteTokenizer

from reference import Trio, write_trio
from server import PROGRAM, Server

TOLERANCE = 1e-3
# Between two ways through the same program.
CLOSE = 1e-5
BOS = "<|bos|>"
N_WRITTEN = 6

DOCUMENTS = [
    {"text": "Once upon a time there was a little", "choices": ["girl", "boy", "stone", "king of the sea"], "gold": 0},
    {"text": "The dog was very", "choices": ["happy", "sad because he had lost his ball", "philosophical"], "gold": 0},
    {"text": "One morning the boy went to the river and", "choices": ["saw a big fish", "said"], "gold": 0},
]
# The same tasks for `proxytune eval`.
EVAL_TASKS = {
    "choose": """
metric = "multiple_choice"
prompt = "{{text}}"
choices = "choices"
answer = "gold"
""",
    "write": """
metric = "exact_match"
prompt = "{{text}}"
answer = "{{choices[gold]}}"
max_tokens = 6
stop = ["\\n\\n\\n"]
[[filter]]
name = "whole"
pattern = "(?s).*"
take = "first"
""",
}
# In float32 throughout: llama.cpp's flash attention rounds to float16 on its way.
EXACT = ("-fa", "off", "-ctk", "f32", "-ctv", "f32")
COMMON = {"dataset_path": "json", "test_split": "test", "metadata": {"version": 1}}
TASKS: dict[str, dict[str, Any]] = {
    "choose": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
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
    arguments = ("--temp", "0", "-np", "4", "-c", "1024", *EXACT)
    with Server(*arguments, recipe=str(trio / "exact.toml")) as server:
        yield server


Samples = dict[str, list[dict[str, Any]]]


def write_documents(folder: Path, before: str = "") -> Path:
    documents = folder / "documents.jsonl"
    lines = [json.dumps(document | {"text": before + str(document["text"])}) for document in DOCUMENTS]
    documents.write_text("\n".join(lines) + "\n")
    return documents


def harness(server: Server, documents: Path, names: list[str]) -> Samples:
    """What the harness asked, and the answers that it read, by task."""
    os.environ["HF_DATASETS_CACHE"] = str(documents.parent / "cache")
    files = {"dataset_kwargs": {"data_files": {"test": str(documents)}}}
    tasks = [{"task": name, **COMMON, **files, **TASKS[name]} for name in names]
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "exact",
            "base_url": f"{server.v1}/completions",
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
def samples(exact: Server, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return harness(exact, write_documents(tmp_path_factory.mktemp("tasks")), list(TASKS))


@pytest.fixture(scope="module")
def samples_behind_bos(exact: Server, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """With the BOS that `eval` puts in front, and the harness does not know of."""
    folder = tmp_path_factory.mktemp("tasks-behind-bos")
    return harness(exact, write_documents(folder, BOS), list(EVAL_TASKS))


@pytest.fixture(scope="module")
def reference(trio: Path) -> Trio:
    return Trio(trio)


@pytest.fixture(scope="module")
def tokenizer(exact: Server) -> RemoteTokenizer:
    return RemoteTokenizer(f"{exact.v1}/completions")


def test_continuations_have_the_scores_of_the_reference(
    samples: Samples, tokenizer: RemoteTokenizer, reference: Trio
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


def test_texts_have_the_scores_of_the_reference(samples: Samples, tokenizer: RemoteTokenizer, reference: Trio) -> None:
    # To the harness a BOS of id 0 is none.
    first = tokenizer.bos_token_id or tokenizer.eos_token_id
    for sample in samples["roll"]:
        [(text,)] = sample["arguments"]
        [[score]] = sample["resps"]
        expected, _ = reference.score([first], tokenizer.encode(text))
        assert float(score) == pytest.approx(expected, abs=TOLERANCE), text


def test_texts_that_are_written_are_the_references(
    samples: Samples, tokenizer: RemoteTokenizer, reference: Trio
) -> None:
    for sample in samples["write"]:
        [(context, _)] = sample["arguments"]
        [[text]] = sample["resps"]
        assert text == tokenizer.decode(reference.greedy(tokenizer.encode(context), N_WRITTEN)), context


@pytest.fixture(scope="module")
def evaluated(trio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, list[Any]]]:
    """What `proxytune eval` prints of the steered model for the same documents, and its records, by task."""
    folder = tmp_path_factory.mktemp("eval")
    documents = write_documents(folder)
    found = {}
    for name, task in EVAL_TASKS.items():
        file, results = folder / f"{name}.toml", folder / f"{name}.jsonl"
        file.write_text(task)
        arguments = ["--data", documents, "--results", results, "-R", trio / "exact.toml", "--contenders", "steered"]
        command = [PROGRAM, "eval", file, *arguments, "--json", "-t", "1", *EXACT]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = [json.loads(line) for line in results.read_text().splitlines()[1:]]
        [row] = json.loads(output)["results"]
        found[name] = row, sorted(lines, key=lambda line: line["item"])
    return found


def test_eval_scores_choices_as_the_harness_does(
    samples_behind_bos: Samples, evaluated: dict[str, tuple[Any, list[Any]]]
) -> None:
    row, records = evaluated["choose"]
    for sample, record in zip(samples_behind_bos["choose"], records, strict=True):
        scores = [float(score) for [(score, _)] in sample["resps"]]
        assert record["answer"]["scored"]["logprobs"] == pytest.approx(scores, abs=CLOSE)
    for metric in ("acc", "acc_norm"):
        harness = [sample[metric] for sample in samples_behind_bos["choose"]]
        assert [record["scores"][metric] for record in records] == harness
        assert row["scores"][metric]["mean"] == pytest.approx(sum(harness) / len(harness))


def test_eval_scores_what_is_written_as_the_harness_does(
    samples_behind_bos: Samples, evaluated: dict[str, tuple[Any, list[Any]]]
) -> None:
    row, records = evaluated["write"]
    for sample, record in zip(samples_behind_bos["write"], records, strict=True):
        [[text]] = sample["resps"]
        assert record["answer"]["written"]["text"] == text
    harness = [sample["exact_match"] for sample in samples_behind_bos["write"]]
    assert row["scores"]["whole"]["mean"] == pytest.approx(sum(harness) / len(harness))
