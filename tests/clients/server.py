"""`proxytune serve` on a free port of this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import requests

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
PROGRAM = Path(os.environ.get("PROXYTUNE", BUILT / "proxytune"))

PROMPT = "Once upon a time there was a little girl"

# A generous bound for what takes a moment.
PATIENCE = 120.0


class Server:
    """Runs until its `with` block ends; what it says on stderr is in `said`. Without a recipe `args` name models."""

    def __init__(self, *args: str, recipe: str | None = "demo") -> None:
        self.log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        named = [] if recipe is None else ["-R", recipe]
        command = [str(PROGRAM), "serve", *named, "--port", "0", "-t", "1", *args]
        environment = {name: value for name, value in os.environ.items() if name != "PROXYTUNE_MODELS"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log, env=environment
        )
        self.url = ""

    @property
    def said(self) -> str:
        return Path(self.log.name).read_text(errors="replace")

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"

    def __enter__(self) -> Server:
        try:
            until(lambda: "ready: " in self.said or self.process.poll() is not None)
            lines = self.said.splitlines()
            listening = [line for line in lines if line.startswith("listening on ")]
            assert self.process.poll() is None and listening, f"it did not start: {self.said}"
            self.url = listening[0].removeprefix("listening on ").strip()
            return self
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def n_busy_slots(self) -> int:
        reply = requests.get(f"{self.url}/slots", timeout=PATIENCE)
        reply.raise_for_status()
        return sum(slot["is_processing"] for slot in reply.json())

    def n_written(self) -> int:
        """Tokens of all answers so far."""
        reply = requests.get(f"{self.url}/metrics", timeout=PATIENCE)
        reply.raise_for_status()
        lines = [line.split() for line in reply.text.splitlines() if line and not line.startswith("#")]
        [count] = [value for name, value in lines if name.startswith("llamacpp:tokens_predicted_total")]
        return int(float(count))


def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it never held"
        time.sleep(0.01)
