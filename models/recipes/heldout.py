"""Which documents of a text are held out. Nothing but Python, so that `make report` makes the same files again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

TEST_SHARE, VAL_SHARE = 0.10, 0.08
SEPARATOR = "<|endoftext|>"
BLOCKS_PER_DOCUMENT = 30


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path} is no UTF-8 text that can be read: {error}") from None


def sha256_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def tidied(document: str) -> str:
    """Without blank lines, and without blanks at the ends of lines."""
    return "\n".join(filter(None, (line.strip() for line in document.splitlines())))


def split_documents(documents: list[str]) -> dict[str, list[str]]:
    """A document's own hash decides where it goes. Equal ones count once."""
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for document in filter(None, dict.fromkeys(documents)):
        at = sha256_fraction(document)
        parts["test" if at < TEST_SHARE else "val" if at < TEST_SHARE + VAL_SHARE else "train"].append(document)
    return parts


def split_blocks(text: str) -> dict[str, list[str]]:
    """Running text, such as plays, in runs of blocks between blank lines; the file's end is the test text, what stands
    before it the validation text."""
    blocks = re.split(r"\n\s*\n", text.strip())
    n_train = round(len(blocks) * (1 - TEST_SHARE - VAL_SHARE))
    n_val = round(len(blocks) * VAL_SHARE)
    parts = {
        "train": blocks[:n_train],
        "val": blocks[n_train : n_train + n_val],
        "test": blocks[n_train + n_val :],
    }
    return {
        part: ["\n\n".join(run[i : i + BLOCKS_PER_DOCUMENT]) for i in range(0, len(run), BLOCKS_PER_DOCUMENT)]
        for part, run in parts.items()
    }


def stories_of(path: Path) -> dict[str, list[str]]:
    """The parts of a sample of stories, with `<|endoftext|>` after each."""
    *documents, _cut_off = read_text(path).split(SEPARATOR)
    if not documents:
        raise SystemExit(f"{path}: expected {SEPARATOR} after each story, got none")
    return split_documents([tidied(document) for document in documents])


def write_heldout(name: str, parts: dict[str, list[str]], out: Path) -> None:
    """What is held out of a domain, as plain text."""
    for part, title in (("val", "validation"), ("test", "heldout")):
        (out / f"{title}-{name}.txt").write_text("\n\n".join(parts[part]) + "\n", encoding="utf-8")
