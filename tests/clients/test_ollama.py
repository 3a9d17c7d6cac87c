"""ollama-python against `/api`."""

from __future__ import annotations

import json

import ollama
import pytest
from ollama import Client

from server import PROMPT, Server

MESSAGES = [{"role": "user", "content": PROMPT}]


@pytest.fixture
def client(server: Server) -> Client:
    return Client(host=server.url)


def test_models(client: Client) -> None:
    models = client.list().models
    assert [model.model for model in models] == ["demo:latest", "demo:base", "demo:expert"]
    assert all(model.size and model.modified_at and model.details for model in models)
    shown = client.show("demo")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo and shown.modelinfo["llama.context_length"] > 0
    assert shown.details and shown.details.format == "gguf"


def test_chat(client: Client) -> None:
    reply = client.chat("demo", MESSAGES, options={"num_predict": 16}, keep_alive="5m")
    assert reply.message.role == "assistant" and reply.message.content
    assert (reply.done, reply.done_reason, reply.eval_count) == (True, "length", 16)
    assert reply.total_duration and reply.prompt_eval_count
    base = client.chat("demo:base", MESSAGES, options={"num_predict": 16})
    assert base.message.content != reply.message.content
    loaded = client.chat("demo")
    assert loaded.done_reason == "load"


def test_a_stream(client: Client) -> None:
    whole = client.chat("demo", MESSAGES, options={"num_predict": 16})
    parts = list(client.chat("demo", MESSAGES, options={"num_predict": 16}, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_formats_and_log_probabilities(client: Client) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["cat", "dog"]}}, "required": ["kind"]}
    reply = client.chat("demo", MESSAGES, format=schema, options={"num_predict": 64})
    assert json.loads(reply.message.content or "")["kind"] in ("cat", "dog")
    reply = client.chat("demo", MESSAGES, logprobs=True, top_logprobs=2, options={"num_predict": 4})
    assert reply.logprobs and len(reply.logprobs) == 4
    assert all(entry.top_logprobs and len(entry.top_logprobs) == 2 for entry in reply.logprobs)


def test_errors(client: Client) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat("none", MESSAGES)
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as refused:
        list(client.chat("demo", MESSAGES, options={"temperature": -1.0}, stream=True))
    assert refused.value.status_code == 400 and "`temperature`" in refused.value.error
    with pytest.raises(ollama.ResponseError) as refused:
        client.chat("demo", [{"role": "user", "content": PROMPT, "images": ["aGk="]}])
    assert "images" in refused.value.error
