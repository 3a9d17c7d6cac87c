"""`check` on real files: what it finds, and the memory that it predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Report
from program import THREADS, prose, run

N_CTX = "2048"
# A prompt of more than a batch of 512 tokens, so that all buffers are touched.
LONG = prose(3500)


def trio(base: Path, small: Path) -> list[object]:
    return ["-m", base, "-me", small, "-ma", small]


@pytest.fixture(params=["gemma", "smollm2", "small", "trio"])
def models(request: pytest.FixtureRequest) -> list[object]:
    """Command line of models: each by itself, and the Qwens together."""
    if request.param == "trio":
        return trio(request.getfixturevalue("large"), request.getfixturevalue("small"))
    return ["-m", request.getfixturevalue(request.param)]


def test_they_can_run(models: list[object]) -> None:
    checked = run("check", "--deep", "--json", *models).json
    assert checked["can_run"] and not [f for f in checked["findings"] if f["level"] == "refused"]
    decoded = [f for f in checked["findings"] if f["topic"] == "weights"]
    assert len(decoded) == len(checked["models"]) and all(f["level"] == "ok" for f in decoded)


def test_memory(models: list[object], report: Report) -> None:
    checked = run("check", "--json", "-c", N_CTX, *models).json
    [cpu] = checked["devices"]
    predicted = cpu["weights"] + cpu["kv"] + cpu["compute"]
    measured = run("generate", *models, *THREADS, "-c", N_CTX, "-p", LONG, "-n", "4").peak_bytes
    names = " + ".join(model["name"] for model in checked["models"])
    report(
        f"memory of {names}, {N_CTX} tokens",
        f"predicted {predicted >> 20} MiB, measured {measured >> 20} MiB ({measured / predicted:.2f} times)",
    )
    assert 0.5 < measured / predicted < 1.5


def test_other_families_are_refused(large: Path, smollm2: Path, gemma: Path) -> None:
    refused = run("check", *trio(large, smollm2), code=1).out
    assert "refused  expert vocabulary" in refused
    assert "49152 tokens where the base has 151936" in refused and "take base and pair from one family" in refused
    for base, small, n_base, n_small in [(large, smollm2, 151936, 49152), (smollm2, gemma, 49152, 262144)]:
        said = run("generate", *trio(base, small), "-p", "x", "-n", "1", code=1).err
        assert f"{n_small} tokens where the base has {n_base}" in said, said
        assert "hint: base, expert and antiexpert must come from one family" in said
