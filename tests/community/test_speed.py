"""Tokens a second of the Qwen trio, for the summary."""

from __future__ import annotations

from pathlib import Path

from conftest import Report
from program import THREADS, run

N_TOKENS = "32"


def test_bench(large: Path, twin: Path, small: Path, report: Report) -> None:
    """Expert and antiexpert are one file, loaded and decoded as two models: what a tuned expert would cost."""
    trio = ["-m", large, "-me", twin, "-ma", small]
    rows = run("bench", *trio, *THREADS, "-p", "0", "-n", N_TOKENS, "-r", "1", "-o", "json").json
    speeds = {row["role"]: row["avg_ts"] for row in rows}
    for role in ("base", "expert", "steered, lockstep", "steered, speculative"):
        report(
            f"Qwen trio, {role}",
            f"{speeds[role]:.2f} tokens/s, {THREADS[1]} threads",
        )
        assert speeds[role] > 0
