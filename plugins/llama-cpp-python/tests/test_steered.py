"""What comes out of a steered Llama, by every road that samples."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import llama_cpp
import numpy as np
import pytest
from conftest import ANTIEXPERT, BASE, EXPERT, PAIR, PROMPT, ROOT, Program, complete, greedy, open_llama
from llama_cpp.llama_cache import LlamaRAMCache
from llama_cpp.llama_grammar import LlamaGrammar
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

import proxytune

PROMPTS = ["The dog was", "In the morning the old man", "Once upon a time there was a little girl"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_is_what_the_program_makes(steered: llama_cpp.Llama, program: Program, prompt: str) -> None:
    # Two builds of llama.cpp, one for AVX2 and one for the CPU at hand: as far as this they round alike here.
    assert greedy(steered, prompt, 100) == program(prompt=prompt, n=100)


@pytest.mark.parametrize(
    ("steering", "weights"),
    [
        ({}, (1.0, -1.0)),
        ({"alpha": -0.5}, (-0.5, 0.5)),
        ({"antiexpert": None}, (1.0, 0.0)),
        ({"expert": None, "alpha": 0.5}, (0.0, -0.5)),
    ],
)
def test_logits_are_the_sum(steering: dict[str, Any], weights: tuple[float, float]) -> None:
    # llama-cpp-python itself runs the three models here.
    models: list[Any] = [open_llama(model_path=str(path), logits_all=True) for path in (BASE, EXPERT, ANTIEXPERT)]
    base, rows, n = models[0], [], 16

    def look(_ids: Any, logits: Any) -> Any:
        rows.append(logits.copy())
        return logits

    prompt = base.tokenize(PROMPT.encode())
    with proxytune.steer(base, **{**PAIR, **steering}):
        tokens = list(islice(base.generate(prompt, temp=0.0, logits_processor=[look]), n))
    wanted: Any = 0.0
    for model, weight in zip(models, (1.0, *weights)):
        model.reset()
        model.eval(prompt + tokens)
        wanted = wanted + weight * model.scores[len(prompt) - 1 : len(prompt) - 1 + n]
        model.close()
    assert np.abs(np.array(rows) - wanted).max() < 1e-3


@pytest.mark.parametrize("alpha", [0.5, -1.0, 2.0])
def test_alpha_is_the_program_s(llama: llama_cpp.Llama, program: Program, alpha: float) -> None:
    with proxytune.steer(llama, **PAIR, alpha=alpha):
        assert greedy(llama, n=40) == program("--alpha", alpha, n=40)


def test_alpha_0_is_the_base(llama: llama_cpp.Llama) -> None:
    alone = greedy(llama, n=64)
    with proxytune.steer(llama, **PAIR, alpha=0.0):
        assert greedy(llama, n=64) == alone


def test_is_not_the_base(llama: llama_cpp.Llama) -> None:
    alone = greedy(llama)
    with proxytune.steer(llama, **PAIR):
        assert greedy(llama) != alone
    assert greedy(llama) == alone


def test_one_side_is_enough(llama: llama_cpp.Llama, program: Program) -> None:
    with proxytune.steer(llama, expert=EXPERT, n_threads=1):
        assert greedy(llama, n=40) == program("-ma", "none", n=40)
    with proxytune.steer(llama, antiexpert=PAIR["antiexpert"], alpha=0.5, n_threads=1):
        assert greedy(llama, n=40) == program("-me", "none", "--alpha", 0.5, n=40)


def test_recipe(llama: llama_cpp.Llama, steered: llama_cpp.Llama) -> None:
    other = open_llama()
    with proxytune.steer(other, recipe=BASE.with_name("recipe.toml"), n_threads=1) as steering:
        assert steering.alpha is None
        steering.alpha = 1.0
        assert greedy(other) == greedy(steered)
    other.close()


def test_plausibility_1_is_the_base(llama: llama_cpp.Llama) -> None:
    alone = greedy(llama)
    with proxytune.steer(llama, **PAIR, plausibility=1.0):
        assert greedy(llama) == alone


def test_alpha_changes_between_tokens(llama: llama_cpp.Llama) -> None:
    alone, tokens = greedy(llama), []
    with proxytune.steer(llama, **PAIR, alpha=0.0) as steering:
        for token in llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0):
            tokens.append(token)
            if len(tokens) == 4:
                steering.alpha = 3.0
            if len(tokens) == 24:
                break
        assert steering.alpha == 3.0
    assert tokens[:4] == alone[:4]
    assert tokens[4:] != alone[4:]


def test_streaming_is_the_same(steered: llama_cpp.Llama) -> None:
    whole = complete(steered)
    chunks: Any = steered.create_completion(PROMPT, max_tokens=24, temperature=0.0, stream=True)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole


def test_call_is_the_same(steered: llama_cpp.Llama) -> None:
    answer: Any = steered(PROMPT, max_tokens=24, temperature=0.0)
    assert answer["choices"][0]["text"] == complete(steered)


def test_second_call_is_the_same(steered: llama_cpp.Llama) -> None:
    first = greedy(steered)
    # The prompt is all in the KV cache, then a part of it is, then nothing of use.
    assert greedy(steered) == first
    more = PROMPT + " so happy! He"
    again = greedy(steered, more)
    assert greedy(steered, "Far away in the hills") != first
    assert greedy(steered, more) == again
    other = open_llama()
    with proxytune.steer(other, **PAIR):
        assert greedy(other, more) == again
    other.close()


def test_chat(steered: llama_cpp.Llama, llama: llama_cpp.Llama) -> None:
    messages: Any = [{"role": "user", "content": "Tell me of the dog."}]
    once: Any = steered.create_chat_completion(messages, max_tokens=24, temperature=0.0)
    stream: Any = steered.create_chat_completion(messages, max_tokens=24, temperature=0.0, stream=True)
    text = once["choices"][0]["message"]["content"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream) == text
    other = open_llama()
    alone: Any = other.create_chat_completion(messages, max_tokens=24, temperature=0.0)
    assert alone["choices"][0]["message"]["content"] != text
    other.close()


def test_json_schema(steered: llama_cpp.Llama) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["Lily", "Tom", "Max"]}, "happy": {"type": "boolean"}},
        "required": ["name", "happy"],
    }
    answer: Any = steered.create_chat_completion(
        [{"role": "user", "content": "Who was happy?"}],
        response_format={"type": "json_object", "schema": schema},
        max_tokens=100,
        temperature=0.0,
    )
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert found["name"] in ("Lily", "Tom", "Max")
    assert found["happy"] in (True, False)


def test_grammar(steered: llama_cpp.Llama) -> None:
    grammar = LlamaGrammar.from_string('root ::= " " ("happy" | "sad" | "ocean") "."', verbose=False)
    assert complete(steered, grammar=grammar) in (" happy.", " sad.", " ocean.")
    # A grammar has a state: the next call has a fresh one.
    assert complete(steered, grammar=grammar) in (" happy.", " sad.", " ocean.")


def test_stop(steered: llama_cpp.Llama) -> None:
    whole = complete(steered)
    assert "!" in whole
    assert complete(steered, stop=["!"]) == whole[: whole.index("!")]


def test_seed_is_reproducible(steered: llama_cpp.Llama) -> None:
    kwargs = {"temperature": 0.9, "top_k": 50, "top_p": 0.9, "repeat_penalty": 1.1}
    texts = [complete(steered, seed=seed, **kwargs) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("kwargs", [{"mirostat_mode": 1}, {"mirostat_mode": 2}, {"typical_p": 0.5}])
def test_other_samplers(steered: llama_cpp.Llama, kwargs: dict[str, Any]) -> None:
    assert complete(steered, temperature=0.8, seed=3, **kwargs) == complete(steered, temperature=0.8, seed=3, **kwargs)


def test_logit_bias_and_processors_see_steered_logits(steered: Any) -> None:
    first = greedy(steered, n=1)[0]
    assert complete(steered, logit_bias={first: -100.0}) != complete(steered)
    seen: list[int] = []

    def look(_ids: Any, logits: Any) -> Any:
        seen.append(int(np.argmax(logits)))
        return logits

    list(islice(steered.generate(steered.tokenize(PROMPT.encode()), temp=0.0, logits_processor=[look]), 8))
    assert seen == greedy(steered, n=8)


def test_drafts_change_nothing() -> None:
    llama = open_llama()
    drafting = open_llama(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4))
    prompt = "The dog was happy. The cat was sad. The dog was happy. The cat"
    with proxytune.steer(llama, **PAIR), proxytune.steer(drafting, **PAIR):
        # Drafted tokens are decoded in one batch, which rounds otherwise: agreement beyond this length is not owed.
        assert greedy(drafting, prompt, 24) == greedy(llama, prompt, 24)
    llama.close()
    drafting.close()


def test_eval_and_sample_by_hand(steered: Any) -> None:
    wanted = greedy(steered)
    steered._sampler = None
    steered.reset()
    steered.eval(steered.tokenize(PROMPT.encode()))
    tokens = []
    for _ in range(24):
        tokens.append(steered.sample(temp=0.0))
        steered.eval(tokens[-1:])
    assert tokens == wanted


def test_accept_and_reset_by_hand(steered: Any) -> None:
    wanted = greedy(steered)
    tokens = []
    for token in steered.generate(steered.tokenize(PROMPT.encode()), temp=0.0):
        tokens.append(token)
        steered._sampler.accept(5)
        if len(tokens) == 8:
            steered._sampler.reset()
        if len(tokens) == 24:
            break
    assert tokens == wanted


def test_states_and_caches(steered: Any) -> None:
    wanted, more = complete(steered), complete(steered, "In the morning")
    steered.set_cache(LlamaRAMCache())
    for _ in range(2):
        assert complete(steered) == wanted
        assert complete(steered, "In the morning") == more
    steered.set_cache(None)
    state = steered.save_state()
    steered.reset()
    steered.load_state(state)
    assert complete(steered, "In the morning") == more


def test_two_llamas_at_once(program: Program) -> None:
    one, two = open_llama(), open_llama()
    with proxytune.steer(one, **PAIR), proxytune.steer(two, **PAIR, alpha=-1.0):
        tokens = [llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0) for llama in (one, two)]
        pairs = list(islice(zip(*tokens), 40))
    assert [one for one, _ in pairs] == program(n=40)
    assert [two for _, two in pairs] == program("--alpha", -1, n=40)
    one.close()
    two.close()


def test_vocabulary_comes_from_the_llama_itself(llama: llama_cpp.Llama) -> None:
    llama.model_path = "a file that is not there any more.gguf"
    with proxytune.steer(llama, **PAIR):
        steered = greedy(llama)
    with proxytune.steer(llama, **PAIR, base=BASE):
        assert greedy(llama) == steered


def test_readme(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "plugins" / "llama-cpp-python" / "README.md").read_text(encoding="utf-8")
    exec(readme.split("```python")[1].split("```")[0], {})
    said = capsys.readouterr().out
    assert "so happy!" in said.splitlines()[0]
    assert "not a man" in said
