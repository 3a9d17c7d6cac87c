"""What the documents say, as data: the TOML files beside this one.

A file per document. A claim is a piece of the document's text with its figures in braces, and for each of them an
expression over what was measured:

    [[claim]]
    text = "steered − expert is {+0.019} ± {0.009}"
    is = ["stories.results.steered_0_75.against_expert", "stories.results.steered_0_75.against_expert_standard_error"]

`rows` has several texts of the same form, by what stands for ROW in the expressions. Expressions are sums, differences,
products, quotients and `exp` of numbers and of paths into the JSON of a measurement; measurements.toml has those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

try:
    import tomllib
except ImportError:
    raise SystemExit("error: Python 3.11 or newer is needed\nhint: make report PYTHON=python3.11") from None

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MEASUREMENTS = "measurements.toml"

BRACES = re.compile(r"\{([^{}]*)\}")
# What `uncovered` looks for: decimal fractions, percentages, thousands. And what it leaves out: code, the targets of
# links, addresses, and the names of papers, models and licences.
FIGURE = re.compile(r"\d[\d,]*\.\d+|\d+(?= ?%)|\d{1,3}(?:,\d{3})+")
NO_FIGURE = re.compile(
    r"^    .*$|`[^`\n]*`|\]\([^)]*\)|https?:\S+"
    r"|arXiv \d+\.\d+|(?:Qwen|Apache|CC0)[ -]\d\.\d|CDLA-Sharing-1\.0|\d\.\d ?B\b",
    re.MULTILINE,
)
NEWLINE = "\n"


class Wrong(Exception):
    """The claims do not fit the documents, or themselves."""


@dataclass(frozen=True)
class Claim:
    """Figures of a document, and the expressions that they are held against."""

    text: str
    """As it stands in the document."""
    figures: list[str]
    expressions: list[str]


@dataclass(frozen=True)
class Samples:
    """Texts that the document shows below its prompts, a table row for each role."""

    measurement: str
    below: str
    """The heading or the sentence in front of them."""
    at_least: int
    """Words that the texts have in common with the document's, as a median over the prompts."""
    roles: list[str]
    """Whose texts; those of the others are not compared."""


@dataclass(frozen=True)
class Document:
    path: str
    claims: list[Claim]
    samples: list[Samples]
    not_reproduced: dict[str, list[str]]
    """Texts and headings of the document, by why."""
    settings: list[str]
    """Texts whose numbers are nobody's result."""
    text: str


@dataclass(frozen=True)
class Measurement:
    """Either a command of the program that prints JSON, or something that `measure.py` does."""

    name: str
    kind: str
    run: str
    """Divided at blanks."""
    words: list[str]
    """Behind it, as they are."""
    slow: bool
    may_change: dict[str, dict[str, float]]
    """As that of all, and before it."""


@dataclass(frozen=True)
class Claims:
    measurements: dict[str, Measurement]
    may_change: dict[str, dict[str, float]]
    """How far a figure may be from that of the document for the machine's sake, by the last name of its path."""
    documents: list[Document] = field(default_factory=list)


def load() -> Claims:
    """Raises `Wrong` where a text is not in its document any more."""
    table = tomllib.loads((HERE / MEASUREMENTS).read_text(encoding="utf-8"))
    measurements = {
        name: Measurement(
            name,
            found.get("kind", "program"),
            found["run"],
            found.get("words", []),
            found.get("slow", False),
            found.get("may_change", {}),
        )
        for name, found in table["measure"].items()
    }
    claims = Claims(measurements, table["may_change"])
    for path in sorted(HERE.glob("*.toml")):
        if path.name not in (MEASUREMENTS, "pyproject.toml"):
            claims.documents.append(document(tomllib.loads(path.read_text(encoding="utf-8"))))
    for used in {name for each in claims.documents for name in names(each)}:
        if used not in measurements:
            raise Wrong(f"there is no measurement {used}")
    return claims


def document(table: dict[str, Any]) -> Document:
    path = table["document"]
    text = (ROOT / path).read_text(encoding="utf-8")
    claims = [claim for found in table.get("claim", []) for claim in claims_of(found)]
    samples = [
        Samples(found["samples"], found["below"], found["at_least"], found["roles"]) for found in table.get("texts", [])
    ]
    not_reproduced = {group["because"]: group["texts"] for group in table.get("not_reproduced", [])}
    settings = table.get("settings", [])
    others = [*(each.below for each in samples), *chain(*not_reproduced.values()), *settings]
    for each in [*(claim.text for claim in claims), *others]:
        try:
            place(text, each)
        except Wrong as wrong:
            raise Wrong(f"{path}: {wrong}") from None
    return Document(path, claims, samples, not_reproduced, settings, text)


def claims_of(table: dict[str, Any]) -> Iterator[Claim]:
    """One, or one for each row."""
    rows = table.get("rows") or {"": table["text"]}
    for row, text in rows.items():
        figures = BRACES.findall(text)
        expressions = [expression.replace("ROW", row) for expression in table["is"]]
        if len(figures) != len(expressions):
            raise Wrong(f"{len(figures)} figures and {len(expressions)} expressions: {text}")
        yield Claim(BRACES.sub(r"\1", text), figures, expressions)


def names(document: Document) -> set[str]:
    """The measurements that it needs."""
    return {name for claim in document.claims for each in claim.expressions for name in measured_by(each)} | {
        samples.measurement for samples in document.samples
    }


def measured_by(expression: str) -> set[str]:
    """The first names of its paths."""
    return set(re.findall(r"(?<![\w.])([a-z]\w*)\.", expression))


def uncovered(document: Document) -> list[str]:
    """Figures of which neither a claim nor a remark speaks, with their lines."""
    covered = [place(document.text, claim.text) for claim in document.claims]
    covered += [
        section(document.text, text) for text in [*chain(*document.not_reproduced.values()), *document.settings]
    ]
    covered += [to_the_next_heading(document.text, samples.below) for samples in document.samples]
    covered += [found.span() for found in NO_FIGURE.finditer(document.text)]
    return [
        f"{document.path}:{document.text.count(NEWLINE, 0, found.start()) + 1}: {found[0]}"
        for found in FIGURE.finditer(document.text)
        if not any(start <= found.start() and found.end() <= end for start, end in covered)
    ]


def place(within: str, text: str) -> tuple[int, int]:
    """Where it stands, broken into lines in whatever way. It has to stand in one place."""
    found = list(re.finditer(r"\s+".join(map(re.escape, text.split())), within))
    if len(found) != 1:
        raise Wrong(f"{len(found)} places, expected 1: {text}")
    return found[0].span()


def to_the_next_heading(within: str, text: str, level: int = 6) -> tuple[int, int]:
    """Of this level or above it."""
    start, end = place(within, text)
    following = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(within, end)
    return start, following.start() if following else len(within)


def section(within: str, text: str) -> tuple[int, int]:
    """Where it stands, and for a heading all that stands below it."""
    level = re.match(r"(#+) ", text)
    return to_the_next_heading(within, text, len(level[1])) if level else place(within, text)
