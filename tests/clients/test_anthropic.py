"""anthropic-python against `/v1/messages`."""

from __future__ import annotations

import anthropic
import pytest
from anthropic import Anthropic

from server import PROMPT, Server

MESSAGES = [{"role": "user", "content": PROMPT}]


@pytest.fixture
def client(server: Server) -> Anthropic:
    return Anthropic(base_url=server.url, api_key="none", max_retries=0)


def test_messages(client: Anthropic) -> None:
    message = client.messages.create(model="demo", max_tokens=16, messages=MESSAGES)
    assert message.role == "assistant" and message.content[0].type == "text" and message.content[0].text
    assert message.stop_reason == "max_tokens" and message.stop_sequence is None
    assert message.usage.output_tokens == 16
    blocks = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    assert client.messages.create(model="demo", max_tokens=16, messages=blocks).content == message.content
    word = message.content[0].text.split()[3]
    stopped = client.messages.create(model="demo", max_tokens=16, messages=MESSAGES, stop_sequences=[word])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", word)
    assert message.content[0].text.startswith(stopped.content[0].text)


def test_a_stream(client: Anthropic) -> None:
    whole = client.messages.create(model="demo", max_tokens=16, system="Be brief.", messages=MESSAGES)
    with client.messages.stream(model="demo", max_tokens=16, system="Be brief.", messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 16)
    events = list(client.messages.create(model="demo", max_tokens=2, messages=MESSAGES, stream=True))
    assert events[0].type == "message_start" and events[-1].type == "message_stop"
    # Read before there is any text.
    usage = events[0].message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) > 0


def test_count_tokens(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="demo", system="Be brief.", messages=MESSAGES).input_tokens
    usage = client.messages.create(model="demo", max_tokens=1, system="Be brief.", messages=MESSAGES).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert counted > client.messages.count_tokens(model="demo", messages=MESSAGES).input_tokens


def test_steering(client: Anthropic) -> None:
    def text(model: str = "demo", **more: object) -> str:
        message = client.messages.create(model=model, max_tokens=16, messages=MESSAGES, extra_body=more)
        return message.content[0].text

    assert text(proxy={"off": True}) == text("demo:base") != text()


def test_tools(client: Anthropic) -> None:
    schema = {"type": "object", "properties": {"animal": {"enum": ["cat", "dog"]}}, "required": ["animal"]}
    asked = {
        "model": "demo",
        "max_tokens": 200,
        "tools": [{"name": "count_animals", "description": "Counts animals.", "input_schema": schema}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    question = [{"role": "user", "content": "How many dogs are there?"}]
    whole = client.messages.create(messages=question, **asked)
    assert whole.stop_reason == "tool_use"
    call = whole.content[0]
    assert call.type == "tool_use" and call.name == "count_animals" and call.input["animal"] in ["cat", "dog"]
    with client.messages.stream(messages=question, **asked) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].input == call.input and streamed.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Three."}
    answered = [*question, {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    asked["tool_choice"] = {"type": "auto"}
    assert client.messages.create(messages=answered, **asked).content


def test_errors_are_typed(client: Anthropic, locked: Server) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="none", max_tokens=1, messages=MESSAGES)
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as refused:
        tool = {"type": "bash_20250124", "name": "bash"}
        client.messages.create(model="demo", max_tokens=1, messages=MESSAGES, tools=[tool])
    assert "`tools[0]`" in refused.value.body["error"]["message"]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="demo", max_tokens=1, messages=[{"role": "user", "content": [image]}])
    assert refused.value.body["type"] == "error"
    with pytest.raises(anthropic.AuthenticationError):
        Anthropic(base_url=locked.url, api_key="wrong").messages.create(model="demo", max_tokens=1, messages=MESSAGES)
    right = Anthropic(base_url=locked.url, api_key="secret")
    assert right.messages.create(model="demo", max_tokens=1, messages=MESSAGES).content
