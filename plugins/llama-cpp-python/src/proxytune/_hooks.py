"""What is wrapped on a ``Llama``: three methods of the one object, and the sampler that one of them returns.

    generate ─► _init_sampler   the stage goes to the front of the new chain
             ─► eval(prompt)    the pair begins to read the same text, beside the base
             ─► sample          the text is checked against what was evaluated, the chain samples and accepts,
                                the stage is asked whether it steered; only then is the token returned

The text is always ``llama.input_ids`` up to the row that is sampled from, so reuse of a prefix, states that were
loaded, drafted tokens and calls of ``eval`` and ``sample`` by hand need nothing of their own. Where something else than
``eval`` and ``load_state`` moved the ``Llama`` on, as an image does, there are no ids to read, and sampling fails.
"""

from __future__ import annotations

import functools
import math
import numbers
import threading
import weakref
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Callable

import llama_cpp

from ._chain import LlamaSampler
from ._errors import ArgumentError, SteeringError
from ._stage import Stage

#: Methods of a ``Llama``, and what of ``Steering`` takes their places.
_HOOKS = {"_init_sampler": "_init_sampler", "eval": "_eval", "load_state": "_load_state"}


class Steering:
    """A steered ``Llama``. Made by ``steer()``; undone by ``close()``, or at the end of a ``with`` block."""

    def __init__(self, llama: llama_cpp.Llama, stage: Stage, alpha: float | None) -> None:
        # The Llama keeps this object, which must not keep the Llama: its memory is freed when it is dropped.
        self._llama = weakref.ref(llama)
        self._stage = stage
        self._alpha = alpha
        self._lock = threading.RLock()
        self._is_sampling = False
        #: As many of the Llama's tokens are known by their ids.
        self._n_known = int(llama.n_tokens)
        self._end = weakref.finalize(self, _end, stage, self._lock)
        #: Methods that were on the object already, not on its class.
        self._before = {name: vars(llama)[name] for name in _HOOKS if name in vars(llama)}
        vars(llama).update({name: getattr(self, hook) for name, hook in _HOOKS.items()})

    @property
    def alpha(self) -> float | None:
        """How far to steer from the next token on, -10 to 10. ``None`` while it is what the recipe says."""
        return self._alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        alpha = number("alpha", alpha)
        with self._lock:
            self._stage.set_alpha(alpha)
            self._alpha = alpha

    @property
    def closed(self) -> bool:
        return self._stage.closed

    def close(self) -> None:
        """Leaves the ``Llama`` as it was, and frees the pair. A generation that is under way then fails."""
        with self._lock:
            self._refuse_reentry()
            llama = self._llama()
            if llama is not None:
                for name, hook in _HOOKS.items():
                    # Where somebody wrapped the hook since, it stays and passes on.
                    if vars(llama).get(name) == getattr(self, hook):
                        del vars(llama)[name]
                        vars(llama).update({name: self._before[name]} if name in self._before else {})
            self._end()

    def __enter__(self) -> Steering:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} alpha={self._alpha}{' closed' if self.closed else ''}>"

    def _init_sampler(self, *args: Any, **kwargs: Any) -> LlamaSampler:
        sampler = self._original("_init_sampler")(*args, **kwargs)
        with self._lock:
            if self.closed:
                return sampler
            self._refuse_reentry()
            for name in ("sampler", "custom_samplers", "sample"):
                if not hasattr(sampler, name):
                    raise _unknown_host(f"its sampler has no {name}")
            self._stage.enter(sampler)
            return SteeredSampler(sampler, self)

    def _eval(self, tokens: Any) -> Any:
        llama = self._host()
        n_before = llama.n_tokens
        with self._lock:
            # Only behind a new sampler: from then on the pair hears of tokens as they are accepted.
            if self._stage.is_waiting:
                self._stage.tell(self._text(llama, n_before) + array("i", tokens).tobytes())
        result = self._original("eval")(tokens)
        if n_before <= self._n_known:
            self._n_known = llama.n_tokens
        return result

    def _load_state(self, state: Any) -> Any:
        result = self._original("load_state")(state)
        self._n_known = self._host().n_tokens
        return result

    def _text(self, llama: llama_cpp.Llama, n_tokens: int) -> bytes:
        if n_tokens > self._n_known:
            raise SteeringError(
                f"the Llama is at token {n_tokens}, of which {self._n_known} came through eval(), expected all: "
                "the pair cannot read an image, nor what was decoded past the Llama"
            )
        return bytes(llama.input_ids[:n_tokens].tobytes())

    def _sample(self, sampler: LlamaSampler, ctx: Any, idx: int) -> int:
        with self._holding(sampler) as (stage, llama):
            # `idx` counts from the end: -1 is the row behind all that was evaluated.
            n_tokens = llama.n_tokens + idx + 1
            if idx >= 0 or n_tokens < 1:
                raise SteeringError(f"row {idx} of {llama.n_tokens} tokens, expected one counted from the end, from -1")
            stage.tell(self._text(llama, n_tokens))
            return stage.sample(sampler, ctx, idx)

    def _release(self, sampler: LlamaSampler) -> None:
        with self._lock:
            self._refuse_reentry()
            if self._stage.is_in(sampler):
                self._stage.leave()

    @contextmanager
    def _holding(self, sampler: LlamaSampler) -> Iterator[tuple[Stage, llama_cpp.Llama]]:
        """The stage, while it is in this sampler's chain and nobody else uses it."""
        with self._lock:
            llama = self._host()
            self._refuse_reentry()
            if not self._stage.is_in(sampler):
                # The next call by hand makes a sampler of its own.
                if isinstance(llama._sampler, SteeredSampler) and llama._sampler._inner is sampler:
                    llama._sampler = None
                raise SteeringError(
                    "the steering was closed while this generation went on"
                    if self.closed
                    else "this generation's sampler is closed, or another generation has begun",
                    "begin it again",
                )
            self._is_sampling = True
            try:
                yield self._stage, llama
            finally:
                self._is_sampling = False

    def _refuse_reentry(self) -> None:
        if self._is_sampling:
            raise SteeringError(
                "a callback of the sampling used the Llama that is sampling, or closed its steering",
                "do that after the call",
            )

    def _host(self) -> llama_cpp.Llama:
        llama = self._llama()
        if llama is None or is_closed(llama):
            raise SteeringError("the Llama is closed")
        return llama

    def _original(self, name: str) -> Callable[..., Any]:
        llama = self._host()
        before: Callable[..., Any] = self._before.get(name) or functools.partial(getattr(type(llama), name), llama)
        return before


