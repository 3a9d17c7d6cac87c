"""openai-python against `/v1`."""

from __future__ import annotations

import asyncio
import math
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from server import PROMPT, Server, until

MESSAGES = [{"role": "user", "content": PROMPT}]
# Runs until the context is full.
ENDLESS = {"ignore_eos": True}


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.v1, api_key="none", max_retries=0)


class Animal(BaseModel):
    kind: Literal["cat", "dog"]
    is_small: bool


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo", "demo:base", "demo:expert"]
    assert client.models.list().data[0].object == "model"


def test_chat(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=16)
    choice = reply.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason == "length"
    assert reply.usage and reply.usage.completion_tokens == 16
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 16


def test_chat_in_a_stream(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=16)
    stream = client.chat.completions.create(
        model="demo", messages=MESSAGES, max_tokens=16, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == 16
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"


class CountAnimals(BaseModel):
    """Counts animals."""

    kind: Literal["cat", "dog"]


def test_tools(client: OpenAI) -> None:
    asked = {
        "model": "demo",
        "max_tokens": 200,
        "tools": [openai.pydantic_function_tool(CountAnimals)],
        "parallel_tool_calls": False,
    }
    question = [{"role": "user", "content": "How many dogs are there?"}]
    parsed = client.chat.completions.parse(messages=question, tool_choice="required", **asked)
    choice = parsed.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert isinstance(call.function.parsed_arguments, CountAnimals)
    with client.chat.completions.stream(messages=question, tool_choice="required", **asked) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.tool_calls[0].function.arguments == call.function.arguments
    result = {"role": "tool", "tool_call_id": call.id, "content": "Three."}
    answered = [*question, choice.message.to_dict(), result]
    reply = client.chat.completions.create(messages=answered, **asked)
    assert reply.choices[0].message.content or reply.choices[0].message.tool_calls


def test_tools_of_responses(client: OpenAI) -> None:
    asked = {
        "model": "demo",
        "max_output_tokens": 200,
        "input": "How many dogs are there?",
        "tools": [openai.pydantic_function_tool(CountAnimals)["function"] | {"type": "function"}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    call = client.responses.create(**asked).output[0]
    assert call.type == "function_call" and CountAnimals.model_validate_json(call.arguments)
    with client.responses.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response().output[0]
    assert streamed.type == "function_call" and streamed.arguments == call.arguments
    answered = [
        {"role": "user", "content": asked["input"]},
        call.to_dict(),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Three."},
    ]
    assert client.responses.create(**asked | {"input": answered, "tool_choice": "auto"}).output


def test_steering(client: OpenAI) -> None:
    def text(model: str = "demo", **more: object) -> str | None:
        reply = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=16, extra_body=more)
        return reply.choices[0].message.content

    base = text("demo:base")
    assert text(proxy={"off": True}) == base == text(proxy={"alpha": 0})
    assert text() != base


def test_choices_and_log_probabilities(client: OpenAI) -> None:
    reply = client.chat.completions.create(
        model="demo", messages=MESSAGES, max_tokens=8, n=3, temperature=1.0, seed=1, logprobs=True, top_logprobs=3
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    for choice in reply.choices:
        assert choice.logprobs and choice.logprobs.content
        assert len(choice.logprobs.content) == 8
        for entry in choice.logprobs.content:
            top = [candidate.logprob for candidate in entry.top_logprobs]
            assert len(top) == 3 and top == sorted(top, reverse=True)
            assert entry.logprob <= top[0] <= 0
            assert sum(map(math.exp, top)) <= 1 + 1e-9
        said = b"".join(bytes(entry.bytes or []) for entry in choice.logprobs.content)
        assert said.decode() == choice.message.content


def test_completions(client: OpenAI) -> None:
    reply = client.completions.create(model="demo", prompt=[PROMPT, "The dog"], max_tokens=8, logprobs=2)
    assert len(reply.choices) == 2
    for choice in reply.choices:
        assert choice.logprobs and choice.logprobs.tokens and choice.logprobs.top_logprobs
        assert "".join(choice.logprobs.tokens) == choice.text
        assert all(len(top) == 2 for top in choice.logprobs.top_logprobs)
    stream = client.completions.create(model="demo", prompt=PROMPT, max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == reply.choices[0].text


def test_completions_by_ids_with_echo(client: OpenAI) -> None:
    ids = [0, 2060, 312, 417]
    reply = client.completions.create(model="demo", prompt=ids, max_tokens=1, logprobs=1, echo=True)
    logprobs = reply.choices[0].logprobs
    assert logprobs and logprobs.token_logprobs and logprobs.tokens
    assert len(logprobs.token_logprobs) == len(ids) + 1
    assert logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    assert "".join(logprobs.tokens) == reply.choices[0].text


def test_structured_output(client: OpenAI) -> None:
    reply = client.chat.completions.parse(model="demo", messages=MESSAGES, max_tokens=64, response_format=Animal)
    assert isinstance(reply.choices[0].message.parsed, Animal)
    response = client.responses.parse(model="demo", input=PROMPT, max_output_tokens=64, text_format=Animal)
    assert isinstance(response.output_parsed, Animal)


def test_responses(client: OpenAI) -> None:
    chat = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=16)
    response = client.responses.create(model="demo", input=PROMPT, max_output_tokens=16)
    assert response.output_text == chat.choices[0].message.content
    assert response.status == "incomplete" and response.incomplete_details
    assert response.usage and response.usage.output_tokens == 16
    conversation = [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]
    again = client.responses.create(model="demo", input=conversation, max_output_tokens=16)
    assert again.output_text == response.output_text
    led = client.responses.create(model="demo", instructions="Be brief.", input=PROMPT, max_output_tokens=4)
    assert led.usage and led.usage.input_tokens > response.usage.input_tokens


def test_responses_in_a_stream(client: OpenAI) -> None:
    whole = client.responses.create(model="demo", input=PROMPT, max_output_tokens=16)
    events = list(client.responses.create(model="demo", input=PROMPT, max_output_tokens=16, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.incomplete" and events[-1].response.output_text == whole.output_text
    with client.responses.stream(model="demo", input=PROMPT, text_format=Animal) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert names[:2] == ["response.created", "response.in_progress"] and names[-1] == "response.completed"
    assert isinstance(final.output_parsed, Animal) and final.status == "completed"
    events = list(client.responses.create(model="demo", input="", stream=True))
    assert events[-1].type == "response.completed"


def test_errors_are_typed(client: OpenAI, locked: Server) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="demo", messages=MESSAGES, temperature=-1)
    assert refused.value.param == "temperature" and refused.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "word " * 4000}])
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(model="demo", input=PROMPT, previous_response_id="resp_1")
    assert stored.value.param == "previous_response_id"
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=locked.v1, api_key="wrong").models.with_raw_response.retrieve("demo")
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=locked.v1, api_key="wrong").chat.completions.create(model="demo", messages=MESSAGES)
    right = OpenAI(base_url=locked.v1, api_key="secret")
    assert right.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=1).choices


