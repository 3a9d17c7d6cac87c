"""Clients from npm, where there is a Node.js."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from server import PATIENCE, ROOT, Server

FOLDER = Path(__file__).parent / "npm"
# Where npm puts them: nothing is written among the sources.
INSTALLED = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "npm"


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")
def test_clients_from_npm(server: Server) -> None:
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, INSTALLED)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=INSTALLED, check=True)
    environment = os.environ | {"NODE_PATH": str(INSTALLED / "node_modules"), "PROXYTUNE_URL": server.url}
    command = ["node", "--test", str(FOLDER / "clients.test.cjs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
