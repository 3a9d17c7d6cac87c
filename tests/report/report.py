"""Measures again what the model cards, README and docs/measuring.md state, and says where it differs.

    python3 tests/report/report.py [--only MEASUREMENT,…] [--list]

The shipped files are enough for most of it. Environment: STORIES names the sample of TinyStories (2.1 MB, with
<|endoftext|> after each story), GSM8K a folder with train.jsonl and test.jsonl, TRIVIA the file `geography` of
OpenTriviaQA; SLOW=1 adds what takes hours. tests/community/fetch.py brings the two Qwen models. Without them the
figures that need them are listed as not run.

A figure agrees if it is that of the document to the digits printed, and up to what another machine may change: matrix
products are rounded in another order there. How much that is stands in measurements.toml, under may_change.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path

import claims
import measure
from claims import Claim, Document, Samples
from measure import Figures

AGREES, DIFFERS, NOT_RUN = "agrees", "differs", "not run"
WIDTH = 68


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure, or the texts of a role."""

    document: str
    claim: str
    stated: str
    measured: str
    verdict: str
    why: str = ""


def figures(document: Document, claim: Claim, found: Figures, missing: dict[str, str]) -> list[Line]:
    lines = []
    for stated, expression in zip(claim.figures, claim.expressions, strict=True):
        absent = [missing[name] for name in sorted(claims.measured_by(expression)) if name in missing]
        if absent:
            lines.append(Line(document.path, claim.text, stated, "", NOT_RUN, absent[0]))
            continue
        try:
            value = found.value(expression)
        except measure.Failed as failed:
            lines.append(Line(document.path, claim.text, stated, "none", DIFFERS, str(failed)))
            continue
        if isinstance(value, str):
            agrees, shown = value == stated, value
        else:
            digits = len(stated.partition(".")[2])
            rounding = 0.5 * 10.0**-digits
            allowed = rounding + found.tolerance(expression) + 1e-9
            agrees = abs(value - number(stated)) <= allowed
            expression = f"{allowed:.2g} is allowed; {expression}"
            shown = str(value) if isinstance(value, int) else f"{value:.{digits + 1}f}"
        lines.append(Line(document.path, claim.text, stated, shown, AGREES if agrees else DIFFERS, expression))
    return lines


def number(stated: str) -> float:
    return float(stated.replace("−", "-").replace(",", ""))


def texts(document: Document, samples: Samples, found: Figures, missing: dict[str, str]) -> list[Line]:
    """A sampled text parts from the stated one where rounding turns a draw, and never meets it again. So what counts is
    how many words they begin with in common; with another seed that is none."""
    if samples.measurement in missing:
        return [Line(document.path, samples.below, "texts", "", NOT_RUN, missing[samples.measurement])]
    n_common: dict[str, list[int]] = {}
    n_same: Counter[str] = Counter()
    for prompt, runs in found.measured[samples.measurement].items():
        stated = rows_below(document, samples.below, prompt)
        for role, text in ((role, runs[role]) for role in samples.roles):
            # Slashes stand for line breaks.
            ours, theirs = ([word for word in each.split() if word != "/"] for each in (text, stated.get(role, "")))
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
            n_common.setdefault(role, []).append(common)
            n_same[role] += ours == theirs
    lines = []
    for role, counts in n_common.items():
        median = statistics.median(counts)
        measured = f"{n_same[role]} the same; median of words in common: {median:g}"
        verdict = AGREES if median >= samples.at_least else DIFFERS
        why = f"at least {samples.at_least} are expected; {samples.measurement}"
        lines.append(Line(document.path, f"{samples.below}: {role}", f"{len(counts)} texts", measured, verdict, why))
    return lines


def rows_below(document: Document, below: str, prompt: str) -> dict[str, str]:
    """The cells of the table below “prompt …”."""
    at = document.text.find(f"“{prompt} …”", claims.place(document.text, below)[0])
    if at < 0:
        return {}
    _, _, _, _, *lines = document.text[at:].split("\n")
    rows = takewhile(lambda line: line.startswith("| "), lines)
    return {role.strip(): text.strip() for _, role, text, _ in (row.split("|") for row in rows)}


