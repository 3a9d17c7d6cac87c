"""The shared library ``libproxytune_sampler`` and its C interface: ``plugins/llama-sampler/include/proxytune.h``."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Union

from ._errors import ArgumentError, LibraryError, ModelError, StageError, SteeringError, VocabularyError

#: ``PT_ABI_VERSION`` of the header that this module was written from.
ABI_VERSION = 1
#: Names a library where none is passed.
VARIABLE = "PROXYTUNE_SAMPLER"

PT_OK = 0
PT_BOTH = 0
_ERRORS: dict[int, type[SteeringError]] = {
    1: ArgumentError,
    2: ModelError,
    3: VocabularyError,
    4: StageError,
    5: StageError,
}

StrPath = Union[str, "os.PathLike[str]"]

#: ``int32_t (void *data, int32_t id, const char **text, size_t *n_text, int32_t *attr)``
TokenFn = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_int32),
)


class Params(ctypes.Structure):
    """``pt_params``"""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("recipe", ctypes.c_char_p),
        ("expert", ctypes.c_char_p),
        ("antiexpert", ctypes.c_char_p),
        ("alpha", ctypes.c_float),
        ("plausibility", ctypes.c_float),
        ("sampler_init", ctypes.c_void_p),
        ("base_path", ctypes.c_char_p),
        ("n_vocab", ctypes.c_int32),
        ("token", TokenFn),
        ("token_data", ctypes.c_void_p),
        ("n_ctx", ctypes.c_int32),
        ("n_batch", ctypes.c_int32),
        ("n_threads", ctypes.c_int32),
        ("n_gpu_layers", ctypes.c_int32),
        ("n_seq_max", ctypes.c_int32),
        ("allow_vocab_drift", ctypes.c_uint8),
        ("probe", ctypes.c_char_p),
    )


_STATUS = ctypes.c_int32
_POINTER = ctypes.c_void_p
_SIGNATURES = {
    "pt_version": (ctypes.c_char_p, ()),
    "pt_last_error": (ctypes.c_char_p, ()),
    "pt_default_params": (_STATUS, (ctypes.POINTER(Params), ctypes.c_size_t)),
    "pt_pair_new": (_STATUS, (ctypes.POINTER(Params), ctypes.POINTER(_POINTER))),
    "pt_pair_free": (None, (_POINTER,)),
    "pt_stage_new": (_STATUS, (_POINTER, ctypes.POINTER(_POINTER))),
    "pt_feed": (_STATUS, (_POINTER, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_size_t)),
    "pt_set_alpha": (_STATUS, (_POINTER, ctypes.c_float)),
    "pt_status": (_STATUS, (_POINTER,)),
}


class Library:
    """The loaded library. It stays loaded for good."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise LibraryError(f"no file at {path}, expected proxytune's sampler library", _HOW_TO_BUILD)
        try:
            self._lib = ctypes.CDLL(str(path))
        except OSError as error:
            raise LibraryError(f"{path} cannot be loaded: {error}", _HOW_TO_BUILD) from error
        try:
            abi_version = self._lib.pt_abi_version
        except AttributeError:
            raise LibraryError(f"{path} has no pt_abi_version, expected {_file_name()}", _HOW_TO_BUILD) from None
        abi_version.restype, abi_version.argtypes = ctypes.c_uint32, ()
        if (got := abi_version()) != ABI_VERSION:
            raise LibraryError(
                f"{path} has interface version {got}, expected {ABI_VERSION}",
                "take the library and this package from the same version of proxytune",
            )
        for name, (restype, argtypes) in _SIGNATURES.items():
            try:
                function = getattr(self._lib, name)
            except AttributeError:
                raise LibraryError(f"{path} has no {name}, expected a whole {_file_name()}", _HOW_TO_BUILD) from None
            function.restype, function.argtypes = restype, argtypes

    def version(self) -> str:
        return _text(self._lib.pt_version())

    def check(self, status: int) -> None:
        """Raises what another status than ``PT_OK`` stands for. To be called on the thread that got it."""
        if status != PT_OK:
            words = _text(self._lib.pt_last_error()) or f"status {status} without a reason"
            raise _ERRORS.get(status, SteeringError)(words)

    def default_params(self) -> Params:
        params = Params()
        self.check(self._lib.pt_default_params(ctypes.byref(params), ctypes.sizeof(params)))
        return params

    def open_stage(self, params: Params) -> int:
        """Loads a pair and makes its one stage, which keeps it. Returns the address of the ``llama_sampler``."""
        pair, stage = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self._lib.pt_pair_new(ctypes.byref(params), ctypes.byref(pair)))
        try:
            self.check(self._lib.pt_stage_new(pair, ctypes.byref(stage)))
        finally:
            self._lib.pt_pair_free(pair)
        if stage.value is None:
            raise SteeringError("pt_stage_new() returned no sampler")
        return stage.value

    def feed(self, stage: int, text: bytes) -> None:
        """``text``: all token ids, 32 bits each."""
        tokens = (ctypes.c_int32 * (len(text) // 4)).from_buffer_copy(text)
        self.check(self._lib.pt_feed(stage, PT_BOTH, tokens, len(tokens)))

    def set_alpha(self, stage: int, alpha: float) -> None:
        self.check(self._lib.pt_set_alpha(stage, alpha))

    def check_stage(self, stage: int) -> None:
        """Raises why a stage does not steer, if it does not."""
        self.check(self._lib.pt_status(stage))


def find(library: StrPath | None) -> Path:
    """Where the library is: what was passed, or named by the environment, or lies beside this package."""
    if library is not None:
        return Path(library)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    beside = Path(__file__).resolve().parent / _file_name()
    if beside.is_file():
        return beside
    raise LibraryError(f"{_file_name()} not found: no library=, no {VARIABLE}, and nothing at {beside}", _HOW_TO_BUILD)


def _file_name() -> str:
    if sys.platform == "win32":
        return "proxytune_sampler.dll"
    return "libproxytune_sampler.dylib" if sys.platform == "darwin" else "libproxytune_sampler.so"


_HOW_TO_BUILD = (
    f"`cargo build --release -p proxytune-sampler` in proxytune's repository makes target/release/{_file_name()}; "
    f"pass it as library= or name it in {VARIABLE}"
)


def _text(words: bytes | None) -> str:
    return (words or b"").decode("utf-8", "replace")
