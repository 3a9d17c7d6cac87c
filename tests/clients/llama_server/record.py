#!/usr/bin/env python3
"""Records what llama-server answers, for the test that compares proxytune's server with it.

    record.py LLAMA_SERVER MODEL OUT

starts the program LLAMA_SERVER with MODEL, sends it every request of `table.py` in turn, and writes each request with
its reply to OUT, one JSON object a line. What differs from run to run, and what repeats the request, is left out. The
options are those that the test gives to proxytune.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from table import READ, REQUESTS

# Every prompt is read anew, so that no reply depends on those before it.
OPTIONS = ["-c", "512", "-np", "1", "-t", "1", "--chat-template", "chatml", "--no-webui"]
OPTIONS += ["--no-cache-prompt", "--cache-ram", "0"]
# Of these nothing is compared.
LEFT_OUT = {
    "created", "id", "model", "system_fingerprint", "object", "timings", "generation_settings", "bytes", "id_slot",
    "prompt_tokens_details", "time_ms",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url: str, body: Any | None) -> tuple[int, str]:
    """Status and text of a reply; without a body GET."""
    data = None
    if body is not None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            if ask(f"{url}/health", None)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("llama-server does not become ready")


def kept(value: Any) -> Any:
    """A reply without what is not compared. An error keeps its type alone: the words are each server's own."""
    if isinstance(value, dict):
        if isinstance(value.get("error"), dict):
            return {"error": {"type": value["error"].get("type")}}
        # The ids of tokens are told by this name too.
        is_token = "logprob" in value or "piece" in value
        return {name: kept(part) for name, part in value.items() if name not in LEFT_OUT or (is_token and name == "id")}
    if isinstance(value, list):
        return [kept(part) for part in value]
    if isinstance(value, float):
        return round(value, 6)
    return value


def reply(status: int, text: str) -> dict[str, Any]:
    if text.startswith("data: "):
        events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        done = events[-1] == "[DONE]"
        return {
            "status": status,
            "done": done,
            "events": [kept(json.loads(event)) for event in events if event != "[DONE]"],
        }
    try:
        return {"status": status, "body": kept(json.loads(text))}
    except ValueError:
        return {"status": status, "text": text}


def main() -> None:
    program, model, out = sys.argv[1:]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program, "-m", model, "--port", str(port), *OPTIONS]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(url)
        lines = []
        for name, path, body in REQUESTS:
            lines.append({"name": name, "path": path, "body": body, "reply": reply(*ask(url + path, body))})
        for name, path in READ:
            lines.append({"name": name, "path": path, "reply": reply(*ask(url + path, None))})
    finally:
        server.terminate()
        server.wait()
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    Path(out).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
