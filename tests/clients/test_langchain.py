"""LangChain's ChatOpenAI."""

from __future__ import annotations

import pytest
from langchain_openai import ChatOpenAI

from server import PROMPT, Server


def model(server: Server, **more: object) -> ChatOpenAI:
    return ChatOpenAI(model="demo", base_url=server.v1, api_key="none", max_tokens=16, temperature=0, **more)


def test_invoke(server: Server) -> None:
    message = model(server, logprobs=True, top_logprobs=2).invoke(PROMPT)
    assert isinstance(message.content, str) and message.content
    assert message.usage_metadata and message.usage_metadata["output_tokens"] == 16
    assert message.response_metadata["finish_reason"] == "length"
    logprobs = message.response_metadata["logprobs"]["content"]
    assert len(logprobs) == 16 and len(logprobs[0]["top_logprobs"]) == 2


def test_stream(server: Server) -> None:
    whole = model(server).invoke(PROMPT)
    chunks = list(model(server, stream_usage=True).stream(PROMPT))
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [counts["output_tokens"] for counts in usage] == [16]


def test_messages_of_several_roles(server: Server) -> None:
    messages = [("system", "Be brief."), ("human", PROMPT), ("ai", "who"), ("human", "Go on.")]
    assert model(server).invoke(messages).content


@pytest.mark.parametrize("field", ["temperature", "top_p"])
def test_errors(server: Server, field: str) -> None:
    with pytest.raises(Exception, match=f"`{field}`"):
        ChatOpenAI(model="demo", base_url=server.v1, api_key="none", **{field: -1}).invoke(PROMPT)
