"""Chat templates of real files beside jinja2, set up as transformers does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import pytest
import requests
from server import PATIENCE

from program import ROOT, serving

CONVERSATIONS = {
    "one message": [("user", "What is 2 + 2?")],
    "system": [("system", "You answer in one word."), ("user", "What is 2 + 2?")],
    "several turns": [
        ("system", "You are terse."),
        ("user", "Hello"),
        ("assistant", "Hi."),
        ("user", "And then?"),
        ("assistant", "Nothing."),
        ("user", "Bye"),
    ],
    "whitespace": [
        ("system", "  \n\tindented\n\n"),
        ("user", "\n\n  leading and trailing \t \n"),
        ("assistant", " \r\nmore\r\n "),
        ("user", " "),
    ],
    "empty": [("system", ""), ("user", "")],
    "scripts": [
        ("user", "日本語 👩‍👩‍👧 e\u0301 שלום \u202eabc\u202c \u00a0\u200b 𝔘𝔫"),
        ("assistant", "naïve — “ok”"),
        ("user", "½"),
    ],
    "looks like a template": [("user", "{{ messages }} {% if x %}<|im_end|>\n<|im_start|>system\n{# no #}")],
    "markup": [("user", "<b>a & b</b> \"quoted\" 'single' \\n \\u0041")],
}


def expected(template: str, eos: str) -> list[dict[str, str]]:
    given = {
        "sources": {"own": template},
        "conversations": list(CONVERSATIONS.values()),
        "now": time.time(),
        "bos": "",
        "eos": eos,
    }
    script = ROOT / "tests" / "support" / "jinja.py"
    done = subprocess.run([sys.executable, script], input=json.dumps(given), capture_output=True, text=True, check=True)
    rendered: list[dict[str, str]] = json.loads(done.stdout)["own"]
    return rendered


@pytest.mark.parametrize("name", ["large", "small", "smollm2"])
def test_rendered_as_jinja2_does(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    template = str(field(path, "tokenizer.chat_template"))
    eos = field(path, "tokenizer.ggml.tokens")[field(path, "tokenizer.ggml.eos_token_id")]
    with serving("-m", path, "-c", "512", "-np", "1") as server:
        for (what, messages), wanted in zip(CONVERSATIONS.items(), expected(template, eos), strict=True):
            body = {"messages": [{"role": role, "content": content} for role, content in messages]}
            reply = requests.post(f"{server.url}/apply-template", json=body, timeout=PATIENCE)
            reply.raise_for_status()
            assert reply.json()["prompt"] == wanted["text"], what


def field(path: Path, key: str) -> Any:
    found = gguf.GGUFReader(path).get_field(key)
    assert found is not None, key
    return found.contents()
