"""What goes wrong, in words: what was expected, what came, and often a hint."""

from __future__ import annotations


class SteeringError(Exception):
    """Something about the steering is not as it should be. Nothing was sampled that is not steered."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; hint: {hint}")


class ArgumentError(SteeringError, ValueError):
    """An argument is out of range, or asks for what a plugin cannot do."""


class LibraryError(SteeringError):
    """The shared library is missing, or not the one that this package was written for."""


class ModelError(SteeringError):
    """A model's or recipe's file is missing, damaged or not usable."""


class VocabularyError(SteeringError):
    """A small model has other tokens than the base."""


class StageError(SteeringError):
    """A token could not be steered; it was not emitted."""
