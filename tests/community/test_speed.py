"""Tokens a second of the Qwen trio, for the summary."""

from __future__ import annotations

from pathlib import Path

from conftest import Report
from program import THREADS, run

N_TOKENS = "32"
PROMPTS = "Write a Python function that merges two sorted lists.\n\nOnce upon a time there was a little girl who\n"


def test_bench(large: Path, twin: Path, small: Path, tmp_path: Path, report: Report) -> None:
    """Expert and antiexpert are one file, loaded and decoded as two models: what a tuned expert would cost."""
    trio = ["-m", large, "-me", twin, "-ma", small]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(PROMPTS)
    measured = run("bench", *trio, *THREADS, "-f", prompts, "-p", "0", "-n", N_TOKENS, "-r", "1", "-o", "json").json
    speeds = {(row["role"], row["how"]): row["avg_ts"] for row in measured["results"]}
    for role, how in [("base", "alone"), ("expert", "alone"), ("steered", "lockstep"), ("steered", "speculative")]:
        speed = speeds[role, how]
        report(f"Qwen trio, {role} {how}", f"{speed:.2f} tokens/s, {THREADS[1]} threads")
        assert speed > 0
