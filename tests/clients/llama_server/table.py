"""The requests whose replies are compared: what clients of llama-server send, and what goes wrong.

Each has a name, a path and a body; a body that is a string is sent as it is. Texts are greedy, so that they have one
answer.
"""

from __future__ import annotations

from typing import Any

ONCE = "Once upon a time"
STORY = "The old captain looked at the sea and"


def completion(prompt: Any = ONCE, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "n_predict": 12, "temperature": 0, **more}


def legacy(prompt: Any = ONCE, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": 12, "temperature": 0, **more}


def chat(*contents: Any, **more: Any) -> dict[str, Any]:
    """Of texts in turn the user's and the assistant's."""
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents or [ONCE])]
    return {"messages": messages, "max_tokens": 12, "temperature": 0, **more}


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
GRAMMAR = 'root ::= " yes" | " no"'
DIGITS = "root ::= [0-9]+"

C, L, H = "/completion", "/v1/completions", "/v1/chat/completions"

REQUESTS: list[tuple[str, str, Any]] = [
    # /completion
    ("completion", C, completion()),
    ("another text", C, completion(STORY, n_predict=24)),
    ("completions is the same", "/completions", completion()),
    ("in a stream", C, completion(stream=True)),
    ("probabilities", C, completion(n_predict=6, n_probs=3)),
    ("probabilities in a stream", C, completion(n_predict=4, n_probs=2, stream=True)),
    ("token ids of the answer", C, completion(n_predict=6, return_tokens=True)),
    ("ids as prompt", C, completion([512, 1031, 264], n_predict=6)),
    ("ids and text as prompt", C, completion([1, "Once upon", 260, " time"], n_predict=6)),
    ("text and ids as prompt", C, completion(["Once upon", 260, " time"], n_predict=6)),
    ("several prompts", C, completion([ONCE, STORY], n_predict=6)),
    ("a list of one prompt", C, completion([ONCE], n_predict=6)),
    ("lists of ids", C, completion([[1, 512], [1, 1031, 264]], n_predict=6)),
    ("an object as prompt", C, completion({"prompt_string": ONCE}, n_predict=6)),
    ("names of special tokens", C, completion("<|bos|>Once upon a time", n_predict=6)),
    ("no tokens", C, completion(n_predict=0)),
    ("an empty prompt", C, completion("", n_predict=6)),
    ("a stop word", C, completion(STORY, n_predict=32, stop=["good"])),
    ("a stop word in a stream", C, completion(STORY, n_predict=32, stop=["good"], stream=True)),
    ("a stop word across tokens", C, completion(n_predict=32, stop=["re was"])),
    ("several stop words", C, completion(STORY, n_predict=32, stop=["zebra", ",", "."])),
    ("a stop word as a text", C, completion(n_predict=32, stop=",")),
    ("a stop word and probabilities", C, completion(STORY, n_predict=32, stop=[" good man"], n_probs=1)),
    ("a stop word that may come", C, completion(STORY, n_predict=8, stop=["\u2019ll not"], stream=True)),
    ("a stop word that never comes", C, completion(STORY, n_predict=8, stop=["zebra"])),
    ("empty stop words", C, completion(n_predict=6, stop=["", ""])),
    ("logit bias by id", C, completion(n_predict=6, logit_bias=[[13, -100], [417, 2.5]])),
    ("logit bias by text", C, completion(n_predict=6, logit_bias=[[" there", False]])),
    ("logit bias as an object", C, completion(n_predict=6, logit_bias={"13": -100})),
    ("logit bias of no token", C, completion(n_predict=6, logit_bias=[[999999, 1]])),
    ("a grammar", C, completion("Is it so? The answer is", grammar=GRAMMAR)),
    ("a grammar in a stream", C, completion("Is it so? The answer is", grammar=GRAMMAR, stream=True)),
    ("a grammar without end", C, completion("In the year 18", grammar=DIGITS, n_predict=4)),
    ("a schema", C, completion("The number as JSON: ", json_schema=SCHEMA, n_predict=32)),
    ("an empty grammar", C, completion(n_predict=6, grammar="")),
    ("grammar and schema", C, completion(n_predict=6, grammar=GRAMMAR, json_schema=SCHEMA)),
    ("penalties", C, completion(STORY, n_predict=24, repeat_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.5)),
    ("samplers by name", C, completion(n_predict=6, samplers=["top_k", "temperature"])),
    ("samplers by letter", C, completion(n_predict=6, samplers="kt")),
    ("the sampler for filling in", C, completion(n_predict=6, samplers=["top_k", "top_p", "infill"])),
    ("fields of the reply", C, completion(n_predict=4, response_fields=["content", "generation_settings/n_predict"])),
    ("fields that nobody knows", C, completion(n_predict=4, nonsense=1, user="me", store=True)),
    ("an unknown model", C, completion(n_predict=4, model="whatever")),
    ("nulls", C, completion(n_predict=4, stop=None, seed=None, grammar=None, logit_bias=None, n_probs=None)),
    ("the end of the context", C, completion(STORY, n_predict=-1, ignore_eos=True)),
    ("two choices", C, completion(n_predict=4, n=2)),
    ("probabilities of an end", C, completion("Is it so? The answer is", grammar=GRAMMAR, n_probs=1)),
    ("probabilities after sampling", C, completion(n_predict=4, n_probs=2, post_sampling_probs=True)),
    ("a slot and no cache", C, completion(n_predict=4, id_slot=0, cache_prompt=False)),
    ("no adapters", C, completion(n_predict=4, lora=[])),
    ("an adapter that is not there", C, completion(n_predict=4, lora=[{"id": 0, "scale": 1.0}])),
    ("progress in a stream", C, completion(STORY, n_predict=2, stream=True, return_progress=True)),
    (
        "characters of several tokens",
        C,
        completion("Emoji: 😀", n_predict=3, logit_bias=[[174, 100]], n_probs=1, return_tokens=True),
    ),
    ("a seed and no chance", C, completion(n_predict=6, seed=7, top_k=1, temperature=1)),
    # /v1/completions
    ("legacy", L, legacy()),
    ("legacy in a stream", L, legacy(stream=True, stream_options={"include_usage": True})),
    ("legacy with logprobs", L, legacy(max_tokens=4, logprobs=2)),
    ("legacy with logprobs of nothing", L, legacy(max_tokens=4, logprobs=0)),
    ("legacy with ids", L, legacy([1, 512, 1031], max_tokens=6)),
    ("legacy with ids and text", L, legacy(["Once upon", 260, " time"], max_tokens=6)),
    ("legacy with several prompts", L, legacy([ONCE, STORY], max_tokens=6)),
    ("legacy with a stop word", L, legacy(STORY, max_tokens=32, stop=["good"])),
    ("legacy with a stop word and logprobs", L, legacy(STORY, max_tokens=32, stop=" good man", logprobs=1)),
    ("legacy with echo", L, legacy(max_tokens=4, echo=True)),
    ("legacy by its newer name", L, {"prompt": ONCE, "max_completion_tokens": 3, "temperature": 0}),
    ("legacy that ends nowhere", L, legacy(max_tokens=0)),
    ("legacy with best of two", L, legacy(best_of=2, max_tokens=4)),
    # /v1/chat/completions
    ("chat", H, chat()),
    ("chat in a stream", H, chat(stream=True)),
    ("chat in a stream with usage", H, chat(stream=True, stream_options={"include_usage": True})),
    ("chat with logprobs", H, chat(max_tokens=4, logprobs=True, top_logprobs=2)),
    ("chat with logprobs alone", H, chat(max_tokens=2, logprobs=True)),
    ("chat with logprobs in a stream", H, chat(max_tokens=4, logprobs=True, top_logprobs=2, stream=True)),
    (
        "chat with a system message",
        H,
        {
            "messages": [{"role": "system", "content": "Speak as a sailor."}, {"role": "user", "content": ONCE}],
            "max_tokens": 8,
            "temperature": 0,
        },
    ),
    ("chat of several turns", H, chat("Who are you?", "A sailor.", "Where is your ship?")),
    ("chat that goes on with an answer", H, chat("Tell me a story.", "Once upon a")),
    ("the same in a stream", H, chat("Tell me a story.", "Once upon a", stream=True)),
    (
        "chat that is told to go on",
        H,
        chat("Tell me a story.", "Once upon a", continue_final_message=True, add_generation_prompt=False),
    ),
    ("chat that goes on to a stop word", H, chat("Tell me a story.", "Once upon a", stop="little", max_tokens=32)),
    ("chat without a new turn", H, chat(add_generation_prompt=False)),
    ("chat with parts", H, chat([{"type": "text", "text": "Once upon"}, {"type": "text", "text": "a time"}])),
    ("chat with a part", H, chat([{"type": "text", "text": ONCE}])),
    ("chat with empty content", H, chat("")),
    ("chat with content of null", H, chat(None)),
    ("chat with a stop word", H, chat(STORY, max_tokens=32, stop="the")),
    (
        "chat with a schema",
        H,
        chat(
            "A number as JSON, please.",
            max_tokens=32,
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        ),
    ),
    ("chat with any object", H, chat("JSON, please.", max_tokens=6, response_format={"type": "json_object"})),
    ("chat of text", H, chat(max_tokens=4, response_format={"type": "text"})),
    ("chat with a grammar", H, chat("Is it so?", grammar=GRAMMAR)),
    (
        "chat with llama.cpp's own fields",
        H,
        chat(n_predict=5, top_k=1, min_p=0.1, cache_prompt=False, timings_per_token=True),
    ),
    ("chat that asks for nothing", H, chat(max_tokens=0)),
    # Tokens and templates
    ("tokenize", "/tokenize", {"content": "Once upon a time, <|bos|> there"}),
    ("tokenize with special tokens", "/tokenize", {"content": ONCE, "add_special": True}),
    ("tokenize names as text", "/tokenize", {"content": "<|bos|>x", "parse_special": False}),
    ("tokenize with pieces", "/tokenize", {"content": "Once é 😀", "with_pieces": True}),
    ("tokenize text and ids", "/tokenize", {"content": ["Once upon", 260, " time"]}),
    ("tokenize nothing", "/tokenize", {}),
    ("tokenize a number", "/tokenize", {"content": 3}),
    ("detokenize", "/detokenize", {"tokens": [1, 512, 1031, 264]}),
    ("detokenize nothing", "/detokenize", {}),
    ("detokenize text", "/detokenize", {"tokens": ["a"]}),
    ("detokenize no token", "/detokenize", {"tokens": [999999]}),
    ("apply-template", "/apply-template", {"messages": [{"role": "user", "content": "Hello"}]}),
    (
        "apply-template of several turns",
        "/apply-template",
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "U"},
                {"role": "assistant", "content": "A"},
                {"role": "user", "content": "V"},
            ]
        },
    ),
    (
        "apply-template that goes on",
        "/apply-template",
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good"}]},
    ),
    # What goes wrong
    ("an empty body", C, ""),
    ("no JSON", C, '{"prompt": "x"'),
    ("an array", C, "[1, 2]"),
    ("no prompt", C, {"n_predict": 4}),
    ("a prompt of null", C, completion(None)),
    ("a number as prompt", C, completion(3)),
    ("an empty list of prompts", C, completion([])),
    ("a list with an object", C, completion([{"a": 1}])),
    ("a token that is not there", C, completion([1, 999999])),
    ("a negative token", C, completion([1, -5])),
    ("a text as number", C, completion(n_predict="ten")),
    ("a number as switch", C, completion(stream=3)),
    ("n_predict out of range", C, completion(n_predict=-7)),
    ("top_p out of range", C, completion(n_predict=4, top_p=1.5)),
    ("temperature below 0", C, completion(n_predict=4, temperature=-1)),
    ("repeat_last_n out of range", C, completion(repeat_last_n=-2)),
    ("a sampler that is not there", C, completion(n_predict=4, samplers=["top_k", "temperature", "nonsense"])),
    ("a bad grammar", C, completion(grammar="root ::= (")),
    ("a bad schema", C, completion(json_schema={"type": "nonsense"})),
    ("a schema that is no object", C, completion(json_schema=7)),
    ("a prompt that is too long", C, completion("and so on " * 400)),
    ("a bad prompt in a stream", C, completion("and so on " * 400, stream=True)),
    ("adapters of no list", C, completion(lora=1)),
    ("breakers of no list", C, completion(n_predict=4, dry_sequence_breakers=[])),
    ("legacy without a prompt", L, {"max_tokens": 4}),
    ("legacy with an empty body", L, ""),
    ("legacy with n out of range", L, legacy(n=0)),
    ("chat without messages", H, {"max_tokens": 4}),
    ("chat with messages of no list", H, {"messages": "x"}),
    ("chat of nothing", H, {"messages": [], "max_tokens": 4, "temperature": 0}),
    ("chat with a number as content", H, chat(3)),
    ("chat without content", H, {"messages": [{"role": "user"}]}),
    ("chat without a role", H, {"messages": [{"content": "x"}], "max_tokens": 4, "temperature": 0}),
    (
        "chat with two answers at its end",
        H,
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": "b"},
            ],
            "max_tokens": 4,
            "temperature": 0,
        },
    ),
    ("chat with a picture", H, chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])),
    ("chat with a part of no type", H, chat([{"text": "x"}])),
    ("chat with an unknown format", H, chat(response_format={"type": "nonsense"})),
    ("chat with candidates and no logprobs", H, chat(max_tokens=4, top_logprobs=2)),
    ("chat with grammar and schema", H, chat(grammar=GRAMMAR, json_schema=SCHEMA)),
    ("chat that is too long", H, chat("and so on " * 400)),
    ("filling in", "/infill", {"input_prefix": "def f(", "input_suffix": "return x"}),
    ("embeddings", "/v1/embeddings", {"input": "x"}),
    ("reranking", "/v1/rerank", {"query": "x", "documents": ["a"]}),
    ("properties that are changed", "/props", {}),
    ("an unknown path", "/v1/nonsense", {}),
]

# Paths that are asked for with GET.
READ: list[tuple[str, str]] = [
    ("health", "/health"),
    ("health in version 1", "/v1/health"),
    ("an unknown path that is read", "/nonsense"),
    ("a completion that is read", "/completion"),
    ("metrics that are not on", "/metrics"),
]
