"""A peer in a process of its own: requests on stdin, answers on stdout, a JSON object a line each.

Separate processes keep the peers' threads and memory apart: one waits on its stdin while another is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


class Peer(ABC):
    """A steered model, greedy, that never ends a text by itself: `base + alpha * (expert - antiexpert)`."""

    @abstractmethod
    def start(self, prompt: list[int]) -> None:
        """Forgets what was before and processes the prompt, up to the logits of the first token."""

    @abstractmethod
    def next(self) -> int:
        """The next token; decodes the one before it first, except at the start."""

    def answer(self, prompt: list[int], n_predict: int) -> dict[str, Any]:
        """Tokens, and the milliseconds from the end of the prompt to the last of them."""
        self.start(prompt)
        began = time.perf_counter()
        tokens = [self.next() for _ in range(n_predict)]
        return {"tokens": tokens, "ms": (time.perf_counter() - began) * 1e3}


def parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    for role in ("base", "expert", "antiexpert"):
        parser.add_argument(f"--{role}", type=Path, required=True)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--eos", type=int, required=True, help="token that is never chosen")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--ctx-size", type=int, required=True)
    return parser


def serve(peer: Peer, cpu: str) -> None:
    """Answers until stdin ends; the first line says what the peer uses of the CPU."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    # Whatever a library prints must not end up among the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print(json.dumps({"cpu": cpu}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(peer.answer(request["prompt"], request["n_predict"])), file=answers)
