"""The beginnings of paragraphs of a text, chosen by hash, one a line: `prompts.py TEXT N`, as `bench -f` takes them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

N_PROMPT_WORDS = 16


def prompts(text: Path, n: int) -> list[str]:
    """The beginnings of `n` paragraphs, chosen by hash."""
    paragraphs = [" ".join(p.split()) for p in text.read_text(encoding="utf-8").split("\n\n")]
    long = [p for p in paragraphs if len(p.split()) > 2 * N_PROMPT_WORDS]
    if len(long) < n:
        raise SystemExit(f"{text} has {len(long)} long paragraphs, fewer than {n}")
    chosen = sorted(long, key=lambda paragraph: hashlib.sha256(paragraph.encode()).digest())[:n]
    return [" ".join(paragraph.split()[:N_PROMPT_WORDS]) for paragraph in chosen]


if __name__ == "__main__":
    print("\n".join(prompts(Path(sys.argv[1]), int(sys.argv[2]))))
