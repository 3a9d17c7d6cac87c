"""Greedy texts: the same whatever is drafted, cached or taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from server import PATIENCE, Server

from conftest import Report
from program import generate, prose, run, serving

PROMPT = "Write a Python function that adds two numbers, then one that multiplies them.\n"
# What one and several tokens at once may differ by on K-quants, in nats, where the text goes another way.
NEAR_TIE = 0.5


def pirate(smollm2: Path) -> list[object]:
    """SmolLM2 steered towards itself as a pirate: base, expert and antiexpert on one model."""
    return ["-m", smollm2, "-me", "base", "--expert-system", "You are a pirate.", "-ma", "base", "--alpha", "0.5"]


@pytest.mark.parametrize("drafts", [["--draft", "1"], ["--draft", "5"], ["--draft", "8", "--drafter", "lookup"], []])
def test_drafts_change_nothing(smollm2: Path, drafts: list[str]) -> None:
    asked = [*pirate(smollm2), "-p", PROMPT, "-n", "64", "--deterministic"]
    alone = generate(*asked, "--draft", "off")
    drafted = generate(*asked, *drafts)
    assert drafted["tokens"] == alone["tokens"] and drafted["text"] == alone["text"]
    assert drafts == [] or drafted["generation"]["n_drafted"] > 0


def test_drafts_change_nothing_in_k_quants(large: Path, twin: Path, small: Path) -> None:
    trio = ["-m", large, "-me", twin, "-ma", small, "-p", PROMPT, "-n", "48", "--draft"]
    plain = generate(*trio, "off")
    for drafts in (["4"], ["auto"], ["4", "--deterministic"]):
        done = generate(*trio, *drafts)
        expected = generate(*trio, "off", "--deterministic") if "--deterministic" in drafts else plain
        assert done["generation"]["n_drafted"] > 0 and done["tokens"] == expected["tokens"], drafts


def test_llama_cpps_kernels_draft_nothing_in_k_quants_if_deterministic(large: Path, twin: Path, small: Path) -> None:
    trio = ["-m", large, "-me", twin, "-ma", small, "-p", PROMPT, "-n", "8", "--deterministic", "--kernels", "off"]
    done = generate(*trio)
    assert done["generation"]["n_drafted"] == 0 and done["tokens"] == generate(*trio, "--draft", "off")["tokens"]
    assert "q4_K" in run("generate", *trio, "--draft", "4", code=2).err


@pytest.mark.parametrize("drafter", ["lookup", "expert"])
def test_drafts_on_k_quants_differ_by_rounding(
    large: Path, twin: Path, small: Path, drafter: str, report: Report
) -> None:
    trio = ["-m", large, "-me", twin, "-ma", small, "-p", PROMPT, "-n", "48", "--n-probs", "4", "--kernels", "off"]
    one_by_one = generate(*trio, "--draft", "off")
    drafted = generate(*trio, "--draft", "4", "--drafter", drafter)
    assert drafted["generation"]["n_accept"] > 0
    report(f"Qwen trio, drafts by {drafter}", agreement(one_by_one, drafted))


def agreement(one: Any, other: Any) -> str:
    """How far two texts are the same; where they part, both tokens have to be as good as the same."""
    pairs = list(zip(one["tokens"], other["tokens"], strict=False))
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    n_drafted, n_accept = (other["generation"][key] for key in ("n_drafted", "n_accept"))
    told = f"the first {same} of {len(pairs)} tokens are the same, {n_accept} of {n_drafted} drafts accepted"
    if same == len(pairs):
        return told
    top = {entry["id"]: entry["logprob"] for entry in one["probs"][same]["top"]}
    other_token = other["tokens"][same]
    assert other_token in top, f"at {same} another text, with no rounding to blame: {top}, {other_token}"
    gap = max(top.values()) - top[other_token]
    assert gap < NEAR_TIE, f"at {same} another text, by {gap} nats"
    return f"{told}; then a tie within {gap:.3f} nats"


def test_a_sliding_window_is_rolled_back(exact_gemma: Path) -> None:
    """Drafts that are refused are taken back beyond a window of 512 tokens."""
    asked = ["-m", exact_gemma, "-p", prose(4000), "-n", "48", "-c", "2048", "--deterministic"]
    alone = generate(*asked, "--draft", "off")
    assert len(alone["prompt_tokens"]["base"]) > 2 * 512 - 200
    drafted = generate(*asked, "--draft", "4", "--drafter", "lookup")
    n_drafted, n_accept = (drafted["generation"][key] for key in ("n_drafted", "n_accept"))
    assert n_drafted > n_accept, "nothing was taken back"
    assert drafted["tokens"] == alone["tokens"]


def chat(server: Server, messages: list[dict[str, str]]) -> tuple[str, int]:
    """The answer, and how many tokens of the prompt were there already."""
    body = {"messages": messages, "max_tokens": 24, "temperature": 0}
    reply = requests.post(f"{server.v1}/chat/completions", json=body, timeout=PATIENCE)
    reply.raise_for_status()
    said = reply.json()
    return said["choices"][0]["message"]["content"], said["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_a_conversation_is_not_read_twice(smollm2: Path) -> None:
    models = ["-m", smollm2, "-c", "1024", "-np", "1", "--deterministic"]
    turns = [{"role": "system", "content": prose(600)}, {"role": "user", "content": "Who is in this story?"}]
    with serving(*models) as server:
        answer, cached = chat(server, turns)
        assert cached == 0
        turns += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And where?"}]
        second, cached = chat(server, turns)
        assert cached > 100, "the first turn"
    with serving(*models) as server:
        assert chat(server, turns) == (second, 0)


def test_a_prefix_beyond_a_sliding_window_is_reused(exact_gemma: Path) -> None:
    """A longer text first, of which the server takes back what the next one does not share."""
    shared = prose(3000)

    def complete(server: Server, end: str) -> tuple[str, int]:
        body = {"prompt": shared + end, "n_predict": 24, "temperature": 0}
        reply = requests.post(f"{server.url}/completion", json=body, timeout=PATIENCE)
        reply.raise_for_status()
        said = reply.json()
        return said["content"], said["timings"]["cache_n"]

    models = ["-m", exact_gemma, "-c", "2048", "-np", "1", "--deterministic"]
    with serving(*models) as server:
        complete(server, prose(1500, 3000))
        reused, cached = complete(server, " In the end")
        assert cached > 512
    with serving(*models) as server:
        assert complete(server, " In the end") == (reused, 0)
