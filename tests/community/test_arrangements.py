"""The other sums on real models: guidance, context-aware and contrastive decoding, by the bundled recipes."""

from __future__ import annotations

import math
from pathlib import Path

from program import generate

HOW = ("-n", "24")
# The recipe's.
PLAUSIBILITY = 0.1
# The log-probability of what a cut leaves out is the least float.
CUT = -1e30


def test_guidance(small: Path) -> None:
    asked = ("-m", small, "-p", "The king took his sword and", *HOW)
    guided = generate("-R", "guidance", *asked)
    assert guided["text"].strip() and guided["prompt_tokens"]["base"] != guided["prompt_tokens"]["antiexpert"]
    assert generate("-R", "guidance", "--alpha", "0", *asked)["tokens"] != guided["tokens"], "it does something"


def test_context_aware(small: Path) -> None:
    asked = ("-R", "context-aware", "-m", small, "-p", "The captain called his dog, whose name was", *HOW)
    assert "Rover" in generate(*asked)["text"]
    others = generate(*asked, "-sys", "The dog of Captain Barker was called Whiskers.")
    assert "Whiskers" in others["text"], "the context is what counts"


def test_contrastive(large: Path, small: Path) -> None:
    """The large model minus the small one, among what the large one finds plausible."""
    asked = ("-m", large, "-ma", small, "-p", "def fibonacci(n):\n", *HOW, "--n-probs", "8")
    positions = generate("-R", "contrastive", *asked)["probs"]
    assert any(position["changed"] for position in positions), "it does something"
    for position in positions:
        top = [entry for entry in position["top"] if entry["logprob"] > CUT]
        best = max(entry["base"] for entry in top)
        assert all(entry["base"] >= best - math.log(1 / PLAUSIBILITY) - 1e-4 for entry in top), position
