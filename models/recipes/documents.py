"""Texts to tune on: plain documents, which are learnt whole, or prompts with answers, of which the answers are.

mine.txt     documents, each with a line `<|endoftext|>` behind it; or one running text with blank lines in it
mine.jsonl   one JSON object a line: `prompt` and `answer` (or `completion`), `question` and `answer`, or
             `messages`, of which the last is the assistant's
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from heldout import SEPARATOR, read_text, sha256_fraction, split_blocks, split_documents

ANSWERS = {"prompt": ("answer", "completion"), "question": ("answer",)}
# What is held out at most of each of the two parts, in documents and by share: more would cost time, and tells little.
MAX_HELD, MAX_SHARE = 500, 0.10


@dataclass(frozen=True)
class Document:
    """`messages` before the answer: empty for plain text."""

    answer: str
    messages: tuple[tuple[str, str], ...] = ()

    def line(self) -> str:
        """As JSON, to be read again by `read_lines` and by `proxytune`."""
        if len(self.messages) == 1 and self.messages[0][0] == "user":
            return json.dumps({"prompt": self.messages[0][1], "answer": self.answer}, ensure_ascii=False)
        messages = [*self.messages, ("assistant", self.answer)]
        return json.dumps({"messages": [{"role": r, "content": c} for r, c in messages]}, ensure_ascii=False)


def of_object(found: object) -> Document:
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    if "messages" in found:
        *before, last = [(message["role"], message["content"]) for message in found["messages"]]
        if last[0] != "assistant" or not before:
            raise ValueError(f"the last of `messages` has the role {last[0]}, expected an assistant's behind others")
        return Document(last[1], tuple(before))
    for prompt, answers in ANSWERS.items():
        for answer in answers:
            if isinstance(found.get(prompt), str) and isinstance(found.get(answer), str):
                return Document(found[answer], (("user", found[prompt]),))
    raise ValueError(f"expected texts `prompt` and `answer`, or `messages`, got {', '.join(found) or 'nothing'}")


def read_lines(path: Path) -> list[Document]:
    documents = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = of_object(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path}, line {number}: {error}") from None
        if not document.answer.strip():
            raise SystemExit(f"{path}, line {number}: the answer is empty")
        documents.append(document)
    return documents


def read(path: Path) -> dict[str, list[Document]]:
    """The parts `train`, `val` and `test`: the last two are held out. A document's own hash decides; of a running text
    the end is held out."""
    if path.suffix == ".jsonl":
        parts: dict[str, list[Document]] = {"val": [], "test": [], "train": []}
        documents = sorted(dict.fromkeys(read_lines(path)), key=lambda document: sha256_fraction(document.line()))
        n_held = min(MAX_HELD, int(len(documents) * MAX_SHARE))
        parts["val"], parts["test"] = documents[:n_held], documents[n_held : 2 * n_held]
        parts["train"] = documents[2 * n_held :]
    else:
        text = read_text(path)
        split = (
            split_documents([each.strip() for each in text.split(SEPARATOR)])
            if SEPARATOR in text
            else split_blocks(text)
        )
        parts = {part: [Document(each) for each in found] for part, found in split.items()}
    for part, found in parts.items():
        if not found:
            raise SystemExit(
                f"{path}: no document is left for the part `{part}`\n"
                f"hint: give more, each with {SEPARATOR} behind it, or as lines of JSON in a file that ends in .jsonl"
            )
    return parts


def write(path: Path, documents: list[Document]) -> None:
    """For `proxytune perplexity -f` and `calibrate -f`: lines of JSON, or plain text."""
    if documents[0].messages:
        text = "".join(document.line() + "\n" for document in documents)
    else:
        text = "\n\n".join(document.answer for document in documents) + "\n"
    path.write_text(text, encoding="utf-8")