def _end(stage: Stage, lock: AbstractContextManager[Any]) -> None:
    """At the end of a program other threads may still be sampling: they fail at their next token."""
    with lock:
        stage.close()


class SteeredSampler:
    """In the place of a ``LlamaSampler`` whose chain has the stage first; the rest is the ``LlamaSampler``'s."""

    def __init__(self, inner: LlamaSampler, steering: Steering) -> None:
        self._inner = inner
        self._steering = steering

    def sample(self, ctx: Any, idx: int = -1) -> int:
        return self._steering._sample(self._inner, ctx, idx)

    def accept(self, token: int) -> None:
        with self._steering._holding(self._inner) as (stage, _):
            stage.forget()
            self._inner.accept(token)

    def reset(self) -> None:
        with self._steering._holding(self._inner) as (stage, _):
            stage.forget()
            self._inner.reset()

    def close(self) -> None:
        self._steering._release(self._inner)
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def check_host(llama: object) -> None:
    """Refuses what cannot be steered."""
    if not isinstance(llama, llama_cpp.Llama):
        raise TypeError(f"llama is a {type(llama).__name__}, expected a llama_cpp.Llama")
    for name in (*_HOOKS, "input_ids", "n_tokens", "model_path", "_model", "_ctx"):
        if not hasattr(llama, name):
            raise _unknown_host(f"its Llama has no {name}")
    if is_closed(llama):
        raise SteeringError("the Llama is closed, expected one that can generate")
    if any(isinstance(getattr(vars(llama).get(name), "__self__", None), Steering) for name in _HOOKS):
        raise SteeringError("the Llama is steered already", "close() the first steering, or set its alpha")


def is_closed(llama: llama_cpp.Llama) -> bool:
    return llama._model.model is None or llama._ctx.ctx is None


def _unknown_host(what: str) -> SteeringError:
    return SteeringError(
        f"llama-cpp-python {llama_cpp.__version__} is not one that this package knows: {what}",
        "proxytune is tested with 0.3.36",
    )


def number(name: str, value: object) -> float:
    """A finite number, or an error that says so."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected a number")
    if not math.isfinite(value):
        raise ArgumentError(f"{name} is {value}, expected a finite number")
    return float(value)
