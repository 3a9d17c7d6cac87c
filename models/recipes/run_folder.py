"""A folder that holds one run, so that it can go on: settings, hashes, TOML."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def quoted(content: str | Path) -> str:
    """As TOML has it; a path from the root on."""
    return json.dumps(str(content.resolve() if isinstance(content, Path) else content), ensure_ascii=False)


def refuse_other_settings(file: Path, settings: dict) -> None:
    """What lies in a folder belongs to one run."""
    if file.exists() and (before := json.loads(file.read_text(encoding="utf-8"))) != settings:
        differ = ", ".join(sorted(key for key in settings if before.get(key) != settings[key]))
        raise SystemExit(f"{file.parent} holds a run with another {differ}\nhint: give another --out, or remove it")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
