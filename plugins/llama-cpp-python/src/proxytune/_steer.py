"""``steer()``: arguments in, a steered ``Llama`` out."""

from __future__ import annotations

import ctypes
import numbers
import os

import llama_cpp

from . import _hooks
from ._errors import ArgumentError
from ._hooks import Steering, number
from ._library import Library, Params, StrPath, TokenFn, find
from ._stage import Stage

__all__ = ["Steering", "steer"]

_INT32_MAX = 2**31 - 1


def steer(
    llama: llama_cpp.Llama,
    expert: StrPath | None = None,
    antiexpert: StrPath | None = None,
    alpha: float | None = None,
    *,
    recipe: StrPath | None = None,
    plausibility: float | None = None,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    n_gpu_layers: int = -1,
    base: StrPath | None = None,
    library: StrPath | None = None,
    allow_vocab_drift: bool = False,
    probe: StrPath | None = None,
) -> Steering:
    """Steers ``llama`` with ``alpha * (expert - antiexpert)``, from its next call on.

    Everything that samples is steered: ``create_completion``, ``create_chat_completion``, ``__call__``, ``generate``,
    ``sample``; streamed or not, with grammars, JSON schemas, stop strings, logit biases and a draft model.

    Args:
        llama: The base.
        expert: GGUF file of the small model to lean towards. Without one the antiexpert alone is taken away.
        antiexpert: GGUF file of the small model to lean away from. Without one the expert alone is added.
        alpha: How far, -10 to 10; 0 is the base alone. ``None``: what the recipe says, or 1.
        recipe: A recipe's file or name, in place of expert and antiexpert.
        plausibility: Before anything is added, drop tokens less probable to the base than this share of the best
            one, 0 to 1. ``None``: what the recipe says, or 0, which drops none.
        n_ctx: Tokens that the pair's contexts hold. ``None``: as many as ``llama``'s.
        n_threads: Threads of the pair, which run beside those of ``llama``: together they should be as many as there
            are cores. ``None``: a quarter of the cores.
        n_gpu_layers: Layers of the small models on devices that the library was built for; -1 is all.
        base: GGUF file of the base, to compare vocabularies with. ``None``: ``llama.model_path``, or what ``llama``
            itself says of its tokens where that file is not there any more.
        library: The shared library. ``None``: what PROXYTUNE_SAMPLER names, or the one beside this package.
        allow_vocab_drift: Take small models whose special tokens are not all the base's.
        probe: The program ``proxytune`` of the library's version, which then tries the pair's files in a process of its
            own before they are loaded: llama.cpp ends its process on some damaged files. ``None``: what
            PROXYTUNE_PROBE names, or none.

    Returns:
        A handle: ``close()`` it, or leave its ``with`` block, and ``llama`` is as it was. Dropped without either,
        ``llama`` stays steered.

    Raises:
        TypeError: An argument has another type.
        SteeringError: One of its kinds: ArgumentError (also a ValueError), ModelError, VocabularyError, LibraryError.
    """
    _hooks.check_host(llama)
    paths = {
        "expert": expert,
        "antiexpert": antiexpert,
        "recipe": recipe,
        "base_path": base,
        "probe": probe,
        "library": library,
    }
    encoded = {name: _path(name, path) for name, path in paths.items() if path is not None}
    encoded.pop("library", None)
    if alpha is None and recipe is None:
        alpha = 1.0

    loaded = Library(find(library))
    params = loaded.default_params()
    for name, path in encoded.items():
        setattr(params, name, path)
    if alpha is not None:
        params.alpha = alpha = number("alpha", alpha)
    if plausibility is not None:
        params.plausibility = number("plausibility", plausibility)
    params.n_ctx = llama.n_ctx() if n_ctx is None else _count("n_ctx", n_ctx, 1)
    if n_threads is not None:
        params.n_threads = _count("n_threads", n_threads, 1)
    params.n_gpu_layers = _count("n_gpu_layers", n_gpu_layers, -1)
    if not isinstance(allow_vocab_drift, bool):
        raise TypeError(f"allow_vocab_drift is {allow_vocab_drift!r}, expected a bool")
    params.allow_vocab_drift = allow_vocab_drift
    # One stage, which goes from chain to chain.
    params.n_seq_max = 1
    params.sampler_init = ctypes.cast(llama_cpp.llama_sampler_init, ctypes.c_void_p).value
    _tell_vocabulary(params, llama, encoded)
    return Steering(llama, Stage(loaded, params), alpha)


def _tell_vocabulary(params: Params, llama: llama_cpp.Llama, encoded: dict[str, bytes]) -> None:
    if "base_path" in encoded:
        return
    if os.path.isfile(llama.model_path):
        params.base_path = _path("llama.model_path", llama.model_path)
        return
    vocab = llama._model.vocab
    kept: list[bytes] = []

    def token(_data: object, token_id: int, text: object, n_text: object, attr: object) -> int:
        try:
            kept[:] = [llama_cpp.llama_vocab_get_text(vocab, token_id)]
            text[0] = kept[0]  # type: ignore[index]
            n_text[0] = len(kept[0])  # type: ignore[index]
            attr[0] = llama_cpp.llama_vocab_get_attr(vocab, token_id)  # type: ignore[index]
        except Exception:
            return 1
        return 0

    # The struct keeps the callback.
    params.token = TokenFn(token)
    params.n_vocab = llama.n_vocab()


def _path(name: str, path: StrPath) -> bytes:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} is a {type(path).__name__}, expected a path: a str or an os.PathLike")
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ArgumentError(f"{name} is {path!r}, expected a path without NUL characters")
    return encoded


def _count(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}, expected an int")
    if not least <= value <= _INT32_MAX:
        raise ArgumentError(f"{name} is {value}, expected {least} to {_INT32_MAX}")
    return int(value)
