"""The stage: one sampler of the library, kept for as long as a ``Llama`` is steered and moved from chain to chain.

llama-cpp-python builds a chain for every call and leaves the old one to the garbage collector; a stage for each would
read every prompt anew. In: the whole text, whenever it is not what the stage has; accepted tokens come through the
chain.
"""

from __future__ import annotations

import ctypes
import os
import sys

import llama_cpp

from . import _chain
from ._errors import SteeringError
from ._library import Library, Params


class Stage:
    """Owns a sampler. Used by one thread at a time."""

    def __init__(self, library: Library, params: Params) -> None:
        self._library = library
        self._address: int | None = library.open_stage(params)
        self._sampler: _chain.LlamaSampler | None = None
        self._pid = os.getpid()
        #: What the stage has read and accepted, 32 bits a token. ``None``: nothing that is to be gone on from.
        self._text: bytes | None = None
        self._has_failed = False

    @property
    def closed(self) -> bool:
        return self._address is None

    @property
    def is_waiting(self) -> bool:
        """In a chain, and without a text."""
        return self._sampler is not None and self._text is None

    def is_in(self, sampler: _chain.LlamaSampler) -> bool:
        return self._sampler is not None and self._sampler is sampler and sampler.sampler is not None

    def enter(self, sampler: _chain.LlamaSampler) -> None:
        """Goes from the chain where it was to the front of another one, and forgets its text."""
        stage = self._open()
        self.leave()
        _chain.put_first(sampler, stage)
        self._sampler, self._text = sampler, None

    def leave(self) -> None:
        if self._address is not None and self._sampler is not None:
            _chain.take_out(self._sampler, self._address)
        self._sampler = None

    def tell(self, text: bytes) -> None:
        """Makes the text this one. The pair starts to read it; what it holds of it is not read again."""
        if text == self._text:
            return
        stage = self._recovered()
        self._text = None
        self._library.feed(stage, text)
        self._text = text

    def sample(self, sampler: _chain.LlamaSampler, ctx: object, idx: int) -> int:
        """Samples with the chain that the stage is in. A token that is not steered is not returned."""
        stage, text = self._open(), self._text
        self._text = None
        try:
            token: int = sampler.sample(ctx, idx)
            self._library.check_stage(stage)
        except BaseException:
            self._has_failed = True
            raise
        if text is not None:
            self._text = text + token.to_bytes(4, sys.byteorder)
        return token

    def forget(self) -> None:
        """The text is told anew before the next sample."""
        self._text = None

    def set_alpha(self, alpha: float) -> None:
        self._library.set_alpha(self._recovered(), alpha)

    def close(self) -> None:
        """Ends the pair, and waits for its thread. Once is enough, more often does no harm."""
        self.leave()
        stage, self._address = self._address, None
        # The thread is not there in a forked process: nothing to wait for.
        if stage is not None and os.getpid() == self._pid:
            llama_cpp.llama_sampler_free(ctypes.cast(stage, llama_cpp.llama_sampler_p_ctypes))

    def _recovered(self) -> int:
        """The stage, which after a failure has no text any more: it is told one before it samples."""
        stage = self._open()
        if self._has_failed:
            llama_cpp.llama_sampler_reset(ctypes.cast(stage, llama_cpp.llama_sampler_p_ctypes))
            self._has_failed = False
        return stage

    def _open(self) -> int:
        if self._address is None:
            raise SteeringError("the steering is closed", "steer() the Llama again")
        if os.getpid() != self._pid:
            raise SteeringError(
                f"steered in process {self._pid}, used in its fork {os.getpid()}, where the pair's thread is missing",
                "load the Llama and steer() it in the process that uses it",
            )
        return self._address