def run_all(all_claims: claims.Claims, only: set[str], scratch: Path) -> tuple[Figures, dict[str, str], int]:
    """What was measured, why the rest was not, and how many measurements failed: that costs nobody the others."""
    found, missing, n_failed = Figures(all_claims), {}, 0
    inputs = measure.Inputs(scratch)
    for i, (name, measurement) in enumerate(all_claims.measurements.items(), 1):
        if only and name not in only:
            missing[name] = "not asked for"
            continue
        say = f"[{i}/{len(all_claims.measurements)}] {name}"
        began = time.monotonic()
        if sys.stderr.isatty():
            print(f"{say}: {measurement.run}"[:118], end="\r", file=sys.stderr, flush=True)
        try:
            found.measured[name] = measure.measure(measurement, inputs)
            ended = f"{time.monotonic() - began:.1f} s"
        except measure.NotRun as why:
            missing[name] = ended = str(why)
        except measure.Failed as why:
            missing[name], ended = f"{name} failed", f"failed: {why}"
            n_failed += 1
        print(f"{say}: {ended}".ljust(118 if sys.stderr.isatty() else 0), file=sys.stderr, flush=True)
    return found, missing, n_failed


def table(all_claims: claims.Claims, found: Figures, missing: dict[str, str]) -> list[Line]:
    lines = []
    for document in all_claims.documents:
        for claim in document.claims:
            lines += figures(document, claim, found, missing)
        for samples in document.samples:
            lines += texts(document, samples, found, missing)
    return lines


def cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def show(lines: list[Line]) -> None:
    for path, of_document in groupby(lines, lambda line: line.document):
        print(f"\n{path}\n{'claim':{WIDTH}}  {'stated':>12}  {'measured':>12}  verdict")
        for text, of_claim in groupby(of_document, lambda line: line.claim):
            for i, line in enumerate(of_claim):
                claim = '"' if i else cut(text, WIDTH)
                # Hashes are cut; what is said of texts is not.
                measured = line.measured if " " in line.measured else cut(line.measured, 12)
                verdict = line.verdict if line.verdict == AGREES else f"{line.verdict}: {line.why}"
                print(f"{claim:{WIDTH}}  {cut(line.stated, 12):>12}  {measured:>12}  {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="measurements by name, with commas between")
    parser.add_argument("--list", action="store_true", help="print the measurements and their commands, and run none")
    arguments = parser.parse_args()
    try:
        all_claims = claims.load()
    except claims.Wrong as wrong:
        print(f"error: {wrong}\nhint: change the claim in tests/report, or the document back", file=sys.stderr)
        return 1
    only = set(filter(None, arguments.only.split(",")))
    if unknown := only - all_claims.measurements.keys():
        print(f"error: no measurement {', '.join(sorted(unknown))}\nhint: --list shows them", file=sys.stderr)
        return 2
    if arguments.list:
        for name, measurement in all_claims.measurements.items():
            print(f"{name:24}{measurement.kind:10}{' '.join([*measurement.run.split(), *measurement.words])}")
        return 0
    if uncovered := [line for document in all_claims.documents for line in claims.uncovered(document)]:
        print("\n".join(uncovered), file=sys.stderr)
        print(f"error: {len(uncovered)} figures are in no claim\nhint: add them in tests/report", file=sys.stderr)
        return 1
    if not measure.PROGRAM.exists():
        print(f"error: {measure.PROGRAM} is not there\nhint: cargo build", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="proxytune-report-") as scratch:
        found, missing, n_failed = run_all(all_claims, only, Path(scratch))
    lines = table(all_claims, found, missing)
    show([line for line in lines if line.why != "not asked for"])
    print("\nNot reproduced")
    for document in all_claims.documents:
        print(document.path)
        for because, remarks in document.not_reproduced.items():
            print("".join(f"  {cut(text, WIDTH)}\n" for text in remarks) + f"      because: {because}")
    counts = Counter(line.verdict for line in lines)
    print(f"\n{counts[AGREES]} figures agree, {counts[DIFFERS]} differ, {counts[NOT_RUN]} were not run.")
    if n_failed:
        print(f"{n_failed} measurements failed; their figures are among those that were not run.")
    return 1 if counts[DIFFERS] or n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
