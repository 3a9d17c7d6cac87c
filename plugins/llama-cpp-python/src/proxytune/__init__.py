"""Steers a ``llama_cpp.Llama`` with two small models while it decodes.

    logits = base + alpha * (expert - antiexpert)

``steer()`` puts proxytune's sampler first in every sampler chain that the ``Llama`` builds, and keeps that sampler's
text the same as the ``Llama``'s own. The two small models run in a shared library on a thread of its own.

    _hooks     what is wrapped on a Llama, and what happens at a prompt and at a sample
    _chain     a sampler at the front of a llama.cpp chain, and out again
    _stage     the sampler: its parameters, its text, its end
    _library   the shared library and its C interface (``proxytune.h``)
"""

from ._errors import ArgumentError, LibraryError, ModelError, StageError, SteeringError, VocabularyError
from ._steer import Steering, steer

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "LibraryError",
    "ModelError",
    "StageError",
    "Steering",
    "SteeringError",
    "VocabularyError",
    "__version__",
    "steer",
]