def test_a_full_server_says_when_to_come_back(full: Server) -> None:
    asyncio.run(fill(full))


async def fill(server: Server) -> None:
    client = AsyncOpenAI(base_url=server.v1, api_key="none", max_retries=0)
    # One takes the slot until its context is full, one waits.
    endless = {"model": "demo", "messages": MESSAGES, "extra_body": ENDLESS}
    running = [asyncio.create_task(client.chat.completions.create(**endless)) for _ in range(8)]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    refused = [task.exception() for task in done if task.exception()]
    assert refused and all(isinstance(error, openai.RateLimitError) for error in refused), refused
    assert all(int(error.response.headers["retry-after"]) > 0 for error in refused)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await client.close()


def test_a_stream_that_is_closed_frees_its_slot(server: Server) -> None:
    client = OpenAI(base_url=server.v1, api_key="none", max_retries=0)
    until(lambda: server.n_busy_slots() == 0)
    before = server.n_written()
    streams = [
        client.chat.completions.create(model="demo", messages=MESSAGES, stream=True, extra_body=ENDLESS)
        for _ in range(4)
    ]
    chunks = [next(iter(stream)) for stream in streams]
    for stream in streams:
        stream.close()
    until(lambda: server.n_busy_slots() == 0)
    # Left to themselves, they fill their contexts.
    assert server.n_written() - before < len(chunks) * 490
    reply = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=4)
    assert reply.choices[0].finish_reason == "length"
