"""Numbers of real models: the sum in NumPy, and what is said of probabilities."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from conftest import Report
from program import BUILT, generate, run

ALPHA = 0.7
# Of the largest logit, for a sum in float32.
TOLERANCE = 1e-5


def test_the_sum_is_that_of_numpy(large: Path, other_small: Path, small: Path, tmp_path: Path, report: Report) -> None:
    recipe, out = tmp_path / "trio.toml", tmp_path / "rows.bin"
    recipe.write_text(
        f"base = '{large}'\n[[pair]]\nexpert = '{other_small}'\nantiexpert = '{small}'\nalpha = {ALPHA}\n"
    )
    run(recipe, 'fn main() { println!("hello"); }\n', out, program=BUILT / "examples" / "rows")
    head, rest = out.read_bytes().split(b"\n", 1)
    about = json.loads(head)
    assert about["arrays"] == ["base", "expert", "antiexpert", "composed"]
    assert about["n_vocab"] == 151_936 and about["alpha"] == pytest.approx(ALPHA)
    arrays = np.frombuffer(rest, "<f4").reshape(4, len(about["tokens"]), about["n_vocab"]).astype(np.float64)
    base, expert, antiexpert, composed = arrays
    assert np.isfinite(arrays).all() and np.abs(expert - antiexpert).max() > 0.1, "the pair says something"
    wanted = base + np.float64(np.float32(ALPHA)) * (expert - antiexpert)
    off = np.abs(composed - wanted).max() / np.abs(wanted).max()
    report("steered sum beside NumPy", f"off by {off:.1e} of the largest logit, {wanted.shape[0]} rows of 151,936")
    assert off < TOLERANCE


@pytest.mark.parametrize("name", ["gemma", "smollm2", "small"])
def test_probabilities_sum_to_no_more_than_one(name: str, request: pytest.FixtureRequest) -> None:
    model: Path = request.getfixturevalue(name)
    said = generate("-m", model, "-p", "The capital of France is", "-n", "8", "--n-probs", "50")
    assert len(said["probs"]) == 8
    for position in said["probs"]:
        top = [entry["logprob"] for entry in position["top"]]
        assert len(top) == 50 and top == sorted(top, reverse=True)
        assert position["id"] == position["top"][0]["id"] and position["logprob"] == top[0], "greedy"
        assert 0.1 < math.fsum(map(math.exp, top)) <= 1 + 1e-6


def test_all_of_a_vocabulary_sums_to_one(gemma: Path) -> None:
    """262,144 tokens, an embedding that is the output as well."""
    [position] = generate("-m", gemma, "-p", "Hello", "-n", "1", "--n-probs", "262144")["probs"]
    assert len(position["top"]) == 262_144 == len({entry["id"] for entry in position["top"]})
    assert math.fsum(math.exp(entry["logprob"]) for entry in position["top"]) == pytest.approx(1, abs=1e-4)
