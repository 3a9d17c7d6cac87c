"""llama-cpp-python: a logits processor in NumPy over two more `Llama` objects, which is how steering is done there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp import Llama, LogitsProcessorList

from worker import Peer, parser, serve

Row = npt.NDArray[np.single]


def last_row(llama: Llama) -> Row:
    """A view of the last position's logits, `[n_vocab]`."""
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llama.ctx, -1), shape=(llama.n_vocab(),))


class LlamaCppPython(Peer):
    def __init__(self, base: Llama, expert: Llama, antiexpert: Llama, alpha: float, eos: int) -> None:
        self.base, self.expert, self.antiexpert, self.alpha, self.eos = base, expert, antiexpert, alpha, eos
        self.tokens: Iterator[int] = iter(())

    def steer(self, seen: npt.NDArray[np.intc], logits: Row) -> Row:
        """The logits processor: lets expert and antiexpert read what the base has read, and adds their difference."""
        for llama in (self.expert, self.antiexpert):
            unread = seen[llama.n_tokens :].tolist()
            if unread:
                llama.eval(unread)
        steered: Row = logits + self.alpha * (last_row(self.expert) - last_row(self.antiexpert))
        steered[self.eos] = -np.inf
        return steered

    def start(self, prompt: list[int]) -> None:
        for llama in (self.base, self.expert, self.antiexpert):
            llama.n_tokens = 0
            llama.eval(prompt)
        processors = LogitsProcessorList([self.steer])
        # The prompt is in the base's cache with its logits, so that `generate` samples at once.
        self.tokens = self.base.generate(prompt, temp=0.0, logits_processor=processors)

    def next(self) -> int:
        return next(self.tokens)


def main() -> None:
    given = parser(__doc__).parse_args()

    def load(path: Path) -> Llama:
        return Llama(
            str(path),
            n_ctx=given.ctx_size,
            n_threads=given.threads,
            n_threads_batch=given.threads,
            flash_attn=True,
            verbose=False,
        )

    peer = LlamaCppPython(load(given.base), load(given.expert), load(given.antiexpert), given.alpha, given.eos)
    serve(peer, llama_cpp.llama_print_system_info().decode())


if __name__ == "__main__":
    main()
