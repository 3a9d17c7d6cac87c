"""A sampler at the front of a llama.cpp chain. llama.cpp can only add behind, so the others step aside for a moment."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp

#: llama-cpp-python's wrapper of a chain, ``llama_cpp._internals.LlamaSampler``:
#: ``sampler`` is the chain, or ``None`` once it is freed; ``custom_samplers`` are pairs of an index and its sampler, of
#: those that the chain does not own: they are removed by index before it is freed.
LlamaSampler = Any


def put_first(sampler: LlamaSampler, stage: int) -> None:
    """Puts ``stage`` first. The chain does not own it."""
    chain = sampler.sampler
    others = [llama_cpp.llama_sampler_chain_remove(chain, 0) for _ in range(llama_cpp.llama_sampler_chain_n(chain))]
    for other in [ctypes.cast(stage, llama_cpp.llama_sampler_p_ctypes), *others]:
        llama_cpp.llama_sampler_chain_add(chain, other)
    sampler.custom_samplers[:] = [(0, stage), *((index + 1, custom) for index, custom in sampler.custom_samplers)]


def take_out(sampler: LlamaSampler, stage: int) -> None:
    """Takes ``stage`` out again, where it still is in the chain."""
    chain = sampler.sampler
    if chain is None or (at := _index(chain, stage)) is None:
        return
    llama_cpp.llama_sampler_chain_remove(chain, at)
    sampler.custom_samplers[:] = [
        (index - (index > at), custom) for index, custom in sampler.custom_samplers if index != at
    ]


def _index(chain: Any, stage: int) -> int | None:
    for index in range(llama_cpp.llama_sampler_chain_n(chain)):
        found = llama_cpp.llama_sampler_chain_get(chain, index)
        if ctypes.cast(found, ctypes.c_void_p).value == stage:
            return index
    return None
