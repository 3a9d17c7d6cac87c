"""What is not right raises, says why, and leaves the interpreter alone."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from conftest import ANTIEXPERT, BASE, EXPERT, PAIR, PROMPT, complete, greedy, open_llama

import proxytune
from proxytune import _library


def prompt_of(llama: llama_cpp.Llama, n: int) -> list[int]:
    return (llama.tokenize(PROMPT.encode()) * n)[:n]


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({}, proxytune.ArgumentError, "expert"),
        ({"expert": 5}, TypeError, "expert is a int, expected a path"),
        ({"expert": "a\0b"}, proxytune.ArgumentError, "NUL"),
        ({"expert": ""}, proxytune.SteeringError, "empty"),
        ({"expert": "missing.gguf"}, proxytune.ModelError, "missing.gguf"),
        ({"expert": Path(__file__)}, proxytune.ModelError, "test_failures.py"),
        ({"expert": EXPERT.parent}, proxytune.ModelError, "demo"),
        ({"expert": EXPERT, "base": "missing.gguf"}, proxytune.ModelError, "missing.gguf"),
        ({"expert": BASE}, proxytune.ArgumentError, "the expert is the base"),
        ({"expert": EXPERT, "probe": "missing"}, proxytune.ModelError, "could not be asked"),
        ({"expert": EXPERT, "recipe": "x.toml"}, proxytune.ArgumentError, "recipe"),
        ({"recipe": "missing.toml"}, proxytune.ModelError, "missing.toml"),
        ({"expert": EXPERT, "alpha": "1"}, TypeError, "alpha is '1', expected a number"),
        ({"expert": EXPERT, "alpha": True}, TypeError, "alpha"),
        ({"expert": EXPERT, "alpha": math.nan}, proxytune.ArgumentError, "alpha is nan"),
        ({"expert": EXPERT, "alpha": 1e30}, proxytune.ArgumentError, "10"),
        ({"expert": EXPERT, "alpha": 1e300}, proxytune.ArgumentError, "10"),
        ({"expert": EXPERT, "plausibility": 2.0}, proxytune.ArgumentError, "plausibility"),
        ({"expert": EXPERT, "n_ctx": 0}, proxytune.ArgumentError, "n_ctx is 0, expected 1"),
        ({"expert": EXPERT, "n_ctx": 2**40}, proxytune.ArgumentError, "n_ctx"),
        ({"expert": EXPERT, "n_ctx": 1.5}, TypeError, "n_ctx is 1.5, expected an int"),
        ({"expert": EXPERT, "n_threads": -1}, proxytune.ArgumentError, "n_threads"),
        ({"expert": EXPERT, "n_threads": 2**31 - 1}, proxytune.ArgumentError, "n_threads"),
        ({"expert": EXPERT, "n_gpu_layers": -2}, proxytune.ArgumentError, "n_gpu_layers"),
        ({"expert": EXPERT, "allow_vocab_drift": 1}, TypeError, "allow_vocab_drift is 1, expected a bool"),
        ({"expert": EXPERT, "library": 1}, TypeError, "library"),
        ({"expert": EXPERT, "library": "missing.so"}, proxytune.LibraryError, "cargo build"),
        ({"expert": EXPERT, "library": __file__}, proxytune.LibraryError, "cannot be loaded"),
        ({"expert": EXPERT, "library": llama_cpp.llama_cpp._lib._name}, proxytune.LibraryError, "pt_abi_version"),
    ],
)
def test_arguments(llama: llama_cpp.Llama, kwargs: dict[str, Any], error: type[Exception], words: str) -> None:
    before = dict(vars(llama))
    with pytest.raises(error, match=words):
        proxytune.steer(llama, **kwargs)
    assert vars(llama) == before
    assert complete(llama, max_tokens=2)


@pytest.mark.parametrize("llama", [None, 5, "base.gguf", llama_cpp.Llama])
def test_not_a_llama(llama: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a llama_cpp\.Llama"):
        proxytune.steer(llama, **PAIR)


def test_closed_llama() -> None:
    llama = open_llama()
    llama.close()
    with pytest.raises(proxytune.SteeringError, match="closed"):
        proxytune.steer(llama, **PAIR)


def test_llama_closed_while_it_generates() -> None:
    llama = open_llama()
    with proxytune.steer(llama, **PAIR) as steering:
        tokens = llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0)
        next(tokens)
        llama.close()
        with pytest.raises(proxytune.SteeringError, match="the Llama is closed"):
            next(tokens)
        steering.alpha = 0.5


def test_twice(steered: llama_cpp.Llama) -> None:
    wanted = greedy(steered)
    with pytest.raises(proxytune.SteeringError, match="steered already"):
        proxytune.steer(steered, **PAIR)
    assert greedy(steered) == wanted


def test_another_vocabulary(llama: llama_cpp.Llama, tmp_path: Path) -> None:
    # The same file with one token's text changed.
    data = EXPERT.read_bytes()
    word = b"\xc4\xa0happy"
    assert word in data
    other = tmp_path / "other.gguf"
    other.write_bytes(data.replace(word, b"\xc4\xa0hippo", 1))
    with pytest.raises(proxytune.VocabularyError, match="hippo"):
        proxytune.steer(llama, expert=other, antiexpert=ANTIEXPERT)
    llama.model_path = "gone.gguf"
    with pytest.raises(proxytune.VocabularyError, match="hippo"):
        proxytune.steer(llama, expert=other, antiexpert=ANTIEXPERT)


def test_another_interface_version(llama: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_library, "ABI_VERSION", 2)
    with pytest.raises(proxytune.LibraryError, match="interface version 1, expected 2"):
        proxytune.steer(llama, **PAIR)


def test_library_nowhere(llama: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXYTUNE_SAMPLER")
    with pytest.raises(proxytune.LibraryError, match=r"not found.*cargo build"):
        proxytune.steer(llama, **PAIR)


def test_prompt_beyond_the_pair_s_context_emits_nothing(llama: llama_cpp.Llama) -> None:
    with proxytune.steer(llama, **PAIR, n_ctx=256) as steering:
        tokens: list[int] = []
        with pytest.raises(proxytune.StageError):
            tokens.extend(llama.generate(prompt_of(llama, 400), temp=0.0))
        assert tokens == []
        # By hand it goes on failing, also with an alpha of 0.
        steering.alpha = 0.0
        for _ in range(2):
            with pytest.raises(proxytune.StageError):
                llama.sample()
        # What fits is steered again.
        steering.alpha = 1.0
        again = greedy(llama)
    with proxytune.steer(llama, **PAIR):
        assert greedy(llama) == again


def test_answer_beyond_the_pair_s_context_stops_where_it_ends(llama: llama_cpp.Llama) -> None:
    with proxytune.steer(llama, **PAIR, n_ctx=256):
        chunks: Any = llama.create_completion(
            prompt_of(llama, 250), max_tokens=100, temperature=0.0, stream=True, logit_bias={1: -100.0}
        )
        n = 0
        with pytest.raises(proxytune.StageError):
            for _ in chunks:
                n += 1
        assert 1 <= n <= 10


def test_a_status_is_heard_before_the_token_is_emitted(
    steered: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = steered.generate(steered.tokenize(PROMPT.encode()), temp=0.0)
    next(tokens)
    steering = vars(steered)["eval"].__self__
    monkeypatch.setattr(steering._stage._library._lib, "pt_status", lambda _: 4)
    with pytest.raises(proxytune.StageError):
        next(tokens)


def test_token_out_of_range(steered: llama_cpp.Llama) -> None:
    with pytest.raises(proxytune.SteeringError, match="4096"):
        complete(steered, [0, 4096])
    assert complete(steered)


def test_tokens_past_the_llama_are_not_made_up(steered: llama_cpp.Llama) -> None:
    steered.eval(steered.tokenize(PROMPT.encode()))
    # As an image handler does: positions without ids.
    steered.n_tokens += 3
    with pytest.raises(proxytune.SteeringError, match="came through eval"):
        steered.sample()
    assert complete(steered)


def test_undone(llama: llama_cpp.Llama) -> None:
    before, alone = dict(vars(llama)), complete(llama)
    with proxytune.steer(llama, **PAIR) as steering:
        assert not steering.closed
        assert complete(llama) != alone
    assert steering.closed
    assert {name: value for name, value in vars(llama).items() if name not in before} == {}
    assert complete(llama) == alone
    steering.close()
    assert "closed" in repr(steering)
    with pytest.raises(proxytune.SteeringError, match="closed"):
        steering.alpha = 0.5


def test_undone_by_an_exception(llama: llama_cpp.Llama) -> None:
    alone = complete(llama)
    with pytest.raises(ZeroDivisionError), proxytune.steer(llama, **PAIR):
        raise ZeroDivisionError
    assert complete(llama) == alone


def test_undone_while_it_generates(llama: llama_cpp.Llama) -> None:
    alone = greedy(llama)
    with proxytune.steer(llama, **PAIR):
        tokens = llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0)
        next(tokens)
    with pytest.raises(proxytune.SteeringError, match="while this generation went on"):
        next(tokens)
    assert greedy(llama) == alone


def test_hooks_of_others_stay(llama: llama_cpp.Llama) -> None:
    calls: list[str] = []

    def spy(name: str, wrapped: Any) -> Any:
        def eval_(tokens: Any) -> Any:
            calls.append(name)
            return wrapped(tokens)

        return eval_

    inner, alone = llama.eval, complete(llama)
    vars(llama)["eval"] = spy("before", inner)
    steering = proxytune.steer(llama, **PAIR)
    hook, build = llama.eval, llama._init_sampler
    vars(llama)["eval"] = spy("after", hook)
    assert complete(llama) != alone
    assert {"before", "after"} == set(calls)
    steering.close()
    # The outer one still calls our hook, which passes on; so does whoever kept it.
    assert complete(llama) == alone
    assert type(build(temp=0.0)).__name__ == "LlamaSampler"


def test_callbacks_cannot_pull_the_chain_away(llama: Any) -> None:
    errors: list[Exception] = []
    with proxytune.steer(llama, **PAIR) as steering:
        wanted = greedy(llama, n=4)

        def meddle(_ids: Any, logits: Any) -> Any:
            for act in (steering.close, lambda: complete(llama, max_tokens=1), lambda: llama._sampler.close()):
                try:
                    act()
                except proxytune.SteeringError as error:
                    errors.append(error)
            return logits

        tokens = llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0, logits_processor=[meddle])
        assert next(tokens) == wanted[0]
        assert len(errors) == 3


def test_closed_sampler(steered: Any) -> None:
    tokens = steered.generate(steered.tokenize(PROMPT.encode()), temp=0.0)
    next(tokens)
    steered._sampler.close()
    with pytest.raises(proxytune.SteeringError, match="sampler is closed"):
        next(tokens)
    assert complete(steered)


def test_clone_is_refused(steered: Any) -> None:
    complete(steered)
    with pytest.raises(NotImplementedError):
        steered._sampler.clone()


def test_threads(llama: llama_cpp.Llama) -> None:
    other, results = open_llama(), {}
    with proxytune.steer(llama, **PAIR) as steering, proxytune.steer(other, **PAIR):
        wanted = complete(llama)

        def run(name: str, llama: llama_cpp.Llama) -> None:
            results[name] = [complete(llama) for _ in range(5)]

        threads = [threading.Thread(target=run, args=args) for args in (("one", llama), ("other", other))]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            steering.alpha = 1.0
        for thread in threads:
            thread.join()
    assert results == {"one": [wanted] * 5, "other": [wanted] * 5}
    other.close()


def test_closed_by_another_thread(llama: llama_cpp.Llama) -> None:
    steering, errors, begun = proxytune.steer(llama, **PAIR), [], threading.Event()

    def run() -> None:
        try:
            for _ in llama.generate(llama.tokenize(PROMPT.encode()), temp=0.0):
                begun.set()
        except proxytune.SteeringError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    steering.close()
    thread.join()
    assert len(errors) == 1


def test_dropped_llama_is_freed() -> None:
    llama = open_llama()
    steering = proxytune.steer(llama, **PAIR)
    llama_gone, steering_gone = weakref.ref(llama), weakref.ref(steering)
    llama.eval(llama.tokenize(PROMPT.encode()))
    del llama
    assert llama_gone() is None
    with pytest.raises(proxytune.SteeringError, match="closed"):
        steering._eval([1])
    del steering
    assert steering_gone() is None


def test_dropped_handle_goes_on_steering(llama: llama_cpp.Llama) -> None:
    alone = greedy(llama)
    proxytune.steer(llama, **PAIR)
    gc.collect()
    assert greedy(llama) != alone


def _in_a_fork(llama: llama_cpp.Llama, answers: Any) -> None:
    try:
        llama.sample()
    except proxytune.SteeringError as error:
        answers.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork(steered: llama_cpp.Llama) -> None:
    steered.eval(steered.tokenize(PROMPT.encode()))
    context: Any = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_in_a_fork, args=(steered, answers))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert "fork" in answers.get()
    assert complete(steered)


def test_no_leak() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    llama = open_llama()

    def cycles(n: int) -> None:
        for _ in range(n):
            with proxytune.steer(llama, **PAIR):
                complete(llama, max_tokens=2)
        gc.collect()

    cycles(50)
    before = resident()
    cycles(200)
    grown = resident() - before
    llama.close()
    # One pair that stays is more than 3 MB: 600 MB in all.
    assert grown < 30 << 20, f"{grown / 2**20:.1f} MiB more after 200 cycles"
