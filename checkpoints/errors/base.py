"""The root of all errors."""

from __future__ import annotations


class HoldfastError(Exception):
    """The root of all errors of this package."""


class InvalidArgument(HoldfastError, ValueError):
    """An argument of a call cannot be used, such as a limit of 0. Nothing was changed."""
