"""Servers that the tests talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The demo, greedy, with four slots."""
    with Server("--temp", "0", "-np", "4", "-c", "2048", "--metrics") as server:
        yield server


@pytest.fixture(scope="session")
def locked() -> Iterator[Server]:
    """The demo behind a key."""
    with Server("-np", "1", "-c", "256", "--api-key", "secret") as server:
        yield server


@pytest.fixture
def full() -> Iterator[Server]:
    """The demo with one slot and room for one request that waits."""
    with Server("-np", "1", "-c", "1024", "--queue", "1") as server:
        yield server
