"""The program, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import BUILT, PROGRAM, ROOT, Server

PROSE = ROOT / "models" / "demo" / "heldout-prose.txt"
N_THREADS = str(os.cpu_count() or 1)
THREADS = ("-t", N_THREADS)
GREEDY = ("--temp", "0", *THREADS)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int
    """Of the process, or of the largest one that it started."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: object, code: int = 0, program: Path = PROGRAM) -> Done:
    """Waits for the end of it, which has to be with this exit code."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen([program, *map(str, args)], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        # Unlike Popen.wait it tells what the process used, in KiB on Linux.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        done = Done(child.returncode, out.read().decode(), err.read().decode(), seconds, usage.ru_maxrss * 1024)
    assert done.code == code, f"{args}: exit code {done.code}, expected {code}\n{done.err}\n{done.out}"
    return done


def generate(*args: object) -> Any:
    """The JSON object of a greedy text."""
    return run("generate", "--json", *GREEDY, *args).json


def prose(n_chars: int, start: int = 0) -> str:
    """The same English prose every time."""
    return PROSE.read_text()[start : start + n_chars]


def serving(*args: object) -> Server:
    """A server of these models, greedy."""
    return Server(*map(str, args), *GREEDY, "--metrics", recipe=None)


__all__ = ["BUILT", "GREEDY", "PROSE", "ROOT", "THREADS", "Done", "generate", "prose", "run", "serving"]
